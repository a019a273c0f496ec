/* world.h - what the collector needs from whoever runs the mutators.
 *
 * Upcalls, in a table so that unit tests can supply a fake world.  sched
 * fills it (sched/stw.c, sched/roots.c); the collector never includes sched.
 */
#ifndef MPGI_WORLD_H
#define MPGI_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mpgi_cache;

enum mpgi_stop_reason {
  MPGI_STOP_GC,         /* mark phase */
  MPGI_STOP_GOMAXPROCS, /* change the number of Ps */
  MPGI_STOP_STATS,      /* consistent statistics, tracebacks */
  MPGI_STOP_EXIT,       /* mpg_run is returning */
  MPGI_STOP_REASONS
};

/* Scan the words of [lo, hi) conservatively. */
typedef void mpgi_visit(void *arg, const void *lo, const void *hi);

/* Where words that are neither stack nor register were found. */
enum mpgi_outside { MPGI_OUTSIDE_ROOT, MPGI_OUTSIDE_HEAP };

struct mpgi_world {
  /* Stop every mutator; returns when all are stopped.  One initiator at a
   * time; a second one is stopped like any mutator until it is its turn.
   * Called on g0 or on a thread without a P.  Nothing between stop and start
   * may take a lock a stopped thread can hold.
   * helpers: how many stopped threads recruit will be asked for; with 0 all
   * may be stopped in the quickest way, where they can't help. */
  void (*stop)(enum mpgi_stop_reason reason, unsigned helpers);
  /* May be NULL.  From here on until start, or unreserve instead of stop,
   * nobody but the caller stops the world. */
  void (*reserve)(void);
  void (*unreserve)(void);
  void (*start)(void);
  /* Wait a moment for somebody else's stop, as one who can be stopped. */
  void (*give_way)(void);
  /* May be NULL.  Until it is told the opposite, the caller may wait for locks
   * that aren't the runtime's, holds none that are, and can be stopped at any
   * point. */
  void (*abroad)(bool yes);
  /* With the world stopped: the number of root jobs (stacks, registers,
   * thread-local blocks, runtime references), then each of them, from any
   * worker, in any order, each once. */
  size_t (*root_jobs)(void);
  void (*root_job)(size_t i, mpgi_visit *visit, void *arg);
  /* With the world stopped: ask up to n stopped threads to call
   * mpgi_gc_help() now; returns how many will. */
  unsigned (*recruit)(unsigned n);
  /* The number of markers a collection should use (>= 1). */
  unsigned (*parallelism)(void);
  /* Bytes of goroutine stacks: counts for pacing and the memory limit. */
  uint64_t (*stack_bytes)(void);
  /* May be NULL.  Bytes that the world holds besides, of its threads' stacks,
   * for mpg_gc_stats. */
  uint64_t (*offheap_bytes)(void);
  /* May be NULL.  Give memory of stacks that aren't used back. */
  void (*stack_release)(void);
  /* Totals for gctrace and mpg_gc_stats: ns of stopped world so far; and the
   * last stop's time to stop and pause so far. */
  uint64_t (*pause_total_ns)(void);
  int64_t (*last_time_to_stop_ns)(void);
  /* For how long nobody had anything to run, ns; sampled. */
  int64_t (*idle_ns)(void);
  int (*procs)(void); /* GOMAXPROCS, for gctrace */
  /* May be NULL.  The world is stopped and marks are complete. */
  void (*marked_stw)(void);
  /* May be NULL, all three.  With the world stopped, before marking: does
   * somebody want to see the words of global segments, registered ranges, live
   * objects, and what is known about these, in this cycle?  Then they are
   * shown, from several markers at once, and in the end it is told that marking
   * is over. */
  bool (*outside_begin)(bool forced);
  void (*outside_words)(enum mpgi_outside where, const void *lo,
                        const void *hi);
  void (*outside_end)(void);
  /* May be NULL.  Somebody will soon be needed who runs finalizers: 0, or
   * -ENOMEM.  Called often. */
  int (*finalizers_wanted)(void);
  /* May be NULL.  Finalizers are ready (mpgi_finalizer_take); the world runs.
   */
  void (*finalizers_ready)(void);
  /* May be NULL.  Somebody may wait at a cleanup queue whose waker this is. */
  void (*cleanup_wake)(void *waker);
  /* May be NULL.  Return addresses of whoever called the runtime on this
   * thread, innermost first; returns how many. */
  uint32_t (*callers)(uintptr_t *pc, uint32_t max);
  /* what was called on a thread without a cache: fatal.  NULL: no more to say
   * than that. */
  void (*not_attached)(const char *what);
  /* May be NULL.  Is a run on, and the calling thread none of its? */
  bool (*is_stranger)(void);
};

#endif /* MPGI_WORLD_H */

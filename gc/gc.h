/* gc.h - the door of the collector.
 *
 * Thunked functions (names ending in _g0, listed in arch/x86_64/thunks.def)
 * implement the public API on g0.  Context of everything else: g0, or a
 * thread without a goroutine; none parks.
 */
#ifndef MPGI_GC_H
#define MPGI_GC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <arch/arch.h>
#include <gc/world.h>

enum mpgi_kind {
  MPGI_KIND_SCAN,   /* zeroed, every word may be a pointer */
  MPGI_KIND_NOSCAN, /* no pointers, contents unspecified */
  MPGI_KIND_TYPED,  /* zeroed, first word of the cell or the span names the
                       layout */
  MPGI_KIND_COUNT
};

/* Reserve the heap and start with this world; once per process, but for
 * failures: again goes on from there.
 * 0; -ENOMEM (no address space even for the smallest reservation). */
MPGI_HIDDEN int mpgi_gc_init(const struct mpgi_world *world);

/* An mpg_run begins; no thread of an earlier one is left. */
MPGI_HIDDEN void mpgi_gc_run_begin(void);

/* A P's allocation cache.  NULL: -ENOMEM.  free flushes first. */
MPGI_HIDDEN struct mpgi_cache *mpgi_gc_cache_new(void);
MPGI_HIDDEN void mpgi_gc_cache_free(struct mpgi_cache *c);

/* Allocate for the runtime (channels) through the calling thread's cache;
 * may collect first: g0 stacks are scanned.  NULL when exhausted. */
MPGI_HIDDEN void *mpgi_gc_alloc(size_t bytes, enum mpgi_kind kind);

/* A stopped thread, recruited, takes part in marking; returns when there is
 * nothing left to do. */
MPGI_HIDDEN void mpgi_gc_help(void);

/* In the child of a fork: the collector's threads are not there. */
MPGI_HIDDEN void mpgi_gc_forked(void);

/* Periodic work from sysmon: force a collection after 2 idle minutes
 * (returns true when one is due: the caller arranges that some goroutine or
 * thread calls mpgi_gc_collect), return memory to the system. */
MPGI_HIDDEN bool mpgi_gc_tick(int64_t now);
enum mpgi_gc_cause { MPGI_GC_HEAP, MPGI_GC_FORCED, MPGI_GC_IDLE };
MPGI_HIDDEN void mpgi_gc_collect(enum mpgi_gc_cause cause);

/* A finalizer to be run, and what with. */
struct mpgi_finalizer {
  void (*fn)(void *obj, void *arg);
  void *obj, *arg;
};
/* Take the next one off the queue; false: it is empty.  From then on the
 * caller keeps the object. */
MPGI_HIDDEN bool mpgi_finalizer_take(struct mpgi_finalizer *out);
/* Has some object a finalizer, or is one to be run? */
MPGI_HIDDEN bool mpgi_finalizer_any(void);

/* A cleanup queue, as far as sched knows it (cleanup.c).  make: NULL: -ENOMEM.
 */
struct mpgi_cleanup_queue {
  void *waker; /* for cleanup_wake of the world; an object; constant */
};
MPGI_HIDDEN void *mpgi_cleanup_queue_make(void *waker);

/* What can be reached, by a slow and simple marker of its own (verify.c), from
 * roots that the caller chooses; with the world stopped, after marking.  begin
 * marks from the global roots, and from what somebody may come to have though
 * nothing keeps it, by a weak reference (false: no memory); words from more;
 * reached: is p in a marked object, or in none at all? */
MPGI_HIDDEN bool mpgi_gc_reach_begin_stw(void);
MPGI_HIDDEN void mpgi_gc_reach_words(void *arg, const void *lo, const void *hi);
MPGI_HIDDEN bool mpgi_gc_reached(const void *p);
/* All words of all marked objects, whatever their layout says. */
MPGI_HIDDEN void mpgi_gc_reached_words(mpgi_visit *visit);
/* Is addr in the heap, or where markers keep what they read? */
MPGI_HIDDEN bool mpgi_gc_owns(uintptr_t addr);
MPGI_HIDDEN void mpgi_gc_reach_end_stw(void);

/* The heap profile (profile.c). */
#define MPGI_PROFILE_PCS 64
struct mpgi_profile_site {
  /* Estimates, from the samples. */
  uint64_t alloc_objects, alloc_bytes, live_objects, live_bytes;
  uint32_t n;                     /* of pc */
  uintptr_t pc[MPGI_PROFILE_PCS]; /* return addresses, innermost first */
};
MPGI_HIDDEN int64_t mpgi_profile_rate(void); /* bytes; 0: off */
MPGI_HIDDEN size_t mpgi_profile_sites(void);
/* The first of them, max at most; returns how many. */
MPGI_HIDDEN size_t mpgi_profile_copy(struct mpgi_profile_site *out, size_t max);

/* Record the heap's size when a trace is on (arch/common/trace.h). */
MPGI_HIDDEN void mpgi_gc_trace_heap(void);

/* ---- g0 sides of the public functions ---- */
MPGI_HIDDEN void *mpgi_alloc_slow_g0(size_t bytes, enum mpgi_kind kind);
MPGI_HIDDEN void *mpgi_alloc_typed_g0(const void *type, size_t count);
MPGI_HIDDEN void *mpgi_type_new_g0(size_t bytes, const size_t *offsets,
                                   size_t n);
MPGI_HIDDEN void *mpgi_realloc_g0(void *p, size_t bytes);
MPGI_HIDDEN void mpgi_free_g0(void *p);
MPGI_HIDDEN char *mpgi_strdup_g0(const char *s);
MPGI_HIDDEN void *mpgi_base_g0(const void *p);
MPGI_HIDDEN size_t mpgi_alloc_size_g0(const void *p);
MPGI_HIDDEN void mpgi_gc_g0(void);
MPGI_HIDDEN int mpgi_gc_percent_g0(int percent);
MPGI_HIDDEN int64_t mpgi_memory_limit_g0(int64_t bytes);
MPGI_HIDDEN int mpgi_root_add_g0(const void *lo, size_t bytes);
MPGI_HIDDEN int mpgi_root_remove_g0(const void *lo);
MPGI_HIDDEN int mpgi_finalizer_set_g0(void *obj,
                                      void (*fn)(void *obj, void *arg),
                                      void *arg);
MPGI_HIDDEN void *mpgi_weak_new_g0(void *obj);
MPGI_HIDDEN void *mpgi_weakmap_new_g0(void);
MPGI_HIDDEN bool mpgi_weakmap_get_g0(void *map, const void *key, void **value);
MPGI_HIDDEN int mpgi_weakmap_set_g0(void *map, void *key, void *value);
MPGI_HIDDEN int mpgi_weakmap_delete_g0(void *map, const void *key);
MPGI_HIDDEN size_t mpgi_weakmap_len_g0(void *map);
struct mpg_cleanup;
MPGI_HIDDEN int mpgi_cleanup_add_g0(void *queue, void *obj, void *tag);
MPGI_HIDDEN int mpgi_cleanup_remove_g0(void *queue, const void *obj);
MPGI_HIDDEN int mpgi_cleanup_poll_g0(void *queue, struct mpg_cleanup *out);
MPGI_HIDDEN void mpgi_cleanup_notify_g0(void *queue, void (*fn)(void *arg),
                                        void *arg);
MPGI_HIDDEN void *mpgi_alloc_root_g0(size_t bytes);
MPGI_HIDDEN void *mpgi_alloc_aligned_g0(size_t bytes, size_t alignment);
MPGI_HIDDEN int mpgi_interior_pointers_g0(int on);
MPGI_HIDDEN size_t mpgi_release_memory_g0(void);
MPGI_HIDDEN int mpgi_heap_dump_g0(int fd);
MPGI_HIDDEN int64_t mpgi_heap_profile_rate_g0(int64_t bytes);
MPGI_HIDDEN void mpgi_on_out_of_memory_g0(void *(*handler)(size_t bytes));
MPGI_HIDDEN int mpgi_gc_stats_read_g0(void *stats);

#endif /* MPGI_GC_H */

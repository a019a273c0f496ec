/* mpg/debug.h - looking at a running program. */
#ifndef MPG_DEBUG_H
#define MPG_DEBUG_H

#include <stddef.h>
#include <stdint.h>

#include <mpg/base.h>

MPG_BEGIN_DECLS

/* Write what every goroutine does, in Go's format: "goroutine N [status]:",
 * with the wait reason and the minutes it has lasted; each frame with file and
 * line; who created it.  Files and lines come from the program's debug
 * information, read by elfutils' libdw when that is installed (it is opened
 * when it is wanted first); without it, functions and addresses are printed.
 * Outside mpg_run nothing is written.
 *
 * fd  a descriptor; errors of writing are ignored
 *
 * Context: goroutine, or a thread without one.  Stops the world for a moment,
 *   and writes when it runs again.  libdw uses malloc.
 * Since: 0.1.  Source: Go traceback.go (tracebackothers).
 */
MPG_API void mpg_traceback_all(int fd);

/* Find the goroutines that are parked for ever: on a channel, select, lock or
 * wait group that nothing but goroutines in the same situation can reach, or
 * on a nil channel.  A full collection is made to find out.  MPG_DEBUG=leak=1
 * reports them on stderr at every collection, each once.  Conservative, as the
 * collector is: a stale word can hide one; objects outside the collected heap
 * count as reachable.  Not so local variables of goroutines that are leaked
 * themselves: these are found, too, in a process without other threads than
 * mpg's and the caller of mpg_run, if no word of its memory is an address of
 * that stack (an address that only the kernel was given is not seen).
 *
 * fd  where their tracebacks are written, as by mpg_traceback_all; -1: nowhere
 *
 * Returns: how many there are.
 * Context: goroutine.  Stops the world.
 * Since: 0.1.
 */
MPG_API int mpg_leaked_goroutines(int fd);

/* Record what goroutines, Ps, system calls, stops of the world and the
 * collector do, until mpg_trace_stop, in a file of Trace Event JSON: open it
 * in Perfetto (ui.perfetto.dev) or chrome://tracing.  A row for each P,
 * arrows for wake-ups; times are mpg_now's.  docs/trace.md lists the events.
 * A thread of its own writes; when it can't keep up, events are left out and
 * counted in the file.  One trace at a time; it may begin before mpg_run and
 * goes on from one run to the next.
 *
 * path  made or overwritten; if it can seek, whole JSON after every write (a
 * kill in the middle of one cuts it at the end of a page)
 *
 * Returns: 0; -EINVAL (NULL or empty path); -EALREADY (a trace is on);
 *   -ENOMEM; -EAGAIN (no thread to be had); or why open refused the file
 *   (-ENOENT, -EACCES, -EISDIR, -ENAMETOOLONG ...).
 * Context: goroutine, or a thread without one; before, in and after mpg_run.
 *   Blocks as in a system call until the file is open; stops the world.
 * Since: 0.1.  Source: Go trace.go.
 */
MPG_API int mpg_trace_start(const char *path);

/* End the trace and its file.
 *
 * Returns: 0; -EALREADY (no trace is on); or why a write failed (-ENOSPC,
 *   -EIO, -EPIPE ...): then the file is not whole.
 * Context: as mpg_trace_start.  Blocks, as in a system call, until everything
 *   is written.
 * Since: 0.1.
 */
MPG_API int mpg_trace_stop(void);

/* Collect, and write every live object with what refers to it, as text: for
 * finding out why something is kept.  The format is at the top of
 * gc/heapdump.c; tools/heapdump.py answers the question from such a file.
 *
 * fd  open for writing; not a pipe or socket that this process reads, which
 *     could not go on while the world is stopped
 *
 * Returns: 0; -EBADF (fd < 0); -ENOMEM; or why a write failed (-ENOSPC, -EIO,
 *          -EPIPE ...; -EAGAIN: fd doesn't block, and its reader took nothing
 *          for a second).
 * Context: goroutine.  Stops the world for as long as writing takes.
 * Since: 0.1.
 */
MPG_API int mpg_heap_dump(int fd);

/* Write the heap profile: which call stacks allocated how much, and how much of
 * it is live, in the format that pprof reads (profile.proto, not compressed):
 *
 *   go tool pprof -top -sample_index=inuse_space program heap.pb
 *
 * with the sample types alloc_objects, alloc_space (since the start),
 * inuse_objects, inuse_space (allocated, and neither freed nor found dead by a
 * collection yet).  The figures are estimates from samples, unbiased; a site
 * of N samples is right within about 1/sqrt(N).  Functions and lines are as in
 * mpg_traceback_all.
 *
 * fd  open for writing
 *
 * Returns: 0; -EBADF (fd < 0); -ENOMEM; or why a write failed (-ENOSPC, -EIO,
 *   -EPIPE ...).
 * Context: goroutine.  Blocks as in a system call.  libdw uses malloc.
 * Since: 0.1.  Source: Go pprof.go (WriteHeapProfile).
 */
MPG_API int mpg_heap_profile(int fd);

/* Set how often an allocation is sampled for the heap profile.  Each sample
 * takes a walk of the stack; until the next nothing is done, so the profile is
 * always on: one sample in 512 KiB at first, or what MPG_DEBUG=heapprofile=N
 * says.
 *
 * bytes  allocated between two samples, on average; 1 samples every object;
 *        0 none any more; < 0 only reports
 *
 * Returns: the previous value.
 * Context: goroutine.  Stops the world for a moment.
 * Since: 0.1.  Source: Go mprof.go (MemProfileRate).
 */
MPG_API int64_t mpg_heap_profile_rate(int64_t bytes);

/* What became of the stacks of movable goroutines (MPG_GO_MOVABLE), since the
 * process started.  "Pinned" counts attempts that found a pointer into the
 * stack; they are repeated in later collections. */
struct mpg_stack_stats {
  size_t size;            /* sizeof(struct mpg_stack_stats) */
  uint64_t stack_bytes;   /* held by all stacks now */
  uint64_t swapped_out;   /* parked stacks reduced to what is live */
  uint64_t swapped_in;    /* such stacks that ran again */
  uint64_t pinned_heap;   /* a pointer in a live object of the heap */
  uint64_t pinned_root;   /* in a global variable or a registered range */
  uint64_t pinned_stack;  /* on another goroutine's stack or in its registers */
  uint64_t pinned_thread; /* in a thread's variables or on its own stack */
  uint64_t pinned_runtime; /* it waits for an object on its own stack */
  uint64_t pinned_size;    /* more than a KiB is live, or several segments */
};

/* Read them.
 *
 * s  its size is set by the caller
 *
 * Returns: 0; -EINVAL (s NULL, or its size too small).
 * Context: any thread; also before mpg_run.
 * Since: 0.1.
 */
MPG_API int mpg_stack_stats_read(struct mpg_stack_stats *s);

/* The version and the platform: "0.1.0 (x86_64-linux)".
 *
 * Owner: static.
 * Context: any thread; also before mpg_run.
 * Since: 0.1.
 */
MPG_API const char *mpg_version(void);

/* Declare that a loaded library was built with mpg's flags, so that
 * goroutines may be preempted in its code.  The main program is declared by
 * itself.  Declaring one that wasn't is an error that nobody reports: a
 * goroutine could be switched out where it must not be.
 *
 * addr  an address in the library's code or data
 *
 * Returns: 0, also when it was declared before; -EINVAL (addr is in no
 *   library); -ENOMEM.
 * Context: goroutine, or a thread without one.  Takes the dynamic linker's
 *   lock.
 * Since: 0.1.
 */
MPG_API int mpg_text_add(const void *addr);

MPG_END_DECLS

#endif /* MPG_DEBUG_H */

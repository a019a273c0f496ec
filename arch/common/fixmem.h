/* fixmem.h - memory of the runtime that is not garbage collected.
 *
 * jemalloc, in an arena of its own.  Never from a signal handler, never with
 * the world stopped (asserted through mpgi_fixmem_forbid), never on a
 * goroutine's stack.
 */
#ifndef MPGI_FIXMEM_H
#define MPGI_FIXMEM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <arch/arch.h>

/* Zeroed; align a power of two (0: 16).  NULL when exhausted. */
MPGI_HIDDEN void *mpgi_fixmem_alloc(size_t bytes, size_t align);
MPGI_HIDDEN void mpgi_fixmem_free(void *p, size_t bytes, size_t align);
/* Give what is free back to the system. */
MPGI_HIDDEN void mpgi_fixmem_release(void);
MPGI_HIDDEN uint64_t mpgi_fixmem_bytes(void); /* live, by our own count */
/* While > 0 every use by a thread of the world is a failed check. */
MPGI_HIDDEN void mpgi_fixmem_forbid(int delta);
/* The calling thread is not part of the world (sysmon): it may allocate while
 * others have stopped.  Safe, because a thread is never frozen while it holds
 * a lock of our arena; not for whoever a stop waits for. */
MPGI_HIDDEN void mpgi_fixmem_outside(void);
MPGI_HIDDEN void mpgi_fixmem_inside(void); /* it becomes part of it */
/* The calling thread is going to start another: both may use malloc, too.
 * False: there is no memory for a first time [arch.fixmem.first]. */
MPGI_HIDDEN bool mpgi_fixmem_thread_coming(void);
/* A thread that no stop waits for yet is going to run goroutines: what malloc
 * needs at first is had while there is memory. */
MPGI_HIDDEN void mpgi_fixmem_thread_begin(void);
/* An address in the library that serves it: its data are no roots. */
MPGI_HIDDEN const void *mpgi_fixmem_library(void);
/* Failpoint (mpgi_os_failpoint): when armed (MPG_DEBUG=failrecord=N), the Nth
 * allocation from now fails, and unless mpgi_os_fail_once all after it. */
MPGI_HIDDEN extern _Atomic int64_t mpgi_fixmem_fail_countdown;

#endif /* MPGI_FIXMEM_H */

/* mpg/sync.h - locks for goroutines: they park the goroutine, not the thread.
 *
 * All are ready when they are zero and need no destructor.  They may lie
 * anywhere: in a global, on a goroutine's stack, in collected memory.  They
 * may be held across a park, and released by another goroutine.
 *
 * Context of every function: goroutine.
 */
#ifndef MPG_SYNC_H
#define MPG_SYNC_H

#include <mpg/base.h>

MPG_BEGIN_DECLS

/* A mutual exclusion lock: first come, first served, except that a running
 * goroutine may overtake; a waiter of more than 1 ms gets it handed over.
 * Not recursive.
 *
 * Since: 0.1.  Source: Go sync/mutex.go (normal and starvation mode).
 */
typedef struct mpg_mutex {
  uint32_t state; /* private */
  uint32_t sema;  /* private */
} mpg_mutex;
/* Take the lock.  Context: goroutine; parks. */
MPG_API void mpg_mutex_lock(mpg_mutex *m);
/* Release it.  Fatal when it isn't taken: "unlock of unlocked mutex".
 * Context: goroutine, not necessarily the one that took it; doesn't park. */
MPG_API void mpg_mutex_unlock(mpg_mutex *m);
/* Take it only if that is possible at once.  Returns: true when taken.
 * Context: goroutine; doesn't park. */
MPG_API bool mpg_mutex_trylock(mpg_mutex *m);

/* A count, and goroutines that wait for it to fall to zero.
 *
 * Since: 0.1.  Source: Go sync/waitgroup.go.
 */
typedef struct mpg_waitgroup {
  uint64_t state; /* private: count << 32 | waiters */
  uint32_t sema;  /* private */
} mpg_waitgroup;
/* Add n, which may be negative; the count must stay in [0, INT32_MAX], below
 * is fatal: "negative WaitGroup counter".  Raise it from zero before the wait
 * begins.  Context: goroutine; doesn't park. */
MPG_API void mpg_waitgroup_add(mpg_waitgroup *wg, int n);
/* Subtract one: mpg_waitgroup_add(wg, -1). */
MPG_API void mpg_waitgroup_done(mpg_waitgroup *wg);
/* Park until the count is zero.  Then it may be used again.  Context:
 * goroutine; parks. */
MPG_API void mpg_waitgroup_wait(mpg_waitgroup *wg);

/* A counting semaphore; the count starts at 0 and stays below UINT32_MAX.
 *
 * Since: 0.1.  Source: Go sema.go.
 */
typedef struct mpg_sem {
  uint32_t count; /* private */
} mpg_sem;
/* Take one; park while there is none.  Context: goroutine; parks. */
MPG_API void mpg_sem_acquire(mpg_sem *s);
/* Give one; wakes a waiter.  Context: goroutine; doesn't park. */
MPG_API void mpg_sem_release(mpg_sem *s);
/* Take one only if there is one.  Returns: true when taken.  Context:
 * goroutine; doesn't park. */
MPG_API bool mpg_sem_try_acquire(mpg_sem *s);

MPG_END_DECLS

#endif /* MPG_SYNC_H */

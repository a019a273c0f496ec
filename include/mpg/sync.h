/* mpg/sync.h - locks for goroutines: they park the goroutine, not the thread.
 *
 * All are ready when they are zero and need no destructor.  They may lie
 * anywhere: in a global, on a goroutine's stack, in collected memory.  They
 * may be held across a park, and released by another goroutine.
 *
 * Whoever learns by a mutex, a wait group or a semaphore that nobody else will
 * use it any more may free its memory, or leave the function whose variable it
 * is, though the call that told him hasn't returned on the other side.  Not so
 * with an rwmutex and a once: unlock and once_do still use them when others
 * may go on already.
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

/* A lock that one writer or many readers hold.  A writer that waits keeps new
 * readers out, so it gets in when those inside have left; readers that came
 * meanwhile get in before the next writer.  Hence a reader must not lock it
 * again: it may wait for a writer that waits for it.
 *
 * Since: 0.1.  Source: Go sync/rwmutex.go.
 */
typedef struct mpg_rwmutex {
  mpg_mutex writers;                 /* private */
  int32_t readers, leaving;          /* private */
  uint32_t reader_sema, writer_sema; /* private */
} mpg_rwmutex;
/* Take it for reading, give it back.  Fatal when nobody has it for reading:
 * "RUnlock of unlocked RWMutex".  Context: goroutine, any may give it back;
 * rdlock parks. */
MPG_API void mpg_rwmutex_rdlock(mpg_rwmutex *m);
MPG_API void mpg_rwmutex_rdunlock(mpg_rwmutex *m);
/* Take it for writing, give it back.  Fatal when nobody has it for writing:
 * "Unlock of unlocked RWMutex".  Context: goroutine, any may give it back;
 * lock parks. */
MPG_API void mpg_rwmutex_lock(mpg_rwmutex *m);
MPG_API void mpg_rwmutex_unlock(mpg_rwmutex *m);
/* Take it only if that is possible at once.  Returns: true when taken.
 * Context: goroutine; doesn't park. */
MPG_API bool mpg_rwmutex_tryrdlock(mpg_rwmutex *m);
MPG_API bool mpg_rwmutex_trylock(mpg_rwmutex *m);

/* A condition variable: goroutines that wait for something to change, first
 * come, first served.  What changes is guarded by a mutex, the same for all
 * who wait.
 *
 * Since: 0.1.  Source: Go sync/cond.go.
 */
typedef struct mpg_cond {
  uint32_t waiting; /* private */
} mpg_cond;
/* Release m and wait for a signal, without missing one in between; then take m
 * again.  Not woken by anything else, but what was waited for may be over by
 * then: wait in a loop.  Fatal when m isn't locked: "unlock of unlocked
 * mutex".  Context: goroutine; parks. */
MPG_API void mpg_cond_wait(mpg_cond *c, mpg_mutex *m);
/* Wake the one that has waited longest, or all.  Holding the mutex is allowed
 * and not required.  Context: goroutine; doesn't park. */
MPG_API void mpg_cond_signal(mpg_cond *c);
MPG_API void mpg_cond_broadcast(mpg_cond *c);

/* Something to be done once.
 *
 * Since: 0.1.  Source: Go sync/once.go.
 */
typedef struct mpg_once {
  uint32_t done;          /* private */
  mpg_mutex running;      /* private */
  struct mpg_once *outer; /* private */
} mpg_once;
/* Call fn(arg), unless a call for o did it before: then wait until that has
 * ended and return.  It counts as done, too, when fn leaves by mpg_goexit.  fn
 * must not leave by longjmp or an exception, nor call mpg_once_do for o: that
 * is a deadlock.  Context: goroutine; parks. */
MPG_API void mpg_once_do(mpg_once *o, mpg_func fn, void *arg);

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
 * begins: done while somebody waits it is fatal, "WaitGroup misuse", where it
 * is noticed.  Context: goroutine; doesn't park. */
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

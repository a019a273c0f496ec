/* mpg/sync.h - locks for goroutines.  Zero-initialised, no destructor. */
#ifndef MPG_SYNC_H
#define MPG_SYNC_H

#include <mpg/base.h>

MPG_BEGIN_DECLS

/* FIFO with barging; hand-off to a waiter of more than 1 ms (starvation
 * mode, Go sync.Mutex).  Unlock of an unlocked one is fatal. */
typedef struct mpg_mutex {
  uint32_t state; /* private */
  uint32_t sema;  /* private */
} mpg_mutex;
MPG_API void mpg_mutex_lock(mpg_mutex *m);
MPG_API void mpg_mutex_unlock(mpg_mutex *m);
MPG_API bool mpg_mutex_trylock(mpg_mutex *m); /* true = taken */

/* Wait for a count to fall to zero; a negative count is fatal. */
typedef struct mpg_waitgroup {
  uint64_t state; /* private: count << 32 | waiters */
  uint32_t sema;  /* private */
} mpg_waitgroup;
MPG_API void mpg_waitgroup_add(mpg_waitgroup *wg, int n);
MPG_API void mpg_waitgroup_done(mpg_waitgroup *wg);
MPG_API void mpg_waitgroup_wait(mpg_waitgroup *wg);

/* Counting semaphore; starts at 0. */
typedef struct mpg_sem {
  uint32_t count; /* private */
} mpg_sem;
MPG_API void mpg_sem_acquire(mpg_sem *s);
MPG_API void mpg_sem_release(mpg_sem *s);
MPG_API bool mpg_sem_try_acquire(mpg_sem *s);

MPG_END_DECLS

#endif /* MPG_SYNC_H */

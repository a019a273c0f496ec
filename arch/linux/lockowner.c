/* lockowner.c - locks of the C library that remember which thread has them.
 *
 * Who holds one and is switched out, of his own accord or not, must go on on
 * the same thread: otherwise a recursive mutex refuses to be unlocked, and its
 * owner waits for himself when he locks it again; a rwlock takes a writer's
 * unlock for a reader's; what prints to a locked FILE waits for ever.  So its
 * goroutine is locked to the thread meanwhile, as by mpg_lock_thread.
 *
 * The C library stubs (libc.def) call these functions in place of the real
 * ones, which they get as the fourth argument (libc_call.S).  Mutexes come by
 * lockcheck.c.  The thread is held before the lock is taken, and let go after
 * it was given back: in between the goroutine may be preempted.
 *
 * Ordinary mutexes don't look at who unlocks them, nor do spin locks and a
 * rwlock's readers: these hold no thread.
 */
#include <errno.h>
#include <pthread.h>

#include <arch/os.h>

#define ROBUST_OR_PRIO 0x70 /* robust, priority inherited, protected */

bool mpgi_os_mutex_has_owner(const void *mutex) {
  const pthread_mutex_t *m = mutex;
  int kind = m->__data.__kind;
  return (kind & ROBUST_OR_PRIO) != 0 ||
         (kind & 3) == PTHREAD_MUTEX_RECURSIVE ||
         (kind & 3) == PTHREAD_MUTEX_ERRORCHECK;
}

int mpgi_hold(void *lock, uintptr_t a, uintptr_t b, mpgi_lockcheck_fn *real) {
  mpgi_thread_hold();
  int err = mpgi_lockcheck_lock(lock, a, b, real);
  if (err != 0 && err != EOWNERDEAD) mpgi_thread_drop();
  return err;
}

/* mtx_t is a pthread_mutex_t. */
int mpgi_hold_mutex(void *lock, uintptr_t a, uintptr_t b,
                    mpgi_lockcheck_fn *real) {
  return mpgi_os_mutex_has_owner(lock) ? mpgi_hold(lock, a, b, real)
                                       : mpgi_lockcheck_lock(lock, a, b, real);
}

static int drop(bool owner, void *lock, mpgi_lockcheck_fn *real) {
  int err = mpgi_lockcheck_unlock(lock, 0, 0, real);
  if (owner && err == 0) mpgi_thread_drop();
  return err;
}

int mpgi_drop_mutex(void *lock, uintptr_t a, uintptr_t b,
                    mpgi_lockcheck_fn *real) {
  (void) a, (void) b;
  return drop(mpgi_os_mutex_has_owner(lock), lock, real);
}

int mpgi_drop_rwlock(void *lock, uintptr_t a, uintptr_t b,
                     mpgi_lockcheck_fn *real) {
  (void) a, (void) b;
  const pthread_rwlock_t *rw = lock;
  return drop(rw->__data.__cur_writer != 0, lock, real);
}

/* ---- streams: functions that return nothing ---- */

int mpgi_hold_file(void *lock, uintptr_t a, uintptr_t b,
                   mpgi_lockcheck_fn *real) {
  mpgi_thread_hold();
  return real(lock, a, b);
}

int mpgi_drop_file(void *lock, uintptr_t a, uintptr_t b,
                   mpgi_lockcheck_fn *real) {
  real(lock, a, b);
  mpgi_thread_drop();
  return 0;
}

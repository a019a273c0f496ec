/* lockcheck.c - pthread_mutex_lock and its kin, counted.
 *
 * Hidden stand-ins for the C library's, for programs linked with the archive:
 * references in the program's own objects come here.  They call the real ones
 * and, with MPG_DEBUG=lockcheck=1, tell sched (mpgi_lockcheck_hook) what the
 * calling thread holds.  Without the switch it is one more jump.
 *
 * Built without splitnote.h: ordinary code, which needs the large segment when
 * a goroutine calls it.  Not part of sanitizer builds, whose run-time library
 * has stand-ins itself.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include <arch/arch.h>
#include <arch/common/check.h>
#include <arch/os.h>

void (*_Atomic mpgi_lockcheck_hook)(const void *lock, int delta);

#ifndef MPGI_SANITIZED

typedef int lock_fn(pthread_mutex_t *m);
typedef int timed_fn(pthread_mutex_t *m, const struct timespec *until);

static lock_fn *_Atomic real_lock, *_Atomic real_trylock, *_Atomic real_unlock;
static timed_fn *_Atomic real_timedlock;

/* Second names, for statically linked programs, where dlsym itself locks.
 * Weak: the shared library has them for old programs only. */
extern lock_fn __pthread_mutex_lock __attribute__((weak));
extern lock_fn __pthread_mutex_trylock __attribute__((weak));
extern lock_fn __pthread_mutex_unlock __attribute__((weak));

static lock_fn *real(lock_fn *second, const char *name) {
  return second ? second : (lock_fn *) dlsym(RTLD_NEXT, name);
}

/* Before main, and so not on a goroutine's stack; but constructors of the
 * program may lock before this one runs. */
__attribute__((constructor)) static void find_real(void) {
  atomic_store(&real_lock, real(__pthread_mutex_lock, "pthread_mutex_lock"));
  atomic_store(&real_trylock,
               real(__pthread_mutex_trylock, "pthread_mutex_trylock"));
  atomic_store(&real_unlock,
               real(__pthread_mutex_unlock, "pthread_mutex_unlock"));
  if (!__pthread_mutex_lock)
    atomic_store(&real_timedlock,
                 (timed_fn *) dlsym(RTLD_NEXT, "pthread_mutex_timedlock"));
}

static void tell(const pthread_mutex_t *m, int delta) {
  void (*hook)(const void *, int) =
      atomic_load_explicit(&mpgi_lockcheck_hook, memory_order_relaxed);
  if (MPGI_UNLIKELY(hook != NULL)) hook(m, delta);
}

static int told(const pthread_mutex_t *m, int err) {
  if (err == 0) tell(m, +1);
  return err;
}

MPGI_HIDDEN int pthread_mutex_lock(pthread_mutex_t *m) {
  if (MPGI_UNLIKELY(!atomic_load(&real_lock))) find_real();
  return told(m, atomic_load(&real_lock)(m));
}

MPGI_HIDDEN int pthread_mutex_trylock(pthread_mutex_t *m) {
  if (MPGI_UNLIKELY(!atomic_load(&real_trylock))) find_real();
  return told(m, atomic_load(&real_trylock)(m));
}

MPGI_HIDDEN int pthread_mutex_timedlock(pthread_mutex_t *m,
                                        const struct timespec *until) {
  if (MPGI_UNLIKELY(!atomic_load(&real_timedlock)))
    atomic_store(&real_timedlock,
                 (timed_fn *) dlsym(RTLD_NEXT, "pthread_mutex_timedlock"));
  timed_fn *fn = atomic_load(&real_timedlock);
  return fn ? told(m, fn(m, until)) : ENOSYS; /* static, and libc has none */
}

MPGI_HIDDEN int pthread_mutex_unlock(pthread_mutex_t *m) {
  if (MPGI_UNLIKELY(!atomic_load(&real_unlock))) find_real();
  tell(m, -1);
  return atomic_load(&real_unlock)(m);
}

#endif

/* lockcheck.c - the C library's locks, counted.
 *
 * With MPG_DEBUG=lockcheck=1 sched is told (mpgi_lockcheck_hook) what the
 * calling thread takes and gives back, by calls in the program's own objects:
 *
 *   pthread_mutex_lock and its kin: hidden stand-ins for the C library's.
 *   They call the real ones, and hold the thread that owns a mutex
 *   (lockowner.c).  Ordinary code (built without splitnote.h),
 *   which needs the large segment when a goroutine calls it.  Not with ASan
 *   and TSan, whose run-time libraries have stand-ins themselves.
 *
 *   Read-write locks, spin locks, mtx_t: where there are C library stubs, those
 *   (libc.def) call mpgi_lockcheck_lock and ..._unlock in place of the real
 *   ones when the switch is on (libc_call.S).
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include <arch/arch.h>
#include <arch/common/check.h>
#include <arch/os.h>

bool (*_Atomic mpgi_lockcheck_hook)(const void *lock, int delta);

/* True: it was counted. */
static bool tell(const void *lock, int delta) {
  bool (*hook)(const void *, int) =
      atomic_load_explicit(&mpgi_lockcheck_hook, memory_order_relaxed);
  return MPGI_UNLIKELY(hook != NULL) && hook(lock, delta);
}

static int told(const void *lock, int err) {
  if (err == 0 || err == EOWNERDEAD) tell(lock, +1);
  return err;
}

/* ---- by stubs ---- */

int mpgi_lockcheck_lock(void *lock, uintptr_t a, uintptr_t b,
                        mpgi_lockcheck_fn *real) {
  return told(lock, real(lock, a, b));
}

/* Told before, because after it others may have the lock, or its memory; but
 * this one may not be the owner. */
int mpgi_lockcheck_unlock(void *lock, uintptr_t a, uintptr_t b,
                          mpgi_lockcheck_fn *real) {
  bool counted = tell(lock, -1);
  int err = real(lock, a, b);
  if (MPGI_UNLIKELY(err != 0) && counted) tell(lock, +1);
  return err;
}

/* ---- stand-ins ---- */

typedef int lock_fn(pthread_mutex_t *m);
typedef int timed_fn(pthread_mutex_t *m, const struct timespec *until);
typedef int clock_fn(pthread_mutex_t *m, clockid_t clock,
                     const struct timespec *until);

#ifndef MPGI_SANITIZE_SWITCHES

static lock_fn *_Atomic real_lock, *_Atomic real_trylock, *_Atomic real_unlock;
static timed_fn *_Atomic real_timedlock;
static clock_fn *_Atomic real_clocklock;

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
  if (__pthread_mutex_lock) return;
  atomic_store(&real_timedlock,
               (timed_fn *) dlsym(RTLD_NEXT, "pthread_mutex_timedlock"));
  atomic_store(&real_clocklock,
               (clock_fn *) dlsym(RTLD_NEXT, "pthread_mutex_clocklock"));
}

static int lock_by(void *m, uintptr_t a, uintptr_t b) {
  (void) a, (void) b;
  return atomic_load(&real_lock)(m);
}

static int trylock_by(void *m, uintptr_t a, uintptr_t b) {
  (void) a, (void) b;
  return atomic_load(&real_trylock)(m);
}

MPGI_HIDDEN int pthread_mutex_lock(pthread_mutex_t *m) {
  if (MPGI_UNLIKELY(!atomic_load(&real_lock))) find_real();
  return mpgi_hold_mutex(m, 0, 0, lock_by);
}

MPGI_HIDDEN int pthread_mutex_trylock(pthread_mutex_t *m) {
  if (MPGI_UNLIKELY(!atomic_load(&real_trylock))) find_real();
  return mpgi_hold_mutex(m, 0, 0, trylock_by);
}

/* Where there is no real one to be had (statically linked): now and then. */
static int try_until(pthread_mutex_t *m, clockid_t clock,
                     const struct timespec *until) {
  static const struct timespec tick = {0, 1000000};
  for (;;) {
    struct timespec now;
    int err = atomic_load(&real_trylock)(m);
    if (err != EBUSY) return err;
    if (until->tv_nsec < 0 || until->tv_nsec >= 1000000000 ||
        clock_gettime(clock, &now) != 0)
      return EINVAL;
    if (now.tv_sec > until->tv_sec ||
        (now.tv_sec == until->tv_sec && now.tv_nsec >= until->tv_nsec))
      return ETIMEDOUT;
    nanosleep(&tick, NULL);
  }
}

static int timed_by(void *m, uintptr_t at, uintptr_t b) {
  const struct timespec *until = (const struct timespec *) at;
  timed_fn *fn = atomic_load(&real_timedlock);
  (void) b;
  return fn ? fn(m, until) : try_until(m, CLOCK_REALTIME, until);
}

static int clock_by(void *m, uintptr_t clock, uintptr_t at) {
  const struct timespec *until = (const struct timespec *) at;
  clock_fn *fn = atomic_load(&real_clocklock);
  return fn ? fn(m, (clockid_t) clock, until)
            : try_until(m, (clockid_t) clock, until);
}

MPGI_HIDDEN int pthread_mutex_timedlock(pthread_mutex_t *m,
                                        const struct timespec *until) {
  if (MPGI_UNLIKELY(!atomic_load(&real_lock))) find_real();
  return mpgi_hold_mutex(m, (uintptr_t) until, 0, timed_by);
}

/* What std::timed_mutex calls. */
MPGI_HIDDEN int pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock,
                                        const struct timespec *until) {
  if (MPGI_UNLIKELY(!atomic_load(&real_lock))) find_real();
  return mpgi_hold_mutex(m, (uintptr_t) clock, (uintptr_t) until, clock_by);
}

static int unlock_by(void *m, uintptr_t a, uintptr_t b) {
  (void) a, (void) b;
  return atomic_load(&real_unlock)(m);
}

MPGI_HIDDEN int pthread_mutex_unlock(pthread_mutex_t *m) {
  if (MPGI_UNLIKELY(!atomic_load(&real_unlock))) find_real();
  return mpgi_drop_mutex(m, 0, 0, unlock_by);
}

#endif

/* For libmpg.so; programs linked with it have stand-ins of their own that
 * jump here (arch/x86_64/shared/locks.S). */
#define EXPORTED __attribute__((visibility("default")))
EXPORTED lock_fn mpg_abi_pthread_mutex_lock, mpg_abi_pthread_mutex_trylock,
    mpg_abi_pthread_mutex_unlock;
EXPORTED timed_fn mpg_abi_pthread_mutex_timedlock;
EXPORTED clock_fn mpg_abi_pthread_mutex_clocklock;

int mpg_abi_pthread_mutex_lock(pthread_mutex_t *m) {
  return pthread_mutex_lock(m);
}
int mpg_abi_pthread_mutex_trylock(pthread_mutex_t *m) {
  return pthread_mutex_trylock(m);
}
int mpg_abi_pthread_mutex_unlock(pthread_mutex_t *m) {
  return pthread_mutex_unlock(m);
}
int mpg_abi_pthread_mutex_timedlock(pthread_mutex_t *m,
                                    const struct timespec *until) {
  return pthread_mutex_timedlock(m, until);
}
int mpg_abi_pthread_mutex_clocklock(pthread_mutex_t *m, clockid_t clock,
                                    const struct timespec *until) {
  return pthread_mutex_clocklock(m, clock, until);
}

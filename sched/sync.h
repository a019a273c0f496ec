/* sync.h - what the locks share: the mutex's fast paths, and its slow ones for
 * g0.  Private to sched/: sync.c, rwmutex.c, cond.c, once.c.
 */
#ifndef MPGI_SYNC_H
#define MPGI_SYNC_H

#ifndef MPGI_GMP_H
#error "include sched/gmp.h first; sync.h is private to sched/"
#endif

#define MPGI_MUTEX_LOCKED 1u
#define MPGI_MUTEX_WOKEN 2u
#define MPGI_MUTEX_STARVING 4u

static inline _Atomic uint32_t *mpgi_sema_word(uint32_t *word) {
  return (_Atomic uint32_t *) word;
}

/* ---- for entry stubs, on the goroutine's stack ---- */

/* Fatal on a thread that has none and isn't attached. */
static inline __attribute__((always_inline)) void mpgi_stub_check(
    const char *what) {
  if (MPGI_UNLIKELY(!mpgi_tls_g())) mpgi_stub_misuse(what);
}
/* Others may wait: once a holder is preempted, they nearly always do.  So the
 * fast paths are also what lock_compete and mpgi_gmutex_unlock (sync.c) do when
 * nobody need wait and nobody be woken: taking a mutex that is free and not
 * starving; letting go of one while somebody that was woken tries.  Each is one
 * operation on the one word, as there. */
static inline __attribute__((always_inline)) void mpgi_mutex_fast_lock(
    mpg_mutex *m) {
  uint32_t old = 0;
  while (!__atomic_compare_exchange_n(&m->state, &old, old | MPGI_MUTEX_LOCKED,
                                      false, __ATOMIC_ACQUIRE,
                                      __ATOMIC_RELAXED)) {
    if (!(old & (MPGI_MUTEX_LOCKED | MPGI_MUTEX_STARVING))) continue;
    mpgi_thunk_mutex_lock_slow(m);
    return;
  }
}
static inline __attribute__((always_inline)) void mpgi_mutex_fast_unlock(
    mpg_mutex *m) {
  uint32_t flags = MPGI_MUTEX_LOCKED | MPGI_MUTEX_WOKEN | MPGI_MUTEX_STARVING;
  uint32_t old = MPGI_MUTEX_LOCKED;
  while (!__atomic_compare_exchange_n(&m->state, &old, old - MPGI_MUTEX_LOCKED,
                                      false, __ATOMIC_RELEASE,
                                      __ATOMIC_RELAXED)) {
    if ((old & flags) == (MPGI_MUTEX_LOCKED | MPGI_MUTEX_WOKEN)) continue;
    mpgi_thunk_mutex_unlock_slow(m);
    return;
  }
}

/* sync.c, on g0.  Take m on behalf of gp, which runs on this M and may be in
 * its on_resume.  When it has to wait this doesn't return: gp has the lock
 * when it goes on behind its entry thunk. */
MPGI_HIDDEN void mpgi_gmutex_lock(struct mpg_g *gp, mpg_mutex *m);
/* Fatal when it isn't locked.  m isn't touched any more once somebody else may
 * have it. */
MPGI_HIDDEN void mpgi_gmutex_unlock(mpg_mutex *m);
MPGI_HIDDEN void mpgi_gmutex_assert_locked(const mpg_mutex *m);

#endif /* MPGI_SYNC_H */

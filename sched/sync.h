/* sync.h - what the locks share: the mutex's fast paths, and its slow ones for
 * g0.  Private to sched/: sync.c, rwmutex.c, cond.c, once.c.
 */
#ifndef MPGI_SYNC_H
#define MPGI_SYNC_H

#ifndef MPGI_GMP_H
#error "include sched/gmp.h first; sync.h is private to sched/"
#endif

#define MPGI_MUTEX_LOCKED 1u

static inline _Atomic uint32_t *mpgi_sema_word(uint32_t *word) {
  return (_Atomic uint32_t *) word;
}

/* ---- for entry stubs, on the goroutine's stack ---- */

/* Fatal on a thread that has none and isn't attached. */
static inline __attribute__((always_inline)) void mpgi_stub_check(
    const char *what) {
  if (MPGI_UNLIKELY(!mpgi_tls_g())) mpgi_stub_misuse(what);
}
static inline __attribute__((always_inline)) void mpgi_mutex_fast_lock(
    mpg_mutex *m) {
  uint32_t free = 0;
  if (!__atomic_compare_exchange_n(&m->state, &free, MPGI_MUTEX_LOCKED, false,
                                   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
    mpgi_thunk_mutex_lock_slow(m);
}
static inline __attribute__((always_inline)) void mpgi_mutex_fast_unlock(
    mpg_mutex *m) {
  uint32_t held = MPGI_MUTEX_LOCKED;
  if (!__atomic_compare_exchange_n(&m->state, &held, 0, false, __ATOMIC_RELEASE,
                                   __ATOMIC_RELAXED))
    mpgi_thunk_mutex_unlock_slow(m);
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

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
/* One operation each, whoever else waits or is awake and tries: once a holder
 * is preempted, somebody nearly always does. */
static inline __attribute__((always_inline)) void mpgi_mutex_fast_lock(
    mpg_mutex *m) {
  _Static_assert(MPGI_MUTEX_LOCKED == 1, "mpgi_arch_lock_bit sets this");
  if (mpgi_arch_lock_bit(&m->state)) mpgi_thunk_mutex_lock_slow(m);
}

/* Let go of m, except when it is starving: that is handed over.  False: that,
 * or somebody is to be woken, or it wasn't locked; *was is what it was,
 * starving only when m is locked still. */
static inline __attribute__((always_inline)) bool mpgi_mutex_let_go(
    mpg_mutex *m, uint32_t *was) {
  *was = __atomic_load_n(&m->state, __ATOMIC_RELAXED);
  if (MPGI_UNLIKELY(*was & MPGI_MUTEX_STARVING)) return false;
  *was = __atomic_fetch_sub(&m->state, MPGI_MUTEX_LOCKED, __ATOMIC_RELEASE);
  uint32_t nobody = MPGI_MUTEX_LOCKED, tries = nobody | MPGI_MUTEX_WOKEN;
  if (*was == nobody || (*was & tries) == tries) return true;
  *was &= ~MPGI_MUTEX_STARVING;
  return false;
}
static inline __attribute__((always_inline)) void mpgi_mutex_fast_unlock(
    mpg_mutex *m) {
  uint32_t was;
  if (!mpgi_mutex_let_go(m, &was)) mpgi_thunk_mutex_unlock_slow(m, was);
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

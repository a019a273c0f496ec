/* sync.c - mutex, wait group, semaphore, over semaphores of sema.c.  (Others:
 * rwmutex.c, cond.c, once.c.)
 *
 * Fast paths are entry stubs that run on the goroutine's stack: one atomic
 * operation, no call but to a thunk.  Slow paths run on g0; where one must go
 * on after a wait it does so in the goroutine's on_resume.
 *
 * Mutex state: bit 0 locked, bit 1 woken (somebody is awake and tries: unlock
 * wakes nobody else), bit 2 starving, the rest counts waiters.  Normal mode: a
 * woken waiter competes with newcomers.  A waiter of more than 1 ms turns the
 * mutex starving: it stays locked and is handed to the first waiter, newcomers
 * queue at the end; it turns back when the last waiter, or one of less than
 * 1 ms, gets it.  Source: Go sync/mutex.go.
 *
 * [mutex.late] Who lets go of a mutex and sees by the same operation that
 * somebody waits must not look at the word again just so: another may have
 * taken it since, woken the waiter, and whoever is last may have freed the
 * memory.  So what is done for waiters is done under their queue's lock:
 *   waiter   CAS: one waiter more          let go   locked off; waiters seen
 *            the queue's lock                       the queue's lock
 *            not locked any more: take it           somebody queued: he can't
 *            else queue                             leave, so the word is
 *                                                   there: wake, or hand over
 *                                                   nobody queued: nothing
 * Whichever has that lock first, the waiter is woken or takes it.  A waiter
 * that is counted and not queued is nobody's to wake: the count falls with the
 * queue only, or by the waiter itself [mutex.inv.count].
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/sync.h>

#define LOCKED MPGI_MUTEX_LOCKED
#define WOKEN MPGI_MUTEX_WOKEN
#define STARVING MPGI_MUTEX_STARVING
#define WAITER 8u
#define STARVE_NS (1000 * 1000)

static _Atomic uint32_t *state_of(mpg_mutex *m) {
  return (_Atomic uint32_t *) &m->state;
}
static _Atomic uint32_t *sema_of(uint32_t *word) {
  return mpgi_sema_word(word);
}

/* ---- mutex ---- */

MPGI_RT_TEXT void mpg_mutex_lock(mpg_mutex *m) {
  mpgi_stub_check("mpg_mutex_lock");
  mpgi_mutex_fast_lock(m);
}

MPGI_RT_TEXT bool mpg_mutex_trylock(mpg_mutex *m) {
  mpgi_stub_check("mpg_mutex_trylock");
  uint32_t old = __atomic_load_n(&m->state, __ATOMIC_RELAXED);
  return !(old & (LOCKED | STARVING)) &&
         __atomic_compare_exchange_n(&m->state, &old, old | LOCKED, false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

MPGI_RT_TEXT void mpg_mutex_unlock(mpg_mutex *m) {
  mpgi_stub_check("mpg_mutex_unlock");
  mpgi_mutex_fast_unlock(m);
}

/* A starving mutex has waiters. */
static uint32_t less_a_waiter(uint32_t state) {
  state -= WAITER;
  return state < WAITER ? state & ~STARVING : state;
}

/* It was let go of since the caller was counted as a waiter [mutex.late]. */
static bool take_late(_Atomic uint32_t *state) {
  uint32_t old = atomic_load(state);
  do {
    if (old & LOCKED) return false;
  } while (
      !atomic_compare_exchange_weak(state, &old, less_a_waiter(old) | LOCKED));
  return true;
}

static void lock_resumed(struct mpg_g *gp);

/* Compete for m on behalf of gp, which runs on this M.  Returns with m held;
 * when it has to wait it doesn't return (gp comes back by lock_resumed). */
static void lock_compete(struct mpg_g *gp, mpg_mutex *m, bool awoke) {
  _Atomic uint32_t *state = state_of(m);
  struct mpg_m *mp = gp->m;
  uint32_t old = atomic_load(state), new;
  do {
    new = old &LOCKED ? old + WAITER : old | LOCKED;
    if (gp->wait.starving && (old & LOCKED)) new |= STARVING;
    if (awoke) new &= ~WOKEN;
  } while (!atomic_compare_exchange_weak(state, &old, new));
  if (!(old & LOCKED)) return;
  bool again = gp->wait.since != 0;
  if (!again) gp->wait.since = mpgi_os_now();
  gp->lock = m;
  if (!mpgi_sema_park_unless(mp, state, MPGI_WAIT_MUTEX, again, lock_resumed,
                             take_late))
    mpgi_schedule(mp);
}

/* gp was woken: it owns m if that was handed over, else it competes again. */
static void lock_resumed(struct mpg_g *gp) {
  mpg_mutex *m = gp->lock;
  gp->wait.starving |= mpgi_os_now() - gp->wait.since > STARVE_NS;
  if (!gp->wait.handed)
    lock_compete(gp, m, true);
  else if (!gp->wait.starving)
    atomic_fetch_and(state_of(m), ~STARVING);
}

void mpgi_gmutex_lock(struct mpg_g *gp, mpg_mutex *m) {
  gp->wait.since = 0;
  gp->wait.starving = false;
  lock_compete(gp, m, false);
}

void mpgi_mutex_lock_slow_g0(mpg_mutex *m) {
  mpgi_gmutex_lock(mpgi_current_g("mpg_mutex_lock"), m);
}

void mpgi_gmutex_assert_locked(const mpg_mutex *m) {
  if (!(__atomic_load_n(&m->state, __ATOMIC_RELAXED) & LOCKED))
    mpgi_fatal("unlock of unlocked mutex");
}

/* Still locked, starving: to the first waiter, or to none. */
static bool hand_over(_Atomic uint32_t *state, struct mpgi_waiter *first) {
  if (!first) {
    atomic_fetch_and(state, ~LOCKED); /* [mutex.late] */
    return false;
  }
  uint32_t old = atomic_load(state);
  while (!atomic_compare_exchange_weak(state, &old, less_a_waiter(old)))
    ;
  first->handed = true;
  return true;
}

/* Not locked any more, unless somebody took it: then he will wake.  Who waits
 * for another sort of object doesn't: memory is used again. */
static bool pass_on(_Atomic uint32_t *state, struct mpgi_waiter *first) {
  if (!first || first->g->on_resume != lock_resumed) return false;
  uint32_t old = atomic_load(state);
  do {
    if (old & (LOCKED | WOKEN)) return false;
  } while (!atomic_compare_exchange_weak(
      state, &old, less_a_waiter(old) | (old & STARVING ? LOCKED : WOKEN)));
  first->handed = old & STARVING;
  return true;
}

/* mpgi_mutex_let_go said false. */
static void unlock_slow(mpg_mutex *m, uint32_t was) {
  if (!(was & LOCKED)) mpgi_fatal("unlock of unlocked mutex");
  mpgi_sema_wake_if(state_of(m), was & STARVING ? hand_over : pass_on);
}

void mpgi_gmutex_unlock(mpg_mutex *m) {
  uint32_t was;
  if (!mpgi_mutex_let_go(m, &was)) unlock_slow(m, was);
}

void mpgi_mutex_unlock_slow_g0(mpg_mutex *m, uint32_t was) {
  mpgi_current_g("mpg_mutex_unlock");
  unlock_slow(m, was);
}

/* ---- wait group: count << 32 | waiters ---- */

static _Atomic uint64_t *wg_state(mpg_waitgroup *wg) {
  return (_Atomic uint64_t *) &wg->state;
}

/* Nobody to wake, and nothing wrong. */
static inline bool wg_is_quiet(uint64_t now, int n) {
  int32_t count = (int32_t) (now >> 32);
  return count >= 0 && ((uint32_t) now == 0 || (count > 0 && n < 0));
}

MPGI_RT_TEXT void mpg_waitgroup_add(mpg_waitgroup *wg, int n) {
  mpgi_stub_check("mpg_waitgroup_add");
  uint64_t delta = (uint64_t) (int64_t) n << 32;
  uint64_t now = __atomic_add_fetch(&wg->state, delta, __ATOMIC_ACQ_REL);
  if (!wg_is_quiet(now, n)) mpgi_thunk_waitgroup_add_slow(wg, n, now);
}

MPGI_RT_TEXT void mpg_waitgroup_done(mpg_waitgroup *wg) {
  mpgi_stub_check("mpg_waitgroup_done");
  uint64_t delta = (uint64_t) -1 << 32;
  uint64_t now = __atomic_add_fetch(&wg->state, delta, __ATOMIC_ACQ_REL);
  if (!wg_is_quiet(now, -1)) mpgi_thunk_waitgroup_add_slow(wg, -1, now);
}

void mpgi_waitgroup_add_slow_g0(mpg_waitgroup *wg, int n, uint64_t now) {
  int32_t count = (int32_t) (now >> 32);
  uint32_t waiters = (uint32_t) now;
  mpgi_current_g("mpg_waitgroup_add");
  if (count < 0) mpgi_fatal("negative WaitGroup counter");
  bool raised = n > 0 && count == n;
  if (waiters != 0 &&
      (raised || (count == 0 && atomic_load(wg_state(wg)) != now)))
    mpgi_fatal("WaitGroup misuse: Add called concurrently with Wait");
  if (count > 0) return;
  atomic_store(wg_state(wg), 0);
  for (; waiters; waiters--) mpgi_sema_release(sema_of(&wg->sema));
}

void mpgi_waitgroup_wait_g0(mpg_waitgroup *wg) {
  struct mpg_g *gp = mpgi_current_g("mpg_waitgroup_wait");
  struct mpg_m *mp = gp->m;
  uint64_t now = atomic_load(wg_state(wg));
  do {
    if ((int32_t) (now >> 32) == 0) return;
  } while (!atomic_compare_exchange_weak(wg_state(wg), &now, now + 1));
  if (!mpgi_sema_acquire(mp, sema_of(&wg->sema), MPGI_WAIT_WAITGROUP, false,
                         NULL))
    mpgi_schedule(mp);
}

/* ---- semaphore ---- */

static inline __attribute__((always_inline)) bool sem_take(mpg_sem *s) {
  uint32_t n = __atomic_load_n(&s->count, __ATOMIC_RELAXED);
  while (n > 0)
    if (__atomic_compare_exchange_n(&s->count, &n, n - 1, true,
                                    __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
      return true;
  return false;
}

MPGI_RT_TEXT bool mpg_sem_try_acquire(mpg_sem *s) {
  mpgi_stub_check("mpg_sem_try_acquire");
  return sem_take(s);
}

MPGI_RT_TEXT void mpg_sem_acquire(mpg_sem *s) {
  mpgi_stub_check("mpg_sem_acquire");
  if (!sem_take(s)) mpgi_thunk_sem_acquire_slow(s);
}

MPGI_RT_TEXT void mpg_sem_release(mpg_sem *s) { mpgi_thunk_sem_wake(s); }

void mpgi_sem_acquire_slow_g0(mpg_sem *s) {
  struct mpg_g *gp = mpgi_current_g("mpg_sem_acquire");
  struct mpg_m *mp = gp->m;
  if (!mpgi_sema_acquire(mp, sema_of(&s->count), MPGI_WAIT_SEM, false, NULL))
    mpgi_schedule(mp);
}

void mpgi_sem_wake_g0(mpg_sem *s) {
  mpgi_current_g("mpg_sem_release");
  mpgi_sema_release(sema_of(&s->count));
}

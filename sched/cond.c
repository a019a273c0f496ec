/* cond.c - condition variables.
 *
 * Waiters queue in the semaphore table (sema.c) under the address of waiting,
 * which counts them and is changed under the bucket's lock.
 *
 *   wait    1. queue and park  2. release the mutex
 *   signal  read waiting; not zero: take the first waiter out
 * A signal by somebody who held the mutex after the waiter released it sees
 * the waiter: waiting was raised before the release.  A signal without the
 * mutex may come too early, as with every condition variable.
 *
 * The goroutine is parked when the mutex is released on its behalf: by then it
 * may be awake on another M, where it queues for the mutex.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/sync.h>

static void cond_resumed(struct mpg_g *gp) { mpgi_gmutex_lock(gp, gp->lock); }

void mpgi_cond_wait_g0(mpg_cond *c, mpg_mutex *m) {
  struct mpg_g *gp = mpgi_current_g("mpg_cond_wait");
  struct mpg_m *mp = gp->m;
  mpgi_gmutex_assert_locked(m);
  gp->lock = m;
  mpgi_sema_park(mp, mpgi_sema_word(&c->waiting), MPGI_WAIT_COND, cond_resumed);
  mpgi_gmutex_unlock(m);
  mpgi_schedule(mp);
}

static void wake(mpg_cond *c, uint32_t most) {
  struct mpgi_gqueue woken = {0};
  mpgi_sema_unpark(mpgi_sema_word(&c->waiting), most, &woken);
  for (struct mpg_g *gp; (gp = mpgi_gqueue_pop(&woken));) mpgi_ready(gp);
}

void mpgi_cond_signal_slow_g0(mpg_cond *c) {
  mpgi_current_g("mpg_cond_signal");
  wake(c, 1);
}
void mpgi_cond_broadcast_slow_g0(mpg_cond *c) {
  mpgi_current_g("mpg_cond_broadcast");
  wake(c, UINT32_MAX);
}

MPGI_RT_TEXT void mpg_cond_signal(mpg_cond *c) {
  mpgi_stub_check("mpg_cond_signal");
  if (__atomic_load_n(&c->waiting, __ATOMIC_RELAXED))
    mpgi_thunk_cond_signal_slow(c);
}
MPGI_RT_TEXT void mpg_cond_broadcast(mpg_cond *c) {
  mpgi_stub_check("mpg_cond_broadcast");
  if (__atomic_load_n(&c->waiting, __ATOMIC_RELAXED))
    mpgi_thunk_cond_broadcast_slow(c);
}

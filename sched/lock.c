/* lock.c - goroutines locked to a thread (mpg_lock_thread).
 *
 * gp->locked_m and mp->locked_g point at each other while lock_count > 0 or
 * owned_locks > 0 (locks of the C library, arch/linux/lockowner.c); both are
 * written by the goroutine itself.
 *
 *   the goroutine parks     its M hands its P on and waits (nmidlelocked)
 *   somebody picks it       that M gives its P to the waiting one and looks
 *                           for other work without
 * The status passes the goroutine on as always: it is on a run queue until
 * picked, and only its own M executes it.
 *
 * [lock.inv.wait] next_p of a locked M is written only by the M that took its
 * goroutine off a run queue, which happens once for each time it is made
 * runnable; so next_p is empty then.  Checked in mpgi_lock_give_p.
 *
 * A goroutine that ends without unlocking ends its thread, as in Go: it was
 * locked because it changed the thread (namespaces, credentials, a signal
 * mask), so nobody else may have it.
 *
 * Source: Go proc.go (LockOSThread, stoplockedm, startlockedm).
 */
#include <sched/sched.h>

#include <sched/gmp.h>
#include <sched/hot.h>

/* In line: also from RT_TEXT. */
MPGI_HOT void lock(struct mpg_g *gp) {
  gp->extra |= MPGI_EXTRA_LOCKED;
  gp->locked_m = gp->m;
  gp->m->locked_g = gp;
}

MPGI_HOT void unlock(struct mpg_g *gp) {
  gp->locked_m = NULL;
  gp->m->locked_g = NULL;
  gp->extra &= (uint8_t) ~MPGI_EXTRA_LOCKED;
}

void mpgi_lock_thread_g0(void) {
  struct mpg_g *gp = mpgi_current_g("mpg_lock_thread");
  if (gp->lock_count == UINT32_MAX)
    mpgi_fatal("mpg_lock_thread nests too deep");
  gp->lock_count++;
  lock(gp);
}

void mpgi_unlock_thread_g0(void) {
  struct mpg_g *gp = mpgi_current_g("mpg_unlock_thread");
  if (gp->lock_count == 0 || --gp->lock_count > 0 || gp->attached) return;
  if (gp->owned_locks > 0) return;
  unlock(gp);
}

/* Also of somebody who is in a function of the C library, and in signal
 * handlers, in pairs.  Nobody is preempted in these. */
MPGI_RT_TEXT void mpgi_thread_hold(void) {
  struct mpg_g *gp = mpgi_tls_user();
  if (!gp || gp->attached) return;
  gp->owned_locks++;
  lock(gp);
}

MPGI_RT_TEXT void mpgi_thread_drop(void) {
  struct mpg_g *gp = mpgi_tls_user();
  if (!gp || gp->attached || gp->owned_locks == 0) return;
  if (--gp->owned_locks > 0 || gp->lock_count > 0) return;
  unlock(gp);
}

/* Without a P until somebody brings one for the locked goroutine. */
static void wait_for_p(struct mpg_m *mp) {
  MPGI_CHAOS();
  mpgi_note_clear(&mp->park);
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_sched.nmidle_locked++;
  mpgi_checkdead_locked();
  mpgi_mutex_unlock(&mpgi_sched.lock);
  /* The giver writes next_p, then wakes; here the note is cleared, then
   * next_p read: a wake-up that was cleared away has left a P. */
  while (!atomic_load(&mp->next_p) && !atomic_load(&mpgi_sched.exiting))
    mpgi_m_sleep(mp);
  MPGI_CHAOS();
  struct mpg_p *pp = atomic_exchange(&mp->next_p, NULL);
  if (!pp) mpgi_m_exit(mp);
  mpgi_p_acquire(mp, pp);
}

void mpgi_lock_run(struct mpg_m *mp) {
  struct mpg_g *gp = mp->locked_g;
  MPG_ASSERT(gp->locked_m == mp && !mp->curg);
  if (mp->p) mpgi_m_handoff(mpgi_p_release(mp));
  wait_for_p(mp);
  mpgi_execute(mp, gp, false);
}

void mpgi_lock_give_p(struct mpg_m *mp, struct mpg_g *gp) {
  struct mpg_m *to = gp->locked_m;
  MPG_ASSERT(to != mp && to->locked_g == gp);
  MPG_ASSERT(!atomic_load(&to->next_p));
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_sched.nmidle_locked--; /* before it waits: -1 for a moment */
  mpgi_mutex_unlock(&mpgi_sched.lock);
  MPGI_CHAOS();
  atomic_store(&to->next_p, mpgi_p_release(mp));
  MPGI_CHAOS();
  mpgi_note_wake(&to->park);
}

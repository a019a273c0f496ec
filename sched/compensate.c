/* compensate.c - raw blocking calls must not stop the others.
 *
 * A goroutine that calls straight into libc and blocks keeps its P: nobody
 * may take it away, the thread can come back at any instruction.  Instead,
 * while sysmon finds a P stuck (its thread has burnt no CPU for a while and
 * its slice is over), one compensating P more than gomaxprocs may run.  When
 * the thread comes back, one of them is retired (p.c): it ends at its next
 * visit to the scheduler.  The stuck P's queue is stolen from as usual.
 *
 * [compensate.inv.count] Compensating Ps are those of allp beyond procs that
 * are neither dead nor retiring nor attached; sysmon alone makes them, so that
 * there are never more than stuck Ps, but for the moment until it looks again.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

static bool is_extra(const struct mpg_p *pp) {
  return pp->id >= atomic_load(&mpgi_sched.procs) && !mpgi_p_retires(pp) &&
         !pp->attached && atomic_load(&pp->status) != MPGI_P_DEAD;
}

static int extras(void) {
  int n = 0;
  for (int32_t i = 0; i < mpgi_sched.nallp; i++)
    n += is_extra(mpgi_sched.allp[i]);
  return n;
}

/* A dead P beyond procs, running (in transit); NULL: none, or a stop. */
static struct mpg_p *revive(void) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  struct mpg_p *pp = mpgi_stw_waiting() ? NULL : mpgi_p_revive_locked();
  mpgi_mutex_unlock(&mpgi_sched.lock);
  return pp;
}

/* Retiring Ps still hold their entries: then one more is made. */
static struct mpg_p *make_another(void) {
  return mpgi_p_make_one() ? NULL
                           : revive(); /* no memory: sysmon tries again */
}

static bool add_one(void) {
  struct mpg_p *pp = revive();
  if (!pp && !mpgi_stw_waiting()) pp = make_another();
  MPGI_CHAOS();
  if (pp) mpgi_m_start(pp, false);
  return pp != NULL;
}

/* One that runs isn't signalled here: its thread may be about to block in the
 * kernel, or may have been woken there and wait for a CPU, and a poll that
 * finds a signal says EINTR although its time is over.  Sysmon asks once it has
 * seen the thread burn its CPU (sysmon.c, slice_is_over). */
static void remove_one(void) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  for (int32_t i = mpgi_sched.nallp; !mpgi_stw_waiting() && i-- > 0;) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    if (!is_extra(pp)) continue;
    mpgi_p_shrink_locked(pp);
    break;
  }
  mpgi_mutex_unlock(&mpgi_sched.lock);
}

/* The other one is to have what waits behind the thread that is stuck.  Only
 * the first is ever shut (p.c). */
static bool open_first(void) {
  struct mpg_p *pp = mpgi_sched.allp[0];
  if (!atomic_load(&pp->shut)) return true;
  mpgi_mutex_lock(&mpgi_sched.lock);
  bool open = mpgi_runq_open_locked(pp);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  return open;
}

void mpgi_compensate(int stuck) {
  if (stuck && !open_first()) return; /* sysmon tries again */
  int have = extras();
  while (have < stuck && add_one()) have++;
  for (; have > stuck; have--) remove_one();
}

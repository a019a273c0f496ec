/* alarm.c - sysmon comes to run although loops have every CPU.
 *
 * A thread that wakes up gets the CPU of one that runs when its own deadline,
 * in the kernel's reckoning, is the earlier one.  When the loop that runs there
 * is near the end of its kernel slice it isn't, and the kernel looks again at
 * its next tick: 2 to 4 ms later, at 250 Hz.  That befell one wake-up in 300,
 * and whoever waited for sysmon to preempt somebody was as late.
 *
 * So while every P is busy and somebody may want one, a timer of the kernel's
 * stands for each P's thread, a little after sysmon means to wake up.  It
 * interrupts the thread that runs, whose handler yields its CPU: that ends its
 * kernel slice.  Sysmon may wait for another CPU, though, and of a virtual
 * machine's some don't run for milliseconds: if a timer is due then, and the
 * goroutine has had its fair while, the handler does what sysmon would. Sysmon,
 * if it is on time, sets the timer anew before it goes off; so signals are as
 * rare as it is late.
 *
 * A signal would end a raw poll or nanosleep with EINTR.  Therefore only a
 * thread that used the CPU since sysmon's last look gets a timer; and one that
 * blocks in the kernel leaves sysmon a CPU, unless other processes want it.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#define GRACE_NS (100 * 1000)

/* The thread used its CPU since the last look: a half of the time, because it
 * may have had to share it. */
static bool burns(struct mpgi_alarm *a, const struct mpg_m *mp, int64_t now) {
  int64_t cpu = mpgi_os_clock_read(mp->cpu_clock);
  bool same = a->tid == mp->tid;
  bool burnt = same && 2 * (cpu - a->cpu) > now - a->cpuwhen;
  a->tid = mp->tid;
  a->cpu = cpu;
  a->cpuwhen = now;
  return burnt;
}

void mpgi_alarms_set(int64_t now, int64_t until) {
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    const struct mpg_m *mp = pp->m; /* records of threads are never freed */
    struct mpgi_alarm *a = &pp->mon_alarm;
    bool runs = mp && !pp->attached && !pp->mon_stuck &&
                atomic_load(&pp->status) == MPGI_P_RUNNING;
    if (runs && mp->tid && burns(a, mp, now)) {
      atomic_store_explicit(&a->tick, pp->mon_schedtick, memory_order_relaxed);
      atomic_store_explicit(&a->fair_until, pp->mon_schedwhen + MPGI_FAIR_NS,
                            memory_order_relaxed);
      mpgi_os_alarm_set(&a->os, mp->tid, until + GRACE_NS);
    } else {
      mpgi_os_alarm_cancel(&a->os);
    }
  }
}

/* Sysmon may be setting it anew just now.  Half of that does no harm: at most
 * one slice is ended too soon. */
static bool had_fair_while(const struct mpg_p *pp, int64_t now) {
  const struct mpgi_alarm *a = &pp->mon_alarm;
  return atomic_load_explicit(&a->tick, memory_order_relaxed) ==
             atomic_load_explicit(&pp->schedtick, memory_order_relaxed) &&
         atomic_load_explicit(&a->fair_until, memory_order_relaxed) <= now;
}

void mpgi_alarm_sig(struct mpg_m *mp) {
  mpgi_os_yield(); /* to sysmon, which then asks us */
  struct mpg_p *pp = mp->p;
  struct mpg_g *gp = mp->curg;
  if (!pp || !gp) return;
  int64_t now = mpgi_os_now();
  if (!had_fair_while(pp, now) || mpgi_timers_first() > now) return;
  mpgi_want(MPGI_WANT_TIMERS);
  mpgi_preempt_asked(pp, gp);
  atomic_fetch_or(&gp->ctx.preempt, MPGI_PREEMPT_SLICE);
}

void mpgi_alarms_cancel(void) {
  for (int32_t i = 0; i < mpgi_sched.nallp; i++)
    mpgi_os_alarm_cancel(&mpgi_sched.allp[i]->mon_alarm.os);
}

void mpgi_alarms_end(void) {
  for (int32_t i = 0; i < mpgi_sched.nallp_made; i++)
    mpgi_os_alarm_end(&mpgi_sched.allp[i]->mon_alarm.os);
}

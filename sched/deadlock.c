/* deadlock.c - nobody can ever run again.
 *
 * Called under sched.lock when an M goes idle, or waits for its locked
 * goroutine, or ends.  Ms in system calls and the M
 * that sleeps for a timer are not idle, so they count as running: there is a
 * deadlock only when every M is idle.  Then no goroutine is running or
 * runnable (the last M looked everywhere before it got here) and no timer is
 * set.  sysmon puts goroutines into the global queue, which is therefore looked
 * at last.  Source: Go proc.go (checkdead).
 */
#include <sched/sched.h>

#include <sched/gmp.h>

void mpgi_checkdead_locked(void) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  if (atomic_load(&mpgi_sched.exiting)) return;
  if (mpgi_sched.nm - mpgi_sched.nmidle - mpgi_sched.nmidle_locked > 0) return;
  if (mpgi_timers_first() != INT64_MAX || mpgi_stw_waiting()) return;
  if (mpgi_sched.runq.n) return; /* sysmon finds a thread for it */
  if (atomic_load(&mpgi_sched.ngoroutines) == 0)
    mpgi_fatal("no goroutines (main called mpg_goexit) - deadlock!");
  mpgi_fatal("all goroutines are asleep - deadlock!");
}

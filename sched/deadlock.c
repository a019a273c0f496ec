/* deadlock.c - nobody can ever run again.
 *
 * Called under sched.lock when an M goes idle, or waits for its locked
 * goroutine, or ends.  Ms in system calls and the M that sleeps for a timer
 * are not idle, so they count as running: there is a deadlock only when every
 * M is idle.  Then no goroutine is running or runnable (the last M looked
 * everywhere before it got here), and the question is who may still come to
 * help (help_may_come).  sysmon puts goroutines into the global queue, which
 * is therefore looked at last.
 *
 * [deadlock.poller] The one that sleeps for a timer, or in epoll, may sleep for
 * what is there no more: a timer that was stopped, a descriptor that was
 * closed. So when it is the only one it is woken to look again, and comes here:
 *   here    timers and descriptors: none; under sched.lock: poller? wake it
 *   poller  poller = itself; timers and descriptors: none? it doesn't sleep
 *
 * Threads.  An attached one may wake anybody at any time.  So may one that is
 * about to attach: a goroutine that starts such a thread and waits for it must
 * not be reported.  If the program can attach threads at all
 * (attach_api.c) and has threads that are not ours, beside the one in
 * mpg_run, nothing is reported; sysmon asks again now and then, because they
 * may end (deadlock_suspected).
 *
 * Source: Go proc.go (checkdead); the last paragraph is ours.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

MPGI_HIDDEN extern const char mpgi_threads_may_attach __attribute__((weak));

/* Is there a thread that may attach? */
static bool thread_may_attach(void) {
  if (!&mpgi_threads_may_attach) return false;
  int n = mpgi_os_threads_foreign();
  return n < 0 || n > 1;
}

/* An M that ends may have a P in its hands still. */
static int32_t running_locked(void) {
  const struct mpgi_sched *s = &mpgi_sched;
  return s->nm + s->nm_ending - s->nmidle - s->nmidle_locked;
}

/* Will something outside the Ms make a goroutine runnable? */
static bool help_may_come(void) {
  if (mpgi_timers_first() != INT64_MAX || mpgi_stw_waiting()) return true;
  return mpgi_netpoll_waiting() || atomic_load(&mpgi_sched.nattached) > 0;
}

void mpgi_checkdead_locked(void) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  atomic_store(&mpgi_sched.deadlock_suspected, 0);
  if (atomic_load(&mpgi_sched.exiting)) return;
  int32_t running = running_locked();
  if (running > 1 || help_may_come()) return;
  if (running == 1) { /* [deadlock.poller] */
    mpgi_poller_doubt();
    return;
  }
  if (mpgi_globq_n_locked()) return; /* sysmon finds a thread for it */
  if (thread_may_attach()) {
    atomic_store(&mpgi_sched.deadlock_suspected, 1);
    mpgi_sysmon_wake(); /* it may sleep deeply already */
    return;
  }
  if (mpgi_g_count() == 0)
    mpgi_fatal("no goroutines (main called mpg_goexit) - deadlock!");
  mpgi_fatal("all goroutines are asleep - deadlock!");
}

void mpgi_checkdead_again(void) {
  if (!atomic_load(&mpgi_sched.deadlock_suspected)) return;
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_checkdead_locked();
  mpgi_mutex_unlock(&mpgi_sched.lock);
}

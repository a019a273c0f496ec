/* status.c - the states of a goroutine, and the one function that writes them
 * (hot.h; in line where a switch is made).
 *
 * [status.inv.owner] The status tells who owns the G and its stack:
 *   idle       its maker
 *   runnable   whoever takes it off its run queue
 *   running    the M whose curg it is
 *   syscall    the M whose curg it is; the collector reads its saved SP
 *   waiting    whoever holds the queue entry that will ready it
 *   preempted  the M whose curg it is, stopped in place
 *   copystack  swapped out: the stopper, in whose stop it was waiting or
 *              runnable; swapped in: the M whose curg it is, on g0, so that no
 *              stop sees it (move.c)
 *   dead       the free list's owner
 * Only the owner changes it, so a release store is enough; readers on other
 * threads (dumps, the collector) use acquire.  Checked by mpgi_hot_status_may.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/hot.h>

void mpgi_g_status_set(struct mpg_g *gp, enum mpgi_g_status from,
                       enum mpgi_g_status to) {
  mpgi_hot_status_set(gp, from, to);
}

/* A goroutine that waits or ends has let go of its thread by now. */
void mpgi_status_wrong(struct mpg_g *gp, enum mpgi_g_status from,
                       enum mpgi_g_status to) {
  struct mpg_m *mp = mpgi_tls_m();
  uint32_t now = mpgi_g_status(gp);
  if (mp && from == MPGI_G_RUNNING && now == MPGI_G_SYSCALL) {
    mp->curg = gp; /* for the traceback */
    gp->m = mp;
    mpgi_fatal("a goroutine %s inside mpg_syscall_enter or mpg_blocking",
               to == MPGI_G_DEAD ? "ends" : "waits");
  }
  MPG_VERIFY(now == from && mpgi_hot_status_may(from, to));
  __builtin_unreachable();
}

const char *mpgi_g_status_name(uint32_t status) {
  static const char *const names[] = {
      [MPGI_G_IDLE] = "idle",           [MPGI_G_RUNNABLE] = "runnable",
      [MPGI_G_RUNNING] = "running",     [MPGI_G_SYSCALL] = "syscall",
      [MPGI_G_WAITING] = "waiting",     [MPGI_G_DEAD] = "dead",
      [MPGI_G_COPYSTACK] = "copystack", [MPGI_G_PREEMPTED] = "preempted",
  };
  status &= ~(uint32_t) MPGI_G_SCAN;
  if (status >= sizeof names / sizeof *names || !names[status]) return "???";
  return names[status];
}

const char *mpgi_wait_reason_name(uint8_t reason) {
  static const char *const names[MPGI_WAIT_REASONS] = {
      [MPGI_WAIT_NONE] = "",
      [MPGI_WAIT_CHAN_SEND] = "chan send",
      [MPGI_WAIT_CHAN_RECV] = "chan receive",
      [MPGI_WAIT_CHAN_SEND_NIL] = "chan send (nil chan)",
      [MPGI_WAIT_CHAN_RECV_NIL] = "chan receive (nil chan)",
      [MPGI_WAIT_SELECT] = "select",
      [MPGI_WAIT_SELECT_NONE] = "select (no cases)",
      [MPGI_WAIT_MUTEX] = "sync.Mutex.Lock",
      [MPGI_WAIT_RWMUTEX_R] = "sync.RWMutex.RLock",
      [MPGI_WAIT_RWMUTEX_W] = "sync.RWMutex.Lock",
      [MPGI_WAIT_COND] = "sync.Cond.Wait",
      [MPGI_WAIT_WAITGROUP] = "sync.WaitGroup.Wait",
      [MPGI_WAIT_SEM] = "semacquire",
      [MPGI_WAIT_SLEEP] = "sleep",
      [MPGI_WAIT_IO] = "IO wait",
      [MPGI_WAIT_IO_CLOSE] = "IO close",
      [MPGI_WAIT_IDLE_GC] = "force gc (idle)",
      [MPGI_WAIT_FINALIZER] = "finalizer wait",
  };
  return reason < MPGI_WAIT_REASONS ? names[reason] : "???";
}

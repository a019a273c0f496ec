/* attach.c - threads of the application that use mpg (mpg_thread_attach).
 *
 * An attached thread has an M (with a g0 stack and a signal stack of its
 * own), a G locked to it whose stack is the thread's, and a P beyond
 * gomaxprocs that nobody else uses.  So entry thunks, allocation, channels and
 * locks work as for a goroutine.  What differs:
 *
 *   parking   the thread sleeps on the M's note.  Its P is away: loose, as in
 *             a system call, for the stopper to take.  Whoever readies the G
 *             wakes the thread; the G is on no run queue.
 *   the P     its queue is empty: what the thread readies or starts goes to the
 *             global queue.  Nobody preempts it, retakes it or compensates.
 *             Its timers are everybody's, as those of dead Ps.
 *   stopping  by flag at the end of a call, else frozen by the signal.  Its
 *             guard word stays 0: nothing of it runs on segments.
 *
 * [attach.p] Getting the P back: CAS from away to running.  When the stopper
 * was faster, wait until the world runs; then it is away again (stw.c,
 * resume_ps).  After the CAS the owner looks for a stop, as at the end of a
 * system call (syscall.c, "With the stopper").  Away is not syscall: sysmon,
 * and a goroutine that comes back to its old P, may have looked at a P that was
 * in a system call, and try to take it by CAS when it died and is a thread's
 * now.
 *
 * [attach.end] When the run ends, an attached thread that is in its own code
 * goes on there, detached ("loose"): it was frozen by the last stop, and its
 * handler returns; one whose call is done returns from it.  In the middle of a
 * call, parked ones above all, it stays for ever: nobody can complete the
 * call; and whether a thread was just before a call is chance, so calls that a
 * loose one makes end in the same way.  A loose thread's record belongs to the
 * thread and to clean_up (run.c) until both let go.
 *
 * Publishing: under sched.lock while no stop is on, with every signal blocked,
 * so that the thread is never frozen in here.
 *
 * Rejected: a P of the common ones while the thread is in a call, none
 * outside, as in Go's callbacks.  Allocation would switch each time, and its
 * stack could change under the collector.
 */
#include <sched/sched.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include <sched/gmp.h>

#define SIGURG_BIT ((uint64_t) 1 << (SIGURG - 1))

/* The record of an attachment that ended with its run. */
static _Thread_local struct mpg_m *loose;
/* The record of one that ends: from the g0 part of detach to the rest. */
static _Thread_local struct mpg_m *leaving;

bool mpgi_is_loose(void) { return loose != NULL; }

static _Noreturn void sleep_for_ever(void) {
  static _Atomic uint32_t never;
  for (;;) mpgi_os_futex_wait(&never, 0, -1);
}

bool mpgi_is_stranger(void) {
  return !mpgi_tls_m() && atomic_load(&mpgi_sched.running);
}

void mpgi_not_attached(const char *what) {
  /* As if it had been in here when its run ended: whether it was is chance. */
  if (mpgi_is_forked())
    mpgi_fatal("%s in the child of a fork; it may only exec or _exit", what);
  if (loose) sleep_for_ever();
  struct mpg_m *mp = mpgi_tls_m();
  if (mp && mp->curg && !mp->p)
    mpgi_fatal("%s inside mpg_syscall_enter or mpg_blocking", what);
  mpgi_fatal("%s on a thread that is not attached", what);
}

/* ---- letting go of a record ---- */

void mpgi_attached_let_go(struct mpg_m *mp) {
  if (atomic_fetch_add(&mp->let_go, 1) == 1) mpgi_m_free(mp);
}

/* The thread's signal stack and mask as they were. */
static void give_back_signals(const struct mpg_m *mp) {
  mpgi_os_sigaltstack_restore(&mp->altstack);
  uint64_t now = mpgi_os_sigmask_set(MPGI_OS_SIGMASK_ALL);
  mpgi_os_sigmask_set(now | (mp->sigmask & SIGURG_BIT));
}

static void forget_loose(void) {
  struct mpg_m *mp = loose;
  loose = NULL;
  give_back_signals(mp);
  mpgi_fixmem_outside();
  mpgi_attached_let_go(mp);
}

/* ---- the end of the thread ---- */

static pthread_key_t at_exit_key;
static int at_exit_error;

#define PASSES_FOR_OTHERS 2

/* An M's thread, or an attached one.  Destructors of other keys may use mpg:
 * they come first, as libc calls destructors again while there are values. */
static void at_thread_exit(void *value) {
  static _Thread_local int passes;
  struct mpg_m *mp = mpgi_tls_m();
  if (mp && !mp->attached)
    mpgi_fatal("pthread_exit or pthread_cancel in a goroutine");
  if (passes++ < PASSES_FOR_OTHERS &&
      pthread_setspecific(at_exit_key, value) == 0)
    return;
  passes = 0;
  mpg_thread_detach();
}

static void make_key(void) {
  at_exit_error = pthread_key_create(&at_exit_key, at_thread_exit);
}

int mpgi_thread_exit_arm(struct mpg_m *mp) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_key);
  int err = at_exit_error;
  return -(err ? err : pthread_setspecific(at_exit_key, mp));
}

void mpgi_thread_exit_disarm(void) { pthread_setspecific(at_exit_key, NULL); }

/* ---- attaching ---- */

static int set_up(struct mpg_m *mp) {
  int err = mpgi_os_stack_bounds(&mp->stack.lo, &mp->stack.hi);
  if (err) return err;
  mp->nowhere.prev = &mp->stack;
  mp->attached = mp->calls_by_g0 = true;
  mpgi_m_take_thread(mp);
  err =
      mpgi_os_sigaltstack_swap(mp->gsignal, MPGI_GSIGNAL_BYTES, &mp->altstack);
  if (err) return err; /* -EPERM: running on it */
  err = mpgi_thread_exit_arm(mp);
  if (err) mpgi_os_sigaltstack_restore(&mp->altstack);
  return err;
}

static void wait_for_world(void) {
  uint32_t seq = atomic_load(&mpgi_stw.seq);
  if (mpgi_stw_waiting() && !atomic_load(&mpgi_sched.exiting))
    mpgi_os_futex_wait(&mpgi_stw.seq, seq, -1);
}

static bool may_attach_locked(void) {
  return mpgi_sched.attachable && !atomic_load(&mpgi_sched.exiting);
}

/* Under sched.lock: a P, running, while no stop is on.  Without one *err says
 * why; 0: try again. */
static struct mpg_p *take_p_locked(int *err) {
  *err = may_attach_locked() ? 0 : -EPERM;
  if (*err || mpgi_stw_waiting()) return NULL;
  if (atomic_load(&mpgi_sched.nattached) >= MPGI_PROCS_MAX) *err = -EAGAIN;
  return *err ? NULL : mpgi_p_revive_locked();
}

static void publish_locked(struct mpg_m *mp, struct mpg_g *gp,
                           struct mpg_p *pp) {
  mp->id = mpgi_sched.next_mid++;
  mp->all_link = mpgi_sched.all_m;
  mpgi_sched.all_m = mp;
  atomic_fetch_add(&mpgi_sched.nattached, 1);
  atomic_fetch_add(&mpgi_sched.live_threads, 1);
  pp->attached = true;
  mp->own_p = pp;
  mpgi_tls.g0_sp = mp->g0_sp;
  mpgi_p_acquire(mp, pp);
  gp->attached = gp->leaves = 1;
  gp->locked_m = gp->m = mp;
  gp->last_tp = mp->thread_pointer;
  mpgi_arch_control_save(&gp->ctx.control);
  mpgi_san_thread(mp->g0_lo, mp->g0_hi);
  mpgi_san_adopt(&gp->ctx);
  mpgi_g_status_set(gp, MPGI_G_DEAD, MPGI_G_RUNNABLE);
  mpgi_g_status_set(gp, MPGI_G_RUNNABLE, MPGI_G_RUNNING);
  mp->locked_g = mp->curg = gp;
  atomic_store(&mp->gone, MPGI_GONE_NOT); /* [m.pins] */
  mpgi_tls_m_set(mp);
  mpgi_fixmem_inside();
}

static int publish(struct mpg_m *mp, struct mpg_g *gp) {
  for (;;) {
    int err;
    mpgi_mutex_lock(&mpgi_sched.lock);
    struct mpg_p *pp = take_p_locked(&err);
    if (pp) publish_locked(mp, gp, pp);
    mpgi_mutex_unlock(&mpgi_sched.lock);
    MPGI_CHAOS();
    if (pp || err) return err;
    if (mpgi_stw_waiting())
      wait_for_world();
    else if ((err = mpgi_p_make_one()))
      return err;
  }
}

/* With every signal blocked. */
static int attach(struct mpg_m *mp) {
  int err = set_up(mp);
  if (err) {
    mpgi_m_recycle(mp);
    return err;
  }
  struct mpg_g *gp = mpgi_g_attached(&mp->nowhere);
  err = gp ? publish(mp, gp) : -ENOMEM;
  if (!err) {
    MPGI_TRACE_START(mp, gp, false);
    mpgi_tls_g_set(gp);
    return 0;
  }
  if (gp) mpgi_g_give_back(gp);
  mpgi_thread_exit_disarm();
  mpgi_os_sigaltstack_restore(&mp->altstack);
  mpgi_m_recycle(mp);
  return err;
}

/* A run that is being started is waited for: its goroutines may run already
 * (run.c, make_main). */
static bool run_is_on(void) {
  for (;;) {
    mpgi_mutex_lock(&mpgi_sched.lock);
    bool on = may_attach_locked();
    mpgi_mutex_unlock(&mpgi_sched.lock);
    if (on || !atomic_load(&mpgi_sched.running) ||
        atomic_load(&mpgi_sched.exiting))
      return on;
    mpgi_os_yield();
  }
}

int mpgi_thread_attach_g0(void) {
  if (mpgi_tls_m()) return -EALREADY;
  if (mpgi_is_forked()) mpgi_not_attached("mpg_thread_attach");
  if (loose) forget_loose();
  if (!run_is_on()) return -EPERM;
  int saved = errno;
  mpgi_fixmem_outside();
  struct mpg_m *mp = mpgi_m_make_attached();
  int err = -ENOMEM;
  if (mp) {
    uint64_t mask = mpgi_os_sigmask_set(MPGI_OS_SIGMASK_ALL);
    mp->sigmask = mask;
    err = attach(mp);
    mpgi_os_sigmask_set(err ? mask : mask & ~SIGURG_BIT);
  }
  errno = saved;
  return err;
}

/* ---- detaching ---- */

int mpgi_thread_detach_g0(void) {
  struct mpg_m *mp = mpgi_tls_m();
  if (!mp || !mp->attached) return -EPERM;
  struct mpg_g *gp = mp->curg;
  struct mpgi_context back = gp->ctx; /* on g0, which outlives this */
  back.ret = 0;
  if (!mp->p) mpgi_fatal("mpg_thread_detach inside mpg_syscall_enter");
  MPGI_TRACE(mp, G_END, gp, 0, 0);
  mpgi_drop_g(mp, gp);
  mpgi_g_status_set(gp, MPGI_G_RUNNING, MPGI_G_DEAD);
  mp->locked_g = NULL;
  struct mpg_p *pp = mp->p;
  mpgi_g_free(pp, gp);
  mpgi_gfree_flush(pp);
  mpgi_stack_cache_flush(&pp->stacks);
  MPGI_CHAOS();
  mpgi_mutex_lock(&mpgi_sched.lock);
  /* While the P runs the world hasn't stopped: no collector looks at this
   * thread after that. */
  mpgi_m_unlist_locked(mp);
  atomic_fetch_sub(&mpgi_sched.nattached, 1);
  mpgi_p_die_locked(mpgi_p_release(mp));
  mpgi_checkdead_locked();
  mpgi_mutex_unlock(&mpgi_sched.lock);
  mpgi_fixmem_outside();
  MPGI_CHAOS();
  mpgi_m_hide(mp);
  leaving = mp;
  mpgi_arch_leave(&back);
}

/* On the thread's own stack again. */
static void finish_detach(void) {
  struct mpg_m *mp = leaving;
  leaving = NULL;
  give_back_signals(mp);
  mpgi_m_recycle(mp);
  MPGI_CHAOS();
  mpgi_thread_gone();
}

int mpgi_thread_detached(int err) {
  int saved = errno;
  if (leaving)
    finish_detach();
  else if (loose) {
    forget_loose();
    err = 0;
  }
  if (err == 0) mpgi_thread_exit_disarm();
  errno = saved;
  return err;
}

/* ---- parking ---- */

void mpgi_attached_ready(struct mpg_g *gp) {
  struct mpg_m *mp = gp->locked_m;
  MPGI_TRACE_READY(mpgi_tls_m(), G_WAKE, gp);
  mpgi_g_status_set(gp, MPGI_G_WAITING, MPGI_G_RUNNABLE);
  MPGI_CHAOS();
  /* From here it may run, and detach; its record stays. */
  mpgi_note_wake(&mp->park);
}

bool mpgi_attached_take_p(struct mpg_m *mp) {
  struct mpg_p *pp = mp->own_p;
  for (;;) {
    uint32_t seq = atomic_load(&mpgi_stw.seq), s = MPGI_P_AWAY;
    if (atomic_load(&mpgi_sched.exiting)) return false;
    MPGI_CHAOS();
    if (atomic_compare_exchange_strong(&pp->status, &s, MPGI_P_RUNNING)) break;
    mpgi_os_futex_wait(&mpgi_stw.seq, seq, -1); /* [attach.p] */
  }
  mpgi_p_acquire(mp, pp);
  return true;
}

static void leave_p(struct mpg_m *mp) {
  struct mpg_p *pp = mpgi_p_release(mp);
  atomic_store(&pp->status, MPGI_P_AWAY); /* syscall.c */
  MPGI_CHAOS();
  mpgi_stw_left(pp);
  /* Its own sleep may be the first timer; nobody waits for it then. */
  if (atomic_load(&pp->timer_first) != INT64_MAX) mpgi_poller_want();
}

void mpgi_attached_run(struct mpg_m *mp) {
  struct mpg_g *gp = mp->locked_g;
  MPG_ASSERT(mp->attached && !mp->curg);
  leave_p(mp);
  MPGI_CHAOS();
  /* The note is cleared, then the status read; who readies does it the other
   * way round. */
  while (mpgi_g_status(gp) != MPGI_G_RUNNABLE &&
         !atomic_load(&mpgi_sched.exiting))
    mpgi_m_sleep(mp);
  if (!mpgi_attached_take_p(mp)) mpgi_attached_block(mp);
  mpgi_execute(mp, gp, false);
}

/* ---- the end of the run ---- */

void mpgi_attached_block(struct mpg_m *mp) {
  atomic_store(&mp->gone, MPGI_GONE_FROZEN);
  mpgi_thread_gone();
  sleep_for_ever();
}

/* After its last step mpg_run may return. */
static void come_loose(struct mpg_m *mp) {
  loose = mp;
  MPGI_CHAOS();
  atomic_store(&mp->gone, MPGI_GONE_LOOSE);
  mpgi_thread_gone();
}

void mpgi_attached_cut(struct mpg_m *mp, struct mpgi_context *ctx) {
  struct mpgi_context back = *ctx;
  mpgi_fixmem_outside();
  come_loose(mp);
  mpgi_arch_leave(&back);
}

void mpgi_attached_cut_sig(struct mpg_m *mp) {
  mpgi_tls_g_set(NULL);
  mpgi_tls_m_set(NULL);
  mpgi_tls_cache_set(NULL);
  mpgi_arch_guard_set(0);
  mpgi_fixmem_outside();
  come_loose(mp);
}

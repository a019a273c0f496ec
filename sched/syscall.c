/* syscall.c - handing the P off around calls that block in the kernel.
 *
 * enter: G to syscall, P to syscall and loose (anybody may take it by CAS).
 * exit:  one CAS gets the same P back; when it was taken: its old P or any
 *        idle one; else the goroutine goes to the global queue.
 *
 * Goroutines that block one after the other would each keep the P for a tick
 * of sysmon's.  So when that has happened several times in a row, and others
 * wait in the queue, enter hands the P off itself.
 *
 * With the stopper (stw.c):  enter stores P status, then loads waiting; the
 * stopper stores waiting, then loads P statuses; both sequentially
 * consistent, so at least one of them takes the P, and the CAS makes it one.
 *
 * The collector scans a goroutine in a system call from the SP saved at
 * enter, and the callee-saved registers as they were then.
 *
 * Source: Go proc.go (entersyscall, exitsyscall).
 */
#include <sched/sched.h>

#include <string.h>

#include <sched/gmp.h>

/* So many system calls in a row lasted until sysmon took the P. */
#define TAKEN_OFTEN 3
#define SHORT_NS (20 * 1000)

static bool blocks_often(struct mpg_p *pp) {
  return atomic_load_explicit(&pp->taken, memory_order_relaxed) >=
             TAKEN_OFTEN &&
         !mpgi_runq_empty(pp);
}

static bool work_waits(struct mpg_p *pp) {
  return !mpgi_runq_empty(pp) ||
         atomic_load_explicit(&mpgi_sched.runq_size, memory_order_relaxed);
}

/* The P was handed off; for nothing when the call was short. */
static void judge_handoff(struct mpg_m *mp, struct mpg_p *old) {
  if (mpgi_os_now() - mp->handed_at < SHORT_NS)
    atomic_store_explicit(&old->taken, 0, memory_order_relaxed);
  mp->handed_at = 0;
}

void mpgi_syscall_enter_g0(void) {
  struct mpg_g *gp = mpgi_current_g("mpg_syscall_enter");
  struct mpg_m *mp = gp->m;
  struct mpg_p *pp = mp->p;
  if (!pp) mpgi_fatal("mpg_syscall_enter inside mpg_syscall_enter");
  /* The thunk's frame (thunks.S) will be overwritten when it returns. */
  memcpy(gp->syscall_regs, (const void *) gp->ctx.sp, sizeof gp->syscall_regs);
  gp->syscall_sp = gp->ctx.sp;
  gp->syscall_pc = ((const uintptr_t *) gp->ctx.sp)[6];
  gp->syscall_seg = gp->ctx.seg;
  gp->syscall_dynamic = gp->ctx.dynamic;
  MPGI_TRACE(mp, SYSCALL_ENTER, gp, 0, 0);
  mp->old_p = mpgi_p_release(mp);
  MPGI_CHAOS();
  mpgi_g_status_set(gp, MPGI_G_RUNNING, MPGI_G_SYSCALL);
  atomic_store_explicit(
      &pp->syscalltick,
      atomic_load_explicit(&pp->syscalltick, memory_order_relaxed) + 1,
      memory_order_relaxed);
  if (MPGI_UNLIKELY(blocks_often(pp)) && !mp->attached) {
    mp->handed_at = mpgi_os_now();
    MPGI_TRACE_P(pp, P_RETAKE, 2);
    mpgi_m_handoff(pp); /* it is running, in transit */
    return;
  }
  MPGI_CHAOS();
  atomic_store(&pp->status, MPGI_P_SYSCALL);
  /* [sysmon.drowsy] */
  if (MPGI_UNLIKELY(atomic_load(&mpgi_sched.sysmon_drowsy)) && work_waits(pp))
    mpgi_sysmon_rouse();
  MPGI_CHAOS();
  if (mpgi_stw_waiting()) mpgi_stw_take_syscall(pp);
}

/* ---- leaving ---- */

static bool take_old_p(struct mpg_m *mp, struct mpg_p *pp) {
  uint32_t s = MPGI_P_SYSCALL;
  return pp &&
         atomic_compare_exchange_strong(&pp->status, &s, MPGI_P_RUNNING) &&
         (atomic_store_explicit(&pp->taken, 0, memory_order_relaxed),
          mpgi_p_acquire(mp, pp), true);
}

/* The P was taken: its old one if idle, or any idle one. */
static bool take_idle_p(struct mpg_m *mp, struct mpg_p *old) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  struct mpg_p *pp = NULL;
  if (old && mpgi_p_idle_take_locked(old))
    pp = old;
  else
    pp = mpgi_p_idle_get_locked();
  mpgi_mutex_unlock(&mpgi_sched.lock);
  if (pp) mpgi_p_acquire(mp, pp);
  return pp != NULL;
}

static void exit_without_p(struct mpg_m *mp, struct mpg_g *gp) {
  gp->ctx.pc = (uintptr_t) mpgi_resume_thunk;
  gp->ctx.ret = 0;
  mpgi_drop_g(mp, gp);
  MPGI_CHAOS();
  mpgi_g_status_set(gp, MPGI_G_SYSCALL, MPGI_G_RUNNABLE);
  MPGI_TRACE_READY(mp, G_WAKE, gp);
  mpgi_ready_globally(gp); /* a P may have become idle meanwhile */
  MPGI_CHAOS();
  if (!mp->locked_g) mpgi_m_stop(mp);
  mpgi_schedule(mp);
}

void mpgi_syscall_exit_g0(void) {
  if (!mpgi_tls_m() && mpgi_is_loose()) return; /* the run ended inside */
  struct mpg_g *gp = mpgi_current_g("mpg_syscall_exit");
  struct mpg_m *mp = gp->m;
  if (mpgi_g_status(gp) != MPGI_G_SYSCALL)
    mpgi_fatal("mpg_syscall_exit without mpg_syscall_enter");
  struct mpg_p *old = mp->old_p;
  mp->old_p = NULL;
  MPGI_CHAOS();
  if (mp->attached) {
    if (!mpgi_attached_take_p(mp)) mpgi_attached_cut(mp, &gp->ctx);
  } else {
    if (atomic_load(&mpgi_sched.exiting)) mpgi_m_exit(mp);
    if (MPGI_UNLIKELY(mp->handed_at != 0)) judge_handoff(mp, old);
    if (!take_old_p(mp, old) && !take_idle_p(mp, old)) exit_without_p(mp, gp);
  }
  atomic_store_explicit(
      &mp->p->syscalltick,
      atomic_load_explicit(&mp->p->syscalltick, memory_order_relaxed) + 1,
      memory_order_relaxed);
  MPGI_CHAOS();
  mpgi_g_status_set(gp, MPGI_G_SYSCALL, MPGI_G_RUNNING);
  MPGI_TRACE(mp, SYSCALL_EXIT, gp, 0, 0);
  while (mpgi_stw_waiting()) mpgi_stop_here(mp);
  /* While it was away the guard word may have been poisoned for nothing. */
  mpgi_arch_guard_set(gp->ctx.guard);
  if (mp->p->retire) atomic_fetch_or(&gp->ctx.preempt, MPGI_PREEMPT_SLICE);
}

void mpgi_call_begin(struct mpg_m *mp) {
  mpgi_syscall_enter_g0();
  mp->in_call = true;
}

void mpgi_call_end(struct mpg_m *mp) {
  mp->in_call = false;
  mpgi_syscall_exit_g0();
}

/* On the goroutine's stack, but not in the entry-stub section: fn may block,
 * and a blocked thread must not look as if it were in the runtime. */
MPG_API void mpg_blocking(mpg_func fn, void *arg);
void mpg_blocking(mpg_func fn, void *arg) {
  if (!mpgi_tls_g()) mpgi_stub_misuse("mpg_blocking");
  mpg_syscall_enter();
  fn(arg);
  mpg_syscall_exit();
}

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
 * consistent, so at least one of them takes the P, and the CAS makes it one
 * (stw.c, [stw.left]).
 *
 * The collector scans a goroutine in a system call from the SP saved at
 * enter, and the callee-saved registers as they were then.
 *
 * [syscall.m] They are in its M, which a thread that comes back without a P
 * leaves, world or no world.  So it is the goroutine's from before its status
 * says so until after it doesn't, and who may not stop that thread reads the M
 * first.  What the M remembers stays until its next call, which needs a P.
 *
 * [syscall.here] Most calls don't switch to g0: entry stubs do the same steps
 * on the goroutine's stack when nothing is wanted of it, and leave the rest to
 * thunks.  A signal that finds the thread in a stub finds the runtime: with a
 * P it leaves its request in the flag and the guard word, and exit's last look
 * at waiting comes after that of any handler that found none.
 *
 * The locked instructions, one each way, are not what a call costs: beside the
 * kernel's entry, which waits for what is under way, both together are 1 ns.
 * So a plain store on the way in, with membarrier on the side of the takers,
 * gains nothing (measured).
 *
 * Source: Go proc.go (entersyscall, exitsyscall).
 */
#include <sched/sched.h>

#include <string.h>

#include <sched/gmp.h>

#include <sched/hot.h>

/* So many system calls in a row lasted until sysmon took the P. */
#define TAKEN_OFTEN 3
#define SHORT_NS (20 * 1000)

/* Something is wanted of it, or somebody watches. */
MPGI_HOT bool is_special(const struct mpg_m *mp, const struct mpg_g *gp) {
  uint32_t special =
      atomic_load_explicit(&gp->ctx.preempt, memory_order_relaxed) |
      (mpgi_wants() & (MPGI_WANT_STOP | MPGI_WANT_WATCH)) | mp->calls_by_g0;
  return MPGI_UNLIKELY(special != 0);
}

static bool blocks_often(struct mpg_p *pp) {
  return atomic_load_explicit(&pp->taken, memory_order_relaxed) >=
             TAKEN_OFTEN &&
         !mpgi_runq_empty(pp);
}

static bool work_waits(struct mpg_p *pp) {
  return !mpgi_runq_empty(pp) ||
         atomic_load_explicit(&mpgi_sched.runq_size, memory_order_relaxed);
}

/* The P was handed off; for nothing when the call was short.  Returns it. */
static struct mpg_p *judge_handoff(struct mpg_m *mp) {
  struct mpg_p *old = mp->handed_off;
  if (mpgi_os_now() - mp->handed_at < SHORT_NS)
    atomic_store_explicit(&old->taken, 0, memory_order_relaxed);
  mp->handed_off = NULL;
  return old;
}

/* ---- entering ---- */

MPGI_HOT void count_call(struct mpg_p *pp) {
  uint32_t tick = atomic_load_explicit(&pp->syscalltick, memory_order_relaxed);
  atomic_store_explicit(&pp->syscalltick, tick + 1, memory_order_relaxed);
}

/* Where it is, is remembered but for the segment. */
MPGI_HOT void p_leave(struct mpg_m *mp, struct mpg_g *gp) {
  mp->syscall.seg = gp->ctx.seg;
  mp->syscall.dynamic = gp->ctx.dynamic;
  mp->old_p = mpgi_hot_p_release(mp);
  mpgi_hot_status_set(gp, MPGI_G_RUNNING, MPGI_G_SYSCALL);
  count_call(mp->old_p);
}

static inline uint32_t sysmon_is_drowsy(void) {
  return atomic_load(&mpgi_sched.sysmon_drowsy);
}

/* P's status says that it is loose: who waits for that? */
void mpgi_syscall_entered_g0(void) {
  struct mpg_p *pp = mpgi_tls_m()->old_p;
  /* [sysmon.drowsy] */
  if (sysmon_is_drowsy() && work_waits(pp)) mpgi_sysmon_rouse();
  MPGI_CHAOS();
  mpgi_stw_left(pp);
}

void mpgi_syscall_enter_g0(void) {
  struct mpg_g *gp = mpgi_current_g("mpg_syscall_enter");
  struct mpg_m *mp = gp->m;
  struct mpg_p *pp = mp->p;
  if (!pp) mpgi_fatal("mpg_syscall_enter inside mpg_syscall_enter");
  /* The thunk's frame will be overwritten when it returns. */
  memcpy(mp->syscall.regs, (const void *) gp->ctx.sp, sizeof mp->syscall.regs);
  mp->syscall.sp = gp->ctx.sp + sizeof mp->syscall.regs;
  MPGI_TRACE(mp, SYSCALL_ENTER, gp, 0, 0);
  p_leave(mp, gp);
  if (MPGI_UNLIKELY(blocks_often(pp)) && !mp->attached) {
    mp->handed_at = mpgi_os_now();
    mp->handed_off = pp;
    mp->old_p = NULL;
    MPGI_TRACE_P(pp, P_RETAKE, 2);
    mpgi_m_handoff(pp); /* it is running, in transit */
    return;
  }
  MPGI_CHAOS();
  atomic_store(&pp->status, mp->attached ? MPGI_P_AWAY : MPGI_P_SYSCALL);
  MPGI_CHAOS();
  mpgi_syscall_entered_g0();
}

/* [syscall.here] Called by mpg_syscall_enter.  Returns what thunks.S says. */
enum { NOT_HERE, DONE, G0_TOO };
MPGI_RT_TEXT unsigned mpgi_syscall_enter_here(struct mpg_g *gp,
                                              struct mpg_m *mp) {
  struct mpg_p *pp = mp->p;
  if (!pp || is_special(mp, gp) ||
      atomic_load_explicit(&pp->taken, memory_order_relaxed) >= TAKEN_OFTEN)
    return NOT_HERE;
  p_leave(mp, gp);
  atomic_store(&pp->status, MPGI_P_SYSCALL);
  uint32_t waited_for = sysmon_is_drowsy() | (mpgi_wants() & MPGI_WANT_STOP);
  return MPGI_UNLIKELY(waited_for != 0) ? G0_TOO : DONE;
}

/* ---- leaving ---- */

MPGI_HOT bool take_old_p(struct mpg_m *mp, struct mpg_p *pp) {
  uint32_t s = MPGI_P_SYSCALL;
  if (!pp || !atomic_compare_exchange_strong(&pp->status, &s, MPGI_P_RUNNING))
    return false;
  atomic_store_explicit(&pp->taken, 0, memory_order_relaxed);
  mpgi_hot_p_own(mp, pp);
  return true;
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
  mpgi_g_status_set(gp, MPGI_G_SYSCALL, MPGI_G_RUNNABLE);
  MPGI_CHAOS();
  atomic_thread_fence(memory_order_release); /* [syscall.m] */
  mpgi_drop_g(mp, gp);
  MPGI_TRACE_READY(mp, G_WAKE, gp);
  mpgi_ready_globally(gp); /* a P may have become idle meanwhile */
  MPGI_CHAOS();
  if (!mp->locked_g) mpgi_m_stop(mp);
  mpgi_schedule(mp);
}

/* The goroutine has its P back; what may be wanted of it? */
void mpgi_syscall_back_g0(void) {
  struct mpg_m *mp = mpgi_tls_m();
  while (mpgi_stw_waiting()) mpgi_stop_here(mp);
  if (mpgi_p_retires(mp->p))
    atomic_fetch_or(&mp->curg->ctx.preempt, MPGI_PREEMPT_SLICE);
}

void mpgi_syscall_exit_g0(void) {
  /* The run ended inside, or this is the child of a fork inside. */
  if (!mpgi_tls_m() && (mpgi_is_loose() || mpgi_is_forked())) return;
  struct mpg_g *gp = mpgi_current_g("mpg_syscall_exit");
  struct mpg_m *mp = gp->m;
  if (mpgi_g_status(gp) != MPGI_G_SYSCALL)
    mpgi_fatal("mpg_syscall_exit without mpg_syscall_enter");
  struct mpg_p *old = mp->old_p;
  mp->old_p = NULL;
  if (MPGI_UNLIKELY(mp->handed_off != NULL)) old = judge_handoff(mp);
  uint64_t before = MPGI_TRACE_NOW();
  MPGI_CHAOS();
  if (mp->attached) {
    before = 0;
    if (!mpgi_attached_take_p(mp)) mpgi_attached_cut(mp, &gp->ctx);
  } else {
    if (atomic_load(&mpgi_sched.exiting)) mpgi_m_exit(mp);
    if (!take_old_p(mp, old)) {
      before = 0;
      if (!take_idle_p(mp, old)) exit_without_p(mp, gp);
    }
  }
  MPGI_CHAOS();
  mpgi_g_status_set(gp, MPGI_G_SYSCALL, MPGI_G_RUNNING);
  MPGI_TRACE_BACK(mp, gp, before);
  mpgi_syscall_back_g0();
  /* While it was away the guard word may have been poisoned for nothing. */
  mpgi_arch_guard_set(gp->ctx.guard);
}

/* [syscall.here] Called without an enter it finds no P.  A run that ends leaves
 * the world stopped. */
MPGI_RT_TEXT void mpg_syscall_exit(void) {
  struct mpg_g *gp = mpgi_tls_g();
  if (MPGI_UNLIKELY(!gp) || is_special(gp->m, gp)) {
    mpgi_thunk_syscall_exit();
    return;
  }
  struct mpg_m *mp = gp->m;
  struct mpg_p *pp = mp->old_p;
  mpgi_arch_guard_set(gp->ctx.guard);
  if (MPGI_UNLIKELY(!take_old_p(mp, pp))) {
    mpgi_thunk_syscall_exit();
    return;
  }
  mp->old_p = NULL;
  mpgi_hot_status_set(gp, MPGI_G_SYSCALL, MPGI_G_RUNNING);
  if (MPGI_UNLIKELY(mpgi_stw_waiting() || mpgi_p_retires(pp)))
    mpgi_thunk_syscall_back();
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
  mpgi_call_user(fn, arg);
  mpg_syscall_exit();
}

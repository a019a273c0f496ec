/* preempt.c - where a goroutine that was asked to make way arrives.
 *
 * The arch layer's upcalls (arch.h), on g0: from the injected call of an
 * asynchronous preemption, an entry thunk's way out, a C library stub, a
 * prologue that found the guard word poisoned.  Each stops in place while the
 * world stops, then gives the P away if a slice is over, or goes on.
 */
#include <sched/sched.h>

#include <errno.h>
#include <string.h>

#include <sched/gmp.h>

/* [preempt.asked] For the metric only.  The goroutine is stored last, so who
 * finds it finds that time or a later one's. */
static bool was_asked(const struct mpg_p *pp, const struct mpg_g *gp) {
  return atomic_load_explicit(&pp->preempt_g, memory_order_acquire) == gp &&
         atomic_load_explicit(&pp->preempt_tick, memory_order_relaxed) ==
             atomic_load_explicit(&pp->schedtick, memory_order_relaxed);
}

void mpgi_preempt_asked(struct mpg_p *pp, const struct mpg_g *gp) {
  if (was_asked(pp, gp)) return; /* in vain so far */
  uint32_t tick = atomic_load_explicit(&pp->schedtick, memory_order_relaxed);
  atomic_store_explicit(&pp->preempt_at, mpgi_os_now(), memory_order_relaxed);
  atomic_store_explicit(&pp->preempt_tick, tick, memory_order_relaxed);
  atomic_store_explicit(&pp->preempt_g, gp, memory_order_release);
}

static void record_preempted(const struct mpg_p *pp, const struct mpg_g *gp) {
  if (!was_asked(pp, gp)) return;
  int64_t at = atomic_load_explicit(&pp->preempt_at, memory_order_relaxed);
  mpgi_metric_record(MPG_METRIC_PREEMPT_LATENCY, mpgi_os_now() - at);
}

/* Wait on g0, with gp on its stack, while the world is stopped; or until we
 * are thawed: gp may be in a callback under a lock of a library's. */
static void stop_in_place(struct mpg_m *mp, struct mpg_g *gp) {
  if (!mpgi_stw_waiting()) return;
  MPGI_CHAOS();
  mpgi_g_status_set(gp, MPGI_G_RUNNING, MPGI_G_PREEMPTED);
  mpgi_stop_in_place(mp);
  if (mp->at_edge && atomic_load(&mpgi_sched.exiting))
    mpgi_attached_cut(mp, &gp->ctx);
  mpgi_g_status_set(gp, MPGI_G_PREEMPTED, MPGI_G_RUNNING);
}

/* Inside a system call it owes nobody anything: it has no P. */
static uint32_t take_preempt(struct mpg_m *mp, struct mpg_g *gp) {
  if (!mp->p) {
    atomic_store(&gp->ctx.preempt, 0);
    return 0;
  }
  stop_in_place(mp, gp);
  MPGI_CHAOS();
  uint32_t why = atomic_exchange(&gp->ctx.preempt, 0);
  if (mpgi_p_retires(mp->p)) why |= MPGI_PREEMPT_SLICE;
  return why;
}

/* A request that can't be met here (a comparator under qsort) is dropped:
 * left standing it would send every further prologue through the slow path.
 * sysmon asks again. */
void mpgi_async_preempted(struct mpgi_context *ctx) {
  struct mpg_g *gp = (struct mpg_g *) ctx;
  struct mpg_m *mp = mpgi_tls_m();
  gp->saved_errno = errno; /* before anything here changes it */
  mpgi_m_xsave_refill(mp);
  uint32_t why = take_preempt(mp, gp);
  uint64_t tier = gp->at_call ? 1 : 2;
  gp->at_call = 0;
  if (why & MPGI_PREEMPT_SLICE) {
    record_preempted(mp->p, gp);
    MPGI_TRACE(mp, G_PREEMPT, gp, tier, 0);
    gp->extra |= MPGI_EXTRA_ASYNC;
    mpgi_requeue_spent(mp, gp);
  }
  errno = gp->saved_errno;
  mpgi_arch_resume(ctx);
}

void mpgi_thunk_preempted(struct mpgi_context *ctx) {
  struct mpg_g *gp = (struct mpg_g *) ctx;
  struct mpg_m *mp = mpgi_tls_m();
  mp->at_edge = mp->attached;
  uint32_t why = take_preempt(mp, gp);
  mp->at_edge = false;
  const uintptr_t *frame = (const uintptr_t *) ctx->sp;
  if (why & MPGI_PREEMPT_SLICE) {
    /* frame: r15 r14 r13 r12 rbx rbp return-address (thunks.S) */
    struct mpgi_frame f = {frame[6], ctx->sp + 56, frame[5], true, 0};
    if (gp->preempt_off == 0 && mpgi_text_is_user(f.pc) &&
        mpgi_frames_are_user(gp, f)) {
      ctx->pc = (uintptr_t) mpgi_resume_thunk;
      record_preempted(mp->p, gp);
      MPGI_TRACE(mp, G_PREEMPT, gp, 1, 0);
      mpgi_requeue_spent(mp, gp);
    }
  }
  /* The word first, then the flag, as in mpgi_arch_resume: a request in
   * between must find its poison there to stay (tests/model/guard_model.c). */
  mpgi_arch_guard_set(ctx->guard);
  MPGI_CHAOS();
  if (atomic_load(&ctx->preempt)) mpgi_arch_guard_set(MPGI_GUARD_POISON);
}

/* A call, whose caller's frame is f: stop in place when the world stops; true
 * when the goroutine is to be switched out.  Not when a library called it
 * back: that may hold a lock which others need before they can stop.  Frozen
 * in the signal handler it can be thawed [stw.thaw]. */
static bool take_at_call(struct mpg_m *mp, struct mpg_g *gp,
                         struct mpgi_frame f) {
  if (!mpgi_text_is_user(f.pc) || !mpgi_frames_are_user(gp, f)) {
    /* Lost when a stop begins just now; but its signal sets it again. */
    if (!mpgi_stw_waiting()) atomic_store(&gp->ctx.preempt, 0);
    return false;
  }
  uint32_t why = take_preempt(mp, gp);
  if (!(why & MPGI_PREEMPT_SLICE) || gp->preempt_off || !mp->xsave_free)
    return false;
  /* for mpgi_async_preempted, which takes it again */
  atomic_fetch_or(&gp->ctx.preempt, MPGI_PREEMPT_SLICE);
  gp->at_call = 1;
  return true;
}

bool mpgi_libc_preempted(struct mpgi_context *ctx) {
  struct mpg_g *gp = (struct mpg_g *) ctx;
  int error = errno; /* the C library's */
  /* frame: as a thunk's */
  const uintptr_t *frame = (const uintptr_t *) ctx->sp;
  struct mpgi_frame f = {frame[6], ctx->sp + 56, frame[5], true, 0};
  bool inject = take_at_call(mpgi_tls_m(), gp, f);
  /* The injected frame needs room below the caller's SP, as in a handler. */
  if (inject && f.sp - ctx->seg->lo < MPGI_INJECT_BYTES + 64) {
    atomic_fetch_and(&ctx->preempt, ~(uint32_t) MPGI_PREEMPT_SLICE);
    gp->at_call = 0;
    inject = false;
  }
  mpgi_arch_guard_set(ctx->guard);
  if (atomic_load(&ctx->preempt)) mpgi_arch_guard_set(MPGI_GUARD_POISON);
  errno = error;
  return inject;
}

void mpgi_libc_misuse(const char *what) {
  /* A thunk behind a stub has the stub's name, or one that begins so. */
  bool thunk = strncmp(what, "mpgi_thunk_", 11) == 0;
  mpgi_fatal(
      "mpg_%s called from inside the C library, which runs on the system stack "
      "(a callback of fopencookie or register_printf_function)",
      what + (thunk ? 11 : 4));
}

void mpgi_stub_misuse(const char *what) {
  if (mpgi_tls_libc()) mpgi_libc_misuse(what);
  mpgi_not_attached(what);
}

bool mpgi_morestack_preempt_g0(struct mpgi_context *ctx, uintptr_t fp) {
  struct mpg_g *gp = (struct mpg_g *) ctx;
  struct mpg_m *mp = mpgi_tls_m();
  if (mp->attached) return false;
  gp->growing = MPGI_GROWING_CALL;
  uint32_t why = take_preempt(mp, gp);
  gp->growing = 0;
  if (!(why & MPGI_PREEMPT_SLICE)) return false;
  /* [fp] saved rbp, [fp+8] return into the prologue, [fp+16] caller */
  const uintptr_t *frame = (const uintptr_t *) fp;
  struct mpgi_frame f = {frame[2], fp + 24, frame[0], true, 0};
  if (gp->preempt_off == 0 && mp->xsave_free && mpgi_text_is_user(frame[1]) &&
      mpgi_text_is_user(f.pc) && mpgi_frames_are_user(gp, f)) {
    /* for mpgi_async_preempted, which takes it again */
    atomic_fetch_or(&ctx->preempt, MPGI_PREEMPT_SLICE);
    gp->at_call = 1;
    return true;
  }
  return false;
}

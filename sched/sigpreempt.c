/* sigpreempt.c - what SIGURG does to a running goroutine: policy.
 *
 * The handler runs on the M's signal stack with every signal blocked.  It
 * takes no lock and allocates nothing.  Cases, in order:
 *   not one of our threads, or not our signal   the application's handler
 *   the run is over                             freeze for ever
 *   no goroutine, or no P                       nothing: it owes nobody
 *   in the runtime (SP on g0, or PC in          poison the guard word; the
 *   mpg_rt_text)                                flag is seen on the way out
 *   the world is stopping, nobody has to help   freeze in place (tier 3)
 *   at an async safe point                      inject a call (tier 2)
 *   the world is stopping                       freeze in place (tier 3)
 *   otherwise                                   poison the guard word (tier 1)
 *
 * C library functions called through stubs run on g0, too (libc_call.S): with
 * tls.libc set, and PC outside mpg_rt_text, g0 is in foreign code, which is
 * frozen where it is.  So is the runtime itself while it is abroad, that is,
 * may wait for locks of the dynamic linker's [stw.abroad].  A handler of the
 * application's, on the signal stack, that interrupted either sort of code on
 * g0 counts as the runtime: nobody knows which part of g0 is live.
 *
 * Async safe point: preemption not disabled; a buffer for the extended state;
 * room on the stack; PC in user text, or in a leaf of libc's that user code
 * called (leaf.c); every frame below is user code.  The
 * last is what keeps mpg from taking the CPU away from code that may hold a
 * lock of libc's: a comparator called by qsort is user code above foreign
 * code.  The interrupted function's own return address comes from the unwind
 * tables (cfi.c: it may be in a prologue or an epilogue, or have no frame); the
 * rest from the frame-pointer chain on segmented stacks, whose code keeps
 * frame pointers, and from the tables again on fixed stacks, whose code may
 * not.  Where the tables say nothing, the words at the top of the stack count
 * as return addresses.
 *
 * [seg.walked] Older frames don't change while a newer segment is in use.  So
 * a bit of seg->prev_sp, which the next entry wipes, says that the frames of
 * seg->prev from there to where it was entered itself, or to the end, are user
 * code.  A deep stack is walked in several attempts, each of which gets
 * through a segment at least, and then never again; before, one deeper than
 * the limit was asked for ever, at the price of a walk each time.  Written and
 * read by the goroutine's own thread, outside of mpg_rt_text or on g0.
 */
#include <sched/sched.h>

#include <signal.h>
#include <unistd.h>

#include <sched/gmp.h>

#include <sched/dump.h>

#define UNWOUND_MAX 16384 /* frames, by the tables */
/* Frames along the chain: more than two segments of 1 MiB can hold, so that an
 * attempt gets through an older one [seg.walked]. */
#define FRAMES_MAX (2 * ((1 << 20) / 16) + 64)
#define TOP_WORDS 2
#define TSAN_FRAMES 16 /* of TSan's library, above who called it */
#define TSAN_STACK (64 << 10)

/* ---- are the frames below user code? ---- */

/* Without tables for this PC: words at the top count as return addresses. */
MPGI_NO_SANITIZE static bool top_is_user(const struct mpgi_segment *seg,
                                         uintptr_t sp) {
  for (int i = 0; i < TOP_WORDS && sp + 8 <= seg->hi; i++, sp += 8)
    if (mpgi_text_is_foreign(*(const uintptr_t *) sp)) return false;
  return true;
}

/* The interrupted function's return address, which the chain from fp may not
 * have yet.  (Where it hasn't, rbp is still or again the caller's.) */
static bool top_frame(const struct mpgi_frame *f,
                      const struct mpgi_segment *seg) {
  struct mpgi_frame up = *f;
  switch (mpgi_cfi_step(&up, seg->lo, seg->hi)) {
  case MPGI_STEP_END: return true;
  case MPGI_STEP_UNKNOWN: return top_is_user(seg, f->sp);
  default: return mpgi_text_is_user(up.pc);
  }
}

/* A walk along the chain of frame pointers. */
struct chain {
  struct mpgi_segment *seg; /* where fp was last */
  uintptr_t fp, floor;      /* the next frame, at floor or above */
  bool grown;               /* it is one of __morestack's */
  /* What was entered from seg at the frame where this walk began on seg, or
   * NULL: all frames of seg since then are user code. */
  struct mpgi_segment *above;
  struct mpgi_range known; /* of the text, to be user code */
};

/* [seg.walked] */
static void chain_walked(const struct chain *c) {
  if (c->above) c->above->prev_sp |= MPGI_SEGMENT_WALKED;
}

/* To the next older segment, past those whose frames are known. */
static void chain_cross(struct chain *c) {
  struct mpgi_segment *seg = c->seg;
  bool at_entry = seg->prev && c->fp == mpgi_segment_entry(seg);
  if (at_entry) chain_walked(c);
  while (at_entry && (seg->prev_sp & MPGI_SEGMENT_WALKED)) {
    seg = seg->prev;
    at_entry = seg->prev != NULL;
    c->fp = at_entry ? mpgi_segment_entry(seg) : 0;
    c->grown = true;
  }
  c->above = at_entry ? seg : NULL;
  c->floor = mpgi_segment_entry(seg);
  c->seg = seg->prev;
}

static bool chain_has(const struct chain *c) {
  return c->fp >= c->floor && c->fp >= c->seg->lo && c->fp <= c->seg->hi - 16;
}

/* Follow the chain from fp; each frame is [fp] = caller's fp, [fp+8] = return
 * address, at rising addresses in a segment, then in older segments.  In a
 * frame of __morestack the function's caller is at [fp+16]: a comparator that
 * grew its stack under qsort is recognised by nothing else. */
MPGI_NO_SANITIZE static bool chain_is_user(struct mpgi_segment *seg,
                                           const struct mpgi_frame *f) {
  struct chain c = {.seg = seg, .fp = f->fp, .floor = f->sp};
  c.grown = mpgi_arch_pc_in_morestack(f->pc);
  for (int i = 0; i < FRAMES_MAX; i++) {
    while (c.fp && c.seg && !chain_has(&c)) chain_cross(&c);
    if (c.fp == 0) {
      if (c.seg && !c.seg->prev) chain_walked(&c);
      return true;
    }
    if (!c.seg || (c.fp & 7)) return false;
    const uintptr_t *frame = (const uintptr_t *) c.fp;
    if (!mpgi_text_is_user_again(&c.known, frame[1])) return false;
    if (c.grown && !mpgi_text_is_user_again(&c.known, frame[2])) return false;
    c.grown = mpgi_arch_pc_in_morestack(frame[1]);
    c.floor = c.fp + 16;
    c.fp = frame[0];
  }
  return false;
}

/* Code on fixed stacks may keep no frame pointers: by the tables alone. */
static bool unwinds_as_user(const struct mpgi_segment *seg,
                            struct mpgi_frame f) {
  for (int i = 0; i < UNWOUND_MAX; i++) {
    if (!mpgi_text_is_user(f.pc)) return false;
    switch (mpgi_cfi_step(&f, seg->lo, seg->hi)) {
    case MPGI_STEP_END: return true;
    case MPGI_STEP_UNKNOWN: return false;
    default: break;
    }
  }
  return false;
}

bool mpgi_frames_are_user(const struct mpg_g *gp, struct mpgi_frame f) {
  struct mpgi_segment *seg = mpgi_stack_find(&gp->ctx, f.sp);
  if (!seg) return false;
  if (gp->fixed) return unwinds_as_user(seg, f);
  return top_frame(&f, seg) && chain_is_user(seg, &f);
}

/* A PC in user text; or in a leaf whose return address (at SP) is: then f is
 * the caller's frame. */
MPGI_NO_SANITIZE static bool pc_is_safe(const struct mpgi_sigregs *r,
                                        struct mpgi_frame *f) {
  *f = (struct mpgi_frame){.pc = r->pc, .sp = r->sp, .fp = r->fp};
  if (mpgi_text_is_user(r->pc)) return true;
  if (!mpgi_text_is_leaf(r->pc)) return false;
  uintptr_t ra = *(const uintptr_t *) r->sp;
  *f = (struct mpgi_frame){ra, r->sp + 8, r->fp, true, 0};
  return mpgi_text_is_user(ra);
}

static size_t inject_room(uintptr_t sp) {
  return MPGI_INJECT_BYTES + (sp & 7 ? MPGI_INJECT_ODD_BYTES : 64);
}

static bool async_safe_point(const struct mpg_m *mp, const struct mpg_g *gp,
                             const struct mpgi_sigregs *r) {
  struct mpgi_frame f;
  return !mpgi_opt.asyncpreemptoff && gp->preempt_off == 0 &&
         mp->xsave_free != NULL && !r->unsaveable &&
         r->sp - gp->ctx.seg->lo >= inject_room(r->sp) && pc_is_safe(r, &f) &&
         mpgi_frames_are_user(gp, f);
}

/* ---- the handler ---- */

static bool on_g0(const struct mpg_m *mp, const struct mpgi_sigregs *r) {
  return r->sp >= mp->g0_lo && r->sp < mp->g0_hi;
}

static bool in_runtime(const struct mpg_m *mp, const struct mpgi_sigregs *r) {
  if (mpgi_arch_pc_in_rt(r->pc)) return true;
  if (on_g0(mp, r)) return !mpgi_tls_libc() && !mp->abroad;
  return mpgi_m_on_gsignal(mp, r->sp) && !mpgi_tls_g();
}

/* Foreign code may hold a lock that somebody needs after mpg_run; one that is
 * blocked in the kernel will not give it up soon. */
static bool may_freeze_at_exit(const struct mpg_m *mp,
                               const struct mpgi_sigregs *r, void *ucontext) {
  int64_t asked = mpgi_stw.requested_at;
  bool free = !mp->abroad && mpgi_text_is_user(r->pc);
  return free || mpgi_arch_in_syscall(ucontext) ||
         mpgi_os_now() - asked > MPGI_EXIT_GRACE_NS;
}

/* Without a look at the frames and without a way through g0.  Whose slice is
 * over is worth those: it had to be asked again. */
static bool freeze_at_once(const struct mpg_g *gp) {
  return mpgi_stw.helpers == 0 && mpgi_stw.reason != MPGI_STOP_EXIT &&
         !(atomic_load(&gp->ctx.preempt) & MPGI_PREEMPT_SLICE);
}

/* Nothing to be switched out; there may be no goroutine at all. */
static void sig_abroad(struct mpg_m *mp, void *ucontext) {
  struct mpgi_sigregs r;
  mpgi_arch_sigregs(ucontext, &r);
  if (in_runtime(mp, &r)) return; /* a handler of the application's */
  bool exiting = atomic_load(&mpgi_sched.exiting);
  if ((exiting || mpgi_stw.reason == MPGI_STOP_EXIT) &&
      !may_freeze_at_exit(mp, &r, ucontext))
    return;
  if (exiting)
    mpgi_freeze_for_ever_sig(mp);
  else if (mp->p && mpgi_stw_waiting())
    mpgi_freeze_sig(mp, ucontext);
}

static void sig_running(struct mpg_m *mp, struct mpg_g *gp, void *ucontext) {
  struct mpgi_sigregs r;
  mpgi_arch_sigregs(ucontext, &r);
  bool stopping = mpgi_stw_waiting();
  if (!stopping && !atomic_load(&gp->ctx.preempt)) return;
  if (in_runtime(mp, &r)) {
    if (stopping) atomic_fetch_or(&gp->ctx.preempt, MPGI_PREEMPT_STOP);
    if (!mp->attached) mpgi_arch_guard_set(MPGI_GUARD_POISON);
    return;
  }
  if (mp->attached) {
    if (stopping) mpgi_freeze_sig(mp, ucontext);
    return;
  }
  if (stopping && freeze_at_once(gp)) {
    mpgi_freeze_sig(mp, ucontext);
    return;
  }
  bool on_stack = r.sp > gp->ctx.seg->lo && r.sp <= gp->ctx.seg->hi;
  if (on_stack && async_safe_point(mp, gp, &r)) {
    mpgi_arch_inject_preempt(ucontext);
    return;
  }
  mpgi_arch_guard_set(MPGI_GUARD_POISON);
  if (!stopping) return;
  if (mpgi_stw.reason == MPGI_STOP_EXIT &&
      !may_freeze_at_exit(mp, &r, ucontext))
    return;
  mpgi_freeze_sig(mp, ucontext);
}

static void sig_exiting(struct mpg_m *mp, void *ucontext) {
  struct mpgi_sigregs r;
  mpgi_arch_sigregs(ucontext, &r);
  bool in_call = mp->in_call && !mp->attached;
  if (!in_call && in_runtime(mp, &r)) return;
  if (mp->attached)
    mpgi_attached_cut_sig(mp);
  else if (may_freeze_at_exit(mp, &r, ucontext))
    mpgi_freeze_for_ever_sig(mp);
}

static bool is_ours(const siginfo_t *info) {
  return (info->si_code == SI_TKILL && info->si_pid == getpid()) ||
         mpgi_os_is_alarm(info);
}

/* Is this part of an access that mpg_rt_text makes?  The compiler makes it a
 * call of TSan's library, through the linker's jump: that has no tables, and
 * its caller is on top of the stack. */
MPGI_NO_SANITIZE static bool accesses_for_rt(const struct mpgi_sigregs *r) {
  struct mpgi_frame f = {.pc = r->pc, .sp = r->sp, .fp = r->fp};
  enum mpgi_step step = MPGI_STEP_UP;
  bool user = mpgi_text_is_user(f.pc);
  for (int i = 0; i < TSAN_FRAMES && step == MPGI_STEP_UP; i++) {
    step = mpgi_cfi_step(&f, r->sp, r->sp + TSAN_STACK);
    if (mpgi_text_is_user(f.pc)) break;
  }
  if (!user) return mpgi_arch_pc_in_rt(f.pc);
  return step == MPGI_STEP_UNKNOWN &&
         mpgi_arch_pc_in_rt(*(const uintptr_t *) r->sp);
}

/* TSan's run-time library takes locks at any access, and this handler too, if
 * it goes on, makes accesses: not on top of one.  (This file is built without
 * TSan.)  Where it waits in the kernel other foreign code may be frozen, but
 * not amid an access of an entry stub's: a thread cut loose there would go on
 * with an allocation from a cache that is somebody else's by then.  Whoever
 * sent the signal sends it again. */
static bool in_sanitizer(const struct mpg_m *mp, const void *ucontext) {
  if (!MPGI_TSAN) return false;
  struct mpgi_sigregs r;
  mpgi_arch_sigregs(ucontext, &r);
  if (mpgi_arch_pc_in_rt(r.pc)) return false;
  if (!on_g0(mp, &r) && accesses_for_rt(&r)) return true;
  return !mpgi_text_is_user(r.pc) && !mpgi_arch_in_syscall(ucontext);
}

static void on_sigurg(int sig, void *siginfo, void *ucontext) {
  struct mpg_m *mp = mpgi_tls_m();
  if (!mp && mpgi_is_loose() && is_ours(siginfo)) return; /* a late one */
  if (!mp || !is_ours(siginfo)) {
    mpgi_os_signal_chain(sig, siginfo, ucontext);
    return;
  }
  if (in_sanitizer(mp, ucontext)) return;
  if (mpgi_os_is_alarm(siginfo) && !mpgi_stw_waiting()) mpgi_alarm_sig(mp);
  if (mpgi_dying_sig(mp, ucontext)) return;
  struct mpg_g *gp = mp->curg;
  if (mp->abroad)
    sig_abroad(mp, ucontext);
  else if (!gp)
    return;
  else if (atomic_load(&mpgi_sched.exiting))
    sig_exiting(mp, ucontext);
  else if (mp->p)
    sig_running(mp, gp, ucontext);
}

void mpgi_sigpreempt_init(void) {
  int err = mpgi_os_signal_install(SIGURG, on_sigurg);
  MPG_VERIFY(err == 0);
  mpgi_os_signal_onstack_all();
}

void mpgi_sigpreempt_restore(void) {
  /* Threads frozen for ever sit in the handler; a late signal to a thread
   * that ended is not delivered.  The application's handler comes back. */
  mpgi_os_signal_restore(SIGURG);
}

/* ---- mpg_preempt_disable ---- */

void mpgi_preempt_disable_g0(void) {
  mpgi_current_g("mpg_preempt_disable")->preempt_off++;
}

void mpgi_preempt_enable_g0(void) {
  struct mpg_g *gp = mpgi_current_g("mpg_preempt_enable");
  if (gp->preempt_off == 0)
    mpgi_fatal("mpg_preempt_enable without mpg_preempt_disable");
  gp->preempt_off--;
}

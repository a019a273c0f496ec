/* frames.c - the return addresses on a goroutine's stack, for tracebacks.
 *
 * Where a goroutine is depends on how it left its thread:
 *   in the runtime, parked     the entry thunk's frame at ctx.sp (thunks.S)
 *   in __morestack             its frame, above what it pushed at ctx.sp
 *   getting alloca memory      as an entry thunk's
 *   async-preempted            the trampoline's, while it has an xsave buffer
 *   in a system call           what mpg_syscall_enter remembered
 *   frozen, or caught dying    its registers, in the signal's frame
 *   swapped out                as parked, the words being in its image
 *   new                        nowhere: its function
 * From there on each step is taken by the unwind tables (cfi.c), which know
 * leaves, prologues and code without frame pointers, and where they are silent
 * by the frame pointer.  Frames of __morestack lead to the older segment.
 *
 * Reads words inside the goroutine's segments only: of one that runs
 * meanwhile the result may be wrong, not harmful.  Signal-safe.
 */
#include <string.h>

#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/dump.h>

#define STEPS_MAX 4096

/* ---- where it begins ---- */

/* What is left of a swapped-out stack, and where. */
static uintptr_t shift_of(const struct mpg_g *gp) {
  const void *image = mpgi_g_image(gp);
  return image ? (uintptr_t) image - gp->ctx.sp : 0;
}

static uintptr_t lowest_of(const struct mpg_g *gp,
                           const struct mpgi_segment *seg) {
  return mpgi_g_image(gp) ? gp->ctx.sp : seg->lo;
}

/* Words of a frame at sp, or NULL. */
static const uintptr_t *words_at(const struct mpg_g *gp, uintptr_t sp,
                                 size_t bytes) {
  const struct mpgi_segment *seg = mpgi_stack_find(&gp->ctx, sp);
  if (!seg || (sp & 7) || sp < lowest_of(gp, seg) || bytes > seg->hi - sp)
    return NULL;
  return (const uintptr_t *) (sp + shift_of(gp));
}

/* thunks.S: r15 r14 r13 r12 rbx rbp return-address */
static bool at_thunk(const struct mpg_g *gp, struct mpgi_frame *f) {
  const uintptr_t *w = words_at(gp, gp->ctx.sp, 56);
  if (!w) return false;
  *f = (struct mpgi_frame){w[6], gp->ctx.sp + 56, w[5], true, shift_of(gp)};
  return true;
}

/* At SP is the address of PC, which is the end of a red zone. */
static bool at_odd_return(const struct mpg_g *gp, struct mpgi_frame *f) {
  const uintptr_t *w = words_at(gp, f->sp, 8);
  if (!w) return false;
  memcpy(&f->pc, (const void *) (*w + shift_of(gp)), sizeof(f->pc));
  f->sp = *w + 8 + MPGI_RED_ZONE_BYTES;
  return true;
}

/* preempt_entry.S: r15 ... rbp is the 11th of 15 words, flags, PC, red zone */
static bool at_preemption(const struct mpg_g *gp, struct mpgi_frame *f) {
  const uintptr_t *w = words_at(gp, gp->ctx.sp, 136);
  if (!w) return false;
  uintptr_t sp = gp->ctx.sp + 136 + MPGI_RED_ZONE_BYTES;
  *f = (struct mpgi_frame){w[16], sp, w[10], false, shift_of(gp)};
  return f->pc != (uintptr_t) mpgi_odd_return || at_odd_return(gp, f);
}

/* morestack.S: the frame of __morestack is above 15 words of registers. */
static bool at_growth(const struct mpg_g *gp, struct mpgi_frame *f) {
  const uintptr_t *w = words_at(gp, gp->ctx.sp, 144);
  if (!w) return false;
  *f = (struct mpgi_frame){w[16], gp->ctx.sp + 136, gp->ctx.sp + 120, false, 0};
  return true;
}

static bool at_syscall(const struct mpg_m *mp, struct mpgi_frame *f) {
  if (!mp || !mp->syscall.sp) return false;
  const uintptr_t *w = mp->syscall.regs;
  *f = (struct mpgi_frame){w[MPGI_SAVED_PC], mp->syscall.sp, w[MPGI_SAVED_RBP],
                           true, 0};
  return true;
}

static bool at_registers(const struct mpg_g *gp, const void *ucontext,
                         struct mpgi_frame *f) {
  struct mpgi_sigregs r;
  mpgi_arch_sigregs(ucontext, &r);
  if (!mpgi_stack_find(&gp->ctx, r.sp)) return false;
  *f = (struct mpgi_frame){r.pc, r.sp, r.fp, false, 0};
  return true;
}

static bool at_fault(const struct mpg_m *mp, struct mpgi_frame *f) {
  *f = (struct mpgi_frame){mp->fault_pc, mp->fault_sp, mp->fault_fp, false, 0};
  return true;
}

static bool begins(const struct mpg_g *gp, struct mpgi_frame *f) {
  const struct mpg_m *mp = gp->m;
  uint32_t s = mpgi_g_status(gp);
  if (mp && mp->fault_pc) return at_fault(mp, f);
  if (mp && atomic_load(&mp->stop) == MPGI_M_FROZEN && mp->frozen_uc &&
      at_registers(gp, mp->frozen_uc, f))
    return true;
  if (gp->growing == MPGI_GROWING_CALL) return at_growth(gp, f);
  if (gp->growing) return at_thunk(gp, f);
  if (s == MPGI_G_SYSCALL) return at_syscall(mp, f);
  return gp->ctx.xsave ? at_preemption(gp, f) : at_thunk(gp, f);
}

/* ---- a step ---- */

/* [fp] caller's fp, [fp+8] return into the prologue, [fp+16] caller */
static bool step_morestack(const struct mpg_g *gp, struct mpgi_frame *f) {
  const uintptr_t *w = words_at(gp, f->fp, 24);
  if (!w) return false;
  *f = (struct mpgi_frame){w[2], f->fp + 24, w[0], true, f->shift};
  return true;
}

static bool step_by_fp(const struct mpg_g *gp, struct mpgi_frame *f) {
  const uintptr_t *w = words_at(gp, f->fp, 16);
  if (!w) return false;
  bool same =
      mpgi_stack_find(&gp->ctx, f->sp) == mpgi_stack_find(&gp->ctx, f->fp);
  if (same && f->fp < f->sp) return false;
  *f = (struct mpgi_frame){w[1], f->fp + 16, w[0], true, f->shift};
  return true;
}

static bool step(const struct mpg_g *gp, struct mpgi_frame *f) {
  bool growth = f->is_return && mpgi_arch_pc_in_morestack(f->pc);
  /* at_growth: in the prologue that called __morestack. */
  growth =
      growth || (gp->growing == MPGI_GROWING_CALL && f->fp == gp->ctx.sp + 120);
  if (growth) return step_morestack(gp, f);
  /* The fault of a stack overflow is below its segment. */
  uintptr_t at = f->is_return ? f->sp - 8 : f->sp;
  const struct mpgi_segment *seg = mpgi_stack_find(&gp->ctx, at);
  if (!seg) seg = gp->ctx.seg;
  switch (mpgi_cfi_step(f, lowest_of(gp, seg), seg->hi)) {
  case MPGI_STEP_UP: return true;
  case MPGI_STEP_END: return false;
  default: return step_by_fp(gp, f);
  }
}

static bool is_shown(uintptr_t pc) {
  return pc != 0 && !mpgi_arch_pc_in_rt(pc) && !mpgi_arch_pc_in_morestack(pc);
}

static void walk(const struct mpg_g *gp, struct mpgi_frame f,
                 struct mpgi_pcs *out) {
  for (int i = 0; i < STEPS_MAX; i++) {
    if (is_shown(f.pc)) {
      if (out->n == MPGI_PCS_MAX) {
        out->more = true;
        return;
      }
      if (out->n == 0) out->exact = !f.is_return;
      out->pc[out->n++] = f.pc;
    }
    if (!step(gp, &f)) return;
  }
}

/* Code built for segmented stacks keeps frame pointers: ten times as fast as
 * the tables. */
static bool step_quickly(const struct mpg_g *gp, struct mpgi_frame *f) {
  bool kept = !gp->fixed && f->is_return && mpgi_text_is_user(f->pc) &&
              !mpgi_arch_pc_in_morestack(f->pc);
  return kept ? step_by_fp(gp, f) : step(gp, f);
}

uint32_t mpgi_callers(uintptr_t *pc, uint32_t max) {
  const struct mpg_m *mp = mpgi_tls_m();
  struct mpgi_frame f;
  uint32_t n = 0;
  if (!mp || !mp->curg || !mp->curg->ctx.seg || !begins(mp->curg, &f)) return 0;
  for (int i = 0; i < STEPS_MAX && n < max; i++) {
    if (is_shown(f.pc)) pc[n++] = f.pc;
    if (!step_quickly(mp->curg, &f)) break;
  }
  return n;
}

static void show_function(const struct mpg_g *gp, struct mpgi_pcs *out) {
  out->pc[out->n++] = (uintptr_t) gp->fn;
  out->exact = true;
}

void mpgi_frames_get(const struct mpg_g *gp, struct mpgi_pcs *out) {
  struct mpgi_frame f;
  *out = (struct mpgi_pcs){.n = 0};
  if (mpgi_g_status(gp) == MPGI_G_COPYSTACK) {
    out->more = true; /* half of it may be there */
  } else if (mpgi_g_status(gp) == MPGI_G_RUNNABLE &&
             gp->ctx.pc == (uintptr_t) mpg_goroutine_start) {
    show_function(gp, out);
  } else if (gp->ctx.seg && begins(gp, &f)) {
    walk(gp, f, out);
    /* It left its function by a jump, to a function of mpg. */
    if (out->n == 0 && gp->goid) show_function(gp, out);
  }
}

void mpgi_frames_get_sig(const struct mpg_g *gp, const void *ucontext,
                         struct mpgi_pcs *out) {
  struct mpgi_frame f;
  if (!gp->ctx.seg || !at_registers(gp, ucontext, &f)) {
    mpgi_frames_get(gp, out); /* in the runtime: where it entered it */
    return;
  }
  *out = (struct mpgi_pcs){.n = 0};
  walk(gp, f, out);
}

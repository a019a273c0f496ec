/* sigctx.c - interrupted code: registers, call injection, extended state.
 *
 * Steps one and two of four (register accessors, call injection); sending is
 * arch/linux/signal.c, policy is sched/sigpreempt.c.
 */
#include <cpuid.h>
#include <string.h>
#include <ucontext.h>

#include <arch/arch.h>
#include <arch/common/check.h>

/* Read by preempt_entry.S. */
MPGI_HIDDEN uint64_t mpgi_xsave_mask;
MPGI_HIDDEN uint32_t mpgi_xsave_mode; /* 0 fxsave, 1 xsave, 2 xsavec */

extern const char mpg_async_preempt[] MPGI_HIDDEN;

#define XSTATE_PKRU (1ull << 9)
#define XSTATE_TILE (3ull << 17)
#define XSAVE_LEGACY_BYTES 576 /* FXSAVE area and XSAVE header */

static size_t xsave_state_bytes = 512;

static uint64_t xgetbv0(void) {
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (uint64_t) hi << 32 | lo;
}

/* Size of an XSAVEC area for mask; the standard format for plain XSAVE. */
static size_t xsave_area_bytes(uint64_t mask, bool compact) {
  size_t bytes = XSAVE_LEGACY_BYTES;
  for (unsigned i = 2; i < 63; i++) {
    if (!(mask >> i & 1)) continue;
    uint32_t size, offset, flags, unused;
    __cpuid_count(0xd, i, size, offset, flags, unused);
    if (!compact)
      bytes = offset + size > bytes ? offset + size : bytes;
    else
      bytes = ((flags & 2) ? (bytes + 63) & ~(size_t) 63 : bytes) + size;
  }
  return bytes;
}

void mpgi_arch_init(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return;
  __cpuid_count(0xd, 1, a, b, c, d);
  /* PKRU belongs to the thread; tile data (8 KiB) makes a goroutine not
   * preemptible instead: mpgi_arch_sigregs reports it. */
  mpgi_xsave_mask = xgetbv0() & ~(XSTATE_PKRU | XSTATE_TILE);
  mpgi_xsave_mode = (a & 2) ? 2 : 1;
  xsave_state_bytes = xsave_area_bytes(mpgi_xsave_mask, mpgi_xsave_mode == 2);
}

size_t mpgi_arch_xsave_bytes(void) {
  size_t bytes = sizeof(struct mpgi_xsave) + xsave_state_bytes;
  return (bytes + 63) & ~(size_t) 63;
}

struct mpgi_xsave *mpgi_arch_xsave_init(void *mem) {
  MPG_ASSERT(((uintptr_t) mem & 63) == 0);
  struct mpgi_xsave *x = mem;
  x->bytes = xsave_state_bytes;
  return x;
}

/* ---- the interrupted thread ---- */

/* Layout of the software-reserved bytes of a signal frame's FXSAVE area:
 * Linux arch/x86/include/uapi/asm/sigcontext.h, struct _fpx_sw_bytes. */
struct fpx_sw {
  uint32_t magic1, extended_bytes;
  uint64_t xfeatures;
  uint32_t xstate_bytes;
};
#define FPX_SW_OFFSET 464
#define FPX_MAGIC1 0x46505853u
#define XSTATE_BV_OFFSET 512

static const struct fpx_sw *fpx_sw(const ucontext_t *uc) {
  const char *fp = (const char *) uc->uc_mcontext.fpregs;
  if (!fp) return NULL;
  const struct fpx_sw *sw = (const void *) (fp + FPX_SW_OFFSET);
  return sw->magic1 == FPX_MAGIC1 ? sw : NULL;
}

/* A kernel without XSAVE writes the magic, too, but no header behind it. */
static bool tile_in_use(const ucontext_t *uc) {
  const struct fpx_sw *sw = fpx_sw(uc);
  if (!sw || !(sw->xfeatures & XSTATE_TILE)) return false;
  uint64_t bv;
  memcpy(&bv, (const char *) uc->uc_mcontext.fpregs + XSTATE_BV_OFFSET,
         sizeof bv);
  return (bv & XSTATE_TILE) != 0;
}

void mpgi_arch_sigregs(const void *ucontext, struct mpgi_sigregs *out) {
  const ucontext_t *uc = ucontext;
  out->pc = (uintptr_t) uc->uc_mcontext.gregs[REG_RIP];
  out->sp = (uintptr_t) uc->uc_mcontext.gregs[REG_RSP];
  out->fp = (uintptr_t) uc->uc_mcontext.gregs[REG_RBP];
  memcpy(&out->sigmask, &uc->uc_sigmask, sizeof out->sigmask);
  out->unsaveable = tile_in_use(uc);
}

static uintptr_t push(uintptr_t sp, uintptr_t word) {
  sp -= sizeof(word);
  memcpy((void *) sp, &word, sizeof(word));
  return sp;
}

void mpgi_arch_inject_preempt(void *ucontext) {
  ucontext_t *uc = ucontext;
  greg_t *r = uc->uc_mcontext.gregs;
  uintptr_t sp = (uintptr_t) r[REG_RSP] - MPGI_RED_ZONE_BYTES;
  sp = push(sp, (uintptr_t) r[REG_RIP]);
  if (MPGI_UNLIKELY(sp & 7)) {
    sp = push(sp & ~(uintptr_t) 7, sp);
    sp = push(sp - MPGI_RED_ZONE_BYTES, (uintptr_t) mpgi_odd_return);
  }
  r[REG_RSP] = (greg_t) sp;
  r[REG_RIP] = (greg_t) (uintptr_t) mpg_async_preempt;
}

void mpgi_arch_sigregs_words(const void *ucontext,
                             void (*visit)(void *arg, const void *lo,
                                           const void *hi),
                             void *arg) {
  const ucontext_t *uc = ucontext;
  const greg_t *r = uc->uc_mcontext.gregs;
  visit(arg, r, r + NGREG);
  const char *fp = (const char *) uc->uc_mcontext.fpregs;
  if (!fp) return;
  const struct fpx_sw *sw = fpx_sw(uc);
  size_t bytes = sw ? sw->xstate_bytes : 512;
  visit(arg, fp, fp + (bytes & ~(size_t) 7));
}

bool mpgi_arch_in_syscall(const void *ucontext) {
  const ucontext_t *uc = ucontext;
  const greg_t *r = uc->uc_mcontext.gregs;
  const unsigned char *pc = (const unsigned char *) r[REG_RIP];
  /* SA_RESTART winds PC back to the instruction; otherwise it is behind it
   * and rax is -EINTR (4). */
  if (pc[0] == 0x0f && pc[1] == 0x05) return true;
  return r[REG_RAX] == -4 && pc[-2] == 0x0f && pc[-1] == 0x05;
}

/* ---- stubs ---- */

void *mpgi_arch_behind_jump(void *fn) {
  const unsigned char *pc = fn;
  int32_t slot;
  if (pc[0] != 0xff || pc[1] != 0x25) return fn; /* jmp *slot(%rip) */
  memcpy(&slot, pc + 2, sizeof slot);
  void *target;
  memcpy(&target, pc + 6 + slot, sizeof target);
  return target;
}

/* fault.c - SIGSEGV and SIGBUS: is it the end of a goroutine's stack?
 *
 * A fault in the guard region of the running goroutine's fixed stack is the
 * fatal "stack overflow", and so is one between the stack and an SP far below
 * it, where an alloca or a large frame stepped over the guard; on any stack, an
 * SP that can't be one.  Wide segments,
 * and with MPG_DEBUG=stackguard=1 all, have guard regions, too: code that takes
 * more of one than it was given (a function called through a pointer that no
 * linker sees, code built without the flags or linked by bfd) is reported
 * before it has overwritten anything.  A handler that is too large for the
 * signal stack is reported, too: that stack is used once more, from its top, by
 * this one, because SP is below it.  Anything else is the application's: its
 * handler is called, or the default action restored, so that the instruction
 * faults again and the process dies as it would have without us.
 */
#include <sched/sched.h>

#include <signal.h>

#include <sched/gmp.h>

#include <sched/dump.h>
#include <sched/frames.h>

/* How far below its stack an SP is taken for one that left it. */
#define BELOW_BYTES ((uintptr_t) 64 << 20)

static bool application_handles(int sig) { return mpgi_os_signal_has_old(sig); }

static void note_fault(struct mpg_m *mp, const struct mpgi_sigregs *r) {
  mp->fault_sp = r->sp;
  mp->fault_fp = r->fp;
  mp->fault_pc = r->pc;
}

struct where {
  const char *name, *path; /* of the function, and its file */
  struct mpgi_symbol sym;
};

/* Not by dladdr: this thread may be what the linker's lock waits for. */
static void find(struct where *w, uintptr_t pc) {
  struct mpgi_symtab tab = {0};
  uintptr_t bias;
  w->path = "of no known file";
  w->name = mpgi_symtab_lookup(&tab, pc, &w->sym) ? w->sym.name : "a function";
  mpgi_text_object(pc, &w->path, &bias);
}

static void guard_hit(struct mpg_m *mp, const struct mpg_g *gp,
                      const struct mpgi_segment *seg,
                      const struct mpgi_sigregs *r) {
  struct where w;
  find(&w, r->pc);
  note_fault(mp, r);
  mpgi_fatal(
      "stack guard: goroutine %lu ran off a stack segment of %zu bytes in "
      "%s (%s), which was not promised that much: call it through "
      "mpg_foreign_call, or on a fixed stack that is large enough",
      (unsigned long) gp->goid, (size_t) (seg->hi - seg->lo), w.name, w.path);
}

/* More is blocked than this thread began with, as in every handler that isn't
 * SA_NODEFER with an empty mask. */
static bool is_in_handler(const struct mpg_m *mp,
                          const struct mpgi_sigregs *r) {
  uint64_t before = mp->attached ? mp->sigmask : mpgi_sched.sigmask;
  return (r->sigmask & ~before) != 0;
}

static bool is_signal_overflow(const struct mpg_m *mp, uintptr_t addr,
                               uintptr_t sp) {
  uintptr_t lo = (uintptr_t) mp->gsignal;
  return lo - addr - 1 < MPGI_M_GUARD_BYTES && lo - sp < BELOW_BYTES;
}

/* When it was __morestack's frame that didn't fit: the function it was entered
 * for, whose address is above what was saved so far. */
#define SAVED_WORDS 20
static uintptr_t overflow_pc(const struct mpg_m *mp,
                             const struct mpgi_sigregs *r) {
  if (!mpgi_arch_pc_in_morestack(r->pc)) return r->pc;
  bool in_guard = !mpgi_m_on_gsignal(mp, r->sp);
  uintptr_t from = in_guard ? (uintptr_t) mp->gsignal : (uintptr_t) r->sp;
  const uintptr_t *word = (const uintptr_t *) from;
  for (int i = 0; i < SAVED_WORDS; i++)
    if (mpgi_text_is_user(word[i]) && !mpgi_arch_pc_in_rt(word[i]))
      return word[i];
  return r->pc;
}

static void signal_overflow(struct mpg_m *mp, const struct mpgi_sigregs *r) {
  struct where w;
  find(&w, overflow_pc(mp, r));
  note_fault(mp, r);
  mpgi_fatal(
      "signal stack overflow: %s (%s) is called by a signal handler, for "
      "whose frames there are %d bytes",
      w.name, w.path, MPGI_GSIGNAL_BYTES);
}

/* Not an attached thread's, which is the kernel's. */
static bool is_overflow(const struct mpg_m *mp, const struct mpg_g *gp,
                        uintptr_t addr, uintptr_t sp) {
  if (mpgi_stack_is_guard(&gp->ctx, addr)) return true;
  uintptr_t lo = gp->ctx.seg->lo;
  return !mp->attached && lo - sp < BELOW_BYTES && addr >= sp && addr < lo;
}

/* An array of 2^47 bytes and more: SP wrapped around, which is above any guard
 * word, to where no stack can be. */
static bool has_wrapped(const struct mpg_m *mp, const struct mpgi_sigregs *r) {
  return !mp->attached && r->sp >= MPGI_OS_ADDRESS_MAX && !is_in_handler(mp, r);
}

static void overflow(struct mpg_m *mp, const struct mpg_g *gp,
                     const struct mpgi_sigregs *r) {
  note_fault(mp, r);
  mpgi_stack_overflow(gp);
}

static void on_fault(int sig, void *siginfo, void *ucontext) {
  const siginfo_t *info = siginfo;
  struct mpg_m *mp = mpgi_tls_m();
  struct mpg_g *gp = mp ? mp->curg : NULL;
  uintptr_t addr = (uintptr_t) info->si_addr;
  struct mpgi_sigregs r;
  mpgi_arch_sigregs(ucontext, &r);
  bool past_signals = mp && is_signal_overflow(mp, addr, r.sp);
  bool past_own = gp && gp->fixed && is_overflow(mp, gp, addr, r.sp);
  past_own |= gp && has_wrapped(mp, &r);
  /* Both, where a frame steps from a stack to the guard region of the signal
   * stack below it, or that one's overflow is taken for a step. */
  if (past_signals && past_own && !is_in_handler(mp, &r)) past_signals = false;
  if (past_signals) signal_overflow(mp, &r);
  if (past_own) overflow(mp, gp, &r);
  const struct mpgi_segment *seg =
      gp ? mpgi_stack_guard_of(&gp->ctx, addr) : NULL;
  if (seg) guard_hit(mp, gp, seg, &r);
  if (application_handles(sig))
    mpgi_os_signal_chain(sig, siginfo, ucontext);
  else
    mpgi_os_signal_default(sig);
}

void mpgi_fault_init(void) {
  int err = mpgi_os_signal_install(SIGSEGV, on_fault);
  if (!err) err = mpgi_os_signal_install(SIGBUS, on_fault);
  MPG_VERIFY(err == 0);
}

void mpgi_fault_restore(void) {
  mpgi_os_signal_restore(SIGSEGV);
  mpgi_os_signal_restore(SIGBUS);
}

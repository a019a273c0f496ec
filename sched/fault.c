/* fault.c - SIGSEGV and SIGBUS: is it the end of a goroutine's stack?
 *
 * A fault in the guard region of the running goroutine's fixed stack is the
 * fatal "stack overflow", and so is one between the stack and an SP far below
 * it, where an alloca or a large frame stepped over the guard.  With
 * MPG_DEBUG=stackguard=1 segments have guard regions, too: code that takes more
 * of one than it was given (a function called through a pointer that no linker
 * sees, code built without the flags or linked by bfd) is reported before it
 * has overwritten anything.  Anything else is the application's: its handler is
 * called, or the default action restored, so that the instruction faults
 * again and the process dies as it would have without us.
 */
#include <sched/sched.h>

#include <signal.h>

#include <sched/gmp.h>

#include <sched/dump.h>

static bool application_handles(int sig) { return mpgi_os_signal_has_old(sig); }

static void guard_hit(struct mpg_m *mp, const struct mpg_g *gp,
                      const struct mpgi_segment *seg, const void *ucontext) {
  struct mpgi_sigregs r;
  struct mpgi_symtab tab = {0};
  struct mpgi_symbol sym = {0};
  const char *path = "of no known file";
  uintptr_t bias;
  mpgi_arch_sigregs(ucontext, &r);
  mp->fault_pc = r.pc;
  mp->fault_fp = r.fp;
  /* Not by dladdr: this thread may be what the linker's lock waits for. */
  bool known = mpgi_symtab_lookup(&tab, r.pc, &sym);
  mpgi_text_object(r.pc, &path, &bias);
  mpgi_fatal(
      "stack guard: goroutine %lu ran off a stack segment of %zu bytes in "
      "%s (%s), which was not promised that much: call it through "
      "mpg_foreign_call",
      (unsigned long) gp->goid, (size_t) (seg->hi - seg->lo),
      known ? sym.name : "a function", path);
}

/* How far below its stack an SP is taken for one that left it. */
#define BELOW_BYTES ((uintptr_t) 64 << 20)

/* Not an attached thread's, which is the kernel's. */
static bool is_overflow(const struct mpg_m *mp, const struct mpg_g *gp,
                        uintptr_t addr, uintptr_t sp) {
  if (mpgi_stack_is_guard(&gp->ctx, addr)) return true;
  uintptr_t lo = gp->ctx.seg->lo;
  return !mp->attached && lo - sp < BELOW_BYTES && addr >= sp && addr < lo;
}

static void overflow(struct mpg_m *mp, const struct mpg_g *gp,
                     const struct mpgi_sigregs *r) {
  mp->fault_sp = r->sp;
  mp->fault_fp = r->fp;
  mp->fault_pc = r->pc;
  mpgi_fatal(
      "stack overflow: goroutine %lu exceeds its fixed stack of "
      "%zu bytes",
      (unsigned long) gp->goid, (size_t) (gp->ctx.seg->hi - gp->ctx.seg->lo));
}

static void on_fault(int sig, void *siginfo, void *ucontext) {
  const siginfo_t *info = siginfo;
  struct mpg_m *mp = mpgi_tls_m();
  struct mpg_g *gp = mp ? mp->curg : NULL;
  uintptr_t addr = (uintptr_t) info->si_addr;
  struct mpgi_sigregs r;
  mpgi_arch_sigregs(ucontext, &r);
  if (gp && gp->fixed && is_overflow(mp, gp, addr, r.sp)) overflow(mp, gp, &r);
  const struct mpgi_segment *seg =
      gp ? mpgi_stack_guard_of(&gp->ctx, addr) : NULL;
  if (seg) guard_hit(mp, gp, seg, ucontext);
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

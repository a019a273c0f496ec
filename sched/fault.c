/* fault.c - SIGSEGV and SIGBUS: is it the end of a goroutine's stack?
 *
 * A fault in the guard region of the running goroutine's fixed stack is the
 * fatal "stack overflow".  Anything else is the application's: its handler is
 * called, or the default action restored, so that the instruction faults
 * again and the process dies as it would have without us.
 */
#include <sched/sched.h>

#include <signal.h>

#include <sched/gmp.h>

static void die_by_default(int sig) {
  struct sigaction dfl = {.sa_handler = SIG_DFL};
  sigaction(sig, &dfl, NULL);
}

static bool application_handles(int sig) { return mpgi_os_signal_has_old(sig); }

static void on_fault(int sig, void *siginfo, void *ucontext) {
  const siginfo_t *info = siginfo;
  struct mpg_m *mp = mpgi_tls_m();
  struct mpg_g *gp = mp ? mp->curg : NULL;
  if (gp && gp->fixed &&
      mpgi_stack_is_guard(&gp->ctx, (uintptr_t) info->si_addr)) {
    struct mpgi_sigregs r;
    mpgi_arch_sigregs(ucontext, &r);
    mp->fault_sp = r.sp;
    mp->fault_fp = r.fp;
    mp->fault_pc = r.pc;
    mpgi_fatal(
        "stack overflow: goroutine %lu exceeds its fixed stack of "
        "%zu bytes",
        (unsigned long) gp->goid, (size_t) (gp->ctx.hi - gp->ctx.lo));
  }
  if (application_handles(sig))
    mpgi_os_signal_chain(sig, siginfo, ucontext);
  else
    die_by_default(sig);
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

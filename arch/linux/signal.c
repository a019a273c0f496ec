/* signal.c - installing handlers, sending signals, alternate stacks.
 *
 * Every handler of ours runs on the thread's alternate stack with all signals
 * blocked: a goroutine's stack can't take a signal frame (12 KB), and a second
 * signal must not interrupt the first one's bookkeeping.
 *
 *   ours[sig]   handler, or NULL; written before the kernel learns of it
 *   app[sig]    the application's action, for chaining and restoring; valid
 *               while ours[sig] is set.  A pointer to one of two copies,
 *               because handlers read it at any moment
 * install and restore are called by one thread at a time (start and end of
 * mpg_run).  In between sigaction.c changes app[sig] instead of the kernel's
 * action; app_lock makes that one at a time.
 *
 * errno is saved around every handler: it belongs to the interrupted code.
 */
#include <arch/common/check.h>
#include <arch/linux/sigaction.h>
#include <arch/linux/sys.h>
#include <arch/os.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SIGNALS 65 /* 1..64 */

static mpgi_os_sighandler *_Atomic ours[SIGNALS];
static struct sigaction copies[SIGNALS][2];
static const struct sigaction *_Atomic app[SIGNALS];
static atomic_flag app_lock = ATOMIC_FLAG_INIT;
_Atomic int64_t mpgi_os_signal_fail_countdown;

static bool sig_ok(int sig) { return sig > 0 && sig < SIGNALS; }

static void app_set(int sig, const struct sigaction *sa) {
  struct sigaction *to = &copies[sig][0];
  if (atomic_load(&app[sig]) == to) to = &copies[sig][1];
  *to = *sa;
  atomic_store(&app[sig], to);
}

bool mpgi_os_signal_app(int sig, const struct sigaction *set,
                        struct sigaction *get) {
  if (!sig_ok(sig) || !atomic_load(&ours[sig])) return false;
  while (atomic_flag_test_and_set(&app_lock)) mpgi_arch_relax();
  bool is_ours = atomic_load(&ours[sig]) != NULL;
  if (is_ours && get) *get = *atomic_load(&app[sig]);
  if (is_ours && set) app_set(sig, set);
  atomic_flag_clear(&app_lock);
  return is_ours;
}

static void dispatch(int sig, siginfo_t *info, void *ucontext) {
  int saved = errno;
  mpgi_os_sighandler *handler = atomic_load(&ours[sig]);
  if (handler) handler(sig, info, ucontext);
  errno = saved;
}

int mpgi_os_signal_install(int sig, mpgi_os_sighandler *handler) {
  MPG_ASSERT(sig_ok(sig) && handler);
  if (atomic_load(&ours[sig])) { /* ours already: only the handler changes */
    atomic_store(&ours[sig], handler);
    return 0;
  }
  int saved = errno, err = 0;
  struct sigaction sa = {.sa_flags = SA_ONSTACK | SA_SIGINFO | SA_RESTART};
  sa.sa_sigaction = dispatch;
  sigfillset(&sa.sa_mask);
  struct sigaction before;
  if (mpgi_os_sigaction(sig, NULL, &before) != 0) err = -errno;
  if (!err) {
    app_set(sig, &before);
    atomic_store(&ours[sig], handler);
    if (mpgi_os_sigaction(sig, &sa, NULL) != 0) err = -errno;
    if (err) atomic_store(&ours[sig], NULL);
  }
  errno = saved;
  return err;
}

void mpgi_os_signal_restore(int sig) {
  MPG_ASSERT(sig_ok(sig));
  if (!atomic_load(&ours[sig])) return;
  while (atomic_flag_test_and_set(&app_lock)) mpgi_arch_relax();
  int bad = mpgi_os_sigaction(sig, atomic_load(&app[sig]), NULL);
  MPG_ASSERT(bad == 0);
  (void) bad;
  /* A handler that had started already finds NULL and does nothing. */
  atomic_store(&ours[sig], NULL);
  atomic_flag_clear(&app_lock);
}

void mpgi_os_signal_default(int sig) {
  struct sigaction dfl = {.sa_handler = SIG_DFL};
  mpgi_os_sigaction(sig, &dfl, NULL);
}

void mpgi_os_signal_chain(int sig, void *siginfo, void *ucontext) {
  MPG_ASSERT(sig_ok(sig));
  const struct sigaction *sa = atomic_load(&app[sig]);
  if (sa->sa_flags & SA_SIGINFO) {
    if (sa->sa_sigaction) sa->sa_sigaction(sig, siginfo, ucontext);
  } else if (sa->sa_handler != SIG_DFL && sa->sa_handler != SIG_IGN) {
    sa->sa_handler(sig);
  }
}

bool mpgi_os_signal_has_old(int sig) {
  MPG_ASSERT(sig_ok(sig));
  const struct sigaction *sa = atomic_load(&app[sig]);
  if (!sa) return false;
  if (sa->sa_flags & SA_SIGINFO) return sa->sa_sigaction != NULL;
  return sa->sa_handler != SIG_DFL && sa->sa_handler != SIG_IGN;
}

int mpgi_os_sigaltstack(void *mem, size_t bytes) {
  MPG_ASSERT(!mem || bytes > 0);
  stack_t ss = {.ss_sp = mem, .ss_size = bytes};
  if (!mem) ss.ss_flags = SS_DISABLE;
  return (int) mpgi_sys3(SYS_sigaltstack, (long) &ss, 0, 0);
}

_Static_assert(sizeof(struct mpgi_os_altstack) == sizeof(stack_t) &&
                   offsetof(struct mpgi_os_altstack, sp) ==
                       offsetof(stack_t, ss_sp) &&
                   offsetof(struct mpgi_os_altstack, flags) ==
                       offsetof(stack_t, ss_flags) &&
                   offsetof(struct mpgi_os_altstack, bytes) ==
                       offsetof(stack_t, ss_size),
               "the kernel's stack_t");

int mpgi_os_sigaltstack_swap(void *mem, size_t bytes,
                             struct mpgi_os_altstack *before) {
  MPG_ASSERT(mem && bytes > 0);
  stack_t ss = {.ss_sp = mem, .ss_size = bytes};
  return (int) mpgi_sys3(SYS_sigaltstack, (long) &ss, (long) before, 0);
}

void mpgi_os_sigaltstack_restore(const struct mpgi_os_altstack *before) {
  /* What the kernel reports beside SS_DISABLE and SS_AUTODISARM
   * (SS_ONSTACK) it doesn't take. */
  struct mpgi_os_altstack ss = *before;
  ss.flags &= ~SS_ONSTACK;
  mpgi_sys3(SYS_sigaltstack, (long) &ss, 0, 0);
}

uint64_t mpgi_os_sigmask_set(uint64_t mask) {
  uint64_t was = 0;
  long r = mpgi_sys6(SYS_rt_sigprocmask, SIG_SETMASK, (long) &mask, (long) &was,
                     sizeof mask, 0, 0);
  MPG_ASSERT(r == 0);
  (void) r;
  return was;
}

uint64_t mpgi_os_sigmask_get(void) {
  uint64_t was = 0;
  long r = mpgi_sys6(SYS_rt_sigprocmask, SIG_SETMASK, 0, (long) &was,
                     sizeof was, 0, 0);
  MPG_ASSERT(r == 0);
  (void) r;
  return was;
}

uint64_t mpgi_os_sigmask_open(uint64_t mask) {
  return mask & ~(MPGI_SIG_FAULTS | MPGI_SIG_BIT(SIGURG));
}

int mpgi_os_tgkill(int tid, int sig) {
  MPG_ASSERT(tid > 0 && sig >= 0 && sig < SIGNALS);
  if (mpgi_os_failpoint(&mpgi_os_signal_fail_countdown, false)) return -EAGAIN;
  long r = mpgi_sys3(SYS_tgkill, mpgi_os_pid(), tid, sig);
  MPG_ASSERT(r == 0 || r == -ESRCH || r == -EAGAIN);
  return (int) r;
}

/* ---- handlers that are not ours ---- */

/* The kernel's struct sigaction; libc's refuses its own two signals. */
struct kernel_sigaction {
  uintptr_t handler;
  unsigned long flags;
  uintptr_t restorer;
  uint64_t mask;
};

static long raw_sigaction(int sig, const struct kernel_sigaction *set,
                          struct kernel_sigaction *get) {
  return mpgi_sys6(SYS_rt_sigaction, sig, (long) set, (long) get,
                   sizeof(uint64_t), 0, 0);
}

static void onstack_one(int sig) {
  struct kernel_sigaction sa;
  memset(&sa, 0, sizeof sa);
  if (raw_sigaction(sig, NULL, &sa) != 0) return;
  if (sa.handler == (uintptr_t) SIG_DFL || sa.handler == (uintptr_t) SIG_IGN)
    return;
  if (sa.flags & SA_ONSTACK) return;
  sa.flags |= SA_ONSTACK;
  long r = raw_sigaction(sig, &sa, NULL);
  MPG_ASSERT(r == 0);
  (void) r;
}

void mpgi_os_signal_onstack_all(void) {
  /* Includes 32 and 33, glibc's own for cancellation and setuid: their
   * handlers run on every thread [linux.thread.setxid]. */
  for (int sig = 1; sig < SIGNALS; sig++)
    if (sig != SIGKILL && sig != SIGSTOP) onstack_one(sig);
}

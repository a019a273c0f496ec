/* sigaction.c - sigaction, signal, sigprocmask and pthread_sigmask for
 * programs that are linked with the archive.
 *
 * Hidden stand-ins for the C library's: references in the program's own
 * objects come here, those in other libraries don't.
 *
 *   sigaction, signal
 *     - handlers get SA_ONSTACK.  A thread that runs goroutines has an
 *       alternate stack; a frame of 12 KB on a goroutine's stack would
 *       overwrite others.  Where there is none the flag means nothing.
 *     - while mpg_run runs, the action for a signal that mpg uses becomes the
 *       one that mpg's handler calls for signals that are not mpg's.
 *   sigprocmask, pthread_sigmask
 *     - on a thread that runs goroutines, or is attached, SIGURG stays
 *       unblocked: otherwise the world could never stop.
 *
 * What doesn't come here is repaired when mpg_run starts and by sysmon every
 * now and then (mpgi_os_signal_onstack_all).
 *
 * This file is built without splitnote.h: ordinary code, which needs the large
 * segment when a goroutine calls it.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include <arch/common/check.h>
#include <arch/linux/sigaction.h>
#include <arch/linux/sys.h>
#include <arch/tls.h>

/* An alias of sigaction that glibc exports. */
int __sigaction(int sig, const struct sigaction *set, struct sigaction *get);

int mpgi_os_sigaction(int sig, const struct sigaction *set,
                      struct sigaction *get) {
  return __sigaction(sig, set, get);
}

static bool is_function(const struct sigaction *sa) {
  return sa->sa_handler != SIG_DFL && sa->sa_handler != SIG_IGN;
}

MPGI_HIDDEN int sigaction(int sig, const struct sigaction *set,
                          struct sigaction *get) {
  struct sigaction sa, before;
  if (set) sa = *set; /* set and get may be the same */
  if (set && is_function(&sa)) sa.sa_flags |= SA_ONSTACK;
  bool ours = mpgi_os_signal_app(sig, set ? &sa : NULL, &before);
  if (!ours) return __sigaction(sig, set ? &sa : NULL, get);
  if (get) *get = before;
  return 0;
}

MPGI_HIDDEN sighandler_t signal(int sig, sighandler_t handler) {
  struct sigaction sa, before;
  memset(&sa, 0, sizeof sa);
  sa.sa_handler = handler;
  sa.sa_flags = SA_RESTART;
  sigemptyset(&sa.sa_mask);
  sigaddset(&sa.sa_mask, sig);
  if (handler == SIG_ERR) {
    errno = EINVAL;
    return SIG_ERR;
  }
  return sigaction(sig, &sa, &before) == 0 ? before.sa_handler : SIG_ERR;
}

/* Never blocked, as in glibc. */
#define LIBC_SIGNALS (MPGI_SIG_BIT(32) | MPGI_SIG_BIT(33))

/* 0 or an error number. */
static int mask_change(int how, const sigset_t *set, sigset_t *get) {
  uint64_t bits = 0;
  if (set) {
    memcpy(&bits, set, sizeof bits);
    if (how != SIG_UNBLOCK) {
      bits &= ~LIBC_SIGNALS;
      if (mpgi_tls_m()) bits &= ~MPGI_SIG_BIT(SIGURG);
    }
  }
  uint64_t before = 0;
  long r = mpgi_sys6(SYS_rt_sigprocmask, how, set ? (long) &bits : 0,
                     (long) &before, sizeof bits, 0, 0);
  if (r != 0) return (int) -r;
  if (get) {
    sigemptyset(get);
    memcpy(get, &before, sizeof before);
  }
  return 0;
}

MPGI_HIDDEN int pthread_sigmask(int how, const sigset_t *set, sigset_t *get) {
  return mask_change(how, set, get);
}

MPGI_HIDDEN int sigprocmask(int how, const sigset_t *set, sigset_t *get) {
  int err = mask_change(how, set, get);
  if (err) errno = err;
  return err ? -1 : 0;
}

/* For libmpg.so; programs linked with it have stand-ins of their own that
 * jump here (arch/x86_64/shared/signals.S). */
#define EXPORTED __attribute__((visibility("default")))
EXPORTED int mpg_abi_sigaction(int sig, const struct sigaction *set,
                               struct sigaction *get);
EXPORTED sighandler_t mpg_abi_signal(int sig, sighandler_t handler);
EXPORTED int mpg_abi_sigprocmask(int how, const sigset_t *set, sigset_t *get);
EXPORTED int mpg_abi_pthread_sigmask(int how, const sigset_t *set,
                                     sigset_t *get);

int mpg_abi_sigaction(int sig, const struct sigaction *set,
                      struct sigaction *get) {
  return sigaction(sig, set, get);
}
sighandler_t mpg_abi_signal(int sig, sighandler_t handler) {
  return signal(sig, handler);
}
int mpg_abi_sigprocmask(int how, const sigset_t *set, sigset_t *get) {
  return sigprocmask(how, set, get);
}
int mpg_abi_pthread_sigmask(int how, const sigset_t *set, sigset_t *get) {
  return pthread_sigmask(how, set, get);
}

/* sigaction.h - signals, between the files of arch/linux.  Private to them. */
#ifndef MPGI_SIGACTION_H
#define MPGI_SIGACTION_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <arch/arch.h>

#define MPGI_SIG_BIT(sig) ((uint64_t) 1 << ((sig) -1))
/* Of what a thread does itself: blocked, they end the process all the same,
 * and no handler says why. */
#define MPGI_SIG_FAULTS                                                  \
  (MPGI_SIG_BIT(SIGSEGV) | MPGI_SIG_BIT(SIGBUS) | MPGI_SIG_BIT(SIGFPE) | \
   MPGI_SIG_BIT(SIGILL) | MPGI_SIG_BIT(SIGTRAP) | MPGI_SIG_BIT(SIGSYS) | \
   MPGI_SIG_BIT(SIGABRT))

/* The C library's sigaction. */
MPGI_HIDDEN int mpgi_os_sigaction(int sig, const struct sigaction *set,
                                  struct sigaction *get);
/* Is sig ours at present?  Then set and get are about the action that our
 * handler chains to.  Either may be NULL. */
MPGI_HIDDEN bool mpgi_os_signal_app(int sig, const struct sigaction *set,
                                    struct sigaction *get);

#endif /* MPGI_SIGACTION_H */

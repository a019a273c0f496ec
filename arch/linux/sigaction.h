/* sigaction.h - between signal.c and sigaction.c.  Private to arch/linux. */
#ifndef MPGI_SIGACTION_H
#define MPGI_SIGACTION_H

#include <signal.h>
#include <stdbool.h>

#include <arch/arch.h>

/* The C library's sigaction. */
MPGI_HIDDEN int mpgi_os_sigaction(int sig, const struct sigaction *set,
                                  struct sigaction *get);
/* Is sig ours at present?  Then set and get are about the action that our
 * handler chains to.  Either may be NULL. */
MPGI_HIDDEN bool mpgi_os_signal_app(int sig, const struct sigaction *set,
                                    struct sigaction *get);

#endif /* MPGI_SIGACTION_H */

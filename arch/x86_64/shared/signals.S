/* signals.S - libmpg_nonshared.a: the stand-ins of arch/linux/sigaction.c for
 * programs linked with libmpg.so, which has the functions.
 *
 * Without the notes of asm.h (OBJECT_NOTES): callers on goroutine stacks need
 * the large segment.
 */
#include <arch/x86_64/shared/stand_in.h>

    .text
STAND_IN(sigaction)
STAND_IN(signal)
STAND_IN(sigprocmask)
STAND_IN(pthread_sigmask)

    .section .note.GNU-stack, "", @progbits

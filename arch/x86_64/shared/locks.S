/* locks.S - libmpg_nonshared.a: the stand-ins of arch/linux/lockcheck.c for
 * programs linked with libmpg.so, which has the functions.
 *
 * Without the notes of asm.h (OBJECT_NOTES), as signals.S.
 */
#include <arch/x86_64/shared/stand_in.h>

    .text
STAND_IN(pthread_mutex_lock)
STAND_IN(pthread_mutex_trylock)
STAND_IN(pthread_mutex_timedlock)
STAND_IN(pthread_mutex_clocklock)
STAND_IN(pthread_mutex_unlock)

    .section .note.GNU-stack, "", @progbits

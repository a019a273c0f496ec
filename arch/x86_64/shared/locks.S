/* locks.S - libmpg_nonshared.a: the stand-ins of arch/linux/lockcheck.c for
 * programs linked with libmpg.so, which has the functions.
 *
 * Without the notes of asm.h (OBJECT_NOTES), as signals.S.
 */
#include <arch/x86_64/asm.h>

#define STAND_IN(name)                         \
  HIDDEN_FUNCTION(name);                       \
  .cfi_startproc;                              \
  jmp *mpg_abi_##name@GOTPCREL(%rip);          \
  .cfi_endproc;                                \
  END_FUNCTION(name)

    .text
STAND_IN(pthread_mutex_lock)
STAND_IN(pthread_mutex_trylock)
STAND_IN(pthread_mutex_timedlock)
STAND_IN(pthread_mutex_clocklock)
STAND_IN(pthread_mutex_unlock)

    .section .note.GNU-stack, "", @progbits

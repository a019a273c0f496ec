/* stand_in.h - a function of the program's own that is libmpg.so's mpg_abi_...
 */
#ifndef MPGI_STAND_IN_H
#define MPGI_STAND_IN_H

#include <arch/x86_64/asm.h>

#define STAND_IN(name)                  \
  HIDDEN_FUNCTION(name);                \
  .cfi_startproc;                       \
  jmp *mpg_abi_##name @GOTPCREL(% rip); \
  .cfi_endproc;                         \
  END_FUNCTION(name)

#endif /* MPGI_STAND_IN_H */

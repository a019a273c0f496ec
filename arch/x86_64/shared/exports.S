/* exports.S - split-stack entries of libmpg.so, for the stubs in stubs.S.
 *
 * Part of libmpg.so only.  Programs don't call __morestack in a library
 * directly: see stubs.S.  A jump leaves registers, stack and return address
 * as the prologue made them.
 */
#include <arch/x86_64/asm.h>

#define EXPORT(name)             \
  FUNCTION(mpg_abi_##name);      \
  .cfi_startproc;                \
  jmp __##name;                  \
  .cfi_endproc;                  \
  END_FUNCTION(mpg_abi_##name)

    RT_TEXT
#include <arch/x86_64/shared/abi.def>
EXPORT(longjmp_chk)

    OBJECT_NOTES

/* split.h - a function for segmented stacks that calls one that isn't, for its
 * prologue to be seen as the linker left it (split.S, shared/split.S).
 *
 * MPGI_SPLIT_PROBE is as compilers make it.  lld and gold turn the comparison
 * into "stc; nop" because of the call of mpgi_split_foreign, which is in an
 * object without the note; bfd and mold leave it, and then functions that call
 * the C library would run on with what is left of 2 KiB.
 */
#ifndef MPGI_SPLIT_H
#define MPGI_SPLIT_H

#define MPGI_SPLIT_REFUSED                                  \
  "linked by a linker that knows nothing of split stacks: " \
  "link with -fuse-ld=lld or -fuse-ld=gold"

#define MPGI_SPLIT_UNCHANGED 0x64 /* the first byte of the comparison */

#ifdef __ASSEMBLER__
#include <arch/x86_64/asm.h>
/* clang-format off */

#define MPGI_SPLIT_PROBE             \
  .hidden mpgi_split_foreign;        \
  HIDDEN_FUNCTION(mpgi_split_probe); \
  .cfi_startproc;                    \
  cmp %fs:GUARD_OFFSET, %rsp;        \
  jae 1f;                            \
  mov $8, %r10d;                     \
  xor %r11d, %r11d;                  \
  call __morestack;                  \
  ret;                               \
1:call mpgi_split_foreign;           \
  ret;                               \
  .cfi_endproc;                      \
  END_FUNCTION(mpgi_split_probe)

/* As OBJECT_NOTES, but every function here has a prologue. */
#define SPLIT_NOTES                              \
  .section .note.GNU-split-stack, "", @progbits; \
  .section .note.GNU-stack, "", @progbits
#endif

#endif /* MPGI_SPLIT_H */

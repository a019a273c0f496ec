/* stubs.S - libmpg_nonshared.a: what a program linked with libmpg.so holds
 * itself.
 *
 * lld and gold change a call of __morestack into one of
 * __morestack_non_split after they have laid out the PLT; a definition in
 * another library would then be out of reach.  So every program has its own
 * hidden __morestack and __morestack_non_split, which jump on.  One file, so
 * that a reference to the first brings the second along.
 *
 * Not through the PLT: nothing but the flags may change on the way (r10 and
 * r11 are the prologue's arguments), and no lazy binding may run on what is
 * left of a goroutine's stack.
 */
#include <arch/x86_64/asm.h>

#define EXPORT(name)                           \
  HIDDEN_FUNCTION(__##name);                   \
  .cfi_startproc;                              \
  jmp *mpg_abi_##name@GOTPCREL(%rip);          \
  .cfi_endproc;                                \
  END_FUNCTION(__##name)

    .text
#include <arch/x86_64/shared/abi.def>
    MARK_MORESTACK

/* longjmp across segments, under the names that longjmp.S has for it.  Those of
 * a library with stand-ins of its own are its own: protected. */
FUNCTION(longjmp)
    .cfi_startproc
    jmp *mpg_abi_longjmp_chk@GOTPCREL(%rip)
    .cfi_endproc
END_FUNCTION(longjmp)
    LONGJMP_NAMES
    .protected longjmp
    .protected siglongjmp
    .protected __longjmp_chk

    OBJECT_NOTES

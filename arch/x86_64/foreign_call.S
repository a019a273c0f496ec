/* foreign_call.S - mpg_foreign_call: a call with room for foreign code.
 *
 * A function with a split-stack prologue as a compiler would make it for a
 * frame of FOREIGN_CALL_BYTES, and a body that uses next to nothing of it.
 */
#include <arch/x86_64/asm.h>

/* A segment of 64 KiB has room for it.  MPG_FOREIGN_BYTES (mpg/sched.h); what
 * is more covers the frame here. */
#define FOREIGN_CALL_BYTES (61440 + 64)

    RT_TEXT
/* void mpg_foreign_call(mpg_func fn, void *arg) */
FUNCTION(mpg_foreign_call)
    .cfi_startproc
    lea -FOREIGN_CALL_BYTES(%rsp), %r10
    cmp %fs:GUARD_OFFSET, %r10
    jae 1f
    mov $FOREIGN_CALL_BYTES, %r10d
    xor %r11d, %r11d
    call __morestack
    ret
1:  push %rbp /* one byte behind the return address */
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    mov %rdi, %rax
    mov %rsi, %rdi
    call *%rax
    pop %rbp
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc
END_FUNCTION(mpg_foreign_call)

OBJECT_NOTES

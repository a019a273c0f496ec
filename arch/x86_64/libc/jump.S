/* jump.S - _longjmp, and the way to the C library's own.
 *
 * Under its other names longjmp is mpg's in every program
 * (arch/x86_64/longjmp.S), which reaches the C library's by this one.  Here
 * this one becomes mpg's, too, and the C library's goes by its versioned name,
 * as with other stubs; with -static, where there are no versions, by its own
 * name for it, which is there because pthread_exit needs it.
 *
 * tools/libc_stubs.sh includes this file.
 */
    .macro JUMP real
    .text
    .p2align 4
    .globl _longjmp
    .hidden _longjmp
    .type _longjmp, @function
_longjmp:
    .cfi_startproc
    jmp *longjmp@GOTPCREL(%rip)
    .cfi_endproc
    .size _longjmp, . - _longjmp

    .globl mpgi_libc_longjmp
    .hidden mpgi_libc_longjmp
    .type mpgi_libc_longjmp, @function
mpgi_libc_longjmp:
    .cfi_startproc
    jmp *\real@GOTPCREL(%rip)
    .cfi_endproc
    .size mpgi_libc_longjmp, . - mpgi_libc_longjmp

    .section .note.GNU-split-stack, "", @progbits
    .section .note.GNU-no-split-stack, "", @progbits
    .section .note.GNU-stack, "", @progbits
    .endm

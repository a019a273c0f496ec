/* split.S - libmpg_nonshared.a: refuses to start a program for segmented stacks
 * that was linked by a linker which doesn't know them.
 *
 * libmpg.so sees its own linker only (arch/x86_64/split.c).  In every program
 * that calls one of the functions for such code (nonshared.cmake).
 */
#include <arch/x86_64/split.h>

    .text
MPGI_SPLIT_PROBE

    .section .init_array, "aw"
    .quad check_linker

    .text
check_linker:
    .cfi_startproc
    cmpb $MPGI_SPLIT_UNCHANGED, mpgi_split_probe(%rip)
    je 1f
    ret
1:  mov $1, %eax /* write(2, ...) */
    mov $2, %edi
    lea 2f(%rip), %rsi
    mov $3f - 2f, %edx
    syscall
    mov $231, %eax /* exit_group(2) */
    mov $2, %edi
    syscall
    hlt
    .cfi_endproc
    .section .rodata
2:  .ascii "fatal: ", MPGI_SPLIT_REFUSED, "\n"
3:

    OBJECT_NOTES

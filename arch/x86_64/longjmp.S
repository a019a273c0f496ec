/* longjmp.S - longjmp across segments.
 *
 * libc's longjmp sets SP and leaves; the context would go on to name the
 * segment that was abandoned, and its guard word would be compared with an SP
 * elsewhere.  These come before libc's in the link and do two things more: the
 * segments between are left, and libc's own function runs on g0, because it
 * wants more stack than its caller was checked for.
 *
 * __longjmp_chk, what _FORTIFY_SOURCE makes of longjmp, refuses jumps to
 * lower addresses: an older segment often has one.  So it is replaced too,
 * without the check.
 *
 * Libraries bind to them as well, because an interpreter's error in a function
 * of the program's that it called leaves the segments of that function.  Not to
 * _longjmp, by which libc's own is reached; the program's own _longjmp is a
 * stub's business (libc/jump.S), and libc's where there are no stubs.
 *
 * From elsewhere, a signal handler's stack or g0 (a callback of the C library,
 * libc_call.S), onto the goroutine's: mpgi_jump_to says whether it is one.
 * Then whatever is on that other stack is abandoned, and with it the call of
 * the C library.  All other jumps are libc's, unchanged.
 *
 * The target: glibc keeps SP in word 6 of a jmp_buf, rotated left by 17 after
 * xor with the word at %fs:0x30 (sysdeps/x86_64, PTR_MANGLE).
 *
 * In sanitizer builds it is libc's, or the sanitizer's, always: no goroutine
 * has more than one segment there.
 */
#include <arch/x86_64/asm.h>

#define JB_RSP 48
#define POINTER_GUARD 0x30

    RT_TEXT
    .hidden mpgi_tls
    .hidden mpgi_stack_leave_to
    .hidden mpgi_jump_to
    LONGJMP_NAMES

/* _Noreturn void longjmp(jmp_buf env, int value) */
FUNCTION(longjmp)
    .cfi_startproc
#ifdef MPGI_SANITIZE_SWITCHES
    jmp mpgi_libc_longjmp
#endif
    push %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rdi, %rbx
    mov %esi, %r12d
    mov JB_RSP(%rdi), %r14
    ror $17, %r14
    xor %fs:POINTER_GUARD, %r14
    TLS_BASE(%r11)
    mov %fs:TLS_G(%r11), %r13
    test %r13, %r13
    jz 1f
    unless_on_segment %r13, %rcx, 1f
    mov %rsp, CTX_SP(%r13)
2:  movq $0, %fs:TLS_G(%r11)
    movq $0, %fs:TLS_LIBC(%r11)
    mov %fs:TLS_G0_SP(%r11), %rsp
    mov %r13, %rdi
    mov %r14, %rsi
    call mpgi_stack_leave_to
    /* From here on SP on g0 tells the signal handler. */
    TLS_BASE(%r11)
    mov %r13, %fs:TLS_G(%r11)
    mov %rbx, %rdi
    mov %r12d, %esi
    call mpgi_libc_longjmp
    ud2
1:  and $-16, %rsp
    mov %r14, %rdi
    call mpgi_jump_to
    mov %rax, %r13
    TLS_BASE(%r11)
    test %rax, %rax
    jnz 2b
    mov %rbx, %rdi
    mov %r12d, %esi
    call mpgi_libc_longjmp
    ud2
    .cfi_endproc
END_FUNCTION(longjmp)

/* libc's own, where no stub knows better. */
    .weak mpgi_libc_longjmp
    .hidden mpgi_libc_longjmp
    .type mpgi_libc_longjmp, @function
mpgi_libc_longjmp:
    .cfi_startproc
    jmp *_longjmp@GOTPCREL(%rip)
    .cfi_endproc
END_FUNCTION(mpgi_libc_longjmp)

OBJECT_NOTES

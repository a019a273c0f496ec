/* libc_call.S - calls of C library functions, on the system stack.
 *
 * Entered from a stub (libc/stub.S) by a jump: r11 = the function, everything
 * else as the caller of the function made it.  Three cases:
 *
 *   room      16 KiB are left on this stack (256 for some functions), or it
 *             isn't a goroutine's segmented one (guard word 0): a bare jump
 *   elsewhere a signal handler or g0: the guard word is somebody else's.  A
 *             bare jump, too
 *   switch    to g0, call, back
 *
 * [libc.marker] While the function runs, tls.g is NULL and tls.libc names the
 * goroutine:
 * that is what tells the signal handler that g0 is in foreign code, not in
 * the runtime (sched/sigpreempt.c), and entry thunks that they were called
 * from inside the C library (thunks.S).  Both words are this thread's, written
 * here only, with PC in mpg_rt_text, where the handler doesn't look at them.
 *
 * Frame on the goroutine's stack: that of an entry thunk (thunks.S), so that
 * tracebacks and the collector find what they know.  Order of tls.g and
 * ctx.sp: as there.
 *
 * On the way back a request for preemption is honoured as if the goroutine
 * had been interrupted just behind its call: through mpg_async_preempt, which
 * saves every register, results included (mpgi_libc_preempted decides).  A
 * loop around malloc can be switched out nowhere else.
 *
 * Results are left alone: rax, rdx, xmm0, xmm1, the x87 stack.
 *
 * Stack arguments: their number is the function's secret.  A window of
 * WINDOW_BYTES is copied, or what the segment holds above the call when that
 * is less; C11 (5.2.4.1) lets a call have 127 arguments.  Four loads go before
 * four stores: one by one a load often waits for the store before it (snprintf
 * of a number 110 to 160 ns, so 96; without copying 62).
 */
#include <arch/x86_64/asm.h>

/* Room for foreign code: MPGI_STACK_FOREIGN_BYTES (stack/stack.h). */
#define FOREIGN_BYTES 0x4000
#define DEEP_BYTES 0x40000
#define WINDOW_BYTES 2048

    RT_TEXT
    .hidden mpgi_tls
    .hidden mpgi_libc_preempted
    .hidden mpg_async_preempt

    .macro libc_call name, with_args, room
FUNCTION(\name)
    .cfi_startproc
    lea -\room(%rsp), %r10
    cmp %fs:GUARD_OFFSET, %r10
    jb 1f
    jmp *%r11
1:  TLS_BASE(%r10)
    mov %fs:TLS_G(%r10), %r10
    test %r10, %r10
    jz 2f
    mov CTX_SEG(%r10), %r10
    cmp SEG_LO(%r10), %rsp
    jb 2f
    cmp SEG_HI(%r10), %rsp
    jb 3f
2:  jmp *%r11
3:  push_thunk_frame
    TLS_BASE(%r12)
    mov %fs:TLS_G(%r12), %rbx
    mov %rbx, %fs:TLS_LIBC(%r12)
    movq $0, %fs:TLS_G(%r12)
    mov %rsp, CTX_SP(%rbx)
    mov %fs:TLS_G0_SP(%r12), %rsp
    .if \with_args
    lea 16(%rbp), %r13
    mov CTX_SEG(%rbx), %r14
    mov SEG_HI(%r14), %r14
    sub %r13, %r14
    mov $WINDOW_BYTES, %r15d
    cmp %r15, %r14
    cmova %r15, %r14
    and $-16, %r14
    sub %r14, %rsp
    jmp 5f
4:  movups -16(%r13, %r14), %xmm8
    movups %xmm8, -16(%rsp, %r14)
    sub $16, %r14
5:  test $48, %r14b
    jnz 4b
    test %r14, %r14
    jz 9f
8:  movups -16(%r13, %r14), %xmm8
    movups -32(%r13, %r14), %xmm9
    movups -48(%r13, %r14), %xmm10
    movups -64(%r13, %r14), %xmm11
    movups %xmm8, -16(%rsp, %r14)
    movups %xmm9, -32(%rsp, %r14)
    movups %xmm10, -48(%rsp, %r14)
    movups %xmm11, -64(%rsp, %r14)
    sub $64, %r14
    jnz 8b
9:
    .endif
    call *%r11
    movq $0, %fs:TLS_LIBC(%r12)
    cmpl $0, CTX_PREEMPT(%rbx)
    jne 7f
6:  mov CTX_SP(%rbx), %rsp
    mov %rbx, %fs:TLS_G(%r12)
    pop_thunk_frame
    .cfi_remember_state
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_restore_state
7:  /* What the function returned may be the only pointer to an object: here
     * the collector sees it, when the world stops meanwhile. */
    sub $64, %rsp
    mov %rax, (%rsp)
    mov %rdx, 8(%rsp)
    movups %xmm0, 16(%rsp)
    movups %xmm1, 32(%rsp)
    mov %rbx, %rdi
    call mpgi_libc_preempted
    mov %eax, %r11d
    mov (%rsp), %rax
    mov 8(%rsp), %rdx
    movups 16(%rsp), %xmm0
    movups 32(%rsp), %xmm1
    test %r11b, %r11b
    jz 6b
    jmp .Llibc_inject
    .cfi_endproc
END_FUNCTION(\name)
    .endm

    libc_call mpg_abi_libc_call, 0, FOREIGN_BYTES
    libc_call mpg_abi_libc_call_args, 1, FOREIGN_BYTES
    libc_call mpg_abi_libc_call_deep, 1, DEEP_BYTES

/* A function that takes or gives back a lock: another is called in its place
 * and gets it as the fourth argument. counted: one of linux/lockcheck.c, only
 * with MPG_DEBUG=lockcheck=1; else of linux/lockowner.c. */
    .hidden mpgi_lockcheck_hook

    .macro libc_call_by name, by, counted=0
    .hidden \by
FUNCTION(\name)
    .cfi_startproc
    .if \counted
    cmpq $0, mpgi_lockcheck_hook(%rip)
    je mpg_abi_libc_call
    .endif
    mov %r11, %rcx
    lea \by(%rip), %r11
    jmp mpg_abi_libc_call
    .cfi_endproc
END_FUNCTION(\name)
    .endm

    libc_call_by mpg_abi_libc_lock, mpgi_lockcheck_lock, counted=1
    libc_call_by mpg_abi_libc_unlock, mpgi_lockcheck_unlock, counted=1
    libc_call_by mpg_abi_libc_hold, mpgi_hold
    libc_call_by mpg_abi_libc_hold_mutex, mpgi_hold_mutex
    libc_call_by mpg_abi_libc_hold_file, mpgi_hold_file
    libc_call_by mpg_abi_libc_drop_mutex, mpgi_drop_mutex
    libc_call_by mpg_abi_libc_drop_rwlock, mpgi_drop_rwlock
    libc_call_by mpg_abi_libc_drop_file, mpgi_drop_file

/* As if interrupted behind the call; frame and registers as above. */
    .type libc_inject, @function
libc_inject:
    .cfi_startproc
    .cfi_def_cfa %rbp, 16
    .cfi_offset %rbp, -16
    .cfi_offset %rbx, -24
    .cfi_offset %r12, -32
    .cfi_offset %r13, -40
    .cfi_offset %r14, -48
    .cfi_offset %r15, -56
.Llibc_inject:
    TLS_BASE(%r11)
    mov CTX_SP(%rbx), %rsp
    mov %rbx, %fs:TLS_G(%r11)
    pop_thunk_frame
    .cfi_def_cfa %rsp, 8
    pop %r11
    .cfi_def_cfa_offset 0
    .cfi_register %rip, %r11
    lea -128(%rsp), %rsp
    .cfi_def_cfa_offset 128
    push %r11
    .cfi_def_cfa_offset 136
    .cfi_offset %rip, -136
    jmp mpg_async_preempt
    .cfi_endproc
END_FUNCTION(libc_inject)

OBJECT_NOTES

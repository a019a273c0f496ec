/* switch.S - resuming goroutines, and the system stack.
 *
 * A switch leaves by jmp through the saved address, never by ret: after a
 * change of stack the return predictor is wrong (13 ns against 3).
 */
#include <arch/x86_64/asm.h>

/* Before a jump to the stack of the context in rdi, in a function called on
 * g0. */
    .macro sanitizer_enter
#ifdef MPGI_SANITIZE_SWITCHES
    .hidden mpgi_san_enter
    push %rdi
    .cfi_adjust_cfa_offset 8
    call mpgi_san_enter
    pop %rdi
    .cfi_adjust_cfa_offset -8
#endif
    .endm

    RT_TEXT
    .hidden mpgi_tls

/* void mpgi_arch_resume(struct mpgi_context *gp)
 *
 * On g0.  Guard word: written first, then preempt is read; whoever wants this
 * goroutine preempted sets preempt first and poisons the word second, and a
 * signal handler that lands in here poisons it again.  So a request is never
 * lost at a function prologue.
 *
 * Control words: loaded always, because that costs nothing, while reading MXCSR
 * waits for everything before it (AMD: 3 to 7 ns).  So the thread's are not
 * known anywhere, and a goroutine that ends needn't save its own. */
HIDDEN_FUNCTION(mpgi_arch_resume)
    .cfi_startproc
    .cfi_undefined %rip
    sanitizer_enter
    TLS_BASE(%r11)
    ldmxcsr CTX_MXCSR(%rdi)
    fldcw CTX_FPUCW(%rdi)
    mov CTX_GUARD(%rdi), %rax
    mov %rax, %fs:GUARD_OFFSET
    cmpl $0, CTX_PREEMPT(%rdi)
    jne 2f
1:  mov CTX_SP(%rdi), %rsp
    mov %rdi, %fs:TLS_G(%r11)
    jmp *CTX_PC(%rdi)
2:  movabs $GUARD_POISON, %rax
    mov %rax, %fs:GUARD_OFFSET
    jmp 1b
    .cfi_endproc
END_FUNCTION(mpgi_arch_resume)

/* pc of a goroutine that left through an entry thunk (frame: thunks.S) */
HIDDEN_FUNCTION(mpgi_resume_thunk)
    .cfi_startproc
    .cfi_def_cfa %rsp, 56
    .cfi_offset %rbp, -16
    .cfi_offset %rbx, -24
    .cfi_offset %r12, -32
    .cfi_offset %r13, -40
    .cfi_offset %r14, -48
    .cfi_offset %r15, -56
    mov CTX_RET(%rdi), %rax
    movq $0, CTX_RET(%rdi) /* a root: not longer than it is needed */
    mov 40(%rsp), %rbp
    mov 48(%rsp), %rcx
    mov (%rsp), %r15
    mov 8(%rsp), %r14
    mov 16(%rsp), %r13
    mov 24(%rsp), %r12
    mov 32(%rsp), %rbx
    add $56, %rsp
    .cfi_def_cfa_offset 0
    .cfi_register %rip, %rcx
    jmp *%rcx
    .cfi_endproc
END_FUNCTION(mpgi_resume_thunk)

/* void mpgi_arch_leave(const struct mpgi_context *at) */
HIDDEN_FUNCTION(mpgi_arch_leave)
    .cfi_startproc
    .cfi_undefined %rip
    sanitizer_enter
    TLS_BASE(%r11)
    xor %eax, %eax
    mov %rax, %fs:TLS_G(%r11)
    mov %rax, %fs:TLS_M(%r11)
    mov %rax, %fs:TLS_CACHE(%r11)
    mov %rax, %fs:GUARD_OFFSET
    mov CTX_SP(%rdi), %rsp
    jmp mpgi_resume_thunk
    .cfi_endproc
END_FUNCTION(mpgi_arch_leave)

/* pc of a new goroutine.  Stack (mpgi_arch_context_init): fn, arg, 0, 0.  A
 * frame-pointer walk ends at rbp = 0 with this function as return address.
 * fn saves the registers that are its caller's, and keeps them on its stack for
 * as long as it runs: what the runtime left there would be a root. */
    .hidden mpgi_goexit_entry
HIDDEN_FUNCTION(mpg_goroutine_start)
    .cfi_startproc
    .cfi_undefined %rip
    .cfi_undefined %rbp
    pop %rax
    pop %rdi
    xor %ebp, %ebp
    xor %ebx, %ebx
    xor %r12d, %r12d
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    call *%rax
    call mpgi_goexit_entry
    ud2
    .cfi_endproc
END_FUNCTION(mpg_goroutine_start)

/* void mpgi_arch_g0_enter(void (*entry)(void *), void *arg,
 *                         uintptr_t *g0_sp, uintptr_t *g0_base) */
    .text
HIDDEN_FUNCTION(mpgi_arch_g0_enter)
    .cfi_startproc
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
    mov %rsp, (%rcx)
    sub $64, %rsp
    and $-64, %rsp
    mov %rsp, (%rdx)
    mov %rdi, %rax
    mov %rsi, %rdi
    call *%rax
    ud2
    .cfi_endproc
END_FUNCTION(mpgi_arch_g0_enter)

/* void mpgi_arch_g0_leave(uintptr_t g0_base): return from g0_enter */
HIDDEN_FUNCTION(mpgi_arch_g0_leave)
    .cfi_startproc
    mov %rdi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .cfi_endproc
END_FUNCTION(mpgi_arch_g0_leave)

/* void mpgi_arch_g0_restart(uintptr_t g0_sp, void (*fn)(void *), void *arg) */
HIDDEN_FUNCTION(mpgi_arch_g0_restart)
    .cfi_startproc
    .cfi_undefined %rip
    mov %rdi, %rsp
    mov %rdx, %rdi
    xor %ebp, %ebp
    call *%rsi
    ud2
    .cfi_endproc
END_FUNCTION(mpgi_arch_g0_restart)

OBJECT_NOTES

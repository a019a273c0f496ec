/* preempt_entry.S - the async-preemption trampoline.
 *
 * Entered as if the interrupted code had called it: the signal handler (or
 * __morestack at a prologue) skipped the red zone, pushed the interrupted PC
 * and jumped here.  Frame on the goroutine's stack, high to low:
 *   red zone 128 | PC | flags | 15 general registers        <- ctx.sp
 * 264 bytes; MPGI_INJECT_BYTES covers it.  The extended state goes to a
 * buffer of the M, attached to the goroutine until it resumes; the handler
 * made sure that the M has one.
 */
#include <arch/x86_64/asm.h>

/* mpgi_xsave_mode: how to save; set once by mpgi_arch_init */
#define MODE_XSAVEC 2
#define MODE_XSAVE 1
#define XSTATE_AVX 4 /* bit of the mask */

    RT_TEXT
    .hidden mpgi_tls
    .hidden mpgi_async_preempted
    .hidden mpgi_xsave_mode
    .hidden mpgi_xsave_mask

    .macro save_reg reg
    push %\reg
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %\reg, 0
    .endm

HIDDEN_FUNCTION(mpg_async_preempt)
    .cfi_startproc
    .cfi_signal_frame
    .cfi_def_cfa %rsp, 136
    .cfi_offset %rip, -136
    pushfq
    .cfi_adjust_cfa_offset 8
    save_reg rax
    save_reg rcx
    save_reg rdx
    save_reg rbx
    save_reg rbp
    save_reg rsi
    save_reg rdi
    save_reg r8
    save_reg r9
    save_reg r10
    save_reg r11
    save_reg r12
    save_reg r13
    save_reg r14
    save_reg r15
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    cld
    TLS_BASE(%r11)
    mov %fs:TLS_G(%r11), %rbx
    mov %fs:TLS_M(%r11), %rsi
    mov M_XSAVE_FREE(%rsi), %rdi
    mov XSAVE_NEXT(%rdi), %rax
    mov %rax, M_XSAVE_FREE(%rsi)
    mov mpgi_xsave_mask(%rip), %eax
    mov mpgi_xsave_mask+4(%rip), %edx
    mov mpgi_xsave_mode(%rip), %ecx
    cmp $MODE_XSAVE, %ecx
    je 1f
    jb 2f
    xsavec64 XSAVE_STATE(%rdi)
    jmp 3f
1:  xsave64 XSAVE_STATE(%rdi)
    jmp 3f
2:  fxsave64 XSAVE_STATE(%rdi)
3:  fninit /* the next goroutine expects an empty x87 stack */
    test $XSTATE_AVX, %al
    jz 4f
    cmp $MODE_XSAVE, %ecx
    jb 4f
    vzeroupper
4:  mov %rdi, CTX_XSAVE(%rbx)
    movq $0, %fs:TLS_G(%r11)
    mov %rsp, CTX_SP(%rbx)
    lea mpgi_resume_async(%rip), %rax
    mov %rax, CTX_PC(%rbx)
    mov %fs:TLS_G0_SP(%r11), %rsp
    mov %rbx, %rdi
    sanitizer_on_g0
    call mpgi_async_preempted
    ud2
    .cfi_endproc
END_FUNCTION(mpg_async_preempt)

/* pc of a goroutine saved by the above; rdi = its context */
HIDDEN_FUNCTION(mpgi_resume_async)
    .cfi_startproc
    .cfi_signal_frame
    .cfi_def_cfa %rsp, 264
    .cfi_offset %rip, -136
    mov %rdi, %rbx
    mov CTX_XSAVE(%rbx), %rdi
    mov mpgi_xsave_mask(%rip), %eax
    mov mpgi_xsave_mask+4(%rip), %edx
    cmpl $MODE_XSAVE, mpgi_xsave_mode(%rip)
    jb 1f
    xrstor64 XSAVE_STATE(%rdi)
    jmp 2f
1:  fxrstor64 XSAVE_STATE(%rdi)
2:  movq $0, CTX_XSAVE(%rbx)
    TLS_BASE(%r11)
    mov %fs:TLS_M(%r11), %rsi
    mov M_XSAVE_FREE(%rsi), %rax
    mov %rax, XSAVE_NEXT(%rdi)
    mov %rdi, M_XSAVE_FREE(%rsi)
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    .cfi_def_cfa_offset 144
    popfq
    .cfi_def_cfa_offset 136
    ret $128
    .cfi_endproc
END_FUNCTION(mpgi_resume_async)

/* Where the above returns to when SP was odd (sigctx.c): at SP is the address
 * of the interrupted PC, above which the red zone is. */
HIDDEN_FUNCTION(mpgi_odd_return)
    .cfi_startproc
    .cfi_signal_frame
    /* CFA: what is at rsp, and 136 */
    .cfi_escape 0x0f, 6, 0x77, 0, 0x06, 0x23, 0x88, 0x01
    .cfi_offset %rip, -136
    pop %rsp
    .cfi_def_cfa %rsp, 136
    ret $128
    .cfi_endproc
END_FUNCTION(mpgi_odd_return)

OBJECT_NOTES

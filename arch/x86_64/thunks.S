/* thunks.S - entry thunks: from a goroutine's stack to g0 and back.
 *
 * Prototype: that of the public function; at most six register arguments and
 * a result in rax.
 *
 * Frame on the goroutine's stack, from high to low, 56 bytes:
 *   return address | rbp | rbx | r12 | r13 | r14 | r15   <- ctx.sp
 * It is what mpgi_resume_thunk pops, and where a stack scan finds the
 * callee-saved registers.
 *
 * Order that a signal handler of the application relies on (it may call
 * mpg_now): tls.g is cleared before ctx.sp is written and set again after SP
 * was loaded from it, so ctx.sp is never overwritten by a nested thunk while it
 * is needed.
 *
 * MPGI_THUNK_IN_HANDLERS: off the goroutine's stack, that is, in a handler on
 * the signal stack, it stays there.  On g0 a second signal would find nobody on
 * the signal stack, and start at its top, over the first one's frames.
 *
 * MPGI_THUNK_COLLECTS: the frames of those who collect are scanned, and what
 * other calls left in slots that they don't write would keep objects; so zero
 * is there before they are.  (What lies deeper: stack_scrub in gc/cycle.c.)
 *
 * MPGI_THUNK_ATTACHED: on a thread that mpg doesn't know it is a fatal misuse.
 * (Where the g0 side asks for the calling goroutine, that says so.)
 *
 * A function called from inside the C library, which runs on g0 (libc_call.S;
 * a callback of fopencookie, say), has no goroutine's stack to leave from:
 * that is a fatal misuse, except for the functions that signal handlers may
 * call.
 */
#include <arch/x86_64/asm.h>

#define MPGI_THUNK(pub, impl) thunk pub, impl, 0
#define MPGI_THUNK_IN_HANDLERS(pub, impl) thunk pub, impl, 1
#define MPGI_THUNK_ATTACHED(pub, impl) thunk pub, impl, 2
#define MPGI_THUNK_BEHIND(pub, thunk_, impl) thunk thunk_, impl, 2, pub
#define MPGI_THUNK_OF_G(pub, impl) thunk pub, impl, 3
#define MPGI_THUNK_COLLECTS(pub, impl) thunk pub, impl, 4
#define SCRUBBED_WORDS 64

    .macro thunk pub, impl, who, said
    .p2align 4
    .globl \pub
    .type \pub, @function
    .hidden \impl
\pub:
    .cfi_startproc
    TLS_BASE(%r11)
    mov %fs:TLS_G(%r11), %rax
    test %rax, %rax
    .if \who == 1
    jz \impl
    mov CTX_SEG(%rax), %r10
    cmp SEG_LO(%r10), %rsp
    jb \impl
    cmp SEG_HI(%r10), %rsp
    jae \impl
    .else
    jz 3f
    .endif
    push_thunk_frame
    movq $0, %fs:TLS_G(%r11)
    mov %rsp, CTX_SP(%rax)
    mov %rax, %rbx
    .if \who == 3
    mov %rax, %rdi
    mov %fs:TLS_M(%r11), %rsi
    .endif
    mov %fs:TLS_G0_SP(%r11), %rsp
    .if \who == 4
    .rept SCRUBBED_WORDS
    pushq $0
    .endr
    add $8 * SCRUBBED_WORDS, %rsp
    .endif
    sanitizer_on_g0
    call \impl
    cmpl $0, CTX_PREEMPT(%rbx)
    jne 2f
1:  sanitizer_back %rbx
    TLS_BASE(%r11)
    mov CTX_SP(%rbx), %rsp
    mov %rbx, %fs:TLS_G(%r11)
    pop_thunk_frame
    .cfi_remember_state
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_restore_state
2:  mov %rax, CTX_RET(%rbx)
    mov %rbx, %rdi
    call mpgi_thunk_preempted
    mov CTX_RET(%rbx), %rax
    movq $0, CTX_RET(%rbx) /* a root: not longer than it is needed */
    jmp 1b
    .if \who != 1
    .cfi_def_cfa %rsp, 8
    .cfi_restore %rbp
3:  cmpq $0, %fs:TLS_LIBC(%r11)
    .if \who == 2
    jne 5f
    cmpq $0, %fs:TLS_M(%r11)
    jne \impl
    lea 4f(%rip), %rdi
    jmp mpgi_not_attached
    .else
    .if \who == 3 /* mov leaves the flags */
    mov $0, %edi
    mov $0, %esi
    .endif
    je \impl
    .endif
5:  lea 4f(%rip), %rdi
    jmp mpgi_libc_misuse
    .pushsection .rodata
    .ifb \said
4:  .asciz "\pub"
    .else
4:  .asciz "\said"
    .endif
    .popsection
    .endif
    .cfi_endproc
    .size \pub, . - \pub
    .endm

    RT_TEXT
    .hidden mpgi_thunk_preempted
    .hidden mpgi_libc_misuse
    .hidden mpgi_not_attached
    .hidden mpgi_tls
#include <arch/x86_64/thunks.def>

/* void mpg_goexit(void): as a thunk whose g0 side never returns.  Its second,
 * hidden name is for mpg_goroutine_start: a hidden reference to the public
 * one would keep libmpg.so from exporting it. */
    .hidden mpgi_goexit_g0
    .hidden mpgi_goexit_misuse
FUNCTION(mpg_goexit)
HIDDEN_FUNCTION(mpgi_goexit_entry)
    .cfi_startproc
    TLS_BASE(%r11)
    mov %fs:TLS_G(%r11), %rdi
    test %rdi, %rdi
    jz mpgi_goexit_misuse
    movq $0, %fs:TLS_G(%r11)
    mov %rsp, CTX_SP(%rdi)
    mov %fs:TLS_G0_SP(%r11), %rsp
    .cfi_undefined %rip
    sanitizer_on_g0
    call mpgi_goexit_g0
    ud2
    .cfi_endproc
END_FUNCTION(mpgi_goexit_entry)
END_FUNCTION(mpg_goexit)

/* void mpg_syscall_enter(void): on the goroutine's stack if that will do.  What
 * a thunk's frame says is put into the M, for the collector.
 * mpgi_syscall_enter_here (sched/syscall.c) returns 0: it won't do; 1: done;
 * 2: g0 has something to add. */
    .hidden mpgi_syscall_enter_here
    .hidden mpgi_thunk_syscall_enter
    .hidden mpgi_thunk_syscall_entered
FUNCTION(mpg_syscall_enter)
    .cfi_startproc
    TLS_BASE(%r11)
    mov %fs:TLS_G(%r11), %rdi
    test %rdi, %rdi
    jz mpgi_thunk_syscall_enter
    mov %fs:TLS_M(%r11), %rsi
    test %rsi, %rsi
    jz mpgi_thunk_syscall_enter /* in a forked child */
    mov (%rsp), %rax
    lea 8(%rsp), %rcx
    mov %r15, M_SYSCALL_REGS(%rsi)
    mov %r14, M_SYSCALL_REGS+8(%rsi)
    mov %r13, M_SYSCALL_REGS+16(%rsi)
    mov %r12, M_SYSCALL_REGS+24(%rsi)
    mov %rbx, M_SYSCALL_REGS+32(%rsi)
    mov %rbp, M_SYSCALL_REGS+40(%rsi)
    mov %rax, M_SYSCALL_REGS+48(%rsi)
    mov %rcx, M_SYSCALL_SP(%rsi)
    push %rbp
    .cfi_adjust_cfa_offset 8
    call mpgi_syscall_enter_here
    pop %rbp
    .cfi_adjust_cfa_offset -8
    cmp $1, %eax
    jne 1f
    ret
1:  jb mpgi_thunk_syscall_enter
    jmp mpgi_thunk_syscall_entered
    .cfi_endproc
END_FUNCTION(mpg_syscall_enter)

OBJECT_NOTES

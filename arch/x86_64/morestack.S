/* morestack.S - stack growth: the split-stack ABI of GCC and Clang.
 *
 * Purpose: what compilers emit calls to under -fsplit-stack.  Replaces
 * libgcc's morestack.S completely.  C sides: sched (mpgi_morestack_g0,
 * mpgi_morestack_preempt_g0) and stack/dynamic.c.
 *
 * The ABI, as GCC 12 and Clang 14 emit it.  A prologue compares SP (less the
 * frame, when that is 256 bytes or more) with the guard word and, when below,
 *
 *      mov $frame, %r10d
 *      mov $bytes_of_stack_arguments, %r11d
 *      call __morestack        (or __morestack_non_split)
 *      ret
 *   body:                      one byte after the return address
 *
 * Every argument register survives: rdi rsi rdx rcx r8 r9, vector registers
 * 0-7 in their full width, and rax: AL of a varargs call, or the static chain
 * of a nested function, which GCC moves there from r10.  A varargs body finds
 * its stack arguments at 24(%rbp), so rbp must be the frame built here:
 *
 *   24(%rbp)  stack arguments of the function
 *   16(%rbp)  return address into its caller
 *    8(%rbp)  return address into its prologue: the ret
 *    0(%rbp)  rbp of the caller
 *   -8  frame bytes | -16 argument bytes | -24 rax       (not on the fast way)
 *   -40 to -80   rdi rsi rdx rcx r8 r9           (slow path only)
 *   -88 to -120  rbx r12 r13 r14 r15             (slow path only)
 *
 * A frame-pointer walk comes to this frame by a return address between
 * mpgi_morestack_start and _stop, and finds the function's caller at 16(%rbp),
 * not at 8(%rbp).
 *
 * The body is always called, never jumped to, also where it stays on the
 * stack it came from: call and ret stay paired, which the return predictor
 * rewards with more than the call costs, and a varargs body needs rbp anyway.
 * Its fixed stack arguments are copied to an address that is the same modulo a
 * power of two: the largest that isn't larger than all of them, and so than the
 * alignment of any of them.  That takes up to as much room again, so wherever
 * room is compared the arguments count twice.
 *
 * Ways through __morestack, in the order in which they are tried:
 *   fast     hot, for a small frame without stack arguments: nothing is saved
 *            but rbp, and nothing is compared but what isn't certain for
 *            small frames (below, FAST_BYTES).  ctx.hot is the segment of the
 *            last such switch: where it is the next one again, its bounds don't
 *            wait for the loads of ctx.seg and its next, which wait for the
 *            stores of the return before.  It may have been given back, so it
 *            is used only when it is what next says
 *   here     not on a goroutine's stack (signal handlers on their own stack,
 *            threads' own stacks, g0): the guard word is somebody else's
 *   slow     preempt is set, or the next segment is missing or too small: on
 *            g0 in C, with everything saved
 *   fits     the guard word was only poisoned: restore it, body stays
 *   hot      the next segment is cached: switch
 *
 * Preemption at a prologue happens after growth, when all is ready to enter
 * the body: the state is then exactly that of a goroutine interrupted at the
 * body's first instruction, with room for the injected frame.
 *
 * The guard word.  Others write the poison to it at any time, after setting
 * ctx.preempt.  So after every write of a real guard preempt is read, and the
 * poison put back when set.  (The processor may still read before the write
 * is visible; whoever poisons also sends a signal, and the handler poisons
 * again when it finds the PC in mpg_rt_text.)
 *
 * ctx.seg, ctx.guard and SP change one after the other here.  The signal
 * handler doesn't look at them when the PC is in mpg_rt_text, and code of
 * handlers that run on other stacks only tests that SP is in [lo, hi) of
 * ctx.seg: it never is, whichever segment that is.
 *
 * What the fast way costs is three pairs of call and return instead of one,
 * and stores: that is why bounds are read through ctx.seg and have no copy in
 * the context.  Figures: docs/design/stacks.md, "What a boundary costs".
 *
 * Unwinding: rbp-based, so it crosses segments.  It goes straight on to the
 * function's caller, as if the prologue had not called: GCC's tables for C++
 * don't cover that call, which to the unwinder means "must not throw".  gdb
 * knows the name __morestack and accepts that the stack jumps there: code that
 * switches segments belongs to that symbol.  A C++ exception that passes the
 * frame calls mpgi_morestack_personality (stack/unwind.c), which does what the
 * return would.
 */
#include <arch/x86_64/asm.h>

#define F_FRAME -8
#define F_ARGS -16
#define F_RAX -24
#define F_RDI -40
#define F_RSI -48
#define F_RDX -56
#define F_RCX -64
#define F_R8 -72
#define F_R9 -80
#define F_RBX -88
#define F_R12 -96
#define F_R13 -104
#define F_R14 -112
#define F_R15 -120
/* rdi's slot, once rdi is restored: go through mpg_async_preempt */
#define F_INJECT F_RDI

/* SP of a body that stays, before its arguments; keeps 16-byte alignment. */
#define STAY_SP -40
/* Below rbp: STAY_SP, alignment of the arguments, return address. */
#define STAY_BYTES 112
/* The largest frame on the fast way [stack.seg.least] */
#define FAST_BYTES (SEGMENT_LEAST_BYTES - STAY_BYTES)
/* Below hi of a new segment: alignment of the arguments, return address. */
#define SWITCH_BYTES 80

/* Room for foreign code: MPGI_STACK_FOREIGN_BYTES, and this frame. */
#define FOREIGN_BYTES 0x4000
#define NON_SPLIT_BYTES (FOREIGN_BYTES + 64)

/* XSAVE area on g0: all arguments may be vectors.  SSE, AVX, ZMM_Hi256; the
 * standard format ends at 1152 + 512. */
#define VECTOR_MASK 0x46
#define VECTOR_BYTES 1728
#define XSAVE_HEADER 512
#define MODE_XSAVE 1 /* mpgi_xsave_mode: 0 fxsave, 1 xsave, 2 xsavec */

    RT_TEXT
    .hidden mpgi_tls
    .hidden mpgi_xsave_mode
    .hidden mpgi_xsave_mask
    .hidden mpg_async_preempt
    .hidden mpgi_morestack_g0
    .hidden mpgi_morestack_preempt_g0
    .hidden mpgi_stack_dynamic_g0
    .hidden mpgi_stack_dynamic_reap
    .hidden mpgi_morestack_personality

/* r10 = SP of the body less its frame, when it stays; flags for jae fits.
 * rax = segment */
    .macro compare_stay
    mov %rbp, %r10
    sub F_FRAME(%rbp), %r10
    sub F_ARGS(%rbp), %r10
    sub F_ARGS(%rbp), %r10
    sub $STAY_BYTES, %r10
    cmp SEG_GUARD(%rax), %r10
    .endm

/* The same on the next segment, r10; rax is used.  Flags for jb too_small. */
    .macro compare_next
    mov SEG_HI(%r10), %rax
    sub F_FRAME(%rbp), %rax
    sub F_ARGS(%rbp), %rax
    sub F_ARGS(%rbp), %rax
    sub $SWITCH_BYTES, %rax
    cmp SEG_GUARD(%r10), %rax
    .endm

/* Make r10, the next segment, the current one of r11, all but guard and SP. */
    .macro switch_segment
    mov %rbp, SEG_PREV_SP(%r10)
    mov %r10, CTX_SEG(%r11)
    .endm

/* Write the guard word and look at preempt.  Uses rax; ctx in a register. */
    .macro write_guard ctx
    mov CTX_GUARD(\ctx), %rax
    mov %rax, %fs:GUARD_OFFSET
    cmpl $0, CTX_PREEMPT(\ctx)
    je 901f
    movabs $GUARD_POISON, %rax
    mov %rax, %fs:GUARD_OFFSET
901:
    .endm

/* Copy the stack arguments below SP.  Uses rax, r10, r11. */
    .macro copy_args
    mov F_ARGS(%rbp), %r11
    add $7, %r11
    and $-8, %r11
    mov %r11, %rax
    or $16, %rax
    bsr %rax, %rax
    xor %r10d, %r10d
    bts %rax, %r10
    neg %r10
    lea -24(%rsp), %rax
    sub %r11, %rax
    sub %rbp, %rax
    and %r10, %rax
    lea 24(%rbp, %rax), %rsp
902:
    mov 16(%rbp, %r11), %rax /* argument area + r11 - 8 */
    mov %rax, -8(%rsp, %r11)
    sub $8, %r11
    jnz 902b
    .endm

    .macro call_body
    mov 8(%rbp), %r10
    mov F_RAX(%rbp), %rax
    inc %r10
    call *%r10
    .endm

    .macro restore reg, slot
    mov \slot(%rbp), %\reg
    .endm

    .globl mpgi_morestack_start
    .hidden mpgi_morestack_start
mpgi_morestack_start:

    .p2align 6
FUNCTION(__morestack)
    .cfi_startproc
    .cfi_personality 0x1b, mpgi_morestack_personality
    .cfi_def_cfa_offset 16
    push %rbp
    .cfi_def_cfa_offset 24
    .cfi_offset %rbp, -24
/* fast: r11 = context, rbp = segment, then the next; SP is this frame's base */
    test %r11d, %r11d
    jnz .Lany
    cmp $FAST_BYTES, %r10
    ja .Lany
    mov %r10, F_FRAME(%rsp)
    TLS_BASE(%r11)
    mov %fs:TLS_G(%r11), %r11
    test %r11, %r11
    jz .Lnot_fast
    mov CTX_SEG(%r11), %rbp
    cmpq $0, CTX_DYNAMIC(%r11)
    jne .Lnot_fast
    /* SP in [lo, guard + what the body needs)?  Then it is below hi, too. */
    cmp SEG_LO(%rbp), %rsp
    jb .Lnot_fast
    add $STAY_BYTES, %r10
    add SEG_GUARD(%rbp), %r10
    cmp %r10, %rsp
    jae .Lnot_fast
    mov CTX_HOT(%r11), %r10
    cmp SEG_NEXT(%rbp), %r10
    jne .Lnot_hot
    mov %r10, %rbp
    test %r10, %r10
    jz .Lnot_fast
.Lswitch:
    mov SEG_GUARD(%rbp), %r10
    mov %rsp, SEG_PREV_SP(%rbp)
    mov %rbp, CTX_SEG(%r11)
    mov %r10, CTX_GUARD(%r11)
    mov %r10, %fs:GUARD_OFFSET
    cmpl $0, CTX_PREEMPT(%r11)
    jne .Lundo
    mov SEG_HI(%rbp), %r11
    mov 8(%rsp), %r10
    .cfi_remember_state
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    mov %r11, %rsp
    inc %r10
    call *%r10
.Lreturn_switched:
    /* Live: rax rdx, vector registers 0 and 1, the x87 stack; of a function
     * with attribute ms_abi rsi rdi, too. */
    TLS_BASE(%rcx)
    mov %fs:TLS_G(%rcx), %rcx
    mov CTX_SEG(%rcx), %r10
    mov SEG_PREV(%r10), %r11
    cmpq $0, CTX_DYNAMIC(%rcx)
    jne .Lreturn_dynamic
    mov SEG_GUARD(%r11), %r9
    mov %r11, CTX_SEG(%rcx)
    mov %r9, CTX_GUARD(%rcx)
    mov %r9, %fs:GUARD_OFFSET
    cmpl $0, CTX_PREEMPT(%rcx)
    jne .Lpoison_returned
.Lleave:
    leave
    .cfi_def_cfa %rsp, 16
    .cfi_restore %rbp
    ret
    .cfi_restore_state

/* Another segment than last time. */
.Lnot_hot:
    mov SEG_NEXT(%rbp), %rbp
    test %rbp, %rbp
    jz .Lnot_fast
    mov %rbp, CTX_HOT(%r11)
    jmp .Lswitch

/* Preemption comes first: back to the segment of before. */
.Lundo:
    mov SEG_PREV(%rbp), %rbp
    mov SEG_GUARD(%rbp), %r10
    mov %rbp, CTX_SEG(%r11)
    mov %r10, CTX_GUARD(%r11)
    movabs $GUARD_POISON, %r10
    mov %r10, %fs:GUARD_OFFSET
.Lnot_fast:
    mov F_FRAME(%rsp), %r10
    xor %r11d, %r11d
.Lany:
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    push %r10
    push %r11
    push %rax
    lea (%r10, %r11, 2), %r10
    TLS_BASE(%r11)
    mov %fs:TLS_G(%r11), %r11
    test %r11, %r11
    jz .Lhere
    unless_on_segment %r11, %rax, .Lhere
    push %r11
    cmpl $0, CTX_PREEMPT(%r11)
    jne .Lslow
    cmpq $0, CTX_DYNAMIC(%r11)
    jne .Ldynamic
    /* compare_stay and compare_next in one, with what is needed in r10 */
    add $STAY_BYTES, %r10
    add SEG_GUARD(%rax), %r10
    cmp %r10, %rbp
    jae .Lfits
    sub SEG_GUARD(%rax), %r10
    mov SEG_NEXT(%rax), %rax
    test %rax, %rax
    jz .Lslow
    add SEG_GUARD(%rax), %r10
    cmp %r10, SEG_HI(%rax)
    jb .Lslow

/* hot: rax = next segment, r11 = context */
    mov SEG_GUARD(%rax), %r10
    mov %rbp, SEG_PREV_SP(%rax)
    mov %rax, CTX_SEG(%r11)
    mov %r10, CTX_GUARD(%r11)
    mov %r10, %fs:GUARD_OFFSET
    cmpl $0, CTX_PREEMPT(%r11)
    jne .Lpoison_switched
.Lenter_switched: /* rax = segment */
    mov SEG_HI(%rax), %rsp
    cmpq $0, F_ARGS(%rbp)
    jne .Lcopy_switched
.Lcall_switched:
    call_body
    jmp .Lreturn_switched

.Lpoison_switched:
    movabs $GUARD_POISON, %r10
    mov %r10, %fs:GUARD_OFFSET
    jmp .Lenter_switched
.Lpoison_returned:
    movabs $GUARD_POISON, %r9
    mov %r9, %fs:GUARD_OFFSET
    jmp .Lleave
.Lcopy_switched:
    copy_args
    jmp .Lcall_switched

.Lfits:
    write_guard %r11
.Lhere:
    lea STAY_SP(%rbp), %rsp
    cmpq $0, F_ARGS(%rbp)
    jne .Lcopy_here
.Lcall_here:
    call_body
.Lreturn_here:
    .cfi_remember_state
    leave
    .cfi_def_cfa %rsp, 16
    .cfi_restore %rbp
    ret
    .cfi_restore_state
.Lcopy_here:
    copy_args
    jmp .Lcall_here

/* alloca memory is live, so the guard stays poisoned.  Has the newest one's
 * function returned?  rax = segment (stack/dynamic.c, rule 1) */
.Ldynamic:
    mov CTX_DYNAMIC(%r11), %r10
    cmp %rax, SEG_PREV(%r10)
    jne 1f
    lea 16(%rbp), %rax
    cmp SEG_PREV_SP(%r10), %rax
    ja .Lslow
    mov CTX_SEG(%r11), %rax
1:  compare_stay
    jae .Lhere
    mov SEG_NEXT(%rax), %r10
    test %r10, %r10
    jz .Lslow
    compare_next
    jb .Lslow
    switch_segment
    mov %r10, %rax
    jmp .Lenter_switched

/* The body returned with alloca memory live, rcx = context, r10 = segment,
 * r11 = the older one.  What this segment owns is dead: hand it to the older
 * one (rule 2). */
.Lreturn_dynamic:
    mov CTX_DYNAMIC(%rcx), %r8
1:  cmp %r10, SEG_PREV(%r8)
    jne 2f
    mov %r11, SEG_PREV(%r8)
    movq $0, SEG_PREV_SP(%r8)
    mov SEG_NEXT(%r8), %r8
    test %r8, %r8
    jnz 1b
2:  mov %r11, CTX_SEG(%rcx)
    jmp .Lleave

/* slow: in C, on g0.  r11 = context.  All that a stack scan must see of the
 * registers goes to the goroutine's stack; vectors go to g0's. */
.Lslow:
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %r8
    push %r9
    push %rbx
    .cfi_offset %rbx, F_RBX - 24
    push %r12
    .cfi_offset %r12, F_R12 - 24
    push %r13
    .cfi_offset %r13, F_R13 - 24
    push %r14
    .cfi_offset %r14, F_R14 - 24
    push %r15
    .cfi_offset %r15, F_R15 - 24
    mov %r11, %rbx
    TLS_BASE(%rcx)
    movq $0, %fs:TLS_G(%rcx)
    mov %rsp, CTX_SP(%rbx)
    mov %fs:TLS_G0_SP(%rcx), %rsp
    sub $VECTOR_BYTES, %rsp
    and $-64, %rsp
    mov %rsp, %r12
    call save_vectors
    xor %r13d, %r13d
    /* 1. preemption */
    cmpl $0, CTX_PREEMPT(%rbx)
    je 1f
    mov %rbx, %rdi
    mov %rbp, %rsi
    call mpgi_morestack_preempt_g0
    movzbl %al, %r13d
    /* 2. alloca memory whose function returned */
1:  cmpq $0, CTX_DYNAMIC(%rbx)
    je 2f
    mov %rbx, %rdi
    lea 16(%rbp), %rsi
    call mpgi_stack_dynamic_reap
    /* 3. room, if there isn't: a next segment, or more of this one */
2:  mov CTX_SEG(%rbx), %rax
    compare_stay
    jae 3f
    mov SEG_NEXT(%rax), %r10
    test %r10, %r10
    jz 4f
    compare_next
    jae 3f
4:  mov %rbx, %rdi
    mov F_FRAME(%rbp), %rsi
    mov F_ARGS(%rbp), %rdx
    add %rdx, %rdx
    lea -STAY_BYTES(%rbp), %rcx
    sub %rsi, %rcx
    sub %rdx, %rcx
    call mpgi_morestack_g0
    /* 4. back to the goroutine's stack, on the same thread */
3:  call restore_vectors
    mov %rbx, %r11
    TLS_BASE(%rcx)
    mov CTX_SP(%rbx), %rsp
    mov %rbx, %fs:TLS_G(%rcx)
    restore rdi, F_RDI
    mov %r13, F_INJECT(%rbp)
    restore rsi, F_RSI
    restore rdx, F_RDX
    restore rcx, F_RCX
    restore r8, F_R8
    restore r9, F_R9
    restore rbx, F_RBX
    restore r12, F_R12
    restore r13, F_R13
    restore r14, F_R14
    restore r15, F_R15
    .cfi_restore %rbx
    .cfi_restore %r12
    .cfi_restore %r13
    .cfi_restore %r14
    .cfi_restore %r15
    /* 5. dispatch anew; preempt has had its turn */
    mov CTX_SEG(%r11), %rax
    compare_stay
    jae 5f
    mov SEG_NEXT(%rax), %r10
    switch_segment
    cmpq $0, CTX_DYNAMIC(%r11)
    jne 6f
    mov SEG_GUARD(%r10), %rax
    mov %rax, CTX_GUARD(%r11)
6:  write_guard %r11
    mov SEG_HI(%r10), %rsp
    cmpq $0, F_ARGS(%rbp)
    je 7f
    copy_args
7:  cmpb $0, F_INJECT(%rbp)
    je .Lcall_switched
    lea .Lreturn_switched(%rip), %r10
    jmp .Linject
5:  write_guard %r11
    lea STAY_SP(%rbp), %rsp
    cmpq $0, F_ARGS(%rbp)
    je 8f
    copy_args
8:  cmpb $0, F_INJECT(%rbp)
    je .Lcall_here
    lea .Lreturn_here(%rip), %r10

/* Enter the body as if it had been called and then interrupted at its first
 * instruction; r10 = where it returns to. */
.Linject:
    push %r10
    lea -128(%rsp), %rsp
    mov 8(%rbp), %r10
    mov F_RAX(%rbp), %rax
    inc %r10
    push %r10
    jmp mpg_async_preempt
    .cfi_endproc
END_FUNCTION(__morestack)

/* void __morestack_non_split: linkers put it into the prologue of functions
 * that call code built without split stacks.  gold and lld also change the
 * comparison: small frames always come here (stc), large ones when 16 KiB and
 * the frame don't fit.  The body stays when it has 16 KiB below it; else it
 * is __morestack for a frame that is 16 KiB larger.  When the guard word is
 * poisoned the comparison fails, so preemption and live alloca memory take
 * the long way; on a fixed stack it is in the guard region (stack/fixed.c). */
    .p2align 6
FUNCTION(__morestack_non_split)
    .cfi_startproc
    .cfi_def_cfa_offset 16
    neg %r10
    lea -NON_SPLIT_BYTES(%rsp, %r10), %r10
    cmp %fs:GUARD_OFFSET, %r10
    jb 1f
    test %r11, %r11
    jnz 1f
    mov (%rsp), %r10
    push %rbp
    .cfi_def_cfa_offset 24
    .cfi_offset %rbp, -24
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    inc %r10
    push %r10 /* alignment */
    call *%r10
    /* Not leave: SP would wait for the rbp that the body popped. */
    pop %rcx
    .cfi_def_cfa %rsp, 24
    pop %rbp
    .cfi_def_cfa_offset 16
    .cfi_restore %rbp
    ret
1:  neg %r10
    lea FOREIGN_BYTES-NON_SPLIT_BYTES(%rsp, %r10), %r10
    jmp __morestack
    .cfi_endproc
END_FUNCTION(__morestack_non_split)

    .globl mpgi_morestack_stop
    .hidden mpgi_morestack_stop
mpgi_morestack_stop:

/* What GCC calls with -mcmodel=large.  Linkers don't see which functions call
 * foreign code then, and those would run off their segments: refused, on any
 * stack.  Defined all the same, or libgcc's would come into the program. */
    .hidden mpgi_fatal
FUNCTION(__morestack_large_model)
    .cfi_startproc
    push_thunk_frame
    TLS_BASE(%r11)
    mov %fs:TLS_G(%r11), %rax
    test %rax, %rax
    jz 1f
    movq $0, %fs:TLS_G(%r11)
    mov %rsp, CTX_SP(%rax)
    mov %fs:TLS_G0_SP(%r11), %rsp
1:  and $-16, %rsp
    lea 2f(%rip), %rdi
    xor %eax, %eax
    call mpgi_fatal
    ud2
    .pushsection .rodata
2:  .asciz "code for segmented stacks was compiled with -mcmodel=large"
    .popsection
    .cfi_endproc
END_FUNCTION(__morestack_large_model)

/* Save and restore the vector registers that carry arguments, in 64-byte
 * aligned memory at r12.  On g0.  Use rax rdx rcx. */
    .p2align 4
    .type save_vectors, @function
save_vectors:
    .cfi_startproc
    xor %edx, %edx
    mov mpgi_xsave_mode(%rip), %ecx
    mov mpgi_xsave_mask(%rip), %eax
    and $VECTOR_MASK, %eax
    cmp $MODE_XSAVE, %ecx
    jb 2f
    mov %rdx, XSAVE_HEADER(%r12)
    mov %rdx, XSAVE_HEADER+8(%r12)
    mov %rdx, XSAVE_HEADER+16(%r12)
    mov %rdx, XSAVE_HEADER+24(%r12)
    mov %rdx, XSAVE_HEADER+32(%r12)
    mov %rdx, XSAVE_HEADER+40(%r12)
    mov %rdx, XSAVE_HEADER+48(%r12)
    mov %rdx, XSAVE_HEADER+56(%r12)
    je 1f
    xsavec64 (%r12)
    ret
1:  xsave64 (%r12)
    ret
2:  fxsave64 (%r12)
    ret
    .cfi_endproc
    .size save_vectors, . - save_vectors

    .p2align 4
    .type restore_vectors, @function
restore_vectors:
    .cfi_startproc
    xor %edx, %edx
    mov mpgi_xsave_mask(%rip), %eax
    and $VECTOR_MASK, %eax
    cmpl $MODE_XSAVE, mpgi_xsave_mode(%rip)
    jb 1f
    xrstor64 (%r12)
    ret
1:  fxrstor64 (%r12)
    ret
    .cfi_endproc
    .size restore_vectors, . - restore_vectors

/* void *__morestack_allocate_stack_space(size_t bytes): alloca beyond the
 * guard.  May return with a lower SP: the caller's own way of getting the
 * memory lowers it by any amount, so it can't mind (stack/dynamic.c). */
    .set OFF_STACK_ARGS_MAX, 4096
FUNCTION(__morestack_allocate_stack_space)
    .cfi_startproc
    push_rbp
    TLS_BASE(%r11)
    mov %fs:TLS_G(%r11), %rax
    test %rax, %rax
    jz 1f
    unless_on_segment %rax, %rcx, 1f
    push_callee_saved
    mov %rax, %rbx
    mov %rdi, %rsi
    mov %rbx, %rdi
    lea 16(%rbp), %rdx
    movq $0, %fs:TLS_G(%r11)
    mov %rsp, CTX_SP(%rbx)
    mov %fs:TLS_G0_SP(%r11), %rsp
    call mpgi_stack_dynamic_g0
    TLS_BASE(%r11)
    mov CTX_SP(%rbx), %rsp
    mov %rbx, %fs:TLS_G(%r11)
    pop_callee_saved
    .cfi_restore %rbx
    .cfi_restore %r12
    .cfi_restore %r13
    .cfi_restore %r14
    .cfi_restore %r15
2:  /* rax = memory, rdx = the caller's new SP */
    mov 8(%rbp), %rcx
    mov (%rbp), %rbp
    .cfi_restore %rbp
    .cfi_def_cfa %rdx, 0
    .cfi_register %rip, %rcx
    lea -8(%rdx), %rsp
    mov %rcx, (%rsp)
    ret
    /* Not on a goroutine's stack: take it from the stack in use, below the
     * memory room for the caller's outgoing arguments, which it expects at
     * its SP: no more than lies between that and its rbp, where earlier alloca
     * memory lies, too. */
    .cfi_def_cfa %rbp, 16
    .cfi_offset %rbp, -16
    .cfi_offset %rip, -8
1:  lea 16(%rbp), %rdx
    mov (%rbp), %rax
    sub %rdx, %rax
    mov $OFF_STACK_ARGS_MAX, %ecx
    cmp %rcx, %rax
    cmova %rcx, %rax
    add $63, %rax
    and $-64, %rax
    sub %rax, %rdx
    sub %rdi, %rdx
    and $-64, %rdx
    add %rdx, %rax
    jmp 2b
    .cfi_endproc
END_FUNCTION(__morestack_allocate_stack_space)

/* Access to the guard word, as libgcc has it. */
FUNCTION(__morestack_get_guard)
    .cfi_startproc
    mov %fs:GUARD_OFFSET, %rax
    ret
    .cfi_endproc
END_FUNCTION(__morestack_get_guard)

FUNCTION(__morestack_set_guard)
    .cfi_startproc
    mov %rdi, %fs:GUARD_OFFSET
    ret
    .cfi_endproc
END_FUNCTION(__morestack_set_guard)

/* void *__morestack_make_guard(void *stack_top, size_t bytes) */
FUNCTION(__morestack_make_guard)
    .cfi_startproc
    sub %rsi, %rdi
    lea 512(%rdi), %rax
    ret
    .cfi_endproc
END_FUNCTION(__morestack_make_guard)

/* What GCC calls with -mstack-arg-probe before it lowers SP by rax bytes for
 * an alloca.  That option is among mpg's flags for another effect of it
 * (docs/design/stacks.md); there is nothing to probe.  All registers live. */
FUNCTION(___chkstk_ms)
    .cfi_startproc
    ret
    .cfi_endproc
END_FUNCTION(___chkstk_ms)

MARK_MORESTACK
/* Brought along, for libraries to bind to. */
    .reloc 0, R_X86_64_NONE, longjmp
OBJECT_NOTES

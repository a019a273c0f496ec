/* asm.h - macros shared by the assembler sources. */
#ifndef MPGI_ASM_H
#define MPGI_ASM_H

#include <arch/x86_64/offsets.h>

/* Assembler, not C: */
/* clang-format off */

/* Entry stubs live in one section; the signal handler knows its range. */
#define RT_TEXT .section mpg_rt_text, "ax", @progbits

#define FUNCTION(name) \
  .p2align 4;          \
  .globl name;         \
  .type name, @function; \
  name:

#define HIDDEN_FUNCTION(name) \
  .hidden name;               \
  FUNCTION(name)

    .macro LONGJMP_NAMES
    .irp name, siglongjmp, __longjmp_chk
    .globl \name
    .type \name, @function
    .set \name, longjmp
    .endr
    .endm

#define END_FUNCTION(name) .size name, .- name

/* Whoever has a __morestack of ours has this (mpg/base.h).  Not at its address:
 * gdb goes by the name, and would find this one. */
#define MARK_MORESTACK                          \
  .pushsection .rodata;                         \
  .hidden mpg_link_with_libs_of_pkg_config_mpg; \
  .globl mpg_link_with_libs_of_pkg_config_mpg;  \
  mpg_link_with_libs_of_pkg_config_mpg:         \
  .byte 0;                                      \
  .popsection

/* The static linker must not think that calling us needs a large stack, nor
 * that our functions have prologues to rewrite (common/splitnote.h), nor that
 * we need an executable stack. */
#define OBJECT_NOTES                                  \
  .section .note.GNU-split-stack, "", @progbits;      \
  .section .note.GNU-no-split-stack, "", @progbits;   \
  .section .note.GNU-stack, "", @progbits

/* reg = the thread's offset of mpgi_tls; use as %fs:TLS_x(reg). */
#define TLS_BASE(reg) mov mpgi_tls@gottpoff(%rip), reg

/* The frame that an entry thunk leaves on the goroutine's stack, from high to
 * low, 56 bytes: return address | rbp | rbx | r12 | r13 | r14 | r15 <- SP.
 * Who looks at it: frames.c, roots.c, switch.S (mpgi_resume_thunk). */
    .macro push_rbp
    push %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    .endm

    .macro push_callee_saved /* behind push_rbp */
    push %rbx
    .cfi_offset %rbx, -24
    push %r12
    .cfi_offset %r12, -32
    push %r13
    .cfi_offset %r13, -40
    push %r14
    .cfi_offset %r14, -48
    push %r15
    .cfi_offset %r15, -56
    .endm

    .macro pop_callee_saved
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    .endm

    .macro push_thunk_frame
    push_rbp
    push_callee_saved
    .endm

    .macro pop_thunk_frame
    pop_callee_saved
    pop %rbp
    .endm

/* To `no` unless SP is on the current segment of the context; tmp = segment. */
    .macro unless_on_segment ctx, tmp, no
    mov CTX_SEG(\ctx), \tmp
    cmp SEG_LO(\tmp), %rsp
    jb \no
    cmp SEG_HI(\tmp), %rsp
    jae \no
    .endm

/* Sanitizer builds are told of every stack switch (common/sanitize.h); on g0,
 * aligned.  Arguments are kept, and so is the result, rax. */
    .macro sanitizer_on_g0
#ifdef MPGI_SANITIZE_SWITCHES
    .hidden mpgi_san_on_g0
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %r8
    push %r9
    call mpgi_san_on_g0
    pop %r9
    pop %r8
    pop %rcx
    pop %rdx
    pop %rsi
    pop %rdi
#endif
    .endm

    .macro sanitizer_back ctx
#ifdef MPGI_SANITIZE_SWITCHES
    .hidden mpgi_san_back
    push %rax
    push %rax
    mov \ctx, %rdi
    call mpgi_san_back
    pop %rax
    pop %rax
#endif
    .endm

#endif /* MPGI_ASM_H */

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

#define END_FUNCTION(name) .size name, .- name

/* The static linker must not think that calling us needs a large stack, nor
 * that our functions have prologues to rewrite (common/splitnote.h), nor that
 * we need an executable stack. */
#define OBJECT_NOTES                                  \
  .section .note.GNU-split-stack, "", @progbits;      \
  .section .note.GNU-no-split-stack, "", @progbits;   \
  .section .note.GNU-stack, "", @progbits

/* reg = the thread's offset of mpgi_tls; use as %fs:TLS_x(reg). */
#define TLS_BASE(reg) mov mpgi_tls@gottpoff(%rip), reg

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

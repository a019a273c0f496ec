/* offsets.h - structure offsets for the assembler.  Plain defines, so that .S
 * files can include it; every one is tied to its structure by a static
 * assertion in offsets.c. */
#ifndef MPGI_OFFSETS_H
#define MPGI_OFFSETS_H

/* struct mpgi_context */
#define CTX_SP 0
#define CTX_PC 8
#define CTX_RET 16
#define CTX_GUARD 24
#define CTX_SEG 32
#define CTX_PREEMPT 40
#define CTX_MXCSR 48
#define CTX_FPUCW 52
#define CTX_XSAVE 56
#define CTX_DYNAMIC 64
#define CTX_HOT 72

/* struct mpgi_segment */
#define SEG_PREV 0
#define SEG_NEXT 8
#define SEG_LO 16
#define SEG_HI 24
#define SEG_GUARD 32
#define SEG_PREV_SP 40
#define SEGMENT_LEAST_BYTES 624

/* struct mpgi_tls */
#define TLS_G 0
#define TLS_G0_SP 8
#define TLS_M 16
#define TLS_CACHE 24
#define TLS_LIBC 32

/* struct mpgi_xsave */
#define XSAVE_NEXT 0
#define XSAVE_STATE 64

/* struct mpg_m: the part the assembler touches (sched/gmp.h) */
#define M_XSAVE_FREE 0
#define M_SYSCALL_REGS 8
#define M_SYSCALL_SP 64

#define GUARD_OFFSET 0x70
#define GUARD_POISON 0x7ffffffffffff000

#endif /* MPGI_OFFSETS_H */

/* offsets.c - ties offsets.h to the structures. */
#include <arch/arch.h>
#include <arch/tls.h>
#include <arch/x86_64/offsets.h>

#define TIE(macro, type, field) \
  _Static_assert((macro) == offsetof(type, field), #macro)

TIE(CTX_SP, struct mpgi_context, sp);
TIE(CTX_PC, struct mpgi_context, pc);
TIE(CTX_RET, struct mpgi_context, ret);
TIE(CTX_GUARD, struct mpgi_context, guard);
TIE(CTX_SEG, struct mpgi_context, seg);
TIE(CTX_PREEMPT, struct mpgi_context, preempt);
TIE(CTX_MXCSR, struct mpgi_context, control.mxcsr);
TIE(CTX_FPUCW, struct mpgi_context, control.x87cw);
TIE(CTX_XSAVE, struct mpgi_context, xsave);
TIE(CTX_DYNAMIC, struct mpgi_context, dynamic);
TIE(CTX_HOT, struct mpgi_context, hot);
TIE(SEG_PREV, struct mpgi_segment, prev);
TIE(SEG_NEXT, struct mpgi_segment, next);
TIE(SEG_LO, struct mpgi_segment, lo);
TIE(SEG_HI, struct mpgi_segment, hi);
TIE(SEG_GUARD, struct mpgi_segment, guard);
TIE(SEG_PREV_SP, struct mpgi_segment, prev_sp);
TIE(TLS_G, struct mpgi_tls, g);
TIE(TLS_G0_SP, struct mpgi_tls, g0_sp);
TIE(TLS_M, struct mpgi_tls, m);
TIE(TLS_CACHE, struct mpgi_tls, cache);
TIE(TLS_LIBC, struct mpgi_tls, libc);
TIE(XSAVE_NEXT, struct mpgi_xsave, next);
TIE(XSAVE_STATE, struct mpgi_xsave, state);
_Static_assert(SEGMENT_LEAST_BYTES == MPGI_SEGMENT_LEAST_BYTES,
               "SEGMENT_LEAST_BYTES");
_Static_assert(GUARD_POISON == (long) MPGI_GUARD_POISON, "GUARD_POISON");

_Thread_local struct mpgi_tls mpgi_tls;

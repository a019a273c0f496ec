/* unwind.c - C++ exceptions that cross segments.
 *
 * The unwinder calls this personality for __morestack's frames.  In the
 * clean-up phase the frame is about to be discarded, so what its return path
 * would have done is done here: the older segment becomes current.  No
 * landing pad, because one would run on the newer segment, which may be too
 * small for _Unwind_Resume.
 *
 * Until the unwinder has reached a handler it runs below, on a newer segment.
 * The signal handler then finds SP outside ctx.seg and takes the
 * thread for one in the runtime: no preemption and no freezing until SP and
 * ctx agree again, so no stack scan sees the state in between.
 *
 * Context: the goroutine's stack, called by the unwinder (foreign code).
 */
#include <stdint.h>

#include <arch/arch.h>
#include <arch/tls.h>
#include <stack/stack.h>

/* Itanium C++ ABI, exception handling, 1.2 and 1.6 */
#define UA_CLEANUP_PHASE 2
#define URC_CONTINUE_UNWIND 8
#define DWARF_RBP 6

/* In libgcc, which a program that throws has. */
extern uintptr_t _Unwind_GetGR(void *context, int index) __attribute__((weak));

MPGI_HIDDEN int mpgi_morestack_personality(int version, int actions,
                                           uint64_t exception_class,
                                           void *exception, void *context);

MPGI_RT_TEXT int mpgi_morestack_personality(int version, int actions,
                                            uint64_t exception_class,
                                            void *exception, void *context) {
  (void) version, (void) exception_class, (void) exception;
  struct mpgi_context *ctx = (struct mpgi_context *) mpgi_tls_g();
  if (!(actions & UA_CLEANUP_PHASE) || !ctx || !_Unwind_GetGR)
    return URC_CONTINUE_UNWIND;
  uintptr_t fp = _Unwind_GetGR(context, DWARF_RBP);
  /* A frame whose body stayed on the stack belongs to no segment. */
  struct mpgi_segment *seg = ctx->seg;
  while (seg->prev && mpgi_segment_entry(seg) != fp) seg = seg->prev;
  if (seg->prev) mpgi_stack_leave(ctx, seg->prev);
  return URC_CONTINUE_UNWIND;
}

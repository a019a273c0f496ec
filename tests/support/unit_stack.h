/* unit_stack.h - run functions on a goroutine's stack without a scheduler.
 *
 * The calling thread plays an M: it has thread-local words, a system stack
 * for the C sides of __morestack, and one context at a time.  A test that
 * includes this defines the upcalls mpgi_morestack_g0 and
 * mpgi_morestack_preempt_g0.
 */
#ifndef UNIT_STACK_H
#define UNIT_STACK_H

#include <stddef.h>
#include <stdint.h>

#include <arch/arch.h>
#include <stack/stack.h>

/* What the assembler knows of struct mpg_m. */
struct unit_m {
  struct mpgi_xsave *xsave_free;
};

/* The first segment of a context, with canaries below it. */
#define UNIT_STACK_CANARY_BYTES 1024
/* Nothing may use the very end of a segment. */
#define UNIT_STACK_WATCH_BYTES 32
struct unit_stack {
  struct mpgi_context ctx;
  struct mpgi_segment first;
  unsigned char *mem; /* NULL: on a home (stack/home.c) */
  size_t bytes;
};

/* Once: CPU features, arena, system stack. */
void unit_stack_setup(void);
/* bytes of usable stack, guard gap included. */
void unit_stack_open(struct unit_stack *s, size_t bytes);
/* On a home, of which a page is open. */
void unit_stack_open_home(struct unit_stack *s);
/* Back to that. */
void unit_stack_shut_home(struct unit_stack *s, struct mpgi_stack_cache *c);
void unit_stack_close(struct unit_stack *s, struct mpgi_stack_cache *c);
/* Call fn(arg) with the context current and SP left bytes above the guard
 * (a multiple of 16; negative: in the slack), the guard word poisoned when
 * ctx.preempt is set.  Fails the test when anything below the segment was
 * written or the context isn't back where it was. */
uint64_t unit_stack_call(struct unit_stack *s, long left,
                         uint64_t (*fn)(uint64_t), uint64_t arg);
/* Fill the lowest bytes of a new segment; check them when the call is over:
 * nothing may come that close to the end. */
void unit_stack_watch(struct mpgi_segment *seg);
extern struct unit_m unit_m;

#endif /* UNIT_STACK_H */

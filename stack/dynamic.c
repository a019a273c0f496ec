/* dynamic.c - memory for alloca and VLAs that the segment can't hold.
 *
 * Compilers call __morestack_allocate_stack_space when an alloca would pass
 * the guard.  The memory comes from a segment that is taken out of the chain
 * and put on ctx.dynamic, newest first:
 *
 *   prev     the segment its function runs on (the owner)
 *   prev_sp  the function's SP when it got the memory
 *
 * Nobody tells us when that function returns, so a record is freed when
 * something proves it: while any record is live the guard word is poisoned,
 * so every prologue comes to __morestack, and
 *
 *   1. a function entered on the owner with SP above prev_sp: the frame is
 *      gone.  Calls made by the function itself are entered below.
 *   2. the owner is left by its __morestack frame: the record is handed to
 *      the older segment with prev_sp = 0, so that rule 1 holds at once.
 *   3. the owner is not in use any more (unwinding).
 *
 * VLAs in a loop: the scope's end restores SP, which the next allocation sees
 * as rule 1 because each allocation lowers the caller's SP by LOWER_BYTES.
 * The compiler can't mind: on its own path, SP changes by any amount.  Close
 * to the end of the segment SP stays, and such memory lives until the
 * function returns.  An alloca in a loop never restores SP and keeps all.
 *
 * The price is about 5 ns a call while such memory is live, and nothing
 * otherwise.  libgcc, for comparison, frees when the segment is left, that
 * is, for the first segment never.
 *
 * Rejected: replacing the function's return address (unwinders and gdb lose
 * their way); scanning the frame for pointers into the memory (a list built
 * with alloca has none).
 *
 * [stack.dynamic.order] records are newest first, so their owners are never
 *                       older than the next record's (reap relies on it)
 *
 * Context: g0 of the goroutine's M.
 */
#include <arch/common/check.h>
#include <stack/stack.h>

#include <stack/arena.h>

#define LOWER_BYTES 16u
/* Below this SP isn't lowered: a frame the prologue let pass may end
 * MPGI_SPLIT_SLACK_BYTES below the guard, and the entry stubs can spare 48. */
#define LOWER_ROOM_BYTES (MPGI_SPLIT_SLACK_BYTES + 48u)

static bool in_use(const struct mpgi_context *ctx,
                   const struct mpgi_segment *seg) {
  const struct mpgi_segment *s = ctx->seg;
  while (s && s != seg) s = s->prev;
  return s != NULL;
}

static bool is_dead(const struct mpgi_context *ctx,
                    const struct mpgi_segment *d, uintptr_t sp) {
  if (d->prev == ctx->seg) return sp > d->prev_sp;
  return !in_use(ctx, d->prev);
}

/* Keep a freed record's memory as the next segment: the next alloca of a loop
 * finds it there. */
static void make_next(struct mpgi_context *ctx, struct mpgi_segment *d) {
  struct mpgi_segment *seg = ctx->seg;
  d->prev = seg;
  d->next = seg->next;
  if (d->next) d->next->prev = d;
  seg->next = d;
}

static void take_next(struct mpgi_context *ctx) {
  struct mpgi_segment *seg = ctx->seg, *d = seg->next;
  seg->next = d->next;
  if (d->next) d->next->prev = seg;
  d->next = ctx->dynamic;
  ctx->dynamic = d;
}

void mpgi_stack_dynamic_reap(struct mpgi_context *ctx, uintptr_t sp) {
  MPG_ASSERT(ctx->seg);
  while (ctx->dynamic && is_dead(ctx, ctx->dynamic, sp)) {
    struct mpgi_segment *d = ctx->dynamic;
    ctx->dynamic = d->next;
    make_next(ctx, d);
  }
  ctx->guard = ctx->dynamic ? MPGI_GUARD_POISON : ctx->seg->guard;
}

/* The next segment has at least bytes, guard gap included: nothing runs on
 * this one. */
static bool next_holds(const struct mpgi_context *ctx, size_t bytes) {
  const struct mpgi_segment *next = ctx->seg->next;
  return next && next->hi - next->lo >= bytes;
}

struct mpgi_stack_dynamic mpgi_stack_dynamic_g0(struct mpgi_context *ctx,
                                                size_t bytes, uintptr_t sp) {
  MPG_ASSERT((sp & 15) == 0);
  MPG_ASSERT(sp > ctx->seg->lo && sp <= ctx->seg->hi);
  mpgi_stack_dynamic_reap(ctx, sp);
  if (!next_holds(ctx, bytes)) mpgi_morestack_g0(ctx, bytes, 0, 0);
  MPG_VERIFY(next_holds(ctx, bytes));
  if (sp - LOWER_BYTES >=
      ctx->seg->lo + MPGI_GUARD_GAP_BYTES - LOWER_ROOM_BYTES)
    sp -= LOWER_BYTES;
  struct mpgi_segment *d = ctx->seg->next;
  take_next(ctx);
  d->prev = ctx->seg;
  d->prev_sp = sp;
  ctx->guard = MPGI_GUARD_POISON;
  mpgi_arch_guard_set(MPGI_GUARD_POISON);
  MPG_ASSERT((d->lo & 15) == 0);
  return (struct mpgi_stack_dynamic){(void *) d->lo, sp};
}

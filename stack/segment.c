/* segment.c - the chain of segments that makes up a goroutine's stack.
 *
 *   first <-prev- ... <-prev- ctx.seg -next-> cached -next-> cached
 *
 * From ctx.seg back to the first, segments are in use; the assembler moves
 * ctx.seg along the chain.  What lies beyond is cached for the next growth
 * and returned by age (collections), trim or reset (death).
 *
 * Growth doubles up to GROW_MAX_BYTES; one frame that needs more gets what it
 * needs.  The limit counts all segments in use, alloca memory beyond them and
 * the new one; when doubling would exceed it, the smallest sufficient size is
 * tried before overflow is reported.
 *
 * [stack.seg.chain]  seg->next->prev == seg (chain_is_valid)
 * [stack.seg.guard]  ctx.guard is seg->guard, or the poison while ctx.dynamic
 *                    is not NULL (chain_is_valid)
 * [stack.seg.foreign] stack/cache.c
 * [stack.seg.least]  a segment with a guard has MPGI_SEGMENT_LEAST_BYTES above
 *                    it: a small frame fits into any next segment, and SP that
 *                    is too low for one is below hi (chain_is_valid)
 * [stack.seg.age]    seg->next->prev_sp is 0 when it was not entered since the
 *                    last collection that found the goroutine parked
 *
 * Context: g0 of the goroutine's M, or the holder of its status.
 */
#include <errno.h>

#include <arch/common/check.h>
#include <stack/stack.h>

#include <stack/arena.h>

/* The largest piece of the arena. */
#define GROW_MAX_BYTES \
  (MPGI_ARENA_BYTES(MPGI_ARENA_TOP - 1) - MPGI_STACK_BELOW_BYTES)

_Static_assert(MPGI_STACK_BLOCK_BYTES - sizeof(struct mpgi_segment) >=
                   MPGI_GUARD_GAP_BYTES + MPGI_SEGMENT_LEAST_BYTES,
               "stack.seg.least");

static bool chain_is_valid(const struct mpgi_context *ctx) {
  const struct mpgi_segment *seg = ctx->seg;
  if (!seg) return false;
  if (ctx->guard != (ctx->dynamic ? MPGI_GUARD_POISON : seg->guard))
    return false;
  if (seg->guard && seg->hi - seg->guard < MPGI_SEGMENT_LEAST_BYTES)
    return false;
  if (seg->prev && seg->prev->next != seg) return false;
  return !seg->next || seg->next->prev == seg;
}

void mpgi_stack_attach(struct mpgi_context *ctx, struct mpgi_segment *seg) {
  ctx->seg = seg;
  ctx->guard = ctx->dynamic ? MPGI_GUARD_POISON : seg->guard;
}

void mpgi_stack_first(struct mpgi_context *ctx, struct mpgi_segment *seg,
                      uintptr_t lo, uintptr_t hi) {
  MPG_ASSERT((hi & 15) == 0);
  MPG_ASSERT(hi - lo >= MPGI_GUARD_GAP_BYTES + MPGI_SEGMENT_LEAST_BYTES);
  *seg = (struct mpgi_segment){.lo = lo,
                               .hi = hi,
                               .guard = lo + MPGI_GUARD_GAP_BYTES,
                               .bytes = MPGI_STACK_BLOCK_BYTES,
                               .order = MPGI_ORDER_BLOCK};
  ctx->dynamic = NULL;
  mpgi_stack_attach(ctx, seg);
  MPG_ASSERT_INTERNAL(chain_is_valid(ctx));
}

void mpgi_stack_first_fixed(struct mpgi_context *ctx,
                            struct mpgi_segment *seg) {
  MPG_ASSERT(seg->fixed && seg->guard < seg->lo);
  MPG_ASSERT(!seg->prev && !seg->next);
  ctx->dynamic = NULL;
  mpgi_stack_attach(ctx, seg);
  MPG_ASSERT_INTERNAL(chain_is_valid(ctx));
}

/* As mpgi_stack_segment_bytes_for counts, and the limit; a first segment's
 * memory is not all its own. */
static size_t charge(const struct mpgi_segment *s) {
  bool first =
      s->fixed || s->order == MPGI_ORDER_BLOCK || s->order == MPGI_ORDER_HOME;
  return first ? s->bytes : s->hi - s->guard + MPGI_GUARD_GAP_BYTES + sizeof *s;
}

size_t mpgi_stack_chain_bytes(const struct mpgi_context *ctx) {
  size_t bytes = 0;
  for (const struct mpgi_segment *s = ctx->seg; s; s = s->prev)
    bytes += charge(s);
  for (const struct mpgi_segment *s = ctx->dynamic; s; s = s->next)
    bytes += s->bytes;
  return bytes;
}

/* What the limit leaves.  A fixed stack grows only for an alloca that would
 * fit, and its size is no limit (mpgi_stack_exceeds_fixed). */
static size_t bytes_left(const struct mpgi_context *ctx, size_t limit) {
  if (ctx->seg->fixed) return SIZE_MAX;
  size_t used = mpgi_stack_chain_bytes(ctx);
  return used > limit ? 0 : limit - used;
}

static size_t next_bytes(const struct mpgi_context *ctx, size_t least,
                         size_t left) {
  if (ctx->seg->fixed) return least;
  size_t want = 2 * ctx->seg->bytes;
  if (want > GROW_MAX_BYTES) want = GROW_MAX_BYTES;
  return want < least || want > left ? least : want;
}

bool mpgi_stack_exceeds_fixed(const struct mpgi_context *ctx, size_t need) {
  return ctx->seg->fixed && need > ctx->sp - ctx->seg->lo;
}

int mpgi_stack_grow(struct mpgi_stack_cache *c, struct mpgi_context *ctx,
                    size_t need, size_t limit) {
  MPG_ASSERT_INTERNAL(chain_is_valid(ctx));
  struct mpgi_segment *seg = ctx->seg;
  size_t least = mpgi_stack_segment_bytes_for(need);
  if (seg->next && charge(seg->next) >= least) return 0;
  mpgi_stack_trim(c, ctx);
  size_t left = bytes_left(ctx, limit);
  if (least > left) return -EOVERFLOW;
  size_t bytes = next_bytes(ctx, least, left);
  mpgi_stack_home_open_all(ctx);
  struct mpgi_segment *next = mpgi_stack_segment_take(c, bytes);
  if (!next && bytes > least) next = mpgi_stack_segment_take(c, least);
  if (!next) return -ENOMEM;
  /* Made anew, unless it is small. */
  if (next->bytes > MPGI_STACK_FOREIGN_BYTES && charge(next) > left)
    next->guard += charge(next) - left;
  MPG_ASSERT(next->hi - next->guard >= need);
  MPG_ASSERT(!next->next);
  next->prev = seg;
  seg->next = next;
  return 0;
}

void mpgi_stack_trim(struct mpgi_stack_cache *c, struct mpgi_context *ctx) {
  MPG_ASSERT_INTERNAL(chain_is_valid(ctx));
  struct mpgi_segment *s = ctx->seg->next;
  ctx->seg->next = NULL;
  while (s) {
    struct mpgi_segment *next = s->next;
    mpgi_stack_segment_give(c, s);
    s = next;
  }
}

/* prev_sp of a cached segment means nothing, and entering it writes it: 0 is
 * the mark of the last look [stack.seg.age]. */
void mpgi_stack_age(struct mpgi_context *ctx) {
  struct mpgi_segment *next = ctx->seg->next;
  if (MPGI_LIKELY(!next)) return;
  if (next->prev_sp == 0)
    mpgi_stack_trim(NULL, ctx);
  else
    next->prev_sp = 0;
}

void mpgi_stack_reset(struct mpgi_stack_cache *c, struct mpgi_context *ctx) {
  while (ctx->dynamic) {
    struct mpgi_segment *d = ctx->dynamic;
    ctx->dynamic = d->next;
    mpgi_stack_segment_give(c, d);
  }
  struct mpgi_segment *first = ctx->seg;
  while (first->prev) first = first->prev;
  mpgi_stack_attach(ctx, first);
  mpgi_stack_trim(c, ctx);
  MPG_ASSERT(!ctx->seg->next && !ctx->seg->prev);
}

/* ---- abandoned segments ---- */

/* As .Lreturn_dynamic in morestack.S: alloca memory of an abandoned segment
 * is dead, and the older one frees it. */
MPGI_RT_TEXT static void dynamic_hand_over(struct mpgi_context *ctx,
                                           const struct mpgi_segment *from,
                                           struct mpgi_segment *to) {
  for (struct mpgi_segment *d = ctx->dynamic; d; d = d->next) {
    if (d->prev != from) continue;
    d->prev = to;
    d->prev_sp = 0;
  }
}

MPGI_RT_TEXT void mpgi_stack_leave(struct mpgi_context *ctx,
                                   struct mpgi_segment *to) {
  for (struct mpgi_segment *s = ctx->seg; s != to; s = s->prev)
    dynamic_hand_over(ctx, s, to);
  ctx->seg = to;
  ctx->guard = ctx->dynamic ? MPGI_GUARD_POISON : to->guard;
  mpgi_arch_guard_set(ctx->guard);
  /* Write, then look: morestack.S, "The guard word". */
  if (atomic_load_explicit(&ctx->preempt, memory_order_relaxed))
    mpgi_arch_guard_set(MPGI_GUARD_POISON);
}

void mpgi_stack_leave_to(struct mpgi_context *ctx, uintptr_t sp) {
  MPG_ASSERT_INTERNAL(chain_is_valid(ctx));
  struct mpgi_segment *s = ctx->seg;
  while (s && (sp <= s->lo || sp > s->hi)) s = s->prev;
  if (s) mpgi_stack_leave(ctx, s);
  MPG_ASSERT_INTERNAL(chain_is_valid(ctx));
}

void mpgi_stack_release(void) {
  mpgi_stack_home_release();
  mpgi_stack_arena_release();
  mpgi_stack_fixed_release();
}

/* walk.c - looking at a goroutine's stack: which segment, which ranges.
 *
 * Reads only, takes no lock: signal-safe on the goroutine's own thread, and
 * from any thread while the goroutine is stopped.
 */
#include <arch/common/check.h>
#include <arch/common/options.h>
#include <stack/stack.h>

#include <stack/arena.h>

static bool seg_has(const struct mpgi_segment *s, uintptr_t addr) {
  return addr >= s->lo && addr < s->hi;
}

struct mpgi_segment *mpgi_stack_find(const struct mpgi_context *ctx,
                                     uintptr_t addr) {
  struct mpgi_segment *s = ctx->seg;
  while (s && !seg_has(s, addr)) s = s->prev;
  return s;
}

bool mpgi_stack_is_guard(const struct mpgi_context *ctx, uintptr_t addr) {
  for (const struct mpgi_segment *s = ctx->seg; s; s = s->prev)
    if (s->fixed && addr >= mpgi_stack_segment_base(s) && addr < s->lo)
      return true;
  return false;
}

const struct mpgi_segment *mpgi_stack_guard_of(const struct mpgi_context *ctx,
                                               uintptr_t addr) {
  for (const struct mpgi_segment *s = ctx->seg; s; s = s->prev) {
    bool guarded =
        s->order == MPGI_ORDER_WIDE || (mpgi_opt.stackguard && !s->fixed);
    if (guarded && s->lo - addr - 1 < MPGI_STACK_GUARD_BYTES) return s;
  }
  return NULL;
}

bool mpgi_stack_owns(uintptr_t addr) {
  uintptr_t lo;
  size_t bytes;
  mpgi_stack_home_range(&lo, &bytes);
  return addr - lo < bytes || mpgi_stack_arena_owns(addr) ||
         mpgi_stack_fixed_owns(addr);
}

static void visit_range(void (*visit)(void *, const void *, const void *),
                        void *arg, uintptr_t lo, uintptr_t hi) {
  lo &= ~(uintptr_t) 7;
  if (lo < hi) visit(arg, (const void *) lo, (const void *) hi);
}

/* sp normally lies in the current segment (SP == hi: empty).  When it doesn't
 * (a thread frozen on an alternate stack, or within __morestack), nothing is
 * known of the current segment's use, so all of it is live. */
void mpgi_stack_ranges(const struct mpgi_context *ctx, uintptr_t sp,
                       void (*visit)(void *arg, const void *lo, const void *hi),
                       void *arg) {
  const struct mpgi_segment *s = ctx->seg;
  MPG_ASSERT(s && visit);
  bool inside = seg_has(s, sp) || sp == s->hi;
  visit_range(visit, arg, inside ? sp : s->lo, s->hi);
  for (; s->prev; s = s->prev) {
    uintptr_t from = mpgi_segment_entry(s);
    bool known = seg_has(s->prev, from);
    MPG_ASSERT(known);
    visit_range(visit, arg, known ? from : s->prev->lo, s->prev->hi);
  }
  for (s = ctx->dynamic; s; s = s->next) visit_range(visit, arg, s->lo, s->hi);
}

/* stack_segment_test.c - growth, limits, trim, reset, and what a walk sees. */
#include <errno.h>
#include <stdlib.h>

#include <arch/os.h>
#include <stack/stack.h>

#include <stack/arena.h>

#include "tests/support/unit.h"

#define FIRST_BYTES 1472
#define NO_LIMIT MPGI_STACK_LIMIT_DEFAULT

static struct mpgi_stack_cache cache;
static struct mpgi_context ctx;
static struct mpgi_segment first;
static _Alignas(64) unsigned char first_memory[FIRST_BYTES];

static int setup(void **state) {
  (void) state;
  memset(&ctx, 0, sizeof ctx);
  if (mpgi_stack_init()) return -1;
  uintptr_t lo = (uintptr_t) first_memory;
  mpgi_stack_first(&ctx, &first, lo, lo + FIRST_BYTES);
  return 0;
}
static int teardown(void **state) {
  (void) state;
  mpgi_stack_reset(&cache, &ctx);
  mpgi_stack_cache_flush(&cache);
  return mpgi_stack_bytes() == 0 ? 0 : -1;
}

/* What the assembler does when it crosses a boundary. */
static void cross(uintptr_t live_from) {
  struct mpgi_segment *next = ctx.seg->next;
  assert_non_null(next);
  next->prev_sp = live_from;
  ctx.seg = next;
  ctx.guard = next->guard;
}
static void cross_back(void) {
  ctx.seg = ctx.seg->prev;
  ctx.guard = ctx.seg->guard;
}

static void first_segment_has_checks(void **state) {
  (void) state;
  assert_ptr_equal(ctx.seg, &first);
  assert_int_equal(ctx.guard, first.lo + MPGI_GUARD_GAP_BYTES);
}

static void growth_doubles_up_to_a_mebibyte(void **state) {
  (void) state;
  size_t expected = MPGI_STACK_BLOCK_BYTES;
  for (int i = 0; i < 14; i++) {
    expected = expected < (1u << 20) ? 2 * expected : 1u << 20;
    assert_int_equal(mpgi_stack_grow(&cache, &ctx, 100, NO_LIMIT), 0);
    if (expected > MPGI_STACK_FOREIGN_BYTES)
      assert_true(ctx.seg->next->bytes >= expected);
    else
      assert_int_equal(ctx.seg->next->bytes, expected);
    assert_true(ctx.seg->next->bytes <= 1u << 20);
    cross(ctx.seg->lo);
  }
}

static void growth_holds_what_is_needed(void **state) {
  (void) state;
  for (size_t need = 1; need < (4u << 20); need += need / 3 + 1) {
    assert_int_equal(mpgi_stack_grow(&cache, &ctx, need, NO_LIMIT), 0);
    const struct mpgi_segment *next = ctx.seg->next;
    assert_true(next->hi - next->guard >= need);
    assert_ptr_equal(next->prev, &first);
  }
}

static void cached_next_is_kept_when_it_fits(void **state) {
  (void) state;
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 10000, NO_LIMIT), 0);
  struct mpgi_segment *next = ctx.seg->next;
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 100, NO_LIMIT), 0);
  assert_ptr_equal(ctx.seg->next, next);
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 100000, NO_LIMIT), 0);
  assert_ptr_not_equal(ctx.seg->next, next);
}

static void limit_counts_all_segments(void **state) {
  (void) state;
  size_t limit = 64 << 10, total = MPGI_STACK_BLOCK_BYTES;
  int r;
  while ((r = mpgi_stack_grow(&cache, &ctx, 100, limit)) == 0) {
    const struct mpgi_segment *next = ctx.seg->next;
    total += next->hi - next->guard + MPGI_GUARD_GAP_BYTES + sizeof *next;
    cross(ctx.seg->lo);
    assert_true(total <= limit + 2048);
  }
  assert_int_equal(r, -EOVERFLOW);
  assert_true(total > limit - 2048); /* small segments filled it up */
  assert_null(ctx.seg->next);
}

static void frame_beyond_the_limit_overflows(void **state) {
  (void) state;
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 1 << 20, 1 << 20), -EOVERFLOW);
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, SIZE_MAX - 5, SIZE_MAX),
                   -EOVERFLOW);
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 100, 0), -EOVERFLOW);
}

static void exhausted_memory_is_reported(void **state) {
  (void) state;
  atomic_store(&mpgi_os_mem_fail_countdown, 1);
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 2 << 20, NO_LIMIT), -ENOMEM);
  atomic_store(&mpgi_os_mem_fail_countdown, 0);
  assert_null(ctx.seg->next);
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 2 << 20, NO_LIMIT), 0);
}

static void trim_keeps_what_is_in_use(void **state) {
  (void) state;
  for (int i = 0; i < 4; i++) {
    assert_int_equal(mpgi_stack_grow(&cache, &ctx, 100, NO_LIMIT), 0);
    cross(ctx.seg->lo);
  }
  cross_back();
  cross_back();
  struct mpgi_segment *seg = ctx.seg;
  mpgi_stack_trim(&cache, &ctx);
  assert_ptr_equal(ctx.seg, seg);
  assert_null(seg->next);
  assert_ptr_equal(seg->prev->prev, &first);
}

static void reset_leaves_the_first(void **state) {
  (void) state;
  for (int i = 0; i < 6; i++) {
    assert_int_equal(mpgi_stack_grow(&cache, &ctx, 3000, NO_LIMIT), 0);
    cross(ctx.seg->lo);
  }
  mpgi_stack_reset(NULL, &ctx);
  first_segment_has_checks(state);
  assert_null(first.next);
}

static void find_knows_segments_in_use(void **state) {
  (void) state;
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 100, NO_LIMIT), 0);
  struct mpgi_segment *next = ctx.seg->next;
  assert_null(mpgi_stack_find(&ctx, next->lo)); /* cached, not in use */
  cross(ctx.seg->lo + 600);
  assert_ptr_equal(mpgi_stack_find(&ctx, next->lo), next);
  assert_ptr_equal(mpgi_stack_find(&ctx, next->hi - 1), next);
  assert_null(mpgi_stack_find(&ctx, next->hi));
  assert_ptr_equal(mpgi_stack_find(&ctx, first.lo), &first);
  assert_null(mpgi_stack_find(&ctx, first.lo - 1));
  assert_false(mpgi_stack_is_guard(&ctx, first.lo - 1));
}

struct seen {
  unsigned n;
  uintptr_t lo[8], hi[8];
};
static void see(void *arg, const void *lo, const void *hi) {
  struct seen *s = arg;
  assert_true(s->n < 8);
  s->lo[s->n] = (uintptr_t) lo;
  s->hi[s->n++] = (uintptr_t) hi;
}

static void ranges_are_the_live_parts(void **state) {
  (void) state;
  uintptr_t from[2] = {first.lo + 600, 0};
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 100, NO_LIMIT), 0);
  cross(from[0]);
  struct mpgi_segment *middle = ctx.seg;
  from[1] = middle->lo + 1000;
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 100, NO_LIMIT), 0);
  cross(from[1]);
  struct seen s = {0};
  mpgi_stack_ranges(&ctx, ctx.seg->hi - 64, see, &s);
  assert_int_equal(s.n, 3);
  assert_int_equal(s.lo[0], ctx.seg->hi - 64);
  assert_int_equal(s.hi[0], ctx.seg->hi);
  assert_int_equal(s.lo[1], from[1]);
  assert_int_equal(s.hi[1], middle->hi);
  assert_int_equal(s.lo[2], from[0]);
  assert_int_equal(s.hi[2], first.hi);
  /* SP at the very top: nothing of the current one.  SP elsewhere: all. */
  memset(&s, 0, sizeof s);
  mpgi_stack_ranges(&ctx, ctx.seg->hi, see, &s);
  assert_int_equal(s.n, 2);
  memset(&s, 0, sizeof s);
  mpgi_stack_ranges(&ctx, 4096, see, &s);
  assert_int_equal(s.n, 3);
  assert_int_equal(s.lo[0], ctx.seg->lo);
}

static void leaving_makes_older_segments_current(void **state) {
  (void) state;
  for (int i = 0; i < 3; i++) {
    assert_int_equal(mpgi_stack_grow(&cache, &ctx, 100, NO_LIMIT), 0);
    cross(ctx.seg->lo + 800);
  }
  struct mpgi_segment *second = ctx.seg->prev->prev;
  mpgi_stack_leave_to(&ctx, second->hi);
  assert_ptr_equal(ctx.seg, second);
  assert_int_equal(mpgi_arch_guard_get(), second->guard);
  mpgi_stack_leave_to(&ctx, 4096); /* nobody's */
  assert_ptr_equal(ctx.seg, second);
  atomic_store(&ctx.preempt, 1);
  mpgi_stack_leave_to(&ctx, first.lo + 16);
  assert_int_equal(mpgi_arch_guard_get(), MPGI_GUARD_POISON);
  mpgi_arch_guard_set(0);
  atomic_store(&ctx.preempt, 0);
  first_segment_has_checks(state);
}

/* ---- memory of alloca ---- */

static unsigned upcalls;
void mpgi_morestack_g0(struct mpgi_context *c, size_t frame, size_t args,
                       uintptr_t stay) {
  (void) stay;
  upcalls++;
  assert_int_equal(mpgi_stack_grow(&cache, c, frame + args, NO_LIMIT), 0);
}

static struct mpgi_stack_dynamic dynamic(size_t bytes, uintptr_t sp) {
  struct mpgi_stack_dynamic d = mpgi_stack_dynamic_g0(&ctx, bytes, sp);
  memset(d.p, 0xcd, bytes);
  assert_int_equal(ctx.guard, MPGI_GUARD_POISON);
  assert_int_equal(mpgi_arch_guard_get(), MPGI_GUARD_POISON);
  mpgi_arch_guard_set(0);
  return d;
}

static void alloca_memory_lives_as_long_as_its_frame(void **state) {
  (void) state;
  uintptr_t sp = first.guard + 64;
  struct mpgi_stack_dynamic a = dynamic(3000, sp);
  assert_true(a.sp == sp - 16 && ((uintptr_t) a.p & 15) == 0);
  struct mpgi_stack_dynamic b = dynamic(5000, a.sp); /* in a loop */
  assert_ptr_not_equal(a.p, b.p);
  mpgi_stack_dynamic_reap(&ctx, b.sp - 8); /* a call it makes */
  assert_non_null(ctx.dynamic);
  assert_non_null(ctx.dynamic->next);
  mpgi_stack_dynamic_reap(&ctx, sp + 8); /* a call of its caller's */
  assert_null(ctx.dynamic);
  assert_int_equal(ctx.guard, first.guard);
}

static void vla_scope_in_a_loop_reuses_memory(void **state) {
  (void) state;
  uintptr_t sp = first.guard + 64;
  void *p = dynamic(3000, sp).p;
  upcalls = 0;
  for (int i = 0; i < 100; i++) assert_ptr_equal(dynamic(3000, sp).p, p);
  assert_int_equal(upcalls, 0);
  assert_null(ctx.dynamic->next);
}

/* Below a certain point SP isn't lowered, and the two cases look alike. */
static void nothing_is_freed_early_at_the_end_of_a_segment(void **state) {
  (void) state;
  uintptr_t sp = first.guard - MPGI_SPLIT_SLACK_BYTES - 48;
  sp = (sp + 15) & ~(uintptr_t) 15;
  struct mpgi_stack_dynamic a = dynamic(2000, sp), b = dynamic(2000, sp);
  assert_int_equal(a.sp, sp);
  assert_ptr_not_equal(a.p, b.p);
  mpgi_stack_dynamic_reap(&ctx, sp - 8);
  assert_non_null(ctx.dynamic->next);
  mpgi_stack_dynamic_reap(&ctx, sp + 8);
  assert_null(ctx.dynamic);
}

static void alloca_memory_is_live_and_counted(void **state) {
  (void) state;
  uintptr_t sp = first.guard + 64;
  struct mpgi_stack_dynamic a = dynamic(3000, sp);
  struct seen s = {0};
  mpgi_stack_ranges(&ctx, sp, see, &s);
  assert_int_equal(s.n, 2);
  assert_true(s.lo[1] <= (uintptr_t) a.p && s.hi[1] >= (uintptr_t) a.p + 3000);
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 100, 6000), -EOVERFLOW);
  mpgi_stack_dynamic_reap(&ctx, sp + 8);
  mpgi_stack_trim(&cache, &ctx);
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 100, 8000), 0);
}

static void abandoned_segment_frees_its_alloca_memory(void **state) {
  (void) state;
  dynamic(3000, first.guard + 64);
  assert_int_equal(mpgi_stack_grow(&cache, &ctx, 100, NO_LIMIT), 0);
  cross(first.guard);
  ctx.guard = MPGI_GUARD_POISON;
  dynamic(3000, ctx.seg->guard + 64);
  dynamic(3000, ctx.seg->guard + 32);
  mpgi_stack_leave_to(&ctx, first.guard + 32);
  mpgi_stack_dynamic_reap(&ctx, first.guard + 16);
  assert_non_null(ctx.dynamic);
  assert_null(ctx.dynamic->next);
  assert_ptr_equal(ctx.dynamic->prev, &first);
  mpgi_arch_guard_set(0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest tests[] = {
    CASE(first_segment_has_checks),
    CASE(growth_doubles_up_to_a_mebibyte),
    CASE(growth_holds_what_is_needed),
    CASE(cached_next_is_kept_when_it_fits),
    CASE(limit_counts_all_segments),
    CASE(frame_beyond_the_limit_overflows),
    CASE(exhausted_memory_is_reported),
    CASE(trim_keeps_what_is_in_use),
    CASE(reset_leaves_the_first),
    CASE(find_knows_segments_in_use),
    CASE(ranges_are_the_live_parts),
    CASE(leaving_makes_older_segments_current),
    CASE(alloca_memory_lives_as_long_as_its_frame),
    CASE(vla_scope_in_a_loop_reuses_memory),
    CASE(nothing_is_freed_early_at_the_end_of_a_segment),
    CASE(alloca_memory_is_live_and_counted),
    CASE(abandoned_segment_frees_its_alloca_memory),
};

int main(void) {
  return cmocka_run_group_tests_name("stack_segment", tests, NULL, NULL);
}

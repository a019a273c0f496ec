/* stack_home_test.c - homes: what is open, what has memory, what is counted;
 * swapping out and in. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <arch/common/options.h>
#include <arch/os.h>
#include <stack/stack.h>

#include <stack/arena.h>

#include "tests/support/unit.h"

#define PAGE mpgi_os_page_bytes
#define GAP ((size_t) MPGI_GUARD_GAP_BYTES + MPGI_INJECT_BYTES)
#define NO_LIMIT MPGI_STACK_LIMIT_DEFAULT

static struct mpgi_context ctx;
static struct mpgi_segment first;

static int setup(void **state) {
  (void) state;
  memset(&ctx, 0, sizeof ctx);
  if (mpgi_stack_init() || !mpgi_stack_home_init()) return -1;
  if (!mpgi_stack_home_take(&ctx, &first)) return -1;
  ctx.sp = first.hi - 256;
  return 0;
}
static int teardown(void **state) {
  (void) state;
  mpgi_stack_reset(NULL, &ctx);
  mpgi_stack_home_give(&first, true);
  mpgi_stack_home_release();
  return mpgi_stack_bytes() == 0 ? 0 : -1;
}

static bool has_memory(uintptr_t page) {
  unsigned char in_core;
  assert_int_equal(mincore((void *) page, PAGE, &in_core), 0);
  return in_core & 1;
}

static unsigned pages_with_memory(void) {
  unsigned n = 0;
  for (uintptr_t p = first.lo; p < first.hi; p += PAGE) n += has_memory(p);
  return n;
}

/* A call that needs so many bytes from the top. */
static bool call(size_t deep) {
  if (!mpgi_stack_home_open(&ctx, first.hi - deep, NO_LIMIT)) return false;
  assert_true(ctx.guard <= first.hi - deep && ctx.guard == first.guard);
  memset((void *) (first.hi - deep), 0x5a, deep);
  return true;
}

static void a_page_is_open_at_first(void **state) {
  (void) state;
  assert_int_equal(first.hi - first.lo, MPGI_STACK_HOME_BYTES);
  assert_int_equal(first.guard, first.hi - PAGE + GAP);
  assert_int_equal(mpgi_stack_bytes(), PAGE);
}

/* Where the system grants the addresses at all. */
static void there_are_ten_million(void **state) {
  (void) state;
  uintptr_t lo;
  size_t bytes, wanted = (size_t) 10000000 * MPGI_STACK_HOME_BYTES;
  mpgi_stack_home_range(&lo, &bytes);
  void *p = mpgi_os_mem_reserve(2 * wanted, PAGE);
  if (!p) return;
  mpgi_os_mem_unmap(p, 2 * wanted);
  assert_true(bytes >= wanted);
}

static void it_opens_as_far_as_needed(void **state) {
  (void) state;
  for (size_t deep = 100; deep <= MPGI_STACK_HOME_BYTES - GAP; deep += 500) {
    assert_true(call(deep));
    assert_int_equal(ctx.seg->next, NULL);
    assert_int_equal(mpgi_stack_bytes(), first.bytes);
    assert_true(first.bytes >= deep + GAP || deep < PAGE / 2);
    assert_true(first.bytes < deep + GAP + PAGE);
  }
}

static void it_has_an_end(void **state) {
  (void) state;
  assert_true(call(MPGI_STACK_HOME_BYTES - GAP));
  assert_int_equal(first.guard, first.lo + GAP);
  assert_false(call(MPGI_STACK_HOME_BYTES - GAP + 1));
  assert_false(mpgi_stack_home_open(&ctx, 0, NO_LIMIT));
  assert_int_equal(mpgi_stack_grow(NULL, &ctx, 100, NO_LIMIT), 0);
  assert_non_null(ctx.seg->next);
}

static void the_limit_counts_what_is_open(void **state) {
  (void) state;
  assert_true(mpgi_stack_home_open(&ctx, first.hi - 9000, 3 * PAGE));
  assert_false(mpgi_stack_home_open(&ctx, first.hi - 13000, 3 * PAGE));
  assert_int_equal(mpgi_stack_grow(NULL, &ctx, 13000, 3 * PAGE), -EOVERFLOW);
}

/* [stack.home.whole] */
static void with_a_next_segment_it_is_open_to_the_end(void **state) {
  (void) state;
  assert_int_equal(
      mpgi_stack_grow(NULL, &ctx, 2 * MPGI_STACK_HOME_BYTES, NO_LIMIT), 0);
  assert_int_equal(first.guard, first.lo + GAP);
  assert_int_equal(ctx.guard, first.guard);
  assert_false(mpgi_stack_home_age(&ctx));
  assert_int_equal(first.guard, first.lo + GAP);
}

static void what_is_not_used_is_given_back(void **state) {
  (void) state;
  assert_true(call(30000));
  assert_int_equal(pages_with_memory(), 8);
  assert_false(mpgi_stack_home_age(&ctx)); /* closes it */
  assert_int_equal(pages_with_memory(), 8);
  assert_int_equal(ctx.guard, first.hi - PAGE + GAP);
  assert_true(mpgi_stack_home_age(&ctx));
  assert_int_equal(pages_with_memory(), 1);
  assert_int_equal(mpgi_stack_bytes(), PAGE);
  assert_false(mpgi_stack_home_age(&ctx));
}

static void what_is_used_stays(void **state) {
  (void) state;
  for (int i = 0; i < 5; i++) {
    assert_true(call(30000));
    assert_false(mpgi_stack_home_age(&ctx));
    assert_int_equal(pages_with_memory(), 8);
  }
  ctx.sp = first.hi - 30000; /* parked down there */
  for (int i = 0; i < 3; i++) assert_false(mpgi_stack_home_age(&ctx));
  assert_int_equal(*(unsigned char *) ctx.sp, 0x5a);
}

/* A poisoned guard word stays poisoned. */
static void memory_of_alloca_keeps_the_guard(void **state) {
  (void) state;
  struct mpgi_segment d = {.prev = &first, .bytes = PAGE};
  ctx.dynamic = &d;
  assert_true(mpgi_stack_home_open(&ctx, first.hi - 9000, NO_LIMIT));
  assert_int_equal(ctx.guard, MPGI_GUARD_POISON);
  assert_true(first.guard <= first.hi - 9000);
  ctx.dynamic = NULL;
}

static void swapped_out_and_in(bool forbidden) {
  unsigned char live[256];
  mpgi_opt.stackmove = forbidden;
  assert_true(call(30000));
  for (unsigned i = 0; i < sizeof live; i++) live[i] = (unsigned char) i;
  memcpy((void *) ctx.sp, live, sizeof live);
  assert_true(mpgi_stack_can_swap(&ctx));
  assert_int_equal(mpgi_stack_bytes(), first.bytes);
  void *image = mpgi_stack_swap_out(&ctx);
  assert_non_null(image);
  assert_int_equal(pages_with_memory(), 0);
  assert_int_equal(mpgi_stack_bytes(), MPGI_STACK_SLAB_BYTES); /* images */
  assert_int_equal(ctx.guard, first.hi - PAGE + GAP);
  assert_memory_equal(image, live, sizeof live); /* tracebacks look there */
  mpgi_stack_swap_in(&ctx, image);
  assert_memory_equal((void *) ctx.sp, live, sizeof live);
  assert_int_equal(pages_with_memory(), 1);
  assert_true(call(20000));
  mpgi_opt.stackmove = 0;
}
static void what_is_live_survives(void **state) {
  (void) state;
  swapped_out_and_in(false);
}
static void what_is_live_survives_stackmove(void **state) {
  (void) state;
  swapped_out_and_in(true);
}

static void a_free_one_keeps_its_top_page(void **state) {
  (void) state;
  assert_true(call(30000));
  mpgi_stack_home_give(&first, true);
  assert_int_equal(mpgi_stack_bytes(), 0);
  assert_int_equal(pages_with_memory(), 1);
  mpgi_stack_home_release();
  assert_int_equal(pages_with_memory(), 0);
  assert_true(mpgi_stack_home_take(&ctx, &first)); /* the same */
}

#define MANY 2000

static void many_come_and_go(void **state) {
  (void) state;
  static struct mpgi_context c[MANY];
  static struct mpgi_segment s[MANY];
  static void *image[MANY];
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < MANY; i++) {
      assert_true(mpgi_stack_home_take(&c[i], &s[i]));
      c[i].sp = s[i].hi - 64;
      memset((void *) c[i].sp, i, 64);
    }
    for (int i = 0; i < MANY; i++) image[i] = mpgi_stack_swap_out(&c[i]);
    for (int i = round % 2; i < MANY; i += 2) {
      mpgi_stack_swap_in(&c[i], image[i]);
      assert_int_equal(*(unsigned char *) c[i].sp, i & 255);
      mpgi_stack_home_give(&s[i], true);
    }
    for (int i = 1 - round % 2; i < MANY; i += 2) {
      mpgi_stack_swap_drop(&c[i], image[i]);
      mpgi_stack_home_give(&s[i], false);
    }
    assert_int_equal(mpgi_stack_bytes(), PAGE); /* the case's own */
  }
}

/* MPG_DEBUG=stackguard */
static void it_may_have_a_guard(void **state) {
  (void) state;
  struct mpgi_context c = {0};
  struct mpgi_segment s;
  mpgi_opt.stackguard = 1;
  assert_true(mpgi_stack_home_take(&c, &s));
  assert_true(s.hi - s.lo < MPGI_STACK_HOME_BYTES);
  assert_true(mpgi_stack_home_open(&c, s.lo + GAP, NO_LIMIT));
  memset((void *) s.lo, 1, s.hi - s.lo);
  assert_ptr_equal(mpgi_stack_guard_of(&c, s.lo - 1), &s);
  mpgi_stack_home_give(&s, true);
  mpgi_opt.stackguard = 0;
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(a_page_is_open_at_first),
      CASE(there_are_ten_million),
      CASE(it_opens_as_far_as_needed),
      CASE(it_has_an_end),
      CASE(the_limit_counts_what_is_open),
      CASE(with_a_next_segment_it_is_open_to_the_end),
      CASE(what_is_not_used_is_given_back),
      CASE(what_is_used_stays),
      CASE(memory_of_alloca_keeps_the_guard),
      CASE(what_is_live_survives),
      CASE(what_is_live_survives_stackmove),
      CASE(a_free_one_keeps_its_top_page),
      CASE(many_come_and_go),
      CASE(it_may_have_a_guard),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

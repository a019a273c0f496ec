/* stack_cache_test.c - per-P caches of blocks and segments. */
#include <pthread.h>
#include <stdlib.h>

#include <arch/os.h>
#include <stack/stack.h>

#include <stack/arena.h>

#include "tests/support/unit.h"

#define BLOCK MPGI_STACK_BLOCK_BYTES

static struct mpgi_stack_cache cache;

static int setup(void **state) {
  (void) state;
  memset(&cache, 0, sizeof cache);
  return mpgi_stack_init();
}
static int teardown(void **state) {
  (void) state;
  mpgi_stack_cache_flush(&cache);
  return mpgi_stack_bytes() == 0 ? 0 : -1;
}

static void blocks_are_reused_last_first(void **state) {
  (void) state;
  void *a = mpgi_stack_block_alloc(&cache);
  void *b = mpgi_stack_block_alloc(&cache);
  assert_ptr_not_equal(a, b);
  assert_int_equal((uintptr_t) a & (BLOCK - 1), 0);
  mpgi_stack_block_free(&cache, a);
  mpgi_stack_block_free(&cache, b);
  assert_ptr_equal(mpgi_stack_block_alloc(&cache), b);
  assert_ptr_equal(mpgi_stack_block_alloc(&cache), a);
  mpgi_stack_block_free(NULL, a);
  mpgi_stack_block_free(NULL, b);
}

static void blocks_come_and_go_in_batches(void **state) {
  (void) state;
  enum { N = 1000 };
  static void *p[N];
  uint64_t before = mpgi_stack_bytes();
  p[0] = mpgi_stack_block_alloc(&cache);
  uint64_t batch = (mpgi_stack_bytes() - before) / BLOCK;
  assert_true(batch > 1 && cache.blocks == batch - 1);
  for (int i = 1; i < N; i++) p[i] = mpgi_stack_block_alloc(&cache);
  assert_true(mpgi_stack_bytes() < (N + batch) * BLOCK);
  for (int i = 0; i < N; i++) {
    mpgi_stack_block_free(&cache, p[i]);
    assert_true(cache.blocks <= 2 * batch);
  }
  assert_true(mpgi_stack_bytes() <= 2 * batch * BLOCK);
}

static void segments_of_every_order(void **state) {
  (void) state;
  for (size_t bytes = 2048; bytes <= (8u << 20); bytes *= 2) {
    struct mpgi_segment *s = mpgi_stack_segment_take(&cache, bytes - 100);
    assert_non_null(s);
    assert_true(s->bytes >= bytes - 100 && (s->hi & 15) == 0);
    bool foreign = bytes > MPGI_STACK_FOREIGN_BYTES;
    assert_int_equal(
        s->guard - s->lo,
        MPGI_GUARD_GAP_BYTES + (foreign ? MPGI_STACK_BELOW_BYTES : 0));
    assert_true(s->hi - s->guard + MPGI_GUARD_GAP_BYTES + sizeof *s >=
                bytes - 100);
    if (s->order != MPGI_ORDER_WIDE)
      assert_int_equal(s->hi + sizeof *s - s->lo, s->bytes);
    assert_true(!s->prev && !s->next && !s->fixed);
    memset((void *) s->lo, 0xee, s->hi - s->lo);
    mpgi_stack_segment_give(&cache, s);
  }
}

static void cached_segment_is_reused(void **state) {
  (void) state;
  struct mpgi_segment *s = mpgi_stack_segment_take(&cache, 4096);
  mpgi_stack_segment_give(&cache, s);
  uint64_t bytes = mpgi_stack_bytes();
  assert_ptr_equal(mpgi_stack_segment_take(&cache, 3000), s);
  assert_int_equal(mpgi_stack_bytes(), bytes);
  mpgi_stack_segment_give(NULL, s);
}

static void wide_segments_are_fixed_stacks_slots(void **state) {
  (void) state;
  if (mpgi_os_mem_guard_maps()) skip();
  struct mpgi_segment *s = mpgi_stack_segment_take(&cache, 20000);
  assert_int_equal(s->order, MPGI_ORDER_WIDE);
  struct mpgi_context ctx = {.seg = s};
  assert_ptr_equal(mpgi_stack_guard_of(&ctx, s->lo - 1), s);
  assert_ptr_equal(mpgi_stack_guard_of(&ctx, s->lo - MPGI_STACK_GUARD_BYTES),
                   s);
  assert_null(mpgi_stack_guard_of(&ctx, s->lo));
  mpgi_stack_segment_give(&cache, s);
  assert_ptr_equal(mpgi_stack_fixed_alloc(&cache, 1000), s);
  assert_true(s->fixed && s->guard < s->lo && s->order == MPGI_ORDER_FIXED);
  mpgi_stack_fixed_free(&cache, s);
  assert_ptr_equal(mpgi_stack_segment_take(&cache, 100000), s);
  mpgi_stack_segment_give(NULL, s);
}

static void absurd_sizes_are_refused(void **state) {
  (void) state;
  assert_null(mpgi_stack_segment_take(&cache, SIZE_MAX));
  assert_null(mpgi_stack_segment_take(&cache, SIZE_MAX / 2));
  assert_null(mpgi_stack_segment_take(&cache, (size_t) 1 << 50));
  assert_int_equal(mpgi_stack_segment_bytes_for(SIZE_MAX - 10), SIZE_MAX);
}

static void refused_mapping_is_no_memory(void **state) {
  (void) state;
  atomic_store(&mpgi_os_mem_fail_countdown, 1);
  assert_null(mpgi_stack_segment_take(&cache, 3u << 20));
  atomic_store(&mpgi_os_mem_fail_countdown, 0);
  struct mpgi_segment *s = mpgi_stack_segment_take(&cache, 3u << 20);
  assert_non_null(s);
  mpgi_stack_segment_give(&cache, s);
}

/* Threads as Ps: blocks made by one and freed by the other. */
enum { ROUNDS = 3000, SLOTS = 64 };
static _Atomic(void *) exchange[SLOTS];
static void *churn(void *arg) {
  struct mpgi_stack_cache c = {0};
  uintptr_t tag = (uintptr_t) arg;
  for (size_t i = 0; i < ROUNDS * SLOTS; i++) {
    uintptr_t *p = mpgi_stack_block_alloc(&c);
    p[5] = tag;
    p[200] = (uintptr_t) p;
    void *old = atomic_exchange(&exchange[i * 7 % SLOTS], p);
    if (!old) continue;
    if (((uintptr_t *) old)[200] != (uintptr_t) old) abort();
    mpgi_stack_block_free(&c, old);
  }
  mpgi_stack_cache_flush(&c);
  return NULL;
}
static void caches_exchange_blocks(void **state) {
  (void) state;
  pthread_t t[3];
  for (uintptr_t i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&t[i], NULL, churn, (void *) i), 0);
  for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
  for (int i = 0; i < SLOTS; i++)
    if (exchange[i]) mpgi_stack_block_free(NULL, exchange[i]);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest tests[] = {
    CASE(blocks_are_reused_last_first),
    CASE(blocks_come_and_go_in_batches),
    CASE(segments_of_every_order),
    CASE(cached_segment_is_reused),
    CASE(wide_segments_are_fixed_stacks_slots),
    CASE(absurd_sizes_are_refused),
    CASE(refused_mapping_is_no_memory),
    CASE(caches_exchange_blocks),
};

int main(void) {
  return cmocka_run_group_tests_name("stack_cache", tests, NULL, NULL);
}

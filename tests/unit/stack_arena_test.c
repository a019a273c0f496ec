/* stack_arena_test.c - the buddy allocator under the stacks. */
#include <stdio.h>
#include <stdlib.h>

#include <arch/common/rand.h>
#include <arch/os.h>
#include <stack/stack.h>

#include <stack/arena.h>

#include "tests/support/unit.h"

static void *take(unsigned order) {
  void *p = NULL;
  mpgi_mutex_lock(&mpgi_stack_lock);
  unsigned n = mpgi_stack_arena_take(order, &p, 1);
  mpgi_mutex_unlock(&mpgi_stack_lock);
  return n ? p : NULL;
}
static void give(unsigned order, void *p) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  mpgi_stack_arena_give(order, p);
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

static int setup(void **state) {
  (void) state;
  return mpgi_stack_init();
}

static void pieces_are_aligned_and_writable(void **state) {
  (void) state;
  for (unsigned o = 0; o < MPGI_ARENA_TOP; o++) {
    unsigned char *p = take(o);
    assert_non_null(p);
    assert_int_equal((uintptr_t) p & (MPGI_ARENA_BYTES(o) - 1), 0);
    memset(p, 0x5a, MPGI_ARENA_BYTES(o));
    give(o, p);
  }
  assert_int_equal(mpgi_stack_bytes(), 0);
}

static void neighbours_merge_into_a_chunk(void **state) {
  (void) state;
  enum { N = 1024 };
  static void *p[N];
  mpgi_mutex_lock(&mpgi_stack_lock);
  assert_int_equal(mpgi_stack_arena_take(0, p, N), N);
  mpgi_mutex_unlock(&mpgi_stack_lock);
  assert_int_equal(mpgi_stack_bytes(), N * 2048);
  uintptr_t lo = (uintptr_t) p[0] & ~(MPGI_OS_HUGE_BYTES - 1);
  /* Odd ones first, so that nothing merges before the end. */
  for (int i = 1; i < N; i += 2) give(0, p[i]);
  for (int i = 0; i < N; i += 2) give(0, p[i]);
  /* The largest pieces are there again, in the same chunk. */
  void *a = take(MPGI_ARENA_TOP - 1), *b = take(MPGI_ARENA_TOP - 1);
  assert_int_equal((uintptr_t) a & ~(MPGI_OS_HUGE_BYTES - 1), lo);
  assert_int_equal((uintptr_t) b & ~(MPGI_OS_HUGE_BYTES - 1), lo);
  give(MPGI_ARENA_TOP - 1, a);
  give(MPGI_ARENA_TOP - 1, b);
}

static unsigned *stamp(void *p, size_t at) {
  return (unsigned *) ((uintptr_t) p + at + 1024);
}

/* Against a shadow map of who owns which 2 KiB. */
static void random_use_never_overlaps(void **state) {
  (void) state;
  enum { LIVE = 600, STEPS = 60000 };
  static struct {
    void *p;
    unsigned order, tag;
  } live[LIVE];
  memset(live, 0, sizeof live);
  struct mpgi_rand rand = {20240607};
  for (unsigned step = 1; step <= STEPS; step++) {
    size_t i = mpgi_rand_below(&rand, LIVE);
    if (live[i].p) {
      for (size_t at = 0; at < MPGI_ARENA_BYTES(live[i].order); at += 2048)
        assert_int_equal(*stamp(live[i].p, at), live[i].tag);
      give(live[i].order, live[i].p);
      live[i].p = NULL;
      continue;
    }
    unsigned order =
        (unsigned) __builtin_ctzll(mpgi_rand_next(&rand) | 1u << 9);
    live[i].p = take(order);
    assert_non_null(live[i].p);
    live[i].order = order;
    live[i].tag = step;
    for (size_t at = 0; at < MPGI_ARENA_BYTES(order); at += 2048)
      *stamp(live[i].p, at) = step;
  }
  for (size_t i = 0; i < LIVE; i++)
    if (live[i].p) give(live[i].order, live[i].p);
  assert_int_equal(mpgi_stack_bytes(), 0);
}

static size_t resident_bytes(void) {
  char buf[256];
  FILE *f = fopen("/proc/self/statm", "r");
  assert_non_null(f);
  size_t n = fread(buf, 1, sizeof buf - 1, f);
  fclose(f);
  buf[n] = 0;
  char *at = buf;
  strtoul(at, &at, 10);
  return strtoul(at, NULL, 10) * 4096;
}

static void idle_memory_goes_back(void **state) {
  (void) state;
  enum { N = 64 };
  void *p[N];
  for (int i = 0; i < N; i++) {
    p[i] = take(MPGI_ARENA_TOP - 1);
    memset(p[i], 1, MPGI_ARENA_BYTES(MPGI_ARENA_TOP - 1));
  }
  size_t full = resident_bytes();
  for (int i = 0; i < N; i++) give(MPGI_ARENA_TOP - 1, p[i]);
  mpgi_stack_release();
  assert_true(resident_bytes() + (60u << 20) < full);
  /* Released memory is usable again and reads zero. */
  unsigned char *q = take(MPGI_ARENA_TOP - 1);
  for (size_t i = 64; i < MPGI_ARENA_BYTES(MPGI_ARENA_TOP - 1); i += 512)
    assert_int_equal(q[i], 0);
  give(MPGI_ARENA_TOP - 1, q);
}

static void refused_commit_is_no_memory(void **state) {
  (void) state;
  /* Use up what is committed, then let the next commit fail. */
  static void *held[4096];
  size_t n = 0;
  atomic_store(&mpgi_os_mem_fail_countdown, 1);
  while (n < 4096 && (held[n] = take(MPGI_ARENA_TOP - 1))) n++;
  assert_true(n > 0 && n < 4096);
  assert_null(take(0));
  void *out[8];
  mpgi_mutex_lock(&mpgi_stack_lock);
  assert_int_equal(mpgi_stack_arena_take(3, out, 8), 0);
  mpgi_mutex_unlock(&mpgi_stack_lock);
  atomic_store(&mpgi_os_mem_fail_countdown, 0);
  void *p = take(0);
  assert_non_null(p);
  give(0, p);
  while (n > 0) give(MPGI_ARENA_TOP - 1, held[--n]);
  assert_int_equal(mpgi_stack_bytes(), 0);
}

static void give_wrong_order(void *p) { give(1, p); }
static void give_inside(void *p) { give(2, (char *) p + 2048); }
static void give_twice(void *p) {
  give(2, p);
  give(2, p);
}
static void give_foreign(void *p) {
  give(0, (void *) ((uintptr_t) &p & ~(uintptr_t) 2047));
}

static void misuse_is_caught(void **state) {
  (void) state;
  static void (*const wrong[])(void *) = {give_wrong_order, give_inside,
                                          give_twice, give_foreign};
  void *p = take(2), *keep = take(2);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct child_result r;
    child_run(wrong[i], p, &r);
    assert_int_equal(r.signal, SIGABRT);
    assert_non_null(strstr(r.err, "check failed"));
    assert_non_null(strstr(r.err, "arena.c"));
  }
  give(2, p);
  give(2, keep);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(pieces_are_aligned_and_writable),
    cmocka_unit_test(neighbours_merge_into_a_chunk),
    cmocka_unit_test(random_use_never_overlaps),
    cmocka_unit_test(idle_memory_goes_back),
    cmocka_unit_test(refused_commit_is_no_memory),
    cmocka_unit_test(misuse_is_caught),
};

int main(void) {
  return cmocka_run_group_tests_name("stack_arena", tests, setup, NULL);
}

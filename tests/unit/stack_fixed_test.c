/* stack_fixed_test.c - fixed stacks: guards, reuse, memory, many at once. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <arch/os.h>
#include <stack/stack.h>

#include <stack/arena.h>

#include "tests/support/unit.h"

static struct mpgi_stack_cache cache;

static int setup(void **state) {
  (void) state;
  return mpgi_stack_init();
}
static int teardown(void **state) {
  (void) state;
  mpgi_stack_cache_flush(&cache);
  return mpgi_stack_bytes() == 0 ? 0 : -1;
}

static void usable_from_end_to_end(void **state) {
  (void) state;
  size_t sizes[] = {1, 4096, MPGI_STACK_FIXED_DEFAULT,
                    MPGI_STACK_FIXED_DEFAULT + 1, 5u << 20};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    struct mpgi_segment *s = mpgi_stack_fixed_alloc(&cache, sizes[i]);
    assert_non_null(s);
    assert_true(s->hi - s->lo >= sizes[i] && (s->hi & 15) == 0);
    assert_true(s->fixed == 1 && s->guard < s->lo);
    memset((void *) s->lo, 1, s->hi - s->lo);
    mpgi_stack_fixed_free(&cache, s);
  }
  assert_null(mpgi_stack_fixed_alloc(&cache, SIZE_MAX / 2));
  assert_null(mpgi_stack_fixed_alloc(&cache, SIZE_MAX));
}

static void touch(void *p) { *(volatile char *) p = 1; }

static void guard_region_faults(void **state) {
  (void) state;
  size_t sizes[] = {MPGI_STACK_FIXED_DEFAULT, 1u << 20};
  for (int i = 0; i < 2; i++) {
    struct mpgi_segment *s = mpgi_stack_fixed_alloc(&cache, sizes[i]);
    struct mpgi_context ctx = {0};
    mpgi_stack_first_fixed(&ctx, s);
    struct child_result r;
    for (uintptr_t at = s->lo - 1; mpgi_stack_is_guard(&ctx, at); at -= 4096) {
      child_run(touch, (void *) at, &r);
      assert_int_equal(r.signal, SIGSEGV);
    }
    assert_true(mpgi_stack_is_guard(&ctx, s->lo - 1));
    assert_true(mpgi_stack_is_guard(&ctx, s->lo - 8192));
    assert_false(mpgi_stack_is_guard(&ctx, s->lo));
    child_run(touch, (void *) s->lo, &r);
    assert_child_ok(r);
    mpgi_stack_fixed_free(&cache, s);
  }
}

static void freed_stack_is_reused(void **state) {
  (void) state;
  struct mpgi_segment *a = mpgi_stack_fixed_alloc(&cache, 1);
  mpgi_stack_fixed_free(&cache, a);
  assert_ptr_equal(mpgi_stack_fixed_alloc(&cache, 1), a);
  mpgi_stack_fixed_free(NULL, a);
  assert_ptr_equal(mpgi_stack_fixed_alloc(NULL, 1), a);
  assert_true(a->fixed && !a->next && !a->prev);
  mpgi_stack_fixed_free(NULL, a);
}

static size_t statm(int field) {
  char buf[256];
  FILE *f = fopen("/proc/self/statm", "r");
  assert_non_null(f);
  buf[fread(buf, 1, sizeof buf - 1, f)] = 0;
  fclose(f);
  char *at = buf;
  while (field-- > 0) strtoul(at, &at, 10);
  return strtoul(at, NULL, 10) * 4096;
}

static size_t mappings(void) {
  FILE *f = fopen("/proc/self/maps", "r");
  assert_non_null(f);
  size_t n = 0;
  for (int c; (c = getc(f)) != EOF;) n += c == '\n';
  fclose(f);
  return n;
}

#define MANY 200
static struct mpgi_segment *many[MANY];

static void take_many(void) {
  for (int i = 0; i < MANY; i++) {
    many[i] = mpgi_stack_fixed_alloc(&cache, 1);
    assert_non_null(many[i]);
    memset((void *) many[i]->lo, 1, many[i]->hi - many[i]->lo);
  }
}

static void free_many(void) {
  for (int i = 0; i < MANY; i++) mpgi_stack_fixed_free(&cache, many[i]);
  assert_true(cache.nfixed > 0 && cache.nfixed < 40);
}

static void free_stacks_keep_no_memory_for_long(void **state) {
  (void) state;
  take_many();
  size_t full = statm(1);
  free_many();
  assert_in_range(mpgi_stack_fixed_warm(), MANY - 40, MANY);
  mpgi_stack_fixed_age(); /* all were needed since the last call: there was none
                           */
  unsigned rounds = 0;
  for (uint32_t n; (n = mpgi_stack_fixed_warm()) > 0; rounds++) {
    mpgi_stack_fixed_age();
    assert_in_range(mpgi_stack_fixed_warm(), 0, n / 2);
  }
  assert_in_range(rounds, 1, 10);
  assert_true(statm(1) + (MANY - 40) * MPGI_STACK_FIXED_DEFAULT < full);
}

static void free_stacks_keep_none_that_is_asked_for(void **state) {
  (void) state;
  take_many();
  size_t full = statm(1);
  free_many();
  mpgi_stack_release();
  assert_int_equal(mpgi_stack_fixed_warm(), 0);
  assert_true(statm(1) + (MANY - 40) * MPGI_STACK_FIXED_DEFAULT < full);
  take_many(); /* and their guards are there still */
  struct child_result r;
  for (int i = 0; i < MANY; i += 7) {
    child_run(touch, (void *) (many[i]->lo - 1), &r);
    assert_int_equal(r.signal, SIGSEGV);
  }
  free_many();
}

static long faults_so_far(void) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return r.ru_minflt;
}

static void many_are_taken_again_without_a_fault(void **state) {
  (void) state;
  take_many();
  free_many();
  mpgi_stack_fixed_age(); /* what was needed stays */
  long before = faults_so_far();
  take_many();
  assert_in_range(faults_so_far() - before, 0, MANY / 10);
  free_many();
}

/* Of two sizes in turn. */
static void large_ones_are_used_again(void **state) {
  (void) state;
  const size_t bytes[] = {1 << 20, 3 << 20};
  struct mpgi_segment *s[2], *again[2];
  mpgi_stack_release();
  for (int i = 0; i < 2; i++) s[i] = mpgi_stack_fixed_alloc(&cache, bytes[i]);
  for (int i = 0; i < 2; i++) mpgi_stack_fixed_free(&cache, s[i]);
  assert_int_equal(mpgi_stack_fixed_warm(), 2);
  for (int i = 0; i < 2; i++) {
    again[i] = mpgi_stack_fixed_alloc(&cache, bytes[i]);
    assert_ptr_equal(again[i], s[i]);
    assert_true(again[i]->fixed && !again[i]->next && !again[i]->prev);
  }
  for (int i = 0; i < 2; i++) mpgi_stack_fixed_free(&cache, again[i]);
  mpgi_stack_fixed_age();
  for (int left = 2; left >= 0; left--) {
    assert_int_equal(mpgi_stack_fixed_warm(), left);
    mpgi_stack_fixed_age();
  }
}

/* Without guards that split mappings (Linux >= 6.13) there is no limit but
 * address space; else vm.max_map_count is met and reported as no memory. */
static void a_hundred_thousand_at_once(void **state) {
  (void) state;
  enum { N = 100000 };
  struct mpgi_segment **s = calloc(N, sizeof *s);
  size_t n = 0, before = mappings(), memory = statm(1);
  while (n < N && (s[n] = mpgi_stack_fixed_alloc(&cache, 1))) {
    *(volatile char *) (s[n]->hi - 64) = 1;
    n++;
  }
  if (n < N) {
    print_message("only %zu: guards split mappings on this kernel\n", n);
    assert_true(n > 20000);
  } else {
    assert_true(mappings() - before < 2000);
    assert_true(statm(1) - memory < (size_t) N * 6000);
  }
  while (n > 0) mpgi_stack_fixed_free(&cache, s[--n]);
  free(s);
}

static void refused_mapping_is_no_memory(void **state) {
  (void) state;
  mpgi_stack_cache_flush(&cache);
  atomic_store(&mpgi_os_mem_fail_countdown, 1);
  assert_null(mpgi_stack_fixed_alloc(&cache, 1 << 20));
  atomic_store(&mpgi_os_mem_fail_countdown, 0);
  struct mpgi_segment *s = mpgi_stack_fixed_alloc(&cache, 1 << 20);
  assert_non_null(s);
  mpgi_stack_fixed_free(&cache, s);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest tests[] = {
    CASE(usable_from_end_to_end),
    CASE(guard_region_faults),
    CASE(freed_stack_is_reused),
    CASE(free_stacks_keep_no_memory_for_long),
    CASE(free_stacks_keep_none_that_is_asked_for),
    CASE(many_are_taken_again_without_a_fault),
    CASE(large_ones_are_used_again),
    CASE(a_hundred_thousand_at_once),
    CASE(refused_mapping_is_no_memory),
};

int main(void) {
  return cmocka_run_group_tests_name("stack_fixed", tests, NULL, NULL);
}

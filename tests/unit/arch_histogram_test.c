/* Histograms, and the random numbers they are tested with. */
#include <tests/support/unit.h>

#include <arch/common/histogram.h>
#include <arch/common/rand.h>
#include <mpg/gc.h>
#include <pthread.h>
#include <stdlib.h>

static struct mpg_histogram h;

static int fresh(void **state) {
  (void) state;
  mpgi_histogram_reset(&h);
  return 0;
}

static void empty_is_zero(void **state) {
  (void) state;
  assert_int_equal(mpg_histogram_count(&h), 0);
  assert_int_equal(mpg_histogram_max(&h), 0);
  assert_int_equal(mpg_histogram_quantile(&h, 0.5), 0);
  assert_int_equal(mpg_histogram_count(NULL), 0);
  assert_int_equal(mpg_histogram_max(NULL), 0);
  assert_int_equal(mpg_histogram_quantile(NULL, 0.5), 0);
}

static void check_one(uint64_t v) {
  mpgi_histogram_reset(&h);
  mpgi_histogram_record(&h, v);
  mpgi_histogram_record(&h, UINT64_MAX); /* so that max doesn't clamp */
  uint64_t q = mpg_histogram_quantile(&h, 0.5);
  assert_true(q >= v);
  assert_true(q - v <= v / 32);
}

static void error_is_below_one_in_32(void **state) {
  (void) state;
  struct mpgi_rand rnd = {1};
  for (uint64_t v = 0; v < 1000; v++) check_one(v);
  for (int e = 5; e < 64; e++) {
    uint64_t p = (uint64_t) 1 << e;
    check_one(p - 1);
    check_one(p);
    check_one(p + 1);
    check_one(p | (mpgi_rand_next(&rnd) & (p - 1)));
  }
  check_one(UINT64_MAX);
}

static int by_value(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
  return (x > y) - (x < y);
}

static void quantiles_match_sorted_samples(void **state) {
  (void) state;
  enum { N = 5000 };
  static uint64_t v[N];
  struct mpgi_rand rnd = {2};
  for (int i = 0; i < N; i++) {
    v[i] = mpgi_rand_next(&rnd) >> (mpgi_rand_below(&rnd, 50) + 10);
    mpgi_histogram_record(&h, v[i]);
  }
  qsort(v, N, sizeof v[0], by_value);
  assert_int_equal(mpg_histogram_count(&h), N);
  assert_true(mpg_histogram_max(&h) == v[N - 1]);
  assert_true(mpg_histogram_quantile(&h, 1) == v[N - 1]);
  uint64_t last = 0;
  for (int k = 1; k <= 1000; k++) {
    uint64_t exact = v[(k * N + 999) / 1000 - 1];
    uint64_t q = mpg_histogram_quantile(&h, k / 1000.0);
    assert_true(q >= last);
    last = q;
    /* k / 1000.0 may round up to the next rank: allow its value too. */
    uint64_t above = v[k == 1000 ? N - 1 : (k * N + 999) / 1000];
    assert_true(q >= exact && q <= above + above / 32);
  }
}

static void odd_quantiles_are_clamped(void **state) {
  (void) state;
  mpgi_histogram_record(&h, 3);
  mpgi_histogram_record(&h, 9);
  assert_int_equal(mpg_histogram_quantile(&h, 0), 3);
  assert_int_equal(mpg_histogram_quantile(&h, -7), 3);
  assert_int_equal(mpg_histogram_quantile(&h, 0.0 / 0.0 * -1), 3);
  assert_int_equal(mpg_histogram_quantile(&h, 2), 9);
  assert_int_equal(mpg_histogram_quantile(&h, 0.5), 3);
  assert_int_equal(mpg_histogram_quantile(&h, 0.50001), 9);
}

static void copy_and_reset(void **state) {
  (void) state;
  static struct mpg_histogram to;
  for (uint64_t v = 1; v < 1000000; v *= 3) mpgi_histogram_record(&h, v);
  mpgi_histogram_copy(&to, &h);
  assert_memory_equal(&to, &h, sizeof h);
  mpgi_histogram_reset(&h);
  assert_int_equal(mpg_histogram_count(&h), 0);
  assert_int_equal(mpg_histogram_count(&to), 13);
  assert_fatal("from", mpgi_histogram_copy(&h, &h));
}

static void *record_many(void *arg) {
  struct mpgi_rand rnd = {(uintptr_t) arg};
  for (int i = 0; i < 100000; i++)
    mpgi_histogram_record(&h, mpgi_rand_below(&rnd, 1000));
  mpgi_histogram_record(&h, 5000 + (uintptr_t) arg);
  return NULL;
}

static void concurrent_records_are_all_counted(void **state) {
  (void) state;
  pthread_t t[4];
  for (uintptr_t i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&t[i], NULL, record_many, (void *) i), 0);
  for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
  assert_int_equal(mpg_histogram_count(&h), 400004);
  assert_int_equal(mpg_histogram_max(&h), 5003);
}

/* ---- the readers run on a goroutine's small stack ---- */

/* Call fn(arg, 0.99) on the stack that ends at top. */
static uint64_t call_on(void *top, void *fn, void *arg) {
  uint64_t ret;
  double q = 0.99;
  __asm__ volatile(
      "movq %%rsp, %%rbx\n\t"
      "movq %[top], %%rsp\n\t"
      "movsd %[q], %%xmm0\n\t"
      "call *%[fn]\n\t"
      "movq %%rbx, %%rsp"
      : "=a"(ret), "+D"(arg)
      : [top] "r"(top), [fn] "r"(fn), [q] "m"(q)
      : "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "xmm0", "xmm1",
        "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "cc", "memory");
  return ret;
}

static size_t stack_used(void *fn) {
  static _Alignas(16) unsigned char stack[4096];
  memset(stack, 0xa5, sizeof stack);
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  uint64_t ret = call_on(stack + sizeof stack, fn, &h);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  assert_int_equal(ret, fn == (void *) mpg_histogram_count ? 1 : 42);
  size_t i = 0;
  while (stack[i] == 0xa5) i++;
  return sizeof stack - i;
}

static void readers_are_small_entry_stubs(void **state) {
  (void) state;
  void *const readers[] = {(void *) mpg_histogram_count,
                           (void *) mpg_histogram_max,
                           (void *) mpg_histogram_quantile};
  mpgi_histogram_record(&h, 42);
  for (int i = 0; i < 3; i++) {
    assert_true(mpgi_arch_pc_in_rt((uintptr_t) readers[i]));
    if (!UNIT_ASAN && !UNIT_TSAN)
      assert_true(stack_used(readers[i]) <= MPGI_STUB_BYTES);
  }
}

/* ---- random numbers ---- */

static void random_numbers_are_even_enough(void **state) {
  (void) state;
  struct mpgi_rand rnd = {0};
  unsigned bins[61] = {0};
  for (int i = 0; i < 610000; i++) {
    uint32_t r = mpgi_rand_below(&rnd, 61);
    assert_true(r < 61);
    bins[r]++;
  }
  for (int i = 0; i < 61; i++) assert_in_range(bins[i], 9500, 10500);
  assert_int_equal(mpgi_rand_below(&rnd, 1), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(empty_is_zero, fresh),
      cmocka_unit_test_setup(error_is_below_one_in_32, fresh),
      cmocka_unit_test_setup(quantiles_match_sorted_samples, fresh),
      cmocka_unit_test_setup(odd_quantiles_are_clamped, fresh),
      cmocka_unit_test_setup(copy_and_reset, fresh),
      cmocka_unit_test_setup(concurrent_records_are_all_counted, fresh),
      cmocka_unit_test_setup(readers_are_small_entry_stubs, fresh),
      cmocka_unit_test(random_numbers_are_even_enough),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* MPG_DEBUG=chaos: pauses, and what they leave alone. */
#include <tests/support/unit.h>

#include <arch/common/chaos.h>
#include <arch/os.h>
#include <errno.h>
#include <pthread.h>

static void points(int n) {
  for (int i = 0; i < n; i++) {
    MPGI_CHAOS();
    MPGI_CHAOS();
  }
}

static int64_t time_of_points(int n) {
  int64_t begin = mpgi_os_now();
  points(n);
  return mpgi_os_now() - begin;
}

static void off_it_does_nothing(void **state) {
  (void) state;
  struct mpgi_chaos_site site = {0};
  mpgi_opt.chaos = 0;
  if (mpgi_opt.chaos != 0) mpgi_chaos_pause(&site);
  points(1000);
  assert_int_equal(site.number, 0);
}

/* Of two points one is late in each turn, or the only thread is. */
static void somebody_is_late(void **state) {
  (void) state;
  mpgi_opt.chaos = 1000;
  mpgi_opt.chaosseed = 7;
  assert_true(time_of_points(500) > 10 * 1000 * 1000);
}

static void errno_is_left_alone(void **state) {
  (void) state;
  errno = EXDEV;
  points(200);
  assert_int_equal(errno, EXDEV);
}

static void *pass(void *arg) {
  (void) arg;
  points(300);
  return NULL;
}

/* Those that wait for each other go on, at the latest after N us. */
static void threads_get_through(void **state) {
  (void) state;
  pthread_t t[4];
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&t[i], NULL, pass, NULL), 0);
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_join(t[i], NULL), 0);
}

static void late_one(void) { MPGI_CHAOS(); }
static void early_one(void) { MPGI_CHAOS(); }

static int64_t time_of(void (*fn)(void)) {
  int64_t begin = mpgi_os_now();
  for (int i = 0; i < 50; i++) fn();
  return mpgi_os_now() - begin;
}

static void a_named_point_alone_is_late(void **state) {
  (void) state;
  assert_int_equal(
      mpgi_options_parse(&mpgi_opt, "chaosat=arch_chaos_test.late_one", 2), 0);
  assert_true(time_of(late_one) > 5 * 1000 * 1000); /* a quarter of 50 ms */
  bool early = false; /* once, on a busy machine */
  for (int i = 0; i < 20; i++) early |= time_of(early_one) < 1000 * 1000;
  assert_true(early);
  mpgi_opt.chaosat = 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(off_it_does_nothing),
      cmocka_unit_test(somebody_is_late),
      cmocka_unit_test(errno_is_left_alone),
      cmocka_unit_test(threads_get_through),
      cmocka_unit_test(a_named_point_alone_is_late),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Metrics: samples go where they belong, by reason and in total. */
#include <tests/support/unit.h>

#include <errno.h>
#include <mpg/gc.h>

#include <tests/support/unit_sched.h>

#define METRICS 4

static int fresh(void **state) {
  (void) state;
  if (!mpgi_sched.metrics && mpgi_metrics_init() != 0) return -1;
  for (int m = 0; m < METRICS; m++) mpgi_metric_reset_g0((enum mpg_metric) m);
  atomic_store(&mpgi_stw.pause_total, 0);
  return 0;
}

static uint64_t count(enum mpg_metric m) {
  struct mpg_histogram *h = NULL;
  assert_int_equal(mpgi_metric_read_g0(m, &h), 0);
  uint64_t n = mpg_histogram_count(h);
  mpgi_histogram_free_g0(h);
  return n;
}

static uint64_t count_of(enum mpg_metric m, int reason) {
  struct mpg_histogram *h = NULL;
  assert_int_equal(
      mpgi_stop_metric_read_g0(m, (enum mpg_stop_reason) reason, &h), 0);
  uint64_t n = mpg_histogram_count(h);
  mpgi_histogram_free_g0(h);
  return n;
}

static uint64_t max_of(enum mpg_metric m, int reason) {
  struct mpg_histogram *h = NULL;
  assert_int_equal(
      mpgi_stop_metric_read_g0(m, (enum mpg_stop_reason) reason, &h), 0);
  uint64_t v = mpg_histogram_max(h);
  mpgi_histogram_free_g0(h);
  return v;
}

static void each_metric_has_its_own_samples(void **state) {
  (void) state;
  mpgi_metric_record(MPG_METRIC_SCHED_LATENCY, 100);
  mpgi_metric_record(MPG_METRIC_PREEMPT_LATENCY, 100);
  mpgi_metric_record(MPG_METRIC_PREEMPT_LATENCY, 200);
  assert_int_equal(count(MPG_METRIC_SCHED_LATENCY), 1);
  assert_int_equal(count(MPG_METRIC_PREEMPT_LATENCY), 2);
  assert_int_equal(count(MPG_METRIC_TIME_TO_STOP), 0);
  assert_int_equal(count(MPG_METRIC_PAUSE), 0);
}

static void a_clock_that_went_back_counts_as_zero(void **state) {
  (void) state;
  struct mpg_histogram *h = NULL;
  mpgi_metric_record(MPG_METRIC_SCHED_LATENCY, -5);
  assert_int_equal(mpgi_metric_read_g0(MPG_METRIC_SCHED_LATENCY, &h), 0);
  assert_int_equal(mpg_histogram_count(h), 1);
  assert_int_equal(mpg_histogram_max(h), 0);
  mpgi_histogram_free_g0(h);
}

static void stops_are_recorded_in_total_and_by_reason(void **state) {
  (void) state;
  for (int r = 0; r < MPGI_STOP_REASONS; r++)
    for (int i = 0; i <= r; i++)
      mpgi_metric_record_stop((enum mpgi_stop_reason) r, 10 * (r + 1),
                              1000 * (r + 1));
  uint64_t all = 0;
  for (int r = 0; r < MPGI_STOP_REASONS; r++) {
    uint64_t n = (uint64_t) r + 1;
    all += n;
    assert_int_equal(count_of(MPG_METRIC_TIME_TO_STOP, r), n);
    assert_int_equal(count_of(MPG_METRIC_PAUSE, r), n);
    assert_int_equal(max_of(MPG_METRIC_TIME_TO_STOP, r), 10 * n);
    assert_int_equal(max_of(MPG_METRIC_PAUSE, r), 1000 * n);
  }
  assert_int_equal(count(MPG_METRIC_TIME_TO_STOP), all);
  assert_int_equal(count(MPG_METRIC_PAUSE), all);
  /* 1 * 1000 + 2 * 2000 + ... */
  assert_int_equal(atomic_load(&mpgi_stw.pause_total), 30 * 1000);
}

static void reset_forgets_one_metric(void **state) {
  (void) state;
  mpgi_metric_record_stop(MPGI_STOP_GC, 10, 20);
  mpgi_metric_record(MPG_METRIC_SCHED_LATENCY, 1);
  mpgi_metric_reset_g0(MPG_METRIC_PAUSE);
  assert_int_equal(count(MPG_METRIC_PAUSE), 0);
  assert_int_equal(count_of(MPG_METRIC_PAUSE, MPGI_STOP_GC), 0);
  assert_int_equal(count(MPG_METRIC_TIME_TO_STOP), 1);
  assert_int_equal(count_of(MPG_METRIC_TIME_TO_STOP, MPGI_STOP_GC), 1);
  assert_int_equal(count(MPG_METRIC_SCHED_LATENCY), 1);
  mpgi_metric_reset_g0((enum mpg_metric) METRICS); /* unknown: nothing */
  mpgi_metric_reset_g0((enum mpg_metric) - 1);
  assert_int_equal(count(MPG_METRIC_SCHED_LATENCY), 1);
}

static void a_snapshot_stays_as_it_was(void **state) {
  (void) state;
  struct mpg_histogram *h = NULL;
  mpgi_metric_record(MPG_METRIC_PAUSE, 5);
  assert_int_equal(mpgi_metric_read_g0(MPG_METRIC_PAUSE, &h), 0);
  mpgi_metric_record(MPG_METRIC_PAUSE, 6);
  assert_int_equal(mpg_histogram_count(h), 1);
  mpgi_histogram_free_g0(h);
  mpgi_histogram_free_g0(NULL);
}

static void bad_questions_are_refused(void **state) {
  (void) state;
  struct mpg_histogram *h = NULL;
  assert_int_equal(mpgi_metric_read_g0((enum mpg_metric) METRICS, &h), -EINVAL);
  assert_int_equal(mpgi_metric_read_g0((enum mpg_metric) - 1, &h), -EINVAL);
  assert_int_equal(mpgi_metric_read_g0(MPG_METRIC_PAUSE, NULL), -EINVAL);
  assert_int_equal(
      mpgi_stop_metric_read_g0(MPG_METRIC_SCHED_LATENCY, MPG_STOP_GC, &h),
      -EINVAL);
  assert_int_equal(
      mpgi_stop_metric_read_g0(MPG_METRIC_PREEMPT_LATENCY, MPG_STOP_GC, &h),
      -EINVAL);
  assert_int_equal(
      mpgi_stop_metric_read_g0(MPG_METRIC_PAUSE,
                               (enum mpg_stop_reason) MPGI_STOP_REASONS, &h),
      -EINVAL);
  assert_int_equal(mpgi_stop_metric_read_g0(MPG_METRIC_PAUSE,
                                            (enum mpg_stop_reason) - 1, &h),
                   -EINVAL);
  assert_int_equal(
      mpgi_stop_metric_read_g0(MPG_METRIC_PAUSE, MPG_STOP_GC, NULL), -EINVAL);
  assert_null(h);
}

static void no_memory_is_reported(void **state) {
  (void) state;
  struct mpg_histogram *h = NULL;
  atomic_store(&mpgi_fixmem_fail_countdown, 1);
  int err = mpgi_metric_read_g0(MPG_METRIC_PAUSE, &h);
  atomic_store(&mpgi_fixmem_fail_countdown, 0);
  assert_int_equal(err, -ENOMEM);
  assert_null(h);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(each_metric_has_its_own_samples, fresh),
      cmocka_unit_test_setup(a_clock_that_went_back_counts_as_zero, fresh),
      cmocka_unit_test_setup(stops_are_recorded_in_total_and_by_reason, fresh),
      cmocka_unit_test_setup(reset_forgets_one_metric, fresh),
      cmocka_unit_test_setup(a_snapshot_stays_as_it_was, fresh),
      cmocka_unit_test_setup(bad_questions_are_refused, fresh),
      cmocka_unit_test_setup(no_memory_is_reported, fresh),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

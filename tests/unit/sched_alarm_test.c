/* An alarm's handler asks its goroutine to make way when a timer is due and the
 * goroutine has had its fair while, and only then. */
#include <tests/support/unit.h>

#include <tests/support/unit_sched.h>

static struct mpg_m *mp;

/* gp runs on P 0 since the beginning of time; a timer of P 1 is overdue. */
static int fresh(void **state) {
  (void) state;
  unit_sched_setup();
  mp = unit_m_begin(unit_p(0));
  mp->curg = unit_g(0);
  atomic_store(&unit_g(0)->ctx.preempt, 0);
  struct mpg_p *pp = unit_p(0);
  atomic_store(&pp->schedtick, 7);
  atomic_store(&pp->mon_alarm.tick, 7);
  atomic_store(&pp->mon_alarm.fair_until, 1);
  atomic_store(&unit_p(1)->timer_first, 1);
  mpgi_want_no_more(MPGI_WANT_TIMERS);
  return 0;
}

static int over(void **state) {
  (void) state;
  mp->curg = NULL;
  unit_m_end();
  atomic_store(&unit_p(1)->timer_first, INT64_MAX);
  mpgi_want_no_more(MPGI_WANT_TIMERS);
  return 0;
}

/* Returns: was it asked, and the timers wanted? */
static bool rings(void) {
  mpgi_alarm_sig(mp);
  bool asked = atomic_load(&unit_g(0)->ctx.preempt) & MPGI_PREEMPT_SLICE;
  assert_int_equal(asked, (mpgi_wants() & MPGI_WANT_TIMERS) != 0);
  return asked;
}

static void a_due_timer_ends_an_old_slice(void **state) {
  (void) state;
  assert_true(rings());
  assert_ptr_equal(atomic_load(&unit_p(0)->preempt_g), unit_g(0));
}

static void not_a_slice_that_sysmon_has_not_seen(void **state) {
  (void) state;
  atomic_store(&unit_p(0)->schedtick, 8);
  assert_false(rings());
}

static void not_before_the_fair_while_is_over(void **state) {
  (void) state;
  atomic_store(&unit_p(0)->mon_alarm.fair_until, INT64_MAX);
  assert_false(rings());
}

static void not_for_a_timer_that_is_not_due(void **state) {
  (void) state;
  atomic_store(&unit_p(1)->timer_first, INT64_MAX - 1);
  assert_false(rings());
}

static void not_without_a_goroutine(void **state) {
  (void) state;
  mp->curg = NULL;
  assert_false(rings());
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, fresh, over)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(a_due_timer_ends_an_old_slice),
      CASE(not_a_slice_that_sysmon_has_not_seen),
      CASE(not_before_the_fair_while_is_over),
      CASE(not_for_a_timer_that_is_not_due),
      CASE(not_without_a_goroutine),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* time_test.c - the clock and sleeping. */
#include "../support/check.h"

#define MS INT64_C(1000000)

static void now_is_clock_monotonic(void *arg) {
  (void) arg;
  for (int i = 0; i < 1000; i++) {
    int64_t a = check_now(), b = mpg_now(), c = check_now();
    CHECK_LE(a, b);
    CHECK_LE(b, c);
  }
}

static void sleep_lasts_long_enough(void *arg) {
  (void) arg;
  for (int64_t ns = 1; ns <= 50 * MS; ns *= 7) {
    int64_t before = mpg_now();
    mpg_sleep(ns);
    CHECK_GE(mpg_now() - before, ns);
  }
}

static void sleep_until_reaches_its_deadline(void *arg) {
  (void) arg;
  for (int i = 0; i < 10; i++) {
    int64_t deadline = mpg_now() + i * MS;
    mpg_sleep_until(deadline);
    CHECK_GE(mpg_now(), deadline);
  }
}

static void the_past_returns_at_once(void *arg) {
  (void) arg;
  int64_t before = mpg_now();
  for (int i = 0; i < 1000; i++) {
    mpg_sleep(0);
    mpg_sleep(-1);
    mpg_sleep(INT64_MIN);
    mpg_sleep_until(0);
    mpg_sleep_until(1);
    mpg_sleep_until(mpg_now() - 1);
  }
  CHECK_LE(mpg_now() - before, 5000 * MS);
}

static _Atomic int woken;
static mpg_waitgroup done;

static void sleep_for_ever(void *arg) {
  (void) arg;
  mpg_sleep(INT64_MAX); /* must not overflow into the past */
  atomic_fetch_add(&woken, 1);
}

static void sleep_without_deadline(void *arg) {
  (void) arg;
  mpg_sleep_until(-1);
  atomic_fetch_add(&woken, 1);
}

static void a_very_long_sleep_does_not_end(void *arg) {
  (void) arg;
  CHECK_GO(sleep_for_ever, NULL);
  CHECK_GO(sleep_without_deadline, NULL);
  mpg_sleep(20 * MS);
  CHECK_EQ(atomic_load(&woken), 0);
}

#define SLEEPERS 1000
static int64_t order[SLEEPERS];
static _Atomic int norder;

static void sleep_and_report(void *arg) {
  int64_t until = (int64_t) (intptr_t) arg;
  mpg_sleep_until(until);
  CHECK_GE(mpg_now(), until);
  order[atomic_fetch_add(&norder, 1)] = until;
  mpg_waitgroup_done(&done);
}

static void many_sleepers_all_wake(void *arg) {
  (void) arg;
  int64_t start = mpg_now() + 20 * MS;
  mpg_waitgroup_add(&done, SLEEPERS);
  for (int i = 0; i < SLEEPERS; i++)
    CHECK_GO(sleep_and_report,
             (void *) (intptr_t) (start + i * 7919 % 1000 * 50000));
  mpg_waitgroup_wait(&done);
  CHECK_EQ(atomic_load(&norder), SLEEPERS);
}

static void work(void *arg) {
  (void) arg;
  while (!atomic_load(&woken)) __asm__ volatile("");
  mpg_waitgroup_done(&done);
}

/* Timers run though no P is idle. */
static void sleep_ends_beside_busy_ps(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  mpg_waitgroup_add(&done, 4);
  for (int i = 0; i < 4; i++) CHECK_GO(work, NULL);
  for (int i = 0; i < 20; i++) mpg_sleep(MS);
  atomic_store(&woken, 1);
  mpg_waitgroup_wait(&done);
}

static const struct check_case cases[] = {
    OUTSIDE(now_is_clock_monotonic),  INSIDE(now_is_clock_monotonic),
    INSIDE(sleep_lasts_long_enough),  INSIDE(sleep_until_reaches_its_deadline),
    INSIDE(the_past_returns_at_once), INSIDE(a_very_long_sleep_does_not_end),
    INSIDE(many_sleepers_all_wake),   INJECTS(sleep_ends_beside_busy_ps),
};
CHECK_MAIN(cases, 20)

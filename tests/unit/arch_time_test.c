/* The clock, sleeping, yielding, and sleeping on a word. */
#include <tests/support/unit.h>

#include <arch/os.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>

#define MS ((int64_t) 1000000)

static void clock_is_monotonic_and_in_ns(void **state) {
  (void) state;
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  int64_t libc = ts.tv_sec * 1000 * MS + ts.tv_nsec, last = mpgi_os_now();
  assert_true(last >= libc && last < libc + 60000 * MS);
  for (int i = 0; i < 100000; i++) {
    int64_t now = mpgi_os_now();
    assert_true(now >= last);
    last = now;
  }
}

static void sleep_lasts_at_least_as_long(void **state) {
  (void) state;
  int64_t t = mpgi_os_now();
  mpgi_os_sleep(20 * MS);
  assert_true(mpgi_os_now() - t >= 20 * MS);
  mpgi_os_sleep(0);
  mpgi_os_sleep(-5);
  mpgi_os_yield();
}

static volatile sig_atomic_t ticks;
static void on_tick(int sig) { ticks += sig == SIGALRM; }

static void sleep_isnt_shortened_by_signals(void **state) {
  (void) state;
  if (UNIT_TSAN) skip();
  struct sigaction sa = {.sa_handler = on_tick}, old;
  struct itimerval every = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}};
  assert_int_equal(sigaction(SIGALRM, &sa, &old), 0);
  setitimer(ITIMER_REAL, &every, NULL);
  errno = 77;
  int64_t t = mpgi_os_now();
  mpgi_os_sleep(50 * MS);
  t = mpgi_os_now() - t;
  setitimer(ITIMER_REAL, &off, NULL);
  sigaction(SIGALRM, &old, NULL);
  assert_true(t >= 50 * MS);
  assert_true(ticks > 1);
  assert_int_equal(errno, 77);
}

static void timer_slack_is_lowered(void **state) {
  (void) state;
  mpgi_os_timer_slack_lower();
  assert_int_equal(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), 1);
}

/* ---- futex ---- */

static _Atomic uint32_t word;

static void wait_on_another_value_returns(void **state) {
  (void) state;
  atomic_store(&word, 5);
  errno = 77;
  assert_int_equal(mpgi_os_futex_wait(&word, 4, -1), 0);
  assert_int_equal(errno, 77);
}

static void wait_times_out(void **state) {
  (void) state;
  atomic_store(&word, 5);
  int64_t t = mpgi_os_now();
  assert_int_equal(mpgi_os_futex_wait(&word, 5, 10 * MS), -ETIMEDOUT);
  assert_true(mpgi_os_now() - t >= 10 * MS);
  assert_int_equal(mpgi_os_futex_wait(&word, 5, 0), -ETIMEDOUT);
}

static void *waiter(void *arg) {
  while (atomic_load(&word) == 0) mpgi_os_futex_wait(&word, 0, -1);
  return arg;
}

static void wake_ends_the_wait_of_all(void **state) {
  (void) state;
  pthread_t t[4];
  atomic_store(&word, 0);
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&t[i], NULL, waiter, NULL), 0);
  mpgi_os_sleep(5 * MS);
  atomic_store(&word, 1);
  mpgi_os_futex_wake(&word, 4);
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_join(t[i], NULL), 0);
}

static void wake_of_unmapped_memory_is_harmless(void **state) {
  (void) state;
  char *p = mpgi_os_mem_map(4096, 4096);
  assert_non_null(p);
  mpgi_os_mem_unmap(p, 4096);
  mpgi_os_futex_wake((_Atomic uint32_t *) (void *) p, 1);
}

static void misaligned_word_is_caught(void **state) {
  (void) state;
  char *p = (char *) &word + 1;
  assert_fatal("word", mpgi_os_futex_wake((void *) p, 1));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(clock_is_monotonic_and_in_ns),
      cmocka_unit_test(sleep_lasts_at_least_as_long),
      cmocka_unit_test(sleep_isnt_shortened_by_signals),
      cmocka_unit_test(timer_slack_is_lowered),
      cmocka_unit_test(wait_on_another_value_returns),
      cmocka_unit_test(wait_times_out),
      cmocka_unit_test(wake_ends_the_wait_of_all),
      cmocka_unit_test(wake_of_unmapped_memory_is_harmless),
      cmocka_unit_test(misaligned_word_is_caught),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

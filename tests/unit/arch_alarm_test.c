/* Alarms: a signal for one thread at a time, however busy it is. */
#include <tests/support/unit.h>

#include <arch/os.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define MS ((int64_t) 1000000)

static _Atomic int alarms, others, alarmed_tid;

static void on_urg(int sig, siginfo_t *info, void *context) {
  (void) sig;
  (void) context;
  if (!mpgi_os_is_alarm(info)) {
    atomic_fetch_add(&others, 1);
    return;
  }
  atomic_store(&alarmed_tid, (int) gettid());
  atomic_fetch_add(&alarms, 1);
}

static int setup(void **state) {
  (void) state;
  struct sigaction sa = {.sa_sigaction = on_urg, .sa_flags = SA_SIGINFO};
  atomic_store(&alarms, 0);
  atomic_store(&others, 0);
  return sigaction(SIGURG, &sa, NULL);
}

static struct { _Atomic int tid, stop; } loop;

static void *run_loop(void *arg) {
  atomic_store(&loop.tid, (int) gettid());
  while (!atomic_load(&loop.stop)) continue;
  return arg;
}

static pthread_t start_loop(void) {
  pthread_t t;
  atomic_store(&loop.tid, 0);
  atomic_store(&loop.stop, 0);
  assert_int_equal(pthread_create(&t, NULL, run_loop, NULL), 0);
  while (!atomic_load(&loop.tid)) usleep(100);
  return t;
}

static void end_loop(pthread_t t) {
  atomic_store(&loop.stop, 1);
  assert_int_equal(pthread_join(t, NULL), 0);
}

static void interrupts_the_thread_that_was_named(void **state) {
  (void) state;
  struct mpgi_os_alarm a = {0};
  pthread_t t = start_loop();
  int64_t due = mpgi_os_now() + 5 * MS;
  assert_true(mpgi_os_alarm_set(&a, loop.tid, due));
  while (!atomic_load(&alarms)) usleep(100);
  assert_true(mpgi_os_now() >= due);
  assert_int_equal(alarmed_tid, loop.tid);
  mpgi_os_sleep(5 * MS);
  assert_int_equal(alarms, 1); /* once */
  mpgi_os_alarm_end(&a);
  end_loop(t);
}

static void a_later_time_takes_its_place(void **state) {
  (void) state;
  struct mpgi_os_alarm a = {0};
  int64_t due = mpgi_os_now() + 100 * MS;
  assert_true(mpgi_os_alarm_set(&a, mpgi_os_tid(), mpgi_os_now() + 60 * MS));
  assert_true(mpgi_os_alarm_set(&a, mpgi_os_tid(), due));
  while (!atomic_load(&alarms)) usleep(100);
  assert_true(mpgi_os_now() >= due);
  mpgi_os_alarm_end(&a);
}

static void a_cancelled_one_stays_away(void **state) {
  (void) state;
  struct mpgi_os_alarm a = {0};
  mpgi_os_alarm_cancel(&a); /* none was made */
  assert_true(mpgi_os_alarm_set(&a, mpgi_os_tid(), mpgi_os_now() + 60 * MS));
  mpgi_os_alarm_cancel(&a);
  assert_false(a.set);
  mpgi_os_sleep(80 * MS);
  assert_int_equal(alarms, 0);
  assert_true(mpgi_os_alarm_set(&a, mpgi_os_tid(), mpgi_os_now() + MS));
  while (!atomic_load(&alarms)) usleep(100);
  mpgi_os_alarm_end(&a);
}

static void moves_to_another_thread(void **state) {
  (void) state;
  struct mpgi_os_alarm a = {0};
  assert_true(mpgi_os_alarm_set(&a, mpgi_os_tid(), mpgi_os_now() + 1000 * MS));
  pthread_t t = start_loop();
  assert_true(mpgi_os_alarm_set(&a, loop.tid, mpgi_os_now() + MS));
  while (!atomic_load(&alarms)) usleep(100);
  assert_int_equal(alarmed_tid, loop.tid);
  mpgi_os_alarm_end(&a);
  mpgi_os_alarm_end(&a);
  end_loop(t);
}

static void a_thread_that_ended_is_refused(void **state) {
  (void) state;
  struct mpgi_os_alarm a = {0};
  pthread_t t = start_loop();
  end_loop(t);
  char task[64]; /* joined while the kernel still knows it */
  snprintf(task, sizeof task, "/proc/self/task/%d", loop.tid);
  while (access(task, F_OK) == 0) usleep(100);
  assert_false(mpgi_os_alarm_set(&a, loop.tid, mpgi_os_now() + MS));
  assert_int_equal(a.tid, 0);
}

static void other_signals_are_none(void **state) {
  (void) state;
  raise(SIGURG);
  assert_int_equal(others, 1);
  assert_int_equal(alarms, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(interrupts_the_thread_that_was_named, setup),
      cmocka_unit_test_setup(a_later_time_takes_its_place, setup),
      cmocka_unit_test_setup(a_cancelled_one_stays_away, setup),
      cmocka_unit_test_setup(moves_to_another_thread, setup),
      cmocka_unit_test_setup(a_thread_that_ended_is_refused, setup),
      cmocka_unit_test_setup(other_signals_are_none, setup),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

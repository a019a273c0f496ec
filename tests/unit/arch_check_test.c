/* Formatted output, failed checks and fatal errors. */
#include <tests/support/unit.h>

#include <arch/os.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#define SAME(...)                                      \
  do {                                                 \
    char a_[256], b_[256];                             \
    int na_ = mpgi_format(a_, sizeof a_, __VA_ARGS__); \
    int nb_ = snprintf(b_, sizeof b_, __VA_ARGS__);    \
    assert_string_equal(a_, b_);                       \
    assert_int_equal(na_, nb_);                        \
  } while (0)

static void format_agrees_with_libc(void **state) {
  (void) state;
  SAME("plain");
  SAME("%d %d %d", 0, -1, INT_MIN);
  SAME("%i|%5d|%-5d|%05d|%05d", 7, 42, 42, 42, -42);
  SAME("%u %x %lx %llx", UINT_MAX, 0xbeefu, 0x1234567890abcdeful, 1ull);
  SAME("%ld %lld %zu", LONG_MIN, LLONG_MAX, SIZE_MAX);
  SAME("%s|%8s|%-8s|%.2s|%.*s", "abc", "abc", "abc", "abc", 1, "abc");
  SAME("%c%c%%", 'x', 'y');
  SAME("%*d|%-*d", 6, 42, 6, 42);
  SAME("%016lx|%-20lu|", 0xfeul, 99ul);
  SAME("%p", (void *) 0x1000);
}

static void format_shows_null_string(void **state) {
  (void) state;
  char buf[32];
  const char *volatile none = NULL;
  mpgi_format(buf, sizeof buf, "%s", none);
  assert_string_equal(buf, "(null)");
}

static int format_any(char *buf, size_t bytes, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = mpgi_vformat(buf, bytes, fmt, ap);
  va_end(ap);
  return n;
}

static void format_survives_bad_formats(void **state) {
  (void) state;
  char buf[32];
  format_any(buf, sizeof buf, "%q%");
  assert_string_equal(buf, "%q");
  format_any(buf, sizeof buf, "%99999999999999999999d|", 1);
  assert_int_equal(strlen(buf), 31);
}

static void format_truncates(void **state) {
  (void) state;
  char buf[8];
  memset(buf, 'z', sizeof buf);
  assert_int_equal(mpgi_format(buf, 5, "%s", "abcdefgh"), 4);
  assert_string_equal(buf, "abcd");
  assert_int_equal(buf[5], 'z');
  assert_int_equal(mpgi_format(buf, 1, "abc"), 0);
  assert_int_equal(buf[0], 0);
}

static void print_writes_long_lines_whole(void **state) {
  (void) state;
  int fds[2];
  static char big[5001], got[5100];
  memset(big, 'a', 5000);
  assert_int_equal(pipe(fds), 0);
  errno = 77;
  mpgi_print(fds[1], "<%s>\n", big);
  assert_int_equal(errno, 77);
  close(fds[1]);
  size_t n = 0;
  ssize_t r;
  while ((r = read(fds[0], got + n, sizeof got - n)) > 0) n += (size_t) r;
  close(fds[0]);
  assert_int_equal(n, 5003);
  assert_int_equal(got[0], '<');
  assert_int_equal(got[5001], '>');
  assert_memory_equal(got + 1, big, 5000);
}

static void print_to_a_closed_descriptor_is_ignored(void **state) {
  (void) state;
  errno = 77;
  mpgi_print(1000, "nobody reads this\n");
  assert_int_equal(errno, 77);
}

/* ---- dying ---- */

static void fail_check(void *arg) { MPG_VERIFY(arg != NULL); }

static void failed_check_aborts_with_place(void **state) {
  (void) state;
  struct child_result r;
  child_run(fail_check, NULL, &r);
  assert_int_equal(r.signal, SIGABRT);
  assert_non_null(strstr(r.err, "fatal: check failed: arg != "));
  assert_non_null(strstr(r.err, "arch_check_test.c:"));
  assert_non_null(strstr(r.err, "fail_check)\n"));
}

static void checks_above_the_level_are_off(void **state) {
  (void) state;
  int evaluated = 0;
  MPGI_CHECK_AT(MPG_CHECK + 1, evaluated++ > 100);
  assert_int_equal(evaluated, 0);
  assert_fatal("check failed: evaluated++ > 100",
               MPGI_CHECK_AT(MPG_CHECK, evaluated++ > 100));
}

static void hook_print(int fd) { mpgi_print(fd, "hook ran\n"); }

static void die_with_hook(void *arg) {
  (void) arg;
  mpgi_fatal_hook = hook_print;
  mpgi_fatal("all %s are asleep - %s!", "goroutines", "deadlock");
}

static void fatal_prints_calls_hook_and_exits_2(void **state) {
  (void) state;
  struct child_result r;
  child_run(die_with_hook, NULL, &r);
  assert_int_equal(r.status, 2);
  assert_string_equal(
      r.err, "fatal: all goroutines are asleep - deadlock!\nhook ran\n");
}

static void hook_dies(int fd) {
  mpgi_print(fd, "hook ran\n");
  mpgi_fatal("second");
}

static void die_twice(void *arg) {
  (void) arg;
  mpgi_fatal_hook = hook_dies;
  mpgi_fatal("first");
}

static void fatal_in_the_hook_ends_at_once(void **state) {
  (void) state;
  struct child_result r;
  child_run(die_twice, NULL, &r);
  assert_int_equal(r.status, 2);
  assert_string_equal(r.err, "fatal: first\nhook ran\nfatal: second\n");
}

static _Atomic int hook_entered;

static void *second_death(void *arg) {
  while (!atomic_load(&hook_entered)) mpgi_os_yield();
  mpgi_fatal("second");
  return arg;
}

static void hook_slow(int fd) {
  atomic_store(&hook_entered, 1);
  mpgi_os_sleep(200000000); /* long enough for the other thread to die */
  mpgi_print(fd, "hook finished\n");
}

static void two_threads_die(void *arg) {
  pthread_t t;
  mpgi_fatal_hook = hook_slow;
  child_check(pthread_create(&t, NULL, second_death, arg) == 0);
  mpgi_fatal("first");
}

static void second_dying_thread_lets_the_first_finish(void **state) {
  (void) state;
  struct child_result r;
  child_run(two_threads_die, NULL, &r);
  assert_int_equal(r.status, 2);
  assert_non_null(strstr(r.err, "fatal: second\n"));
  assert_non_null(strstr(r.err, "hook finished\n"));
}

static void on_signal(int sig) {
  (void) sig;
  mpgi_fatal("in a handler");
}

static void die_in_handler(void *arg) {
  (void) arg;
  signal(SIGUSR1, on_signal);
  raise(SIGUSR1);
}

static void fatal_works_in_a_signal_handler(void **state) {
  (void) state;
  struct child_result r;
  child_run(die_in_handler, NULL, &r);
  assert_int_equal(r.status, 2);
  assert_string_equal(r.err, "fatal: in a handler\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(format_agrees_with_libc),
      cmocka_unit_test(format_shows_null_string),
      cmocka_unit_test(format_survives_bad_formats),
      cmocka_unit_test(format_truncates),
      cmocka_unit_test(print_writes_long_lines_whole),
      cmocka_unit_test(print_to_a_closed_descriptor_is_ignored),
      cmocka_unit_test(failed_check_aborts_with_place),
      cmocka_unit_test(checks_above_the_level_are_off),
      cmocka_unit_test(fatal_prints_calls_hook_and_exits_2),
      cmocka_unit_test(fatal_in_the_hook_ends_at_once),
      cmocka_unit_test(second_dying_thread_lets_the_first_finish),
      cmocka_unit_test(fatal_works_in_a_signal_handler),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

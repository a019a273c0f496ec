/* libc_test.c - C library functions called from goroutines through stubs:
 * arguments, results and errno survive; goroutines stay small; calls that
 * block or take long on the system stack delay nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <wchar.h>

#include "../support/hide.h"

#define PLAIN __attribute__((noinline))

static mpg_waitgroup done;

/* ---- arguments and results ---- */

static PLAIN void many_arguments(int depth) {
  char got[600], want[] =
                     "1 2 3 4 5 6 7 8 9 10 1.5 2.5 3.5 4.5 5.5 6.5 7.5 8.5 "
                     "9.5 10.5 11.25 x -1 18446744073709551615 12.75 end";
  int n =
      snprintf(got, sizeof(got),
               "%d %d %d %d %d %d %d %d %d %d %.1f %.1f %.1f %.1f %.1f "
               "%.1f %.1f %.1f %.1f %.1f %.2Lf %c %ld %lu %.2Lf %s",
               1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5,
               8.5, 9.5, 10.5, 11.25L, 'x', -1L, ULONG_MAX, 12.75L, "end");
  CHECK_EQ(n, strlen(want));
  CHECK(strcmp(got, want) == 0);
  if (depth > 0) many_arguments(depth - 1);
  CHECK_OPAQUE(depth);
}

#define TEN(x) x, x, x, x, x, x, x, x, x, x
#define HUNDRED(x) \
  TEN(x), TEN(x), TEN(x), TEN(x), TEN(x), TEN(x), TEN(x), TEN(x), TEN(x), TEN(x)

/* What C11 promises (5.2.4.1): 127 in one call. */
static PLAIN void a_hundred_and_more(void) {
  char *got = malloc(4000), *format = malloc(4000), *want = malloc(4000);
  format[0] = want[0] = 0;
  for (int i = 0; i < 120; i++) {
    strcat(format, "%ld,");
    strcat(want, "77,");
  }
  strcat(format, "%.2Lf");
  strcat(want, "4.25");
  /* The format is checked above, not by the compiler. */
  int (*volatile print)(char *, size_t, const char *, ...) = snprintf;
  print(got, 4000, format, HUNDRED(77L), TEN(77L), TEN(77L), 4.25L);
  CHECK(strcmp(got, want) == 0);
  free(got);
  free(format);
  free(want);
}

static PLAIN void results(void) {
  div_t d = div(47, 5);
  ldiv_t l = ldiv(-47, 5);
  char *end;
  CHECK(d.quot == 9 && d.rem == 2 && l.quot == -9 && l.rem == -2);
  CHECK(strtold("1.5e100 ", &end) == 1.5e100L && *end == ' ');
  CHECK(strtod("-0x1.8p3", NULL) == -12.0 && atof("2.5") == 2.5);
  CHECK(powl(2.0L, 70.0L) == 0x1p70L && fabsl(-3.0L) == 3.0L);
  CHECK(pow(2.0, 10.0) == 1024.0 && sqrt(2.25) == 1.5 && fmax(1, 2) == 2);
  double s, c;
  sincos(0.0, &s, &c);
  CHECK(s == 0.0 && c == 1.0);
  long double whole;
  CHECK(modfl(2.75L, &whole) == 0.75L && whole == 2.0L);
}

static PLAIN void errors(void) {
  errno = 0;
  CHECK_EQ(strtol("99999999999999999999", NULL, 10), LONG_MAX);
  CHECK_EQ(errno, ERANGE);
  CHECK_EQ(open("/nonexistent/file", O_RDONLY), -1);
  CHECK_EQ(errno, ENOENT);
  errno = EDOM;
  CHECK_EQ(atoi("12"), 12);
  CHECK_EQ(errno, EDOM);
}

static PLAIN void scanning(void) {
  int i[8];
  double x;
  char word[10];
  int n =
      sscanf("1 2 3 4 5 6 7 8 2.5 word", "%d %d %d %d %d %d %d %d %lf %9s",
             &i[0], &i[1], &i[2], &i[3], &i[4], &i[5], &i[6], &i[7], &x, word);
  CHECK(n == 10 && i[0] == 1 && i[7] == 8 && x == 2.5);
  CHECK(strcmp(word, "word") == 0);
}

static PLAIN void others(void) {
  wchar_t wide[40];
  char text[40];
  struct tm tm;
  time_t day = 86400 * 365;
  CHECK_EQ(swprintf(wide, 40, L"%d %ls %.1f", 5, L"wide", 1.5), 10);
  CHECK(wcscmp(wide, L"5 wide 1.5") == 0);
  CHECK(gmtime_r(&day, &tm) == &tm);
  CHECK_EQ(strftime(text, sizeof(text), "%Y-%m-%d", &tm), 10);
  CHECK(strcmp(text, "1971-01-01") == 0);
  CHECK(strstr("a needle in hay", "needle") != NULL);
  char *copy = strdup("copied");
  CHECK(copy && strlen(copy) == 6 && memchr(copy, 'p', 6) == copy + 2);
  copy = realloc(copy, 1000);
  CHECK(copy && strcmp(copy, "copied") == 0);
  free(copy);
}

static PLAIN void all_kinds(int depth) {
  many_arguments(3);
  a_hundred_and_more();
  results();
  errors();
  scanning();
  others();
  /* from every depth of the first segments */
  volatile char frame[48];
  frame[0] = 1;
  if (depth > 0) all_kinds(depth - 1);
  CHECK_EQ(frame[0], 1);
}

static void arguments_and_results_survive(void *arg) {
  (void) arg;
  all_kinds(40);
}

static void arguments_and_results_survive_outside(void *arg) {
  (void) arg;
  all_kinds(3);
}

/* ---- beside others ---- */

static _Atomic bool stop;

static void set_stop(void *arg) {
  (void) arg;
  atomic_store(&stop, true);
}

/* At least once: whoever sets stop may have been first. */
static PLAIN uint64_t allocate_loop(void) {
  uint64_t n = 0;
  do {
    unsigned char *p = malloc(100 + n % 50);
    p[n % 100] = (unsigned char) n;
    CHECK_EQ(p[n % 100], n % 256);
    free(p);
    n++;
  } while (!atomic_load(&stop));
  return n;
}

static PLAIN uint64_t convert_loop(void) {
  uint64_t n = 0;
  do {
    CHECK(strtod("12.5", NULL) == 12.5);
    CHECK(strtold("3.75", NULL) == 3.75L);
    CHECK_EQ(strtol("123", NULL, 10), 123);
    n++;
  } while (!atomic_load(&stop));
  return n;
}

/* On one P: whoever sets stop must get it. */
static void loops_are_switched_out(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  for (int i = 0; i < 4; i++) {
    atomic_store(&stop, false);
    CHECK_GO(set_stop, NULL);
    CHECK_GT(i & 1 ? allocate_loop() : convert_loop(), 0);
  }
}

static void format_much(void *arg) {
  (void) arg;
  for (int i = 0; i < 300; i++) {
    many_arguments(2);
    errors();
    results();
  }
  mpg_waitgroup_done(&done);
}

static void collections_stop_calls_anywhere(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  mpg_waitgroup_add(&done, 8);
  for (int i = 0; i < 8; i++) CHECK_GO(format_much, NULL);
  for (int i = 0; i < 50; i++) {
    mpg_gc();
    mpg_yield();
  }
  mpg_waitgroup_wait(&done);
}

/* ---- blocked in the kernel, on the system stack ---- */

static int fds[2];
static _Atomic int entered;
static _Atomic uintptr_t buffer_bits;

/* The buffer's address is nowhere but in the call itself. */
static PLAIN void read_into_hidden(void) {
  char *p = (char *) hide_object(5);
  atomic_store(&buffer_bits, hide(p).bits);
  atomic_store(&entered, 1);
  ssize_t n = read(fds[0], p, 1);
  CHECK_EQ(n, 1);
}

static void reader(void *arg) {
  (void) arg;
  read_into_hidden();
  mpg_waitgroup_done(&done);
}

static void blocked_calls_keep_their_arguments(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  CHECK_EQ(pipe(fds), 0);
  mpg_waitgroup_add(&done, 1);
  atomic_store(&entered, 0);
  CHECK_GO(reader, NULL);
  CHECK_EVENTUALLY(atomic_load(&entered));
  mpg_sleep(5000000);
  int64_t begin = mpg_now();
  hide_collect();
  CHECK_LE(mpg_now() - begin, INT64_C(2000000000));
  hidden h = {atomic_load(&buffer_bits)};
  CHECK(hide_alive(h, 5));
  CHECK_EQ(write(fds[1], "x", 1), 1);
  mpg_waitgroup_wait(&done);
  close(fds[0]);
  close(fds[1]);
}

static FILE *full;

static void print_much(void *arg) {
  (void) arg;
  atomic_store(&entered, 1);
  for (int i = 0; i < 20000; i++) fprintf(full, "line %d of %s\n", i, "many");
  fclose(full);
  mpg_waitgroup_done(&done);
}

/* The pipe is full and nobody reads: fprintf holds the stream's lock. */
static void printing_into_a_full_pipe_stops_nobody(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  CHECK_EQ(pipe(fds), 0);
  full = fdopen(fds[1], "w");
  CHECK(full != NULL);
  mpg_waitgroup_add(&done, 1);
  atomic_store(&entered, 0);
  CHECK_GO(print_much, NULL);
  CHECK_EVENTUALLY(atomic_load(&entered));
  for (int i = 0; i < 20; i++) {
    mpg_sleep(1000000);
    mpg_gc();
  }
  size_t lines = 0;
  char buf[4096];
  for (ssize_t n; (n = read(fds[0], buf, sizeof(buf))) > 0;)
    for (ssize_t i = 0; i < n; i++) lines += buf[i] == '\n';
  CHECK_EQ(lines, 20000);
  mpg_waitgroup_wait(&done);
  close(fds[0]);
}

/* Between mpg_syscall_enter and exit the thread has no P. */
static void format_in_syscall(void *arg) {
  (void) arg;
  for (int i = 0; i < 200; i++) {
    mpg_syscall_enter();
    many_arguments(1);
    sched_yield();
    mpg_syscall_exit();
  }
  mpg_waitgroup_done(&done);
}

static void calls_without_a_p(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  mpg_waitgroup_add(&done, 4);
  for (int i = 0; i < 4; i++) CHECK_GO(format_in_syscall, NULL);
  for (int i = 0; i < 20; i++) mpg_gc();
  mpg_waitgroup_wait(&done);
}

/* Left behind by mpg_run in the middle of a call. */
static void block_for_ever(void *arg) {
  char c;
  (void) arg;
  atomic_fetch_add(&entered, 1);
  CHECK_EQ(read(fds[0], &c, 1), 1);
  check_failed(__FILE__, __LINE__, "ran on after mpg_run", 0, 0, false);
}

static void leave_blocked(void *arg) {
  (void) arg;
  for (int i = 0; i < 3; i++) CHECK_GO(block_for_ever, NULL);
  CHECK_EVENTUALLY(atomic_load(&entered) == 3);
}

static void blocked_calls_end_with_the_run(void *arg) {
  (void) arg;
  CHECK_EQ(pipe(fds), 0);
  atomic_store(&entered, 0);
  CHECK_EQ(mpg_run(leave_blocked, NULL), 0);
  CHECK_EQ(write(fds[1], "xyz", 3), 3);
  usleep(20000);
  CHECK_EQ(mpg_run(arguments_and_results_survive, NULL), 0);
}

/* ---- a handler that uses mpg ---- */

static volatile int64_t handler_now;
static void on_prof(int sig) {
  (void) sig;
  handler_now = mpg_now();
}

static void handlers_may_ask_for_the_time(void *arg) {
  (void) arg;
  struct sigaction sa = {.sa_handler = on_prof,
                         .sa_flags = SA_ONSTACK | SA_RESTART};
  CHECK_EQ(sigaction(SIGPROF, &sa, NULL), 0);
  CHECK_EQ(pipe(fds), 0);
  for (int i = 0; i < 100; i++) {
    handler_now = 0;
    CHECK_EQ(raise(SIGPROF), 0);
    CHECK_GT(handler_now, 0);
  }
  signal(SIGPROF, SIG_IGN);
}

static const struct check_case cases[] = {
    INSIDE(arguments_and_results_survive),
    OUTSIDE(arguments_and_results_survive_outside),
    INSIDE(loops_are_switched_out),
    INSIDE(collections_stop_calls_anywhere),
    INSIDE(blocked_calls_keep_their_arguments),
    INSIDE(printing_into_a_full_pipe_stops_nobody),
    INSIDE(calls_without_a_p),
    {"blocked_calls_end_with_the_run", blocked_calls_end_with_the_run,
     CHECK_OUTSIDE, "nosteal", NULL},
    INSIDE(handlers_may_ask_for_the_time),
};
CHECK_MAIN(cases, 30)

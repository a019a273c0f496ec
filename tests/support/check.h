/* check.h - checks for tests that run goroutines.
 *
 * A failed check prints where and what and ends the process with status 1 at
 * once: from a goroutine there is no safe way to unwind the test, and the
 * other goroutines must not go on.  Passing is silent.
 *
 * A test file lists its cases; each runs in its own mpg_run (or, outside, on
 * the plain main thread) under a watchdog that prints every goroutine when a
 * case hangs.  A case's name as the argument runs that one only.
 */
#ifndef TESTS_SUPPORT_CHECK_H
#define TESTS_SUPPORT_CHECK_H

#include <mpg.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *_Atomic check_case_name = "main";

static __attribute__((noinline, noreturn, unused)) void check_failed(
    const char *file, int line, const char *what, long long got, long long want,
    bool values) {
  char text[512];
  int n = snprintf(text, sizeof(text), "%s:%d: %s: check failed: %s", file,
                   line, atomic_load(&check_case_name), what);
  if (values && n > 0 && (size_t) n < sizeof(text))
    n += snprintf(text + n, sizeof(text) - (size_t) n, " (%lld and %lld)", got,
                  want);
  if (n > (int) sizeof(text) - 1) n = (int) sizeof(text) - 1;
  text[n] = '\n';
  if (write(2, text, (size_t) n + 1) < 0) _exit(3);
  _exit(1);
}

#define CHECK(cond)                                                    \
  do {                                                                 \
    if (!(cond)) check_failed(__FILE__, __LINE__, #cond, 0, 0, false); \
  } while (0)

#define CHECK_OP(a, op, b)                                                    \
  do {                                                                        \
    long long check_a_ = (long long) (a), check_b_ = (long long) (b);         \
    if (!(check_a_ op check_b_))                                              \
      check_failed(__FILE__, __LINE__, #a " " #op " " #b, check_a_, check_b_, \
                   true);                                                     \
  } while (0)
#define CHECK_EQ(a, b) CHECK_OP(a, ==, b)
#define CHECK_NE(a, b) CHECK_OP(a, !=, b)
#define CHECK_LE(a, b) CHECK_OP(a, <=, b)
#define CHECK_GE(a, b) CHECK_OP(a, >=, b)
#define CHECK_GT(a, b) CHECK_OP(a, >, b)

/* Wait for a condition that others will make true; the watchdog ends a wait
 * for one that never comes. */
#define CHECK_EVENTUALLY(cond)            \
  do {                                    \
    while (!(cond)) mpg_sleep(50 * 1000); \
  } while (0)

/* mpg_go that must succeed. */
#define CHECK_GO(fn, arg) CHECK_EQ(mpg_go((fn), (arg)), 0)

/* The value of a switch of MPG_DEBUG, 0 when it isn't there: what a promise
 * costs, or whether it holds, depends on some of them. */
static inline long long check_switch(const char *name) {
  const char *at = getenv("MPG_DEBUG");
  size_t n = strlen(name);
  long long value = 0;
  for (; at && *at; at += strcspn(at, ","), at += *at == ',') {
    if (strncmp(at, name, n) != 0 || !strchr("=,", at[n])) continue;
    value = at[n] == '=' ? strtoll(at + n + 1, NULL, 10) : 1;
  }
  return value;
}

/* Collections come at any time, whatever the program does. */
static inline bool check_collects(void) {
  return check_switch("gcstress") || check_switch("gcperiod");
}

/* Before the first mpg_run: these switches, too, unless others are given. */
static __attribute__((unused)) void check_switches(const char *ours) {
  const char *given = getenv("MPG_DEBUG");
  char all[512];
  int n = snprintf(all, sizeof(all), "%s,%s", ours, given ? given : "");
  if (n < (int) sizeof(all)) setenv("MPG_DEBUG", all, 1);
}

/* Keep the compiler from knowing, or keeping, anything about a value. */
#define CHECK_OPAQUE(x) __asm__ volatile("" : "+r"(x) : : "memory")

/* ---- watchdog ---- */

static _Atomic int64_t check_deadline; /* CLOCK_MONOTONIC ns; 0: off */

static inline int64_t check_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* An ordinary thread, unknown to the runtime.  Printing the goroutines may
 * hang as the test did: SIGALRM's default action ends that. */
static __attribute__((unused)) void *check_watch(void *arg) {
  pthread_barrier_wait(arg);
  for (;;) {
    struct timespec tick = {0, 50000000};
    nanosleep(&tick, NULL);
    int64_t deadline = atomic_load(&check_deadline);
    if (deadline == 0 || check_now() < deadline) continue;
    fprintf(stderr, "%s: hangs\n", atomic_load(&check_case_name));
    signal(SIGALRM, SIG_DFL);
    alarm(5);
    mpg_traceback_all(2);
    _exit(1);
  }
  return NULL;
}

#if defined(MPG_SANITIZED)
enum { CHECK_PATIENCE = 8 };
#else
enum { CHECK_PATIENCE = 1 };
#endif

/* To ThreadSanitizer a goroutine is a thread, which takes it a millisecond to
 * make and to end, and there may be 8,000. */
#if defined(__SANITIZE_THREAD__)
enum { CHECK_MANY_GOROUTINES = 500 };
#else
enum { CHECK_MANY_GOROUTINES = 1000000 };
#endif

static inline void check_watchdog(int seconds) {
  seconds *= CHECK_PATIENCE;
  static bool started;
  pthread_t t;
  atomic_store(&check_deadline,
               seconds ? check_now() + seconds * INT64_C(1000000000) : 0);
  if (started || seconds == 0) return;
  started = true;
  /* Waited for: a case may fork, and a thread that begins holds locks of the
   * sanitizer's allocator. */
  static pthread_barrier_t begun;
  if (pthread_barrier_init(&begun, NULL, 2) != 0) abort();
  if (pthread_create(&t, NULL, check_watch, &begun) != 0) abort();
  pthread_barrier_wait(&begun);
  pthread_detach(t);
}

/* ---- cases ---- */

enum check_where { CHECK_INSIDE, CHECK_OUTSIDE };

struct check_case {
  const char *name;
  mpg_func fn;
  enum check_where where;
  const char *without, *nor; /* switches that take away what it needs */
};
#define INSIDE(fn) \
  { #fn, fn, CHECK_INSIDE, NULL, NULL }
#define OUTSIDE(fn) \
  { #fn, fn, CHECK_OUTSIDE, NULL, NULL }
/* Inside.  With loops that only an injected call ends; with goroutines queued
 * at a P whose thread is stuck or in a loop; both. */
#define INJECTS(fn) \
  { #fn, fn, CHECK_INSIDE, "asyncpreemptoff", NULL }
#define STEALS(fn) \
  { #fn, fn, CHECK_INSIDE, "nosteal", NULL }
#define INJECTS_STEALS(fn) \
  { #fn, fn, CHECK_INSIDE, "asyncpreemptoff", "nosteal" }

static inline bool check_is_off(const struct check_case *c) {
  return (c->without && check_switch(c->without)) ||
         (c->nor && check_switch(c->nor));
}

static inline void check_run_case(const struct check_case *c, int seconds) {
  atomic_store(&check_case_name, c->name);
  if (getenv("CHECK_VERBOSE")) fprintf(stderr, "%s\n", c->name);
  if (check_is_off(c)) return;
  check_watchdog(seconds);
  if (c->where == CHECK_OUTSIDE)
    c->fn(NULL);
  else
    CHECK_EQ(mpg_run(c->fn, NULL), 0);
  check_watchdog(0);
}

/* Run all cases, or those named on the command line.  Returns: exit status. */
static inline int check_cases(const struct check_case *cases, int n, int argc,
                              char **argv, int seconds) {
  int ran = 0;
  for (int i = 0; i < n; i++) {
    bool wanted = argc < 2;
    for (int a = 1; a < argc; a++)
      wanted = wanted || strcmp(argv[a], cases[i].name) == 0;
    if (!wanted) continue;
    check_run_case(&cases[i], seconds);
    ran++;
  }
  return ran > 0 ? 0 : 2;
}

#define CHECK_MAIN(cases, seconds)                                        \
  int main(int argc, char **argv) {                                       \
    return check_cases((cases), (int) (sizeof(cases) / sizeof(*(cases))), \
                       argc, argv, (seconds));                            \
  }

#endif /* TESTS_SUPPORT_CHECK_H */

/* stack_signals_stress.c - growth while SIGURG arrives thousands of times a
 * second.
 *
 * A thread that mpg doesn't know sends SIGURG to every thread of the process,
 * without pause: by turns one that looks like mpg's own, and one that is the
 * program's.  Meanwhile goroutines recurse over segment boundaries, with all
 * sorts of frames and arguments; their results are those of the same recursion
 * on a thread.  It ends when the program's handler has had HANDLED of its own
 * on threads that ran a goroutine, however long that takes.  The handler's
 * functions have prologues of their own.
 */
#include <alloca.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../support/stress.h"

#define PLAIN __attribute__((noinline))
#define HANDLED 3000
#define CASES 64
#define GOROUTINES 8
#define THREAD_BYTES ((size_t) 64 << 20)
#if defined(MPG_SPLIT_STACK)
#define STACK_BYTES 0
#else /* stacks don't grow */
#define STACK_BYTES ((size_t) 16 << 20)
#endif

/* ---- the recursion ---- */

struct words {
  uint64_t w[24];
};

static uint64_t fold(uint64_t *rng, int depth);

static PLAIN uint64_t leaf(uint64_t x) {
  volatile uint64_t pad[12];
  for (int i = 0; i < 12; i++) pad[i] = x + (uint64_t) i;
  return pad[x % 12] * 3;
}

/* Crosses the same boundary again and again, where there is one. */
static PLAIN uint64_t hot(uint64_t *rng, int depth) {
  uint64_t sum = stress_random(rng);
  for (int i = 0; i < 40; i++) sum = sum * 7 + leaf(sum);
  return sum + fold(rng, depth - 1);
}

static PLAIN uint64_t many(uint64_t *rng, int depth, uint64_t a, uint64_t b,
                           uint64_t c, uint64_t d, uint64_t e, uint64_t f,
                           double x, long double y) {
  uint64_t sum = fold(rng, depth - 1);
  sum = sum * 3 + a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f;
  return sum + (uint64_t) x + (uint64_t) y;
}

static PLAIN struct words by_value(uint64_t *rng, int depth, struct words v) {
  v.w[5] += fold(rng, depth - 1);
  for (int i = 1; i < 24; i++) v.w[i] += v.w[i - 1] * 5;
  return v;
}

static PLAIN uint64_t with_words(uint64_t *rng, int depth) {
  struct words v;
  for (int i = 0; i < 24; i++) v.w[i] = stress_random(rng);
  v = by_value(rng, depth, v);
  return v.w[23] ^ v.w[7];
}

#ifndef __clang__ /* which can't compile it for segments */
static PLAIN uint64_t variable(uint64_t *rng, int depth, ...) {
  va_list ap;
  va_start(ap, depth);
  uint64_t sum = fold(rng, depth - 1);
  for (int i = 0; i < 6; i++) {
    sum = sum * 7 + va_arg(ap, uint64_t);
    sum += (uint64_t) va_arg(ap, double);
  }
  va_end(ap);
  return sum;
}

static PLAIN uint64_t with_variable(uint64_t *rng, int depth) {
  uint64_t a = stress_random(rng);
  return variable(rng, depth, a, 1., a + 1, 2., a + 2, 3., a + 3, 4., a + 4, 5.,
                  a + 5, 6.);
}
#else
#define with_variable with_words
#endif

static PLAIN uint64_t with_alloca(uint64_t *rng, int depth) {
  size_t n = 16 + stress_below(rng, 3000);
  unsigned char *p = alloca(n);
  memset(p, depth, n);
  uint64_t sum = fold(rng, depth - 1);
  for (size_t i = 0; i < n; i += 31) sum = sum * 3 + p[i];
  return sum;
}

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
  return (x > y) - (x < y);
}

/* Foreign code, which calls back. */
static PLAIN uint64_t with_sort(uint64_t *rng, int depth) {
  uint64_t w[20];
  for (int i = 0; i < 20; i++) w[i] = stress_random(rng);
  qsort(w, 20, sizeof w[0], compare);
  return w[3] + fold(rng, depth - 1) * 3 + w[17];
}

static uint64_t fold(uint64_t *rng, int depth) {
  uint64_t r = stress_random(rng);
  if (depth <= 0) return r;
  switch (r % 8) {
  case 0:
    return many(rng, depth, r, r + 1, r + 2, r + 3, r + 4, r + 5, 2.5, 3.5L);
  case 1: return with_words(rng, depth);
  case 2: return with_variable(rng, depth);
  case 3: return with_alloca(rng, depth);
  case 4: return with_sort(rng, depth);
  default: return hot(rng, depth);
  }
}

/* ---- on a thread, and on goroutines ---- */

static uint64_t expected[CASES];

static uint64_t result(uint64_t i) {
  uint64_t rng = stress_seed(i);
  int depth = (int) stress_below(&rng, 60);
  return fold(&rng, depth);
}

static void *on_thread(void *arg) {
  for (uint64_t i = 0; i < CASES; i++) expected[i] = result(i);
  return arg;
}

static _Atomic uint64_t handled;
static mpg_waitgroup done;

/* From an empty stack each time, so that it grows again. */
static void some_results(void *arg) {
  uint64_t rng = (uint64_t) arg;
  for (int i = 0; i < 8; i++) {
    uint64_t k = stress_below(&rng, CASES);
    CHECK_EQ(result(k), expected[k]);
  }
  mpg_waitgroup_done(&done);
}

/* ---- signals ---- */

static PLAIN uint64_t in_handler(uint64_t n) {
  volatile char pad[300];
  pad[n] = 1;
  return n == 0 ? 0 : in_handler(n - 1) + (uint64_t) pad[n];
}

static void on_signal(int sig, siginfo_t *info, void *context) {
  (void) context;
  if (sig != SIGURG || info->si_code != SI_QUEUE || mpg_goid() == 0) return;
  if (in_handler(6) == 6) atomic_fetch_add(&handled, 1);
}

static void send(pid_t tid, bool as_mpg) {
  siginfo_t info = {.si_code = SI_QUEUE};
  info.si_pid = getpid();
  if (as_mpg)
    syscall(SYS_tgkill, getpid(), tid, SIGURG);
  else
    syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, SIGURG, &info);
}

/* Not to those that never run a goroutine; one that has ended meanwhile is no
 * error. */
static void send_to_all(DIR *tasks, pid_t own) {
  rewinddir(tasks);
  for (struct dirent *e; (e = readdir(tasks)) != NULL;) {
    pid_t tid = atoi(e->d_name);
    if (tid <= 0 || tid == own || tid == getpid()) continue;
    for (int i = 0; i < 20; i++) send(tid, i % 2);
  }
}

static void *sender(void *arg) {
  pid_t own = (pid_t) syscall(SYS_gettid);
  DIR *tasks = opendir("/proc/self/task");
  CHECK(tasks != NULL);
  while (atomic_load(&handled) < HANDLED) send_to_all(tasks, own);
  closedir(tasks);
  return arg;
}

static void start(void *arg) {
  (void) arg;
  uint64_t rng = stress.seed;
  stress_procs(&rng, 4);
  while (atomic_load(&handled) < HANDLED) {
    mpg_waitgroup_add(&done, GOROUTINES);
    for (int i = 0; i < GOROUTINES; i++) {
      struct mpg_go_options opt = {.size = sizeof opt,
                                   .flags = i % 4 == 0 ? MPG_GO_MOVABLE : 0,
                                   .stack_bytes = STACK_BYTES};
      void *seed = (void *) stress_random(&rng);
      CHECK_EQ(mpg_go_with(&opt, some_results, seed), 0);
    }
    mpg_waitgroup_wait(&done);
  }
}

static pthread_t thread_with(void *(*fn)(void *) ) {
  pthread_t thread;
  pthread_attr_t attr;
  CHECK_EQ(pthread_attr_init(&attr), 0);
  CHECK_EQ(pthread_attr_setstacksize(&attr, THREAD_BYTES), 0);
  CHECK_EQ(pthread_create(&thread, &attr, fn, NULL), 0);
  pthread_attr_destroy(&attr);
  return thread;
}

static void start_all(void *arg) {
  CHECK_EQ(pthread_join(thread_with(on_thread), NULL), 0);
  pthread_t from = thread_with(sender);
  start(arg);
  CHECK_EQ(pthread_join(from, NULL), 0);
}

int main(int argc, char **argv) {
  struct sigaction sa = {.sa_sigaction = on_signal,
                         .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
  CHECK_EQ(sigaction(SIGURG, &sa, NULL), 0);
  return stress_main(argc, argv, start_all);
}

/* stack_boundary_bench.c - what growable stacks cost.
 *
 * Calls are timed in short chunks of which a sample is the fastest: what other
 * processes do to a shared machine is not the question.
 *
 *   flat call          a call that stays on its segment
 *   hot boundary       the same call where the callee doesn't fit and the
 *                      next segment is cached; extra: less the flat call
 *   non_split          entering a function that calls foreign code, with
 *                      16 KiB left; extra: less the same function without
 *   fresh descent      recursion in a new goroutine, per frame; cold: memory
 *                      the process never touched
 */
#include "bench.h"

#define CALLS 20000
#define CHUNKS 60
#define ROUNDS 9
#define CROSSED_BYTES                                    \
  4096 /* frames of one segment are never that far apart \
        */

static volatile uint64_t sink;
static volatile int never;

/* ---- a hot boundary ---- */

static BENCH_NOINLINE uint64_t callee(uint64_t x) {
  volatile uint64_t frame[24];
  frame[x & 7] = x;
  return frame[x & 7] + 1;
}

static BENCH_NOINLINE uintptr_t callee_address(void) {
  volatile uint64_t frame[24];
  frame[0] = 0;
  return (uintptr_t) &frame[0];
}

/* Descends until callee's frame is, or is not, on another segment than ours,
 * and makes the calls from right there. */
static BENCH_NOINLINE double time_calls(int depth, bool crossing) {
  volatile uint64_t here = 0;
  uintptr_t there = callee_address(), me = (uintptr_t) &here;
  bool crosses = (me > there ? me - there : there - me) > CROSSED_BYTES;
  if (crosses != crossing && depth < 5000)
    return time_calls(depth + 1, crossing) + (double) here;
  if (crosses != crossing) return -1;
  uint64_t x = 0;
  int64_t best = INT64_MAX;
  for (int chunk = 0; chunk < CHUNKS; chunk++) {
    int64_t t = mpg_now();
    for (int i = 0; i < CALLS; i++) x = callee(x);
    t = mpg_now() - t;
    if (t < best) best = t;
  }
  sink = x;
  return (double) best / CALLS;
}

/* ---- functions that call foreign code ---- */

static BENCH_NOINLINE uint64_t plain(uint64_t x) {
  volatile uint64_t frame[4] = {x};
  return frame[0] + 1;
}

static BENCH_NOINLINE uint64_t calls_foreign(uint64_t x) {
  volatile uint64_t frame[4] = {x};
  if (never) qsort((void *) frame, 1, 1, bench_compare);
  return frame[0] + 1;
}

#define TIME_LOOP(fn)                              \
  static BENCH_NOINLINE double time_##fn(void) {   \
    uint64_t x = 0;                                \
    int64_t best = INT64_MAX;                      \
    for (int chunk = 0; chunk < CHUNKS; chunk++) { \
      int64_t t = mpg_now();                       \
      for (int i = 0; i < CALLS; i++) x = fn(x);   \
      t = mpg_now() - t;                           \
      if (t < best) best = t;                      \
    }                                              \
    sink = x;                                      \
    if (never) qsort(&x, 1, 1, bench_compare);     \
    return (double) best / CALLS;                  \
  }
TIME_LOOP(plain)
TIME_LOOP(calls_foreign)

/* ---- descent ---- */

static BENCH_NOINLINE uint64_t descend(uint64_t n, int64_t *end) {
  volatile uint64_t frame[2] = {n};
  if (n == 0) {
    *end = mpg_now();
    return 0;
  }
  return descend(n - 1, end) + frame[0];
}

struct descent {
  uint64_t depth;
  double ns;
  mpg_waitgroup done;
};

static void run_descent(void *arg) {
  struct descent *d = arg;
  int64_t end = 0, start = mpg_now();
  sink = descend(d->depth, &end);
  d->ns = (double) (end - start) / (double) d->depth;
  mpg_waitgroup_done(&d->done);
}

static double descent(uint64_t depth) {
  struct descent d = {.depth = depth};
  mpg_waitgroup_add(&d.done, 1);
  mpg_go(run_descent, &d);
  mpg_waitgroup_wait(&d.done);
  return d.ns;
}

static void bench_descent(const char *cold_name, const char *name,
                          uint64_t depth) {
  struct bench_series cold = {.name = cold_name, .unit = "ns"};
  struct bench_series warm = {.name = name, .unit = "ns"};
  bench_add(&cold, descent(depth));
  for (int i = 0; i < ROUNDS; i++) bench_add(&warm, descent(depth));
  bench_print(&cold);
  bench_print(&warm);
}

static void all(void *arg) {
  (void) arg;
  struct bench_series flat = {.name = "flat call", .unit = "ns"};
  struct bench_series hot = {.name = "call across a hot boundary",
                             .unit = "ns"};
  struct bench_series extra = {.name = "hot boundary, extra", .unit = "ns"};
  struct bench_series none = {.name = "call of a split function", .unit = "ns"};
  struct bench_series foreign = {.name = "call through non_split",
                                 .unit = "ns"};
  struct bench_series fextra = {.name = "non_split, extra", .unit = "ns"};
  for (int i = 0; i < ROUNDS; i++) {
    double a = time_calls(0, false), b = time_calls(0, true);
    bench_add(&flat, a);
    bench_add(&hot, b);
    bench_add(&extra, b - a);
    a = time_plain();
    b = time_calls_foreign();
    bench_add(&none, a);
    bench_add(&foreign, b);
    bench_add(&fextra, b - a);
  }
  struct bench_series *s[] = {&flat, &hot, &extra, &none, &foreign, &fextra};
  for (size_t i = 0; i < sizeof s / sizeof *s; i++) bench_print(s[i]);
  bench_descent("descent 1M deep, cold, per frame",
                "descent 1M deep, per frame", 1000000);
  bench_descent("descent 10k deep, first, per frame",
                "descent 10k deep, per frame", 10000);
}

int main(int argc, char **argv) {
  bench_init(argc, argv);
  int r = mpg_run(all, NULL);
  if (r) fprintf(stderr, "mpg_run: %s\n", strerror(-r));
  return r != 0;
}

/* descent_work.h - a deep recursion, for mpg and for its peer in C.
 *
 * The includer defines DESCENT_NOW(), in ns.
 */
#ifndef BENCH_DESCENT_WORK_H
#define BENCH_DESCENT_WORK_H

#include "work.h"

/* n frames down, *end is the time at the bottom; their numbers' sum. */
static WORK_NOINLINE uint64_t descend(uint64_t n, int64_t *end) {
  volatile uint64_t frame[2] = {n};
  if (n == 0) {
    *end = DESCENT_NOW();
    return 0;
  }
  return descend(n - 1, end) + frame[0];
}

/* Adds to *sum.  ns a frame, on the way down. */
static double descent_time(uint64_t depth, uint64_t *sum) {
  int64_t end = 0, start = DESCENT_NOW();
  *sum += descend(depth, &end);
  return (double) (end - start) / (double) depth;
}

/* once: one descent, in a new task where the contender has such. */
static void descent_run(double (*once)(uint64_t depth, uint64_t *sum)) {
  uint64_t depth = (uint64_t) work_arg("depth", 10000), sum = 0;
  long n = work_arg("n", 20);
  double all = 0;
  work_print("first_ns", once(depth, &sum));
  for (long i = 0; i < n; i++) all += once(depth, &sum);
  work_print("ns", all / (double) n);
  work_check(sum);
}

#endif /* BENCH_DESCENT_WORK_H */

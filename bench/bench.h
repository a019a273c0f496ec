/* bench.h - main of the mpg benches: run one work as the main goroutine.
 *
 * Arguments are those of work.h; procs=N sets the number of Ps.
 */
#ifndef MPG_BENCH_H
#define MPG_BENCH_H

#include <mpg.h>

#include "work.h"

/* Starts fn(arg); ends the program when that can't be. */
WORK_UNUSED static void bench_go(mpg_func fn, void *arg) {
  if (mpg_go(fn, arg) != 0) work_fail("mpg_go failed");
}

WORK_UNUSED static mpg_chan *bench_chan(size_t elem_bytes, size_t capacity) {
  mpg_chan *c = mpg_chan_new(elem_bytes, capacity);
  if (!c) work_fail("no channel");
  return c;
}

/* <prefix>_p50, _p99, _max and _curve of the collections' stops since the
 * metric's reset; nanoseconds are divided by unit. */
WORK_UNUSED static void bench_print_metric(const char *prefix,
                                           enum mpg_metric m, double unit) {
  struct mpg_histogram *h;
  if (mpg_stop_metric_read(m, MPG_STOP_GC, &h) != 0) work_fail("no metric");
  double n = (double) mpg_histogram_count(h);
  if (n == 0) return mpg_histogram_free(h);
  printf("%s_p50=%.6g\n", prefix,
         (double) mpg_histogram_quantile(h, 0.50) / unit);
  printf("%s_p99=%.6g\n", prefix,
         (double) mpg_histogram_quantile(h, 0.99) / unit);
  printf("%s_max=%.6g\n", prefix, (double) mpg_histogram_max(h) / unit);
  printf("%s_curve=", prefix);
  for (double share = 1; share * n >= 0.5; share *= 0.7)
    printf("%.6g:%.4g,", (double) mpg_histogram_quantile(h, 1 - share) / unit,
           share);
  putchar('\n');
  mpg_histogram_free(h);
}

static void bench_start(void *work) {
  ((const struct work *) work)->run();
  fflush(stdout);
}

static int bench_main(const struct work *works, int n, int argc, char **argv) {
  const struct work *work = work_find(works, n, argc, argv);
  if (!work) return 2;
  mpg_gomaxprocs((int) work_arg("procs", 1));
  int e = mpg_run(bench_start, (void *) work);
  if (e != 0) fprintf(stderr, "mpg_run: %s\n", strerror(-e));
  return e != 0;
}

#define BENCH_MAIN(works)                                                   \
  int main(int argc, char **argv) {                                         \
    return bench_main(works, (int) (sizeof(works) / sizeof *(works)), argc, \
                      argv);                                                \
  }

#endif /* MPG_BENCH_H */

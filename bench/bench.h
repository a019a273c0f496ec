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

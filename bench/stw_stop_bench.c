/* stw_stop_bench.c - stopping the world.
 *
 *   stop     n collections of an empty heap, us apart, beside loops of a kind
 *            (examples/loops.h): the library's own time to stop, and pause
 *   collect  the same beside an empty loop: how long mpg_gc takes
 *
 * Twins: peers/go/latency.go, peers/stw_stop.c (Boehm).
 */
#include "../examples/loops.h"
#include "bench.h"

static void collect_n(long n, struct work_samples *took) {
  int64_t apart = work_arg("us", 500) * 1000;
  mpg_gc(); /* what the start left behind */
  mpg_metric_reset(MPG_METRIC_TIME_TO_STOP);
  mpg_metric_reset(MPG_METRIC_PAUSE);
  for (long i = 0; i < n; i++) {
    int64_t start = work_now();
    mpg_gc();
    work_add(took, (double) (work_now() - start));
    mpg_sleep(apart);
  }
}

static void start_loops(const struct loop_kind *kind, long n) {
  for (long i = 0; i < n; i++) bench_go(kind->fn, NULL);
  while (atomic_load(&loops_started) < n) mpg_sleep(100000);
}

static void stop_work(void) {
  long n = work_arg("n", 1000), loops = work_arg("loops", 0);
  const struct loop_kind *kind = loops_find(work_word("kind", "empty"));
  struct work_samples took = {0};
  if (!kind) work_fail("no such kind");
  if (!loops_usable(kind)) work_skip("this CPU can't run that kind");
  start_loops(kind, loops);
  collect_n(n, &took);
  loops_close((int) loops);
  bench_print_metric("stop", MPG_METRIC_TIME_TO_STOP, 1e3);
  bench_print_metric("pause", MPG_METRIC_PAUSE, 1e3);
  work_check((uint64_t) n);
}

static void collect_work(void) {
  long n = work_arg("n", 200);
  struct work_samples took = {0};
  start_loops(loops_find("empty"), work_arg("loops", 1));
  collect_n(n, &took);
  work_print_samples("collect", &took, 1e3);
  work_check((uint64_t) n);
}

static void stop_from_pipe(void) {
  if (loops_open() != 0) work_fail("no pipe");
  stop_work();
}

static const struct work works[] = {
    {"stop", stop_from_pipe},
    {"collect", collect_work},
};

BENCH_MAIN(works)

/* work.h - a small Lisp as an application: its values are collected, its
 * coroutines are tasks (primitives.h says what the includer defines).
 *
 *   lisp    the programs of programs.h, rounds times, in an interpreter for
 *           each of threads threads: ms
 *   corout  those with coroutines
 */
#ifndef BENCH_LISP_WORK_H
#define BENCH_LISP_WORK_H

#include "read.h"

#include "primitives.h"
#include "programs.h"

#define LISP_RUN(programs) \
  lisp_run_all(programs, (int) (sizeof(programs) / sizeof *(programs)))

static uint64_t lisp_sum[64];

static uint64_t lisp_run_all(const char *const *programs, int n) {
  struct lisp *l = lisp_new();
  uint64_t sum = 0;
  lisp_run(l, lisp_library);
  for (long i = work_arg("rounds", 1); i > 0; i--)
    for (int k = 0; k < n; k++)
      sum = sum * 31 + (uint64_t) number_of(lisp_run(l, programs[k]));
  return sum;
}

static void lisp_part(int part) { lisp_sum[part] = LISP_RUN(lisp_programs); }
static void corout_part(int part) {
  lisp_sum[part] = LISP_RUN(lisp_coroutines);
}

static void lisp_time(void (*part)(int)) {
  int threads = (int) work_arg("threads", 1);
  uint64_t sum = 0;
  int64_t start = work_now();
  heap_together(part, threads);
  work_print("ms", (double) (work_now() - start) / 1e6);
  work_print("resident_mib", work_rss() / 1048576);
  for (int i = 0; i < threads; i++) sum += lisp_sum[i];
  work_check(sum);
}

static void lisp_work(void) { lisp_time(lisp_part); }
static void corout_work(void) { lisp_time(corout_part); }

#endif /* BENCH_LISP_WORK_H */

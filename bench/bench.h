/* bench.h - what the benches share: repeated samples, median and spread.
 *
 *   struct bench_series s = {"name", "ns"};
 *   for (...) bench_add(&s, value);
 *   bench_print(&s);
 *
 * Plain text, or with --json as first argument one JSON object a line.
 */
#ifndef MPG_BENCH_H
#define MPG_BENCH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mpg.h>

#define BENCH_UNUSED __attribute__((unused))
#define BENCH_NOINLINE __attribute__((noinline))
#define BENCH_SAMPLES_MAX 64

struct bench_series {
  const char *name, *unit;
  int n;
  double v[BENCH_SAMPLES_MAX];
};

static bool bench_json;

BENCH_UNUSED static void bench_init(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], "--json") == 0) bench_json = true;
}

BENCH_UNUSED static void bench_add(struct bench_series *s, double v) {
  if (s->n < BENCH_SAMPLES_MAX) s->v[s->n++] = v;
}

BENCH_UNUSED static int bench_compare(const void *a, const void *b) {
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

BENCH_UNUSED static double bench_median(struct bench_series *s) {
  if (s->n == 0) return 0;
  qsort(s->v, (size_t) s->n, sizeof *s->v, bench_compare);
  return s->v[s->n / 2];
}

BENCH_UNUSED static void bench_print(struct bench_series *s) {
  double median = bench_median(s);
  double lo = s->n ? s->v[0] : 0, hi = s->n ? s->v[s->n - 1] : 0;
  printf(bench_json ? "{\"name\":\"%s\",\"unit\":\"%s\",\"median\":%.3f,"
                      "\"min\":%.3f,\"max\":%.3f,\"samples\":%d}\n"
                    : "%-40s %6s %10.2f  (%.2f - %.2f, %d samples)\n",
         s->name, s->unit, median, lo, hi, s->n);
  fflush(stdout);
}

#endif /* MPG_BENCH_H */

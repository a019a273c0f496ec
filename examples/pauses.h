/* pauses.h - print mpg's duration metrics: quantiles, text histogram, JSON.
 *
 * A snapshot offers count, maximum and quantiles.  The histogram is drawn
 * from those alone: the k-th smallest of n samples is the quantile
 * (k + 1/2) / n, so the number of samples below an edge is found by bisection
 * over k.
 */
#ifndef EXAMPLES_PAUSES_H
#define EXAMPLES_PAUSES_H

#include <mpg.h>
#include <stdio.h>
#include <stdlib.h>

struct pauses {
  uint64_t count, p50, p90, p99, max; /* ns */
  struct mpg_histogram *histogram;
};

/* Snapshot of metric m over the collections' stops.  Returns: what
 * mpg_stop_metric_read returned. */
static inline int pauses_read(enum mpg_metric m, struct pauses *out) {
  int e = mpg_stop_metric_read(m, MPG_STOP_GC, &out->histogram);
  if (e != 0) return e;
  out->count = mpg_histogram_count(out->histogram);
  out->p50 = mpg_histogram_quantile(out->histogram, 0.50);
  out->p90 = mpg_histogram_quantile(out->histogram, 0.90);
  out->p99 = mpg_histogram_quantile(out->histogram, 0.99);
  out->max = mpg_histogram_max(out->histogram);
  return 0;
}

static inline void pauses_free(struct pauses *p) {
  mpg_histogram_free(p->histogram);
  p->histogram = NULL;
}

/* Samples below edge ns. */
static inline uint64_t pauses_below(const struct pauses *p, uint64_t edge) {
  uint64_t lo = 0, hi = p->count; /* sample lo-1 < edge <= sample hi */
  while (lo < hi) {
    uint64_t k = lo + (hi - lo) / 2;
    double q = ((double) k + 0.5) / (double) p->count;
    if (mpg_histogram_quantile(p->histogram, q) < edge)
      lo = k + 1;
    else
      hi = k;
  }
  return lo;
}

static inline void pauses_line(FILE *f, const char *name,
                               const struct pauses *p) {
  fprintf(f,
          "%-14s %7llu samples  p50 %9.1f  p90 %9.1f  p99 %9.1f  "
          "max %9.1f us\n",
          name, (unsigned long long) p->count, (double) p->p50 / 1e3,
          (double) p->p90 / 1e3, (double) p->p99 / 1e3, (double) p->max / 1e3);
}

struct pauses_row {
  uint64_t lo_ns, hi_ns, count; /* samples in [lo_ns, hi_ns) */
};
#define PAUSES_ROWS 56

/* One row for each factor of two in which there are samples.  Returns: their
 * number. */
static inline int pauses_rows(const struct pauses *p,
                              struct pauses_row rows[PAUSES_ROWS]) {
  uint64_t before = 0, lo = 0;
  int n = 0;
  for (uint64_t hi = 1024; before < p->count && n < PAUSES_ROWS; hi *= 2) {
    uint64_t below = hi > p->max ? p->count : pauses_below(p, hi);
    if (below > before) rows[n++] = (struct pauses_row){lo, hi, below - before};
    before = below;
    lo = hi;
  }
  return n;
}

static inline void pauses_histogram(FILE *f, const struct pauses *p) {
  static const char bar[] = "########################################";
  struct pauses_row rows[PAUSES_ROWS];
  int n = pauses_rows(p, rows);
  for (int i = 0; i < n; i++) {
    int width = (int) (rows[i].count * (sizeof(bar) - 1) / p->count);
    fprintf(f, "  %9.0f .. %9.0f us %7llu %.*s\n", (double) rows[i].lo_ns / 1e3,
            (double) rows[i].hi_ns / 1e3, (unsigned long long) rows[i].count,
            width > 0 ? width : 1, bar);
  }
}

/* "name":{...} with quantiles and rows. */
static inline void pauses_json(FILE *f, const char *name,
                               const struct pauses *p) {
  struct pauses_row rows[PAUSES_ROWS];
  int n = pauses_rows(p, rows);
  fprintf(f, "\"%s\":{\"count\":%llu,\"p50_ns\":%llu,\"p90_ns\":%llu,", name,
          (unsigned long long) p->count, (unsigned long long) p->p50,
          (unsigned long long) p->p90);
  fprintf(f, "\"p99_ns\":%llu,\"max_ns\":%llu,\"histogram\":[",
          (unsigned long long) p->p99, (unsigned long long) p->max);
  for (int i = 0; i < n; i++)
    fprintf(f, "%s{\"lo_ns\":%llu,\"hi_ns\":%llu,\"count\":%llu}", i ? "," : "",
            (unsigned long long) rows[i].lo_ns,
            (unsigned long long) rows[i].hi_ns,
            (unsigned long long) rows[i].count);
  fprintf(f, "]}");
}

#endif /* EXAMPLES_PAUSES_H */

/* histogram.h - log-linear histogram: 32 linear sub-buckets in each power of
 * two, so a value is off by less than 1/32.  Recording is one relaxed atomic
 * add: any thread, signal-safe. */
#ifndef MPGI_HISTOGRAM_H
#define MPGI_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#include <arch/arch.h>

#define MPGI_HISTOGRAM_SUB_LOG2 5
#define MPGI_HISTOGRAM_BUCKETS ((64 - MPGI_HISTOGRAM_SUB_LOG2 + 1) << 5)

struct mpg_histogram {
  _Atomic uint64_t max, sum;
  _Atomic uint64_t bucket[MPGI_HISTOGRAM_BUCKETS];
};
MPGI_HIDDEN void mpgi_histogram_record(struct mpg_histogram *h, uint64_t v);
MPGI_HIDDEN void mpgi_histogram_reset(struct mpg_histogram *h);
MPGI_HIDDEN void mpgi_histogram_copy(struct mpg_histogram *to,
                                     const struct mpg_histogram *from);

#endif /* MPGI_HISTOGRAM_H */

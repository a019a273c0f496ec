/* preemptions.h - how often goroutines were preempted so far. */
#ifndef MPG_TESTS_PREEMPTIONS_H
#define MPG_TESTS_PREEMPTIONS_H

#include "check.h"

static uint64_t preemptions(void) {
  struct mpg_histogram *h;
  CHECK_EQ(mpg_metric_read(MPG_METRIC_PREEMPT_LATENCY, &h), 0);
  uint64_t n = mpg_histogram_count(h);
  mpg_histogram_free(h);
  return n;
}

#endif /* MPG_TESTS_PREEMPTIONS_H */

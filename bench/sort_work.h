/* sort_work.h - a quicksort of random numbers, for mpg and for its roof. */
#ifndef BENCH_SORT_WORK_H
#define BENCH_SORT_WORK_H

#include "work.h"

WORK_UNUSED static void sort_fill(uint32_t *v, long n) {
  uint64_t seed = 1;
  for (long i = 0; i < n; i++) v[i] = work_random(&seed);
}

/* Of numbers in their order. */
WORK_UNUSED static void sort_sum(uint64_t *sum, uint32_t number) {
  *sum = *sum * 31 + number;
}

/* Hoare's partition around the middle number: where the upper part starts. */
static uint32_t *sort_split(uint32_t *lo, uint32_t *hi) {
  uint32_t pivot = lo[(hi - lo - 1) / 2], *i = lo - 1, *j = hi;
  for (;;) {
    do i++;
    while (*i < pivot);
    do j--;
    while (*j > pivot);
    if (i >= j) return j + 1;
    uint32_t t = *i;
    *i = *j;
    *j = t;
  }
}

static void sort_alone(uint32_t *lo, uint32_t *hi) {
  while (hi - lo > 1) {
    uint32_t *middle = sort_split(lo, hi);
    sort_alone(middle, hi);
    hi = middle;
  }
}

#endif /* BENCH_SORT_WORK_H */

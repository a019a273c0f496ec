/* gcbench_work.h - GCBench, the old measure of collectors, on any allocator
 * (the words of gc_work.h).
 *
 * Trees of growing depth are built top down (a node, then its children, which
 * are stored into it) and bottom up, as many as make the same number of nodes
 * for each depth, and dropped, beside a tree and an array of numbers that live
 * all the time.
 *
 * Source: Ellis, Kovac, Boehm: GCBench; the depths and counts are theirs.
 */
#ifndef BENCH_GCBENCH_WORK_H
#define BENCH_GCBENCH_WORK_H

#include "gc_work.h"

#define GCBENCH_ARRAY 500000
#define GCBENCH_MIN_DEPTH 4

struct bush {
  struct bush *left, *right;
  int i, j;
};

static long bush_nodes(long depth) { return (1L << (depth + 1)) - 1; }

static void bush_populate(struct bush *b, long depth) {
  if (depth <= 0) return;
  b->left = heap_new(sizeof *b);
  b->right = heap_new(sizeof *b);
  bush_populate(b->left, depth - 1);
  bush_populate(b->right, depth - 1);
}

static struct bush *bush_top_down(long depth) {
  struct bush *b = heap_new(sizeof *b);
  bush_populate(b, depth);
  return b;
}

static struct bush *bush_bottom_up(long depth) {
  struct bush *left = depth > 0 ? bush_bottom_up(depth - 1) : NULL;
  struct bush *right = depth > 0 ? bush_bottom_up(depth - 1) : NULL;
  struct bush *b = heap_new(sizeof *b);
  b->left = left;
  b->right = right;
  return b;
}

/* Counts the nodes and drops them. */
static uint64_t bush_end(struct bush *b) {
  uint64_t n = b->left ? 1 + bush_end(b->left) + bush_end(b->right) : 1;
  HEAP_DROP(b);
  return n;
}

static void gcbench_part(int part) {
  long depth = work_arg("depth", 16), stretch = depth + 2;
  uint64_t sum = bush_end(bush_bottom_up(stretch));
  struct bush *lives = bush_top_down(depth);
  double *array = HEAP_NEW_LEAF(GCBENCH_ARRAY * sizeof *array);
  if (!array) work_fail("out of memory");
  for (long i = 1; i <= GCBENCH_ARRAY; i++) array[i - 1] = 1.0 / (double) i;
  for (long d = GCBENCH_MIN_DEPTH; d <= depth; d += 2) {
    long times = 2 * bush_nodes(stretch) / bush_nodes(d);
    for (long i = 0; i < times; i++) sum += bush_end(bush_top_down(d));
    for (long i = 0; i < times; i++) sum += bush_end(bush_bottom_up(d));
  }
  sum += bush_end(lives);
  if (array[999] != 1.0 / 1000) work_fail("the array has changed");
  HEAP_DROP(array);
  part_sum[part] = sum;
}

static void gcbench_work(void) {
  int threads = (int) work_arg("threads", 1);
  int64_t start = work_now();
  heap_together(gcbench_part, threads);
  work_print("ms", (double) (work_now() - start) / 1e6);
  work_check(sum_of_parts(threads));
}

#endif /* BENCH_GCBENCH_WORK_H */

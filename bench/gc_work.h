/* gc_work.h - allocation works on any allocator: mpg, Boehm, malloc.
 *
 * The includer defines, before including it:
 *   HEAP_NEW(bytes)       zeroed object that may hold pointers
 *   HEAP_NEW_LEAF(bytes)  object without pointers
 *   HEAP_TYPE(bytes)      of objects whose second word is a pointer
 *   HEAP_NEW_TYPED(type, bytes)
 *   HEAP_DROP(p)          free, where that is the program's duty; else nothing
 *   HEAP_FREE(p)          free at once, wherever the program may
 *   HEAP_COLLECT()        full collection; nothing for malloc
 *   HEAP_TRIM()           give free memory back to the system
 *   heap_together(fn, n)  run fn(0) .. fn(n-1) at the same time, wait for all
 *
 *   trees    binary trees of depth, built and dropped rounds times: ns a node
 *   alloc    n objects of bytes, the last 1024 of each thread kept: ns each
 *   free     n objects of bytes, freed by batches in random order: ns each
 *   padding  an object of bytes: resident bytes, and bytes to its neighbour
 *   hash     inserts, deletes and look-ups in a table of n nodes: ns each
 *   mixed    sizes 16 to 2048, churned, then other sizes: resident / live
 */
#ifndef BENCH_GC_WORK_H
#define BENCH_GC_WORK_H

#include <stdbool.h>

#include "work.h"

static uint64_t part_sum[64];

static uint64_t sum_of_parts(int n) {
  uint64_t sum = 0;
  for (int i = 0; i < n; i++) sum += part_sum[i];
  return sum;
}

/* fn(0) .. fn(threads - 1), each of which does n things: ns for one. */
static void parts_work(void (*fn)(int part), long n) {
  int threads = (int) work_arg("threads", 1);
  int64_t start = work_now();
  heap_together(fn, threads);
  int64_t ns = work_now() - start;
  work_print("ns", (double) ns / (double) (n * threads));
  work_check(sum_of_parts(threads));
}

static void *heap_new(size_t bytes) {
  void *p = HEAP_NEW(bytes);
  if (!p) work_fail("out of memory");
  return p;
}

/* ---- trees ---- */

struct tree {
  struct tree *left, *right;
};

static struct tree *tree_new(long depth) {
  struct tree *t = heap_new(sizeof *t);
  if (depth > 0) {
    t->left = tree_new(depth - 1);
    t->right = tree_new(depth - 1);
  }
  return t;
}

/* Counts the nodes and drops them. */
static uint64_t tree_end(struct tree *t) {
  uint64_t n = t->left ? 1 + tree_end(t->left) + tree_end(t->right) : 1;
  HEAP_DROP(t);
  return n;
}

static void trees_part(int part) {
  long depth = work_arg("depth", 18), rounds = work_arg("rounds", 8);
  for (long i = 0; i < rounds; i++) part_sum[part] += tree_end(tree_new(depth));
}

static void trees_work(void) {
  int threads = (int) work_arg("threads", 1);
  int64_t start = work_now();
  heap_together(trees_part, threads);
  int64_t ns = work_now() - start;
  uint64_t nodes = sum_of_parts(threads);
  work_print("ns", (double) ns / (double) nodes);
  work_check(nodes);
}

/* ---- objects of one size ---- */

#define ALLOC_KEPT 1024
static long alloc_n, alloc_bytes;
static bool alloc_leaf, alloc_typed;

static void alloc_part(int part) {
  void **kept = heap_new(ALLOC_KEPT * sizeof *kept);
  const void *type = HEAP_TYPE((size_t) alloc_bytes);
  for (long i = 0; i < alloc_n; i++) {
    void **slot = &kept[i % ALLOC_KEPT];
    if (*slot) HEAP_DROP(*slot);
    uint64_t *p = alloc_leaf    ? HEAP_NEW_LEAF((size_t) alloc_bytes)
                  : alloc_typed ? HEAP_NEW_TYPED(type, (size_t) alloc_bytes)
                                : heap_new((size_t) alloc_bytes);
    *slot = p;
    *p = (uint64_t) i;
  }
  uint64_t sum = 0;
  for (long i = 0; i < ALLOC_KEPT; i++) {
    if (kept[i]) sum += *(uint64_t *) kept[i];
    HEAP_DROP(kept[i]);
  }
  HEAP_DROP(kept);
  part_sum[part] = sum;
}

static void alloc_work(void) {
  alloc_bytes = work_arg("bytes", 32);
  alloc_leaf = work_arg("leaf", 0) != 0;
  alloc_typed = work_arg("typed", 0) != 0;
  alloc_n = work_arg("n", 5000000);
  parts_work(alloc_part, alloc_n);
}

/* ---- objects that are freed ---- */

static long free_n, free_bytes, free_batch;

static void free_order_set(uint32_t *order) {
  uint64_t seed = 1;
  for (long i = 0; i < free_batch; i++) {
    uint64_t j = work_random(&seed) % (uint64_t) (i + 1);
    order[i] = order[j];
    order[j] = (uint32_t) i;
  }
}

static void free_part(int part) {
  uint64_t **v = heap_new((size_t) free_batch * sizeof *v), sum = 0;
  uint32_t *order = heap_new((size_t) free_batch * sizeof *order);
  free_order_set(order);
  for (long i = 0; i < free_n; i += free_batch) {
    for (long j = 0; j < free_batch; j++) {
      v[j] = heap_new((size_t) free_bytes);
      *v[j] = (uint64_t) (i + j);
    }
    for (long j = 0; j < free_batch; j++) {
      sum += *v[order[j]];
      HEAP_FREE(v[order[j]]);
    }
  }
  HEAP_FREE(order);
  HEAP_FREE(v);
  part_sum[part] = sum;
}

/* n is a multiple of batch. */
static void free_work(void) {
  free_bytes = work_arg("bytes", 32);
  free_batch = work_arg("batch", 1);
  free_n = work_arg("n", 5000000);
  parts_work(free_part, free_n);
}

/* ---- padding ---- */

/* The shortest way from one of n objects to the one allocated next. */
static double shortest_way(void **v, long n) {
  uintptr_t best = UINTPTR_MAX;
  for (long i = 1; i < n; i++) {
    uintptr_t a = (uintptr_t) v[i - 1], b = (uintptr_t) v[i];
    uintptr_t way = a < b ? b - a : a - b;
    if (way < best) best = way;
  }
  return (double) best;
}

static void padding_part(int part) {
  long bytes = work_arg("bytes", 16), n = work_arg("total", 67108864) / bytes;
  void **kept = heap_new((size_t) n * sizeof *kept);
  memset(kept, 1, (size_t) n * sizeof *kept); /* resident before the count */
  memset(kept, 0, (size_t) n * sizeof *kept);
  double before = work_rss();
  for (long i = 0; i < n; i++) {
    kept[i] = heap_new((size_t) bytes);
    memset(kept[i], 1, (size_t) bytes);
  }
  work_print("bytes", (work_rss() - before) / (double) n);
  work_print("cell", shortest_way(kept, n));
  part_sum[part] = (uint64_t) n;
}

static void padding_work(void) {
  heap_together(padding_part, 1);
  work_check(part_sum[0]);
}

/* ---- a hash table that changes ---- */

struct entry {
  struct entry *next;
  uint64_t key, value;
};

static long hash_n, hash_ops;

/* A third each: insert or overwrite, delete, look up. */
static uint64_t hash_operation(struct entry **table, uint32_t what,
                               uint64_t key) {
  struct entry **at = &table[key % (uint64_t) hash_n];
  while (*at && (*at)->key != key) at = &(*at)->next;
  struct entry *found = *at;
  if (what == 0) return found ? found->value : 0;
  if (found) {
    *at = found->next;
    HEAP_DROP(found);
  }
  if (what == 1) return 1;
  struct entry *e = heap_new(sizeof *e);
  *e = (struct entry){table[key % (uint64_t) hash_n], key, key * 3};
  table[key % (uint64_t) hash_n] = e;
  return 2;
}

static void hash_part(int part) {
  uint64_t seed = (uint64_t) part + 1, sum = 0;
  struct entry **table = heap_new((size_t) hash_n * sizeof *table);
  for (long i = 0; i < hash_n; i++)
    hash_operation(table, 2, work_random(&seed) % (uint64_t) (2 * hash_n));
  for (long i = 0; i < hash_ops; i++) {
    uint32_t what = work_random(&seed) % 3;
    sum += hash_operation(table, what,
                          work_random(&seed) % (uint64_t) (2 * hash_n));
  }
  part_sum[part] = sum;
}

static void hash_work(void) {
  hash_n = work_arg("n", 1000000);
  hash_ops = work_arg("ops", 4000000);
  parts_work(hash_part, hash_n + hash_ops);
}

/* ---- mixed sizes: what stays resident ---- */

static long mixed_live;
static void **mixed_slots;
static uint32_t *mixed_sizes;
static long mixed_n;

/* Sizes of a phase: mostly small ones, lo to 2048. */
static uint32_t mixed_size(uint64_t *seed, uint32_t lo) {
  uint32_t r = work_random(seed);
  return lo + r % (1u << (4 + (r >> 16) % 8));
}

static void mixed_replace(long i, uint32_t bytes) {
  if (mixed_slots[i]) HEAP_DROP(mixed_slots[i]);
  mixed_slots[i] = HEAP_NEW_LEAF(bytes);
  memset(mixed_slots[i], 1, bytes);
  mixed_live += (long) bytes - (long) mixed_sizes[i];
  mixed_sizes[i] = bytes;
}

static void mixed_churn(uint64_t *seed, long n, uint32_t lo) {
  for (long i = 0; i < n; i++) {
    long at = work_random(seed) % mixed_n;
    mixed_replace(at, mixed_size(seed, lo));
  }
}

/* growth: mpg only, percent between collections; others have their own. */
static void mixed_part(int part) {
#ifdef HEAP_GROWTH
  HEAP_GROWTH((int) work_arg("growth", 100));
#endif
  long mib = work_arg("mib", 128), churn = work_arg("churn", 5);
  uint64_t seed = 1;
  mixed_n = mib * 1048576 / 300;
  double before = work_rss();
  mixed_slots = heap_new((size_t) mixed_n * sizeof *mixed_slots);
  mixed_sizes = calloc((size_t) mixed_n, sizeof *mixed_sizes);
  if (!mixed_sizes) work_fail("out of memory");
  for (long i = 0; i < mixed_n; i++) mixed_replace(i, mixed_size(&seed, 16));
  int64_t start = work_now();
  mixed_churn(&seed, churn * mixed_n, 16);
  work_print("churn_ns",
             (double) (work_now() - start) / (double) (churn * mixed_n));
  work_print("churned", (work_rss() - before) / (double) mixed_live);
  mixed_churn(&seed, churn * mixed_n, 160);
  work_print("shifted", (work_rss() - before) / (double) mixed_live);
  part_sum[part] = (uint64_t) mixed_live;
  for (long i = 0; i < mixed_n; i++) {
    HEAP_DROP(mixed_slots[i]);
    mixed_slots[i] = NULL;
  }
  HEAP_DROP(mixed_slots);
  mixed_slots = NULL;
  free(mixed_sizes);
  HEAP_COLLECT();
  HEAP_TRIM();
  usleep(300000); /* memory given back in the background */
  work_print("left_mib", (work_rss() - before) / 1048576);
}

static void mixed_work(void) {
  heap_together(mixed_part, 1);
  work_check(part_sum[0]);
}

#endif /* BENCH_GC_WORK_H */

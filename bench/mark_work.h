/* mark_work.h - works for collectors: marking, and pauses beside a live heap.
 *
 * The includer defines HEAP_NEW, HEAP_DROP and HEAP_COLLECT as for gc_work.h,
 * and
 *   HEAP_AUTOMATIC(on)   forbid (0) or allow (1) automatic collections
 *   HEAP_SLEEP(ns)       sleep
 *   heap_pauses_begin()  forget the pauses so far
 *   heap_pauses_print()  pause_p50 and so on, in ms
 *
 *   graph  n objects of 32 bytes, random=1: in random order in memory: million
 *          objects marked a second
 *   live   mib of live records, of which percent are replaced, so that every
 *          collector must collect: pauses, thousand replacements a second,
 *          resident MiB at the most, CPU time.  With rate no faster than so
 *          many MiB a second
 */
#ifndef BENCH_MARK_WORK_H
#define BENCH_MARK_WORK_H

#include <sys/resource.h>

#include "work.h"

static void *heap_new(size_t bytes) {
  void *p = HEAP_NEW(bytes);
  if (!p) work_fail("out of memory");
  return p;
}

/* ---- a graph ---- */

struct vertex {
  struct vertex *left, *right;
  uint64_t number, unused;
};

#define GRAPH_COLLECTIONS 3
static struct vertex *graph_root;

static void shuffle(struct vertex **v, long n) {
  uint64_t seed = 1;
  for (long i = n - 1; i > 0; i--) {
    long j = (long) (work_random(&seed) % (uint64_t) (i + 1));
    struct vertex *t = v[i];
    v[i] = v[j];
    v[j] = t;
  }
}

/* A binary tree of n vertices; collections are off while it is built, because
 * the list of vertices is in memory that isn't scanned. */
static void graph_new(long n, int random) {
  struct vertex **all = malloc((size_t) n * sizeof *all);
  if (!all) work_fail("out of memory");
  HEAP_AUTOMATIC(0);
  for (long i = 0; i < n; i++) all[i] = heap_new(sizeof **all);
  if (random) shuffle(all, n);
  for (long i = 0; i < n; i++) {
    all[i]->number = (uint64_t) i;
    all[i]->left = 2 * i + 1 < n ? all[2 * i + 1] : NULL;
    all[i]->right = 2 * i + 2 < n ? all[2 * i + 2] : NULL;
  }
  graph_root = all[0];
  free(all);
  HEAP_AUTOMATIC(1);
}

/* Down the right edge. */
static uint64_t graph_sum(void) {
  uint64_t sum = 0;
  for (struct vertex *v = graph_root; v; v = v->right) sum += v->number;
  return sum;
}

static void graph_work(void) {
  long n = work_arg("n", 4000000);
  graph_new(n, work_arg("random", 1) != 0);
  HEAP_COLLECT();
  int64_t start = work_now();
  for (int i = 0; i < GRAPH_COLLECTIONS; i++) HEAP_COLLECT();
  double us = (double) (work_now() - start) / 1e3;
  work_print("mobj_s", (double) n * GRAPH_COLLECTIONS / us);
  work_check(graph_sum());
}

/* ---- a live heap that changes ---- */

struct record {
  struct record *first, *second;
  uint64_t number;
  char payload[40];
};

static struct record **records;

/* Three objects of 64 bytes. */
static struct record *record_new(uint64_t number) {
  struct record *r = heap_new(sizeof *r);
  r->number = number;
  r->first = heap_new(sizeof *r);
  r->second = heap_new(sizeof *r);
  r->first->number = r->second->number = number;
  return r;
}

static uint64_t record_end(struct record *r) {
  uint64_t n = r->number + r->first->number - r->second->number;
  HEAP_DROP(r->first);
  HEAP_DROP(r->second);
  HEAP_DROP(r);
  return n;
}

static double peak_rss_mib(void) {
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  return (double) use.ru_maxrss / 1024;
}

static double used_ms(void) {
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  return (double) (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e3 +
         (double) (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e3;
}

#define PACE_RECORDS 256 /* between two looks at the clock */

/* At rate MiB a second, so many records are done: sleep while that is early. */
static void keep_pace(int64_t start, long replaced, long rate) {
  if (rate == 0 || replaced % PACE_RECORDS != 0) return;
  double bytes = (double) replaced * 3 * sizeof(struct record);
  int64_t due = start + (int64_t) (bytes / (double) rate / 1048576 * 1e9);
  int64_t early = due - work_now();
  if (early > 0) HEAP_SLEEP(early);
}

static void live_work(void) {
  long n = work_arg("mib", 64) * 1048576 / (3 * (long) sizeof(struct record));
  long replaced = n * work_arg("percent", 200) / 100;
  long rate = work_arg("rate", 0);
  uint64_t seed = 1, wrong = 0;
  records = heap_new((size_t) n * sizeof *records);
  for (long i = 0; i < n; i++) records[i] = record_new((uint64_t) i);
  heap_pauses_begin();
  double used = used_ms();
  int64_t start = work_now();
  for (long i = 0; i < replaced; i++) {
    keep_pace(start, i, rate);
    uint64_t at = work_random(&seed) % (uint64_t) n;
    wrong += record_end(records[at]) != at;
    records[at] = record_new(at);
  }
  int64_t ns = work_now() - start;
  work_print("kops_s", (double) replaced * 1e6 / (double) ns);
  work_print("cpu_percent", (used_ms() - used) * 1e8 / (double) ns);
  heap_pauses_print();
  work_print("peak_mib", peak_rss_mib());
  work_check(wrong);
}

#endif /* BENCH_MARK_WORK_H */

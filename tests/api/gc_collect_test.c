/* gc_collect_test.c - what is garbage goes, when collections happen, and the
 * statistics that say so. */
#include <errno.h>

#include "../support/hide.h"

#define N 2000

static struct mpg_gc_stats stats(void) {
  struct mpg_gc_stats s = {.size = sizeof(s)};
  CHECK_EQ(mpg_gc_stats_read(&s), 0);
  return s;
}

static void **table; /* global: a root */

static __attribute__((noinline)) void make_reachable(hidden *h) {
  table = mpg_alloc(N * sizeof(*table));
  for (uintptr_t i = 0; i < N; i++) {
    table[i] = hide_object(i);
    h[i] = hide(table[i]);
  }
}

static int count_alive(const hidden *h) {
  int alive = 0;
  for (uintptr_t i = 0; i < N; i++) alive += hide_alive(h[i], i);
  return alive;
}

/* The control of every test that says "this is kept". */
static void unreachable_objects_are_freed(void *arg) {
  (void) arg;
  hidden *h = malloc(N * sizeof(*h));
  struct mpg_gc_stats before = stats();
  make_reachable(h); /* a collection may come at any time (gcstress) */
  CHECK_EQ(count_alive(h), N);
  memset(table, 0, N * sizeof(*table)); /* a stale word may keep it */
  table = NULL;
  hide_collect();
  CHECK_LE(count_alive(h), N / 50);
  CHECK_GE(stats().freed_objects, before.freed_objects + N * 49 / 50);
  free(h);
}

static void reachable_objects_are_kept(void *arg) {
  (void) arg;
  hidden *h = malloc(N * sizeof(*h));
  make_reachable(h);
  hide_collect();
  CHECK_EQ(count_alive(h), N);
  for (int i = 0; i < N; i += 2) table[i] = NULL;
  hide_collect();
  for (uintptr_t i = 1; i < N; i += 2) CHECK(hide_alive(h[i], i));
  CHECK_LE(count_alive(h), N / 2 + N / 50);
  table = NULL;
  hide_collect();
  CHECK_LE(count_alive(h), N / 50);
  free(h);
}

/* ---- what counts as a reference from the heap ---- */

static __attribute__((noinline)) void make_inside(hidden *h, size_t offset) {
  table = mpg_alloc(N * sizeof(*table));
  for (uintptr_t i = 0; i < N; i++) {
    char *p = hide_object(i);
    h[i] = hide(p);
    table[i] = p + offset;
  }
}

static void interior_pointers_keep(void *arg) {
  (void) arg;
  hidden *h = malloc(N * sizeof(*h));
  for (size_t offset = 0; offset <= HIDE_WORDS * sizeof(uintptr_t);
       offset += 7) { /* 42 is inside; 48, below, one past the end */
    make_inside(h, offset);
    hide_collect();
    CHECK_EQ(count_alive(h), N);
  }
  make_inside(h, HIDE_WORDS * sizeof(uintptr_t));
  hide_collect();
  CHECK_EQ(count_alive(h), N);
  table = NULL;
  free(h);
}

static __attribute__((noinline)) void make_in_noscan(hidden *h) {
  table = mpg_alloc_noscan(N * sizeof(*table));
  for (uintptr_t i = 0; i < N; i++) {
    table[i] = hide_object(i);
    h[i] = hide(table[i]);
  }
}

static void noscan_memory_keeps_nothing(void *arg) {
  (void) arg;
  hidden *h = malloc(N * sizeof(*h));
  make_in_noscan(h);
  table = mpg_realloc(table, 3 * N * sizeof(*table)); /* the kind stays */
  CHECK(table != NULL);
  hide_collect();
  CHECK_LE(count_alive(h), N / 50);
  table = NULL;
  free(h);
}

static __attribute__((noinline)) void make_in_typed(hidden *h, size_t word) {
  size_t offset = 0;
  const mpg_type *t = mpg_type_new(2 * sizeof(void *), &offset, 1);
  table = mpg_alloc_typed(t, N);
  for (uintptr_t i = 0; i < N; i++) {
    table[2 * i + word] = hide_object(i);
    h[i] = hide(table[2 * i + word]);
  }
}

static void typed_memory_keeps_by_named_words_only(void *arg) {
  (void) arg;
  hidden *h = malloc(N * sizeof(*h));
  make_in_typed(h, 0);
  hide_collect();
  CHECK_EQ(count_alive(h), N);
  make_in_typed(h, 1);
  hide_collect();
  CHECK_LE(count_alive(h), N / 50);
  table = NULL;
  free(h);
}

static void cycles_are_freed(void *arg) {
  (void) arg;
  uint64_t before = stats().heap_objects;
  for (int i = 0; i < 10000; i++) {
    void **a = mpg_alloc(64), **b = mpg_alloc(64);
    *a = b;
    *b = a;
  }
  hide_collect();
  CHECK_LE(stats().heap_objects, before + 4000);
}

static void a_long_list_is_marked(void *arg) {
  (void) arg;
  int length = check_collects() ? 10000 : 1000000; /* marked each time */
  void **head = NULL;
  for (int i = 0; i < length; i++) {
    void **p = mpg_alloc(16);
    CHECK(p != NULL);
    p[0] = head;
    p[1] = (void *) (uintptr_t) i;
    head = p;
  }
  mpg_gc();
  for (int i = length - 1; i >= 0; i--, head = head[0])
    CHECK_EQ((uintptr_t) head[1], i);
  CHECK(head == NULL);
}

static void a_large_object_is_scanned(void *arg) {
  (void) arg;
  enum { WORDS = 4 << 20 };
  void **big = mpg_alloc(WORDS * sizeof(*big));
  CHECK(big != NULL);
  for (int i = 0; i < WORDS; i += 511) {
    uintptr_t *p = mpg_alloc(16);
    p[0] = (uintptr_t) i;
    big[i] = p;
  }
  hide_collect();
  for (int i = 0; i < WORDS; i += 511) CHECK_EQ(*(uintptr_t *) big[i], i);
  mpg_keep_alive(big);
}

/* ---- when ---- */

static void gc_is_finished_when_it_returns(void *arg) {
  (void) arg;
  for (int i = 0; i < 10; i++) {
    uint64_t before = stats().cycles;
    mpg_gc();
    CHECK_GE(stats().cycles, before + 1);
  }
}

static void churn(size_t mib) {
  for (size_t i = 0; i < mib << 10; i++) {
    char *p = mpg_alloc(1024);
    CHECK(p != NULL);
    p[0] = 1;
  }
}

static void percent_off_means_no_collection(void *arg) {
  (void) arg;
  if (check_collects()) return;
  CHECK_EQ(mpg_gc_percent(100), 100);
  CHECK_EQ(mpg_gc_percent(-1), 100);
  uint64_t before = stats().cycles;
  churn(200);
  CHECK_EQ(stats().cycles, before);
  mpg_gc(); /* still works when asked for */
  CHECK_EQ(stats().cycles, before + 1);
  CHECK_LE(mpg_gc_percent(50), -1);
  CHECK_EQ(mpg_gc_percent(400), 50);
  CHECK_EQ(mpg_gc_percent(100), 400);
}

static void garbage_brings_collections(void *arg) {
  (void) arg;
  uint64_t before = stats().cycles;
  churn(600);
  struct mpg_gc_stats s = stats();
  CHECK_GE(s.cycles, before + 3);
  CHECK_LE(s.heap_mapped, (uint64_t) 400 << 20);
}

/* What was allocated between the last collection and the one that is due. */
static uint64_t growth(void) {
  mpg_gc();
  struct mpg_gc_stats s = stats();
  return s.heap_goal - s.heap_live;
}

static void a_small_heap_grows_by_more(void *arg) {
  (void) arg;
  const uint64_t mib = 1 << 20;
  mpg_gc_percent(100);
  table = mpg_alloc(2560 * sizeof(*table));
  for (int i = 0; i < 2560; i++) table[i] = mpg_alloc(4096);
  CHECK_GE(growth(), 31 * mib); /* beside 10 MiB */
#if !defined(MPG_SANITIZED)     /* whose own data are roots */
  CHECK_LE(growth(), 33 * mib);
#endif
  mpg_gc_percent(25);
  CHECK_GE(growth(), 7 * mib);
#if !defined(MPG_SANITIZED)
  CHECK_LE(growth(), 9 * mib);
#endif
  mpg_gc_percent(100);
  table = NULL;
}

static void memory_limit_reports_and_collects(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_memory_limit(-1), INT64_MAX);
  CHECK_EQ(mpg_memory_limit((int64_t) 256 << 20), INT64_MAX);
  CHECK_EQ(mpg_memory_limit(-1), (int64_t) 256 << 20);
  int percent = mpg_gc_percent(-1);
  uint64_t before = stats().cycles;
  churn(1024);
  CHECK_GT(stats().cycles, before); /* with collection off, too */
  mpg_gc_percent(percent);
  CHECK_EQ(mpg_memory_limit(INT64_MAX), (int64_t) 256 << 20);
  CHECK_EQ(mpg_memory_limit(-1), INT64_MAX);
}

/* ---- statistics ---- */

static void stats_want_their_size(void *arg) {
  (void) arg;
  struct mpg_gc_stats s = {0};
  CHECK_EQ(mpg_gc_stats_read(&s), -EINVAL);
  CHECK_EQ(mpg_gc_stats_read(NULL), -EINVAL);
}

static void stats_add_up(void *arg) {
  (void) arg;
  if (check_collects()) return;
  mpg_gc();
  struct mpg_gc_stats a = stats();
  mpg_gc_percent(-1);
  for (int i = 0; i < 10000; i++) table = mpg_alloc(96);
  struct mpg_gc_stats b = stats();
  CHECK_GE(b.total_alloc_objects, a.total_alloc_objects + 10000);
  CHECK_LE(b.total_alloc_objects, a.total_alloc_objects + 10100);
  CHECK_GE(b.total_alloc_bytes, a.total_alloc_bytes + 10000 * 96);
  CHECK_GE(b.heap_objects, a.heap_objects + 10000);
  CHECK_EQ(b.heap_objects, b.total_alloc_objects - b.freed_objects);
  CHECK_GE(b.heap_live, a.heap_live + 10000 * 96);
  CHECK_GE(b.heap_mapped, b.heap_live);
  CHECK_GT(b.stack_bytes, 0);
  CHECK_GT(b.offheap_bytes, 0);
  mpg_gc_percent(100);
  mpg_gc();
  struct mpg_gc_stats c = stats();
  CHECK_EQ(c.cycles, b.cycles + 1);
  CHECK_GT(c.pause_total_ns, b.pause_total_ns);
  CHECK_GT(c.mark_cpu_ns, b.mark_cpu_ns);
  CHECK_LE(c.heap_live, b.heap_live - 9000 * 96);
  CHECK_GE(c.heap_goal, c.heap_live);
  CHECK_GE(c.freed_objects, b.freed_objects);
}

/* ---- roots ---- */

static void roots_are_checked(void *arg) {
  (void) arg;
  static char range[64];
  CHECK_EQ(mpg_root_add(NULL, 8), -EINVAL);
  CHECK_EQ(mpg_root_add(range, 0), -EINVAL);
  CHECK_EQ(mpg_root_add(range, SIZE_MAX), -EINVAL);
  CHECK_EQ(mpg_root_remove(range), -ENOENT);
  CHECK_EQ(mpg_root_remove(NULL), -ENOENT);
  CHECK_EQ(mpg_root_add(range, sizeof(range)), 0);
  CHECK_EQ(mpg_root_remove(range + 8), -ENOENT);
  CHECK_EQ(mpg_root_remove(range), 0);
  CHECK_EQ(mpg_root_remove(range), -ENOENT);
}

static void many_roots(void *arg) {
  (void) arg;
  enum { R = 1000 };
  void ***v = malloc(R * sizeof(*v));
  hidden h[R / 100];
  for (int i = 0; i < R; i++) {
    v[i] = calloc(4, sizeof(void *));
    CHECK_EQ(mpg_root_add(v[i], 4 * sizeof(void *)), 0);
  }
  for (uintptr_t i = 0; i < R / 100; i++) {
    v[i * 100][3] = hide_object(i);
    h[i] = hide(v[i * 100][3]);
  }
  hide_collect();
  for (uintptr_t i = 0; i < R / 100; i++) CHECK(hide_alive(h[i], i));
  for (int i = 0; i < R; i++) {
    CHECK_EQ(mpg_root_remove(v[i]), 0);
    free(v[i]);
  }
  free(v);
}

static const struct check_case cases[] = {
    INSIDE(unreachable_objects_are_freed),
    INSIDE(reachable_objects_are_kept),
    INSIDE(interior_pointers_keep),
    INSIDE(noscan_memory_keeps_nothing),
    INSIDE(typed_memory_keeps_by_named_words_only),
    INSIDE(cycles_are_freed),
    INSIDE(a_long_list_is_marked),
    INSIDE(a_large_object_is_scanned),
    INSIDE(gc_is_finished_when_it_returns),
    INSIDE(percent_off_means_no_collection),
    INSIDE(garbage_brings_collections),
    INSIDE(a_small_heap_grows_by_more),
    INSIDE(memory_limit_reports_and_collects),
    INSIDE(stats_want_their_size),
    INSIDE(stats_add_up),
    INSIDE(roots_are_checked),
    INSIDE(many_roots),
};

int main(int argc, char **argv) {
  check_switches("clobberfree=1");
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 30);
}

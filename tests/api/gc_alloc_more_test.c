/* gc_alloc_more_test.c - aligned and root objects, interior pointers switched
 * off, memory given back, memory limits. */
#undef _FORTIFY_SOURCE /* see fortified_writes */
#define _FORTIFY_SOURCE 2
#include <errno.h>

#include "../support/hide.h"
#include "../support/resident.h"

#define MIB ((size_t) 1 << 20)

static struct mpg_gc_stats stats(void) {
  struct mpg_gc_stats s = {.size = sizeof s};
  CHECK_EQ(mpg_gc_stats_read(&s), 0);
  return s;
}

static void collect(void) {
  hide_scrub();
  mpg_gc();
  hide_scrub();
}

/* ---- alignment ---- */

static void bad_alignments(void *arg) {
  static const size_t bad[] = {0,       3, 12, 4097, 4 * MIB, (size_t) 1 << 40,
                               SIZE_MAX};
  (void) arg;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    size_t align = bad[i];
    CHECK_OPAQUE(align);
    CHECK(mpg_alloc_aligned(64, align) == NULL);
  }
}

/* The compiler is told no alignment that the function refuses. */
static void bad_alignments_that_are_constants(void *arg) {
  (void) arg;
  CHECK(mpg_alloc_aligned(64, 0) == NULL);
  CHECK(mpg_alloc_aligned(64, 24) == NULL);
}

/* All that mpg_alloc_size counts may be written, by checked functions too. */
static void fortified_writes(void *arg) {
  (void) arg;
  char *p = mpg_alloc(100), *q = mpg_alloc_aligned(100, 64);
  memset(p, 1, mpg_alloc_size(p));
  memset(q, 1, mpg_alloc_size(q));
  p = mpg_realloc(p, 5000);
  memset(p, 1, mpg_alloc_size(p));
}

static void *kept[400];

static void aligned_objects(void *arg) {
  (void) arg;
  size_t n = 0;
  for (size_t align = 1; align <= 2 * MIB; align *= 2)
    for (size_t bytes = 0; bytes < 100000; bytes = bytes * 3 + 1) {
      unsigned char *p = mpg_alloc_aligned(bytes, align);
      CHECK(p != NULL);
      CHECK_EQ((uintptr_t) p % align, 0);
      CHECK_GE(mpg_alloc_size(p), bytes);
      CHECK(mpg_base(p + bytes / 2) == p);
      for (size_t i = 0; i < bytes; i++) CHECK_EQ(p[i], 0);
      memset(p, 0xa5, mpg_alloc_size(p));
      CHECK_LE(n, 399);
      kept[n++] = p;
    }
  collect();
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < mpg_alloc_size(kept[i]); k++)
      CHECK_EQ(((unsigned char *) kept[i])[k], 0xa5);
  for (size_t i = 0; i < n; i++) mpg_free(kept[i]);
  memset(kept, 0, sizeof kept);
}

static void alignment_wastes_little(void *arg) {
  (void) arg;
  CHECK_LE(mpg_alloc_size(mpg_alloc_aligned(64, 64)), 128);
  CHECK_LE(mpg_alloc_size(mpg_alloc_aligned(4096, 4096)), 8192);
  CHECK_LE(mpg_alloc_size(mpg_alloc_aligned(100000, 65536)), 106496);
}

/* ---- roots ---- */

static uintptr_t **table; /* malloc memory */

static __attribute__((noinline)) void make_root(hidden *h) {
  table = malloc(2 * sizeof *table);
  table[0] = mpg_alloc_root(100 * sizeof(void *));
  CHECK_EQ(table[0][0] | table[0][99], 0);
  table[0][50] = (uintptr_t) hide_object(5);
  h[0] = hide((void *) table[0][50]);
  h[1] = hide(table[0]);
}

static void roots_live_until_freed(void *arg) {
  hidden h[2];
  (void) arg;
  make_root(h);
  for (int i = 0; i < 3; i++) hide_collect();
  CHECK(hide_alive(h[0], 5));
  CHECK(mpg_base(unhide(h[1])) == unhide(h[1]));
  mpg_free(table[0]);
  hide_collect();
  CHECK(!hide_alive(h[0], 5));
  free(table);
}

static __attribute__((noinline)) void grow_root(hidden *h) {
  table = malloc(2 * sizeof *table);
  table[0] = mpg_alloc_root(64);
  table[0][1] = (uintptr_t) hide_object(6);
  *h = hide((void *) table[0][1]);
  uintptr_t *p = mpg_realloc(table[0], 300000);
  CHECK(p != NULL && p != table[0]);
  table[0] = p;
}

static void a_root_stays_one_when_it_moves(void *arg) {
  hidden h;
  (void) arg;
  grow_root(&h);
  hide_collect();
  CHECK(hide_alive(h, 6));
  mpg_free(table[0]);
  free(table);
  hide_collect();
  CHECK(!hide_alive(h, 6));
}

static void many_roots(void *arg) {
  enum { N = 20000 };
  (void) arg;
  hidden *h = malloc(N * sizeof *h);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < N; i++) h[i] = hide(mpg_alloc_root(32));
    collect();
    for (int i = 0; i < N; i++) CHECK(mpg_base(unhide(h[i])) == unhide(h[i]));
    uint64_t before = stats().heap_objects;
    for (int i = 0; i < N; i++) mpg_free(unhide(h[i]));
    CHECK_LE(stats().heap_objects, before - N);
  }
  free(h);
}

/* ---- interior pointers ---- */

enum { OBJECTS = 500 };
static char **holder;

static __attribute__((noinline)) void hold(hidden *h, size_t offset) {
  holder = mpg_alloc(OBJECTS * sizeof *holder);
  for (uintptr_t i = 0; i < OBJECTS; i++) {
    h[i] = hide(hide_object(i));
    holder[i] = (char *) unhide(h[i]) + offset;
  }
}

static size_t alive(const hidden *h) {
  size_t n = 0;
  for (uintptr_t i = 0; i < OBJECTS; i++) n += hide_alive(h[i], i);
  return n;
}

static void interior_pointers_of_the_heap_can_be_off(void *arg) {
  hidden *h = malloc(OBJECTS * sizeof *h);
  (void) arg;
  CHECK_EQ(mpg_interior_pointers(-1), 1);
  hold(h, 8);
  hide_collect();
  CHECK_EQ(alive(h), OBJECTS);
  CHECK_EQ(mpg_interior_pointers(0), 1);
  CHECK_EQ(mpg_interior_pointers(-1), 0);
  hide_collect();
  CHECK_LE(alive(h), OBJECTS / 50);
  hold(h, 0); /* starts do keep */
  hide_collect();
  CHECK_EQ(alive(h), OBJECTS);
  char *inside = holder[3] + 20; /* and anything on a stack */
  holder[3] = NULL;
  hide_collect();
  CHECK_EQ(alive(h), OBJECTS);
  mpg_keep_alive(inside);
  CHECK_EQ(mpg_interior_pointers(1), 0);
  free(h);
}

/* ---- giving back ---- */

static size_t rss(void) { return (size_t) resident_bytes(); }

static void **list;

static __attribute__((noinline)) void fill(size_t bytes, size_t each) {
  for (size_t i = 0; i < bytes / each; i++) {
    void **p = mpg_alloc(each);
    CHECK(p != NULL);
    memset(p + 1, 1, each - sizeof *p);
    *p = list;
    list = p;
  }
}

static void drop_list(void) {
  for (void **p = list, **next; p; p = next) {
    next = *p;
    *p = NULL;
  }
  list = NULL;
}

static void memory_is_given_back_at_once(void *arg) {
  static const size_t each[] = {64, 1000, 20000, MIB};
  (void) arg;
  mpg_release_memory();
  size_t before = rss();
  for (int i = check_switch("gcstress") ? 2 : 0; i < 4; i++) {
    fill(200 * MIB, each[i]);
    size_t peak = rss();
    CHECK_GE(peak, before + 180 * MIB);
    drop_list();
    hide_scrub();
    mpg_release_memory();
    CHECK_LE(rss(), before + 16 * MIB);
    CHECK_LE(stats().heap_mapped, 16 * MIB);
  }
  CHECK_LE(mpg_release_memory(), 8 * MIB); /* nothing is left */
}

/* A million objects are collected for too long if every few of them are
 * followed by a collection. */
static size_t small_bytes(void) {
  return check_switch("gcstress") ? 20000 : 1000;
}

/* Without asking: the goal is small, so the margin is. */
static void memory_is_given_back_in_the_background(void *arg) {
  (void) arg;
  mpg_release_memory();
  size_t before = rss();
  fill(200 * MIB, small_bytes());
  drop_list();
  collect();
  for (int i = 0; i < 300 && rss() > before + 100 * MIB; i++)
    mpg_sleep(50000000);
  CHECK_LE(rss(), before + 100 * MIB);
}

/* ---- limits ---- */

static void churn(size_t bytes) {
  for (size_t done = 0, i = 0; done < bytes; i++) {
    size_t n = 16 + i * 7919 % 3000;
    char *p = mpg_alloc(n);
    CHECK(p != NULL);
    p[0] = 1;
    done += n;
  }
}

static void a_limit_is_kept_without_percent(void *arg) {
  (void) arg;
  mpg_release_memory();
  int percent = mpg_gc_percent(-1);
  int64_t old = mpg_memory_limit((int64_t) (128 * MIB));
  uint64_t before = stats().cycles;
  for (int i = 0; i < 8; i++) {
    churn(100 * MIB);
    struct mpg_gc_stats s = stats();
    CHECK_LE(s.heap_mapped + s.stack_bytes + s.offheap_bytes, 160 * MIB);
  }
  CHECK_GE(stats().cycles, before + 4);
  if (!check_collects()) CHECK_LE(stats().cycles, before + 40);
  CHECK_EQ(mpg_memory_limit(old), (int64_t) (128 * MIB));
  mpg_gc_percent(percent);
}

/* More is live than the limit allows: the program goes on, and doesn't
 * collect for each allocation. */
static void an_impossible_limit_is_no_standstill(void *arg) {
  (void) arg;
  fill(100 * MIB, small_bytes());
  int64_t old = mpg_memory_limit((int64_t) (32 * MIB));
  uint64_t before = stats().cycles;
  churn((check_switch("gcstress") ? 20 : 200) * MIB);
  CHECK_GT(stats().cycles, before);
  if (!check_collects()) CHECK_LE(stats().cycles, before + 30);
  CHECK_EQ(mpg_memory_limit(old), (int64_t) (32 * MIB));
  drop_list();
}

static const struct check_case cases[] = {
    INSIDE(bad_alignments),
    INSIDE(bad_alignments_that_are_constants),
    INSIDE(fortified_writes),
    INSIDE(aligned_objects),
    INSIDE(alignment_wastes_little),
    INSIDE(roots_live_until_freed),
    INSIDE(a_root_stays_one_when_it_moves),
    INSIDE(many_roots),
    INSIDE(interior_pointers_of_the_heap_can_be_off),
    INSIDE(memory_is_given_back_at_once),
    INSIDE(memory_is_given_back_in_the_background),
    INSIDE(a_limit_is_kept_without_percent),
    INSIDE(an_impossible_limit_is_no_standstill),
};

int main(int argc, char **argv) {
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 40);
}

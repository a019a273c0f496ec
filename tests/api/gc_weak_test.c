/* gc_weak_test.c - weak references. */
#include <errno.h>

#include "../support/hide.h"

static void collect(void) {
  hide_scrub();
  mpg_gc();
  hide_scrub();
}

/* Is it NULL by now?  A stale word may keep its object for a while. */
static bool cleared(mpg_weak *w) {
  for (int i = 0; i < 5; i++) {
    hide_scrub();
    if (mpg_weak_get(w) == NULL) return true;
    collect();
  }
  return false;
}

static __attribute__((noinline)) mpg_weak *make(uintptr_t i) {
  void *p = hide_object(i);
  mpg_weak *w = mpg_weak_new(p);
  CHECK(w != NULL);
  CHECK(mpg_weak_get(w) == p);
  return w;
}

static void arguments_are_checked(void *arg) {
  static int global;
  char *p = mpg_alloc(100);
  void *m = malloc(64);
  (void) arg;
  CHECK(mpg_weak_new(NULL) == NULL);
  CHECK(mpg_weak_new(p + 1) == NULL);
  CHECK(mpg_weak_new(&global) == NULL);
  CHECK(mpg_weak_new(m) == NULL);
  CHECK(mpg_weak_get(NULL) == NULL);
  free(m);
}

static void does_not_keep(void *arg) {
  (void) arg;
  mpg_weak *w = make(1);
  CHECK(cleared(w));
  collect();
  CHECK(mpg_weak_get(w) == NULL);
}

static void names_a_live_object(void *arg) {
  (void) arg;
  void *p = hide_object(2);
  mpg_weak *w = mpg_weak_new(p), *again = mpg_weak_new(p);
  CHECK(w != again);
  for (int i = 0; i < 5; i++) {
    collect();
    CHECK(mpg_weak_get(w) == p);
    CHECK(mpg_weak_get(again) == p);
  }
  mpg_keep_alive(p);
}

/* The result of get is a strong reference. */
static void get_keeps(void *arg) {
  (void) arg;
  mpg_weak *w = make(3);
  uintptr_t *p = mpg_weak_get(w);
  for (int i = 0; p && i < 5; i++) {
    collect();
    CHECK_EQ(p[0], HIDE_PATTERN + 3);
    CHECK(mpg_weak_get(w) == p);
  }
}

static void many(void *arg) {
  (void) arg;
  enum { N = 20000 };
  static mpg_weak *w[N];
  static void *keep[N / 4];
  for (uintptr_t i = 0; i < N; i++) {
    w[i] = make(i);
    if (i % 4 == 0) keep[i / 4] = mpg_weak_get(w[i]);
  }
  collect();
  size_t left = 0;
  for (uintptr_t i = 0; i < N; i++) {
    void *p = mpg_weak_get(w[i]);
    if (i % 4 == 0) {
      CHECK(p == keep[i / 4]);
      CHECK(hide_alive(hide(p), i));
    } else if (p) {
      CHECK(hide_alive(hide(p), i));
      left++;
    }
  }
  CHECK_LE(left, N / 50);
  memset(w, 0, sizeof w);
  memset(keep, 0, sizeof keep);
}

/* References are garbage, too. */
static void references_are_collected(void *arg) {
  (void) arg;
  void *p = hide_object(1);
  collect();
  struct mpg_gc_stats a = {.size = sizeof a}, b = {.size = sizeof b};
  mpg_gc_stats_read(&a);
  for (int i = 0; i < 100000; i++) CHECK(mpg_weak_new(p) != NULL);
  collect();
  collect();
  mpg_gc_stats_read(&b);
  CHECK_LE(b.heap_objects, a.heap_objects + 2000);
  for (int i = 0; i < 100000; i++) CHECK(mpg_weak_new(p) != NULL);
  collect();
  mpg_gc_stats_read(&a); /* records were used again */
  CHECK_LE(a.offheap_bytes, b.offheap_bytes + (1 << 20));
  mpg_keep_alive(p);
}

/* ---- free and realloc ---- */

static void free_clears(void *arg) {
  (void) arg;
  for (size_t bytes = 16; bytes < 200000; bytes *= 4) {
    void *p = mpg_alloc(bytes);
    mpg_weak *w = mpg_weak_new(p), *v = mpg_weak_new(p);
    mpg_free(p);
    CHECK(mpg_weak_get(w) == NULL);
    CHECK(mpg_weak_get(v) == NULL);
  }
}

static void references_may_be_freed(void *arg) {
  (void) arg;
  void *p = hide_object(1);
  for (int i = 0; i < 1000; i++) {
    mpg_weak *w = mpg_weak_new(p), *v = mpg_weak_new(p);
    mpg_free(w);
    CHECK(mpg_weak_get(v) == p);
    mpg_free(v);
  }
  collect();
  CHECK(hide_alive(hide(p), 1));
}

static void realloc_takes_it_along(void *arg) {
  (void) arg;
  void *p = mpg_alloc(64);
  mpg_weak *w = mpg_weak_new(p);
  void *q = mpg_realloc(p, 50000);
  CHECK(mpg_weak_get(w) == q);
  collect();
  CHECK(mpg_weak_get(w) == q);
  mpg_free(q);
  CHECK(mpg_weak_get(w) == NULL);
}

static void of_a_reference(void *arg) {
  (void) arg;
  void *p = hide_object(1);
  mpg_weak *w = mpg_weak_new(p);
  mpg_weak *to = mpg_weak_new(w);
  CHECK(mpg_weak_get(to) == w);
  collect();
  CHECK(mpg_weak_get(to) == w);
  CHECK(mpg_weak_get(w) == p);
  mpg_free(w);
  CHECK(mpg_weak_get(to) == NULL);
}

/* ---- finalizers ---- */

#define PAIRS 50
static mpg_weak *of_object[PAIRS], *of_part[PAIRS];
static _Atomic int ran, broken, parts;
static void *saved[PAIRS];

struct node {
  struct node *next;
  uintptr_t number;
};

static void look(void *obj, void *arg) {
  struct node *n = obj;
  uintptr_t i = (uintptr_t) arg;
  if (mpg_weak_get(of_object[i]) != NULL) atomic_store(&broken, 1);
  if (n->number != i || n->next->number != i) atomic_store(&broken, 2);
  /* A stale word may have kept it. */
  if (mpg_weak_get(of_part[i]) != NULL) atomic_fetch_add(&parts, 1);
  saved[i] = obj;
  atomic_fetch_add(&ran, 1);
}

static __attribute__((noinline)) void make_finalized(uintptr_t i) {
  struct node *a = mpg_alloc(sizeof *a), *b = mpg_alloc(sizeof *b);
  a->next = b;
  a->number = b->number = i;
  of_object[i] = mpg_weak_new(a);
  of_part[i] = mpg_weak_new(b);
  CHECK_EQ(mpg_finalizer_set(a, look, (void *) i), 0);
}

static void cleared_before_finalizers_run(void *arg) {
  (void) arg;
  for (uintptr_t i = 0; i < PAIRS; i++) make_finalized(i);
  for (int i = 0; i < 10 && atomic_load(&ran) < PAIRS; i++) {
    collect();
    mpg_sleep(2000000);
  }
  CHECK_GE(atomic_load(&ran), PAIRS * 9 / 10);
  CHECK_EQ(atomic_load(&broken), 0);
  CHECK_LE(atomic_load(&parts), PAIRS / 10);
  /* They stay cleared although the objects live again. */
  collect();
  for (uintptr_t i = 0; i < PAIRS; i++) {
    struct node *n = saved[i];
    if (n == NULL) continue;
    CHECK(mpg_weak_get(of_object[i]) == NULL);
    CHECK_EQ(n->next->number, i);
    of_object[i] = mpg_weak_new(n);
  }
  collect();
  for (uintptr_t i = 0; i < PAIRS; i++)
    if (saved[i] != NULL) CHECK(mpg_weak_get(of_object[i]) == saved[i]);
}

/* ---- against the collector ---- */

static mpg_weak *_Atomic shared[16];
static _Atomic bool over;
static mpg_waitgroup wg;

/* What get returns is intact, whenever the world stops. */
static void getter(void *arg) {
  (void) arg;
  for (unsigned i = 0; !atomic_load(&over); i++) {
    uintptr_t *p = mpg_weak_get(atomic_load(&shared[i % 16]));
    if (!p) continue;
    uintptr_t pattern = p[0];
    for (int w = 1; w < HIDE_WORDS; w++) CHECK_EQ(p[w], pattern);
    CHECK_LE(pattern - HIDE_PATTERN, 1000000);
  }
  mpg_waitgroup_done(&wg);
}

static void get_races_with_collections(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  for (uintptr_t i = 0; i < 16; i++) atomic_store(&shared[i], make(i));
  mpg_waitgroup_add(&wg, 3);
  for (int i = 0; i < 3; i++) CHECK_GO(getter, NULL);
  for (uintptr_t i = 0; i < 300; i++) {
    for (uintptr_t k = 0; k < 8; k++)
      atomic_store(&shared[(i + k) % 16], make(i));
    mpg_gc();
  }
  atomic_store(&over, true);
  mpg_waitgroup_wait(&wg);
}

static const struct check_case cases[] = {
    INSIDE(arguments_are_checked),
    INSIDE(does_not_keep),
    INSIDE(names_a_live_object),
    INSIDE(get_keeps),
    INSIDE(many),
    INSIDE(references_are_collected),
    INSIDE(free_clears),
    INSIDE(references_may_be_freed),
    INSIDE(realloc_takes_it_along),
    INSIDE(of_a_reference),
    INSIDE(cleared_before_finalizers_run),
    INSIDE(get_races_with_collections),
};

int main(int argc, char **argv) {
  check_switches("clobberfree=1");
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 30);
}

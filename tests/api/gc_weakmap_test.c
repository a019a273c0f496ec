/* gc_weakmap_test.c - maps with weak keys: ephemerons. */
#include <errno.h>

#include "../support/hide.h"

static void collect(void) {
  hide_scrub();
  mpg_gc();
  hide_scrub();
}

static void *value_of(mpg_weakmap *m, const void *key) {
  void *v = (void *) 1;
  return mpg_weakmap_get(m, key, &v) ? v : NULL;
}

static void set_get_delete(void *arg) {
  (void) arg;
  mpg_weakmap *m = mpg_weakmap_new(), *other = mpg_weakmap_new();
  char *k = mpg_alloc(40), *q = mpg_alloc(100000);
  void *v = (void *) 1;
  CHECK(m != NULL && other != m);
  CHECK(!mpg_weakmap_get(m, k, &v));
  CHECK(v == NULL);
  CHECK_EQ(mpg_weakmap_set(m, k, "a"), 0);
  CHECK_EQ(mpg_weakmap_set(m, q, NULL), 0);
  CHECK_EQ(mpg_weakmap_set(other, k, "other"), 0);
  CHECK(strcmp(value_of(m, k), "a") == 0);
  CHECK_EQ(mpg_weakmap_set(m, k, "b"), 0);
  CHECK(strcmp(value_of(m, k), "b") == 0);
  CHECK(mpg_weakmap_get(m, q, NULL));
  CHECK_EQ(mpg_weakmap_len(m), 2);
  CHECK_EQ(mpg_weakmap_delete(m, k), 0);
  CHECK_EQ(mpg_weakmap_delete(m, k), -ENOENT);
  CHECK(!mpg_weakmap_get(m, k, NULL));
  CHECK(strcmp(value_of(other, k), "other") == 0);
  CHECK_EQ(mpg_weakmap_len(m), 1);
  CHECK_EQ(mpg_weakmap_set(m, k + 1, "a"), -EINVAL);
  CHECK_EQ(mpg_weakmap_set(m, NULL, "a"), -EINVAL);
  CHECK_EQ(mpg_weakmap_set(m, &v, "a"), -EINVAL);
  CHECK(!mpg_weakmap_get(m, &v, NULL));
  mpg_keep_alive(k);
  mpg_keep_alive(q);
}

enum { N = 2000 };
static mpg_weakmap *map;
static void *keys[N];
static hidden hidden_keys[N], hidden_values[N];

/* Values lead to their keys, and every second key is kept. */
static __attribute__((noinline)) void make_entries(void) {
  map = mpg_weakmap_new();
  for (uintptr_t i = 0; i < N; i++) {
    void *k = hide_object(i);
    void **v = mpg_alloc(64);
    v[0] = k;
    v[1] = (void *) i;
    CHECK_EQ(mpg_weakmap_set(map, k, v), 0);
    hidden_keys[i] = hide(k);
    hidden_values[i] = hide(v);
    keys[i] = i % 2 ? k : NULL;
  }
}

static void values_live_with_their_keys(void *arg) {
  (void) arg;
  make_entries();
  hide_collect();
  size_t dead = 0;
  for (uintptr_t i = 0; i < N; i++) {
    if (keys[i]) {
      void **v = value_of(map, keys[i]);
      CHECK(v != NULL && v[0] == keys[i] && v[1] == (void *) i);
    } else {
      dead += !hide_alive(hidden_keys[i], i);
    }
  }
  CHECK_GE(dead, N / 2 - N / 50);
  CHECK_LE(mpg_weakmap_len(map), N / 2 + N / 50);
  memset(keys, 0, sizeof keys);
  hide_collect();
  hide_collect();
  CHECK_LE(mpg_weakmap_len(map), N / 50);
}

enum { MAPS = 40 };

/* Each key is kept, and has a value in a map of its own that is not. */
static __attribute__((noinline)) void make_maps(void) {
  for (uintptr_t i = 0; i < MAPS; i++) {
    keys[i] = hide_object(i);
    void *v = hide_object(i);
    CHECK_EQ(mpg_weakmap_set(mpg_weakmap_new(), keys[i], v), 0);
    hidden_values[i] = hide(v);
  }
}

static void a_map_keeps_nothing_when_it_dies(void *arg) {
  (void) arg;
  make_maps();
  hide_collect();
  size_t alive = 0;
  for (uintptr_t i = 0; i < MAPS; i++) alive += hide_alive(hidden_values[i], i);
  CHECK_LE(alive, MAPS / 10);
  memset(keys, 0, sizeof keys);
}

/* ---- chains: each value is the next key ---- */

/* The second opinion takes a round for each link. */
static int longest(void) { return check_switch("gcverify") ? 2000 : 200000; }

static void *first;
static uintptr_t *last_value;

/* Backwards, so that walks over the entries find the last link first. */
static __attribute__((noinline)) void make_chain(int length) {
  void *next = mpg_alloc(32);
  *(uintptr_t *) next = 4711;
  map = mpg_weakmap_new();
  for (int i = 0; i < length; i++) {
    void *k = mpg_alloc(32);
    CHECK_EQ(mpg_weakmap_set(map, k, next), 0);
    next = k;
  }
  first = next;
}

static void chains(void *arg) {
  (void) arg;
  for (int length = 1; length <= longest(); length *= length < 20 ? 2 : 10) {
    make_chain(length);
    int64_t t = mpg_now();
    collect();
    CHECK_LE(mpg_now() - t, INT64_C(20) * 1000000000); /* linear */
    CHECK_EQ(mpg_weakmap_len(map), length);
    void *k = first;
    for (int i = 0; i < length; i++) {
      k = value_of(map, k);
      CHECK(k != NULL);
    }
    last_value = k;
    CHECK_EQ(*last_value, 4711);
    last_value = NULL;
    k = NULL;
    first = NULL;
    collect();
    collect();
    CHECK_LE(mpg_weakmap_len(map), length < 100 ? length : length / 50);
  }
}

/* Each map is the value of an entry of the one before. */
static void maps_of_maps(void *arg) {
  enum { DEPTH = 3000 };
  (void) arg;
  mpg_weakmap *m = map = mpg_weakmap_new();
  void *k = first = mpg_alloc(32);
  for (int i = 0; i < DEPTH; i++) {
    mpg_weakmap *next = mpg_weakmap_new();
    void **pair = mpg_alloc(2 * sizeof *pair);
    pair[0] = next;
    pair[1] = mpg_alloc(32);
    CHECK_EQ(mpg_weakmap_set(m, k, pair), 0);
    m = next;
    k = pair[1];
  }
  m = NULL;
  k = NULL;
  collect();
  m = map;
  k = first;
  for (int i = 0; i < DEPTH; i++) {
    void **pair = value_of(m, k);
    CHECK(pair != NULL);
    m = pair[0];
    k = pair[1];
  }
  CHECK_EQ(mpg_weakmap_len(m), 0);
  first = NULL;
}

/* ---- free, realloc, finalizers ---- */

static void freed_keys_and_maps(void *arg) {
  (void) arg;
  mpg_weakmap *m = mpg_weakmap_new();
  for (int i = 0; i < 1000; i++) {
    void *k = hide_object(1);
    CHECK_EQ(mpg_weakmap_set(m, k, k), 0);
    CHECK_EQ(mpg_weakmap_len(m), 1);
    mpg_free(k);
    CHECK_EQ(mpg_weakmap_len(m), 0);
  }
  void *k = hide_object(2);
  for (int i = 0; i < 1000; i++) {
    mpg_weakmap *other = mpg_weakmap_new();
    CHECK_EQ(mpg_weakmap_len(other), 0);
    CHECK(!mpg_weakmap_get(other, k, NULL));
    CHECK_EQ(mpg_weakmap_set(other, k, other), 0);
    mpg_free(other);
    if (i % 100 == 0) collect();
  }
  CHECK(hide_alive(hide(k), 2));
}

static void entries_follow_a_moved_key(void *arg) {
  (void) arg;
  mpg_weakmap *m = mpg_weakmap_new();
  void *k = mpg_alloc(64);
  CHECK_EQ(mpg_weakmap_set(m, k, "value"), 0);
  void *moved = mpg_realloc(k, 100000);
  CHECK(!mpg_weakmap_get(m, k, NULL));
  CHECK(strcmp(value_of(m, moved), "value") == 0);
  collect();
  CHECK(strcmp(value_of(m, moved), "value") == 0);
}

static _Atomic int ran, found;

static void look(void *obj, void *arg) {
  uintptr_t *v = value_of(map, obj);
  (void) arg;
  if (v && *v == 99) atomic_fetch_add(&found, 1);
  atomic_fetch_add(&ran, 1);
}

static __attribute__((noinline)) void make_finalized(void) {
  for (int i = 0; i < 50; i++) {
    void *k = mpg_alloc(32);
    uintptr_t *v = mpg_alloc(32);
    *v = 99;
    CHECK_EQ(mpg_weakmap_set(map, k, v), 0);
    CHECK_EQ(mpg_finalizer_set(k, look, NULL), 0);
  }
}

static void a_finalizer_finds_the_entry(void *arg) {
  (void) arg;
  map = mpg_weakmap_new();
  make_finalized();
  for (int i = 0; i < 20 && atomic_load(&ran) < 45; i++) {
    collect();
    mpg_sleep(2000000);
  }
  CHECK_GE(atomic_load(&ran), 45);
  CHECK_EQ(atomic_load(&found), atomic_load(&ran));
  for (int i = 0; i < 5; i++) collect();
  CHECK_LE(mpg_weakmap_len(map), 5);
}

/* ---- many goroutines ---- */

static mpg_waitgroup wg;

static void use(void *arg) {
  uintptr_t id = (uintptr_t) arg;
  void *mine[20];
  for (int round = 0; round < 100; round++) {
    for (uintptr_t i = 0; i < 20; i++) {
      mine[i] = hide_object(i);
      uintptr_t *v = mpg_alloc(16);
      *v = id * 1000 + i;
      CHECK_EQ(mpg_weakmap_set(map, mine[i], v), 0);
    }
    mpg_yield();
    for (uintptr_t i = 0; i < 20; i++)
      CHECK_EQ(*(uintptr_t *) value_of(map, mine[i]), id * 1000 + i);
  }
  mpg_waitgroup_done(&wg);
}

static void shared_by_goroutines(void *arg) {
  (void) arg;
  map = mpg_weakmap_new();
  mpg_gomaxprocs(4);
  mpg_waitgroup_add(&wg, 10);
  for (uintptr_t i = 1; i <= 10; i++) CHECK_GO(use, (void *) i);
  for (int i = 0; i < 100; i++) {
    mpg_gc();
    mpg_yield();
  }
  mpg_waitgroup_wait(&wg);
}

static const struct check_case cases[] = {
    INSIDE(set_get_delete),
    INSIDE(values_live_with_their_keys),
    INSIDE(a_map_keeps_nothing_when_it_dies),
    INSIDE(chains),
    INSIDE(maps_of_maps),
    INSIDE(freed_keys_and_maps),
    INSIDE(entries_follow_a_moved_key),
    INSIDE(a_finalizer_finds_the_entry),
    INSIDE(shared_by_goroutines),
};

int main(int argc, char **argv) {
  check_switches("clobberfree=1");
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 50);
}

/* Allocation, free, realloc, lookup and statistics, in a world of one thread
 * whose roots are exactly known. */
#include <tests/unit/gc_world_fake.h>

#include <errno.h>

static uint64_t draw(void) {
  static uint64_t x = 88172645463325252u;
  x ^= x << 13;
  x ^= x >> 7;
  return x ^= x << 17;
}

static struct mpg_gc_stats stats(void) {
  struct mpg_gc_stats s = {.size = sizeof s};
  assert_int_equal(mpgi_gc_stats_read_g0(&s), 0);
  return s;
}

static void collect(void) { mpgi_gc_g0(); }

static bool all_are(const void *p, size_t n, unsigned char value) {
  const unsigned char *c = p;
  for (size_t i = 0; i < n; i++)
    if (c[i] != value) return false;
  return true;
}

static void *alloc_kind(size_t n, int kind) {
  return mpgi_gc_alloc(n, (enum mpgi_kind) kind);
}

/* ---- every class and kind ---- */

static void check_object(size_t n, int kind) {
  unsigned char *p = alloc_kind(n, kind);
  assert_non_null(p);
  assert_int_equal((uintptr_t) p % 16, 0);
  size_t usable = mpgi_alloc_size_g0(p);
  assert_true(usable >= n);
  if (kind != MPGI_KIND_NOSCAN) assert_true(all_are(p, usable, 0));
  memset(p, 0xa5, usable);
  assert_ptr_equal(mpgi_base_g0(p), p);
  assert_ptr_equal(mpgi_base_g0(p + n / 2), p);
  assert_ptr_equal(mpgi_base_g0(p + usable), p); /* one past the end */
  if (n > 0) assert_ptr_equal(mpgi_base_g0(p + n), p);
  assert_int_equal(mpgi_alloc_size_g0(p + 1), 0);
}

static void every_size_and_kind(void **state) {
  (void) state;
  for (int round = 0; round < 2; round++)
    for (int kind = 0; kind < MPGI_KIND_COUNT; kind++)
      for (size_t n = 0; n <= 100000; n += n < 300 ? 1 : n / 13)
        check_object(n, kind);
  collect();
  assert_true(mpgi_central_is_valid());
}

static void class_boundaries(void **state) {
  (void) state;
  for (unsigned c = 1; c < MPGI_CLASSES; c++)
    for (int d = -1; d <= 1; d++)
      check_object(mpgi_class[c].usable + (size_t) d, MPGI_KIND_SCAN);
}

/* Cells of a hole that were not handed out are no objects. */
static void pending_cells_are_no_objects(void **state) {
  (void) state;
  char *p = mpg_alloc(100);
  struct mpgi_cache *c = mpgi_tls_cache();
  unsigned class = mpgi_class_for(100);
  struct mpgi_hole *h = &c->hole[MPGI_KIND_SCAN][class];
  while (atomic_load(&h->ptr) == h->end) p = mpg_alloc(100);
  char *next = (char *) atomic_load(&h->ptr);
  assert_null(mpgi_base_g0(next));
  assert_int_equal(mpgi_alloc_size_g0(next), 0);
  assert_fatal("not the start of a live object", mpgi_free_g0(next));
  assert_ptr_equal(mpg_alloc(100), next);
  assert_ptr_equal(mpgi_base_g0(next), next);
  assert_ptr_equal(mpgi_base_g0(p), p);
}

static void lookups_of_other_memory(void **state) {
  (void) state;
  void *m = malloc(64);
  int local;
  assert_null(mpgi_base_g0(NULL));
  assert_null(mpgi_base_g0((void *) 1));
  assert_null(mpgi_base_g0((void *) UINTPTR_MAX));
  assert_null(mpgi_base_g0(m));
  assert_null(mpgi_base_g0(&local));
  assert_null(mpgi_base_g0(&mpgi_heap));
  assert_null(mpgi_base_g0((void *) (mpgi_heap.lo + mpgi_heap_used())));
  assert_null(mpgi_base_g0((void *) (mpgi_heap.limit - 1)));
  assert_null(mpgi_base_g0((void *) mpgi_heap.limit));
  free(m);
}

/* ---- free ---- */

static void freed_cells_are_reused_before_the_next_hole(void **state) {
  (void) state;
  void *p = mpg_alloc(40);
  memset(p, 1, 40);
  mpgi_free_g0(p);
  struct mpgi_hole *h =
      &mpgi_tls_cache()->hole[MPGI_KIND_SCAN][mpgi_class_for(40)];
  while (atomic_load(&h->ptr) < atomic_load(&h->end))
    assert_ptr_not_equal(mpg_alloc(40), p);
  assert_ptr_equal(mpg_alloc(40), p);
  assert_true(all_are(p, 40, 0));
}

static void free_does_not_grow_the_heap(void **state) {
  (void) state;
  enum { N = 5000 };
  void **v = calloc(N, sizeof *v);
  mpgi_gc_percent_g0(-1);
  uint64_t mapped = 0;
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < N; i++) v[i] = mpg_alloc(1 + draw() % 2000);
    for (int i = 0; i < N; i++) mpgi_free_g0(v[i]);
    if (round == 2) mapped = stats().heap_mapped;
  }
  assert_true(stats().heap_mapped <= mapped + mapped / 2);
  for (int round = 0; round < 200; round++) {
    char *big = mpg_alloc((size_t) 8 << 20);
    big[0] = big[((size_t) 8 << 20) - 1] = 1;
    mpgi_free_g0(big);
  }
  assert_true(stats().heap_mapped <= mapped + mapped / 2 + ((size_t) 20 << 20));
  mpgi_gc_percent_g0(100);
  free(v);
}

static void free_misuse_is_fatal(void **state) {
  (void) state;
  const char *text = "mpg_free of a pointer that is not the start of a live";
  char *p = mpg_alloc(200), *q = mpg_alloc(100000);
  int local;
  mpgi_free_g0(NULL);
  assert_fatal(text, mpgi_free_g0(p + 16));
  assert_fatal(text, mpgi_free_g0(q + 8192));
  assert_fatal(text, mpgi_free_g0(&local));
  assert_fatal(text, mpgi_free_g0((void *) 16));
  mpgi_free_g0(p);
  assert_fatal(text, mpgi_free_g0(p));
  mpgi_free_g0(q);
  assert_fatal(text, mpgi_free_g0(q));
  assert_fatal("mpg_realloc of", (void) mpgi_realloc_g0(p, 300));
}

static void child_double_free(void *arg) {
  (void) arg;
  mpgi_fatal_intercept = NULL;
  void *p = mpg_alloc(64);
  mpgi_free_g0(p);
  mpgi_free_g0(p);
}

static void misuse_ends_the_process_with_status_2(void **state) {
  (void) state;
  struct child_result r;
  child_run(child_double_free, NULL, &r);
  assert_int_equal(r.status, 2);
  assert_non_null(strstr(r.err, "fatal: mpg_free of a pointer"));
}

/* Garbage that a collection found, but nobody swept yet, is no object. */
static void unswept_garbage_is_no_object(void **state) {
  (void) state;
  enum { N = 3000 };
  uintptr_t *hidden = calloc(N, sizeof *hidden);
  for (int i = 0; i < N; i++) {
    void *p = mpg_alloc(64);
    if (i % 2 == 0) world.root[i] = p;
    hidden[i] = (uintptr_t) p;
  }
  mpgi_gc_collect(MPGI_GC_FORCED); /* without finishing the sweep */
  for (int i = 0; i < N; i++) {
    void *p = (void *) hidden[i];
    if (i % 2 == 0)
      assert_ptr_equal(mpgi_base_g0(p), p);
    else
      assert_null(mpgi_base_g0(p));
  }
  memset(world.root, 0, N * sizeof *world.root);
  free(hidden);
}

/* ---- realloc ---- */

static void realloc_keeps_contents(void **state) {
  (void) state;
  for (int kind = 0; kind < 2; kind++) {
    size_t n = 1;
    unsigned char *p = alloc_kind(n, kind);
    memset(p, 7, n);
    for (int i = 0; i < 300; i++) {
      size_t m = 1 + draw() % (i % 3 ? 3000 : 300000);
      p = mpgi_realloc_g0(p, m);
      assert_non_null(p);
      size_t same = m < n ? m : n;
      assert_true(all_are(p, same, 7));
      if (kind == MPGI_KIND_SCAN && m > n)
        assert_true(all_are(p + n, m - n, 0));
      memset(p, 7, m);
      n = m;
    }
  }
}

static void realloc_keeps_the_kind(void **state) {
  (void) state;
  size_t offset = 8;
  const mpg_type *t = mpgi_type_new_g0(16, &offset, 1);
  struct mpgi_cell cell;
  void *p = mpgi_alloc_typed_g0(t, 3), *q = mpg_alloc_noscan(10);
  for (size_t n = 100; n < 300000; n = n * 3 + 1) {
    p = mpgi_realloc_g0(p, n);
    q = mpgi_realloc_g0(q, n);
    assert_true(mpgi_cell_find((uintptr_t) p, &cell));
    assert_int_equal(cell.span->kind, MPGI_KIND_TYPED);
    assert_ptr_equal(mpgi_type_get(&cell), t);
    assert_true(mpgi_cell_find((uintptr_t) q, &cell));
    assert_int_equal(cell.span->kind, MPGI_KIND_NOSCAN);
  }
}

static void realloc_in_place(void **state) {
  (void) state;
  char *p = mpg_alloc(1500);
  size_t usable = mpgi_alloc_size_g0(p);
  assert_ptr_equal(mpgi_realloc_g0(p, usable), p);
  assert_ptr_equal(mpgi_realloc_g0(p, usable / 2 + 1), p);
  assert_ptr_not_equal(mpgi_realloc_g0(p, usable + 1), p);
}

/* ---- statistics ---- */

static void totals_are_exact(void **state) {
  (void) state;
  collect();
  struct mpg_gc_stats a = stats();
  uint64_t bytes = 0;
  enum { N = 12345 };
  for (int i = 0; i < N; i++) {
    void *p = mpg_alloc(i % 50 == 0 ? 40000 : 1 + (size_t) i % 3000);
    struct mpgi_cell c;
    assert_true(mpgi_cell_find((uintptr_t) p, &c));
    bytes += mpgi_span_cell_bytes(c.span);
  }
  struct mpg_gc_stats b = stats();
  assert_int_equal(b.total_alloc_objects - a.total_alloc_objects, N);
  assert_int_equal(b.total_alloc_bytes - a.total_alloc_bytes, bytes);
  assert_int_equal(b.heap_objects, b.total_alloc_objects - b.freed_objects);
  collect();
  b = stats();
  assert_int_equal(b.freed_objects - a.freed_objects, a.heap_objects + N);
  assert_int_equal(b.heap_objects, 0);
  assert_int_equal(b.heap_live, 0);
}

static void explicit_frees_are_counted(void **state) {
  (void) state;
  collect();
  struct mpg_gc_stats a = stats();
  for (int i = 0; i < 1000; i++) mpgi_free_g0(mpg_alloc(100));
  void *v[1000];
  for (int i = 0; i < 1000; i++) v[i] = mpg_alloc(100);
  for (int i = 0; i < 1000; i++) mpgi_free_g0(v[i]);
  struct mpg_gc_stats b = stats();
  assert_int_equal(b.total_alloc_objects - a.total_alloc_objects, 2000);
  assert_int_equal(b.freed_objects - a.freed_objects, 2000);
  assert_int_equal(b.heap_live, a.heap_live);
  assert_int_equal(b.heap_objects, a.heap_objects);
  collect();
  assert_int_equal(stats().freed_objects, b.freed_objects + b.heap_objects);
}

static void totals_survive_their_cache(void **state) {
  (void) state;
  struct mpg_gc_stats a = stats();
  struct mpgi_cache *own = mpgi_tls_cache(), *c = mpgi_gc_cache_new();
  mpgi_tls_cache_set(c);
  for (int i = 0; i < 100; i++) assert_non_null(mpg_alloc(32));
  mpgi_tls_cache_set(own);
  mpgi_gc_cache_free(c);
  assert_int_equal(stats().total_alloc_objects, a.total_alloc_objects + 100);
  assert_ptr_equal(mpgi_gc_cache_new(), c); /* reused, and empty */
  assert_int_equal(stats().total_alloc_objects, a.total_alloc_objects + 100);
  mpgi_gc_cache_free(c);
}

static void stats_check_their_size(void **state) {
  (void) state;
  struct mpg_gc_stats s = {.size = sizeof s - 1};
  assert_int_equal(mpgi_gc_stats_read_g0(&s), -EINVAL);
  assert_int_equal(mpgi_gc_stats_read_g0(NULL), -EINVAL);
}

/* ---- types ---- */

static void types_are_checked(void **state) {
  (void) state;
  size_t o[2] = {0, 8};
  assert_non_null(mpgi_type_new_g0(16, o, 2));
  assert_non_null(mpgi_type_new_g0(0, NULL, 0));
  assert_null(mpgi_type_new_g0(15, o, 2));
  assert_null(mpgi_type_new_g0(16, NULL, 1));
  o[1] = 9;
  assert_null(mpgi_type_new_g0(32, o, 2));
  o[1] = SIZE_MAX - 7;
  assert_null(mpgi_type_new_g0(32, o, 2));
  assert_fatal("not a type", (void) mpgi_alloc_typed_g0(o, 1));
  assert_fatal("not a type", (void) mpgi_alloc_typed_g0(NULL, 1));
}

static void absurd_sizes(void **state) {
  (void) state;
  size_t o = 0;
  const mpg_type *t = mpgi_type_new_g0(24, &o, 1);
  const size_t sizes[] = {SIZE_MAX,     SIZE_MAX - 7,     SIZE_MAX - 8192,
                          SIZE_MAX / 2, (size_t) 1 << 60, (size_t) 1 << 47};
  void *p = mpg_alloc(16);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    volatile size_t n = sizes[i];
    assert_null(mpg_alloc(n));
    assert_null(mpg_alloc_noscan(n));
    assert_null(mpgi_alloc_typed_g0(t, n));
    assert_null(mpgi_realloc_g0(p, n));
  }
  assert_ptr_equal(mpgi_base_g0(p), p);
}

static void not_attached(void **state) {
  (void) state;
  struct mpgi_cache *c = mpgi_tls_cache();
  mpgi_tls_cache_set(NULL);
  assert_fatal("mpg_alloc on a thread that is not attached",
               (void) mpgi_alloc_slow_g0(8, MPGI_KIND_SCAN));
  mpgi_tls_cache_set(c);
}

/* ---- running out ---- */

static size_t asked;
static char spare[64];
static void *handler(size_t bytes) {
  asked = bytes;
  return spare;
}

/* In a child whose heap is new: the nth mapping from now fails, and all after
 * it.  Returns the number of objects there was room for. */
static size_t fill_until_refused(void) {
  size_t n = 0;
  for (;; n++) {
    void **p = mpg_alloc(n % 7 == 0 ? (size_t) 1 << 18 : 2000);
    if (p == NULL) return n;
    child_check(p != (void **) spare && p[0] == NULL && p[200] == NULL);
    p[0] = world.root[0];
    p[1] = (void *) n;
    world.root[0] = p;
    child_check(n < 10000000);
  }
}

static void child_exhaust(void *arg) {
  atomic_store(&mpgi_os_mem_fail_countdown, *(int64_t *) arg);
  size_t n = fill_until_refused();
  child_check(mpg_alloc_noscan((size_t) 1 << 30) == NULL);
  mpgi_on_out_of_memory_g0(handler);
  child_check(mpg_alloc((size_t) 1 << 30) == (void *) spare);
  child_check(asked == (size_t) 1 << 30);
  mpgi_on_out_of_memory_g0(NULL);
  for (void **p = world.root[0]; p != NULL; p = p[0])
    child_check((size_t) p[1] == --n);
  child_check(n == 0 && mpgi_central_is_valid());
  world.root[0] = NULL;
  collect();
  child_check(stats().heap_objects == 0);
  size_t again = fill_until_refused(); /* what is committed is used again */
  world.root[0] = NULL;
  atomic_store(&mpgi_os_mem_fail_countdown, 0);
  mpgi_print(2, "%zu", again);
  child_check(mpg_alloc((size_t) 64 << 20) != NULL);
}

/* No memory for the record of a root: the handler is asked, too. */
static void child_root_record(void *arg) {
  void *p = NULL;
  (void) arg;
  mpgi_on_out_of_memory_g0(handler);
  atomic_store(&mpgi_fixmem_fail_countdown, 1);
  for (int i = 0; i < 100000 && p != (void *) spare; i++)
    child_check((p = mpgi_alloc_root_g0(100)) != NULL);
  atomic_store(&mpgi_fixmem_fail_countdown, 0);
  child_check(p == (void *) spare && asked == 100);
}

static void a_root_without_a_record_is_the_handlers(void **state) {
  (void) state;
  struct child_result r;
  child_run(child_root_record, NULL, &r);
  assert_child_ok(r);
}

static void exhaustion_at_every_mapping(void **state) {
  (void) state;
  struct child_result r;
  long before = -1, most = 0;
  for (int64_t n = 1; n <= 24; n++) {
    child_run(child_exhaust, &n, &r);
    assert_child_ok(r);
    long objects = strtol(r.err, NULL, 10);
    assert_true(objects >= before);
    before = objects;
    if (objects > most) most = objects;
  }
  assert_true(most > 300);
}

static void stress_collects_every_nth(void **state) {
  (void) state;
  mpgi_cache_flush(mpgi_tls_cache());
  mpgi_opt.gcstress = 10;
  uint64_t before = stats().cycles;
  for (int i = 0; i < 1000; i++) world.root[i % 7] = mpg_alloc(32);
  uint64_t cycles = stats().cycles - before;
  mpgi_opt.gcstress = 0;
  assert_true(cycles >= 99 && cycles <= 101);
}

static void freed_memory_is_clobbered(void **state) {
  (void) state;
  mpgi_opt.clobberfree = 1;
  unsigned char *p = mpg_alloc(100), *q = mpg_alloc(100000);
  unsigned char *r = mpg_alloc(100), *s = mpg_alloc(100);
  world.root[0] = r;
  memset(s, 1, 100);
  mpgi_free_g0(s);
  (void) q;
  collect();
  mpgi_opt.clobberfree = 0;
  assert_true(all_are(p, 100, 0xdf));
  assert_true(all_are(s, 100, 0xdf) || all_are(s, 100, 0));
  assert_true(all_are(r, 100, 0));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup(f, world_clear)
  const struct CMUnitTest tests[] = {
      TEST(exhaustion_at_every_mapping), /* first: wants a new heap */
      TEST(a_root_without_a_record_is_the_handlers),
      TEST(every_size_and_kind),
      TEST(class_boundaries),
      TEST(pending_cells_are_no_objects),
      TEST(lookups_of_other_memory),
      TEST(freed_cells_are_reused_before_the_next_hole),
      TEST(free_does_not_grow_the_heap),
      TEST(free_misuse_is_fatal),
      TEST(misuse_ends_the_process_with_status_2),
      TEST(unswept_garbage_is_no_object),
      TEST(realloc_keeps_contents),
      TEST(realloc_keeps_the_kind),
      TEST(realloc_in_place),
      TEST(totals_are_exact),
      TEST(explicit_frees_are_counted),
      TEST(totals_survive_their_cache),
      TEST(stats_check_their_size),
      TEST(types_are_checked),
      TEST(absurd_sizes),
      TEST(not_attached),
      TEST(stress_collects_every_nth),
      TEST(freed_memory_is_clobbered),
  };
  return cmocka_run_group_tests(tests, world_setup, NULL);
}

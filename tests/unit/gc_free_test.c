/* Magazines of freed cells: what is in them is no object, comes back cleared,
 * is counted once, and goes back to its span. */
#include <tests/unit/gc_world_fake.h>

#include <semaphore.h>

#include <gc/special.h>

#define BYTES 100 /* of most objects here */

static const mpg_type *bytes_type; /* of BYTES bytes, no pointers among them */

static struct mpg_gc_stats stats(void) {
  struct mpg_gc_stats s = {.size = sizeof s};
  assert_int_equal(mpgi_gc_stats_read_g0(&s), 0);
  return s;
}

static struct mpgi_magazine *magazine(size_t bytes, unsigned kind) {
  return mpgi_magazine_of(mpgi_tls_cache(), kind, mpgi_class_for(bytes));
}

static uint64_t cells(size_t bytes, unsigned kind) {
  return atomic_load(&magazine(bytes, kind)->n) % MPGI_MAGAZINE_REUSED;
}

static uint64_t cell_bytes(size_t bytes) {
  return mpgi_class[mpgi_class_for(bytes)].bytes;
}

/* The next allocation doesn't come from a hole. */
static void use_up_hole(size_t bytes, unsigned kind) {
  struct mpgi_hole *h = &mpgi_tls_cache()->hole[kind][mpgi_class_for(bytes)];
  while (atomic_load(&h->ptr) < atomic_load(&h->end))
    assert_non_null(mpgi_gc_alloc(bytes, (enum mpgi_kind) kind));
}

static bool is_allocated(void *p) {
  struct mpgi_cell c;
  assert_true(mpgi_cell_find((uintptr_t) p, &c));
  return atomic_load(&mpgi_span_pairs(c.span)[c.index / 64].alloc) >>
             c.index % 64 &
         1;
}

static bool all_zero(const char *p, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (p[i] != 0) return false;
  return true;
}

/* ---- a cell in a magazine ---- */

static void check_freed(void *p) {
  assert_null(mpgi_base_g0(p));
  assert_null(mpgi_base_g0((char *) p + 10));
  assert_int_equal(mpgi_alloc_size_g0(p), 0);
  assert_fatal("that memory is free; was it freed twice?", mpgi_free_g0(p));
  assert_fatal("freed twice", (void) mpgi_realloc_g0(p, 300));
}

static void it_is_no_object(void **state) {
  (void) state;
  for (unsigned kind = 0; kind < MPGI_KIND_COUNT; kind++) {
    char *p = mpgi_gc_alloc(BYTES, (enum mpgi_kind) kind);
    mpgi_free_g0(p);
    assert_int_equal(cells(BYTES, kind), 1);
    assert_true(is_allocated(p)); /* as the pending ones of a hole */
    check_freed(p);
    assert_int_equal(cells(BYTES, kind), 1);
  }
}

static const struct mpgi_type *type_in(void *p) {
  struct mpgi_cell c;
  assert_true(mpgi_cell_find((uintptr_t) p, &c));
  return mpgi_type_get(&c);
}

static void typed_cells_come_back_as_the_type_asked_for(void **state) {
  (void) state;
  size_t at[] = {0, 8};
  mpg_type *a = mpgi_type_new_g0(BYTES, at, 2);
  mpg_type *b = mpgi_type_new_g0(BYTES / 4, at, 1);
  char *p = mpgi_alloc_typed_g0(a, 1);
  memset(p, 0xff, mpgi_alloc_size_g0(p));
  assert_ptr_equal(type_in(p), a);
  use_up_hole(BYTES, MPGI_KIND_TYPED);
  mpg_free(p);
  assert_int_equal(cells(BYTES, MPGI_KIND_TYPED), 1);
  assert_ptr_equal(mpg_alloc_typed(b, 4), p);
  assert_ptr_equal(type_in(p), b);
  assert_true(all_zero(p, mpgi_alloc_size_g0(p)));
}

/* Whatever a program may write into an object, its pad says nothing. */
static void full_objects_can_be_freed(void **state) {
  (void) state;
  for (int i = 0; i < 300; i++) {
    char *p = mpg_alloc_noscan(BYTES);
    memset(p, 0xff, mpgi_alloc_size_g0(p));
    mpgi_free_g0(p);
    assert_fatal("freed twice", mpgi_free_g0(p));
  }
}

static void check_comes_back(size_t bytes, unsigned kind) {
  char *p = mpgi_gc_alloc(bytes, (enum mpgi_kind) kind);
  size_t usable = mpgi_alloc_size_g0(p);
  memset(p, 0xa5, usable);
  mpgi_free_g0(p);
  use_up_hole(bytes, kind);
  assert_ptr_equal(mpgi_gc_alloc(bytes, (enum mpgi_kind) kind), p);
  if (kind != MPGI_KIND_NOSCAN) assert_true(all_zero(p, usable));
  assert_int_equal(*mpgi_pad_of((uintptr_t) p, cell_bytes(bytes)), 0);
  assert_ptr_equal(mpgi_base_g0(p + bytes), p);
  mpgi_free_g0(p);
}

static void it_comes_back_cleared(void **state) {
  (void) state;
  for (unsigned kind = 0; kind < MPGI_KIND_COUNT; kind++)
    for (size_t n = 1; n <= MPGI_SMALL_MAX_BYTES; n += n / 3 + 1)
      check_comes_back(n, kind);
  assert_true(mpgi_central_is_valid());
}

/* On any stack: mpg_alloc and mpg_free themselves, which come to g0 only where
 * the magazine won't do. */
static void the_last_one_comes_first(void **state) {
  (void) state;
  enum { N = 20 };
  char *v[N];
  for (int leaf = 0; leaf < 2; leaf++) {
    unsigned kind = leaf ? MPGI_KIND_NOSCAN : MPGI_KIND_SCAN;
    for (int i = 0; i < N; i++)
      v[i] = leaf ? mpg_alloc_noscan(BYTES) : mpg_alloc(BYTES);
    use_up_hole(BYTES, kind);
    mpgi_free_g0(v[0]); /* makes the magazine */
    for (int i = 1; i < N; i++) {
      memset(v[i], 0xa5, BYTES);
      mpg_free(v[i]);
      assert_int_equal(cells(BYTES, kind), i + 1);
    }
    for (int i = N; i-- > 0;) {
      char *p = leaf ? mpg_alloc_noscan(BYTES) : mpg_alloc(BYTES);
      assert_ptr_equal(p, v[i]);
      assert_true(leaf || all_zero(p, BYTES));
    }
    assert_int_equal(cells(BYTES, kind), 0);
  }
}

/* ---- giving back ---- */

static void check_gives_back(size_t bytes) {
  enum { N = 5000 };
  static void *v[N];
  for (int i = 0; i < N; i++) v[i] = mpg_alloc_noscan(bytes);
  for (int i = 0; i < N; i++) mpgi_free_g0(v[i]);
  struct mpgi_magazine *m = magazine(bytes, MPGI_KIND_NOSCAN);
  uint64_t n = cells(bytes, MPGI_KIND_NOSCAN), still = 0;
  assert_true(n >= m->max / 2 && n <= m->max);
  assert_true(m->max * cell_bytes(bytes) <= 32768 || m->max == 4);
  for (int i = 0; i < N; i++) {
    struct mpgi_cell c; /* its span may be gone, too */
    if (mpgi_cell_find((uintptr_t) v[i], &c) && is_allocated(v[i])) still++;
  }
  assert_int_equal(still, n);
  check_freed(v[0]);
  check_freed(v[N - 1]);
  memset(v, 0, sizeof v); /* a root */
  assert_true(mpgi_central_is_valid());
}

static void a_full_one_gives_some_back(void **state) {
  (void) state;
  for (size_t bytes = 16; bytes < 30000; bytes *= 3) check_gives_back(bytes);
}

static void a_collection_finds_none(void **state) {
  (void) state;
  mpgi_opt.gcverify = 1;
  for (unsigned kind = 0; kind < MPGI_KIND_COUNT; kind++) {
    void *p = world.root[kind] = mpgi_gc_alloc(BYTES, (enum mpgi_kind) kind);
    mpgi_free_g0(p);
  }
  mpgi_gc_g0();
  mpgi_opt.gcverify = 0;
  for (unsigned kind = 0; kind < MPGI_KIND_COUNT; kind++)
    assert_int_equal(cells(BYTES, kind), 0);
  assert_int_equal(stats().heap_objects, 0);
  assert_int_equal(stats().heap_live, 0);
}

/* Spans of which all was freed are pages again, without a collection. */
static void empty_spans_are_freed(void **state) {
  (void) state;
  enum { N = 20000 };
  static void *v[N];
  for (int i = 0; i < N; i++) v[i] = mpg_alloc(BYTES);
  uint64_t idle = mpgi_heap_idle_bytes();
  for (int i = 0; i < N; i++) mpgi_free_g0(v[i]);
  assert_true(mpgi_heap_idle_bytes() >= idle + N / 2 * BYTES);
  mpgi_cache_flush(mpgi_tls_cache());
  assert_true(mpgi_heap_idle_bytes() >= idle + N * BYTES - 65536);
  memset(v, 0, sizeof v); /* a root */
}

/* mpg_realloc collects between finding the object and freeing it. */
static void a_cell_of_an_unswept_span_is_freed(void **state) {
  (void) state;
  enum { N = 100 };
  void **v = world.root;
  for (int i = 0; i < N; i++) v[i] = mpg_alloc(i % 2 ? BYTES : 400 * BYTES);
  for (int i = 0; i < N; i++) {
    mpgi_gc_percent_g0(-1);
    use_up_hole(3 * BYTES, MPGI_KIND_SCAN);
    assert_non_null(mpg_alloc((size_t) 1 << 20));
    mpgi_gc_percent_g0(0); /* now a collection is due */
    uint64_t cycles = stats().cycles;
    v[i] = mpgi_realloc_g0(v[i], 3 * BYTES);
    assert_int_equal(stats().cycles, cycles + 1);
  }
  mpgi_gc_percent_g0(100);
  for (int i = 0; i < N; i++) assert_ptr_equal(mpgi_base_g0(v[i]), v[i]);
  mpgi_gc_collect(MPGI_GC_FORCED); /* without finishing the sweep */
  for (int i = 0; i < N; i++) mpgi_free_g0(v[i]);
  mpgi_gc_g0();
  assert_int_equal(stats().heap_objects, 0);
}

/* ---- others ---- */

struct job {
  void **v;
  int n;
  sem_t *said, *go;
};

static void *free_all(void *arg) {
  struct job *j = arg;
  mutator_begin();
  for (int i = 0; i < j->n; i++) mpgi_free_g0(j->v[i]);
  sem_post(j->said);
  world_leave();
  sem_wait(j->go);
  world_return();
  mutator_end();
  return NULL;
}

static void another_thread_frees(void **state) {
  (void) state;
  enum { N = 10 };
  void *v[N];
  sem_t said, go;
  struct job job = {v, N, &said, &go};
  pthread_t t;
  sem_init(&said, 0, 0);
  sem_init(&go, 0, 0);
  struct mpg_gc_stats a = stats();
  for (int i = 0; i < N; i++) v[i] = mpg_alloc(BYTES);
  assert_int_equal(pthread_create(&t, NULL, free_all, &job), 0);
  sem_wait(&said);
  assert_int_equal(cells(BYTES, MPGI_KIND_SCAN), 0); /* it has them */
  for (int i = 0; i < N; i++) {
    assert_null(mpgi_base_g0(v[i]));
    assert_fatal("freed twice", mpgi_free_g0(v[i]));
  }
  assert_int_equal(stats().freed_objects, a.freed_objects + N);
  sem_post(&go);
  pthread_join(t, NULL);
  for (int i = 0; i < N; i++) assert_false(is_allocated(v[i]));
  assert_int_equal(stats().freed_objects, a.freed_objects + N);
  assert_int_equal(stats().heap_objects, a.heap_objects);
}

/* ---- short holes ---- */

#define PAIRS 4000

static char *fragment_alloc(unsigned kind, int fill) {
  char *p = kind == MPGI_KIND_TYPED
                ? mpgi_alloc_typed_g0(bytes_type, 1)
                : mpgi_gc_alloc(BYTES, (enum mpgi_kind) kind);
  assert_non_null(p);
  memset(p, fill, BYTES);
  return p;
}

/* Spans in which every other cell is free; the objects between are kept. */
static char **fragment(unsigned kind) {
  mpgi_gc_percent_g0(-1);
  char **kept = mpg_alloc(PAIRS * sizeof *kept);
  world.root[0] = kept;
  for (int i = 0; i < PAIRS; i++) {
    kept[i] = fragment_alloc(kind, 0x11);
    fragment_alloc(kind, 0x22);
  }
  mpgi_gc_g0();
  mpgi_sweep_finish();
  return kept;
}

/* Objects that nobody has had come out of a magazine; what is left in it is no
 * object, and goes back to the spans. */
static void check_short_holes(unsigned kind) {
  enum { N = PAIRS / 2 };
  char **kept = fragment(kind), **made = malloc(N * sizeof *made);
  struct mpg_gc_stats a = stats(), b;
  for (int i = 0; i < N; i++) {
    char *p = made[i] = fragment_alloc(kind, 0);
    assert_ptr_equal(mpgi_base_g0(p), p);
    memset(p, 0x33, BYTES);
  }
  b = stats();
  assert_int_equal(b.total_alloc_objects - a.total_alloc_objects, N);
  assert_int_equal(b.freed_objects, a.freed_objects);
  for (int i = 0; i < PAIRS; i++) assert_int_equal(kept[i][BYTES - 1], 0x11);
  for (int i = 0; i < N; i++) assert_int_equal(made[i][0], 0x33);
  uint64_t n = cells(BYTES, kind);
  assert_true(n > 0);
  char *left = (char *) magazine(BYTES, kind)->cell[n - 1];
  assert_true(is_allocated(left));
  check_freed(left);
  mpgi_cache_flush(mpgi_tls_cache());
  assert_int_equal(cells(BYTES, kind), 0);
  assert_false(is_allocated(left));
  assert_int_equal(stats().freed_objects, a.freed_objects);
  assert_int_equal(stats().total_alloc_objects - a.total_alloc_objects, N);
  world.root[0] = NULL;
  free(made);
  mpgi_gc_percent_g0(100);
}

static void cells_of_short_holes_come_out_of_magazines(void **state) {
  (void) state;
  bytes_type = mpgi_type_new_g0(BYTES, NULL, 0);
  assert_non_null(bytes_type);
  for (unsigned kind = 0; kind < MPGI_KIND_COUNT; kind++)
    check_short_holes(kind);
}

static void scanned_cells_of_short_holes_are_cleared(void **state) {
  (void) state;
  fragment(MPGI_KIND_SCAN);
  for (int i = 0; i < PAIRS / 2; i++)
    assert_true(all_zero(mpg_alloc(BYTES), BYTES));
  world.root[0] = NULL;
  mpgi_gc_percent_g0(100);
}

/* Memory that is new, and zero, isn't touched by way of a magazine. */
static void new_cells_come_from_holes(void **state) {
  (void) state;
  static const size_t sizes[] = {6000, 9800, 20000, 30000};
  mpgi_gc_g0();
  mpgi_sweep_finish();
  assert_true(mpgi_heap_release(UINT64_MAX) > 0); /* pages read zero */
  for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++)
    for (int i = 0; i < 40; i++) {
      assert_non_null(mpg_alloc(sizes[k]));
      assert_int_equal(cells(sizes[k], MPGI_KIND_SCAN), 0);
    }
}

static bool is_sample(void *p) {
  struct mpgi_cell cell;
  assert_true(mpgi_cell_start(p, &cell));
  mpgi_special_lock();
  bool found = mpgi_special_find_locked(cell.base, MPGI_SPECIAL_PROFILE);
  mpgi_special_unlock();
  return found;
}

static uint32_t some_caller(uintptr_t *pc, uint32_t max) {
  assert_true(max > 0);
  pc[0] = (uintptr_t) some_caller;
  return 1;
}

/* Where the next object is a sample it comes from a hole, and is one. */
static void a_sample_ends_a_magazine(void **state) {
  (void) state;
  struct mpgi_cache *c = mpgi_tls_cache();
  fragment(MPGI_KIND_SCAN);
  mpgi_gc_world.callers = some_caller; /* there is a profile */
  int64_t left = c->sample_left;
  for (int round = 0; round < 50; round++) {
    int n = round * 3;
    use_up_hole(BYTES, MPGI_KIND_SCAN);
    c->to_sample[MPGI_KIND_SCAN][mpgi_class_for(BYTES)] = 0;
    c->sample_left = n * (int64_t) cell_bytes(BYTES) + 1;
    for (int i = 0; i < n; i++) assert_false(is_sample(mpg_alloc(BYTES)));
    assert_true(is_sample(mpg_alloc(BYTES)));
  }
  mpgi_gc_world.callers = NULL;
  c->sample_left = left;
  world.root[0] = NULL;
  mpgi_gc_percent_g0(100);
}

/* ---- counts ---- */

static void every_object_is_counted_once(void **state) {
  (void) state;
  enum { N = 3000 };
  void *v[N];
  struct mpg_gc_stats a = stats(), b;
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < N; i++)
      v[i] = i % 2 ? mpg_alloc(BYTES) : mpg_alloc_noscan(BYTES);
    for (int i = 0; i < N; i++) mpgi_free_g0(v[i]);
    if (round == 3) mpgi_cache_flush(mpgi_tls_cache());
    b = stats();
    assert_int_equal(b.total_alloc_objects - a.total_alloc_objects,
                     (round + 1) * N);
    assert_int_equal(b.total_alloc_bytes - a.total_alloc_bytes,
                     (uint64_t) (round + 1) * N * cell_bytes(BYTES));
    assert_int_equal(b.freed_objects - a.freed_objects, (round + 1) * N);
    assert_int_equal(b.heap_live, a.heap_live);
  }
}

static void counts_survive_their_cache(void **state) {
  (void) state;
  struct mpg_gc_stats a = stats();
  struct mpgi_cache *own = mpgi_tls_cache(), *c = mpgi_gc_cache_new();
  mpgi_tls_cache_set(c);
  for (int i = 0; i < 1000; i++) mpgi_free_g0(mpg_alloc(BYTES));
  mpgi_tls_cache_set(own);
  mpgi_gc_cache_free(c);
  assert_int_equal(stats().freed_objects, a.freed_objects + 1000);
  assert_int_equal(stats().total_alloc_objects, a.total_alloc_objects + 1000);
  assert_ptr_equal(mpgi_gc_cache_new(), c); /* reused, and empty */
  assert_int_equal(stats().freed_objects, a.freed_objects + 1000);
  mpgi_gc_cache_free(c);
}

/* [pacer.cells]: what waits in a ring, and is freed, costs nothing; it doesn't
 * hide what others allocate, either. */
static void the_pacer_sees_neither_more_nor_less(void **state) {
  (void) state;
  enum { RING = 50 };
  void *ring[RING] = {NULL};
  mpgi_gc_percent_g0(-1);
  for (int i = 0; i < 3000; i++) assert_non_null(mpg_alloc(BYTES));
  uint64_t before = mpgi_pacer_live();
  for (int i = 0; i < 100000; i++) {
    mpgi_free_g0(ring[i % RING]);
    ring[i % RING] = mpg_alloc(BYTES);
  }
  int64_t more = (int64_t) (mpgi_pacer_live() - before);
  assert_true(more >= -65536 && more <= 65536);
  mpgi_gc_percent_g0(100);
}

/* The distance to the next sample of the profile is that of all allocations. */
static void samples_count_what_comes_again(void **state) {
  (void) state;
  struct mpgi_cache *c = mpgi_tls_cache();
  unsigned class = mpgi_class_for(BYTES);
  void *p = mpg_alloc(BYTES);
  use_up_hole(BYTES, MPGI_KIND_SCAN);
  mpgi_free_g0(p);
  int64_t left = c->sample_left;
  int16_t *to = &c->to_sample[MPGI_KIND_SCAN][class];
  *to = 0;
  assert_ptr_equal(mpg_alloc(BYTES), p);
  assert_int_equal(c->sample_left, left - (int64_t) cell_bytes(BYTES));
  mpgi_free_g0(p);
  *to = -2; /* two that were counted */
  assert_ptr_equal(mpg_alloc(BYTES), p);
  assert_int_equal(c->sample_left, left - (int64_t) cell_bytes(BYTES));
  assert_int_equal(*to, -1);
  *to = 0;
  mpgi_free_g0(p);
  c->sample_left = 1; /* the next object is one: its cell comes from a hole */
  assert_false(mpgi_magazine_take(c, MPGI_KIND_SCAN, class, &p));
  assert_int_equal(*to, 1);
  *to = 0;
  c->sample_left = left;
}

/* ---- without magazines ---- */

static void with_clobbering_there_are_none(void **state) {
  (void) state;
  mpgi_opt.clobberfree = 1;
  unsigned char *p = mpg_alloc(BYTES), *q = mpg_alloc(BYTES);
  assert_non_null(q);
  memset(p, 1, BYTES);
  mpgi_free_g0(p);
  mpgi_opt.clobberfree = 0;
  assert_int_equal(cells(BYTES, MPGI_KIND_SCAN), 0);
  assert_false(is_allocated(p));
  for (int i = 0; i < BYTES; i++) assert_int_equal(p[i], MPGI_CLOBBER);
  assert_fatal("freed twice", mpgi_free_g0(p));
}

static void a_thread_without_cache_can_free(void **state) {
  (void) state;
  struct mpgi_cache *own = mpgi_tls_cache();
  void *p = mpg_alloc(BYTES);
  struct mpg_gc_stats a = stats();
  mpgi_tls_cache_set(NULL);
  mpgi_free_g0(p);
  assert_fatal("freed twice", mpgi_free_g0(p));
  mpgi_tls_cache_set(own);
  assert_false(is_allocated(p));
  assert_int_equal(stats().freed_objects, a.freed_objects + 1);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup(f, world_clear)
  const struct CMUnitTest tests[] = {
      TEST(it_is_no_object),
      TEST(typed_cells_come_back_as_the_type_asked_for),
      TEST(full_objects_can_be_freed),
      TEST(it_comes_back_cleared),
      TEST(the_last_one_comes_first),
      TEST(a_full_one_gives_some_back),
      TEST(a_collection_finds_none),
      TEST(empty_spans_are_freed),
      TEST(a_cell_of_an_unswept_span_is_freed),
      TEST(another_thread_frees),
      TEST(every_object_is_counted_once),
      TEST(cells_of_short_holes_come_out_of_magazines),
      TEST(scanned_cells_of_short_holes_are_cleared),
      TEST(a_sample_ends_a_magazine),
      TEST(new_cells_come_from_holes),
      TEST(counts_survive_their_cache),
      TEST(the_pacer_sees_neither_more_nor_less),
      TEST(samples_count_what_comes_again),
      TEST(with_clobbering_there_are_none),
      TEST(a_thread_without_cache_can_free),
  };
  return cmocka_run_group_tests(tests, world_setup, NULL);
}

/* Marking against a shadow model: random graphs of all kinds and sizes, with
 * start, interior and one-past-the-end references, large objects, typed
 * arrays; by 1, 2 and 4 markers, with every vector width, with too few
 * buffers.  Roots are exactly known, so is what must be freed. */
#include <tests/unit/gc_world_fake.h>

static uint64_t seed;
static uint32_t draw(uint32_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t) (seed >> 33) % below;
}

/* ---- the model: in malloc memory, which is no root ---- */

#define OBJECTS 6000
#define REFS 6
#define NONE (-1)

struct shadow {
  unsigned char *addr;
  size_t bytes;
  int kind;
  int refs; /* words that may refer */
  int to[REFS];
  size_t at[REFS];    /* offset of the word in this object */
  size_t delta[REFS]; /* where in the target it points */
  bool live, reached;
};

static struct shadow *model;
static int roots[64];
static bool starts_only;          /* words of objects count that name a start */
static const mpg_type *pair_type; /* words 0 and 2 of 3 are pointers */

static size_t random_bytes(void) {
  switch (draw(40)) {
  case 0: return 30000 + draw(300000); /* large */
  case 1: return 1024 + draw(8192);
  default: return 24 + draw(300);
  }
}

/* A filler that is no pointer into the heap and says whose it is. */
static uint64_t filler(int id, size_t i) {
  return UINT64_C(0xf100000000000000) + (uint64_t) id * 65536 + i % 65536;
}

static bool is_ref(const struct shadow *s, size_t offset) {
  for (int r = 0; r < s->refs; r++)
    if (s->at[r] == offset) return true;
  return false;
}

static void fill(int id) {
  struct shadow *s = &model[id];
  for (size_t i = 0; i + 8 <= s->bytes; i += 8)
    if (!is_ref(s, i)) *(uint64_t *) (void *) (s->addr + i) = filler(id, i);
}

static void make(int id) {
  struct shadow *s = &model[id];
  s->kind = (int) draw(MPGI_KIND_COUNT);
  s->bytes = random_bytes() / 8 * 8;
  s->refs = 0;
  if (s->kind == MPGI_KIND_TYPED) {
    size_t n = s->bytes / 24;
    s->bytes = n * 24;
    s->addr = mpgi_alloc_typed_g0(pair_type, n);
    for (int r = 0; r < REFS && r < (int) n * 2; r++) {
      size_t i = draw((uint32_t) n);
      s->at[s->refs] = i * 24 + (r % 2) * 16;
      if (!is_ref(s, s->at[s->refs])) s->refs++;
    }
  } else {
    s->addr = mpgi_gc_alloc(s->bytes, (enum mpgi_kind) s->kind);
    for (int r = 0; s->kind == MPGI_KIND_SCAN && r < REFS; r++) {
      s->at[s->refs] = draw((uint32_t) (s->bytes / 8)) * 8;
      if (!is_ref(s, s->at[s->refs])) s->refs++;
    }
  }
  assert_non_null(s->addr);
  for (int r = 0; r < s->refs; r++) s->to[r] = NONE;
  s->live = true;
  fill(id);
}

static void point(int from, int r, int to) {
  struct shadow *s = &model[from];
  size_t bytes = to == NONE ? 0 : model[to].bytes;
  bool start = starts_only ? draw(6) != 0 : draw(3) == 0;
  size_t delta = start ? 0 : draw(3) == 0 ? bytes : draw(bytes + 1);
  s->to[r] = to;
  s->delta[r] = delta;
  *(void **) (void *) (s->addr + s->at[r]) =
      to == NONE ? NULL : model[to].addr + delta;
}

static int random_live(void) {
  for (int tries = 0; tries < 100; tries++) {
    int id = (int) draw(OBJECTS);
    if (model[id].live) return id;
  }
  return NONE;
}

static void set_root(unsigned i, int id) {
  roots[i] = id;
  world.root[i] =
      id == NONE ? NULL : model[id].addr + draw(model[id].bytes + 1);
}

static void reach(void) {
  int *stack = malloc(OBJECTS * sizeof *stack), n = 0;
  for (int i = 0; i < OBJECTS; i++) model[i].reached = false;
  for (unsigned i = 0; i < 64; i++)
    if (roots[i] != NONE && !model[roots[i]].reached) {
      model[roots[i]].reached = true;
      stack[n++] = roots[i];
    }
  while (n > 0) {
    const struct shadow *s = &model[stack[--n]];
    for (int r = 0; r < s->refs; r++)
      if (s->to[r] != NONE && !model[s->to[r]].reached &&
          (!starts_only || s->delta[r] == 0)) {
        model[s->to[r]].reached = true;
        stack[n++] = s->to[r];
      }
  }
  free(stack);
}

static void check_intact(int id) {
  const struct shadow *s = &model[id];
  assert_ptr_equal(mpgi_base_g0(s->addr), s->addr);
  for (size_t i = 0; i + 8 <= s->bytes; i += 8)
    if (!is_ref(s, i) && *(uint64_t *) (void *) (s->addr + i) != filler(id, i))
      fail_msg("object %d of %zu bytes, kind %d: damaged at %zu", id, s->bytes,
               s->kind, i);
  for (int r = 0; r < s->refs; r++)
    assert_ptr_equal(
        *(void **) (void *) (s->addr + s->at[r]),
        s->to[r] == NONE ? NULL : model[s->to[r]].addr + s->delta[r]);
}

/* References that didn't count, to what is no more. */
static void drop_dangling(void) {
  for (int i = 0; i < OBJECTS; i++)
    for (int r = 0; model[i].live && r < model[i].refs; r++)
      if (model[i].to[r] != NONE && !model[model[i].to[r]].live)
        point(i, r, NONE);
}

static void collect_and_check(void) {
  uint64_t live = 0;
  struct mpg_gc_stats st = {.size = sizeof st};
  reach();
  mpgi_gc_g0();
  for (int i = 0; i < OBJECTS; i++) {
    if (!model[i].live) continue;
    if (model[i].reached) {
      check_intact(i);
      live++;
    } else {
      assert_null(mpgi_base_g0(model[i].addr));
      model[i].live = false;
    }
  }
  assert_int_equal(mpgi_gc_stats_read_g0(&st), 0);
  assert_int_equal(st.heap_objects, live);
  if (starts_only) drop_dangling();
}

static void random_step(void) {
  int id = (int) draw(OBJECTS), from = random_live();
  switch (draw(8)) {
  case 0: set_root(draw(64), draw(4) == 0 ? NONE : random_live()); break;
  case 1:
  case 2:
    if (from != NONE && model[from].refs > 0)
      point(from, (int) draw((uint32_t) model[from].refs),
            draw(4) == 0 ? NONE : random_live());
    break;
  default:
    if (model[id].live) break;
    make(id);
    if (from != NONE && model[from].refs > 0 && draw(8) != 0)
      point(from, (int) draw((uint32_t) model[from].refs), id);
    else
      set_root(draw(64), id);
    break;
  }
}

static void forget(void) {
  for (unsigned i = 0; i < 64; i++) set_root(i, NONE);
  if (model != NULL)
    for (int i = 0; i < OBJECTS; i++) model[i].live = false;
}

static void run(unsigned rounds) {
  if (model == NULL) model = calloc(OBJECTS, sizeof *model);
  forget();
  mpgi_gc_percent_g0(-1); /* collections only where the model expects them */
  mpgi_gc_g0();
  for (unsigned i = 0; i < rounds; i++) {
    for (int k = 0; k < 4000; k++) random_step();
    collect_and_check();
  }
  forget();
  mpgi_gc_percent_g0(100);
}

/* ---- the tests ---- */

static void random_graph_one_marker(void **state) {
  (void) state;
  seed = 1;
  run(40);
}

static void at_every_width(void (*fn)(void)) {
  const struct mpgi_mark_ops *own = mpgi_mark_ops;
  const struct mpgi_mark_ops *all[] = {&mpgi_mark_scalar, &mpgi_mark_avx2,
                                       &mpgi_mark_avx512};
  for (int i = 0; i < 3; i++) {
    seed = 2 + (uint64_t) i;
    mpgi_mark_ops = all[i];
    fn();
    if (all[i] == own) break; /* no wider ones here */
  }
  mpgi_mark_ops = own;
}

static void run_some(void) { run(8); }

static void random_graph_every_width(void **state) {
  (void) state;
  at_every_width(run_some);
}

#define NEIGHBOURS 4096
#define NAMED 8 /* named by one object, which is scanned in a batch */
#define INSIDE_BYTES 8

/* Objects name others that lie side by side, some of them by their starts. */
static void neighbours(void) {
  static uintptr_t hidden[NEIGHBOURS];
  static bool start[NEIGHBOURS];
  uintptr_t **all =
      mpgi_gc_alloc(NEIGHBOURS / NAMED * sizeof *all, MPGI_KIND_SCAN);
  assert_non_null(all);
  world.root[0] = all;
  for (int i = 0; i < NEIGHBOURS / NAMED; i++)
    all[i] = mpgi_gc_alloc(NAMED * sizeof **all, MPGI_KIND_SCAN);
  for (int i = 0; i < NEIGHBOURS; i++) {
    uintptr_t base = (uintptr_t) mpgi_gc_alloc(40, MPGI_KIND_SCAN);
    start[i] = draw(2) != 0;
    hidden[i] = ~base;
    all[i / NAMED][i % NAMED] = base + (start[i] ? 0 : INSIDE_BYTES);
  }
  mpgi_gc_g0();
  for (int i = 0; i < NEIGHBOURS; i++)
    assert_int_equal(mpgi_base_g0((void *) ~hidden[i]) != NULL, start[i]);
  world.root[0] = NULL;
  mpgi_gc_g0();
}

static void neighbours_every_width_of_starts(void **state) {
  (void) state;
  forget();
  mpgi_gc_percent_g0(-1);
  mpgi_gc_g0();
  atomic_store(&mpgi_mark_interior, false);
  at_every_width(neighbours);
  atomic_store(&mpgi_mark_interior, true);
  mpgi_gc_percent_g0(100);
}

/* The graph's references are to starts, and to other places. */
static void random_graph_every_width_of_starts(void **state) {
  (void) state;
  starts_only = true;
  atomic_store(&mpgi_mark_interior, false);
  at_every_width(run_some);
  atomic_store(&mpgi_mark_interior, true);
  starts_only = false;
}

static void random_graph_verified(void **state) {
  (void) state;
  seed = 7;
  mpgi_opt.gcverify = 1;
  mpgi_opt.clobberfree = 1;
  run(15);
  mpgi_opt.gcverify = 0;
  mpgi_opt.clobberfree = 0;
}

static void random_graph_own_workers(void **state) {
  (void) state;
  for (unsigned n = 2; n <= 4; n += 2) {
    seed = 10 + n;
    world.parallelism = n;
    run(12);
  }
  world.parallelism = 1;
}

static _Atomic bool stop_helping;
static void *helper(void *arg) {
  (void) arg;
  mutator_begin();
  while (!atomic_load(&stop_helping)) {
    world_poll();
    sched_yield();
  }
  mutator_end();
  return NULL;
}

static void random_graph_recruited_threads(void **state) {
  (void) state;
  pthread_t t[3];
  atomic_store(&stop_helping, false);
  for (int i = 0; i < 3; i++)
    assert_int_equal(pthread_create(&t[i], NULL, helper, NULL), 0);
  world.parallelism = 4;
  world.lend = 3;
  seed = 20;
  run(15);
  atomic_store(&stop_helping, true);
  for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
  world.parallelism = 1;
  world.lend = 0;
}

/* ---- long and wide shapes ---- */

struct node {
  struct node *left, *right, *other;
  uint64_t id;
};

/* A random binary tree over n nodes in heap order of a random permutation. */
static struct node *tree(uint32_t n) {
  struct node **v = malloc(n * sizeof *v);
  for (uint32_t i = 0; i < n; i++) {
    v[i] = mpg_alloc(sizeof(struct node));
    world.root[i % 64 == 0 ? i / 64 : WORLD_ROOTS - 1] = v[i];
    v[i]->id = i;
    if (i == 0) continue;
    struct node *up = v[draw(i)];
    for (;;) { /* hang it somewhere below */
      struct node **side = draw(2) ? &up->left : &up->right;
      if (*side == NULL) {
        *side = v[i];
        break;
      }
      up = *side;
    }
  }
  struct node *top = v[0];
  free(v);
  memset(world.root, 0, WORLD_ROOTS * sizeof *world.root);
  return top;
}

static uint64_t heap_objects(void) {
  struct mpg_gc_stats st = {.size = sizeof st};
  assert_int_equal(mpgi_gc_stats_read_g0(&st), 0);
  return st.heap_objects;
}

/* Every node reachable, and random edges: depth-first order keeps a large part
 * of it waiting. */
static struct node *graph(uint32_t n) {
  struct node **v = malloc(n * sizeof *v);
  for (uint32_t i = 0; i < n; i++) {
    v[i] = mpg_alloc(sizeof(struct node));
    world.root[WORLD_ROOTS - 1] = v[i]; /* no collection is due anyway */
  }
  for (uint32_t i = n - 1; i > 0; i--) {
    uint32_t j = draw(i + 1);
    struct node *t = v[i];
    v[i] = v[j];
    v[j] = t;
  }
  for (uint32_t i = 1; i < n; i++)
    *(i % 2 ? &v[(i - 1) / 2]->left : &v[(i - 1) / 2]->right) = v[i];
  for (uint32_t i = 0; i < n; i++) v[i]->other = v[draw(n)];
  struct node *top = v[0];
  free(v);
  world.root[WORLD_ROOTS - 1] = NULL;
  return top;
}

static void mark_shapes(void) {
  enum { N = 200000 };
  mpgi_gc_percent_g0(-1);
  mpgi_gc_g0();
  assert_int_equal(heap_objects(), 0);
  world.root[0] = graph(N);
  mpgi_gc_g0();
  assert_int_equal(heap_objects(), N);
  world.root[0] = NULL;
  struct node *list = NULL;
  for (uint64_t i = 0; i < N; i++) {
    struct node *n = mpg_alloc(sizeof *n);
    n->left = list;
    list = n;
  }
  void **wide = mpg_alloc(N * sizeof *wide);
  for (uint64_t i = 0; i < N; i++) wide[i] = mpg_alloc(16);
  world.root[1] = list;
  world.root[2] = wide;
  mpgi_gc_g0();
  assert_int_equal(heap_objects(), 2 * N + 1);
  memset(world.root, 0, WORLD_ROOTS * sizeof *world.root);
  struct node *top = tree(N);
  world.root[0] = top;
  mpgi_gc_g0();
  assert_int_equal(heap_objects(), N);
  world.root[0] = NULL;
  mpgi_gc_g0();
  assert_int_equal(heap_objects(), 0);
  mpgi_gc_percent_g0(100);
}

static void shapes_by_1_2_and_4_markers(void **state) {
  (void) state;
  for (unsigned n = 1; n <= 4; n *= 2) {
    seed = n;
    world.parallelism = n;
    mark_shapes();
  }
  world.parallelism = 1;
}

/* Helpers of the last collection may still have theirs: one without helpers
 * begins when they have left. */
static void buffers_limit(uint32_t n) {
  unsigned markers = world.parallelism;
  world.parallelism = 1;
  mpgi_gc_g0();
  world.parallelism = markers;
  mpgi_workbuf_limit(n);
}

/* With so few buffers that items are dropped; nothing may be lost. */
static void overflow_is_recovered_from(void **state) {
  (void) state;
  for (unsigned n = 1; n <= 4; n *= 2) {
    world.parallelism = n;
    for (uint32_t limit = 2; limit <= 16; limit += 7) {
      buffers_limit(limit);
      seed = limit;
      mark_shapes();
    }
  }
  buffers_limit(UINT32_MAX);
  world.parallelism = 1;
}

static void job_none(size_t i, mpgi_visit *visit, void *arg) {
  visit(arg, &world.root[i], &world.root[i + 1]);
}

/* Mark from two roots; every object is found, none is freed. */
static void mark_two_roots(struct mpgi_mark_result *r) {
  mpgi_sweep_finish();
  world_stop(MPGI_STOP_GC, 0);
  mpgi_cache_flush_all_stw();
  mpgi_mark_run(job_none, 2, world.parallelism, r);
  mpgi_sweep_begin_stw(mpgi_central_flip_stw());
  world_start();
}

static void overflow_happens_in_that_test(void **state) {
  (void) state;
  struct mpgi_mark_result r;
  mpgi_gc_percent_g0(-1);
  mpgi_gc_g0();
  world.root[0] = graph(200000);
  mark_two_roots(&r);
  assert_int_equal(r.recoveries, 0);
  assert_int_equal(r.objects, 200000);
  buffers_limit(2);
  mark_two_roots(&r);
  buffers_limit(UINT32_MAX);
  assert_true(r.recoveries > 0);
  assert_int_equal(r.objects, 200000);
  memset(world.root, 0, 2 * sizeof *world.root);
  mpgi_gc_percent_g0(100);
}

/* The system refuses memory for buffers in the middle of marking: in a child,
 * where no more than the first are there. */
static void child_refused_buffers(void *arg) {
  struct mpgi_mark_result r;
  world.parallelism = *(unsigned *) arg;
  mpgi_gc_percent_g0(-1);
  world.root[0] = graph(400000);
  atomic_store(&mpgi_os_mem_fail_countdown, 1);
  mark_two_roots(&r);
  atomic_store(&mpgi_os_mem_fail_countdown, 0);
  child_check(r.recoveries > 0);
  child_check(r.objects == 400000);
}

static void refused_buffers_are_an_overflow(void **state) {
  (void) state;
  struct child_result r;
  for (unsigned n = 1; n <= 2; n++) {
    child_run(child_refused_buffers, &n, &r);
    assert_child_ok(r);
  }
}

/* Several markers come upon the same neighbours at the same time: each is
 * counted and scanned once, by whoever was first.  A marker that is behind is
 * the faster one, because all is marked, until it has caught up. */
static void contended_neighbours_are_marked_once(void **state) {
  (void) state;
  enum { ARRAYS = 4, HOLDERS = 4096, EACH = 5, TARGETS = HOLDERS * EACH };
  struct mpgi_mark_result r;
  mpgi_gc_percent_g0(-1);
  mpgi_gc_g0();
  void ***array = mpg_alloc(ARRAYS * sizeof *array);
  void **target = mpg_alloc(TARGETS * sizeof *target);
  world.root[0] = array;
  for (int i = 0; i < TARGETS; i++) {
    void **p = target[i] = mpg_alloc(40);
    p[0] = mpg_alloc(24);
  }
  for (int a = 0; a < ARRAYS; a++) {
    array[a] = mpg_alloc(HOLDERS * sizeof *array[a]);
    for (int i = 0; i < HOLDERS; i++) {
      array[a][i] = mpg_alloc(EACH * sizeof *target);
      memcpy(array[a][i], target + i * EACH, EACH * sizeof *target);
    }
  }
  world.parallelism = 2;
  for (int i = 0; i < 10; i++) {
    mark_two_roots(&r);
    assert_int_equal(r.objects, 1 + ARRAYS + ARRAYS * HOLDERS + 2 * TARGETS);
  }
  world.parallelism = 1;
  world.root[0] = NULL;
  mpgi_gc_percent_g0(100);
}

/* Objects that lie as they were made, of which an array names some: close
 * together or not, inside, at the end, twice.  Each leads to two of a second
 * row. */
#define ROW 4000
struct row_object {
  unsigned char *addr;
  bool named;
};
static struct row_object *row[2]; /* no root */

static void rows_make(size_t bytes, enum mpgi_kind kind, unsigned density) {
  void **array = mpg_alloc(2 * ROW * sizeof *array);
  if (kind == MPGI_KIND_TYPED) bytes = bytes / 24 * 24;
  size_t n = 0;
  world.root[0] = array;
  for (int i = 0; i < 2 * ROW; i++)
    row[i / ROW][i % ROW].addr =
        kind == MPGI_KIND_TYPED ? mpgi_alloc_typed_g0(pair_type, bytes / 24)
                                : mpgi_gc_alloc(bytes, kind);
  for (int i = 0; i < 2 * ROW; i++) row[i / ROW][i % ROW].named = false;
  for (int i = 0; i < ROW; i++) {
    int next = i + 1 < ROW ? i + 1 : i;
    if (kind != MPGI_KIND_NOSCAN) {
      ((void **) (void *) row[0][i].addr)[0] = row[1][i].addr;
      ((void **) (void *) row[0][i].addr)[2] =
          row[1][next].addr + draw((uint32_t) bytes);
    }
    if (draw(100) >= density) continue;
    row[0][i].named = true;
    if (kind != MPGI_KIND_NOSCAN) row[1][i].named = row[1][next].named = true;
    for (unsigned times = draw(4) == 0 ? 2 : 1; times > 0; times--)
      array[n++] = row[0][i].addr + (draw(2) ? 0 : draw((uint32_t) bytes + 1));
  }
}

static void rows_check(void) {
  uint64_t live = 1;
  mpgi_gc_g0();
  for (int i = 0; i < 2 * ROW; i++) {
    struct row_object *o = &row[i / ROW][i % ROW];
    live += o->named;
    if (o->named) assert_ptr_equal(mpgi_base_g0(o->addr), o->addr);
  }
  assert_int_equal(heap_objects(), live);
}

static void mark_rows(void) {
  static const size_t sizes[] = {24, 32, 40, 56, 72, 96, 240, 2304};
  for (int i = 0; i < 2; i++) row[i] = malloc(ROW * sizeof *row[i]);
  mpgi_gc_percent_g0(-1);
  mpgi_gc_g0();
  for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (unsigned kind = 0; kind < MPGI_KIND_COUNT; kind++)
      for (unsigned density = 20; density <= 100; density += 40) {
        rows_make(sizes[i], (enum mpgi_kind) kind, density);
        rows_check();
        rows_check(); /* between free cells now */
        world.root[0] = NULL;
      }
  for (int i = 0; i < 2; i++) free(row[i]);
  mpgi_gc_percent_g0(100);
}

static void neighbours_at_every_width(void **state) {
  (void) state;
  for (unsigned n = 1; n <= 2; n++) {
    world.parallelism = n;
    at_every_width(mark_rows);
  }
  world.parallelism = 1;
}

/* A program may have written beyond its objects: each leads to
 * eight neighbours, by all words of its cell. */
static void mark_overrun(void) {
  enum { WORDS = 8, BYTES = WORDS * sizeof(void *) };
  size_t words = mpgi_class[mpgi_class_for(BYTES)].bytes / sizeof(void *);
  void **all = malloc(ROW * sizeof *all); /* no root */
  assert_true(words > WORDS + 1);
  mpgi_gc_percent_g0(-1);
  for (size_t i = 0; i < ROW; i++) all[i] = mpg_alloc(BYTES);
  for (size_t i = 0; i < ROW; i++)
    for (size_t w = 0; w < words; w++)
      ((void **) all[i])[w] = all[(i * WORDS + w % WORDS + 1) % ROW];
  world.root[0] = all[0];
  mpgi_gc_g0();
  for (size_t i = 0; i < ROW; i++) {
    assert_ptr_equal(mpgi_base_g0(all[i]), all[i]);
    memset(all[i], 0, words * sizeof(void *)); /* pads are 0 */
  }
  world.root[0] = NULL;
  mpgi_gc_percent_g0(100);
  free(all);
}

static void what_is_beyond_objects_has_room(void **state) {
  (void) state;
  at_every_width(mark_overrun);
}

/* ---- words side by side that name objects of all sorts ---- */

#define MIXTURE 3000
static struct mpgi_mark_result mixture; /* what marking is to find */

/* Word i of the array: into an object of its own, the same as another word, or
 * into no object. */
static uintptr_t mixture_word(const uintptr_t *array, uint32_t i) {
  struct mpgi_cell cell;
  uint32_t what = draw(12);
  if (what == 0) return mpgi_heap.lo + mpgi_heap_used() - 1 - draw(4096);
  if (what == 1 && i > 0) return array[draw(i)];
  size_t bytes = what == 2 ? 40000 + draw(40000) : 16 + draw(2000);
  unsigned char *p = mpgi_gc_alloc(bytes, (enum mpgi_kind) draw(2));
  assert_true(mpgi_cell_find((uintptr_t) p, &cell));
  mixture.objects++;
  mixture.bytes += mpgi_span_cell_bytes(cell.span);
  return (uintptr_t) p + (draw(2) ? 0 : draw((uint32_t) bytes + 1));
}

static void mark_mixture(void) {
  struct mpgi_cell cell;
  struct mpgi_mark_result r;
  mpgi_gc_percent_g0(-1);
  mpgi_gc_g0();
  assert_int_equal(heap_objects(), 0);
  uintptr_t *array = mpg_alloc(MIXTURE * sizeof *array);
  world.root[0] = array;
  assert_true(mpgi_cell_find((uintptr_t) array, &cell));
  mixture.objects = 1;
  mixture.bytes = mpgi_span_cell_bytes(cell.span);
  for (uint32_t i = 0; i < MIXTURE; i++) array[i] = mixture_word(array, i);
  mark_two_roots(&r);
  assert_int_equal(r.objects, mixture.objects);
  assert_int_equal(r.bytes, mixture.bytes);
  world.root[0] = NULL;
  mpgi_gc_percent_g0(100);
}

static void words_of_all_sorts_at_every_width(void **state) {
  (void) state;
  for (unsigned n = 1; n <= 2; n++) {
    world.parallelism = n;
    at_every_width(mark_mixture);
  }
  world.parallelism = 1;
}

/* With too few buffers what is dropped may be runs. */
static void runs_are_recovered(void **state) {
  (void) state;
  seed = 5;
  buffers_limit(2);
  mark_rows();
  buffers_limit(UINT32_MAX);
}

/* A worker that took its token in an earlier phase and gets a CPU only now:
 * the leader, alone, marks without atomics, so it must not come in. */
static void *join_late(void *arg) {
  mpgi_mark_join();
  atomic_store((_Atomic bool *) arg, true);
  return NULL;
}

static _Atomic bool late_left;
static unsigned jobs_by_others;
static pthread_t leader;

static void job_while_late(size_t i, mpgi_visit *visit, void *arg) {
  if (!pthread_equal(pthread_self(), leader)) jobs_by_others++;
  if (i > 0) return;
  pthread_t late;
  assert_int_equal(pthread_create(&late, NULL, join_late, &late_left), 0);
  pthread_detach(late);
  while (!atomic_load(&late_left) && jobs_by_others == 0) sched_yield();
  visit(arg, world.root, world.root + 1);
}

static void nobody_joins_before_helpers_are_called(void **state) {
  (void) state;
  struct mpgi_mark_result r;
  leader = pthread_self();
  mpgi_sweep_finish();
  world_stop(MPGI_STOP_GC, 0);
  mpgi_cache_flush_all_stw();
  mpgi_mark_run(job_while_late, 2, 2, &r);
  mpgi_sweep_begin_stw(mpgi_central_flip_stw());
  world_start();
  assert_int_equal(jobs_by_others, 0);
  assert_int_equal(r.markers, 1);
}

/* ---- objects of many words ---- */

/* In turn each word of an object is the only one that refers; the others just
 * miss the heap. */
static void mark_lone_words(void) {
  enum { WORDS = 75 };
  mpgi_gc_percent_g0(-1);
  uintptr_t *p = mpg_alloc(WORDS * sizeof *p);
  world.root[0] = p;
  for (size_t at = 0; at <= WORDS; at++) {
    void *lone = mpg_alloc(40);
    const uintptr_t miss[] = {mpgi_heap.lo - 1,
                              mpgi_heap.lo + mpgi_heap_used(),
                              0,
                              UINTPTR_MAX,
                              (uintptr_t) INT64_MIN,
                              mpgi_heap.lo ^ (uintptr_t) INT64_MIN};
    for (size_t i = 0; i < WORDS; i++)
      p[i] = miss[(i + at) % (sizeof miss / sizeof *miss)];
    if (at < WORDS) p[at] = (uintptr_t) lone;
    mpgi_gc_g0();
    assert_int_equal(heap_objects(), at < WORDS ? 2 : 1);
  }
  world.root[0] = NULL;
  mpgi_gc_g0();
  mpgi_gc_percent_g0(100);
}

static void lone_words_are_found(void **state) {
  (void) state;
  at_every_width(mark_lone_words);
}

/* Work is measured in bytes: others are called for few objects, too. */
static void few_large_objects_call_helpers(void **state) {
  (void) state;
  struct mpgi_mark_result r;
  mpgi_gc_percent_g0(-1);
  mpgi_gc_g0();
  void **all = mpg_alloc(300 * sizeof *all);
  world.root[0] = all;
  for (size_t i = 0; i < 300; i++) all[i] = mpg_alloc(4000);
  world.parallelism = 2;
  unsigned before = world.recruits;
  mark_two_roots(&r);
  assert_int_equal(world.recruits, before + 1);
  assert_int_equal(r.objects, 301);
  world.parallelism = 1;
  world.root[0] = NULL;
  mpgi_gc_percent_g0(100);
}

/* ---- objects of many pieces ---- */

static void large_objects_are_scanned_to_the_last_word(void **state) {
  (void) state;
  mpgi_gc_percent_g0(-1);
  for (unsigned n = 1; n <= 4; n += 3) {
    world.parallelism = n;
    for (size_t words = 4000; words < 700000; words = words * 3 + 1) {
      mpgi_gc_g0();
      void **big = mpg_alloc(words * 8);
      for (size_t i = 0; i < words; i += words / 97) big[i] = mpg_alloc(40);
      big[words - 1] = mpg_alloc(40);
      world.root[0] = big + words; /* one past the end */
      uint64_t before = heap_objects();
      mpgi_gc_g0();
      assert_int_equal(heap_objects(), before);
      world.root[0] = NULL;
      mpgi_gc_g0();
      assert_int_equal(heap_objects(), 0);
    }
  }
  world.parallelism = 1;
  mpgi_gc_percent_g0(100);
}

static void typed_arrays_show_named_words_only(void **state) {
  (void) state;
  size_t offset = 8;
  const mpg_type *t = mpgi_type_new_g0(24, &offset, 1);
  mpgi_gc_percent_g0(-1);
  for (size_t n = 1; n < 60000; n = n * 4 + 1) {
    mpgi_gc_g0();
    void **a = mpgi_alloc_typed_g0(t, n);
    for (size_t i = 0; i < n * 3; i++) a[i] = mpg_alloc(16);
    world.root[0] = a;
    mpgi_gc_g0();
    assert_int_equal(heap_objects(), n + 1);
    world.root[0] = NULL;
  }
  mpgi_gc_percent_g0(100);
}

/* A mark that is missing, or one too many, is caught. */
static void child_wrong_mark(void *arg) {
  bool missing = *(bool *) arg;
  struct mpgi_mark_result r;
  struct mpgi_cell cell;
  mpgi_gc_percent_g0(-1);
  mpgi_gc_g0();
  void **p = mpg_alloc(64), **q = mpg_alloc(64);
  if (missing) p[0] = q;
  world.root[0] = p;
  mpgi_sweep_finish();
  world_stop(MPGI_STOP_GC, 0);
  mpgi_cache_flush_all_stw();
  size_t kept = mpgi_verify_begin_stw(job_none, 1);
  mpgi_mark_run(mpgi_verify_root, kept, 1, &r);
  child_check(r.objects == (missing ? 2 : 1));
  child_check(mpgi_cell_find((uintptr_t) q, &cell));
  struct mpgi_pair *pair = &mpgi_span_pairs(cell.span)[cell.index / 64];
  mpgi_store(&pair->mark, mpgi_load(&pair->mark) ^ UINT64_C(1)
                                                       << cell.index % 64);
  mpgi_verify_end_stw();
}

static void verification_sees_wrong_marks(void **state) {
  (void) state;
  struct child_result r;
  for (int missing = 0; missing < 2; missing++) {
    bool which = missing != 0;
    child_run(child_wrong_mark, &which, &r);
    assert_int_equal(r.status, 2);
    assert_non_null(strstr(r.err, "the markers differ about 1 objects"));
    assert_non_null(strstr(
        r.err, which ? "reachable, not marked" : "marked, but not reachable"));
  }
}

static int setup(void **state) {
  (void) state;
  size_t offsets[] = {0, 16};
  world_begin();
  pair_type = mpgi_type_new_g0(24, offsets, 2);
  return pair_type == NULL;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(refused_buffers_are_an_overflow), /* new heap */
      cmocka_unit_test(random_graph_one_marker),
      cmocka_unit_test(random_graph_every_width),
      cmocka_unit_test(random_graph_every_width_of_starts),
      cmocka_unit_test(neighbours_every_width_of_starts),
      cmocka_unit_test(random_graph_verified),
      cmocka_unit_test(random_graph_own_workers),
      cmocka_unit_test(random_graph_recruited_threads),
      cmocka_unit_test(shapes_by_1_2_and_4_markers),
      cmocka_unit_test(overflow_is_recovered_from),
      cmocka_unit_test(overflow_happens_in_that_test),
      cmocka_unit_test(contended_neighbours_are_marked_once),
      cmocka_unit_test(neighbours_at_every_width),
      cmocka_unit_test(what_is_beyond_objects_has_room),
      cmocka_unit_test(words_of_all_sorts_at_every_width),
      cmocka_unit_test(runs_are_recovered),
      cmocka_unit_test(nobody_joins_before_helpers_are_called),
      cmocka_unit_test(lone_words_are_found),
      cmocka_unit_test(few_large_objects_call_helpers),
      cmocka_unit_test(large_objects_are_scanned_to_the_last_word),
      cmocka_unit_test(typed_arrays_show_named_words_only),
      cmocka_unit_test(verification_sees_wrong_marks),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}

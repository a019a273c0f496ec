/* "Which object does this word point into?" against a naive oracle, through
 * random allocation, freeing, collection and sweeping. */
#include <tests/unit/gc_world_fake.h>

static uint64_t seed = 1;
static uint32_t draw(uint32_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t) (seed >> 33) % below;
}

/* The oracle: every object there is, in malloc memory, sorted by address. */
#define MAX 4096
struct object {
  uintptr_t lo;
  size_t usable;
};
static struct object *objects;
static size_t n_objects;

static int compare(const void *a, const void *b) {
  uintptr_t x = ((const struct object *) a)->lo;
  uintptr_t y = ((const struct object *) b)->lo;
  return (x > y) - (x < y);
}

static void *oracle_base(uintptr_t word) {
  for (size_t i = 0; i < n_objects; i++)
    if (word >= objects[i].lo && word <= objects[i].lo + objects[i].usable)
      return (void *) objects[i].lo;
  return NULL;
}

static size_t random_bytes(void) {
  uint32_t how = draw(100);
  if (how < 80) return draw(600);
  if (how < 97) return draw(40000);
  return draw(3000000);
}

static void add(void) {
  if (n_objects == MAX) return;
  void *p = mpgi_gc_alloc(random_bytes(), (enum mpgi_kind) draw(3));
  assert_non_null(p);
  assert_null(oracle_base((uintptr_t) p)); /* nobody else's */
  objects[n_objects++] = (struct object){(uintptr_t) p, mpgi_alloc_size_g0(p)};
}

static void drop(void) {
  if (n_objects == 0) return;
  size_t i = draw((uint32_t) n_objects);
  mpgi_free_g0((void *) objects[i].lo);
  objects[i] = objects[--n_objects];
}

/* What isn't freed explicitly is kept by one root each, or dies. */
static void collect(bool finish) {
  size_t kept = 0;
  memset(world.root, 0, MAX * sizeof *world.root);
  for (size_t i = 0; i < n_objects; i++) {
    if (draw(5) == 0) continue;
    size_t delta = draw((uint32_t) objects[i].usable + 1);
    world.root[kept] = (void *) (objects[i].lo + delta);
    objects[kept++] = objects[i];
  }
  n_objects = kept;
  if (finish)
    mpgi_gc_g0();
  else
    mpgi_gc_collect(MPGI_GC_FORCED);
  memset(world.root, 0, MAX * sizeof *world.root);
}

/* The pad behind the usable bytes belongs to its cell as well. */
static void check_word(uintptr_t word) {
  void *want = oracle_base(word), *got = mpgi_base_g0((void *) word);
  if (want == got) return;
  struct mpgi_cell cell;
  if (want == NULL && got != NULL && mpgi_cell_find(word, &cell) &&
      word > cell.base + mpgi_cell_usable(&cell))
    want = oracle_base(cell.base);
  if (want != got)
    fail_msg("word %p: base %p, not %p", (void *) word, got, want);
}

static void check_words(unsigned n) {
  uint64_t used = mpgi_heap_used();
  qsort(objects, n_objects, sizeof *objects, compare);
  for (unsigned i = 0; i < n; i++) {
    uintptr_t word =
        mpgi_heap.lo +
        (((uint64_t) draw(1u << 31) << 20) ^ draw(1u << 31)) % (used + 65536);
    if (n_objects > 0 && i % 2) {
      const struct object *o = &objects[draw((uint32_t) n_objects)];
      word = o->lo + draw((uint32_t) o->usable + 40) - 16;
    }
    check_word(word);
  }
}

static void lookups_agree_with_the_oracle(void **state) {
  (void) state;
  mpgi_gc_percent_g0(-1);
  for (int round = 0; round < 60; round++) {
    for (int i = 0; i < 300; i++) {
      if (draw(3) != 0)
        add();
      else
        drop();
    }
    check_words(1500);
    collect(draw(2));
    check_words(1500);
    if (round % 8 == 7) mpgi_heap_release(UINT64_MAX);
  }
  assert_true(mpgi_central_is_valid());
}

/* The page table's back pointers have 22 bits; farther pages take hops. */
static void far_inside_a_huge_object(void **state) {
  (void) state;
  size_t bytes = (size_t) 40 << 30; /* 5 Mi pages: untouched, so it's cheap */
  char *p = mpg_alloc_noscan(bytes);
  if (p == NULL) skip();
  assert_ptr_equal(mpgi_base_g0(p + bytes / 2), p);
  assert_ptr_equal(mpgi_base_g0(p + bytes), p);
  assert_int_equal(mpgi_alloc_size_g0(p) >= bytes, 1);
  world.root[0] = p + bytes - 1;
  mpgi_gc_g0();
  assert_ptr_equal(mpgi_base_g0(p), p);
  world.root[0] = NULL;
  mpgi_gc_g0();
  assert_null(mpgi_base_g0(p));
}

static int setup(void **state) {
  (void) state;
  world_begin();
  objects = calloc(MAX, sizeof *objects);
  return objects == NULL;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lookups_agree_with_the_oracle),
      cmocka_unit_test(far_inside_a_huge_object),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}

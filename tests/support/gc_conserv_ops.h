/* gc_conserv_ops.h - "which object does this word point into?" against a naive
 * oracle, through allocation, freeing, collection and sweeping.
 *
 * Who includes it has included gc_world_fake.h and defines draw(below), from
 * where all choices come: random numbers (unit/gc_conserv_test.c) or an input
 * that a fuzzer makes (fuzz/gc_conserv_fuzz.c).
 */
#ifndef TESTS_SUPPORT_GC_CONSERV_OPS_H
#define TESTS_SUPPORT_GC_CONSERV_OPS_H

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

static void oracle_begin(void) {
  world_begin();
  objects = calloc(MAX, sizeof *objects);
  assert_non_null(objects);
  mpgi_gc_percent_g0(-1);
}

#endif /* TESTS_SUPPORT_GC_CONSERV_OPS_H */

/* The table of records about single objects, against a naive list. */
#include <tests/unit/gc_world_fake.h>

#include <errno.h>

#include <gc/special.h>

#define OBJECTS 3000

static struct mpgi_cell *cell; /* in a mapping: no root */
static int want[OBJECTS];      /* WEAK records of each */
static bool finalizer[OBJECTS];

static uint64_t step_of(uint64_t *x) {
  *x ^= *x << 13;
  *x ^= *x >> 7;
  return *x ^= *x << 17;
}

static void fn(void *obj, void *arg) { (void) obj, (void) arg; }

static void allocate(int i) {
  void *p = mpg_alloc(i % 7 == 0 ? 40000 : 40);
  world.root[i] = p;
  assert_true(mpgi_cell_start(p, &cell[i]));
}

static void set(int i) {
  assert_int_equal(mpgi_finalizer_set_g0(world.root[i], fn, NULL), 0);
  finalizer[i] = true;
}

static void clear(int i) {
  assert_int_equal(mpgi_finalizer_set_g0(world.root[i], NULL, NULL), 0);
  finalizer[i] = false;
}

static void free_and_replace(int i) {
  mpgi_free_g0(world.root[i]);
  finalizer[i] = false;
  want[i] = 0;
  allocate(i);
}

static void compare(void) {
  uint32_t finalizers = 0;
  mpgi_special_lock();
  for (int i = 0; i < OBJECTS; i++) {
    const struct mpgi_special *s =
        mpgi_special_find_locked(cell[i].base, MPGI_SPECIAL_FINALIZER);
    assert_int_equal(s != NULL, finalizer[i]);
    finalizers += finalizer[i];
    s = mpgi_special_find_locked(cell[i].base, MPGI_SPECIAL_WEAK);
    assert_int_equal(s != NULL, want[i] > 0);
  }
  mpgi_special_unlock();
  assert_int_equal(mpgi_special_count(MPGI_SPECIAL_FINALIZER), finalizers);
  assert_true(mpgi_special_is_valid());
}

static void agrees_with_a_naive_list(void **state) {
  uint64_t x = 12345;
  (void) state;
  for (int i = 0; i < OBJECTS; i++) allocate(i);
  for (int round = 0; round < 20; round++) {
    for (int k = 0; k < 3000; k++) {
      int i = (int) (step_of(&x) % OBJECTS);
      switch (step_of(&x) % 5) {
      case 0: clear(i); break;
      case 1: free_and_replace(i); break;
      case 2: /* its handle is garbage: it goes at the next collection */
        assert_non_null(mpgi_weak_new_g0(world.root[i]));
        want[i]++;
        break;
      default: set(i); break;
      }
    }
    compare();
    mpgi_gc_collect_fully(MPGI_GC_FORCED);
    memset(want, 0, sizeof want);
    compare();
    assert_int_equal(mpgi_special_count(MPGI_SPECIAL_HANDLE), 0);
  }
}

/* Everything dies: queued once each, in one cycle. */
static void the_dead_are_queued(void **state) {
  struct mpgi_finalizer f;
  uint32_t n = 0;
  (void) state;
  for (int i = 0; i < OBJECTS; i++) n += finalizer[i];
  memset(world.root, 0, WORLD_ROOTS * sizeof *world.root);
  mpgi_gc_collect_fully(MPGI_GC_FORCED);
  assert_int_equal(mpgi_special_count(MPGI_SPECIAL_READY), n);
  assert_int_equal(mpgi_special_count(MPGI_SPECIAL_FINALIZER), 0);
  assert_true(mpgi_special_is_valid());
  for (; n > 0; n--) {
    assert_true(mpgi_finalizer_take(&f));
    assert_ptr_equal(f.fn, fn);
    struct mpgi_cell c;
    assert_true(mpgi_cell_start(f.obj, &c));
  }
  assert_false(mpgi_finalizer_take(&f));
  assert_int_equal(mpgi_special_made(), mpgi_special_count(MPGI_SPECIAL_FREE));
}

/* Without memory for records making fails and nothing is torn. */
static void no_memory_for_records(void **state) {
  mpg_weak *first, *w;
  uint32_t made = 0;
  (void) state;
  allocate(0);
  first = mpgi_weak_new_g0(world.root[0]);
  world.root[1] = first;
  atomic_store(&mpgi_fixmem_fail_countdown, 3);
  while ((w = mpgi_weak_new_g0(world.root[0])) != NULL) {
    made++;
    assert_true(made < 1000000);
  }
  allocate(2);
  assert_int_equal(mpgi_finalizer_set_g0(world.root[2], fn, NULL), -ENOMEM);
  atomic_store(&mpgi_fixmem_fail_countdown, 0);
  assert_true(mpgi_special_is_valid());
  assert_ptr_equal(mpg_weak_get(first), world.root[0]);
  assert_non_null(mpgi_weak_new_g0(world.root[0]));
  assert_int_equal(mpgi_finalizer_set_g0(world.root[2], fn, NULL), 0);
  mpgi_gc_collect_fully(MPGI_GC_FORCED);
  assert_int_equal(mpgi_special_count(MPGI_SPECIAL_HANDLE), 1);
  assert_true(mpgi_special_is_valid());
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(agrees_with_a_naive_list),
      cmocka_unit_test(the_dead_are_queued),
      cmocka_unit_test(no_memory_for_records),
  };
  world_begin();
  cell = mmap(NULL, OBJECTS * sizeof *cell, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(cell != MAP_FAILED);
  return cmocka_run_group_tests(tests, NULL, NULL);
}

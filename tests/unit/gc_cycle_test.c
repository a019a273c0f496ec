/* Whole collections in a world of several threads: mutators that allocate,
 * free, hand objects over and collect at the same time; the pacer's rule; roots
 * that are plain memory. */
#include <tests/unit/gc_world_fake.h>

#include <errno.h>

static struct mpg_gc_stats stats(void) {
  struct mpg_gc_stats s = {.size = sizeof s};
  assert_int_equal(mpgi_gc_stats_read_g0(&s), 0);
  return s;
}

/* ---- mutators ---- */

struct link {
  struct link *next, *prev;
  uint64_t owner, number, check;
  char payload[];
};

static uint64_t sum(const struct link *l) {
  return l->owner * 1000003 + l->number * 7919 + 1;
}

static uint64_t step_of(uint64_t *x) {
  *x ^= *x << 13;
  *x ^= *x >> 7;
  return *x ^= *x << 17;
}

/* Everything the thread reaches is what it put there. */
static void check_list(struct link *head, uint64_t owner, uint64_t n) {
  uint64_t seen = 0;
  for (struct link *l = head; l != NULL; l = l->next, seen++) {
    if (l->owner != owner || l->check != sum(l)) abort();
    if (l->next != NULL && l->next->prev != l) abort();
  }
  if (seen != n) abort();
}

static _Atomic int turns_left;
static _Atomic uint64_t collections;

static struct link *link_new(uint64_t owner, uint64_t number, uint64_t *x) {
  struct link *l = mpg_alloc(sizeof *l + step_of(x) % 500);
  if (l == NULL) abort();
  l->owner = owner;
  l->number = number;
  l->check = sum(l);
  return l;
}

static void mutate(uint64_t id) {
  uint64_t x = id * UINT64_C(0x9e3779b97f4a7c15) + 1, n = 0, number = 0;
  while (atomic_fetch_sub(&turns_left, 1) > 0) {
    for (int i = 0; i < 200; i++) {
      world_poll();
      struct link *head = self->local[0];
      struct link *l = link_new(id, number++, &x);
      self->local[1] = l; /* garbage unless it is linked */
      if (step_of(&x) % 3 != 0) continue;
      l->next = head;
      if (head != NULL) head->prev = l;
      self->local[0] = l;
      n++;
    }
    check_list(self->local[0], id, n);
    if (step_of(&x) % 8 == 0) { /* drop it, a part of it explicitly */
      struct link *l = self->local[0];
      self->local[0] = NULL;
      for (int i = 0; i < 50 && l != NULL; i++) {
        struct link *next = l->next;
        if (l == self->local[1]) self->local[1] = NULL;
        mpgi_free_g0(l);
        l = next;
      }
      n = 0;
    }
    if (step_of(&x) % 40 == 0) {
      mpgi_gc_g0();
      atomic_fetch_add(&collections, 1);
    }
  }
}

static void *mutator(void *arg) {
  mutator_begin();
  mutate((uint64_t) (uintptr_t) arg);
  mutator_end();
  return NULL;
}

static void run_mutators(unsigned threads, int turns) {
  pthread_t t[8];
  uint64_t before = stats().cycles;
  atomic_store(&turns_left, turns);
  atomic_store(&collections, 0);
  for (unsigned i = 0; i < threads; i++)
    assert_int_equal(
        pthread_create(&t[i], NULL, mutator, (void *) (uintptr_t) (i + 1)), 0);
  while (atomic_load(&turns_left) > 0) {
    world_poll();
    sched_yield();
  }
  for (unsigned i = 0; i < threads; i++) {
    world_leave();
    pthread_join(t[i], NULL);
    world_return();
  }
  mpgi_gc_g0();
  struct mpg_gc_stats s = stats();
  assert_true(s.cycles - before > atomic_load(&collections) / threads);
  assert_int_equal(s.heap_objects, 0);
  assert_int_equal(s.heap_live, 0);
  assert_true(mpgi_central_is_valid());
}

static void mutators_one_marker(void **state) {
  (void) state;
  mpgi_gc_percent_g0(20);
  world.parallelism = 1;
  run_mutators(3, 600);
  mpgi_gc_percent_g0(100);
}

static void mutators_many_markers_verified(void **state) {
  (void) state;
  world.parallelism = 3;
  world.lend = 1;
  mpgi_opt.gcverify = 1;
  mpgi_opt.clobberfree = 1;
  mpgi_gc_percent_g0(10);
  run_mutators(3, 200);
  mpgi_gc_percent_g0(100);
  mpgi_opt.gcverify = 0;
  mpgi_opt.clobberfree = 0;
  world.parallelism = 1;
  world.lend = 0;
}

static void mutators_under_stress(void **state) {
  (void) state;
  mpgi_opt.gcstress = 97;
  run_mutators(2, 60);
  mpgi_opt.gcstress = 0;
}

/* ---- one cycle ---- */

static void a_full_cycle_begins_after_the_call(void **state) {
  (void) state;
  for (int i = 0; i < 5; i++) {
    uint64_t before = stats().cycles;
    mpgi_gc_g0();
    assert_int_equal(stats().cycles, before + 1);
    assert_false(mpgi_sweep_pending());
  }
}

static void collection_can_be_off(void **state) {
  (void) state;
  assert_int_equal(mpgi_gc_percent_g0(-7), 100);
  uint64_t before = stats().cycles;
  for (int i = 0; i < 30000; i++) assert_non_null(mpg_alloc(1000));
  assert_int_equal(stats().cycles, before);
  assert_int_equal(mpgi_gc_percent_g0(100), -1);
  mpgi_gc_g0();
  assert_int_equal(stats().heap_objects, 0);
}

/* ---- the pacer's rule ---- */

#define MIB (UINT64_C(1) << 20)
static uint64_t rule(uint64_t live, uint64_t roots, int percent, int64_t limit,
                     uint64_t other) {
  struct mpgi_pacer_input in = {live, roots, other, percent, limit};
  return mpgi_pacer_rule(&in);
}

static void goals(void **state) {
  (void) state;
  const int64_t none = INT64_MAX;
  assert_int_equal(rule(0, 0, 100, none, 0), 4 * MIB);
  assert_int_equal(rule(0, 0, 200, none, 0), 8 * MIB);
  assert_int_equal(rule(100 * MIB, 0, 100, none, 0), 200 * MIB);
  assert_int_equal(rule(100 * MIB, 10 * MIB, 100, none, 0), 210 * MIB);
  assert_int_equal(rule(100 * MIB, 0, 50, none, 0), 150 * MIB);
  assert_true(rule(100 * MIB, 0, -1, none, 0) == UINT64_MAX);
  assert_true(rule(100 * MIB, 0, 0, none, 0) > 100 * MIB);
  assert_true(rule(UINT64_MAX - 5, 7, 1000, none, 0) == UINT64_MAX);
  /* small heaps grow by more, tiny ones by less of that */
  assert_int_equal(rule(31 * MIB, 0, 100, none, 0), 63 * MIB);
  assert_int_equal(rule(4 * MIB, 0, 100, none, 0), 36 * MIB);
  assert_int_equal(rule(2 * MIB, 2 * MIB, 100, none, 0), 34 * MIB);
  assert_int_equal(rule(2 * MIB, 0, 100, none, 0), 18 * MIB);
  assert_int_equal(rule(MIB / 4, 0, 100, none, 0), 4 * MIB);
  assert_int_equal(rule(16 * MIB, 0, 25, none, 0), 24 * MIB);
  assert_int_equal(rule(16 * MIB, 0, 100, 20 << 20, 0), 20 * MIB);
  /* a limit lowers the goal, with collection off, too */
  assert_int_equal(rule(100 * MIB, 0, 100, 170 << 20, 20 * MIB), 150 * MIB);
  assert_int_equal(rule(100 * MIB, 0, -1, 170 << 20, 20 * MIB), 150 * MIB);
  assert_int_equal(rule(100 * MIB, 0, 100, 900 << 20, 20 * MIB), 200 * MIB);
  /* but never so far that the collector runs all the time */
  assert_int_equal(rule(100 * MIB, 0, 100, 50 << 20, 0), 110 * MIB);
  assert_int_equal(rule(100 * MIB, 0, 100, 1, 60 * MIB), 110 * MIB);
}

/* With a steady live size, collections come in steady intervals. */
static void garbage_is_collected_at_the_goal(void **state) {
  (void) state;
  mpgi_gc_g0();
  for (int i = 0; i < 2000; i++) world.root[i] = mpg_alloc(4096);
  mpgi_gc_g0();
  struct mpg_gc_stats a = stats();
  assert_true(a.heap_live >= 8000000 && a.heap_live <= 9000000);
  assert_true(a.heap_goal >= a.heap_live + 32 * MIB);
  if (UNIT_ASAN || UNIT_TSAN) skip(); /* their data are roots */
  assert_true(a.heap_goal <= a.heap_live + 33 * MIB);
  for (int i = 0; i < 82000; i++) assert_non_null(mpg_alloc(4096));
  struct mpg_gc_stats b = stats();
  assert_in_range(b.cycles - a.cycles, 8, 12);
  assert_true(b.heap_mapped < 64 * MIB);
  memset(world.root, 0, 2000 * sizeof *world.root);
}

static void limit_is_reported(void **state) {
  (void) state;
  assert_true(mpgi_memory_limit_g0(-1) == INT64_MAX);
  assert_true(mpgi_memory_limit_g0(64 << 20) == INT64_MAX);
  assert_int_equal(mpgi_memory_limit_g0(-5), 64 << 20);
  mpgi_gc_percent_g0(-1);
  uint64_t before = stats().cycles;
  for (int i = 0; i < 200000; i++) assert_non_null(mpg_alloc(1000));
  assert_true(stats().cycles > before);
  assert_true(stats().heap_mapped < 72 * MIB);
  mpgi_gc_percent_g0(100);
  assert_int_equal(mpgi_memory_limit_g0(INT64_MAX), 64 << 20);
}

/* ---- roots that are plain memory ---- */

static void *a_global; /* .bss of this program */
static void *a_pointer_to_data = &a_pointer_to_data;

static bool survives(void **where, bool wanted) {
  uintptr_t hidden = ~(uintptr_t) mpg_alloc(72);
  *where = (void *) ~hidden;
  mpgi_gc_g0();
  bool live = mpgi_base_g0((void *) ~hidden) != NULL;
  *where = NULL;
  return live == wanted;
}

static void globals_are_roots(void **state) {
  (void) state;
  assert_true(survives(&a_global, true));
  assert_true(survives(&a_pointer_to_data, true));
}

static void registered_ranges_are_roots(void **state) {
  (void) state;
  void **m = calloc(100000, sizeof *m); /* several pieces */
  assert_true(survives(&m[5], false));
  assert_int_equal(mpgi_root_add_g0(m, 100000 * sizeof *m), 0);
  for (int i = 0; i < 100000; i += 9999) assert_true(survives(&m[i], true));
  assert_true(survives(&m[99999], true));
  assert_int_equal(mpgi_root_add_g0(m + 1, 8), 0);
  assert_int_equal(mpgi_root_remove_g0(m), 0);
  assert_true(survives(&m[1], true));
  assert_true(survives(&m[2], false));
  assert_int_equal(mpgi_root_remove_g0(m), -ENOENT);
  assert_int_equal(mpgi_root_remove_g0(m + 1), 0);
  assert_true(survives(&m[1], false));
  free(m);
}

static void roots_are_checked(void **state) {
  (void) state;
  char c[16];
  assert_int_equal(mpgi_root_add_g0(NULL, 8), -EINVAL);
  assert_int_equal(mpgi_root_add_g0(c, 0), -EINVAL);
  assert_int_equal(mpgi_root_add_g0(c, SIZE_MAX), -EINVAL);
  assert_int_equal(mpgi_root_remove_g0(NULL), -ENOENT);
  /* unaligned ranges: the whole words in them */
  assert_int_equal(mpgi_root_add_g0(c + 1, 3), 0);
  mpgi_gc_g0();
  assert_int_equal(mpgi_root_remove_g0(c + 1), 0);
}

static void piece(void *arg, const void *from, const void *to) {
  uintptr_t *range = arg;
  range[0] = (uintptr_t) from;
  range[1] = (uintptr_t) to;
}

/* The collector's own variables name cells without keeping them. */
static void own_variables_are_no_roots(void **state) {
  (void) state;
  uintptr_t lo = (uintptr_t) mpgi_noroot_start;
  uintptr_t hi = (uintptr_t) mpgi_noroot_stop;
  assert_true((uintptr_t) &mpgi_heap >= lo && (uintptr_t) &mpgi_heap < hi);
  assert_int_equal(mpgi_roots_prepare(mpgi_roots_list()), 0);
  size_t n = mpgi_roots_pieces_stw();
  for (size_t i = 0; i < n; i++) {
    uintptr_t range[2];
    mpgi_roots_piece(i, piece, range);
    assert_true(range[1] <= lo || range[0] >= hi);
    assert_true(range[1] - range[0] <= MPGI_ROOT_PIECE_BYTES);
  }
  assert_true(n > 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(mutators_one_marker),
      cmocka_unit_test(mutators_many_markers_verified),
      cmocka_unit_test(mutators_under_stress),
      cmocka_unit_test(a_full_cycle_begins_after_the_call),
      cmocka_unit_test(collection_can_be_off),
      cmocka_unit_test(goals),
      cmocka_unit_test(garbage_is_collected_at_the_goal),
      cmocka_unit_test(limit_is_reported),
      cmocka_unit_test(globals_are_roots),
      cmocka_unit_test(registered_ranges_are_roots),
      cmocka_unit_test(roots_are_checked),
      cmocka_unit_test(own_variables_are_no_roots),
  };
  return cmocka_run_group_tests(tests, world_setup, NULL);
}

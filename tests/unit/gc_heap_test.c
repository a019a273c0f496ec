/* The reservation, growth, and giving memory back. */
#include <tests/unit/gc_world_fake.h>

#include <errno.h>
#include <sys/resource.h>

/* ---- little address space: each in a child, before the heap is there ---- */

static uint64_t address_space_bytes(void) {
  char line[256];
  unsigned long kib = 0;
  FILE *f = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, f) != NULL)
    if (strncmp(line, "VmSize:", 7) == 0) kib = strtoul(line + 7, NULL, 10);
  fclose(f);
  return (uint64_t) kib << 10;
}

static void limit_address_space(uint64_t more) {
  struct rlimit r;
  getrlimit(RLIMIT_AS, &r);
  r.rlim_cur = address_space_bytes() + more;
  child_check(setrlimit(RLIMIT_AS, &r) == 0);
}

static void child_reserve(void *arg) {
  uint64_t more = *(uint64_t *) arg;
  limit_address_space(more);
  int rc = mpgi_heap_init();
  if (rc == 0)
    mpgi_print(2, "%lu",
               (unsigned long) (mpgi_heap.limit - mpgi_heap.lo) >> 20);
  else
    mpgi_print(2, "rc %d", rc);
}

static void smaller_reservations_are_used(void **state) {
  (void) state;
  if (UNIT_ASAN || UNIT_TSAN) skip();
  struct child_result r;
  unsigned long last = 0;
  for (uint64_t more = (uint64_t) 100 << 20; more <= (uint64_t) 40 << 30;
       more *= 3) {
    child_run(child_reserve, &more, &r);
    assert_child_ok(r);
    unsigned long mib = strtoul(r.err, NULL, 10);
    assert_true(mib >= 64 && mib >= last);
    assert_true(mib << 20 < more);
    last = mib;
  }
  assert_true(last >= 4096);
}

static void too_little_address_space_is_an_error(void **state) {
  (void) state;
  if (UNIT_ASAN || UNIT_TSAN) skip();
  struct child_result r;
  char want[16];
  uint64_t more = (uint64_t) 32 << 20;
  child_run(child_reserve, &more, &r);
  assert_child_ok(r);
  mpgi_format(want, sizeof want, "rc %d", -ENOMEM);
  assert_string_equal(r.err, want);
}

/* Every mapping that init makes may fail: -ENOMEM, and nothing crashes. */
static void child_init_refused(void *arg) {
  atomic_store(&mpgi_os_mem_fail_countdown, *(int64_t *) arg);
  int rc = mpgi_gc_init(&world_table);
  atomic_store(&mpgi_os_mem_fail_countdown, 0);
  child_check(rc == 0 || rc == -ENOMEM);
  mpgi_print(2, "%s", rc == 0 ? "ok" : "no");
}

static void refused_initialisation(void **state) {
  (void) state;
  struct child_result r;
  int refused = 0;
  for (int64_t n = 1; n <= 12; n++) {
    child_run(child_init_refused, &n, &r);
    assert_child_ok(r);
    refused += strcmp(r.err, "no") == 0;
  }
  assert_true(refused >= 4);
}

/* ---- the real heap ---- */

static void sorts_have_chunks_of_their_own(void **state) {
  (void) state;
  char sort[4096] = {0};
  world_begin();
  for (int i = 0; i < 3000; i++)
    for (int k = 0; k < 2; k++) {
      uintptr_t p = (uintptr_t) (k ? mpg_alloc_noscan(2000) : mpg_alloc(2000));
      size_t chunk = (p - mpgi_heap.lo) >> MPGI_CHUNK_LOG2;
      assert_true(chunk < sizeof sort);
      assert_true(sort[chunk] == 0 || sort[chunk] == k + 1);
      sort[chunk] = (char) (k + 1);
    }
}

static uint64_t mapped(void) { return mpgi_heap_mapped_bytes(); }

/* The background sweeper gives back what is beyond a tenth of the goal, at a
 * time of its own: with this much at hand, never. */
#define PERCENT_KEEPS_400_MIB 100000

static void freed_memory_goes_back(void **state) {
  (void) state;
  mpgi_gc_percent_g0(PERCENT_KEEPS_400_MIB);
  mpgi_gc_g0();
  assert_true(mpgi_gc_idle_margin() >= (uint64_t) 400 << 20);
  for (int i = 0; i < 200; i++) {
    char *p = mpg_alloc((size_t) 1 << 20);
    memset(p, 1, (size_t) 1 << 20);
    world.root[i] = p;
  }
  assert_true(mapped() >= (uint64_t) 200 << 20);
  memset(world.root, 0, 200 * sizeof *world.root);
  mpgi_gc_g0();
  assert_true(mpgi_heap_idle_bytes() >= (uint64_t) 200 << 20);
  uint64_t before = mapped();
  assert_int_equal(mpgi_heap_release((uint64_t) 16 << 20), (uint64_t) 16 << 20);
  assert_int_equal(mapped(), before - ((uint64_t) 16 << 20));
  mpgi_heap_release(UINT64_MAX);
  assert_int_equal(mpgi_heap_idle_bytes(), 0);
  assert_int_equal(mpgi_heap_release(UINT64_MAX), 0);
  assert_true(mapped() <= (uint64_t) 16 << 20);
  for (int i = 0; i < 50; i++) { /* and reads zero when used again */
    uint64_t *p = mpg_alloc((size_t) 1 << 20);
    for (size_t w = 0; w < (1u << 20) / 8; w += 64) assert_int_equal(p[w], 0);
  }
  mpgi_gc_percent_g0(100);
}

static void ticks_release_what_is_idle(void **state) {
  (void) state;
  int64_t now = mpgi_os_now();
  for (int i = 0; i < 100; i++) world.root[i] = mpg_alloc((size_t) 1 << 20);
  memset(world.root, 0, 100 * sizeof *world.root);
  mpgi_gc_g0();
  uint64_t before = mapped();
  for (int i = 1; i <= 30; i++)
    assert_false(mpgi_gc_tick(now + i * INT64_C(1100000000)));
  assert_true(mapped() < before / 2);
  assert_true(mpgi_gc_tick(now + INT64_C(200000000000))); /* one is due */
}

/* A wholly free chunk changes sides when the other sort needs it. */
static void free_chunks_change_sides(void **state) {
  (void) state;
  mpgi_gc_g0();
  for (int i = 0; i < 3000; i++) world.root[i] = mpg_alloc(20000);
  memset(world.root, 0, 3000 * sizeof *world.root);
  mpgi_gc_g0();
  uint64_t used = mpgi_heap_used();
  for (int i = 0; i < 1000; i++) world.root[i] = mpg_alloc_noscan(20000);
  assert_int_equal(mpgi_heap_used(), used);
  memset(world.root, 0, 1000 * sizeof *world.root);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(smaller_reservations_are_used),
      cmocka_unit_test(too_little_address_space_is_an_error),
      cmocka_unit_test(refused_initialisation),
      cmocka_unit_test(sorts_have_chunks_of_their_own),
      cmocka_unit_test(freed_memory_goes_back),
      cmocka_unit_test(ticks_release_what_is_idle),
      cmocka_unit_test(free_chunks_change_sides),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

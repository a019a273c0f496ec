/* "Which object does this word point into?" against a naive oracle, through
 * random allocation, freeing, collection and sweeping. */
#include <tests/unit/gc_world_fake.h>

static uint64_t seed = 1;
static uint32_t draw(uint32_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t) (seed >> 33) % below;
}

#include <tests/support/gc_conserv_ops.h>

static void lookups_agree_with_the_oracle(void **state) {
  (void) state;
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
  oracle_begin();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lookups_agree_with_the_oracle),
      cmocka_unit_test(far_inside_a_huge_object),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}

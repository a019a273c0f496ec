/* The table of size classes keeps its promises. */
#define MPGI_GC_INSIDE 1
#include <tests/support/unit.h>

#include <gc/gc_private.h>

struct row {
  unsigned bytes, usable, pages, objects, tail, worst;
};
static const struct row rows[] = {
    {0, 0, 0, 0, 0, 0},
#define MPGI_SIZECLASS(n, b, u, p, o, t, w) {b, u, p, o, t, w},
#include <gc/sizeclass.def>
#undef MPGI_SIZECLASS
};
#define N (sizeof rows / sizeof rows[0])

static void table_is_ordered_and_consistent(void **state) {
  (void) state;
  assert_int_equal(N, MPGI_CLASSES);
  for (unsigned i = 1; i < N; i++) {
    const struct row *r = &rows[i];
    assert_int_equal(r->bytes % MPGI_GRANULE_BYTES, 0);
    assert_true(r->bytes >= MPGI_CELL_MIN_BYTES);
    assert_int_equal(r->usable % 8, 0);
    assert_true(r->usable > rows[i - 1].usable);
    assert_true(r->bytes >= rows[i - 1].bytes);
    assert_true(r->usable + MPGI_PAD_BYTES <= r->bytes);
    assert_true(r->pages >= 1 && r->pages <= MPGI_SMALL_PAGES_MAX);
    assert_int_equal(r->objects, r->pages * MPGI_PAGE_BYTES / r->bytes);
    assert_int_equal(r->tail,
                     r->pages * MPGI_PAGE_BYTES - r->objects * r->bytes);
    assert_true(r->objects <= r->pages * MPGI_PAGE_PAIRS * 64);
  }
  assert_int_equal(rows[N - 1].usable, MPGI_SMALL_MAX_BYTES);
}

/* Computed here from the definition, for every request. */
static void waste_is_as_stated_and_bounded(void **state) {
  (void) state;
  for (unsigned i = 1; i < N; i++) {
    const struct row *r = &rows[i];
    unsigned span = r->pages * (unsigned) MPGI_PAGE_BYTES;
    unsigned smallest = rows[i - 1].usable + 1, worst = 0;
    for (unsigned n = smallest; n <= r->usable; n++) {
      unsigned wasted = r->objects * (r->bytes - n) + r->tail;
      if (wasted > worst) worst = wasted;
    }
    assert_int_equal((uint64_t) worst * 1000 / span, r->worst);
    assert_true(r->tail * 14 <= span);
    if (r->bytes > 144) assert_true(r->worst <= 200);
  }
}

static void powers_of_two_are_exact(void **state) {
  (void) state;
  for (size_t n = 16; n <= 16384; n *= 2)
    assert_int_equal(mpgi_class[mpgi_class_for(n)].usable, n);
}

static void requests_get_the_first_class_that_fits(void **state) {
  (void) state;
  unsigned class = 1;
  for (size_t n = 0; n <= MPGI_SMALL_MAX_BYTES; n++) {
    while (mpgi_class[class].usable < n) class ++;
    assert_int_equal(mpgi_class_for(n), class);
  }
}

/* As little as glibc's malloc, below the sizes that are spread out. */
static void cells_are_a_word_larger_than_requests(void **state) {
  (void) state;
  for (size_t n = 1; n <= 248; n++)
    assert_int_equal(mpgi_class[mpgi_class_for(n)].bytes,
                     n <= 24 ? 32 : (n + 8 + 15) / 16 * 16);
}

static void multiplication_divides(void **state) {
  (void) state;
  for (unsigned i = 1; i < N; i++) {
    const struct mpgi_class *c = &mpgi_class[i];
    for (uint64_t off = 0; off < c->pages * MPGI_PAGE_BYTES; off++)
      if (off * c->magic >> 32 != off / c->bytes)
        fail_msg("class %u, offset %u", i, (unsigned) off);
  }
  assert_int_equal(mpgi_class[MPGI_CLASS_LARGE].magic, 0);
  assert_int_equal(mpgi_class[MPGI_CLASS_LARGE].objects, 1);
}

static int setup(void **state) {
  (void) state;
  mpgi_sizeclass_init();
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(table_is_ordered_and_consistent),
      cmocka_unit_test(waste_is_as_stated_and_bounded),
      cmocka_unit_test(powers_of_two_are_exact),
      cmocka_unit_test(requests_get_the_first_class_that_fits),
      cmocka_unit_test(cells_are_a_word_larger_than_requests),
      cmocka_unit_test(multiplication_divides),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}

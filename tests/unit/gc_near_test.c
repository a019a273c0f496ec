/* Groups of neighbours that are marked together, and runs: the marker's loops
 * once more, to be called one by one. */
#include <tests/support/unit.h>

#define MPGI_GC_INSIDE 1
#include <gc/mark_private.h>
static const struct mpgi_mark_ops mpgi_mark_inside_exact; /* not used here */
#define LEVEL inside
#define VECTOR 1
#include <gc/mark_scan.h>

static uint64_t draw(void) {
  static uint64_t seed = 1;
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return seed ^ seed >> 29;
}

static void only_white_allocated_cells_are_marked(void **state) {
  (void) state;
  for (int i = 0; i < 1000; i++) {
    uint64_t alloc = draw(), mark = alloc & draw(), bits = draw();
    uint64_t fresh = bits & alloc & ~mark;
    struct mpgi_pair pair = {mark, alloc};
    assert_int_equal(near_mark(&pair, bits, i % 2), fresh);
    assert_int_equal(mpgi_load(&pair.mark), mark | fresh);
    assert_int_equal(mpgi_load(&pair.alloc), alloc);
    assert_int_equal(near_mark(&pair, bits, i % 2), 0);
  }
}

#define GROUP_AT UINT64_C(0x7ff000)
#define CELL 48

static struct near_group group_of(unsigned kind, bool small) {
  mpgi_item it = MPGI_ITEM_SET | (uint64_t) kind << MPGI_ITEM_KIND_SHIFT |
                 GROUP_AT | 5 | (small ? 0 : MPGI_ITEM_LOOK);
  return (struct near_group){.item = it, .bytes = CELL};
}

/* The cells that items say are to be scanned. */
static uint64_t cells_of(const mpgi_item *it, const mpgi_item *top) {
  uint64_t cells = 0;
  for (; it < top; it++) {
    uint64_t first = (mpgi_item_offset(*it) - GROUP_AT) / CELL;
    uint64_t these = mpgi_item_run(*it) << first;
    assert_int_equal((mpgi_item_offset(*it) - GROUP_AT) % CELL, 0);
    assert_int_equal(mpgi_item_reach(*it), 5);
    assert_int_equal(mpgi_item_is_plain(*it), mpgi_item_run(*it) == 1);
    assert_int_equal(these >> first, mpgi_item_run(*it));
    assert_int_equal(cells & these, 0);
    cells |= these;
  }
  return cells;
}

static void runs_name_the_cells_of_a_group(void **state) {
  (void) state;
  mpgi_item item[64];
  struct near_group g = group_of(MPGI_KIND_SCAN, true);
  for (int i = 0; i < 1000; i++) {
    uint64_t cells = i < 64 ? UINT64_MAX << i : draw() & draw();
    mpgi_item *top = near_push(&g, item, cells);
    assert_int_equal(cells_of(item, top), cells);
  }
  assert_int_equal(near_push(&g, item, UINT64_MAX) - item, 5);
}

static void larger_ones_are_pushed_singly(void **state) {
  (void) state;
  mpgi_item item[64];
  struct near_group g = group_of(MPGI_KIND_TYPED, false);
  uint64_t cells = UINT64_C(0x8000000000000007);
  assert_ptr_equal(near_push(&g, item, cells), item + 4);
  for (int i = 0; i < 4; i++) {
    assert_false(mpgi_item_is_run(item[i]) || mpgi_item_is_small(item[i]));
    assert_int_equal(mpgi_item_offset(item[i]),
                     GROUP_AT + (i < 3 ? i : 63) * CELL);
  }
}

static void what_has_no_words_is_not_pushed(void **state) {
  (void) state;
  mpgi_item item[64];
  struct near_group g = group_of(MPGI_KIND_NOSCAN, false);
  assert_ptr_equal(near_push(&g, item, UINT64_MAX), item);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_white_allocated_cells_are_marked),
      cmocka_unit_test(runs_name_the_cells_of_a_group),
      cmocka_unit_test(larger_ones_are_pushed_singly),
      cmocka_unit_test(what_has_no_words_is_not_pushed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Groups of neighbours that are marked together, when other markers come
 * between: the marker's loops once more, to be called one by one. */
#include <tests/support/unit.h>

#define MPGI_GC_INSIDE 1
#define OPS inside_ops
#define OPS_NAME "inside"
#define VECTOR 1
#include <gc/mark_scan.h>

static void what_others_marked_first_is_left_to_them(void **state) {
  (void) state;
  struct mpgi_pair pair = {0, 0};
  struct near_page page = {.bytes = 48};
  mpgi_item item[64];
  for (uint64_t others = 0; others < 64; others++) {
    mpgi_store(&pair.alloc, 0x3f);
    mpgi_store(&pair.mark, 1); /* before anybody looks */
    struct near to = {item, 0, 0};
    struct near_group g = near_group_begin(&page, &pair, to.top);
    for (uint64_t index = 0; index < 7; index++)
      near_push(&to, &g, (index + 1) << 4, index, false);
    mpgi_store(&pair.mark, 1 | others);
    near_group_end(&to, &g, false);
    uint64_t ours = 0x3e & ~others;
    assert_int_equal(mpgi_load(&pair.mark), 0x3f);
    assert_int_equal(to.objects, __builtin_popcountll(ours));
    assert_int_equal(to.bytes, to.objects * 48);
    mpgi_item *at = item;
    for (uint64_t left = ours; left != 0; left &= left - 1)
      assert_int_equal(mpgi_item_offset(*at++) >> 4, __builtin_ctzll(left) + 1);
    assert_ptr_equal(at, to.top);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_others_marked_first_is_left_to_them),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

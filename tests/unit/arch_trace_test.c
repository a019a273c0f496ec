/* Rings of events: times, and what a full one does. */
#include <tests/support/unit.h>

#include <arch/common/fixmem.h>
#include <arch/common/trace.h>

#define WHAT(n) mpgi_trace_what(MPGI_TRACE_G_START, 1, (n))

static struct mpgi_trace_record out[8];
static uint64_t first;

static struct mpgi_trace_ring *ring_new(void) {
  struct mpgi_trace_ring *r = mpgi_trace_ring_new(3);
  assert_non_null(r);
  return r;
}

static size_t take(struct mpgi_trace_ring *r, size_t max) {
  return mpgi_trace_take(r, out, max, UINT64_MAX, &first);
}

/* As a start emits that follows another's leaving. */
static uint64_t emit_next(struct mpgi_trace_ring *r, uint64_t what) {
  uint64_t ticks = mpgi_trace_follows(r) ? MPGI_TRACE_AS_LAST : 0;
  return mpgi_trace_emit_at(r, ticks, what, 0, 0);
}

static void an_event_has_its_time(void **state) {
  (void) state;
  struct mpgi_trace_ring *r = ring_new();
  uint64_t before = mpgi_arch_ticks();
  assert_int_equal(mpgi_trace_emit(r, WHAT(7), 8, 9),
                   mpgi_trace_record_id(r, 0));
  uint64_t after = mpgi_arch_ticks();
  assert_int_equal(take(r, 8), 1);
  assert_true(before <= out[0].ticks && out[0].ticks <= after);
  assert_int_equal(mpgi_trace_g_of(out[0].what), 7);
  assert_int_equal(out[0].a, 8);
  assert_int_equal(out[0].b, 9);
}

static void the_next_one_has_the_same(void **state) {
  (void) state;
  struct mpgi_trace_ring *r = ring_new();
  mpgi_trace_emit(r, WHAT(1), 0, 0);
  emit_next(r, WHAT(2));
  assert_int_equal(take(r, 8), 2);
  assert_int_equal(out[1].ticks, out[0].ticks);
  emit_next(r, WHAT(3)); /* it was taken meanwhile */
  assert_int_equal(take(r, 8), 1);
  assert_int_equal(out[0].ticks, out[1].ticks);
}

static void the_first_one_has_its_own(void **state) {
  (void) state;
  struct mpgi_trace_ring *r = ring_new();
  uint64_t before = mpgi_arch_ticks();
  emit_next(r, WHAT(1));
  assert_int_equal(take(r, 8), 1);
  assert_true(out[0].ticks >= before);
}

/* The event before it isn't in the ring. */
static void after_a_loss_it_has_its_own(void **state) {
  (void) state;
  struct mpgi_trace_ring *r = ring_new();
  for (int i = 0; i < MPGI_TRACE_SLOTS; i++)
    assert_true(mpgi_trace_emit(r, WHAT(1), 0, 0) != 0);
  assert_int_equal(mpgi_trace_emit(r, WHAT(2), 0, 0), 0);
  assert_int_equal(take(r, 2), 2);
  uint64_t before = mpgi_arch_ticks();
  assert_true(emit_next(r, WHAT(3)) != 0);
  /* LOST, and the last one, both after the loss */
  size_t n, last = 0;
  while ((n = take(r, 8))) last = n - 1;
  assert_int_equal(mpgi_trace_g_of(out[last].what), 3);
  assert_true(out[last].ticks >= before);
}

static void times_never_fall(void **state) {
  (void) state;
  struct mpgi_trace_ring *r = ring_new();
  mpgi_trace_emit_at(r, 1000, WHAT(1), 0, 0);
  mpgi_trace_emit_at(r, 900, WHAT(2), 0, 0);
  assert_int_equal(take(r, 8), 2);
  assert_int_equal(out[1].ticks, 1000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_event_has_its_time),
      cmocka_unit_test(the_next_one_has_the_same),
      cmocka_unit_test(the_first_one_has_its_own),
      cmocka_unit_test(after_a_loss_it_has_its_own),
      cmocka_unit_test(times_never_fall),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

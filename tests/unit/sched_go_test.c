/* mpg_go_with's options; who may start goroutines. */
#include <tests/support/unit.h>

#include <errno.h>

#include <tests/support/unit_sched.h>

static void nothing(void *arg) { (void) arg; }

/* Off a goroutine a good call is refused, too, but otherwise. */
static int go(const struct mpg_go_options *opt) {
  int err = mpgi_go_with_segmented_g0(opt, nothing, NULL);
  assert_int_equal(mpgi_go_with_fixed_g0(opt, nothing, NULL), err);
  return err;
}

static int go_flags(unsigned flags) {
  struct mpg_go_options opt = {.size = sizeof opt, .flags = flags};
  return go(&opt);
}

static void size_must_be_set(void **state) {
  (void) state;
  struct mpg_go_options opt = {.size = sizeof opt};
  assert_int_equal(go(&opt), -EPERM);
  opt.size = 0;
  assert_int_equal(go(&opt), -EINVAL);
  opt.size = sizeof opt - 1;
  assert_int_equal(go(&opt), -EINVAL);
  opt.size = sizeof opt + 8; /* of a newer header */
  assert_int_equal(go(&opt), -EPERM);
  assert_int_equal(go(NULL), -EINVAL);
}

static void flags_must_be_known_and_go_together(void **state) {
  (void) state;
  assert_int_equal(go_flags(0), -EPERM);
  assert_int_equal(go_flags(MPG_GO_MOVABLE), -EPERM);
  assert_int_equal(go_flags(MPG_GO_FIXED_STACK), -EPERM);
  assert_int_equal(go_flags(MPG_GO_MOVABLE | MPG_GO_FIXED_STACK), -EINVAL);
  for (int bit = 2; bit < 32; bit++)
    assert_int_equal(go_flags(1u << bit), -EINVAL);
}

static void there_must_be_a_function(void **state) {
  (void) state;
  struct mpg_go_options opt = {.size = sizeof opt};
  assert_int_equal(mpgi_go_segmented_g0(NULL, NULL), -EINVAL);
  assert_int_equal(mpgi_go_fixed_g0(NULL, NULL), -EINVAL);
  assert_int_equal(mpgi_go_with_segmented_g0(&opt, NULL, NULL), -EINVAL);
}

static void a_plain_thread_may_not(void **state) {
  (void) state;
  assert_int_equal(mpgi_go_segmented_g0(nothing, NULL), -EPERM);
  assert_int_equal(mpgi_go_fixed_g0(nothing, NULL), -EPERM);
  /* the entry stubs, which jump there on a thread without a goroutine */
  assert_int_equal(mpg_go_segmented(nothing, NULL), -EPERM);
  assert_int_equal(mpg_go_fixed(nothing, NULL), -EPERM);
  assert_int_equal(mpg_goid(), 0);
  assert_int_equal(mpg_num_goroutines(), 0);
}

/* An M without a P is in a system call: it has nothing to make one with. */
static void an_m_needs_a_p(void **state) {
  (void) state;
  unit_m_begin(NULL);
  int err = mpgi_go_segmented_g0(nothing, NULL);
  unit_m_end();
  assert_int_equal(err, -EPERM);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(size_must_be_set),
      cmocka_unit_test(flags_must_be_known_and_go_together),
      cmocka_unit_test(there_must_be_a_function),
      cmocka_unit_test(a_plain_thread_may_not),
      cmocka_unit_test(an_m_needs_a_p),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

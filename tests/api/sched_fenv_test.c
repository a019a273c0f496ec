/* sched_fenv_test.c - rounding, denormals, exception flags: a goroutine starts
 * with what mpg_run's caller has, as a thread does with its creator's, and
 * keeps its own.
 */
#include <fenv.h>
#include <xmmintrin.h>

#include "../support/check.h"

#define FLUSH_TO_ZERO 0x8000u
enum { GOROUTINES = 40, ROUNDS = 200 };

static mpg_waitgroup done;

static bool starts_as_caller(void) {
  return fegetround() == FE_DOWNWARD && (_mm_getcsr() & FLUSH_TO_ZERO) &&
         fetestexcept(FE_ALL_EXCEPT) == 0;
}

static void own_rounding(void *arg) {
  static const int ways[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD,
                             FE_TOWARDZERO};
  int way = ways[(uintptr_t) arg % 4];
  CHECK(starts_as_caller());
  CHECK_EQ(fesetround(way), 0);
  feraiseexcept(FE_DIVBYZERO);
  for (int i = 0; i < ROUNDS; i++) {
    if (i % 8)
      mpg_yield();
    else
      mpg_gc();
    CHECK_EQ(fegetround(), way);
    CHECK_EQ(fetestexcept(FE_DIVBYZERO), FE_DIVBYZERO);
  }
  mpg_waitgroup_done(&done);
}

static void start(void *arg) {
  (void) arg;
  CHECK(starts_as_caller());
  mpg_waitgroup_add(&done, GOROUTINES);
  for (uintptr_t i = 0; i < GOROUTINES; i++) CHECK_GO(own_rounding, (void *) i);
  mpg_waitgroup_wait(&done);
  CHECK(starts_as_caller());
  fesetround(FE_UPWARD);
}

static void inherited_from_the_caller(void *arg) {
  (void) arg;
  fenv_t before;
  CHECK_EQ(fegetenv(&before), 0);
  CHECK_EQ(fesetround(FE_DOWNWARD), 0);
  _mm_setcsr(_mm_getcsr() | FLUSH_TO_ZERO);
  feraiseexcept(FE_INVALID); /* the caller's, not the goroutines' */
  CHECK_EQ(mpg_run(start, NULL), 0);
  CHECK_EQ(fegetround(), FE_DOWNWARD);
  CHECK(_mm_getcsr() & FLUSH_TO_ZERO);
  CHECK_EQ(fesetenv(&before), 0);
}

static const struct check_case cases[] = {
    OUTSIDE(inherited_from_the_caller),
};
CHECK_MAIN(cases, 20)

/* Semaphores: who waits where, and who is woken first.  (Races between them:
 * tests/model/sema_model.c.) */
#include <tests/support/unit.h>

#include <arch/common/rand.h>

#include <tests/support/unit_sched.h>

static struct mpg_m *mp;
#define WORDS 16                    /* for agrees_with_lists */
static uint32_t words[WORDS * 512]; /* 0, 1024, 2048 ... share a bucket */

static _Atomic uint32_t *word(int i) { return (_Atomic uint32_t *) &words[i]; }

static int fresh(void **state) {
  (void) state;
  unit_sched_setup();
  mpgi_sema_reset();
  memset(words, 0, sizeof words);
  mp = unit_m_begin(unit_p(0));
  return 0;
}

static int done(void **state) {
  (void) state;
  unit_m_end();
  return 0;
}

/* Goroutine g, running on our M, acquires.  True: at once. */
static bool acquire(int w, int g, bool front) {
  struct mpg_g *gp = unit_g(g);
  atomic_store(&gp->status, MPGI_G_RUNNING);
  gp->m = mp;
  mp->curg = gp;
  bool now = mpgi_sema_acquire(mp, word(w), MPGI_WAIT_SEM, front, NULL);
  if (now) {
    mp->curg = NULL;
    return true;
  }
  assert_null(mp->curg); /* it is off the M */
  assert_int_equal(mpgi_g_status(gp), MPGI_G_WAITING);
  assert_int_equal(gp->wait_reason, MPGI_WAIT_SEM);
  return false;
}

/* Who was made ready by a release, -1 nobody. */
static int release(int w) {
  bool inherit;
  mpgi_sema_release(word(w));
  return unit_g_index(mpgi_runq_get(unit_p(0), &inherit));
}

static void counts_when_nobody_waits(void **state) {
  (void) state;
  assert_int_equal(release(0), -1);
  assert_int_equal(release(0), -1);
  assert_int_equal(words[0], 2);
  assert_true(acquire(0, 1, false));
  assert_true(acquire(0, 2, false));
  assert_int_equal(words[0], 0);
  assert_false(acquire(0, 3, false));
}

static void waiters_are_woken_in_turn(void **state) {
  (void) state;
  for (int g = 0; g < 10; g++) assert_false(acquire(0, g, false));
  assert_true(mpgi_sema_has_waiters(word(0)));
  for (int g = 0; g < 10; g++) assert_int_equal(release(0), g);
  assert_false(mpgi_sema_has_waiters(word(0)));
  assert_int_equal(words[0], 0); /* given to them directly */
  assert_int_equal(release(0), -1);
  assert_int_equal(words[0], 1);
}

static void those_that_waited_before_go_to_the_front(void **state) {
  (void) state;
  acquire(0, 1, false);
  acquire(0, 2, false);
  acquire(0, 3, true);
  acquire(0, 4, true);
  static const int order[] = {4, 3, 1, 2};
  for (int i = 0; i < 4; i++) assert_int_equal(release(0), order[i]);
}

static void words_of_a_bucket_are_kept_apart(void **state) {
  (void) state;
  acquire(0, 1, false);
  acquire(1024, 2, false);
  acquire(0, 3, false);
  acquire(1024, 4, true);
  assert_int_equal(release(1024), 4);
  assert_int_equal(release(0), 1);
  assert_int_equal(release(1024), 2);
  assert_int_equal(release(1024), -1);
  assert_int_equal(words[1024], 1);
  assert_int_equal(release(0), 3);
}

/* Random, against an array for each word. */
static int queue[WORDS][64], nqueue[WORDS];
static void agrees_with_lists(void **state) {
  (void) state;
  struct mpgi_rand rnd = {3};
  bool busy[64] = {false};
  memset(nqueue, 0, sizeof nqueue);
  for (int step = 0; step < 50000; step++) {
    int w = (int) mpgi_rand_below(&rnd, WORDS), at = w * 512, *q = queue[w];
    int g = (int) mpgi_rand_below(&rnd, 64);
    bool front = mpgi_rand_below(&rnd, 4) == 0;
    if (mpgi_rand_below(&rnd, 2)) {
      if (busy[g]) continue;
      bool available = words[at] > 0;
      assert_int_equal(acquire(at, g, front), available);
      if (available) continue;
      busy[g] = true;
      if (front) memmove(q + 1, q, (size_t) nqueue[w] * sizeof *q);
      q[front ? 0 : nqueue[w]] = g;
      nqueue[w]++;
    } else {
      int expected = nqueue[w] ? q[0] : -1;
      assert_int_equal(release(at), expected);
      if (expected < 0) continue;
      memmove(q, q + 1, (size_t) --nqueue[w] * sizeof *q);
      busy[expected] = false;
    }
  }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, fresh, done)
int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(counts_when_nobody_waits),
      CASE(waiters_are_woken_in_turn),
      CASE(those_that_waited_before_go_to_the_front),
      CASE(words_of_a_bucket_are_kept_apart),
      CASE(agrees_with_lists),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

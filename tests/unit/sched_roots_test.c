/* What is looked at of a thread that stopped with the world. */
#include <tests/support/unit.h>

#include <pthread.h>
#include <sched.h>

#include <arch/os.h>
#include <tests/support/unit_sched.h>

static struct mpg_m *stopped;
static _Atomic bool is_there;

/* Stops the world's way, with a frame of a g0 below g0_sp. */
static void *stops(void *gp) {
  volatile uintptr_t top[2] = {0, 0};
  struct mpg_m *mp = stopped = unit_m_begin(unit_p(0));
  mp->curg = gp;
  mp->g0_sp = (uintptr_t) &top[1] & ~(uintptr_t) 15;
  mpgi_sched.all_m = mp;
  atomic_store(&is_there, true);
  mpgi_stop_here(mp);
  return NULL;
}

static void count_words(void *arg, const void *lo, const void *hi) {
  *(size_t *) arg += (size_t) ((const uintptr_t *) hi - (const uintptr_t *) lo);
}

/* Words that are looked at of a thread with this goroutine, or none. */
static size_t words_of(struct mpg_g *gp) {
  pthread_t t;
  size_t words = 0;
  atomic_store(&is_there, false);
  atomic_store(&mpgi_stw.stopwait, 1);
  assert_int_equal(pthread_create(&t, NULL, stops, gp), 0);
  while (!atomic_load(&is_there) || atomic_load(&mpgi_stw.stopwait) > 0)
    sched_yield();
  mpgi_roots_threads(count_words, &words);
  atomic_store(&stopped->p->status, MPGI_P_RUNNING);
  atomic_fetch_add(&mpgi_stw.seq, 1);
  mpgi_os_futex_wake(&mpgi_stw.seq, INT32_MAX);
  pthread_join(t, NULL);
  mpgi_sched.all_m = NULL;
  return words;
}

/* [stw.bare] */
static void of_the_scheduler_nothing_is_a_root(void **state) {
  (void) state;
  unit_sched_setup();
  assert_true(words_of(unit_g(0)) > 0);
  assert_int_equal(words_of(NULL), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(of_the_scheduler_nothing_is_a_root),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

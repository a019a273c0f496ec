/* Locks, their ranks, and notes. */
#include <tests/support/unit.h>

#include <arch/common/mutex.h>
#include <arch/os.h>
#include <pthread.h>
#include <stdlib.h>

#define RANKED(name) MPGI_MUTEX_INIT(MPGI_RANK_##name)
#define THREADS 4
#define ROUNDS 50000

static struct mpgi_mutex shared = RANKED(SCHED);
static uint64_t counter; /* guarded by shared */
static _Atomic int inside;

static void *count_up(void *arg) {
  bool try = arg != NULL;
  for (int i = 0; i < ROUNDS; i++) {
    if (!try || !mpgi_mutex_trylock(&shared)) mpgi_mutex_lock(&shared);
    if (atomic_fetch_add(&inside, 1) != 0) abort();
    counter++;
    if (i % 1000 == 0) mpgi_os_yield(); /* let others queue up */
    atomic_fetch_sub(&inside, 1);
    mpgi_mutex_unlock(&shared);
  }
  return NULL;
}

static void lock_excludes_and_loses_no_wakeup(void **state) {
  (void) state;
  pthread_t t[THREADS];
  for (intptr_t i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&t[i], NULL, count_up, (void *) (i & 1)),
                     0);
  for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
  assert_int_equal(counter, (uint64_t) THREADS * ROUNDS);
  assert_int_equal(atomic_load(&shared.state), 0);
}

static void *hold_a_while(void *arg) {
  mpgi_mutex_lock(&shared);
  mpgi_note_wake(arg);
  mpgi_os_sleep(20000000);
  mpgi_mutex_unlock(&shared);
  return NULL;
}

static void lock_sleeps_until_released(void **state) {
  (void) state;
  pthread_t t;
  struct mpgi_note held = {0};
  int clock = mpgi_os_thread_clock();
  assert_int_equal(pthread_create(&t, NULL, hold_a_while, &held), 0);
  mpgi_note_sleep(&held);
  assert_false(mpgi_mutex_trylock(&shared));
  int64_t cpu = mpgi_os_clock_read(clock);
  mpgi_mutex_lock(&shared);
  assert_true(mpgi_os_clock_read(clock) - cpu < 10000000); /* didn't spin */
  mpgi_mutex_unlock(&shared);
  pthread_join(t, NULL);
}

/* ---- ranks: each violation is caught ---- */

static void skip_unless_checked(void) {
  if (MPG_CHECK < 2) skip();
}

static void locks_in_order_are_fine(void **state) {
  (void) state;
  struct mpgi_mutex a = RANKED(WORLD), b = RANKED(SCHED), c = RANKED(LEAF);
  mpgi_mutex_lock(&a);
  mpgi_mutex_lock(&b);
  mpgi_mutex_lock(&c);
  mpgi_mutex_assert_held(&b);
  assert_int_equal(mpgi_lockrank_held(), MPG_CHECK >= 2 ? 3 : 0);
  mpgi_mutex_unlock(&a); /* released in any order */
  mpgi_mutex_unlock(&c);
  mpgi_mutex_unlock(&b);
  assert_int_equal(mpgi_lockrank_held(), 0);
}

static void wrong_order_is_fatal(void **state) {
  (void) state;
  skip_unless_checked();
  struct mpgi_mutex early = RANKED(WORLD), late = RANKED(GC_HEAP);
  mpgi_mutex_lock(&late);
  assert_fatal("lock order: WORLD", mpgi_mutex_lock(&early));
  assert_non_null(strstr(unit_message, "while holding GC_HEAP"));
  assert_int_equal(atomic_load(&early.state), 0); /* before the wait */
  mpgi_mutex_unlock(&late);
}

static void nothing_is_locked_under_a_leaf(void **state) {
  (void) state;
  skip_unless_checked();
  struct mpgi_mutex a = RANKED(LEAF), b = RANKED(LEAF), c = RANKED(OPTIONS);
  mpgi_mutex_lock(&a);
  assert_fatal("lock order: LEAF", mpgi_mutex_lock(&b));
  assert_fatal("lock order: OPTIONS", mpgi_mutex_lock(&c));
  mpgi_mutex_unlock(&a);
}

static void relocking_is_fatal_not_a_hang(void **state) {
  (void) state;
  skip_unless_checked();
  struct mpgi_mutex a = RANKED(SCHED);
  mpgi_mutex_lock(&a);
  assert_fatal("is held already", mpgi_mutex_lock(&a));
  mpgi_mutex_unlock(&a);
}

static void same_rank_only_by_address(void **state) {
  (void) state;
  struct mpgi_mutex chan[2] = {RANKED(CHAN), RANKED(CHAN)};
  struct mpgi_mutex sema[2] = {RANKED(SEMA), RANKED(SEMA)};
  mpgi_mutex_lock(&chan[0]);
  mpgi_mutex_lock(&chan[1]);
  mpgi_mutex_unlock(&chan[0]);
  skip_unless_checked();
  assert_fatal("lock order: CHAN", mpgi_mutex_lock(&chan[0]));
  mpgi_mutex_unlock(&chan[1]);
  mpgi_mutex_lock(&sema[0]);
  assert_fatal("lock order: SEMA", mpgi_mutex_lock(&sema[1]));
  mpgi_mutex_unlock(&sema[0]);
}

static void trylock_may_be_out_of_order(void **state) {
  (void) state;
  struct mpgi_mutex early = RANKED(WORLD), late = RANKED(GC_HEAP);
  mpgi_mutex_lock(&late);
  assert_true(mpgi_mutex_trylock(&early));
  mpgi_mutex_unlock(&early);
  mpgi_mutex_unlock(&late);
}

static void unlock_of_what_isnt_held_is_fatal(void **state) {
  (void) state;
  skip_unless_checked();
  struct mpgi_mutex a = RANKED(SCHED);
  assert_fatal("unlock of SCHED", mpgi_mutex_unlock(&a));
  assert_fatal("SCHED", mpgi_mutex_assert_held(&a));
}

static void a_lock_without_a_rank_is_fatal(void **state) {
  (void) state;
  skip_unless_checked();
  struct mpgi_mutex a = MPGI_MUTEX_INIT(MPGI_RANK_COUNT);
  assert_fatal("rank", mpgi_mutex_lock(&a));
  assert_fatal("RANK_COUNT", mpgi_mutex_init(&a, MPGI_RANK_COUNT));
}

static void too_many_locks_are_fatal(void **state) {
  (void) state;
  skip_unless_checked();
  static struct mpgi_mutex many[17];
  for (int i = 0; i < 17; i++) mpgi_mutex_init(&many[i], MPGI_RANK_CHAN);
  for (volatile int i = 0; i < 16; i++) mpgi_mutex_lock(&many[i]);
  assert_fatal("held.n < ", mpgi_mutex_lock(&many[16]));
  for (int i = 0; i < 16; i++) mpgi_mutex_unlock(&many[i]);
}

/* ---- notes ---- */

static void *wake_later(void *arg) {
  mpgi_os_sleep(5000000);
  mpgi_note_wake(arg);
  return NULL;
}

static void note_wakes_its_sleeper(void **state) {
  (void) state;
  pthread_t t;
  struct mpgi_note n = {0};
  for (int i = 0; i < 3; i++) {
    assert_int_equal(pthread_create(&t, NULL, wake_later, &n), 0);
    if (i == 2)
      assert_true(mpgi_note_sleep_timed(&n, INT64_MAX));
    else
      mpgi_note_sleep(&n);
    pthread_join(t, NULL);
    mpgi_note_clear(&n);
  }
}

static void wake_before_sleep_is_kept(void **state) {
  (void) state;
  struct mpgi_note n = {0};
  mpgi_note_wake(&n);
  mpgi_note_wake(&n); /* again is harmless */
  mpgi_note_sleep(&n);
  assert_true(mpgi_note_sleep_timed(&n, 0));
}

static void note_times_out_and_is_usable_again(void **state) {
  (void) state;
  struct mpgi_note n = {0};
  int64_t t = mpgi_os_now();
  assert_false(mpgi_note_sleep_timed(&n, 3000000));
  assert_true(mpgi_os_now() - t >= 3000000);
  assert_false(mpgi_note_sleep_timed(&n, 0));
  mpgi_note_wake(&n);
  assert_true(mpgi_note_sleep_timed(&n, 1000000));
}

static void second_sleeper_is_caught(void **state) {
  (void) state;
  struct mpgi_note n = {1}; /* as if somebody slept */
  assert_fatal("NOTE_SET", mpgi_note_sleep(&n));
  assert_fatal("NOTE_SLEEPING", mpgi_note_clear(&n));
}

/* Sleep and wake race in every alignment: none may be lost. */
static struct mpgi_note ping, pong;
static void *answer(void *arg) {
  for (int i = 0; i < 20000; i++) {
    mpgi_note_sleep(&ping);
    mpgi_note_clear(&ping);
    mpgi_note_wake(&pong);
  }
  return arg;
}

static void notes_lose_no_wakeup(void **state) {
  (void) state;
  pthread_t t;
  assert_int_equal(pthread_create(&t, NULL, answer, NULL), 0);
  for (int i = 0; i < 20000; i++) {
    mpgi_note_wake(&ping);
    while (!mpgi_note_sleep_timed(&pong, 1000)) continue;
    mpgi_note_clear(&pong);
  }
  pthread_join(t, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lock_excludes_and_loses_no_wakeup),
      cmocka_unit_test(lock_sleeps_until_released),
      cmocka_unit_test(locks_in_order_are_fine),
      cmocka_unit_test(wrong_order_is_fatal),
      cmocka_unit_test(nothing_is_locked_under_a_leaf),
      cmocka_unit_test(relocking_is_fatal_not_a_hang),
      cmocka_unit_test(same_rank_only_by_address),
      cmocka_unit_test(trylock_may_be_out_of_order),
      cmocka_unit_test(unlock_of_what_isnt_held_is_fatal),
      cmocka_unit_test(a_lock_without_a_rank_is_fatal),
      cmocka_unit_test(too_many_locks_are_fatal),
      cmocka_unit_test(note_wakes_its_sleeper),
      cmocka_unit_test(wake_before_sleep_is_kept),
      cmocka_unit_test(note_times_out_and_is_usable_again),
      cmocka_unit_test(second_sleeper_is_caught),
      cmocka_unit_test(notes_lose_no_wakeup),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Timer heaps against a sorted list; who is told of a new timer. */
#include <tests/support/unit.h>

#include <arch/common/rand.h>
#include <errno.h>

#include <tests/support/unit_sched.h>

static int fresh(void **state) {
  (void) state;
  unit_sched_setup();
  for (int i = 0; i < UNIT_GS; i++)
    atomic_store(&unit_g(i)->status, MPGI_G_WAITING);
  return 0;
}

static void add(int p, int g, int64_t when) {
  struct mpgi_timer *t = &unit_g(g)->timer;
  t->g = unit_g(g);
  t->when = when;
  assert_int_equal(mpgi_timer_add(unit_p(p), t), 0);
  assert_ptr_equal(t->pp, unit_p(p));
}

/* What fired, in order: without an M it goes to the global queue. */
static int next_fired(void) {
  struct mpg_g *gp = unit_global_pop();
  if (!gp) return -1;
  assert_int_equal(mpgi_g_status(gp), MPGI_G_RUNNABLE);
  assert_null(gp->timer.pp);
  atomic_store(&gp->status, MPGI_G_WAITING);
  return unit_g_index(gp);
}

/* ---- one property at a time ---- */

static void nothing_is_due_when_there_is_none(void **state) {
  (void) state;
  assert_true(mpgi_timers_run(unit_p(0), 100) == INT64_MAX);
  assert_true(mpgi_timers_first() == INT64_MAX);
  assert_int_equal(next_fired(), -1);
}

static void due_ones_fire_in_order(void **state) {
  (void) state;
  add(0, 0, 30);
  add(0, 1, 10);
  add(0, 2, 20);
  add(0, 3, 21);
  assert_int_equal(mpgi_timers_first(), 10);
  assert_int_equal(mpgi_timers_run(unit_p(0), 9), 10);
  assert_int_equal(next_fired(), -1);
  assert_int_equal(mpgi_timers_run(unit_p(0), 20), 21);
  assert_int_equal(next_fired(), 1);
  assert_int_equal(next_fired(), 2);
  assert_int_equal(next_fired(), -1);
  assert_true(mpgi_timers_run(unit_p(0), INT64_MAX - 1) == INT64_MAX);
  assert_int_equal(next_fired(), 3);
  assert_int_equal(next_fired(), 0);
}

static void first_is_that_of_every_p(void **state) {
  (void) state;
  add(3, 0, 30);
  add(1, 1, 20);
  assert_int_equal(mpgi_timers_first(), 20);
  assert_int_equal(atomic_load(&unit_p(1)->timer_first), 20);
  assert_int_equal(atomic_load(&unit_p(3)->timer_first), 30);
  assert_true(atomic_load(&unit_p(0)->timer_first) == INT64_MAX);
  mpgi_timers_run(unit_p(1), 25);
  assert_int_equal(next_fired(), 1);
  assert_int_equal(mpgi_timers_first(), 30);
}

/* A running M gets the goroutines on its own P, whosever heap it was. */
static void a_thief_keeps_what_it_fires(void **state) {
  (void) state;
  bool inherit;
  add(1, 5, 10);
  unit_m_begin(unit_p(0));
  mpgi_timers_run(unit_p(1), 10);
  assert_int_equal(atomic_load(&unit_p(0)->woken), 1);
  assert_ptr_equal(mpgi_runq_get(unit_p(0), &inherit), unit_g(5));
  unit_m_end();
}

static void a_timer_is_in_one_heap_only(void **state) {
  (void) state;
  add(0, 0, 10);
  assert_fatal("check failed", mpgi_timer_add(unit_p(1), &unit_g(0)->timer));
}

static void a_deleted_one_does_not_fire(void **state) {
  (void) state;
  for (int g = 0; g < 20; g++) add(0, g, 10 + g);
  assert_true(mpgi_timer_del(&unit_g(0)->timer)); /* the first */
  assert_int_equal(mpgi_timers_first(), 11);
  assert_true(mpgi_timer_del(&unit_g(19)->timer)); /* the last */
  assert_true(mpgi_timer_del(&unit_g(5)->timer));
  assert_false(mpgi_timer_del(&unit_g(5)->timer));
  assert_null(unit_g(5)->timer.pp);
  mpgi_timers_run(unit_p(0), 100);
  for (int g = 1; g < 19; g++)
    if (g != 5) assert_int_equal(next_fired(), g);
  assert_int_equal(next_fired(), -1);
  assert_false(mpgi_timer_del(&unit_g(1)->timer));
}

static bool refuse(struct mpg_g *gp) { return gp != unit_g(1); }

static void claimed_by_others_it_wakes_nobody(void **state) {
  (void) state;
  for (int g = 0; g < 3; g++) {
    unit_g(g)->timer.claim = refuse;
    add(0, g, 10);
  }
  assert_true(mpgi_timers_run(unit_p(0), 10) == INT64_MAX);
  assert_int_equal(next_fired(), 0);
  assert_int_equal(next_fired(), 2);
  assert_int_equal(next_fired(), -1);
  assert_null(unit_g(1)->timer.pp);
}

static struct mpgi_timer called;
static int calls;
static int64_t called_at;

static void call(struct mpgi_timer *t, int64_t now) {
  assert_ptr_equal(t, &called);
  assert_true(mpgi_mutex_trylock(&unit_p(0)->timer_lock)); /* not held */
  mpgi_mutex_unlock(&unit_p(0)->timer_lock);
  calls++;
  called_at = now;
}

static void call_every(int64_t when, int64_t period) {
  called = (struct mpgi_timer){.when = when, .period = period, .call = call};
  calls = 0;
  assert_int_equal(mpgi_timer_add(unit_p(0), &called), 0);
}

static void without_a_goroutine_it_is_called(void **state) {
  (void) state;
  call_every(10, 0);
  mpgi_timers_run(unit_p(0), 9);
  assert_int_equal(calls, 0);
  assert_true(mpgi_timers_run(unit_p(0), 12) == INT64_MAX);
  assert_int_equal(calls, 1);
  assert_int_equal(called_at, 12);
  assert_null(called.pp);
}

static void a_periodic_one_drops_missed_ticks(void **state) {
  (void) state;
  add(0, 0, 35);
  call_every(10, 5);
  assert_int_equal(mpgi_timers_run(unit_p(0), 10), 15);
  assert_int_equal(mpgi_timers_run(unit_p(0), 14), 15);
  assert_int_equal(calls, 1);
  assert_int_equal(mpgi_timers_run(unit_p(0), 32), 35); /* 20, 25, 30 */
  assert_int_equal(calls, 2);
  assert_int_equal(mpgi_timers_run(unit_p(0), 35), 40);
  assert_int_equal(next_fired(), 0);
  assert_true(mpgi_timer_del(&called));
  assert_true(mpgi_timers_run(unit_p(0), 100) == INT64_MAX);
  assert_int_equal(calls, 3);
}

static void the_last_tick_does_not_overflow(void **state) {
  (void) state;
  call_every(10, INT64_MAX);
  assert_int_equal(mpgi_timers_run(unit_p(0), 10), INT64_MAX - 1);
  assert_true(mpgi_timer_del(&called));
}

static void overdue_ones_fire_whosever_they_are(void **state) {
  (void) state;
  int64_t now = mpgi_os_now();
  add(0, 0, now);
  add(1, 1, now - 1);
  add(3, 2, now + INT64_C(3600000000000));
  mpgi_want(MPGI_WANT_TIMERS);
  mpgi_timers_run_overdue();
  assert_false(mpgi_timers_overdue());
  assert_int_equal(next_fired(), 0);
  assert_int_equal(next_fired(), 1);
  assert_int_equal(next_fired(), -1);
}

static void cleared_ones_are_in_no_heap(void **state) {
  (void) state;
  call_every(10, 5);
  add(0, 0, 20);
  mpgi_timers_clear(unit_p(0));
  assert_true(mpgi_timers_first() == INT64_MAX);
  assert_false(mpgi_timer_del(&called));
  assert_false(mpgi_timer_del(&unit_g(0)->timer));
}

/* ---- random, against a sorted array ---- */

struct entry {
  int64_t when;
  int g;
};
static struct entry sorted[UNIT_GS];
static int nsorted;

static void sorted_add(int64_t when, int g) {
  int i = nsorted++;
  for (; i > 0 && sorted[i - 1].when > when; i--) sorted[i] = sorted[i - 1];
  sorted[i] = (struct entry){when, g};
}

static void sorted_cut(int i) {
  nsorted--;
  memmove(&sorted[i], &sorted[i + 1],
          (size_t) (nsorted - i) * sizeof sorted[0]);
}

static void sorted_deleted(int g) {
  int i = 0;
  while (sorted[i].g != g) i++;
  sorted_cut(i);
}

/* Goroutine g fired: it is among the first of equal times. */
static void sorted_fired(int g) {
  int i = 0;
  while (i < nsorted && sorted[i].when == sorted[0].when && sorted[i].g != g)
    i++;
  assert_true(i < nsorted && sorted[i].g == g);
  sorted_cut(i);
}

static void check_heap(void) {
  const struct mpg_p *pp = unit_p(0);
  assert_int_equal(pp->ntimers - pp->ndead, nsorted);
  assert_true(atomic_load(&pp->timer_first) ==
              (nsorted ? sorted[0].when : INT64_MAX));
  for (uint32_t i = 0; i < pp->ntimers; i++) {
    struct mpgi_timer_slot s = pp->timers[i];
    if (s.t) assert_true(s.t->index == i && s.t->when == s.when);
    if (i) assert_true(s.when >= pp->timers[(i - 1) / 4].when);
  }
}

static void agrees_with_a_sorted_list(void **state) {
  (void) state;
  for (uint64_t seed = 1; seed <= 4; seed++) {
    struct mpgi_rand rnd = {seed};
    int64_t now = 1;
    fresh(NULL);
    nsorted = 0;
    bool set[UNIT_GS] = {false};
    for (int step = 0; step < 5000; step++) {
      int g = (int) mpgi_rand_below(&rnd, UNIT_GS);
      if (!set[g] && mpgi_rand_below(&rnd, 10) < 6) {
        int64_t when = now + 1 + mpgi_rand_below(&rnd, 500);
        set[g] = true;
        add(0, g, when);
        sorted_add(when, g);
      } else if (set[g] && mpgi_rand_below(&rnd, 3) == 0) {
        assert_true(mpgi_timer_del(&unit_g(g)->timer));
        sorted_deleted(g);
        set[g] = false;
      } else {
        now += mpgi_rand_below(&rnd, 20);
        int64_t next = mpgi_timers_run(unit_p(0), now);
        for (int f; (f = next_fired()) >= 0;) {
          assert_true(sorted[0].when <= now);
          sorted_fired(f);
          set[f] = false;
        }
        assert_true(nsorted == 0 || sorted[0].when > now);
        assert_true(next == (nsorted ? sorted[0].when : INT64_MAX));
      }
      if (step % 16 == 0) check_heap();
    }
  }
}

/* ---- deleted ones ---- */

/* Not those by threes, which stay. */
static void delete_most(int n, int (*nth)(int i, int n)) {
  for (int i = 0; i < n; i++) {
    int g = nth(i, n);
    if (g % 3) assert_true(mpgi_timer_del(&unit_g(g)->timer));
  }
}
static int forwards(int i, int n) { return (void) n, i; }
static int backwards(int i, int n) { return n - 1 - i; }
static int anyhow(int i, int n) { return i * 7 % n; }

static void deleted_ones_make_room(void **state) {
  (void) state;
  enum { N = 1000 };
  int (*const orders[])(int, int) = {forwards, backwards, anyhow};
  for (int o = 0; o < 3; o++) {
    fresh(NULL);
    for (int g = 0; g < N; g++) add(0, g, 1 + g);
    delete_most(N, orders[o]);
    uint32_t left = unit_p(0)->ntimers - unit_p(0)->ndead;
    assert_int_equal(left, (N + 2) / 3);
    assert_true(unit_p(0)->ndead <= left || unit_p(0)->ndead <= 32);
    assert_int_equal(mpgi_timers_first(), 1);
    mpgi_timers_run(unit_p(0), N);
    for (int g = 0; g < N; g += 3) assert_int_equal(next_fired(), g);
    assert_int_equal(next_fired(), -1);
    assert_int_equal(unit_p(0)->ntimers, 0);
  }
}

/* What was deleted may be set again, elsewhere, before its slot is used. */
static void a_deleted_one_may_be_set_again(void **state) {
  (void) state;
  for (int g = 0; g < 10; g++) add(0, g, 10 + g);
  assert_true(mpgi_timer_del(&unit_g(4)->timer));
  assert_int_equal(unit_p(0)->ndead, 1);
  add(1, 4, 5);
  assert_true(mpgi_timer_del(&unit_g(5)->timer));
  add(0, 5, 12);
  mpgi_timers_run(unit_p(1), 100);
  assert_int_equal(next_fired(), 4);
  mpgi_timers_run(unit_p(0), 12);
  for (int g = 0; g < 2; g++) assert_int_equal(next_fired(), g);
  int one = next_fired(), other = next_fired();
  assert_true((one == 2 && other == 5) || (one == 5 && other == 2));
  assert_int_equal(next_fired(), -1);
}

/* ---- memory ---- */

static void heap_grows(void **state) {
  (void) state;
  for (int i = 0; i < 1000; i++) add(0, i, 1000 - i);
  mpgi_timers_run(unit_p(0), 1000);
  for (int i = 999; i >= 0; i--) assert_int_equal(next_fired(), i);
}

static void no_memory_and_it_uses_what_is_deleted(void **state) {
  (void) state;
  struct mpg_p *pp = unit_p(0);
  int n = 0;
  do add(0, n, 10 + n);
  while (++n < 64 || (uint32_t) n < pp->timers_cap);
  for (int g = 20; g < 30; g++) assert_true(mpgi_timer_del(&unit_g(g)->timer));
  atomic_store(&mpgi_fixmem_fail_countdown, 1);
  add(0, 20, 5);
  assert_int_equal(mpgi_timers_first(), 5);
  assert_int_equal(pp->ndead, 0);
  for (int g = 21; g < 30; g++) add(0, g, 10 + g);
  struct mpgi_timer t = {.when = 10, .g = unit_g(0)};
  atomic_store(&mpgi_fixmem_fail_countdown, 1);
  assert_int_equal(mpgi_timer_add(pp, &t), -ENOMEM);
  atomic_store(&mpgi_fixmem_fail_countdown, 0);
  mpgi_timers_run(pp, 10 + n);
  assert_int_equal(next_fired(), 20);
  for (int g = 0; g < n; g++)
    if (g != 20) assert_int_equal(next_fired(), g);
}

static void no_memory_leaves_the_heap_as_it_was(void **state) {
  (void) state;
  struct mpg_p *pp = unit_p(2); /* nobody made its heap yet */
  assert_null(pp->timers);
  struct mpgi_timer t = {.when = 10, .g = unit_g(0)};
  atomic_store(&mpgi_fixmem_fail_countdown, 1);
  assert_int_equal(mpgi_timer_add(pp, &t), -ENOMEM);
  atomic_store(&mpgi_fixmem_fail_countdown, 0);
  assert_null(t.pp);
  assert_int_equal(pp->ntimers, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(nothing_is_due_when_there_is_none, fresh),
      cmocka_unit_test_setup(due_ones_fire_in_order, fresh),
      cmocka_unit_test_setup(first_is_that_of_every_p, fresh),
      cmocka_unit_test_setup(a_thief_keeps_what_it_fires, fresh),
      cmocka_unit_test_setup(a_timer_is_in_one_heap_only, fresh),
      cmocka_unit_test_setup(a_deleted_one_does_not_fire, fresh),
      cmocka_unit_test_setup(claimed_by_others_it_wakes_nobody, fresh),
      cmocka_unit_test_setup(without_a_goroutine_it_is_called, fresh),
      cmocka_unit_test_setup(a_periodic_one_drops_missed_ticks, fresh),
      cmocka_unit_test_setup(the_last_tick_does_not_overflow, fresh),
      cmocka_unit_test_setup(overdue_ones_fire_whosever_they_are, fresh),
      cmocka_unit_test_setup(cleared_ones_are_in_no_heap, fresh),
      cmocka_unit_test_setup(agrees_with_a_sorted_list, fresh),
      cmocka_unit_test_setup(deleted_ones_make_room, fresh),
      cmocka_unit_test_setup(a_deleted_one_may_be_set_again, fresh),
      cmocka_unit_test_setup(no_memory_and_it_uses_what_is_deleted, fresh),
      cmocka_unit_test_setup(heap_grows, fresh),
      cmocka_unit_test_setup(no_memory_leaves_the_heap_as_it_was, fresh),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

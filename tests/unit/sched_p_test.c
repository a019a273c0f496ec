/* Processors: the idle list, their number going up and down. */
#include <tests/support/unit.h>

#include <errno.h>
#include <gc/gc.h>

#include <tests/support/unit_sched.h>

#define MANY 40

static void lock(void) { mpgi_mutex_lock(&mpgi_sched.lock); }
static void unlock(void) { mpgi_mutex_unlock(&mpgi_sched.lock); }

static int start(void **state) {
  (void) state;
  mpgi_options_init();
  return mpgi_gc_init(&mpgi_world); /* a P has an allocation cache */
}

static struct mpg_p *idle_get(void) {
  lock();
  struct mpg_p *pp = mpgi_p_idle_get_locked();
  unlock();
  return pp;
}

static void idle_put(struct mpg_p *pp) {
  lock();
  mpgi_p_idle_put_locked(pp);
  unlock();
}

static uint32_t status(int i) {
  return atomic_load(&mpgi_sched.allp[i]->status);
}

static int idle_listed(void) {
  int n = 0;
  for (struct mpg_p *pp = mpgi_sched.idle_p; pp; pp = pp->link) {
    assert_int_equal(atomic_load(&pp->status), MPGI_P_IDLE);
    n++;
  }
  return n;
}

static void resize(int n) {
  assert_int_equal(mpgi_p_resize_prepare(n), 0);
  mpgi_p_resize_stw(n);
}

/* n Ps, all idle. */
static int fresh_with(int n) {
  while (idle_get()) continue;
  for (int i = 0; i < mpgi_sched.nallp_made; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    mpgi_p_want_no_more(pp, MPGI_P_WANT_RETIRE);
    pp->m = NULL;
    atomic_store(&pp->status, MPGI_P_DEAD);
  }
  mpgi_want_no_more(MPGI_WANT_STOP);
  resize(n);
  return 0;
}
static int fresh(void **state) {
  (void) state;
  return fresh_with(4);
}

static void new_ones_are_idle(void **state) {
  (void) state;
  assert_int_equal(atomic_load(&mpgi_sched.procs), 4);
  assert_int_equal(atomic_load(&mpgi_sched.npidle), 4);
  assert_int_equal(idle_listed(), 4);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(mpgi_sched.allp[i]->id, i);
    assert_non_null(mpgi_sched.allp[i]->cache);
    assert_true(atomic_load(&mpgi_sched.allp[i]->timer_first) == INT64_MAX);
  }
}

static void taken_ones_run_at_once(void **state) {
  (void) state;
  struct mpg_p *pp = idle_get();
  assert_non_null(pp);
  assert_int_equal(atomic_load(&pp->status), MPGI_P_RUNNING);
  assert_int_equal(atomic_load(&mpgi_sched.npidle), 3);
  assert_int_equal(idle_listed(), 3);
  idle_put(pp);
  assert_int_equal(idle_listed(), 4);
  assert_ptr_equal(idle_get(), pp); /* the warm one first */
}

static void one_can_be_asked_for(void **state) {
  (void) state;
  struct mpg_p *wanted = mpgi_sched.allp[2];
  lock();
  bool got = mpgi_p_idle_take_locked(wanted);
  bool again = mpgi_p_idle_take_locked(wanted);
  unlock();
  assert_true(got);
  assert_false(again);
  assert_int_equal(atomic_load(&wanted->status), MPGI_P_RUNNING);
  assert_int_equal(idle_listed(), 3);
  for (int i = 0; i < 3; i++) assert_ptr_not_equal(idle_get(), wanted);
  assert_null(idle_get());
}

static void none_is_given_while_the_world_stops(void **state) {
  (void) state;
  mpgi_want(MPGI_WANT_STOP);
  assert_null(idle_get());
  lock();
  assert_false(mpgi_p_idle_take_locked(mpgi_sched.allp[0]));
  unlock();
  mpgi_want_no_more(MPGI_WANT_STOP);
  assert_non_null(idle_get());
}

/* Counted by a stop and then let go of: it arrives. */
static void becoming_idle_arrives(void **state) {
  (void) state;
  struct mpg_p *pp = idle_get();
  atomic_store(&mpgi_stw.stopwait, 2);
  mpgi_want(MPGI_WANT_STOP);
  idle_put(pp);
  assert_int_equal(atomic_load(&mpgi_stw.stopwait), 1);
  mpgi_want_no_more(MPGI_WANT_STOP);
  atomic_store(&mpgi_stw.stopwait, 0);
}

static void idle_ones_have_no_work(void **state) {
  (void) state;
  struct mpg_p *pp = idle_get();
  static struct mpg_g g;
  atomic_store(&g.status, MPGI_G_RUNNABLE);
  mpgi_runq_put(pp, &g, false);
  lock();
  assert_fatal("check failed", mpgi_p_idle_put_locked(pp));
  unlock();
  bool inherit;
  assert_ptr_equal(mpgi_runq_get(pp, &inherit), &g);
}

static void acquire_and_release_join_m_and_p(void **state) {
  (void) state;
  static struct mpg_m m;
  struct mpg_p *pp = idle_get();
  mpgi_p_acquire(&m, pp);
  assert_true(m.p == pp && pp->m == &m);
  assert_ptr_equal(mpgi_tls_cache(), pp->cache);
  assert_fatal("check failed", mpgi_p_acquire(&m, pp)); /* it has one */
  assert_ptr_equal(mpgi_p_release(&m), pp);
  assert_true(!m.p && !pp->m);
  assert_null(mpgi_tls_cache());
  assert_fatal("check failed", (void) mpgi_p_release(&m));
}

/* ---- their number ---- */

static void idle_ones_beyond_die_and_come_back(void **state) {
  (void) state;
  resize(1);
  assert_int_equal(idle_listed(), 1);
  assert_int_equal(atomic_load(&mpgi_sched.npidle), 1);
  for (int i = 1; i < 4; i++) assert_int_equal(status(i), MPGI_P_DEAD);
  resize(3);
  assert_int_equal(idle_listed(), 3);
  assert_int_equal(status(3), MPGI_P_DEAD);
  assert_int_equal(mpgi_sched.nallp, mpgi_sched.nallp_made);
}

/* An M may be frozen in foreign code with it: only the owner lets go. */
static void a_busy_one_beyond_is_retired_by_its_owner(void **state) {
  (void) state;
  static struct mpg_m m;
  static struct mpg_g g;
  memset(&m, 0, sizeof m);
  atomic_store(&g.status, MPGI_G_RUNNABLE);
  lock();
  assert_true(mpgi_p_idle_take_locked(mpgi_sched.allp[3]));
  unlock();
  struct mpg_p *pp = mpgi_sched.allp[3];
  mpgi_p_acquire(&m, pp);
  mpgi_runq_put(pp, &g, true);
  resize(2);
  assert_true(mpgi_p_retires(pp));
  assert_int_equal(status(3), MPGI_P_RUNNING);
  assert_true(mpgi_runq_empty(pp)); /* its work went at once */
  assert_ptr_equal(unit_global_pop(), &g);
  idle_put(mpgi_p_release(&m));
  assert_int_equal(status(3), MPGI_P_DEAD);
  assert_false(mpgi_p_retires(pp));
  assert_int_equal(idle_listed(), 2);
}

static void growing_again_cancels_a_retirement(void **state) {
  (void) state;
  struct mpg_p *pp = mpgi_sched.allp[3];
  lock();
  assert_true(mpgi_p_idle_take_locked(pp));
  unlock();
  resize(2);
  assert_true(mpgi_p_retires(pp));
  resize(4);
  assert_false(mpgi_p_retires(pp));
  assert_int_equal(status(3), MPGI_P_RUNNING);
  idle_put(pp);
  assert_int_equal(idle_listed(), 4);
}

static void many(void **state) {
  (void) state;
  for (int n = 1; n <= MANY; n++) {
    resize(n);
    assert_int_equal(idle_listed(), n);
  }
  for (int n = MANY; n >= 1; n--) {
    resize(n);
    assert_int_equal(idle_listed(), n);
    assert_int_equal(atomic_load(&mpgi_sched.npidle), n);
  }
}

static void no_memory_makes_none(void **state) {
  (void) state;
  int made = mpgi_sched.nallp_made;
  atomic_store(&mpgi_fixmem_fail_countdown, 1);
  int err = mpgi_p_resize_prepare(made + 1);
  atomic_store(&mpgi_fixmem_fail_countdown, 0);
  assert_int_equal(err, -ENOMEM);
  assert_int_equal(mpgi_sched.nallp_made, made);
  /* the record, but not its cache: the record is given back */
  uint64_t before = mpgi_fixmem_bytes();
  atomic_store(&mpgi_fixmem_fail_countdown, 2);
  err = mpgi_p_resize_prepare(made + 1);
  atomic_store(&mpgi_fixmem_fail_countdown, 0);
  assert_int_equal(err, -ENOMEM);
  assert_int_equal(mpgi_fixmem_bytes(), before);
  assert_int_equal(mpgi_p_resize_prepare(made + 1), 0);
}

/* Their places are beyond n; a P there, whatever its state, comes in. */
static void those_of_attached_threads_make_way(void **state) {
  (void) state;
  struct mpg_p *mine = NULL;
  fresh_with(2);
  resize(4);
  resize(2);
  lock();
  mine = mpgi_p_revive_locked();
  unlock();
  assert_int_equal(mine->id, 2);
  mine->attached = true;
  mpgi_p_resize_stw(2);
  assert_int_equal(atomic_load(&mine->status), MPGI_P_RUNNING);
  assert_false(mpgi_p_retires(mine));
  resize(4);
  assert_true(mine->id >= 4);
  assert_ptr_equal(mpgi_sched.allp[mine->id], mine);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(mpgi_sched.allp[i]->id, i);
    assert_int_equal(status(i), MPGI_P_IDLE);
  }
  assert_int_equal(idle_listed(), 4);
  lock();
  mpgi_p_die_locked(mine);
  unlock();
  assert_false(mine->attached);
}

static void there_is_a_limit(void **state) {
  (void) state;
  assert_fatal("check failed", (void) mpgi_p_resize_prepare(0));
  assert_fatal("check failed", (void) mpgi_p_resize_prepare(MPGI_ALLP_MAX + 1));
}

#define CASE(f) cmocka_unit_test_setup(f, fresh)
int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(new_ones_are_idle),
      CASE(taken_ones_run_at_once),
      CASE(one_can_be_asked_for),
      CASE(none_is_given_while_the_world_stops),
      CASE(becoming_idle_arrives),
      CASE(idle_ones_have_no_work),
      CASE(acquire_and_release_join_m_and_p),
      CASE(idle_ones_beyond_die_and_come_back),
      CASE(a_busy_one_beyond_is_retired_by_its_owner),
      CASE(growing_again_cancels_a_retirement),
      CASE(many),
      CASE(no_memory_makes_none),
      CASE(those_of_attached_threads_make_way),
      CASE(there_is_a_limit),
  };
  return cmocka_run_group_tests(tests, start, NULL);
}

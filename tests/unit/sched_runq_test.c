/* Run queues, against a naive oracle, and with thieves on other threads.
 * (Every interleaving of a few operations: tests/model/runq_model.c.) */
#include <tests/support/unit.h>

#include <arch/common/rand.h>
#include <pthread.h>

#include <tests/support/unit_sched.h>

#include <sched/hot.h>

static int fresh(void **state) {
  (void) state;
  unit_sched_setup();
  return 0;
}

static void put(int p, int g, bool next) {
  mpgi_runq_put(unit_p(p), unit_g(g), next);
}

static int get(int p) {
  bool inherit;
  return unit_g_index(mpgi_runq_get(unit_p(p), &inherit));
}

static int steal(int by, int from, bool next) {
  return unit_g_index(mpgi_runq_steal(unit_p(by), unit_p(from), next));
}

static int global_by(int p, enum mpgi_globq_rule rule) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  struct mpg_g *gp = mpgi_globq_get_locked(unit_p(p), rule);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  return unit_g_index(gp);
}
static int global_get(int p) { return global_by(p, MPGI_GLOBQ_BATCH); }
static int global_turn(int p) { return global_by(p, MPGI_GLOBQ_TURN); }
static int global_look(int p) { return global_by(p, MPGI_GLOBQ_LOOK); }

static void global_put(int g) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_globq_put_locked(unit_g(g));
  mpgi_mutex_unlock(&mpgi_sched.lock);
}

/* ---- one property at a time ---- */

static void get_is_first_in_first_out(void **state) {
  (void) state;
  assert_int_equal(get(0), -1);
  for (int i = 0; i < MPGI_RUNQ_SLOTS; i++) put(0, i, false);
  assert_int_equal(mpgi_runq_size(unit_p(0)), MPGI_RUNQ_SLOTS);
  for (int i = 0; i < MPGI_RUNQ_SLOTS; i++) assert_int_equal(get(0), i);
  assert_int_equal(get(0), -1);
  assert_true(mpgi_runq_empty(unit_p(0)));
}

static void runnext_comes_first_and_inherits(void **state) {
  (void) state;
  bool inherit;
  put(0, 1, false);
  put(0, 2, true);
  assert_false(mpgi_runq_empty(unit_p(0)));
  assert_ptr_equal(mpgi_runq_get(unit_p(0), &inherit), unit_g(2));
  assert_true(inherit);
  assert_ptr_equal(mpgi_runq_get(unit_p(0), &inherit), unit_g(1));
  assert_false(inherit);
  put(0, 3, true);
  assert_false(mpgi_runq_empty(unit_p(0)));
  assert_int_equal(get(0), 3);
}

static void runnext_is_kicked_to_the_tail(void **state) {
  (void) state;
  put(0, 1, false);
  mpgi_hot_runq_put_next(unit_p(0), unit_g(2), true);
  put(0, 3, true);
  assert_int_equal(get(0), 3);
  assert_int_equal(get(0), 1);
  assert_int_equal(get(0), 2);
}

/* [fair.family] */
static void newborns_are_taken_last_in_first_out(void **state) {
  (void) state;
  bool inherit;
  put(0, 0, false);
  for (int i = 1; i <= 4; i++) put(0, i, true);
  for (int i = 4; i >= 1; i--) {
    assert_ptr_equal(mpgi_runq_get(unit_p(0), &inherit), unit_g(i));
    assert_true(inherit);
  }
  assert_ptr_equal(mpgi_runq_get(unit_p(0), &inherit), unit_g(0));
  assert_false(inherit);
  assert_int_equal(get(0), -1);
}

static void who_is_put_behind_newborns_waits_for_them(void **state) {
  (void) state;
  for (int i = 0; i < 3; i++) put(0, i, true);
  put(0, 3, false);
  for (int i = 4; i < 6; i++) put(0, i, true); /* kicks 2 */
  static const int order[] = {5, 4, 2, 0, 1, 3, -1};
  for (int i = 0; i < 7; i++) assert_int_equal(get(0), order[i]);
}

/* Woken, they are no newborns. */
static void who_was_woken_waits_in_line(void **state) {
  (void) state;
  put(0, 0, true);
  put(0, 1, true);
  for (int i = 2; i < 4; i++)
    mpgi_hot_runq_put_next(unit_p(0), unit_g(i), true);
  static const int order[] = {3, 0, 1, 2, -1};
  for (int i = 0; i < 5; i++) assert_int_equal(get(0), order[i]);
}

static void newborns_are_stolen_oldest_first(void **state) {
  (void) state;
  for (int i = 0; i < 8; i++) put(0, i, true);
  assert_int_equal(get(0), 7);
  assert_int_equal(get(0), 6);
  assert_int_equal(steal(1, 0, true), 2); /* 0 1 2 of six */
  for (int i = 0; i < 2; i++) assert_int_equal(get(1), i);
  for (int i = 5; i >= 3; i--) assert_int_equal(get(0), i);
  assert_int_equal(get(0), -1);
  put(0, 8, false);
  put(0, 9, false);
  for (int i = 8; i < 10; i++) assert_int_equal(get(0), i);
}

static void overflow_moves_the_older_half(void **state) {
  (void) state;
  for (int i = 0; i <= MPGI_RUNQ_SLOTS; i++) put(0, i, false);
  assert_int_equal(mpgi_runq_size(unit_p(0)), MPGI_RUNQ_SLOTS / 2 + 1);
  assert_int_equal(atomic_load(&mpgi_sched.runq_size), MPGI_RUNQ_SLOTS / 2);
  for (int i = 0; i < MPGI_RUNQ_SLOTS / 2; i++)
    assert_int_equal(unit_g_index(unit_global_pop()), i);
  assert_null(unit_global_pop());
  for (int i = MPGI_RUNQ_SLOTS / 2; i <= MPGI_RUNQ_SLOTS; i++)
    assert_int_equal(get(0), i);
}

static void steal_takes_the_oldest_half(void **state) {
  (void) state;
  for (int i = 0; i < 7; i++) put(0, i, false);
  assert_int_equal(steal(1, 0, false), 3); /* 0 1 2 3, of which 3 runs */
  assert_int_equal(mpgi_runq_size(unit_p(1)), 3);
  for (int i = 0; i < 3; i++) assert_int_equal(get(1), i);
  for (int i = 4; i < 7; i++) assert_int_equal(get(0), i);
}

static void steal_takes_runnext_only_when_told(void **state) {
  (void) state;
  put(0, 1, true);
  assert_int_equal(steal(1, 0, false), -1);
  assert_int_equal(steal(1, 0, true), 1);
  assert_int_equal(get(0), -1);
  /* and only when there is nothing else */
  put(0, 2, true);
  put(0, 3, false);
  assert_int_equal(steal(1, 0, true), 3);
  assert_int_equal(get(0), 2);
}

/* [steal.next] */
static void runnext_of_a_running_p_is_taken_when_it_stays(void **state) {
  (void) state;
  atomic_store(&unit_p(0)->status, MPGI_P_RUNNING);
  put(0, 1, true);
  assert_int_equal(steal(1, 0, true), 1);
  assert_int_equal(atomic_load(&unit_p(0)->late), 1);
  assert_int_equal(get(0), -1);
  atomic_store(&unit_p(0)->late, 0);
  atomic_store(&unit_p(0)->status, MPGI_P_IDLE);
}

/* [wake.lazy] */
static void queue_of_a_lazy_p_is_its_own(void **state) {
  (void) state;
  struct mpg_p *pp = unit_p(0);
  put(0, 0, true);
  assert_false(mpgi_runq_closed(pp));
  atomic_store(&pp->lazy, 1);
  assert_true(mpgi_runq_closed(pp));
  assert_false(mpgi_runq_empty(pp));
  assert_int_equal(steal(1, 0, true), -1);
  put(0, 1, true); /* kicks 0 */
  assert_true(mpgi_runq_closed(pp));
  assert_int_equal(steal(1, 0, true), -1);
  assert_int_equal(atomic_load(&pp->late), 0);
  atomic_store(&pp->lazy, 0);
  assert_false(mpgi_runq_closed(pp));
  assert_int_equal(steal(1, 0, true), 0);
  assert_int_equal(atomic_load(&pp->late), 1);
  atomic_store(&pp->late, 0);
  assert_int_equal(steal(1, 0, true), 1);
  assert_int_equal(atomic_load(&pp->late), 1);
  assert_true(mpgi_runq_closed(pp));
  atomic_store(&pp->late, 0);
}

/* [steal.short] */
static void short_ring_is_taken_when_it_stays(void **state) {
  (void) state;
  struct mpg_p *pp = unit_p(0);
  atomic_store(&pp->status, MPGI_P_RUNNING);
  for (int i = 0; i < 4; i++) put(0, i, false);
  assert_int_equal(steal(1, 0, false), -1);
  assert_int_equal(steal(1, 0, true), 1);
  assert_int_equal(atomic_load(&pp->late), 1);
  assert_int_equal(get(1), 0);
  for (int i = 2; i < 4; i++) assert_int_equal(get(0), i);
  /* and a longer one at once */
  for (int i = 0; i < 5; i++) put(0, i, false);
  assert_int_equal(steal(1, 0, false), 2);
  for (int i = 0; i < 2; i++) assert_int_equal(get(1), i);
  for (int i = 3; i < 5; i++) assert_int_equal(get(0), i);
  atomic_store(&pp->late, 0);
  atomic_store(&pp->status, MPGI_P_IDLE);
}

static _Atomic bool moving;
static void *move(void *arg) {
  while (atomic_load(&moving)) {
    put(0, 0, false);
    get(0);
  }
  return arg;
}

static void short_ring_that_moves_is_left(void **state) {
  (void) state;
  struct mpg_p *pp = unit_p(0);
  pthread_t thread;
  atomic_store(&pp->status, MPGI_P_RUNNING);
  atomic_store(&moving, true);
  assert_int_equal(pthread_create(&thread, NULL, move, NULL), 0);
  /* Taken when the other thread has lost its CPU. */
  while (!atomic_load(&pp->lazy)) steal(1, 0, true);
  assert_int_equal(steal(1, 0, true), -1);
  atomic_store(&moving, false);
  pthread_join(thread, NULL);
  atomic_store(&pp->lazy, 0);
  atomic_store(&pp->late, 0);
  atomic_store(&pp->status, MPGI_P_IDLE);
}

static void global_batch_is_a_fair_share(void **state) {
  (void) state;
  for (int i = 0; i < 40; i++) global_put(i);
  /* 40 / 4 + 1: one to run, ten to the queue */
  assert_int_equal(global_get(0), 0);
  assert_int_equal(mpgi_runq_size(unit_p(0)), 10);
  for (int i = 1; i <= 10; i++) assert_int_equal(get(0), i);
  assert_int_equal(global_turn(1), 11);
  assert_int_equal(mpgi_runq_size(unit_p(1)), 0);
  assert_int_equal(atomic_load(&mpgi_sched.runq_size), 28);
}

/* Those that were woken without a P are counted as long as they wait. */
static void woken_ones_wait_in_line_and_are_counted(void **state) {
  (void) state;
  struct mpgi_gqueue woken = {0};
  atomic_store(&mpgi_sched.procs, 1);
  atomic_store(&mpgi_sched.runq_woken, 0);
  atomic_store(&mpgi_sched.wants, 0);
  global_put(0);
  for (int i = 1; i < 4; i++) mpgi_gqueue_push(&woken, unit_g(i));
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_globq_put_woken_locked(&woken);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  global_put(4);
  assert_int_equal(woken.n, 0);
  assert_int_equal(atomic_load(&mpgi_sched.runq_size), 5);
  for (int i = 0, left = 3; i < 5; i++) {
    assert_int_equal(atomic_load(&mpgi_sched.runq_woken), left);
    assert_int_equal(global_turn(0), i);
    left -= i >= 1 && i < 4;
    assert_int_equal(atomic_load(&mpgi_sched.runq_woken), left);
  }
  assert_int_equal(global_turn(0), -1);
}

static void spent_put(int g) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_globq_put_spent_locked(unit_g(g));
  mpgi_mutex_unlock(&mpgi_sched.lock);
}

/* Those that used up their slices get one look in half a slice. */
static void others_go_before_spent_ones(void **state) {
  (void) state;
  atomic_store(&mpgi_sched.procs, 64); /* one at a time */
  for (int i = 0; i < 4; i++) spent_put(i);
  for (int i = 0; i < 60; i++) global_put(100 + i);
  assert_int_equal(atomic_load(&mpgi_sched.runq_size), 64);
  int spent = 0, other = 100;
  for (int ms = 100; ms < 117; ms++) {
    atomic_store(&mpgi_sched.coarse_now, (int64_t) ms * 1000000);
    if ((ms - 100) % 5 == 0) assert_int_equal(global_get(0), spent++);
    assert_int_equal(global_get(0), other++);
  }
  assert_int_equal(spent, 4);
}

/* Also of the 61st slice, beside a queue that is never empty; and none before
 * its time, when the others there are short. */
static void a_look_goes_by_the_clock(void **state) {
  (void) state;
  for (int i = 0; i < 3; i++) spent_put(i);
  for (int i = 0; i < 4; i++) global_put(100 + i);
  atomic_store(&mpgi_sched.coarse_now, 100 * 1000000);
  assert_int_equal(global_look(0), 0);
  assert_int_equal(global_look(0), 100);
  assert_int_equal(global_look(0), 101);
  atomic_store(&mpgi_sched.coarse_now, 105 * 1000000);
  assert_int_equal(global_look(0), 1);
  assert_int_equal(global_look(0), 102);
  assert_int_equal(global_look(0), 103);
  assert_int_equal(global_look(0), -1);
  atomic_store(&mpgi_sched.coarse_now, 110 * 1000000);
  assert_int_equal(global_look(0), 2);
  assert_int_equal(global_look(0), -1);
}

/* Looks that are all so late that spent ones are due: others starved. */
static void late_looks_take_others_too(void **state) {
  (void) state;
  atomic_store(&mpgi_sched.procs, 64);
  for (int i = 0; i < 3; i++) spent_put(i);
  for (int i = 0; i < 2; i++) global_put(100 + i);
  static const int order[] = {0, 100, 1, 101, 2, -1};
  for (int i = 0; i < 6; i++) {
    atomic_store(&mpgi_sched.coarse_now, (100 + i * 10) * INT64_C(1000000));
    int got = i % 2 ? global_get(0) : global_look(0);
    assert_int_equal(got, order[i]);
  }
}

/* When nobody else waits, and of turns, the clock counts, too. */
static void any_spent_one_taken_counts(void **state) {
  (void) state;
  atomic_store(&mpgi_sched.procs, 64);
  atomic_store(&mpgi_sched.coarse_now, 100 * 1000000);
  for (int i = 0; i < 3; i++) spent_put(i);
  assert_int_equal(global_get(0), 0);
  global_put(100);
  global_put(101);
  assert_int_equal(global_get(0), 100);
  assert_int_equal(global_turn(0), 1);
  atomic_store(&mpgi_sched.coarse_now, 104 * 1000000);
  assert_int_equal(global_get(0), 101);
  assert_int_equal(global_get(0), 2);
}

/* Whoever was woken is passed by one of them, not by two for different
 * reasons. */
static void a_turn_after_a_look_is_the_others(void **state) {
  (void) state;
  for (int i = 0; i < 2; i++) {
    spent_put(i);
    global_put(100 + i);
  }
  atomic_store(&mpgi_sched.coarse_now, 100 * 1000000);
  assert_int_equal(global_look(0), 0);
  assert_int_equal(global_turn(0), 100);
  assert_int_equal(global_turn(0), 1);
  assert_int_equal(global_turn(0), 101);
}

static void turns_take_from_each_list(void **state) {
  (void) state;
  for (int i = 0; i < 3; i++) {
    spent_put(i);
    global_put(100 + i);
  }
  for (int i = 0; i < 3; i++) {
    assert_int_equal(global_turn(0), i);
    assert_int_equal(global_turn(0), 100 + i);
  }
  assert_int_equal(global_turn(0), -1);
}

/* They would be before whoever is woken there. */
static void spent_ones_are_not_taken_in_batches(void **state) {
  (void) state;
  atomic_store(&mpgi_sched.procs, 1);
  for (int i = 0; i < 10; i++) spent_put(i);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(global_get(0), i);
    assert_int_equal(mpgi_runq_size(unit_p(0)), 0);
  }
}

static bool has_woken(void) { return mpgi_runq_has_woken(unit_p(0)); }

/* [fair.woken] Moved on to a ring they are still known. */
static void woken_ones_are_known_in_a_batch(void **state) {
  (void) state;
  struct mpgi_gqueue woken = {0};
  atomic_store(&mpgi_sched.procs, 1);
  atomic_store(&mpgi_sched.runq_woken, 0);
  atomic_store(&mpgi_sched.wants, 0);
  for (int i = 0; i < 4; i++) global_put(i);
  assert_int_equal(global_get(0), 0);
  assert_false(has_woken());
  for (int i = 1; i < 4; i++) assert_int_equal(get(0), i);
  mpgi_gqueue_push(&woken, unit_g(4));
  mpgi_gqueue_push(&woken, unit_g(5));
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_globq_put_woken_locked(&woken);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  assert_int_equal(global_get(0), 4);
  assert_true(has_woken());
  assert_int_equal(get(0), 5);
  assert_false(has_woken());
}

static void woken_ones_are_known_as_long_as_they_wait(void **state) {
  (void) state;
  struct mpg_p *pp = unit_p(0);
  put(0, 0, false);
  put(0, 1, true); /* started, not woken */
  assert_false(has_woken());
  mpgi_hot_runq_put_next(pp, unit_g(2), true);
  assert_true(has_woken());
  mpgi_hot_runq_put_next(pp, unit_g(3), false); /* 2 goes to the ring */
  assert_true(has_woken());
  put(0, 4, false);
  assert_int_equal(get(0), 3);
  assert_int_equal(get(0), 0);
  assert_int_equal(get(0), 1);
  assert_true(has_woken());
  assert_int_equal(get(0), 2);
  assert_false(has_woken());
  assert_int_equal(get(0), 4);
}

static void global_batch_leaves_room(void **state) {
  (void) state;
  atomic_store(&mpgi_sched.procs, 1);
  for (int i = 0; i < 1000; i++) global_put(i);
  assert_int_equal(global_get(0), 0);
  assert_int_equal(mpgi_runq_size(unit_p(0)), MPGI_RUNQ_SLOTS / 2 - 1);
  for (int i = 1; i < MPGI_RUNQ_SLOTS / 2; i++) assert_int_equal(get(0), i);
}

static void global_batch_fits_beside_what_waits(void **state) {
  (void) state;
  atomic_store(&mpgi_sched.procs, 1);
  for (int i = 0; i < 1000; i++) global_put(i);
  for (int i = 1000; i < 1000 + MPGI_RUNQ_SLOTS - 3; i++) put(0, i, false);
  assert_int_equal(global_get(0), 0);
  assert_int_equal(mpgi_runq_size(unit_p(0)), MPGI_RUNQ_SLOTS);
  assert_int_equal(global_get(0), 4);
  assert_int_equal(mpgi_runq_size(unit_p(0)), MPGI_RUNQ_SLOTS);
}

static void global_queue_empties(void **state) {
  (void) state;
  assert_int_equal(global_get(0), -1);
  global_put(1);
  assert_int_equal(global_get(0), 1);
  assert_int_equal(global_get(0), -1);
  global_put(2);
  assert_int_equal(unit_g_index(unit_global_pop()), 2);
}

static void drain_moves_all_to_the_global_queue(void **state) {
  (void) state;
  for (int i = 0; i < 5; i++) put(0, i, false);
  put(0, 5, true);
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_runq_drain_locked(unit_p(0));
  mpgi_mutex_unlock(&mpgi_sched.lock);
  assert_true(mpgi_runq_empty(unit_p(0)));
  assert_int_equal(unit_g_index(unit_global_pop()), 5);
  for (int i = 0; i < 5; i++)
    assert_int_equal(unit_g_index(unit_global_pop()), i);
}

static void only_runnable_ones_are_queued(void **state) {
  (void) state;
  atomic_store(&unit_g(0)->status, MPGI_G_WAITING);
  assert_fatal("check failed", put(0, 0, false));
}

/* ---- random operations against arrays ---- */

struct fifo {
  int at[UNIT_GS], n;
};
struct oracle {
  int next[UNIT_PS]; /* -1: none */
  int young[UNIT_PS];
  struct fifo ring[UNIT_PS], global;
};

static void fifo_add(struct fifo *f, int g) { f->at[f->n++] = g; }
static int fifo_take(struct fifo *f) {
  if (!f->n) return -1;
  int g = f->at[0];
  memmove(f->at, f->at + 1, (size_t) --f->n * sizeof f->at[0]);
  return g;
}

static int fifo_take_last(struct fifo *f) { return f->at[--f->n]; }

static void oracle_put(struct oracle *o, int p, int g, bool next) {
  if (next) {
    int old = o->next[p];
    o->next[p] = g;
    if (old < 0) return;
    g = old;
  }
  o->young[p] = next ? o->young[p] + 1 : 0;
  if (o->ring[p].n == MPGI_RUNQ_SLOTS)
    for (int i = 0; i < MPGI_RUNQ_SLOTS / 2; i++)
      fifo_add(&o->global, fifo_take(&o->ring[p]));
  fifo_add(&o->ring[p], g);
}

static int oracle_get(struct oracle *o, int p) {
  int g = o->next[p];
  o->next[p] = -1;
  if (g >= 0) return g;
  if (o->ring[p].n == 0) o->young[p] = 0;
  if (o->young[p] == 0) return fifo_take(&o->ring[p]);
  o->young[p]--;
  return fifo_take_last(&o->ring[p]);
}

static int oracle_steal(struct oracle *o, int by, int from, bool next) {
  int n = o->ring[from].n - o->ring[from].n / 2;
  if (n == 0) {
    int g = next ? o->next[from] : -1;
    if (next) o->next[from] = -1;
    return g;
  }
  o->young[by] = 0;
  while (--n) fifo_add(&o->ring[by], fifo_take(&o->ring[from]));
  return fifo_take(&o->ring[from]);
}

static int oracle_global(struct oracle *o, int p) {
  int n = o->global.n / UNIT_PS + 1;
  if (n > o->global.n) n = o->global.n;
  if (n > MPGI_RUNQ_SLOTS / 2) n = MPGI_RUNQ_SLOTS / 2;
  int g = fifo_take(&o->global);
  while (--n > 0) oracle_put(o, p, fifo_take(&o->global), false);
  return g;
}

static struct oracle o;
static struct fifo spare; /* on no queue */

static void came_out(int real, int expected) {
  assert_int_equal(real, expected);
  if (real >= 0) fifo_add(&spare, real);
}

static void random_step(struct mpgi_rand *rnd) {
  int p = (int) mpgi_rand_below(rnd, UNIT_PS);
  int q = (p + 1 + (int) mpgi_rand_below(rnd, UNIT_PS - 1)) % UNIT_PS;
  bool next = mpgi_rand_below(rnd, 3) == 0;
  switch (mpgi_rand_below(rnd, 8)) {
  case 0:
  case 1:
  case 2:
  case 3: {
    int g = fifo_take(&spare);
    if (g < 0) return;
    put(p, g, next);
    oracle_put(&o, p, g, next);
    return;
  }
  case 4:
  case 5: came_out(get(p), oracle_get(&o, p)); return;
  case 6:
    if (o.ring[p].n <= MPGI_RUNQ_SLOTS / 2)
      came_out(steal(p, q, next), oracle_steal(&o, p, q, next));
    return;
  default:
    if (o.ring[p].n <= MPGI_RUNQ_SLOTS / 2)
      came_out(global_get(p), oracle_global(&o, p));
  }
}

static void check_sizes(void) {
  for (int p = 0; p < UNIT_PS; p++) {
    assert_int_equal(mpgi_runq_size(unit_p(p)), o.ring[p].n);
    assert_int_equal(mpgi_runq_empty(unit_p(p)),
                     o.ring[p].n == 0 && o.next[p] < 0);
  }
  assert_int_equal(atomic_load(&mpgi_sched.runq_size), o.global.n);
}

static void agrees_with_the_oracle(void **state) {
  (void) state;
  for (uint64_t seed = 1; seed <= 6; seed++) {
    struct mpgi_rand rnd = {seed};
    unit_sched_setup();
    memset(&o, 0, sizeof o);
    spare.n = 0;
    for (int p = 0; p < UNIT_PS; p++) {
      o.next[p] = -1;
      /* nobody's: what is short is taken at once, too */
      atomic_store(&unit_p(p)->status, MPGI_P_IDLE);
      /* near the wrap-around of the indices */
      atomic_store(&unit_p(p)->runq_head, UINT32_MAX - 1000);
      atomic_store(&unit_p(p)->runq_tail, UINT32_MAX - 1000);
    }
    for (int i = 0; i < UNIT_GS; i++) fifo_add(&spare, i);
    for (int i = 0; i < 60000; i++) {
      random_step(&rnd);
      check_sizes();
    }
  }
}

/* ---- thieves on other threads ---- */

#define ROUNDS 40
static _Atomic int out[UNIT_GS];
static _Atomic int total;
static _Atomic bool all_put;

static void count_out(int g) {
  if (g < 0) return;
  atomic_fetch_add(&out[g], 1);
  atomic_fetch_add(&total, 1);
}

static void *thief(void *arg) {
  int p = (int) (intptr_t) arg;
  while (!atomic_load(&all_put) || !mpgi_runq_empty(unit_p(0))) {
    for (count_out(steal(p, 0, true)); !mpgi_runq_empty(unit_p(p));)
      count_out(get(p));
    atomic_store(&unit_p(0)->lazy, 0); /* as sysmon would */
  }
  return NULL;
}

static void owner_round(struct mpgi_rand *rnd) {
  for (int i = 0; i < UNIT_GS;) {
    int burst = 1 + (int) mpgi_rand_below(rnd, MPGI_RUNQ_SLOTS);
    for (; burst > 0 && i < UNIT_GS; burst--, i++)
      put(0, i, mpgi_rand_below(rnd, 8) != 0);
    for (int n = (int) mpgi_rand_below(rnd, 64); n > 0; n--) count_out(get(0));
  }
}

static void each_comes_out_once_under_thieves(void **state) {
  (void) state;
  struct mpgi_rand rnd = {7};
  for (int round = 0; round < ROUNDS; round++) {
    pthread_t t[UNIT_PS - 1];
    unit_sched_setup();
    memset((void *) out, 0, sizeof out);
    atomic_store(&total, 0);
    atomic_store(&all_put, false);
    for (int i = 1; i < UNIT_PS; i++)
      assert_int_equal(
          pthread_create(&t[i - 1], NULL, thief, (void *) (intptr_t) i), 0);
    owner_round(&rnd);
    atomic_store(&all_put, true);
    for (int i = 1; i < UNIT_PS; i++) pthread_join(t[i - 1], NULL);
    for (struct mpg_g *gp; (gp = unit_global_pop());)
      count_out(unit_g_index(gp));
    assert_int_equal(atomic_load(&total), UNIT_GS);
    for (int i = 0; i < UNIT_GS; i++) assert_int_equal(atomic_load(&out[i]), 1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(get_is_first_in_first_out, fresh),
      cmocka_unit_test_setup(runnext_comes_first_and_inherits, fresh),
      cmocka_unit_test_setup(runnext_is_kicked_to_the_tail, fresh),
      cmocka_unit_test_setup(newborns_are_taken_last_in_first_out, fresh),
      cmocka_unit_test_setup(who_is_put_behind_newborns_waits_for_them, fresh),
      cmocka_unit_test_setup(who_was_woken_waits_in_line, fresh),
      cmocka_unit_test_setup(newborns_are_stolen_oldest_first, fresh),
      cmocka_unit_test_setup(overflow_moves_the_older_half, fresh),
      cmocka_unit_test_setup(steal_takes_the_oldest_half, fresh),
      cmocka_unit_test_setup(steal_takes_runnext_only_when_told, fresh),
      cmocka_unit_test_setup(runnext_of_a_running_p_is_taken_when_it_stays,
                             fresh),
      cmocka_unit_test_setup(queue_of_a_lazy_p_is_its_own, fresh),
      cmocka_unit_test_setup(short_ring_is_taken_when_it_stays, fresh),
      cmocka_unit_test_setup(short_ring_that_moves_is_left, fresh),
      cmocka_unit_test_setup(global_batch_is_a_fair_share, fresh),
      cmocka_unit_test_setup(woken_ones_wait_in_line_and_are_counted, fresh),
      cmocka_unit_test_setup(others_go_before_spent_ones, fresh),
      cmocka_unit_test_setup(a_turn_after_a_look_is_the_others, fresh),
      cmocka_unit_test_setup(turns_take_from_each_list, fresh),
      cmocka_unit_test_setup(a_look_goes_by_the_clock, fresh),
      cmocka_unit_test_setup(late_looks_take_others_too, fresh),
      cmocka_unit_test_setup(any_spent_one_taken_counts, fresh),
      cmocka_unit_test_setup(woken_ones_are_known_in_a_batch, fresh),
      cmocka_unit_test_setup(spent_ones_are_not_taken_in_batches, fresh),
      cmocka_unit_test_setup(woken_ones_are_known_as_long_as_they_wait, fresh),
      cmocka_unit_test_setup(global_batch_leaves_room, fresh),
      cmocka_unit_test_setup(global_batch_fits_beside_what_waits, fresh),
      cmocka_unit_test_setup(global_queue_empties, fresh),
      cmocka_unit_test_setup(drain_moves_all_to_the_global_queue, fresh),
      cmocka_unit_test_setup(only_runnable_ones_are_queued, fresh),
      cmocka_unit_test_setup(agrees_with_the_oracle, fresh),
      cmocka_unit_test_setup(each_comes_out_once_under_thieves, fresh),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

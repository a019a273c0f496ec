/* time_timer_test.c - mpg_after, mpg_timer_start, mpg_timer_stop. */
#include <errno.h>

#include "../support/check.h"
#include "../support/hide.h"

#define MS INT64_C(1000000)

static _Atomic int fired;
static _Atomic int64_t first_at;

static void fire(void *arg) {
  (void) arg;
  int64_t none = 0; /* before it counts: who waits for that reads the time */
  atomic_compare_exchange_strong(&first_at, &none, mpg_now());
  atomic_fetch_add(&fired, 1);
}

static void fresh(void) {
  atomic_store(&fired, 0);
  atomic_store(&first_at, 0);
}

/* ---- mpg_after ---- */

static void after_delivers_the_time(void *arg) {
  (void) arg;
  for (int64_t ns = 1; ns <= 20 * MS; ns *= 9) {
    int64_t before = mpg_now(), at = 0;
    mpg_chan *c = mpg_after(ns);
    CHECK(c != NULL);
    CHECK_EQ(mpg_chan_cap(c), 1);
    CHECK(mpg_chan_recv(c, &at));
    CHECK_GE(at, before + ns);
    CHECK_LE(at, mpg_now());
    CHECK_EQ(mpg_chan_try_recv(c, &at), -EAGAIN); /* once, and not closed */
  }
}

static void after_nothing_is_now(void *arg) {
  (void) arg;
  static const int64_t ns[] = {0, -1, INT64_MIN};
  for (int i = 0; i < 3; i++) {
    int64_t before = mpg_now(), at = 0;
    CHECK(mpg_chan_recv(mpg_after(ns[i]), &at));
    CHECK_GE(at, before);
    CHECK_LE(at - before, 5000 * MS);
  }
}

static void after_a_very_long_time_is_not_now(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_after(INT64_MAX);
  mpg_sleep(20 * MS);
  CHECK_EQ(mpg_chan_len(c), 0);
}

/* It goes on although nobody receives, and keeps its channel. */
static void nobody_need_receive(void *arg) {
  (void) arg;
  for (int i = 0; i < 1000; i++) mpg_after(i % 7 * MS);
  for (int i = 0; i < 5; i++) {
    mpg_gc();
    mpg_sleep(3 * MS);
  }
}

static void several_in_order(void *arg) {
  (void) arg;
  int64_t at[3];
  mpg_chan *c[3] = {mpg_after(15 * MS), mpg_after(5 * MS), mpg_after(10 * MS)};
  mpg_gc();
  for (int i = 0; i < 3; i++) CHECK(mpg_chan_recv(c[i], &at[i]));
  CHECK_LE(at[1], at[2]);
  CHECK_LE(at[2], at[0]);
}

/* ---- timers ---- */

static void a_one_shot_fires_once(void *arg) {
  (void) arg;
  fresh();
  int64_t before = mpg_now();
  mpg_timer *t = mpg_timer_start(5 * MS, 0, fire, NULL);
  CHECK(t != NULL);
  CHECK_EVENTUALLY(atomic_load(&fired));
  CHECK_GE(atomic_load(&first_at) - before, 5 * MS);
  mpg_sleep(20 * MS);
  CHECK_EQ(atomic_load(&fired), 1);
  CHECK(!mpg_timer_stop(t));
  CHECK(!mpg_timer_stop(t));
}

static void no_time_is_at_once(void *arg) {
  (void) arg;
  fresh();
  CHECK(mpg_timer_start(0, 0, fire, NULL) != NULL);
  CHECK(mpg_timer_start(-5, -5, fire, NULL) != NULL);
  CHECK(mpg_timer_start(INT64_MIN, 0, fire, NULL) != NULL);
  CHECK_EVENTUALLY(atomic_load(&fired) == 3);
}

static void without_a_function_there_is_no_timer(void *arg) {
  (void) arg;
  CHECK(mpg_timer_start(MS, MS, NULL, NULL) == NULL);
  CHECK(!mpg_timer_stop(NULL));
}

static void stopped_in_time_it_never_fires(void *arg) {
  (void) arg;
  fresh();
  mpg_timer *t = mpg_timer_start(15 * MS, 0, fire, NULL);
  mpg_timer *u = mpg_timer_start(INT64_MAX, INT64_MAX, fire, NULL);
  CHECK(mpg_timer_stop(t));
  CHECK(!mpg_timer_stop(t));
  mpg_sleep(30 * MS);
  CHECK(mpg_timer_stop(u));
  CHECK(!mpg_timer_stop(u));
  CHECK_EQ(atomic_load(&fired), 0);
}

static void a_periodic_one_ticks_until_stopped(void *arg) {
  (void) arg;
  fresh();
  int64_t before = mpg_now();
  mpg_timer *t = mpg_timer_start(MS, 2 * MS, fire, NULL);
  CHECK_EVENTUALLY(atomic_load(&fired) >= 10);
  CHECK_GE(mpg_now() - before, (1 + 9 * 2) * MS);
  CHECK(mpg_timer_stop(t));
  CHECK(!mpg_timer_stop(t));
  mpg_sleep(5 * MS); /* what was started runs */
  int n = atomic_load(&fired);
  mpg_sleep(20 * MS);
  CHECK_EQ(atomic_load(&fired), n);
}

/* Nobody gets to the timer for a while: the ticks of that time are lost. */
static void missed_ticks_are_dropped(void *arg) {
  (void) arg;
  fresh();
  mpg_gomaxprocs(1);
  int64_t before = mpg_now();
  mpg_timer *t = mpg_timer_start(MS, MS, fire, NULL);
  mpg_preempt_disable();
  while (mpg_now() - before < 50 * MS) continue;
  mpg_preempt_enable();
  CHECK_EVENTUALLY(atomic_load(&fired));
  CHECK(mpg_timer_stop(t));
  int64_t ran = (mpg_now() - before) / MS;
  mpg_sleep(5 * MS); /* what was started runs */
  CHECK_LE(atomic_load(&fired), ran - 40);
  CHECK_GT(atomic_load(&fired), 0);
}

static _Atomic uint64_t sum;
static void add(void *arg) { atomic_fetch_add(&sum, *(uint64_t *) arg); }

/* arg, and the timer itself, are kept by the runtime only. */
static __attribute__((noinline)) void start_hidden(int n) {
  for (int i = 1; i <= n; i++) {
    uint64_t *x = mpg_alloc(HIDE_WORDS * sizeof(*x));
    *x = (uint64_t) i;
    CHECK(mpg_timer_start(10 * MS, 0, add, x) != NULL);
  }
}

static _Atomic int begun, ended;
static void work_a_little(void *arg) {
  (void) arg;
  atomic_fetch_add(&begun, 1);
  int64_t end = mpg_now() + MS / 5;
  while (mpg_now() < end) continue;
  atomic_fetch_add(&ended, 1);
}

/* Twenty times more ticks than there is time for: each timer has a goroutine
 * that waits for its turn, and there are those that have begun. */
static void ticks_do_not_pile_up(void *arg) {
  enum { TIMERS = 100 };
  (void) arg;
  mpg_timer *t[TIMERS];
  mpg_gomaxprocs(1);
  for (int i = 0; i < TIMERS; i++)
    CHECK((t[i] = mpg_timer_start(MS, MS, work_a_little, NULL)));
  for (int i = 0; i < 10; i++) {
    mpg_sleep(5 * MS);
    int over = atomic_load(&ended), all = mpg_num_goroutines();
    CHECK_LE(all, 2 * TIMERS + atomic_load(&begun) - over);
  }
  for (int i = 0; i < TIMERS; i++) mpg_timer_stop(t[i]);
}

static void the_argument_is_a_root(void *arg) {
  (void) arg;
  atomic_store(&sum, 0);
  start_hidden(200);
  for (int i = 0; i < 3; i++) hide_collect();
  CHECK_EVENTUALLY(atomic_load(&sum) == 200 * 201 / 2);
}

/* ---- races ---- */

#define RACES (CHECK_MANY_GOROUTINES < 3000 ? CHECK_MANY_GOROUTINES : 3000)
static _Atomic int prevented;

static void stop_it(void *arg) {
  if (mpg_timer_stop(*(mpg_timer **) arg)) atomic_fetch_add(&prevented, 1);
}

/* Every one-shot either fires or is prevented, by exactly one stop. */
static void either_fired_or_stopped(void *arg) {
  (void) arg;
  fresh();
  atomic_store(&prevented, 0);
  mpg_gomaxprocs(4);
  mpg_timer **t = mpg_alloc(RACES * sizeof(*t));
  for (int i = 0; i < RACES; i++) {
    t[i] = mpg_timer_start(i % 50 * 1000, 0, fire, NULL);
    for (int k = 0; k < 3; k++) CHECK_GO(stop_it, &t[i]);
    if (i % 64 == 0) mpg_sleep(20000);
  }
  CHECK_EVENTUALLY(atomic_load(&prevented) + atomic_load(&fired) == RACES);
  mpg_sleep(5 * MS);
  CHECK_EQ(atomic_load(&prevented) + atomic_load(&fired), RACES);
  for (int i = 0; i < RACES; i++) CHECK(!mpg_timer_stop(t[i]));
}

static mpg_timer *_Atomic itself;
static void stop_itself(void *arg) {
  (void) arg;
  mpg_timer *t;
  while (!(t = atomic_load(&itself))) mpg_yield(); /* it fires at once */
  if (mpg_timer_stop(t)) fire(NULL);
}

static void a_periodic_one_may_stop_itself(void *arg) {
  (void) arg;
  fresh();
  itself = mpg_timer_start(5 * MS, 50 * MS, stop_itself, NULL);
  CHECK_EVENTUALLY(atomic_load(&fired) == 1);
  mpg_sleep(70 * MS);
  CHECK_EQ(atomic_load(&fired), 1);
}

/* ---- who fires it ---- */

static _Atomic bool go_on;
static void loop(void *arg) {
  (void) arg;
  while (atomic_load(&go_on)) __asm__ volatile("");
}

/* The setter runs on, the other Ms sleep without a timer. */
static void idle_ps_notice(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  for (int i = 0; i < 10; i++) {
    mpg_sleep(2 * MS); /* the others go to sleep */
    fresh();
    CHECK(mpg_timer_start(MS, 0, fire, NULL) != NULL);
    int64_t before = mpg_now();
    mpg_preempt_disable();
    while (!atomic_load(&fired)) CHECK_LE(mpg_now() - before, 5000 * MS);
    mpg_preempt_enable();
  }
}

static void they_fire_beside_loops(void *arg) {
  (void) arg;
  fresh();
  mpg_gomaxprocs(2);
  atomic_store(&go_on, true);
  for (int i = 0; i < 4; i++) CHECK_GO(loop, NULL);
  mpg_timer *t = mpg_timer_start(MS, MS, fire, NULL);
  for (int i = 0; i < 5; i++) CHECK(mpg_chan_recv(mpg_after(MS), NULL));
  CHECK_EVENTUALLY(atomic_load(&fired) > 5);
  CHECK(mpg_timer_stop(t));
  atomic_store(&go_on, false);
}

/* The heap of a P that is no more. */
static void they_survive_fewer_ps(void *arg) {
  (void) arg;
  fresh();
  mpg_gomaxprocs(8);
  for (int i = 0; i < 64; i++) {
    CHECK(mpg_timer_start(10 * MS, 0, fire, NULL) != NULL);
    mpg_yield();
  }
  mpg_gomaxprocs(1);
  CHECK_EVENTUALLY(atomic_load(&fired) == 64);
}

static void runs_in_a_goroutine_of_its_own(void *arg) {
  mpg_chan *c = arg;
  uint64_t id = mpg_goid();
  mpg_chan_send(c, &id);
}

static void fn_is_a_goroutine(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(uint64_t), 0);
  mpg_timer *t = mpg_timer_start(0, MS, runs_in_a_goroutine_of_its_own, c);
  uint64_t a = 0, b = 0;
  CHECK(mpg_chan_recv(c, &a) && mpg_chan_recv(c, &b));
  CHECK(a != 0 && b != 0 && a != b && a != mpg_goid() && b != mpg_goid());
  CHECK(mpg_timer_stop(t));
  while (mpg_num_goroutines() > 1) {
    mpg_chan_try_recv(c, &a);
    mpg_yield();
  }
}

static void as_a_function(void *arg) {
  (void) arg;
  fresh();
  CHECK((mpg_timer_start) (0, 0, fire, NULL) != NULL);
  CHECK_EVENTUALLY(atomic_load(&fired) == 1);
}

/* A handle of an earlier run is dead. */
static void a_run_leaves_a_timer_behind(void *arg) {
  (void) arg;
  itself = mpg_timer_start(3600 * 1000 * MS, MS, fire, NULL);
  for (int i = 0; i < 9; i++) mpg_after(3600 * 1000 * MS);
}
static void which_can_be_stopped_no_more(void *arg) {
  (void) arg;
  mpg_after(3600 * 1000 * MS);
  CHECK(!mpg_timer_stop(itself));
}

static const struct check_case cases[] = {
    INSIDE(after_delivers_the_time),
    INSIDE(after_nothing_is_now),
    INSIDE(after_a_very_long_time_is_not_now),
    INSIDE(nobody_need_receive),
    INSIDE(several_in_order),
    INSIDE(a_one_shot_fires_once),
    INSIDE(no_time_is_at_once),
    INSIDE(without_a_function_there_is_no_timer),
    INSIDE(stopped_in_time_it_never_fires),
    INSIDE(a_periodic_one_ticks_until_stopped),
    INSIDE(missed_ticks_are_dropped),
    INSIDE(ticks_do_not_pile_up),
    INSIDE(the_argument_is_a_root),
    INSIDE(either_fired_or_stopped),
    INSIDE(a_periodic_one_may_stop_itself),
    INSIDE(idle_ps_notice),
    INJECTS(they_fire_beside_loops),
    INSIDE(they_survive_fewer_ps),
    INSIDE(fn_is_a_goroutine),
    INSIDE(as_a_function),
    INSIDE(a_run_leaves_a_timer_behind),
    INSIDE(which_can_be_stopped_no_more),
};
CHECK_MAIN(cases, 20)

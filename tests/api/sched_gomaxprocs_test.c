/* sched_gomaxprocs_test.c - the number of Ps is honoured exactly. */
#include "../support/check.h"

static mpg_waitgroup done;

static void reports_and_sets(void *arg) {
  (void) arg;
  int start = mpg_gomaxprocs(0);
  CHECK_GE(start, 1);
  CHECK_EQ(mpg_gomaxprocs(-1), start);
  CHECK_EQ(mpg_gomaxprocs(3), start);
  CHECK_EQ(mpg_gomaxprocs(0), 3);
  CHECK_EQ(mpg_gomaxprocs(8), 3);
  CHECK_EQ(mpg_gomaxprocs(1), 8);
  CHECK_EQ(mpg_gomaxprocs(1), 1);
  CHECK_EQ(mpg_gomaxprocs(start), 1);
}

static _Atomic int arrived;

/* Nobody leaves before all have come, and nobody can be switched out: works
 * only when each has a P of its own. */
static void meet(void *arg) {
  int n = (int) (intptr_t) arg;
  mpg_preempt_disable();
  atomic_fetch_add(&arrived, 1);
  while (atomic_load(&arrived) < n) __asm__ volatile("pause");
  mpg_preempt_enable();
  mpg_waitgroup_done(&done);
}

static void meet_on(int n) {
  mpg_gomaxprocs(n);
  atomic_store(&arrived, 0);
  mpg_waitgroup_add(&done, n);
  for (int i = 0; i < n; i++) CHECK_GO(meet, (void *) (intptr_t) n);
  mpg_waitgroup_wait(&done);
}

static void that_many_run_at_once(void *arg) {
  (void) arg;
  for (int n = 1; n <= 8; n *= 2) meet_on(n);
  meet_on(17);
  meet_on(3);
}

static _Atomic int running, most;

static void be_counted(void *arg) {
  int n = (int) (intptr_t) arg;
  for (int i = 0; i < 200; i++) {
    mpg_preempt_disable();
    int now = atomic_fetch_add(&running, 1) + 1;
    int seen = atomic_load(&most);
    while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now)) {
    }
    for (int j = 0; j < 2000; j++) __asm__ volatile("pause");
    atomic_fetch_sub(&running, 1);
    mpg_preempt_enable();
    mpg_yield();
    CHECK_LE(atomic_load(&most), n);
  }
  mpg_waitgroup_done(&done);
}

static void no_more_run_at_once(void *arg) {
  (void) arg;
  for (int n = 1; n <= 4; n++) {
    mpg_gomaxprocs(n);
    atomic_store(&most, 0);
    mpg_waitgroup_add(&done, 2 * n);
    for (int i = 0; i < 2 * n; i++) CHECK_GO(be_counted, (void *) (intptr_t) n);
    mpg_waitgroup_wait(&done);
    CHECK_GE(atomic_load(&most), 1);
    CHECK_LE(atomic_load(&most), n);
  }
}

static _Atomic bool quit;
static _Atomic uint64_t work_done;

static void work(void *arg) {
  (void) arg;
  while (!atomic_load(&quit)) {
    void **p = mpg_alloc(64);
    p[0] = p;
    if (atomic_fetch_add(&work_done, 1) % 16 == 0) mpg_yield();
  }
  mpg_waitgroup_done(&done);
}

static void changes_under_load(void *arg) {
  (void) arg;
  atomic_store(&quit, false);
  mpg_waitgroup_add(&done, 6);
  for (int i = 0; i < 6; i++) CHECK_GO(work, NULL);
  int last = mpg_gomaxprocs(0);
  for (int i = 0; i < 60; i++) {
    int n = 1 + i * 7 % 9;
    CHECK_EQ(mpg_gomaxprocs(n), last);
    last = n;
    uint64_t before = atomic_load(&work_done);
    CHECK_EVENTUALLY(atomic_load(&work_done) > before);
  }
  atomic_store(&quit, true);
  mpg_waitgroup_wait(&done);
}

static void set_in_one_run_holds_in_the_next(void *arg) {
  (void) arg;
  int n = mpg_gomaxprocs(0);
  CHECK_GE(n, 1);
  meet_on(n);
}

static void set_before_a_run_holds_in_it(void *arg) {
  (void) arg;
  CHECK_GE(mpg_gomaxprocs(5), 1);
  CHECK_EQ(mpg_gomaxprocs(0), 5);
  CHECK_EQ(mpg_gomaxprocs(6), 5);
}

static void was_set_before(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_gomaxprocs(0), 6);
  meet_on(6);
}

static void very_many_are_capped(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1000000);
  CHECK_EQ(mpg_gomaxprocs(2), 1024);
  meet_on(2);
}

static _Atomic bool collect;

static void collects(void *arg) {
  (void) arg;
  while (atomic_load(&collect)) mpg_gc();
  mpg_waitgroup_done(&done);
}

/* Each needs the world to itself; whoever has just had it is awake first
 * [stw.turn]. */
static void comes_between_collections(void *arg) {
  (void) arg;
  int before = mpg_gomaxprocs(4);
  atomic_store(&collect, true);
  mpg_waitgroup_add(&done, 3);
  for (int i = 0; i < 3; i++) CHECK_GO(collects, NULL);
  for (int i = 0; i < 50; i++) {
    CHECK_EQ(mpg_gomaxprocs(i % 2 ? 4 : 5), i % 2 ? 5 : 4);
    mpg_yield();
  }
  atomic_store(&collect, false);
  mpg_waitgroup_wait(&done);
  mpg_gomaxprocs(before);
}

static const struct check_case cases[] = {
    OUTSIDE(set_before_a_run_holds_in_it),
    STEALS(was_set_before),
    INSIDE(reports_and_sets),
    STEALS(that_many_run_at_once),
    INSIDE(no_more_run_at_once),
    INSIDE(changes_under_load),
    STEALS(set_in_one_run_holds_in_the_next),
    STEALS(very_many_are_capped),
    INSIDE(comes_between_collections),
};
CHECK_MAIN(cases, 30)

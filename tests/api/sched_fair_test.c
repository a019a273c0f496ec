/* sched_fair_test.c - nobody waits for everybody else's slices, nobody starves.
 *
 * One P, loops that never give it up, and somebody who is woken.  What counts
 * is how often the P goes from one loop to another meanwhile, not the time.
 */
#include "../support/check.h"
#include "../support/preemptions.h"

#define LOOPS 6
#define ROUNDS 20
#define SHORT_SLICES 200000

static _Atomic int runs_now; /* the loop that has the P */
static _Atomic long changes; /* how often that was another one */
static _Atomic long turns[LOOPS + 1];
static _Atomic bool quit;
static mpg_waitgroup done;

/* What changes was when somebody had been woken, and when he ran. */
static long woken_at[ROUNDS], ran_at[ROUNDS];
static _Atomic int asked;

static void loop(void *arg) {
  int me = (int) (intptr_t) arg;
  while (!atomic_load_explicit(&quit, memory_order_relaxed)) {
    if (atomic_load_explicit(&runs_now, memory_order_relaxed) == me) continue;
    atomic_store(&runs_now, me);
    atomic_fetch_add(&changes, 1);
    atomic_fetch_add(&turns[me], 1);
  }
  mpg_waitgroup_done(&done);
}

/* Every one has run, so that all but one have used up a slice. */
static void start_loops(int n) {
  mpg_gomaxprocs(1);
  atomic_store(&quit, false);
  atomic_store(&asked, 0);
  for (int i = 1; i <= n; i++) atomic_store(&turns[i], 0);
  mpg_waitgroup_add(&done, n);
  for (intptr_t i = 1; i <= n; i++) CHECK_GO(loop, (void *) i);
  for (int i = 1; i <= n; i++) CHECK_EVENTUALLY(atomic_load(&turns[i]) > 0);
}

static void end_loops(void) {
  atomic_store(&quit, true);
  mpg_waitgroup_wait(&done);
}

/* ---- woken by somebody who has no P ---- */

/* In turn there would be some LOOPS - 1 changes each time, so that all rounds
 * were late.  Now and then it is a loop's turn all the same; preemptall=1
 * changes all the time. */
static void check_waits(long most) {
  int late = 0;
  for (int i = 0; i < ROUNDS; i++) late += ran_at[i] - woken_at[i] > most;
  if (!check_switch("preemptall")) CHECK_LE(late, ROUNDS / 4);
}

static mpg_chan *to_main;
static int ends[2];

static void wait_until_asked(int i) {
  while (atomic_load(&asked) <= i) usleep(100);
  usleep(300); /* main waits by now */
}

static void *sends(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_thread_attach(), 0);
  for (int i = 0; i < ROUNDS; i++) {
    wait_until_asked(i);
    mpg_chan_send(to_main, &i);
    woken_at[i] = atomic_load(&changes); /* this thread may have been late */
  }
  CHECK_EQ(mpg_thread_detach(), 0);
  return NULL;
}

static void woken_by_a_thread(void *arg) {
  pthread_t t;
  (void) arg;
  to_main = mpg_chan_new(sizeof(int), 0);
  start_loops(LOOPS);
  CHECK_EQ(pthread_create(&t, NULL, sends, NULL), 0);
  for (int i = 0; i < ROUNDS; i++) {
    int x;
    atomic_fetch_add(&asked, 1);
    CHECK(mpg_chan_recv(to_main, &x));
    ran_at[i] = atomic_load(&changes);
    CHECK_EQ(x, i);
  }
  end_loops();
  CHECK_EQ(pthread_join(t, NULL), 0);
  check_waits(1);
}

static void *writes(void *arg) {
  (void) arg;
  for (int i = 0; i < ROUNDS; i++) {
    wait_until_asked(i);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    woken_at[i] = atomic_load(&changes);
  }
  return NULL;
}

static void woken_by_a_descriptor(void *arg) {
  pthread_t t;
  (void) arg;
  CHECK_EQ(pipe(ends), 0);
  start_loops(LOOPS);
  CHECK_EQ(pthread_create(&t, NULL, writes, NULL), 0);
  for (int i = 0; i < ROUNDS; i++) {
    char x;
    atomic_fetch_add(&asked, 1);
    CHECK_EQ(mpg_read(ends[0], &x, 1), 1);
    ran_at[i] = atomic_load(&changes);
  }
  end_loops();
  CHECK_EQ(pthread_join(t, NULL), 0);
  check_waits(1);
  mpg_close(ends[0]);
  mpg_close(ends[1]);
}

/* A P that goes from one to the other is hardly looked at, until one of them
 * stays: then whoever the network wakes has its turn. */
static void *writes_once(void *arg) {
  (void) arg;
  wait_until_asked(0);
  CHECK_EQ(write(ends[1], "x", 1), 1);
  return NULL;
}

static void yields(void) {
  for (int i = 0; i < SHORT_SLICES; i++) mpg_yield();
}

static void stays(void *arg) {
  (void) arg;
  yields();
  atomic_fetch_add(&asked, 1);
  while (!atomic_load(&quit)) continue;
  mpg_waitgroup_done(&done);
}

static void a_loop_after_short_slices_makes_way(void *arg) {
  pthread_t t;
  char x;
  (void) arg;
  mpg_gomaxprocs(1);
  atomic_store(&quit, false);
  atomic_store(&asked, 0);
  CHECK_EQ(pipe(ends), 0);
  CHECK_EQ(pthread_create(&t, NULL, writes_once, NULL), 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(stays, NULL);
  yields();
  CHECK_EQ(mpg_read(ends[0], &x, 1), 1);
  end_loops();
  CHECK_EQ(pthread_join(t, NULL), 0);
  mpg_close(ends[0]);
  mpg_close(ends[1]);
}

/* From when it went to sleep: some loop must have had the P meanwhile. */
static void woken_by_a_timer(void *arg) {
  (void) arg;
  start_loops(LOOPS);
  for (int i = 0; i < ROUNDS; i++) {
    woken_at[i] = atomic_load(&changes);
    mpg_sleep(1000000);
    ran_at[i] = atomic_load(&changes);
  }
  end_loops();
  check_waits(2);
}

/* ---- loops beside those who are never idle ---- */

static mpg_chan *ring[3];

static void pass_on(void *arg) {
  intptr_t i = (intptr_t) arg;
  int token;
  while (mpg_chan_recv(ring[i], &token) && !atomic_load(&quit))
    mpg_chan_send(ring[(i + 1) % 3], &token);
  for (int k = 0; k < 3; k++)
    if (k != i) mpg_chan_try_send(ring[k], &token);
  mpg_waitgroup_done(&done);
}

/* They wake each other, so that the P's queue never runs empty. */
static void loops_run_beside_a_ring_of_wakers(void *arg) {
  (void) arg;
  for (int i = 0; i < 3; i++) ring[i] = mpg_chan_new(sizeof(int), 1);
  start_loops(2);
  mpg_waitgroup_add(&done, 3);
  for (intptr_t i = 0; i < 3; i++) CHECK_GO(pass_on, (void *) i);
  for (int i = 0; i < 2; i++) mpg_chan_send(ring[i], &i);
  long before[3];
  for (int i = 1; i <= 2; i++) before[i] = atomic_load(&turns[i]);
  for (int i = 1; i <= 2; i++)
    CHECK_EVENTUALLY(atomic_load(&turns[i]) >= before[i] + 5);
  end_loops();
}

/* Somebody always yields: the loops are not in that queue. */
static void yielders_and_loops_take_turns(void *arg) {
  (void) arg;
  start_loops(2);
  long before[3], yields = 0;
  for (int i = 1; i <= 2; i++) before[i] = atomic_load(&turns[i]);
  while (atomic_load(&turns[1]) < before[1] + 3 ||
         atomic_load(&turns[2]) < before[2] + 3) {
    mpg_yield();
    yields++;
  }
  CHECK_GT(yields, 0);
  end_loops();
}

/* ---- woken by one that doesn't wait afterwards ---- */

static mpg_chan *there, *back;
static _Atomic int heard;

static void answers(void *arg) {
  (void) arg;
  for (int x; mpg_chan_recv(there, &x);) {
    if (x >= 0)
      mpg_chan_send(back, &x);
    else
      atomic_fetch_add(&heard, 1);
  }
  mpg_waitgroup_done(&done);
}

/* Two that wake each other and wait stay on one P, and wake no other.  But when
 * one goes on, and can't be preempted, the other runs on the P that is free. */
static void a_free_p_runs_whom_a_loop_woke(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  CHECK((there = mpg_chan_new(sizeof(int), 0)));
  CHECK((back = mpg_chan_new(sizeof(int), 0)));
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(answers, NULL);
  for (int round = 1; round <= ROUNDS; round++) {
    int x;
    for (int i = 0; i < 200; i++) {
      mpg_chan_send(there, &i);
      CHECK(mpg_chan_recv(back, &x));
      CHECK_EQ(x, i);
    }
    x = -1;
    mpg_preempt_disable();
    mpg_chan_send(there, &x);
    while (atomic_load(&heard) < round) continue;
    mpg_preempt_enable();
  }
  mpg_chan_close(there);
  mpg_waitgroup_wait(&done);
}

static void hears(void *arg) {
  (void) arg;
  atomic_fetch_add(&heard, 1);
  mpg_waitgroup_done(&done);
}

/* Likewise whoever is started after many that were too brief to wake another P
 * for. */
static void a_free_p_runs_whom_a_loop_started(void *arg) {
  (void) arg;
  enum { BRIEF = 8, BATCHES = 200, STARTED = 3 };
  mpg_gomaxprocs(2);
  for (int round = 0; round < ROUNDS; round++) {
    for (int batch = 0; batch < BATCHES; batch++) {
      mpg_waitgroup_add(&done, BRIEF);
      for (int i = 0; i < BRIEF; i++) CHECK_GO(hears, NULL);
      mpg_waitgroup_wait(&done);
    }
    atomic_store(&heard, 0);
    mpg_waitgroup_add(&done, STARTED);
    mpg_preempt_disable();
    for (int i = 0; i < STARTED; i++) CHECK_GO(hears, NULL);
    while (atomic_load(&heard) < STARTED) continue;
    mpg_preempt_enable();
    mpg_waitgroup_wait(&done);
  }
}

/* ---- beside two that wake each other ---- */

static _Atomic long exchanges;

static void exchanges_with_another(void *arg) {
  (void) arg;
  int x = 0;
  while (!atomic_load(&quit)) {
    mpg_chan_send(there, &x);
    CHECK(mpg_chan_recv(back, &x));
    atomic_fetch_add(&exchanges, 1);
  }
  mpg_chan_close(there);
  mpg_waitgroup_done(&done);
}

/* They run on by runnext, but not for a slice while somebody waits. */
static void a_pair_lets_others_run(void *arg) {
  (void) arg;
  enum { MOST = 6000 };
  int waits = 0;
  mpg_gomaxprocs(1);
  atomic_store(&quit, false);
  CHECK((there = mpg_chan_new(sizeof(int), 0)));
  CHECK((back = mpg_chan_new(sizeof(int), 0)));
  mpg_waitgroup_add(&done, 2);
  CHECK_GO(answers, NULL);
  CHECK_GO(exchanges_with_another, NULL);
  for (int round = 0; round < ROUNDS;) {
    long before = atomic_load(&exchanges);
    mpg_yield();
    long n = atomic_load(&exchanges) - before;
    round += n > 0; /* else one of them had used up a slice */
    waits += n > MOST;
  }
  atomic_store(&quit, true);
  mpg_waitgroup_wait(&done);
  CHECK_LE(waits, ROUNDS / 4);
}

/* ---- beside chains of goroutines, each of which starts the next ---- */

static void starts_next(void *arg) {
  if (atomic_load(&quit))
    mpg_waitgroup_done(&done);
  else
    CHECK_GO(starts_next, arg);
}

/* They go on by runnext with the slice of the one before, and the local queue
 * never runs empty; who yields is in the global one. */
static void chains_let_a_yielder_run(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  atomic_store(&quit, false);
  mpg_waitgroup_add(&done, 10);
  for (int i = 0; i < 10; i++) CHECK_GO(starts_next, NULL);
  for (int i = 0; i < 100; i++) mpg_yield();
  end_loops();
}

/* ---- alone ---- */

/* Its slice is ten times as long while nobody waits. */
static void who_is_alone_is_seldom_asked(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  mpg_sleep(1000000); /* whatever started with the run is done */
  uint64_t before = preemptions();
  int64_t began = check_now();
  while (check_now() < began + 250 * INT64_C(1000000)) continue;
  uint64_t asked_most = (uint64_t) (check_now() - began) / 100000000 + 1;
  if (!check_switch("preemptall") && !check_switch("gcperiod"))
    CHECK_LE(preemptions() - before, asked_most);
}

static const struct check_case cases[] = {
    INJECTS(woken_by_a_thread),
    INJECTS(woken_by_a_descriptor),
    INJECTS(a_loop_after_short_slices_makes_way),
    INJECTS(woken_by_a_timer),
    INJECTS(loops_run_beside_a_ring_of_wakers),
    INJECTS(yielders_and_loops_take_turns),
    STEALS(a_free_p_runs_whom_a_loop_woke),
    STEALS(a_free_p_runs_whom_a_loop_started),
    INSIDE(a_pair_lets_others_run),
    INSIDE(chains_let_a_yielder_run),
    INSIDE(who_is_alone_is_seldom_asked),
};
CHECK_MAIN(cases, 20)

/* sync_cond_test.c - condition variables, and once. */
#include "../support/check.h"

static mpg_waitgroup done;

/* ---- condition variables ---- */

static mpg_mutex lock;
static mpg_cond cond; /* zero has no waiters */
static int tokens, waiting, order[16], norder;

static void take_a_token(void *arg) {
  mpg_mutex_lock(&lock);
  waiting++;
  while (tokens == 0) mpg_cond_wait(&cond, &lock);
  CHECK(!mpg_mutex_trylock(&lock)); /* it has the lock again */
  waiting--;
  tokens--;
  order[norder++ % 16] = (int) (intptr_t) arg;
  mpg_mutex_unlock(&lock);
  mpg_waitgroup_done(&done);
}

static int waiters(void) {
  mpg_mutex_lock(&lock);
  int n = waiting;
  mpg_mutex_unlock(&lock);
  return n;
}

static void give(int n) {
  mpg_mutex_lock(&lock);
  tokens += n;
  mpg_mutex_unlock(&lock);
}

static void signal_wakes_them_in_order(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  norder = 0;
  mpg_cond_signal(&cond); /* nobody: forgotten */
  mpg_cond_broadcast(&cond);
  mpg_waitgroup_add(&done, 8);
  for (intptr_t i = 0; i < 8; i++) {
    CHECK_GO(take_a_token, (void *) i);
    CHECK_EVENTUALLY(waiters() == i + 1);
  }
  for (int i = 0; i < 8; i++) {
    give(1);
    mpg_cond_signal(&cond);
    CHECK_EVENTUALLY(waiters() == 7 - i);
  }
  mpg_waitgroup_wait(&done);
  for (int i = 0; i < 8; i++) CHECK_EQ(order[i], i);
}

static void broadcast_wakes_all(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  norder = 0;
  mpg_waitgroup_add(&done, 100);
  for (intptr_t i = 0; i < 100; i++) CHECK_GO(take_a_token, (void *) i);
  CHECK_EVENTUALLY(waiters() == 100);
  give(100);
  mpg_cond_broadcast(&cond);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(tokens, 0);
}

/* A buffer of one, with a condition each for full and empty. */
static mpg_cond not_full, not_empty;
static int slot;
static uint64_t sum;

static void put_numbers(void *arg) {
  for (int i = 1; i <= (int) (intptr_t) arg; i++) {
    mpg_mutex_lock(&lock);
    while (slot) mpg_cond_wait(&not_full, &lock);
    slot = i;
    mpg_mutex_unlock(&lock);
    mpg_cond_signal(&not_empty); /* without the lock */
  }
  mpg_waitgroup_done(&done);
}

static void get_numbers(void *arg) {
  for (int i = 0; i < (int) (intptr_t) arg; i++) {
    mpg_mutex_lock(&lock);
    while (!slot) mpg_cond_wait(&not_empty, &lock);
    sum += (uint64_t) slot;
    slot = 0;
    mpg_cond_signal(&not_full); /* with it */
    mpg_mutex_unlock(&lock);
  }
  mpg_waitgroup_done(&done);
}

static void no_signal_is_missed(void *arg) {
  (void) arg;
  enum { PAIRS = 4, EACH = 3000 };
  for (int procs = 1; procs <= 8; procs *= 2) {
    mpg_gomaxprocs(procs);
    sum = 0;
    mpg_waitgroup_add(&done, 2 * PAIRS);
    for (int i = 0; i < PAIRS; i++) {
      CHECK_GO(put_numbers, (void *) (intptr_t) EACH);
      CHECK_GO(get_numbers, (void *) (intptr_t) EACH);
    }
    mpg_waitgroup_wait(&done);
    CHECK_EQ(sum, (uint64_t) PAIRS * EACH * (EACH + 1) / 2);
  }
}

static void leave_waiters(void *arg) {
  (void) arg;
  for (intptr_t i = 0; i < 3; i++) CHECK_GO(take_a_token, (void *) i);
  CHECK_EVENTUALLY(waiters() == 3);
}

static void signal_and_go_on(void *arg) {
  (void) arg;
  mpg_cond_signal(&cond);
  mpg_cond_broadcast(&cond);
  waiting = 0;
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(take_a_token, NULL);
  CHECK_EVENTUALLY(waiters() == 1);
  give(1);
  mpg_cond_signal(&cond);
  mpg_waitgroup_wait(&done);
}

static void waiters_end_with_their_run(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_run(leave_waiters, NULL), 0);
  CHECK_EQ(mpg_run(signal_and_go_on, NULL), 0);
}

/* ---- once ---- */

static mpg_once once; /* zero: not done */
static _Atomic int calls, ended;

static void slow_start(void *arg) {
  atomic_fetch_add(&calls, 1);
  for (int i = 0; i < 20; i++) mpg_yield();
  mpg_sleep(1000000);
  atomic_store(&ended, 1);
  if (arg) mpg_goexit();
}

static void call_once(void *arg) {
  mpg_once_do(&once, slow_start, NULL);
  CHECK_EQ(atomic_load(&ended), 1); /* second callers wait for the end */
  (void) arg;
  mpg_waitgroup_done(&done);
}

static void only_the_first_call_counts(void *arg) {
  (void) arg;
  for (int procs = 1; procs <= 4; procs *= 2) {
    mpg_gomaxprocs(procs);
    once = (mpg_once){0};
    atomic_store(&calls, 0);
    atomic_store(&ended, 0);
    mpg_waitgroup_add(&done, 50);
    for (int i = 0; i < 50; i++) CHECK_GO(call_once, NULL);
    mpg_waitgroup_wait(&done);
    mpg_once_do(&once, slow_start, NULL);
    CHECK_EQ(atomic_load(&calls), 1);
  }
}

static void call_and_exit(void *arg) {
  mpg_once_do(arg, slow_start, arg);
  CHECK(false); /* it has left */
}

static void goexit_counts_as_done(void *arg) {
  (void) arg;
  mpg_once o = {0};
  atomic_store(&calls, 0);
  atomic_store(&ended, 0);
  CHECK_GO(call_and_exit, &o);
  CHECK_EVENTUALLY(atomic_load(&calls) == 1);
  mpg_once_do(&o, slow_start, NULL);
  CHECK_EQ(atomic_load(&ended), 1);
  CHECK_EQ(atomic_load(&calls), 1);
}

/* One inside the other; leaving the inner one ends both. */
static mpg_once inner;

static void start_inner(void *arg) {
  mpg_once_do(&inner, slow_start, arg);
  atomic_fetch_add(&calls, 100);
}

static void nest(void *arg) { mpg_once_do(arg, start_inner, arg); }

static void onces_nest(void *arg) {
  (void) arg;
  mpg_once outer = {0};
  inner = (mpg_once){0};
  atomic_store(&calls, 0);
  mpg_once_do(&outer, start_inner, NULL);
  CHECK_EQ(atomic_load(&calls), 101);
  inner = outer = (mpg_once){0};
  atomic_store(&calls, 0);
  CHECK_GO(nest, &outer);
  CHECK_EVENTUALLY(atomic_load(&calls) == 1);
  mpg_once_do(&outer, start_inner, NULL);
  mpg_once_do(&inner, slow_start, NULL);
  CHECK_EQ(atomic_load(&calls), 1);
}

/* fn is the goroutine's own code: it loops and is preempted, it needs stack. */
static _Atomic bool stop_looping;

static void loop_for_a_while(void *arg) {
  (void) arg;
  atomic_store(&calls, 1);
  while (!atomic_load_explicit(&stop_looping, memory_order_relaxed)) {
  }
}

static void loop_once(void *arg) { mpg_once_do(arg, loop_for_a_while, NULL); }

static __attribute__((noinline)) int descend(int n) {
  volatile char page[1000];
  page[0] = (char) n;
  return n == 0 ? 0 : descend(n - 1) + page[0] - (char) n + 1;
}

static void go_deep(void *arg) { CHECK_EQ(descend(100), *(int *) arg); }

static void its_function_is_ordinary_code(void *arg) {
  (void) arg;
  int deep = 100;
  mpg_once o = {0}, d = {0};
  mpg_gomaxprocs(1);
  atomic_store(&calls, 0);
  CHECK_GO(loop_once, &o);
  CHECK_EVENTUALLY(atomic_load(&calls) == 1);
  atomic_store(&stop_looping, true); /* it was preempted, or hangs */
  mpg_once_do(&o, loop_for_a_while, NULL);
  mpg_once_do(&d, go_deep, &deep);
}

static mpg_once outer_once, inner_once;
static _Atomic int past_inner, past_outer;

static void ends_within(void *arg) {
  (void) arg;
  mpg_yield();
  atomic_fetch_add(&calls, 1);
  mpg_goexit();
}

static void calls_inner(void *arg) {
  mpg_once_do(&inner_once, ends_within, arg);
  atomic_fetch_add(&past_inner, 1);
}

static void calls_outer(void *arg) {
  mpg_once_do(&outer_once, calls_inner, arg);
  atomic_fetch_add(&past_outer, 1);
}

/* Who exits ends both; the others find them done. */
static void a_crowd_waits_for_one_that_exits(void *arg) {
  (void) arg;
  for (int round = 0; round < 50; round++) {
    outer_once = inner_once = (mpg_once){0};
    calls = past_inner = past_outer = 0;
    for (int i = 0; i < 20; i++) CHECK_GO(calls_outer, NULL);
    CHECK_EVENTUALLY(mpg_num_goroutines() == 1);
    CHECK_EQ(atomic_load(&calls), 1);
    CHECK_EQ(atomic_load(&past_inner), 0);
    CHECK_EQ(atomic_load(&past_outer), 19);
  }
}

/* ---- crowds ---- */

#if defined(MPG_SPLIT_STACK)
enum { CROWD = 30000 };
#else
enum { CROWD = 1000 };
#endif

static _Atomic int arrived;

static void wait_for_the_gate(void *arg) {
  mpg_mutex_lock(&lock);
  atomic_fetch_add(&arrived, 1);
  while (tokens == 0) mpg_cond_wait(&cond, &lock);
  mpg_mutex_unlock(&lock);
  mpg_sem_acquire(arg); /* of its own */
  mpg_waitgroup_done(&done);
}

/* With a walk along those that wait, for each that comes, it took minutes. */
static void crowds_wait(void *arg) {
  (void) arg;
  mpg_sem *own = mpg_alloc(CROWD * sizeof *own);
  tokens = 0;
  mpg_waitgroup_add(&done, CROWD);
  for (int i = 0; i < CROWD; i++) CHECK_GO(wait_for_the_gate, &own[i]);
  CHECK_EVENTUALLY(atomic_load(&arrived) == CROWD);
  give(1);
  mpg_cond_broadcast(&cond);
  for (int i = 0; i < CROWD; i++) mpg_sem_release(&own[i]);
  mpg_waitgroup_wait(&done);
}

static const struct check_case cases[] = {
    INSIDE(signal_wakes_them_in_order),
    INSIDE(broadcast_wakes_all),
    INSIDE(no_signal_is_missed),
    OUTSIDE(waiters_end_with_their_run),
    INSIDE(only_the_first_call_counts),
    INSIDE(goexit_counts_as_done),
    INSIDE(onces_nest),
    INSIDE(a_crowd_waits_for_one_that_exits),
    INJECTS(its_function_is_ordinary_code),
    INSIDE(crowds_wait),
};
CHECK_MAIN(cases, 20)

/* sync_test.c - mutex, wait group, semaphore. */
#include "../support/check.h"
#include "../support/traceback.h"

static mpg_waitgroup done;

/* ---- mutex ---- */

static mpg_mutex lock; /* zero is unlocked */
static uint64_t counter;

static void add_under_lock(void *arg) {
  for (intptr_t i = (intptr_t) arg; i > 0; i--) {
    mpg_mutex_lock(&lock);
    uint64_t x = counter;
    if (i % 64 == 0) mpg_yield(); /* held across a switch */
    counter = x + 1;
    mpg_mutex_unlock(&lock);
  }
  mpg_waitgroup_done(&done);
}

static void mutex_excludes(void *arg) {
  (void) arg;
  enum { GOROUTINES = 16, EACH = 5000 };
  for (int procs = 1; procs <= 8; procs *= 2) {
    mpg_gomaxprocs(procs);
    counter = 0;
    mpg_waitgroup_add(&done, GOROUTINES);
    for (int i = 0; i < GOROUTINES; i++)
      CHECK_GO(add_under_lock, (void *) (intptr_t) EACH);
    mpg_waitgroup_wait(&done);
    CHECK_EQ(counter, GOROUTINES * EACH);
  }
}

static void trylock_says_whether_it_took_it(void *arg) {
  (void) arg;
  mpg_mutex m = {0};
  CHECK(mpg_mutex_trylock(&m));
  CHECK(!mpg_mutex_trylock(&m));
  mpg_mutex_unlock(&m);
  mpg_mutex_lock(&m);
  CHECK(!mpg_mutex_trylock(&m));
  mpg_mutex_unlock(&m);
  CHECK(mpg_mutex_trylock(&m));
}

static void unlock_it(void *arg) { mpg_mutex_unlock(arg); }

static void another_goroutine_may_unlock(void *arg) {
  (void) arg;
  mpg_mutex m = {0};
  mpg_mutex_lock(&m);
  CHECK_GO(unlock_it, &m);
  mpg_mutex_lock(&m);
  mpg_mutex_unlock(&m);
}

static _Atomic bool quit;

static void hog_lock(void *arg) {
  while (!atomic_load(&quit)) {
    mpg_mutex_lock(arg);
    for (int64_t end = mpg_now() + 100000; mpg_now() < end;) {
    }
    mpg_mutex_unlock(arg);
  }
  mpg_waitgroup_done(&done);
}

/* It takes the lock again at once, but after 1 ms a waiter gets it handed. */
static void a_waiter_does_not_starve(void *arg) {
  (void) arg;
  mpg_mutex m = {0};
  mpg_gomaxprocs(2);
  atomic_store(&quit, false);
  mpg_waitgroup_add(&done, 2);
  for (int i = 0; i < 2; i++) CHECK_GO(hog_lock, &m);
  for (int i = 0; i < 20; i++) {
    mpg_mutex_lock(&m);
    mpg_mutex_unlock(&m);
    mpg_sleep(100000);
  }
  atomic_store(&quit, true);
  mpg_waitgroup_wait(&done);
}

/* ---- wait group ---- */

static _Atomic int finished;

static void finish(void *arg) {
  mpg_yield();
  atomic_fetch_add(&finished, 1);
  mpg_waitgroup_done(arg);
}

static void wait_returns_at_zero(void *arg) {
  (void) arg;
  mpg_waitgroup wg = {0};
  mpg_waitgroup_wait(&wg); /* is zero */
  for (int round = 0; round < 100; round++) {
    int n = 1 + round % 17;
    atomic_store(&finished, 0);
    mpg_waitgroup_add(&wg, n);
    for (int i = 0; i < n; i++) CHECK_GO(finish, &wg);
    mpg_waitgroup_wait(&wg);
    CHECK_EQ(atomic_load(&finished), n);
  }
}

static void add_takes_negative_numbers(void *arg) {
  (void) arg;
  mpg_waitgroup wg = {0};
  mpg_waitgroup_add(&wg, 10);
  mpg_waitgroup_add(&wg, -7);
  mpg_waitgroup_done(&wg);
  mpg_waitgroup_add(&wg, -2);
  mpg_waitgroup_wait(&wg);
}

static mpg_waitgroup start;
static _Atomic int started;

static void wait_for_start(void *arg) {
  (void) arg;
  mpg_waitgroup_wait(&start);
  atomic_fetch_add(&started, 1);
  mpg_waitgroup_done(&done);
}

static void all_waiters_wake(void *arg) {
  (void) arg;
  mpg_waitgroup_add(&start, 1);
  mpg_waitgroup_add(&done, 200);
  for (int i = 0; i < 200; i++) CHECK_GO(wait_for_start, NULL);
  for (int i = 0; i < 300; i++) mpg_yield();
  CHECK_EQ(atomic_load(&started), 0);
  mpg_waitgroup_done(&start);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(atomic_load(&started), 200);
}

/* ---- semaphore ---- */

static mpg_sem sem;
static _Atomic int inside, most;

static void enter_and_leave(void *arg) {
  (void) arg;
  for (int i = 0; i < 200; i++) {
    mpg_sem_acquire(&sem);
    int now = atomic_fetch_add(&inside, 1) + 1;
    int seen = atomic_load(&most);
    while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now)) {
    }
    mpg_yield();
    atomic_fetch_sub(&inside, 1);
    mpg_sem_release(&sem);
  }
  mpg_waitgroup_done(&done);
}

static void semaphore_admits_its_count(void *arg) {
  (void) arg;
  CHECK(!mpg_sem_try_acquire(&sem)); /* starts at 0 */
  for (int i = 0; i < 3; i++) mpg_sem_release(&sem);
  mpg_waitgroup_add(&done, 12);
  for (int i = 0; i < 12; i++) CHECK_GO(enter_and_leave, NULL);
  mpg_waitgroup_wait(&done);
  CHECK_GE(atomic_load(&most), 1);
  CHECK_LE(atomic_load(&most), 3);
  for (int i = 0; i < 3; i++) CHECK(mpg_sem_try_acquire(&sem));
  CHECK(!mpg_sem_try_acquire(&sem));
}

static void acquire_and_finish(void *arg) {
  mpg_sem_acquire(arg);
  mpg_waitgroup_done(&done);
}

static void release_wakes_one_each(void *arg) {
  (void) arg;
  mpg_sem s = {0};
  mpg_waitgroup_add(&done, 100);
  for (int i = 0; i < 100; i++) CHECK_GO(acquire_and_finish, &s);
  for (int i = 0; i < 200; i++) mpg_yield();
  CHECK_EQ(mpg_num_goroutines(), 101);
  for (int i = 0; i < 40; i++) mpg_sem_release(&s);
  CHECK_EVENTUALLY(mpg_num_goroutines() == 61);
  for (int i = 0; i < 60; i++) mpg_sem_release(&s);
  mpg_waitgroup_wait(&done);
  CHECK(!mpg_sem_try_acquire(&s));
}

static int order[50], ordered;
static mpg_sem said;

static void acquire_and_say(void *me) {
  mpg_sem_acquire(&sem);
  order[ordered++] = (int) (intptr_t) me;
  mpg_sem_release(&said);
}

static void release_wakes_them_in_order(void *arg) {
  (void) arg;
  ordered = 0;
  for (int i = 0; i < 50; i++) {
    CHECK_GO(acquire_and_say, (void *) (intptr_t) i);
    free(traceback_when(i + 1, "[semacquire"));
  }
  for (int i = 0; i < 50; i++) {
    mpg_sem_release(&sem);
    mpg_sem_acquire(&said);
    CHECK(!mpg_sem_try_acquire(&sem));
  }
  for (int i = 0; i < 50; i++) CHECK_EQ(order[i], i);
}

/* Two goroutines that wake each other: no wake-up may be lost. */
static mpg_sem ping, pong;

static void return_pings(void *arg) {
  for (intptr_t i = (intptr_t) arg; i > 0; i--) {
    mpg_sem_acquire(&ping);
    mpg_sem_release(&pong);
  }
}

static void no_wake_up_is_lost(void *arg) {
  (void) arg;
  for (int procs = 1; procs <= 4; procs++) {
    mpg_gomaxprocs(procs);
    CHECK_GO(return_pings, (void *) 20000);
    for (int i = 0; i < 20000; i++) {
      mpg_sem_release(&ping);
      mpg_sem_acquire(&pong);
    }
  }
}

/* ---- whoever has it last frees it ---- */

enum { USERS = 3, FREED = 0x10 };
struct shared {
  mpg_mutex lock;
  int users;
};

/* What is in its place afterwards looks like a mutex with waiters. */
static void use_and_leave(void *arg) {
  struct shared *s = arg;
  mpg_mutex_lock(&s->lock);
  bool last = --s->users == 0;
  mpg_mutex_unlock(&s->lock);
  if (last) __atomic_store_n(&s->lock.state, FREED, __ATOMIC_RELEASE);
  mpg_waitgroup_done(&done);
}

static void the_last_user_may_free_it(void *arg) {
  (void) arg;
  enum {
    OBJECTS = CHECK_MANY_GOROUTINES < 20000 ? CHECK_MANY_GOROUTINES : 20000,
    AT_ONCE = 16
  };
  static struct shared of[AT_ONCE];
  mpg_gomaxprocs(4);
  for (int i = 0; i < OBJECTS / AT_ONCE; i++) {
    mpg_waitgroup_add(&done, AT_ONCE * USERS);
    for (int k = 0; k < AT_ONCE; k++) of[k] = (struct shared){.users = USERS};
    for (int k = 0; k < AT_ONCE * USERS; k++)
      CHECK_GO(use_and_leave, &of[k / USERS]);
    mpg_waitgroup_wait(&done);
    for (int k = 0; k < AT_ONCE; k++) CHECK_EQ(of[k].lock.state, FREED);
  }
}

static const struct check_case cases[] = {
    INSIDE(mutex_excludes),
    INSIDE(trylock_says_whether_it_took_it),
    INSIDE(another_goroutine_may_unlock),
    INSIDE(a_waiter_does_not_starve),
    INSIDE(wait_returns_at_zero),
    INSIDE(add_takes_negative_numbers),
    INSIDE(all_waiters_wake),
    INSIDE(semaphore_admits_its_count),
    INSIDE(release_wakes_one_each),
    INSIDE(release_wakes_them_in_order),
    INSIDE(no_wake_up_is_lost),
    INSIDE(the_last_user_may_free_it),
};
CHECK_MAIN(cases, 20)

/* sched_lock_thread_test.c - goroutines bound to their thread. */
#include <errno.h>
#include <sys/syscall.h>

#include "../support/check.h"

static mpg_waitgroup done;

static pid_t tid(void) { return (pid_t) syscall(SYS_gettid); }

/* Everything that takes a goroutine off its thread. */
static void leave_in_every_way(mpg_chan *c, int i) {
  int x;
  struct timespec t = {0, 20000};
  switch (i % 5) {
  case 0: mpg_yield(); break;
  case 1: mpg_sleep(20000); break;
  case 2: mpg_chan_recv(c, &x); break;
  case 3:
    mpg_syscall_enter();
    nanosleep(&t, NULL);
    mpg_syscall_exit();
    break;
  default:
    for (int n = 0; n < 200000; n++) __asm__ volatile("");
  }
}

static void stay(void *arg) {
  mpg_lock_thread();
  pid_t mine = tid();
  for (int i = 0; i < 200; i++) {
    leave_in_every_way(arg, i);
    CHECK_EQ(tid(), mine);
  }
  mpg_unlock_thread();
  mpg_waitgroup_done(&done);
}

static _Atomic bool stop;

static void feed(void *arg) {
  for (int i = 0; !atomic_load(&stop); i++) {
    if (mpg_chan_try_send(arg, &i) != 0) mpg_sleep(10000);
  }
  mpg_waitgroup_done(&done);
}

static void keep_threads(int procs, int locked) {
  mpg_chan *c = mpg_chan_new(sizeof(int), 10);
  mpg_gomaxprocs(procs);
  atomic_store(&stop, false);
  mpg_waitgroup_add(&done, locked);
  for (int i = 0; i < locked; i++) CHECK_GO(stay, c);
  CHECK_GO(feed, c);
  mpg_gc();
  mpg_waitgroup_wait(&done);
  mpg_waitgroup_add(&done, 1);
  atomic_store(&stop, true);
  mpg_waitgroup_wait(&done);
}

static void they_keep_their_thread(void *arg) {
  (void) arg;
  keep_threads(1, 5);
  keep_threads(2, 5);
  keep_threads(8, 5);
}

static _Atomic pid_t locked_tid;
static _Atomic bool intruded;

static void look_where(void *arg) {
  (void) arg;
  for (int i = 0; !atomic_load(&stop); i++) {
    if (tid() == atomic_load(&locked_tid)) atomic_store(&intruded, true);
    mpg_yield();
  }
  mpg_waitgroup_done(&done);
}

static void nobody_else_runs_there(void *arg) {
  (void) arg;
  mpg_gomaxprocs(3);
  atomic_store(&stop, false);
  mpg_lock_thread();
  atomic_store(&locked_tid, tid());
  mpg_waitgroup_add(&done, 8);
  for (int i = 0; i < 8; i++) CHECK_GO(look_where, NULL);
  for (int i = 0; i < 100; i++) mpg_sleep(100000);
  atomic_store(&stop, true);
  mpg_waitgroup_wait(&done);
  CHECK(!atomic_load(&intruded));
  mpg_unlock_thread();
}

static void locks_nest(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  for (int i = 0; i < 3; i++) mpg_lock_thread();
  pid_t mine = tid();
  mpg_unlock_thread();
  mpg_unlock_thread();
  for (int i = 0; i < 50; i++) {
    mpg_sleep(50000);
    CHECK_EQ(tid(), mine);
  }
  mpg_unlock_thread();
  mpg_unlock_thread(); /* too many: nothing */
  mpg_lock_thread();
  mine = tid();
  mpg_sleep(50000);
  CHECK_EQ(tid(), mine);
  mpg_unlock_thread();
}

/* ---- the thread of one that ends bound ---- */

static bool thread_exists(pid_t t) {
  return syscall(SYS_tgkill, getpid(), t, 0) == 0;
}

static void end_bound(void *arg) {
  mpg_lock_thread();
  *(_Atomic pid_t *) arg = tid();
  if (mpg_goid() % 2) mpg_goexit();
}

static void one_that_ends_bound_ends_its_thread(void *arg) {
  (void) arg;
  for (int i = 0; i < 200; i++) {
    _Atomic pid_t *t = mpg_alloc(sizeof(*t));
    CHECK_GO(end_bound, (void *) t);
    CHECK_EVENTUALLY(atomic_load(t) != 0);
    CHECK_EVENTUALLY(!thread_exists(atomic_load(t)));
    if (i % 50 == 0) mpg_gc();
  }
}

static void burn(void *arg) {
  (void) arg;
  while (!atomic_load(&stop)) __asm__ volatile("");
  mpg_waitgroup_done(&done);
}

static void end_at_once(void *arg) {
  (void) arg;
  mpg_lock_thread();
  mpg_waitgroup_done(&done);
}

/* Threads come and go while others are preempted, stopped and traced. */
static void threads_end_beside_everything(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  atomic_store(&stop, false);
  mpg_waitgroup_add(&done, 500);
  CHECK_GO(burn, NULL);
  for (int i = 0; i < 500; i++) {
    CHECK_GO(end_at_once, NULL);
    if (i % 10 == 0) mpg_gc();
    if (i % 25 == 0) mpg_gomaxprocs(2 + i / 25 % 4);
  }
  mpg_waitgroup_wait(&done);
  mpg_waitgroup_add(&done, 1);
  atomic_store(&stop, true);
  mpg_waitgroup_wait(&done);
}

/* ---- together with the rest ---- */

/* A bound one uses up slices: whoever has the turn then runs, and is not left
 * to the thread that waits for the bound one. */
enum { BOUND = 2, FREE = 4 };
static _Atomic long turns[FREE];

static void burn_bound(void *arg) {
  mpg_lock_thread();
  burn(arg);
}

static void take_turns(void *arg) {
  while (!atomic_load(&stop)) atomic_fetch_add((_Atomic long *) arg, 1);
  mpg_waitgroup_done(&done);
}

static void nobodys_turn_is_lost(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  atomic_store(&stop, false);
  mpg_waitgroup_add(&done, BOUND + FREE);
  for (int i = 0; i < BOUND; i++) CHECK_GO(burn_bound, NULL);
  for (int i = 0; i < FREE; i++) CHECK_GO(take_turns, (void *) &turns[i]);
  mpg_sleep(INT64_C(500) * 1000 * 1000); /* nobody who is woken ends slices */
  for (int i = 0; i < FREE; i++) {
    long before = atomic_load(&turns[i]);
    CHECK_EVENTUALLY(atomic_load(&turns[i]) != before);
  }
  atomic_store(&stop, true);
  mpg_waitgroup_wait(&done);
}

static void change_procs(void *arg) {
  (void) arg;
  for (int i = 0; i < 100; i++) {
    mpg_gomaxprocs(1 + i % 4);
    mpg_sleep(50000);
  }
  mpg_waitgroup_done(&done);
}

static void the_number_of_ps_changes(void *arg) {
  (void) arg;
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(change_procs, NULL);
  for (int i = 0; i < 3; i++) keep_threads(2, 4);
}

static void hold_for_ever(void *arg) {
  (void) arg;
  mpg_lock_thread();
  mpg_waitgroup_done(&done);
  mpg_chan_recv(NULL, NULL);
}

/* The run ends with bound goroutines parked, and main itself bound. */
static void the_run_ends_with_bound_ones(void *arg) {
  (void) arg;
  mpg_waitgroup_add(&done, 10);
  for (int i = 0; i < 10; i++) CHECK_GO(hold_for_ever, NULL);
  mpg_waitgroup_wait(&done);
  mpg_lock_thread();
}

static void the_main_goroutine_may_end_bound(void *arg) {
  (void) arg;
  int ends;
  mpg_chan *c = mpg_chan_new(sizeof(ends), 0);
  mpg_lock_thread();
  CHECK_EQ(mpg_chan_try_recv(c, &ends), -EAGAIN);
}

static const struct check_case cases[] = {
    INSIDE(they_keep_their_thread),
    INSIDE(nobody_else_runs_there),
    INSIDE(locks_nest),
    INSIDE(one_that_ends_bound_ends_its_thread),
    INSIDE(threads_end_beside_everything),
    INJECTS(nobodys_turn_is_lost),
    INSIDE(the_number_of_ps_changes),
    INSIDE(the_run_ends_with_bound_ones),
    INSIDE(the_main_goroutine_may_end_bound),
    INSIDE(they_keep_their_thread),
};
CHECK_MAIN(cases, 20)

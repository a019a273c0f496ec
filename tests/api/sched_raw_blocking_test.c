/* sched_raw_blocking_test.c - goroutines that block their thread without
 * telling anybody: the others go on, on one compensating P for each.
 */
#include <errno.h>
#include <sys/wait.h>

#include "../support/check.h"

static mpg_waitgroup done;
static _Atomic int entered;
static int fds[2];

static void read_raw(void *arg) {
  (void) arg;
  unsigned char c;
  ssize_t n;
  atomic_fetch_add(&entered, 1);
  do n = read(fds[0], &c, 1);
  while (n < 0 && errno == EINTR);
  CHECK_EQ(n, 1);
  mpg_waitgroup_done(&done);
}

static void open_pipe(void) { CHECK_EQ(pipe(fds), 0); }

static void close_pipe(void) {
  close(fds[0]);
  close(fds[1]);
}

static void release(int n) {
  for (int i = 0; i < n; i++) CHECK_EQ(write(fds[1], "x", 1), 1);
  mpg_waitgroup_wait(&done);
}

static void beside(int procs, int stuck) {
  mpg_gomaxprocs(procs);
  open_pipe();
  atomic_store(&entered, 0);
  mpg_waitgroup_add(&done, stuck);
  for (int i = 0; i < stuck; i++) CHECK_GO(read_raw, NULL);
  while (atomic_load(&entered) < stuck) mpg_yield();
  for (int i = 0; i < 50; i++) {
    mpg_yield();
    mpg_sleep(100000);
  }
  mpg_gc();
  release(stuck);
  close_pipe();
}

static void one_stuck_on_one_p(void *arg) {
  (void) arg;
  beside(1, 1);
}

static void more_stuck_than_ps(void *arg) {
  (void) arg;
  beside(1, 5);
  beside(2, 8);
}

/* Once they are back, no more run at once than GOMAXPROCS says. */
static _Atomic int running, most;

static void be_counted(void *arg) {
  (void) arg;
  for (int i = 0; i < 100; i++) {
    mpg_preempt_disable();
    int now = atomic_fetch_add(&running, 1) + 1, seen = atomic_load(&most);
    while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now)) {
    }
    for (int j = 0; j < 2000; j++) __asm__ volatile("pause");
    atomic_fetch_sub(&running, 1);
    mpg_preempt_enable();
    mpg_yield();
  }
  mpg_waitgroup_done(&done);
}

static int count_running(void) {
  atomic_store(&most, 0);
  mpg_waitgroup_add(&done, 6);
  for (int i = 0; i < 6; i++) CHECK_GO(be_counted, NULL);
  mpg_waitgroup_wait(&done);
  return atomic_load(&most);
}

static void the_limit_holds_again_afterwards(void *arg) {
  (void) arg;
  beside(2, 6);
  CHECK_EQ(mpg_gomaxprocs(0), 2);
  CHECK_EVENTUALLY(count_running() <= 2);
  for (int i = 0; i < 5; i++) CHECK_LE(count_running(), 2);
}

/* Work that was queued on a stuck P is stolen. */
static _Atomic int ran;

static void count_run(void *arg) {
  (void) arg;
  atomic_fetch_add(&ran, 1);
}

static void start_some_and_block(void *arg) {
  for (int i = 0; i < 20; i++) CHECK_GO(count_run, NULL);
  read_raw(arg);
}

static void queues_of_stuck_ps_are_emptied(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  open_pipe();
  atomic_store(&ran, 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(start_some_and_block, NULL);
  CHECK_EVENTUALLY(atomic_load(&ran) == 20);
  release(1);
  close_pipe();
}

/* The thread is in a futex, a lock of libc or of the file system. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void lock_pthread(void *arg) {
  (void) arg;
  atomic_fetch_add(&entered, 1);
  CHECK_EQ(pthread_mutex_lock(&lock), 0);
  CHECK_EQ(pthread_mutex_unlock(&lock), 0);
  mpg_waitgroup_done(&done);
}

static void *hold_pthread(void *arg) {
  CHECK_EQ(pthread_mutex_lock(&lock), 0);
  atomic_store(&ran, 1);
  unsigned char c;
  while (read(fds[0], &c, 1) < 0 && errno == EINTR) {
  }
  CHECK_EQ(pthread_mutex_unlock(&lock), 0);
  return arg;
}

static void a_pthread_lock_of_another_thread(void *arg) {
  (void) arg;
  pthread_t t;
  mpg_gomaxprocs(1);
  open_pipe();
  atomic_store(&entered, 0);
  atomic_store(&ran, 0);
  CHECK_EQ(pthread_create(&t, NULL, hold_pthread, NULL), 0);
  CHECK_EVENTUALLY(atomic_load(&ran) == 1);
  mpg_waitgroup_add(&done, 3);
  for (int i = 0; i < 3; i++) CHECK_GO(lock_pthread, NULL);
  while (atomic_load(&entered) < 3) mpg_yield();
  for (int i = 0; i < 20; i++) mpg_sleep(100000);
  release(1);
  CHECK_EQ(pthread_join(t, NULL), 0);
  close_pipe();
}

/* Asleep, and not disturbed as a rule: the signal of a preemption would end it.
 * (One that was asked for before it slept may, on a busy machine; and that of a
 * collection.) */
static int disturbed;
static void sleep_raw(void *arg) {
  const struct timespec t = {0, 60 * 1000 * 1000};
  (void) arg;
  atomic_fetch_add(&entered, 1);
  if (nanosleep(&t, NULL) != 0) {
    CHECK_EQ(errno, EINTR);
    disturbed++;
  }
  mpg_waitgroup_done(&done);
}

static pid_t child;

static void wait_raw(void *arg) {
  int status;
  (void) arg;
  atomic_fetch_add(&entered, 1);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 7);
  mpg_waitgroup_done(&done);
}

/* On the only P: whoever blocks holds it, and main goes on beside. */
static void go_on_beside(mpg_func fn) {
  mpg_gomaxprocs(1);
  atomic_store(&entered, 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(fn, NULL);
  while (atomic_load(&entered) < 1) mpg_yield();
  for (int i = 0; i < 20; i++) mpg_sleep(100000);
}

static void asleep_on_one_p(void *arg) {
  enum { TIMES = 5 };
  (void) arg;
  for (int i = 0; i < TIMES; i++) {
    go_on_beside(sleep_raw);
    mpg_waitgroup_wait(&done);
  }
  if (!check_switch("gcperiod")) CHECK_LE(disturbed, TIMES / 2);
}

static void waiting_for_a_child_on_one_p(void *arg) {
  char c;
  (void) arg;
  open_pipe();
  child = fork();
  CHECK_GE(child, 0);
  if (child == 0) { /* until main, who goes on, says so */
    ssize_t n = read(fds[0], &c, 1);
    _exit(n == 1 ? 7 : 1);
  }
  go_on_beside(wait_raw);
  mpg_gc();
  release(1);
  close_pipe();
}

/* Two that wake each other keep that to themselves; then main blocks, a P is
 * added for that and finds nothing to run, so as many are idle as there ought
 * to be.  When main comes back, whom it starts is waited for in a loop. */
static void answer(void *arg) {
  mpg_chan **c = arg;
  while (mpg_chan_recv(c[0], NULL)) mpg_chan_send(c[1], NULL);
}

static void start_one_and_loop(mpg_chan **c) {
  for (int i = 0; i < 100; i++) {
    mpg_chan_send(c[0], NULL);
    mpg_chan_recv(c[1], NULL);
  }
  int before = atomic_load(&ran);
  sleep_raw(NULL);
  CHECK_GO(count_run, NULL);
  while (atomic_load(&ran) == before) __asm__ volatile("");
}

static void somebody_is_started_after_it(void *arg) {
  mpg_chan *c[] = {mpg_chan_new(0, 0), mpg_chan_new(0, 0)};
  (void) arg;
  mpg_gomaxprocs(2);
  CHECK_GO(answer, c);
  for (int i = 0; i < 5; i++) {
    mpg_waitgroup_add(&done, 1);
    start_one_and_loop(c);
    mpg_waitgroup_wait(&done);
  }
  mpg_chan_close(c[0]);
  mpg_yield();
}

/* A hundred, of which each must be found blocked before the next can start:
 * quickly, once some are.  (4 to 8 ms each it was, 460 ms at least, and signals
 * for those that woke up ended their sleep.)  The best of ten rounds, which is
 * 110 ms on a busy machine, and twice that if everybody is preempted, too. */
enum { CROWD = 100, CROWD_ROUNDS = 10 };
/* TSan, whose library makes the calls, takes 5 ms each. */
#if defined(MPG_SANITIZED)
#define CROWD_NS INT64_MAX
#else
#define CROWD_NS (400 * 1000000)
#endif

static int64_t crowd_ns(void) {
  int64_t start = check_now();
  mpg_waitgroup_add(&done, CROWD);
  for (int i = 0; i < CROWD; i++) CHECK_GO(sleep_raw, NULL);
  mpg_waitgroup_wait(&done);
  return check_now() - start;
}

static void a_crowd_holds_nobody_up_for_long(void *arg) {
  int rounds = 0;
  (void) arg;
  mpg_gomaxprocs(1);
  disturbed = 0;
  while (rounds++ < CROWD_ROUNDS && crowd_ns() > CROWD_NS) {
  }
  CHECK_LE(rounds, CROWD_ROUNDS);
  if (!check_switch("gcperiod")) CHECK_LE(disturbed, rounds * CROWD / 50);
}

/* Nobody watches it all the time, when nobody waits. */
static void who_is_stuck_costs_no_cpu(void *arg) {
  struct timespec before, after;
  (void) arg;
  open_pipe();
  go_on_beside(read_raw);
  mpg_sleep(100 * 1000 * 1000);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  mpg_sleep(500 * 1000 * 1000);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  int64_t ns = (after.tv_sec - before.tv_sec) * INT64_C(1000000000) +
               after.tv_nsec - before.tv_nsec;
  CHECK_LE(ns, 30 * 1000 * 1000);
  release(1);
  close_pipe();
}

static const struct check_case cases[] = {
    STEALS(one_stuck_on_one_p),
    STEALS(more_stuck_than_ps),
    STEALS(the_limit_holds_again_afterwards),
    STEALS(queues_of_stuck_ps_are_emptied),
    STEALS(a_pthread_lock_of_another_thread),
    INSIDE(asleep_on_one_p),
    STEALS(waiting_for_a_child_on_one_p),
    INSIDE(somebody_is_started_after_it),
    STEALS(a_crowd_holds_nobody_up_for_long),
    STEALS(who_is_stuck_costs_no_cpu),
};
CHECK_MAIN(cases, 20)

/* sched_attach_test.c - the application's own threads use mpg. */
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>

#include "../support/check.h"

static mpg_waitgroup done;
static mpg_chan *requests, *replies;

static void *join(pthread_t t) {
  void *result;
  mpg_syscall_enter();
  int err = pthread_join(t, &result);
  mpg_syscall_exit();
  CHECK_EQ(err, 0);
  return result;
}

static pthread_t start(void *(*fn)(void *), void *arg) {
  pthread_t t;
  CHECK_EQ(pthread_create(&t, NULL, fn, arg), 0);
  return t;
}

/* ---- attaching and detaching ---- */

static void *attach_and_detach(void *arg) {
  CHECK_EQ(mpg_thread_detach(), -EPERM);
  for (int i = 0; i < 100; i++) {
    int before = mpg_num_goroutines();
    CHECK_EQ(mpg_thread_attach(), 0);
    CHECK_EQ(mpg_thread_attach(), -EALREADY);
    CHECK_EQ(mpg_goid(), 0);
    CHECK_EQ(mpg_num_goroutines(), before);
    CHECK_EQ(mpg_run(NULL, NULL), -EINVAL);
    CHECK_EQ(mpg_thread_detach(), 0);
    CHECK_EQ(mpg_thread_detach(), -EPERM);
  }
  return arg;
}

static void threads_attach_and_detach(void *arg) {
  join(start(attach_and_detach, arg));
}

static void goroutines_may_not(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_thread_attach(), -EALREADY);
  CHECK_EQ(mpg_thread_detach(), -EPERM);
}

static void nor_may_anybody_without_a_run(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_thread_attach(), -EPERM);
  CHECK_EQ(mpg_thread_detach(), -EPERM);
}

/* ---- what they may do ---- */

static void *echo(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  int64_t x;
  while (mpg_chan_recv(requests, &x)) {
    x = 2 * x;
    mpg_chan_send(replies, &x);
  }
  CHECK_EQ(mpg_thread_detach(), 0);
  return arg;
}

/* No deadlock is seen while they come, wait, or go. */
static void they_wait_on_channels(void *arg) {
  (void) arg;
  for (int buffer = 0; buffer < 2; buffer++) {
    requests = mpg_chan_new(8, (size_t) buffer);
    replies = mpg_chan_new(8, (size_t) buffer);
    pthread_t t[3];
    for (int i = 0; i < 3; i++) t[i] = start(echo, NULL);
    for (int64_t i = 0; i < 1000; i++) {
      int64_t got;
      mpg_chan_send(requests, &i);
      CHECK(mpg_chan_recv(replies, &got));
      CHECK_EQ(got, 2 * i);
      if (i % 100 == 0) mpg_gc();
    }
    mpg_chan_close(requests);
    for (int i = 0; i < 3; i++) join(t[i]);
  }
}

static void *send_one(void *arg) {
  int64_t x = 7;
  CHECK_EQ(mpg_thread_attach(), 0);
  mpg_chan_send(replies, &x);
  return arg; /* detached by its end */
}

static void a_thread_about_to_attach_is_waited_for(void *arg) {
  (void) arg;
  replies = mpg_chan_new(8, 0);
  for (int i = 0; i < 50; i++) {
    int64_t x;
    pthread_t t = start(send_one, NULL);
    CHECK(mpg_chan_recv(replies, &x));
    CHECK_EQ(x, 7);
    CHECK_EQ(pthread_join(t, NULL), 0);
  }
}

static mpg_mutex lock;
static int64_t counter;

static void count(void) {
  for (int i = 0; i < 2000; i++) {
    mpg_mutex_lock(&lock);
    counter++;
    if (i % 50 == 0) mpg_yield();
    mpg_mutex_unlock(&lock);
  }
}

static void *count_attached(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  count();
  return arg;
}

static void count_in_goroutine(void *arg) {
  (void) arg;
  count();
  mpg_waitgroup_done(&done);
}

static void they_share_locks(void *arg) {
  (void) arg;
  pthread_t t[4];
  counter = 0;
  mpg_waitgroup_add(&done, 4);
  for (int i = 0; i < 4; i++) t[i] = start(count_attached, NULL);
  for (int i = 0; i < 4; i++) CHECK_GO(count_in_goroutine, NULL);
  mpg_waitgroup_wait(&done);
  for (int i = 0; i < 4; i++) join(t[i]);
  CHECK_EQ(counter, 8 * 2000);
}

static void add_one(void *arg) {
  atomic_fetch_add((_Atomic int *) arg, 1);
  CHECK_GT(mpg_goid(), 0);
  mpg_waitgroup_done(&done);
}

static void *start_goroutines(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  for (int i = 0; i < 100; i++) {
    mpg_waitgroup_add(&done, 10);
    for (int j = 0; j < 10; j++) CHECK_GO(add_one, arg);
    mpg_waitgroup_wait(&done);
  }
  CHECK_EQ(mpg_thread_detach(), 0);
  return arg;
}

static void they_start_goroutines(void *arg) {
  (void) arg;
  static _Atomic int n;
  join(start(start_goroutines, (void *) &n));
  CHECK_EQ(atomic_load(&n), 1000);
}

static void *sleep_in_every_way(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  for (int i = 0; i < 20; i++) {
    int64_t begin = mpg_now(), got;
    mpg_sleep(2000000);
    CHECK_GE(mpg_now() - begin, 2000000);
    CHECK(mpg_chan_recv(mpg_after(1000000), &got));
  }
  return arg;
}

/* Every other M is asleep. */
static void they_sleep(void *arg) {
  pthread_t t = start(sleep_in_every_way, arg);
  CHECK_EQ(pthread_join(t, NULL), 0);
  join(start(sleep_in_every_way, arg));
}

static void nap(void *arg) {
  (void) arg;
  struct timespec ts = {0, 1000000};
  nanosleep(&ts, NULL);
}

static void *call_everything_else(void *arg) {
  mpg_local key;
  CHECK_EQ(mpg_local_new(&key), 0);
  for (int round = 0; round < 3; round++) {
    CHECK_EQ(mpg_thread_attach(), 0);
    CHECK(mpg_local_get(key) == NULL);
    CHECK_EQ(mpg_local_set(key, mpg_alloc(100)), 0);
    mpg_gc();
    CHECK_GE(mpg_alloc_size(mpg_local_get(key)), 100);
    mpg_lock_thread();
    mpg_unlock_thread();
    mpg_preempt_disable();
    mpg_yield();
    mpg_preempt_enable();
    mpg_blocking(nap, NULL);
    mpg_syscall_enter();
    nap(NULL);
    mpg_syscall_exit();
    int procs = mpg_gomaxprocs(0);
    mpg_gomaxprocs(procs + 1);
    CHECK_EQ(mpg_gomaxprocs(procs), procs + 1);
    if (round < 2) CHECK_EQ(mpg_thread_detach(), 0);
  }
  return arg;
}

static void they_call_everything_else(void *arg) {
  join(start(call_everything_else, arg));
}

/* ---- the collector ---- */

struct node {
  struct node *next;
  uint64_t value;
};
static _Thread_local struct node *in_tls;
static _Atomic int ready, go_on;

static struct node *list_new(int n) {
  struct node *head = NULL;
  for (int i = 0; i < n; i++) {
    struct node *node = mpg_alloc(sizeof(*node));
    CHECK(node != NULL);
    *node = (struct node){head, (uint64_t) i};
    head = node;
  }
  return head;
}

static void check_list(const struct node *node, int n) {
  for (int i = n; i-- > 0; node = node->next) CHECK_EQ(node->value, i);
  CHECK(node == NULL);
}

enum { SPIN, POLL, PARK, SYSCALL, STATES };

static void stay_in(int state) {
  struct timespec ts = {0, 1000000};
  while (!atomic_load(&go_on)) {
    if (state == POLL) poll(NULL, 0, 1);
    if (state == PARK) mpg_sleep(1000000);
    if (state == SYSCALL) {
      mpg_syscall_enter();
      nanosleep(&ts, NULL);
      mpg_syscall_exit();
    }
  }
}

static void *keep_lists(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  struct node *on_stack = list_new(1000);
  in_tls = list_new(500);
  CHECK_OPAQUE(on_stack);
  atomic_fetch_add(&ready, 1);
  stay_in((int) (intptr_t) arg);
  check_list(on_stack, 1000);
  check_list(in_tls, 500);
  if ((intptr_t) arg % 2) CHECK_EQ(mpg_thread_detach(), 0);
  return arg;
}

static void their_pointers_are_roots(void *arg) {
  (void) arg;
  pthread_t t[2 * STATES];
  atomic_store(&ready, 0);
  atomic_store(&go_on, 0);
  for (intptr_t i = 0; i < 2 * STATES; i++)
    t[i] = start(keep_lists, (void *) (i % STATES));
  CHECK_EVENTUALLY(atomic_load(&ready) == 2 * STATES);
  for (int i = 0; i < 30; i++) {
    mpg_gc();
    for (int j = 0; j < 1000; j++) memset(mpg_alloc(16), 0xff, 16);
    mpg_sleep(1000000);
  }
  atomic_store(&go_on, 1);
  for (int i = 0; i < 2 * STATES; i++) join(t[i]);
}

static void *allocate(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  for (int round = 0; round < 20; round++) {
    struct node *list = list_new(2000);
    check_list(list, 2000);
    if (round % 7 == 0) mpg_gc();
  }
  return arg;
}

static void they_allocate_and_collect(void *arg) {
  (void) arg;
  pthread_t t[4];
  for (int i = 0; i < 4; i++) t[i] = start(allocate, NULL);
  for (int i = 0; i < 20; i++) check_list(list_new(2000), 2000);
  for (int i = 0; i < 4; i++) join(t[i]);
}

/* ---- many, while the number of Ps changes ---- */

static void *come_and_go(void *arg) {
  for (int i = 0; i < 30; i++) {
    CHECK_EQ(mpg_thread_attach(), 0);
    check_list(list_new(20), 20);
    if (i % 3 == 0) mpg_sleep(10000);
    CHECK_EQ(mpg_thread_detach(), 0);
  }
  return arg;
}

static void they_come_and_go_beside_everything(void *arg) {
  (void) arg;
  pthread_t t[16];
  for (int i = 0; i < 16; i++) t[i] = start(come_and_go, NULL);
  for (int i = 0; i < 100; i++) {
    mpg_gomaxprocs(1 + i % 7);
    if (i % 5 == 0) mpg_gc();
    mpg_yield();
  }
  mpg_gomaxprocs(64); /* beyond the places they had */
  for (int i = 0; i < 16; i++) join(t[i]);
  CHECK_EQ(mpg_gomaxprocs(2), 64);
}

static void *park_till_closed(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  atomic_fetch_add(&ready, 1);
  CHECK(!mpg_chan_recv(requests, NULL));
  return arg;
}

static void hundreds_are_attached(void *arg) {
  (void) arg;
  enum { N = 300 };
  static pthread_t t[N];
  requests = mpg_chan_new(8, 0);
  atomic_store(&ready, 0);
  for (int i = 0; i < N; i++) t[i] = start(park_till_closed, NULL);
  CHECK_EVENTUALLY(atomic_load(&ready) == N);
  mpg_gomaxprocs(100);
  mpg_gc();
  mpg_gomaxprocs(2);
  mpg_chan_close(requests);
  for (int i = 0; i < N; i++) join(t[i]);
}

/* ---- the thread's own things ---- */

static pthread_key_t key;

static void use_mpg_at_the_end(void *value) {
  int64_t x = 1;
  CHECK(mpg_alloc(10) != NULL);
  mpg_chan_send(value, &x);
}

static void *end_with_destructor(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  CHECK_EQ(pthread_setspecific(key, arg), 0);
  return NULL;
}

static void destructors_may_use_mpg(void *arg) {
  (void) arg;
  int64_t x;
  CHECK_EQ(pthread_key_create(&key, use_mpg_at_the_end), 0);
  mpg_chan *c = mpg_chan_new(8, 1);
  join(start(end_with_destructor, c));
  CHECK(mpg_chan_recv(c, &x));
  CHECK_EQ(pthread_key_delete(key), 0);
}

static void *keep_signal_stack(void *arg) {
  static char mem[64 << 10];
  stack_t ss = {.ss_sp = mem, .ss_size = sizeof(mem)}, now;
  sigset_t urg, mask;
  sigemptyset(&urg);
  sigaddset(&urg, SIGURG);
  CHECK_EQ(sigaltstack(&ss, NULL), 0);
  CHECK_EQ(pthread_sigmask(SIG_BLOCK, &urg, NULL), 0);
  CHECK_EQ(mpg_thread_attach(), 0);
  CHECK_EQ(mpg_thread_detach(), 0);
  CHECK_EQ(sigaltstack(NULL, &now), 0);
  CHECK(now.ss_sp == mem);
  CHECK_EQ(now.ss_size, sizeof(mem));
  CHECK_EQ(now.ss_flags, 0);
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
  CHECK_EQ(sigismember(&mask, SIGURG), 1);
  return arg;
}

static void signal_stack_and_mask_come_back(void *arg) {
  join(start(keep_signal_stack, arg));
}

/* ---- the end of the run ---- */

static _Atomic bool run_ended, finished;

/* In its own code when the run ends: goes on, detached. */
static void *outlive_spinning(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  atomic_fetch_add(&ready, 1);
  struct timespec ts = {0, 100000};
  while (!atomic_load(&run_ended))
    if (arg) nanosleep(&ts, NULL);
  CHECK_EQ(mpg_goid(), 0);
  CHECK_EQ(mpg_thread_attach(), -EPERM);
  CHECK_EQ(mpg_thread_detach(), -EPERM);
  return arg;
}

static void *outlive_and_detach(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  atomic_fetch_add(&ready, 1);
  while (!atomic_load(&run_ended)) continue;
  CHECK_GT(mpg_now(), 0);
  CHECK_EQ(mpg_thread_detach(), 0);
  CHECK_EQ(mpg_thread_detach(), -EPERM);
  return arg;
}

static void *outlive_in_syscall(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  atomic_fetch_add(&ready, 1);
  mpg_syscall_enter();
  struct timespec ts = {0, 1000000};
  while (!atomic_load(&run_ended)) nanosleep(&ts, NULL);
  mpg_syscall_exit();
  return arg;
}

static void *outlive_allocating(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  atomic_fetch_add(&ready, 1);
  while (!atomic_load(&run_ended)) CHECK(mpg_alloc(50) != NULL);
  return arg;
}

/* Never comes back. */
static void *outlive_parked(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  atomic_fetch_add(&ready, 1);
  mpg_chan_recv(mpg_chan_new(1, 0), NULL);
  atomic_store(&finished, true);
  return arg;
}

static void *call_after_the_end(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  atomic_fetch_add(&ready, 1);
  while (!atomic_load(&run_ended)) continue;
  mpg_yield();
  atomic_store(&finished, true);
  return arg;
}

static int wanted;

static void end_when_ready(void *arg) {
  (void) arg;
  CHECK_EVENTUALLY(atomic_load(&ready) == wanted);
  mpg_sleep(2000000);
}

static void run_till_ready(int n) {
  wanted = n;
  CHECK_EQ(mpg_run(end_when_ready, NULL), 0);
  atomic_store(&run_ended, true);
}

static void start_detached(void *(*fn)(void *) ) {
  CHECK_EQ(pthread_detach(start(fn, NULL)), 0);
}

static pthread_t survivors[5];

static void start_survivors(void *arg) {
  (void) arg;
  atomic_store(&ready, 0);
  atomic_store(&run_ended, false);
  survivors[0] = start(outlive_spinning, NULL);
  survivors[1] = start(outlive_spinning, (void *) 1);
  survivors[2] = start(outlive_and_detach, NULL);
  survivors[3] = start(outlive_in_syscall, NULL);
  start_detached(outlive_parked);
  start_detached(call_after_the_end);
  wanted = 6;
  end_when_ready(NULL);
}

static void they_survive_the_run(void *arg) {
  (void) arg;
  for (int i = 0; i < 20; i++) {
    CHECK_EQ(mpg_run(start_survivors, NULL), 0);
    atomic_store(&run_ended, true);
    for (int j = 0; j < 4; j++) CHECK_EQ(pthread_join(survivors[j], NULL), 0);
    CHECK(!atomic_load(&finished));
  }
}

static void start_allocating(void *arg) {
  (void) arg;
  atomic_store(&ready, 0);
  atomic_store(&run_ended, false);
  for (int i = 0; i < 8; i++) start_detached(outlive_allocating);
  wanted = 8;
  end_when_ready(NULL);
}

static void they_are_caught_in_the_middle(void *arg) {
  (void) arg;
  for (int i = 0; i < 20; i++) CHECK_EQ(mpg_run(start_allocating, NULL), 0);
}

static void *attach_to_the_next(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  atomic_fetch_add(&ready, 1);
  while (!atomic_load(&run_ended)) continue;
  while (mpg_thread_attach() == -EPERM) continue;
  CHECK_EQ(mpg_thread_attach(), -EALREADY);
  atomic_fetch_add(&ready, 1);
  CHECK(mpg_alloc(100) != NULL);
  CHECK_EQ(mpg_thread_detach(), 0);
  return arg;
}

static pthread_t next_one;
static void start_next_one(void *arg) {
  (void) arg;
  next_one = start(attach_to_the_next, NULL);
  wanted = 1;
  end_when_ready(NULL);
}

static void they_attach_to_the_next_run(void *arg) {
  (void) arg;
  for (int i = 0; i < 10; i++) {
    atomic_store(&ready, 0);
    atomic_store(&run_ended, false);
    CHECK_EQ(mpg_run(start_next_one, NULL), 0);
    atomic_store(&run_ended, true);
    run_till_ready(2);
    CHECK_EQ(pthread_join(next_one, NULL), 0);
  }
}

static const struct check_case cases[] = {
    OUTSIDE(nor_may_anybody_without_a_run),
    INSIDE(threads_attach_and_detach),
    INSIDE(goroutines_may_not),
    INSIDE(they_wait_on_channels),
    INSIDE(a_thread_about_to_attach_is_waited_for),
    INSIDE(they_share_locks),
    INSIDE(they_start_goroutines),
    INSIDE(they_sleep),
    INSIDE(they_call_everything_else),
    INSIDE(their_pointers_are_roots),
    INSIDE(they_allocate_and_collect),
    INSIDE(they_come_and_go_beside_everything),
    INSIDE(hundreds_are_attached),
    INSIDE(destructors_may_use_mpg),
    INSIDE(signal_stack_and_mask_come_back),
    OUTSIDE(they_survive_the_run),
    OUTSIDE(they_attach_to_the_next_run),
    OUTSIDE(nor_may_anybody_without_a_run),
    OUTSIDE(they_are_caught_in_the_middle),
};
CHECK_MAIN(cases, 30)

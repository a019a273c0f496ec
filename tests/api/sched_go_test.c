/* sched_go_test.c - starting and ending goroutines, and mpg_yield. */
#include <errno.h>

#include "../support/check.h"

static mpg_waitgroup done;
static _Atomic int count;

static void count_and_finish(void *arg) {
  atomic_fetch_add(&count, (int) (intptr_t) arg);
  mpg_waitgroup_done(&done);
}

static void go_runs_each_once_with_its_argument(void *arg) {
  (void) arg;
  enum { N = 20000 };
  atomic_store(&count, 0);
  mpg_waitgroup_add(&done, N);
  for (int i = 1; i <= N; i++)
    CHECK_GO(count_and_finish, (void *) (intptr_t) (i % 10));
  mpg_waitgroup_wait(&done);
  CHECK_EQ(atomic_load(&count), N / 10 * 45);
}

static void go_refuses_null(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_go(NULL, NULL), -EINVAL);
  CHECK_EQ((mpg_go) (NULL, NULL), -EINVAL);
  CHECK_EQ(mpg_num_goroutines(), 1);
}

static void go_as_a_function_pointer(void *arg) {
  (void) arg;
  int (*go)(mpg_func, void *) = mpg_go;
  atomic_store(&count, 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_EQ(go(count_and_finish, (void *) 3), 0);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(atomic_load(&count), 3);
}

/* ---- options ---- */

static int go_with(size_t size, unsigned flags, size_t stack_bytes,
                   const char *name, mpg_func fn) {
  struct mpg_go_options o = {
      .size = size, .flags = flags, .stack_bytes = stack_bytes, .name = name};
  return mpg_go_with(&o, fn, (void *) 1);
}

static void options_that_are_wrong(void *arg) {
  (void) arg;
  const size_t size = sizeof(struct mpg_go_options);
  CHECK_EQ(go_with(0, 0, 0, NULL, count_and_finish), -EINVAL);
  CHECK_EQ(go_with(size, 0, 0, NULL, NULL), -EINVAL);
  for (unsigned bit = 2; bit < 32; bit++)
    CHECK_EQ(go_with(size, 1u << bit, 0, NULL, count_and_finish), -EINVAL);
  CHECK_EQ(go_with(size, MPG_GO_MOVABLE | MPG_GO_FIXED_STACK, 0, NULL,
                   count_and_finish),
           -EINVAL);
  CHECK_EQ(mpg_go_with(NULL, count_and_finish, NULL), -EINVAL);
  CHECK_EQ(mpg_num_goroutines(), 1);
}

static void options_written_in_the_call(void *arg) {
  (void) arg;
  atomic_store(&count, 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_EQ(mpg_go_with(
               &(struct mpg_go_options){.size = sizeof(struct mpg_go_options),
                                        .name = "literal"},
               count_and_finish, (int[]){1, 2}),
           0);
  mpg_waitgroup_wait(&done);
}

static void options_that_are_right(void *arg) {
  (void) arg;
  const size_t size = sizeof(struct mpg_go_options);
  char name[] = "changed afterwards";
  atomic_store(&count, 0);
  mpg_waitgroup_add(&done, 6);
  CHECK_EQ(go_with(size, 0, 0, NULL, count_and_finish), 0);
  CHECK_EQ(go_with(size, 0, 0, name, count_and_finish), 0);
  memset(name, 'x', sizeof(name));
  CHECK_EQ(go_with(size, MPG_GO_FIXED_STACK, 0, "fixed", count_and_finish), 0);
  CHECK_EQ(go_with(size, MPG_GO_FIXED_STACK, 1 << 20, "fixed, large",
                   count_and_finish),
           0);
  CHECK_EQ(go_with(size, 0, 1 << 20, "limited", count_and_finish), 0);
  CHECK_EQ(go_with(size, 0, 0, "", count_and_finish), 0);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(atomic_load(&count), 6);
}

static void movable_is_accepted(void *arg) {
  (void) arg;
#if defined(MPG_SPLIT_STACK)
  mpg_waitgroup_add(&done, 1);
  CHECK_EQ(go_with(sizeof(struct mpg_go_options), MPG_GO_MOVABLE, 0, NULL,
                   count_and_finish),
           0);
  mpg_waitgroup_wait(&done);
#endif
}

static void absurd_stack_is_no_memory(void *arg) {
  (void) arg;
  CHECK_EQ(go_with(sizeof(struct mpg_go_options), MPG_GO_FIXED_STACK,
                   (size_t) 1 << 50, NULL, count_and_finish),
           -ENOMEM);
  CHECK_EQ(go_with(sizeof(struct mpg_go_options), MPG_GO_FIXED_STACK, SIZE_MAX,
                   NULL, count_and_finish),
           -ENOMEM);
  CHECK_EQ(mpg_num_goroutines(), 1);
}

/* ---- room on stacks ---- */

/* Touch bytes of stack in frames of 1 KiB. */
static __attribute__((noinline)) unsigned use_stack(size_t bytes) {
  volatile char frame[1024];
  memset((char *) frame, (int) bytes, sizeof(frame));
  unsigned sum = bytes > 1024 ? use_stack(bytes - 1024) : 0;
  return sum + (unsigned char) frame[bytes % 1024];
}

static void use_and_finish(void *arg) {
  use_stack((size_t) arg);
  mpg_waitgroup_done(&done);
}

static void fixed_stack_has_its_size(void *arg) {
  (void) arg;
  struct mpg_go_options o = {.size = sizeof(o), .flags = MPG_GO_FIXED_STACK};
  mpg_waitgroup_add(&done, 2);
  CHECK_EQ(mpg_go_with(&o, use_and_finish, (void *) (200 << 10)), 0);
  o.stack_bytes = 4 << 20;
  CHECK_EQ(mpg_go_with(&o, use_and_finish, (void *) (3 << 20)), 0);
  mpg_waitgroup_wait(&done);
}

static void default_stack_holds_256_kib(void *arg) {
  (void) arg;
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(use_and_finish, (void *) (200 << 10));
  mpg_waitgroup_wait(&done);
}

static void segmented_stack_grows_to_64_mib(void *arg) {
  (void) arg;
#if defined(MPG_SPLIT_STACK)
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(use_and_finish, (void *) (64 << 20));
  mpg_waitgroup_wait(&done);
#endif
}

/* ---- many at once ---- */

static mpg_chan *gate;

static void wait_at_gate(void *arg) {
  (void) arg;
  mpg_chan_recv(gate, NULL);
  mpg_waitgroup_done(&done);
}

static void ten_thousand_parked_at_once(void *arg) {
  (void) arg;
#if defined(MPG_SPLIT_STACK)
  enum { N = 10000 };
#else
  enum { N = 1000 };
#endif
  gate = mpg_chan_new(0, 0);
  mpg_waitgroup_add(&done, N);
  for (int i = 0; i < N; i++) CHECK_GO(wait_at_gate, NULL);
  CHECK_EQ(mpg_num_goroutines(), N + 1);
  mpg_chan_close(gate);
  mpg_waitgroup_wait(&done);
}

static void start_two(void *arg) {
  intptr_t depth = (intptr_t) arg;
  if (depth > 0)
    for (int i = 0; i < 2; i++) CHECK_GO(start_two, (void *) (depth - 1));
  mpg_waitgroup_done(&done);
}

static void goroutines_start_goroutines(void *arg) {
  (void) arg;
  mpg_waitgroup_add(&done, (1 << 13) - 1);
  CHECK_GO(start_two, (void *) 12);
  mpg_waitgroup_wait(&done);
  CHECK_EVENTUALLY(mpg_num_goroutines() == 1);
}

/* ---- goexit ---- */

static _Atomic int after_goexit;

static volatile int never;

static __attribute__((noinline)) void exit_deep(int depth) {
  volatile char frame[512];
  frame[depth % 512] = (char) depth;
  if (depth == 0) {
    mpg_waitgroup_done(&done);
    mpg_goexit();
  }
  if (never == 0) exit_deep(depth - 1);
  atomic_fetch_add(&after_goexit, frame[0] + 1);
}

static void exit_from_depth(void *arg) {
  exit_deep((int) (intptr_t) arg);
  atomic_fetch_add(&after_goexit, 1);
}

static void goexit_ends_the_goroutine_at_any_depth(void *arg) {
  (void) arg;
  atomic_store(&after_goexit, 0);
  for (int depth = 0; depth <= 128; depth += 16) {
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(exit_from_depth, (void *) (intptr_t) depth);
  }
  mpg_waitgroup_wait(&done);
  CHECK_EVENTUALLY(mpg_num_goroutines() == 1);
  CHECK_EQ(atomic_load(&after_goexit), 0);
}

/* ---- yield ---- */

static char trail[64];
static int trail_n;

static void leave_trail(void *arg) {
  for (int i = 0; i < 5; i++) {
    trail[trail_n++] = (char) (intptr_t) arg;
    mpg_yield();
  }
  mpg_waitgroup_done(&done);
}

/* On one P, with slices that are far from over, yield is a rotation. */
static void yield_lets_the_others_run_in_turn(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  mpg_waitgroup_add(&done, 3);
  for (char c = 'a'; c <= 'c'; c++)
    CHECK_GO(leave_trail, (void *) (intptr_t) c);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(trail_n, 15);
  int seen[3] = {0};
  for (int i = 0; i < 15; i++) seen[trail[i] - 'a']++;
  for (int i = 0; i < 3; i++) CHECK_EQ(seen[i], 5);
  int repeats = 0; /* a preemption may disturb the order once or twice */
  for (int i = 1; i < 15; i++) repeats += trail[i] == trail[i - 1];
  CHECK_LE(repeats, 4);
}

static void yield_alone_returns(void *arg) {
  (void) arg;
  for (int i = 0; i < 10000; i++) mpg_yield();
}

static const struct check_case cases[] = {
    INSIDE(go_runs_each_once_with_its_argument),
    INSIDE(go_refuses_null),
    INSIDE(go_as_a_function_pointer),
    INSIDE(options_that_are_wrong),
    INSIDE(options_written_in_the_call),
    INSIDE(options_that_are_right),
    INSIDE(movable_is_accepted),
    INSIDE(absurd_stack_is_no_memory),
    INSIDE(fixed_stack_has_its_size),
    INSIDE(default_stack_holds_256_kib),
    INSIDE(segmented_stack_grows_to_64_mib),
    INSIDE(ten_thousand_parked_at_once),
    INSIDE(goroutines_start_goroutines),
    INSIDE(goexit_ends_the_goroutine_at_any_depth),
    INSIDE(yield_lets_the_others_run_in_turn),
    INSIDE(yield_alone_returns),
};
CHECK_MAIN(cases, 20)

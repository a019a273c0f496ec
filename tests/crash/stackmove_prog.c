// EXPECT-EXIT: 0
// EXPECT-STDERR: ^goroutine [0-9]+ \[runnable\]:
// EXPECT-STDERR: ^calls\(\.\.\.\)
// EXPECT-STDERR: ^loops\(\.\.\.\)
// REJECT-STDERR: additional frames elided
// ENV: MPG_DEBUG=stackmove=1,preemptall=1,asyncpreemptoff=0
// ENV: MPG_PROCS=1
/* A movable goroutine that is switched out while it could run on is swapped
 * out each time: after a yield, preempted at a call, and in a loop without
 * calls, where all its registers are live.  Tracebacks look at the images. */
#include <mpg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define WANTED 20

static _Atomic int done;

static uint64_t swapped_out(void) {
  struct mpg_stack_stats s = {.size = sizeof s};
  if (mpg_stack_stats_read(&s)) abort();
  return s.swapped_out;
}

static void check(int line, bool ok) {
  if (ok) return;
  fprintf(stderr, "%s:%d: check failed\n", __FILE__, line);
  exit(3);
}
#define CHECK(x) check(__LINE__, x)

static void yields(void *arg) {
  uint64_t mine[4] = {1, 2, 3, (uint64_t) (uintptr_t) arg}, *p = mine;
  for (uint64_t until = swapped_out() + WANTED; swapped_out() < until;) {
    p[0]++;
    mpg_yield();
    CHECK(p == mine && mine[1] == 2 && mine[2] == 3);
  }
  done = 1;
}

static _Atomic int stop;

static __attribute__((noinline)) uint64_t called(uint64_t x) {
  volatile uint64_t here = x;
  return here + 1;
}

static void calls(void *arg) {
  (void) arg;
  uint64_t n = 0;
  while (!stop) {
    uint64_t m = called(n);
    CHECK(m == n + 1);
    n = m;
  }
  done = 1;
}

/* What it computes with is in registers. */
static void loops(void *arg) {
  (void) arg;
  double d[8];
  uint64_t n[6] = {1, 2, 3, 4, 5, 6};
  for (int i = 0; i < 8; i++) d[i] = i;
  uint64_t rounds = 0;
  while (!stop) {
    for (int i = 0; i < 8; i++) d[i] += 1;
    for (int i = 0; i < 6; i++) n[i] += (uint64_t) i;
    rounds++;
  }
  for (int i = 0; i < 8; i++) CHECK(d[i] == i + (double) rounds);
  for (uint64_t i = 0; i < 6; i++) CHECK(n[i] == i + 1 + i * rounds);
  done = 1;
}

/* The movable one is switched out without having parked: by itself, or because
 * this one waits for the only P. */
static void run(mpg_func fn, int line) {
  struct mpg_go_options opt = {.size = sizeof opt, .flags = MPG_GO_MOVABLE};
  stop = done = 0;
  uint64_t until = swapped_out() + WANTED;
  int64_t end = mpg_now() + 20 * INT64_C(1000000000);
  if (mpg_go_with(&opt, fn, NULL)) abort();
  while (swapped_out() < until) {
    mpg_yield();
    mpg_traceback_all(2);
    check(line, mpg_now() < end);
  }
  stop = 1;
  while (!done) mpg_yield();
}

static void start(void *arg) {
  (void) arg;
  run(yields, __LINE__);
  run(calls, __LINE__);
  run(loops, __LINE__);
}

int main(void) { return mpg_run(start, NULL); }

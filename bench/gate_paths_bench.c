/* gate_paths_bench.c - hot paths, for counting their instructions.
 *
 * WORK n=N does one thing N times on one P; ./run bench gate runs it under
 * callgrind with two different N, and the difference is the path's.
 */
#include "bench.h"

static long n;
static mpg_waitgroup done;
static volatile uint64_t sink;

/* Collections are off: counts must not depend on them. */
static void begin(void) {
  mpg_gc_percent(-1);
  n = work_arg("n", 1000);
}

#define ALLOC_WORK(bytes)                 \
  static void alloc##bytes##_work(void) { \
    begin();                              \
    for (long i = 0; i < n; i++) {        \
      uint64_t *p = mpg_alloc(bytes);     \
      if (!p) work_fail("out of memory"); \
      *p = (uint64_t) i;                  \
    }                                     \
  }
ALLOC_WORK(16)
ALLOC_WORK(64)
ALLOC_WORK(256)

static void leaf64_work(void) {
  begin();
  for (long i = 0; i < n; i++) {
    uint64_t *p = mpg_alloc_noscan(64);
    if (!p) work_fail("out of memory");
    *p = (uint64_t) i;
  }
}

static void typed64_work(void) {
  begin();
  mpg_type *type = mpg_type_new(64, &(size_t){0}, 1);
  for (long i = 0; i < n; i++) {
    uint64_t *p = mpg_alloc_typed(type, 1);
    if (!p) work_fail("out of memory");
    *p = (uint64_t) i;
  }
}

/* Neither waits: the channel has room, or an element. */
static void buffered_work(void) {
  begin();
  mpg_chan *c = bench_chan(sizeof(uint64_t), 1);
  uint64_t x = 0;
  for (long i = 0; i < n; i++) {
    mpg_chan_send(c, &x);
    mpg_chan_recv(c, &x);
  }
}

/* Both wait. */
static void sender(void *c) {
  for (uint64_t i = 0; i < (uint64_t) n; i++) mpg_chan_send(c, &i);
}

static void unbuffered_work(void) {
  begin();
  mpg_chan *c = bench_chan(sizeof(uint64_t), 0);
  bench_go(sender, c);
  for (long i = 0; i < n; i++) mpg_chan_recv(c, NULL);
}

static void yielder(void *arg) {
  (void) arg;
  for (long i = 0; i < n; i++) mpg_yield();
  mpg_waitgroup_done(&done);
}

static void yield_work(void) {
  begin();
  mpg_waitgroup_add(&done, 2);
  for (int i = 0; i < 2; i++) bench_go(yielder, NULL);
  mpg_waitgroup_wait(&done);
}

static void finisher(void *arg) {
  (void) arg;
  mpg_waitgroup_done(&done);
}

static void spawn_work(void) {
  begin();
  for (long i = 0; i < n; i++) {
    mpg_waitgroup_add(&done, 1);
    bench_go(finisher, NULL);
    mpg_waitgroup_wait(&done);
  }
}

/* ---- stacks ---- */

#define CROSSED_BYTES 4096 /* frames of one segment are never so far apart */

static WORK_NOINLINE uintptr_t callee(uint64_t x) {
  volatile uint64_t frame[24];
  frame[x & 7] = x;
  uintptr_t at = (uintptr_t) frame;
  __asm__("" : "+r"(at)); /* Clang: no address of a local is returned */
  return at;
}

/* Descends until callee's frame is on another segment, and calls from there. */
static WORK_NOINLINE uint64_t cross(long depth) {
  volatile uint64_t here = 0;
  uintptr_t there = callee(0), me = (uintptr_t) &here;
  if ((me > there ? me - there : there - me) <= CROSSED_BYTES) {
    if (depth > 5000) work_fail("no boundary found");
    return cross(depth + 1) + here;
  }
  for (long i = 0; i < n; i++) sink = callee((uint64_t) i);
  return here;
}

static void morestack_work(void) {
  begin();
  sink = cross(0);
}

static volatile int never;

static WORK_NOINLINE uint64_t calls_foreign(uint64_t x) {
  volatile uint64_t frame[4] = {x};
  if (never) qsort((void *) frame, 1, 1, work_compare);
  return frame[0] + 1;
}

static void non_split_work(void) {
  begin();
  uint64_t x = 0;
  for (long i = 0; i < n; i++) x = calls_foreign(x);
  if (never) qsort(&x, 1, 1, work_compare); /* so that it has room, too */
  sink = x;
}

/* A new goroutine goes some segments deep. */
static WORK_NOINLINE uint64_t descend(int depth) {
  volatile uint64_t frame[24] = {(uint64_t) depth};
  return depth == 0 ? 0 : descend(depth - 1) + frame[0];
}

static void deep(void *arg) {
  (void) arg;
  sink = descend(200);
  mpg_waitgroup_done(&done);
}

static void descent_work(void) {
  begin();
  for (long i = 0; i < n; i++) {
    mpg_waitgroup_add(&done, 1);
    bench_go(deep, NULL);
    mpg_waitgroup_wait(&done);
  }
}

/* ---- select, locks, timers ---- */

static void select_work(void) {
  begin();
  mpg_chan *c[2] = {bench_chan(sizeof(uint64_t), 1),
                    bench_chan(sizeof(uint64_t), 1)};
  uint64_t x = 0, y;
  for (long i = 0; i < n; i++) {
    struct mpg_select_case cases[] = {
        {.chan = c[0], .dir = MPG_RECV, .elem = &y},
        {.chan = c[1], .dir = MPG_SEND, .elem = &x}};
    int first = mpg_select(cases, 2);
    mpg_chan_recv(c[1], NULL);
    if (first != 1) work_fail("a case was chosen that wasn't ready");
  }
}

static void mutex_work(void) {
  begin();
  mpg_mutex m = {0};
  for (long i = 0; i < n; i++) {
    mpg_mutex_lock(&m);
    mpg_mutex_unlock(&m);
  }
}

static void timer_work(void) {
  begin();
  for (long i = 0; i < n; i++)
    if (!mpg_timer_stop(
            mpg_timer_start((int64_t) 3600 * 1000000000, 0, finisher, NULL)))
      work_fail("the timer fired");
}

static const struct work paths[] = {
    {"alloc16", alloc16_work},       {"alloc64", alloc64_work},
    {"alloc256", alloc256_work},     {"leaf64", leaf64_work},
    {"typed64", typed64_work},       {"buffered", buffered_work},
    {"unbuffered", unbuffered_work}, {"yield", yield_work},
    {"spawn", spawn_work},           {"morestack", morestack_work},
    {"non_split", non_split_work},   {"descent", descent_work},
    {"mutex", mutex_work},           {"select", select_work},
    {"timer", timer_work},
};

BENCH_MAIN(paths)

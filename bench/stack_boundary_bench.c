/* stack_boundary_bench.c - what growable stacks cost.
 *
 *   boundary  a call whose callee doesn't fit and finds the next segment
 *             cached; extra: less the same call that stays on its segment
 *   home      a call at every depth of a movable goroutine's stack, beyond
 *             its first page; extra: the slowest depth less the quickest
 *   foreign   entering a function that calls foreign code, with 16 KiB left;
 *             extra: less the same function without
 *   descent   recursion depth deep in a new goroutine, ns a frame: first, on
 *             memory that the process never touched, and n times more
 *
 * Beside both first ones stands the floor, what the two pairs of call and
 * return cost that a prologue adds when it calls __morestack and that calls
 * the body, with nothing done in between.  All functions begin a cache line:
 * where they lie otherwise makes up to 2 ns.
 *
 * Calls are timed in short chunks of which a sample is the fastest: what other
 * processes do to a shared machine is not the question.
 *
 * Twins of descent: peers/go/stack.go, peers/roof_stack_boundary.c.
 */
#include "bench.h"

#define DESCENT_NOW() mpg_now()
#include "descent_work.h"

#define LINE_ALIGNED __attribute__((aligned(64)))
#define CALLS 20000
#define CHUNKS 60
#define CROSSED_BYTES 4096 /* frames of one segment are never so far apart */

static volatile uint64_t sink;
static volatile int never;

/* ---- the floor ---- */

/* A prologue that takes its slow part and comes back to the body, and the same
 * function entered at the body. */
__asm__(
    ".text\n"
    ".p2align 6\n"
    "paired: stc\n"
    "  jb 2f\n"
    "unpaired:\n"
    "1: push %rbp\n"
    "  mov %rsp, %rbp\n"
    "  lea 1(%rdi), %rax\n"
    "  pop %rbp\n"
    "  ret\n"
    "2: mov $0x30, %r10d\n"
    "  xor %r11d, %r11d\n"
    "  call 3f\n"
    "  ret\n"
    "  jmp 1b\n"
    ".p2align 6\n"
    "3: mov (%rsp), %r10\n"
    "  inc %r10\n"
    "  push %rbp\n"
    "  push %r10\n"
    "  call *%r10\n"
    "  pop %rcx\n"
    "  pop %rbp\n"
    "  ret\n");
extern uint64_t paired(uint64_t x), unpaired(uint64_t x);

#define TIME_LOOP(fn)                              \
  static WORK_NOINLINE double time_##fn(void) {    \
    uint64_t x = 0;                                \
    int64_t best = INT64_MAX;                      \
    for (int chunk = 0; chunk < CHUNKS; chunk++) { \
      int64_t t = mpg_now();                       \
      for (int i = 0; i < CALLS; i++) x = fn(x);   \
      t = mpg_now() - t;                           \
      if (t < best) best = t;                      \
    }                                              \
    sink = x;                                      \
    if (never) qsort(&x, 1, 1, work_compare);      \
    return (double) best / CALLS;                  \
  }
TIME_LOOP(paired)
TIME_LOOP(unpaired)

static void print_floor(void) {
  work_print("floor_ns", time_paired() - time_unpaired());
}

/* ---- a hot boundary ---- */

static WORK_NOINLINE LINE_ALIGNED uint64_t callee(uint64_t x) {
  volatile uint64_t frame[24];
  frame[x & 7] = x;
  return frame[x & 7] + 1;
}

static WORK_NOINLINE uintptr_t callee_address(void) {
  volatile uint64_t frame[24];
  frame[0] = 0;
  uintptr_t at = (uintptr_t) frame;
  __asm__("" : "+r"(at)); /* Clang: no address of a local is returned */
  return at;
}

static inline __attribute__((always_inline)) double time_callee(int chunks) {
  uint64_t x = 0;
  int64_t best = INT64_MAX;
  for (int chunk = 0; chunk < chunks; chunk++) {
    int64_t t = mpg_now();
    for (int i = 0; i < CALLS; i++) x = callee(x);
    t = mpg_now() - t;
    if (t < best) best = t;
  }
  sink = x;
  return (double) best / CALLS;
}

/* Descends until callee's frame is, or is not, on another segment than ours,
 * and makes the calls from right there. */
static WORK_NOINLINE double time_calls(int depth, bool crossing) {
  volatile uint64_t here = 0;
  uintptr_t there = callee_address(), me = (uintptr_t) &here;
  bool crosses = (me > there ? me - there : there - me) > CROSSED_BYTES;
  if (crosses != crossing && depth < 5000)
    return time_calls(depth + 1, crossing) + (double) here;
  if (crosses != crossing) work_fail("no boundary found");
  return time_callee(CHUNKS);
}

static void boundary_work(void) {
  double flat = time_calls(0, false), hot = time_calls(0, true);
  work_print("flat_ns", flat);
  work_print("hot_ns", hot);
  work_print("extra_ns", hot - flat);
  print_floor();
  work_check(1);
}

/* ---- no boundary ---- */

#define DEPTHS 64 /* some 100 bytes each: past the first page */
#define PASSES 12

struct home {
  double ns[DEPTHS]; /* the best of all passes */
  mpg_waitgroup done;
};

static WORK_NOINLINE void time_depths(struct home *h, int depth) {
  double ns = time_callee(CHUNKS / PASSES);
  if (h->ns[depth] == 0 || ns < h->ns[depth]) h->ns[depth] = ns;
  if (depth + 1 < DEPTHS) time_depths(h, depth + 1);
  sink = (uint64_t) depth; /* no tail call */
}

static void in_home(void *arg) {
  struct home *h = arg;
  for (int i = 0; i < PASSES; i++) time_depths(h, 0);
  mpg_waitgroup_done(&h->done);
}

static void home_work(void) {
  struct home h = {.ns = {0}};
  struct mpg_go_options opt = {.size = sizeof opt, .flags = MPG_GO_MOVABLE};
  mpg_waitgroup_add(&h.done, 1);
  if (mpg_go_with(&opt, in_home, &h) != 0) work_fail("mpg_go_with failed");
  mpg_waitgroup_wait(&h.done);
  double quickest = h.ns[0], slowest = h.ns[0];
  for (int i = 0; i < DEPTHS; i++) {
    if (h.ns[i] < quickest) quickest = h.ns[i];
    if (h.ns[i] > slowest) slowest = h.ns[i];
  }
  work_print("flat_ns", quickest);
  work_print("hot_ns", slowest);
  work_print("extra_ns", slowest - quickest);
  work_check(1);
}

/* ---- functions that call foreign code ---- */

static WORK_NOINLINE void ours(void *data, size_t n, size_t bytes,
                               int (*compare)(const void *, const void *)) {
  sink = (uintptr_t) data + n + bytes + (uintptr_t) compare;
}

static WORK_NOINLINE LINE_ALIGNED uint64_t plain(uint64_t x) {
  volatile uint64_t frame[4] = {x};
  if (never) ours((void *) frame, 1, 1, work_compare);
  return frame[0] + 1;
}

static WORK_NOINLINE LINE_ALIGNED uint64_t calls_foreign(uint64_t x) {
  volatile uint64_t frame[4] = {x};
  if (never) qsort((void *) frame, 1, 1, work_compare);
  return frame[0] + 1;
}

TIME_LOOP(plain)
TIME_LOOP(calls_foreign)

static void foreign_work(void) {
  double without = time_plain(), with = time_calls_foreign();
  work_print("plain_ns", without);
  work_print("foreign_ns", with);
  work_print("extra_ns", with - without);
  print_floor();
  work_check(1);
}

/* ---- descent ---- */

struct descent {
  uint64_t depth, sum;
  double ns;
  mpg_waitgroup done;
};

static void run_descent(void *arg) {
  struct descent *d = arg;
  d->ns = descent_time(d->depth, &d->sum);
  mpg_waitgroup_done(&d->done);
}

static double descent_in_goroutine(uint64_t depth, uint64_t *sum) {
  struct descent d = {.depth = depth};
  mpg_waitgroup_add(&d.done, 1);
  bench_go(run_descent, &d);
  mpg_waitgroup_wait(&d.done);
  *sum += d.sum;
  return d.ns;
}

static void descent_work(void) { descent_run(descent_in_goroutine); }

static const struct work works[] = {
    {"boundary", boundary_work},
    {"home", home_work},
    {"foreign", foreign_work},
    {"descent", descent_work},
};

BENCH_MAIN(works)

/* sched_tasks_bench.c - goroutines, channels and locks at work.
 *
 *   yield     tasks goroutines yield n times altogether: ns each
 *   spawn     n goroutines that only finish, 64 at a time: ns each; fixed=1:
 *             on fixed stacks, as of code without mpg's flags
 *   pingpong  n round trips over two unbuffered channels: ns each
 *   trace     rounds of pingpong and of sort, with a trace and without in turn:
 *             how much longer they take, per cent
 *   stream    n elements from one to another, capacity cap: ns each
 *   crowd     n elements from 8 goroutines to 8 others over one channel,
 *             capacity cap: ns each
 *   select    n elements received from arms channels, one sender each: ns each
 *   skynet    a tree of goroutines, ten children each, n leaves: ms
 *   sieve     the n-th prime, by a chain of filters: ms
 *   fib       fib(n), two goroutines and a channel each call: ms
 *   park      n goroutines parked: bytes each, ms to create, ms to wake; with
 *             movable=1 their stacks are swapped out by collections first
 *   mutex     tasks goroutines take a lock n times altogether: ns each; floor:
 *             the two locked operations in line
 *   sort      quicksort of n numbers, a goroutine for each half: ms
 *
 * Twin: peers/go/tasks.go.
 */
#include "bench.h"
#include "sort_work.h"

static mpg_waitgroup done;

static double ms_since(int64_t start) {
  return (double) (work_now() - start) / 1e6;
}

/* ---- yield ---- */

static long yields_each;
static _Atomic uint64_t total;

static void yielder(void *arg) {
  (void) arg;
  for (long i = 0; i < yields_each; i++) mpg_yield();
  total += (uint64_t) yields_each;
  mpg_waitgroup_done(&done);
}

static void yield_work(void) {
  long tasks = work_arg("tasks", 2), n = work_arg("n", 1000000);
  yields_each = n / tasks;
  int64_t start = work_now();
  mpg_waitgroup_add(&done, (int) tasks);
  for (long i = 0; i < tasks; i++) bench_go(yielder, NULL);
  mpg_waitgroup_wait(&done);
  work_print("ns", ms_since(start) * 1e6 / (double) total);
  work_check(total);
}

/* ---- spawn ---- */

#define SPAWN_BATCH 64

static void finisher(void *arg) {
  (void) arg;
  mpg_waitgroup_done(&done);
}

static void spawn_work(void) {
  long n = work_arg("n", 1000000), spawned = 0;
  struct mpg_go_options options = {
      .size = sizeof options,
      .flags = work_arg("fixed", 0) ? MPG_GO_FIXED_STACK : 0};
  int64_t start = work_now();
  while (spawned < n) {
    mpg_waitgroup_add(&done, SPAWN_BATCH);
    for (int i = 0; i < SPAWN_BATCH; i++)
      if (!options.flags)
        bench_go(finisher, NULL);
      else if (mpg_go_with(&options, finisher, NULL) != 0)
        work_fail("no goroutine");
    mpg_waitgroup_wait(&done);
    spawned += SPAWN_BATCH;
  }
  work_print("ns", ms_since(start) * 1e6 / (double) spawned);
  work_check((uint64_t) spawned);
}

/* ---- channels between two ---- */

static mpg_chan *there, *back;

static void ponger(void *arg) {
  (void) arg;
  for (uint64_t x; mpg_chan_recv(there, &x);) {
    x++;
    mpg_chan_send(back, &x);
  }
}

/* Returns: ms. */
static double pingpong(long n, uint64_t *sum) {
  uint64_t x = 0;
  there = bench_chan(sizeof(uint64_t), 0);
  back = bench_chan(sizeof(uint64_t), 0);
  bench_go(ponger, NULL);
  int64_t start = work_now();
  for (long i = 0; i < n; i++) {
    mpg_chan_send(there, &x);
    mpg_chan_recv(back, &x);
  }
  double ms = ms_since(start);
  mpg_chan_close(there);
  *sum += x;
  return ms;
}

static void pingpong_work(void) {
  long n = work_arg("n", 500000);
  uint64_t sum = 0;
  work_print("ns", pingpong(n, &sum) * 1e6 / (double) n);
  work_check(sum);
}

static void streamer(void *arg) {
  uint64_t n = (uint64_t) (uintptr_t) arg;
  for (uint64_t i = 0; i < n; i++) mpg_chan_send(there, &i);
  mpg_chan_close(there);
}

static void stream_work(void) {
  long n = work_arg("n", 5000000);
  there = bench_chan(sizeof(uint64_t), (size_t) work_arg("cap", 128));
  int64_t start = work_now();
  bench_go(streamer, (void *) n);
  uint64_t sum = 0;
  for (uint64_t x; mpg_chan_recv(there, &x);) sum += x;
  work_print("ns", ms_since(start) * 1e6 / (double) n);
  work_check(sum);
}

static long crowd_each;

static void crowd_sender(void *arg) {
  (void) arg;
  for (uint64_t i = 0; i < (uint64_t) crowd_each; i++) mpg_chan_send(there, &i);
  mpg_waitgroup_done(&done);
}

static void crowd_receiver(void *arg) {
  (void) arg;
  uint64_t sum = 0;
  for (uint64_t i = 0, x; i < (uint64_t) crowd_each; i++) {
    mpg_chan_recv(there, &x);
    sum += x;
  }
  total += sum;
  mpg_waitgroup_done(&done);
}

static void crowd_work(void) {
  enum { PAIRS = 8 };
  long n = work_arg("n", 2000000);
  there = bench_chan(sizeof(uint64_t), (size_t) work_arg("cap", 128));
  crowd_each = n / PAIRS;
  int64_t start = work_now();
  mpg_waitgroup_add(&done, 2 * PAIRS);
  for (int i = 0; i < PAIRS; i++) {
    bench_go(crowd_sender, NULL);
    bench_go(crowd_receiver, NULL);
  }
  mpg_waitgroup_wait(&done);
  work_print("ns", ms_since(start) * 1e6 / (double) n);
  work_check(total);
}

/* ---- select ---- */

#define ARMS_MAX 8
static uint64_t sends_each;

static void arm_sender(void *c) {
  for (uint64_t i = 0; i < sends_each; i++) mpg_chan_send(c, &i);
}

static void select_work(void) {
  struct mpg_select_case cases[ARMS_MAX];
  int arms = (int) work_arg("arms", 2);
  uint64_t x = 0, sum = 0;
  sends_each = (uint64_t) (work_arg("n", 500000) / arms);
  for (int i = 0; i < arms; i++) {
    cases[i] = (struct mpg_select_case){
        .chan = bench_chan(sizeof x, 0), .dir = MPG_RECV, .elem = &x};
    bench_go(arm_sender, cases[i].chan);
  }
  uint64_t n = sends_each * (uint64_t) arms;
  int64_t start = work_now();
  for (uint64_t i = 0; i < n; i++) {
    if (mpg_select(cases, arms) < 0) work_fail("select failed");
    sum += x;
  }
  work_print("ns", ms_since(start) * 1e6 / (double) n);
  work_check(sum);
}

/* ---- trees and chains of goroutines ---- */

#define SKYNET_CHILDREN 10

struct skynet {
  mpg_chan *to;
  uint64_t first, leaves;
};

static void skynet(void *arg) {
  struct skynet *s = arg;
  uint64_t sum = s->first;
  if (s->leaves > 1) {
    mpg_chan *results = bench_chan(sizeof(uint64_t), 0);
    uint64_t share = s->leaves / SKYNET_CHILDREN;
    for (uint64_t i = 0; i < SKYNET_CHILDREN; i++) {
      struct skynet *child = mpg_alloc(sizeof *child);
      *child = (struct skynet){results, s->first + i * share, share};
      bench_go(skynet, child);
    }
    sum = 0;
    uint64_t x;
    for (int i = 0; i < SKYNET_CHILDREN && mpg_chan_recv(results, &x); i++)
      sum += x;
  }
  mpg_chan_send(s->to, &sum);
}

static void skynet_work(void) {
  struct skynet root = {.to = bench_chan(sizeof(uint64_t), 0),
                        .leaves = (uint64_t) work_arg("n", 1000000)};
  uint64_t sum = 0;
  int64_t start = work_now();
  bench_go(skynet, &root);
  mpg_chan_recv(root.to, &sum);
  work_print("ms", ms_since(start));
  work_check(sum);
}

struct filter {
  mpg_chan *in, *out;
  uint64_t prime;
};

static void count_up(void *out) {
  for (uint64_t i = 2;; i++) mpg_chan_send(out, &i);
}

static void filter(void *arg) {
  struct filter *f = arg;
  for (uint64_t x; mpg_chan_recv(f->in, &x);)
    if (x % f->prime != 0) mpg_chan_send(f->out, &x);
}

static void sieve_work(void) {
  long n = work_arg("n", 1000);
  mpg_chan *in = bench_chan(sizeof(uint64_t), 0);
  uint64_t prime = 0;
  int64_t start = work_now();
  bench_go(count_up, in);
  for (long i = 0; i < n; i++) {
    mpg_chan_recv(in, &prime);
    struct filter *f = mpg_alloc(sizeof *f);
    *f = (struct filter){in, bench_chan(sizeof(uint64_t), 0), prime};
    bench_go(filter, f);
    in = f->out;
  }
  work_print("ms", ms_since(start));
  work_check(prime);
}

struct fib {
  uint64_t n;
  mpg_chan *to;
};

static void fib(void *arg) {
  struct fib *f = arg;
  uint64_t sum = f->n;
  if (f->n >= 2) {
    mpg_chan *results = bench_chan(sizeof(uint64_t), 0);
    for (uint64_t i = 1; i <= 2; i++) {
      struct fib *child = mpg_alloc(sizeof *child);
      *child = (struct fib){f->n - i, results};
      bench_go(fib, child);
    }
    uint64_t x, y;
    mpg_chan_recv(results, &x);
    mpg_chan_recv(results, &y);
    sum = x + y;
  }
  mpg_chan_send(f->to, &sum);
}

static void fib_work(void) {
  struct fib root = {(uint64_t) work_arg("n", 25),
                     bench_chan(sizeof(uint64_t), 0)};
  uint64_t sum = 0;
  int64_t start = work_now();
  bench_go(fib, &root);
  mpg_chan_recv(root.to, &sum);
  work_print("ms", ms_since(start));
  work_check(sum);
}

/* ---- many parked ones ---- */

static _Atomic long arrived;

static void parked(void *gate) {
  arrived++;
  mpg_chan_recv(gate, NULL);
  total++;
  mpg_waitgroup_done(&done);
}

static void go_movable(mpg_func fn, void *arg) {
  struct mpg_go_options opt = {.size = sizeof opt, .flags = MPG_GO_MOVABLE};
  if (mpg_go_with(&opt, fn, arg) != 0) work_fail("mpg_go_with failed");
}

#define COLLECTIONS_MAX 10

/* What stays parked from one collection to the next is swapped out then. */
static void swap_out(uint64_t n) {
  struct mpg_stack_stats s = {.size = sizeof s};
  for (int i = 0; i < COLLECTIONS_MAX && s.swapped_out < n - n / 100; i++) {
    mpg_gc();
    mpg_stack_stats_read(&s);
  }
  if (s.swapped_out < n - n / 100) work_fail("stacks are not swapped out");
}

static void park_work(void) {
  long n = work_arg("n", 1000000), movable = work_arg("movable", 0);
  work_need_bytes((double) n * (movable ? 5000 : 2150));
  mpg_chan *gate = bench_chan(0, 0);
  double before = work_rss(), tables = work_page_tables();
  int64_t start = work_now();
  mpg_waitgroup_add(&done, (int) n);
  for (long i = 0; i < n; i++) (movable ? go_movable : bench_go)(parked, gate);
  mpg_yield();
  work_print("create_ms", ms_since(start));
  while (arrived < n) mpg_sleep(1000000);
  mpg_sleep(10000000); /* the last of them park */
  if (movable) swap_out((uint64_t) n);
  work_print("bytes", (work_rss() - before) / (double) n);
  work_print("table_bytes", (work_page_tables() - tables) / (double) n);
  work_print("mappings", work_mappings());
  start = work_now();
  mpg_chan_close(gate);
  mpg_waitgroup_wait(&done);
  work_print("wake_ms", ms_since(start));
  work_check(total);
}

/* ---- a lock ---- */

static mpg_mutex lock;
static long locks_each;
static uint64_t counter;

static void locker(void *arg) {
  (void) arg;
  for (long i = 0; i < locks_each; i++) {
    mpg_mutex_lock(&lock);
    counter++;
    mpg_mutex_unlock(&lock);
  }
  mpg_waitgroup_done(&done);
}

/* The floor: both locked operations in line, with nothing around them. */
static double floor_ns(long n) {
  static uint32_t word;
  int64_t start = work_now();
  for (long i = 0; i < n; i++) {
    while (__atomic_fetch_or(&word, 1, __ATOMIC_ACQUIRE) & 1)
      ;
    counter++;
    if (__atomic_fetch_sub(&word, 1, __ATOMIC_RELEASE) != 1)
      work_fail("somebody else has the word");
  }
  return ms_since(start) * 1e6 / (double) n;
}

static void mutex_work(void) {
  long tasks = work_arg("tasks", 8), n = work_arg("n", 8000000);
  locks_each = n / tasks;
  int64_t start = work_now();
  mpg_waitgroup_add(&done, (int) tasks);
  for (long i = 0; i < tasks; i++) bench_go(locker, NULL);
  mpg_waitgroup_wait(&done);
  work_print("ns", ms_since(start) * 1e6 / (double) counter);
  work_check(counter);
  work_print("floor_ns", floor_ns(n / 2));
}

/* ---- quicksort ---- */

#define SORT_ALONE 8192 /* no goroutine for fewer numbers */

struct part {
  uint32_t *lo, *hi;
};

static void sort_part(void *arg) {
  struct part part = *(struct part *) arg;
  while (part.hi - part.lo > SORT_ALONE) {
    uint32_t *middle = sort_split(part.lo, part.hi);
    struct part *upper = mpg_alloc(sizeof *upper);
    *upper = (struct part){middle, part.hi};
    part.hi = middle;
    mpg_waitgroup_add(&done, 1);
    bench_go(sort_part, upper);
  }
  sort_alone(part.lo, part.hi);
  mpg_waitgroup_done(&done);
}

/* Returns: ms. */
static double sort(long n, uint64_t *sum) {
  uint32_t *v = mpg_alloc_noscan((size_t) n * sizeof *v);
  if (!v) work_fail("out of memory");
  sort_fill(v, n);
  struct part all = {v, v + n};
  int64_t start = work_now();
  mpg_waitgroup_add(&done, 1);
  sort_part(&all);
  mpg_waitgroup_wait(&done);
  double ms = ms_since(start);
  for (long i = 0; i < n; i++) sort_sum(sum, v[i]);
  return ms;
}

static void sort_work(void) {
  uint64_t sum = 0;
  work_print("ms", sort(work_arg("n", 10000000), &sum));
  work_check(sum);
}

/* ---- what a trace costs ---- */

/* A round with a trace, or without.  Returns: ms. */
static double trace_round(double (*work)(long n, uint64_t *sum), long n,
                          bool traced, uint64_t *sum) {
  char path[] = "/tmp/mpg-bench-XXXXXX";
  int fd = traced ? mkstemp(path) : -1;
  if (traced && (fd < 0 || mpg_trace_start(path) != 0)) work_fail("no trace");
  double ms = work(n, sum);
  if (!traced) return ms;
  if (mpg_trace_stop() != 0) work_fail("the trace is broken");
  close(fd);
  unlink(path);
  return ms;
}

/* What reading the clock as often would cost, and nothing else: the floor. */
#define READINGS 4 /* an exchange: two who wake somebody, two who park */
#define READ_CHUNKS 50

static uint64_t read_clock(void) {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return (uint64_t) work_now();
#endif
}

static double reading_ns(void) {
  int64_t best = INT64_MAX;
  volatile uint64_t last;
  for (int chunk = 0; chunk < READ_CHUNKS; chunk++) {
    int64_t t = work_now();
    for (int i = 0; i < 1000; i++) last = read_clock();
    t = work_now() - t;
    if (t < best) best = t;
  }
  (void) last;
  return (double) best / 1000;
}

/* Returns: ns of one, without a trace. */
static double trace_print(const char *name,
                          double (*work)(long n, uint64_t *sum), long n,
                          uint64_t *sum) {
  struct work_samples with = {0}, without = {0};
  trace_round(work, n, false, sum); /* warms up */
  for (long i = work_arg("rounds", 9); i > 0; i--) {
    work_add(&without, trace_round(work, n, false, sum));
    work_add(&with, trace_round(work, n, true, sum));
  }
  double ms = work_median(&without), more = work_median(&with) - ms;
  printf("%s_ns=%.6g\n%s_percent=%.6g\n", name, more * 1e6 / (double) n, name,
         more / ms * 100);
  return ms * 1e6 / (double) n;
}

static void trace_work(void) {
  uint64_t sum = 0;
  double ns = trace_print("pingpong", pingpong, work_arg("n", 20000), &sum);
  work_print("floor_percent", READINGS * reading_ns() / ns * 100);
  trace_print("sort", sort, 10 * work_arg("n", 20000), &sum);
  work_check(sum);
}

static const struct work works[] = {
    {"yield", yield_work},   {"spawn", spawn_work}, {"pingpong", pingpong_work},
    {"stream", stream_work}, {"crowd", crowd_work}, {"select", select_work},
    {"skynet", skynet_work}, {"sieve", sieve_work}, {"fib", fib_work},
    {"park", park_work},     {"mutex", mutex_work}, {"sort", sort_work},
    {"trace", trace_work},
};

BENCH_MAIN(works)

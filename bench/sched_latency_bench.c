/* sched_latency_bench.c - how long a goroutine waits for a P: the works of
 * latency_work.h, and
 *
 *   syscall   n system calls through the runtime: ns over raw ones; floor: what
 *             such calls can't do without
 *
 * sleep without loops has a floor, too.
 *
 * Twins: peers/go/latency.go, peers/pthread_sched_latency.c.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "../examples/loops.h"
#include "bench.h"

static mpg_waitgroup done;

static void done_add(int n) { mpg_waitgroup_add(&done, n); }
static void done_one(void) { mpg_waitgroup_done(&done); }
static void done_wait(void) { mpg_waitgroup_wait(&done); }

#define TASK_START(fn, arg) bench_go(fn, arg)
#define TASK_SLEEP(ns) mpg_sleep(ns)
#define TASK_YIELD() mpg_yield()
#define TASK_KERNEL_SLEEP(fn, t) mpg_blocking(fn, t)
#define TASK_LOOP loop_empty
#include "latency_work.h"

/* ---- the floor of a sleep ----
 *
 * A thread that does nothing but sleep, by the call that an idle M sleeps by.
 * In turn with goroutines' sleeps, and the runtime asleep meanwhile. */
#define TURNS 5

struct bare {
  struct work_samples late;
  int64_t length;
  long n;
};

static void bare_sleep(int64_t ns) {
  static uint32_t never;
  struct timespec t = {ns / 1000000000, ns % 1000000000};
  syscall(SYS_futex, &never, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0);
}

static void *bare_sleeps(void *arg) {
  struct bare *b = arg;
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  sleep_often(&b->late, b->length, b->n, bare_sleep);
  return NULL;
}

static void join(void *thread) { pthread_join(*(pthread_t *) thread, NULL); }

static void bare_turn(struct bare *b) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, bare_sleeps, b) != 0)
    work_fail("no thread");
  mpg_sleep(b->n * b->length + b->n * b->length / 4);
  mpg_blocking(join, &thread);
}

static void sleep_and_floor_work(void) {
  long n = work_arg("n", 200);
  struct work_samples late = {0};
  struct bare bare = {.length = SLEEP_NS, .n = n / TURNS};
  if (work_arg("loops", 2) != 0) return sleep_work();
  for (int i = 0; i < TURNS; i++) {
    sleep_often(&late, SLEEP_NS, n / TURNS, task_sleep);
    bare_turn(&bare);
  }
  work_print_samples("late", &late, 1e3);
  work_print_samples("floor", &bare.late, 1e3);
  work_check((uint64_t) n);
}

/* ---- system calls ---- */

static long getppid_raw(void) {
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"((long) SYS_getppid)
                   : "rcx", "r11", "memory");
  return result;
}

/* Batches of raw calls and of calls through the runtime, in turn: whatever
 * makes a while slower makes both slower, and a median leaves out the batches
 * that were interrupted. */
#define BATCH 200

static uint64_t wrong;

static WORK_NOINLINE int64_t raw_batch(long parent) {
  int64_t start = work_now();
  for (int i = 0; i < BATCH; i++) wrong += getppid_raw() != parent;
  return work_now() - start;
}

static WORK_NOINLINE int64_t batch_through(long parent) {
  int64_t start = work_now();
  for (int i = 0; i < BATCH; i++) {
    mpg_syscall_enter();
    wrong += getppid_raw() != parent;
    mpg_syscall_exit();
  }
  return work_now() - start;
}

/* The floor: what nobody can do without who lets others take the P meanwhile
 * and collect: a call before and one after, the registers that the caller may
 * have pointers in put where the collector finds them, the P let go so that
 * both sides see it (a locked instruction) and taken back by another. */
static struct {
  _Alignas(64) uint32_t word;
  _Alignas(64) uintptr_t regs[8];
} protocol;

static WORK_NOINLINE void floor_enter(void) {
#if defined(__x86_64__)
  __asm__ volatile(
      "mov %%r15, %0\n mov %%r14, 8+%0\n mov %%r13, 16+%0\n"
      "mov %%r12, 24+%0\n mov %%rbx, 32+%0\n mov %%rbp, 40+%0\n"
      "mov %%rsp, 48+%0"
      : "=o"(protocol.regs));
#endif
  __atomic_exchange_n(&protocol.word, 1, __ATOMIC_SEQ_CST);
}

static WORK_NOINLINE void floor_exit(void) {
  uint32_t is = 1;
  if (!__atomic_compare_exchange_n(&protocol.word, &is, 0, false,
                                   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
    wrong++;
}

static WORK_NOINLINE int64_t floor_batch(long parent) {
  int64_t start = work_now();
  for (int i = 0; i < BATCH; i++) {
    floor_enter();
    wrong += getppid_raw() != parent;
    floor_exit();
  }
  return work_now() - start;
}

static void syscall_work(void) {
  long parent = getppid_raw(), batches = work_arg("n", 2000000) / BATCH;
  struct work_samples raw = {0}, extra = {0}, least = {0};
  for (long i = 0; i < batches; i++) {
    int64_t first = raw_batch(parent), bare = floor_batch(parent),
            through = batch_through(parent);
    work_add(&raw, (double) first / BATCH);
    work_add(&least, (double) (bare - first) / BATCH);
    work_add(&extra, (double) (through - first) / BATCH);
  }
  work_print("raw_ns", work_median(&raw));
  work_print("extra_ns", work_median(&extra));
  work_print("floor_ns", work_median(&least));
  work_check(wrong);
}

static const struct work works[] = {
    {"sleep", sleep_and_floor_work}, {"fair", fair_work},
    {"share", share_work},           {"blocking", blocking_work},
    {"syscall", syscall_work},
};

BENCH_MAIN(works)

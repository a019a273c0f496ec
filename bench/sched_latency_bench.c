/* sched_latency_bench.c - how long a goroutine waits for a P: the works of
 * latency_work.h, and
 *
 *   syscall   n system calls through the runtime: ns over raw ones
 *
 * Twins: peers/go/latency.go, peers/pthread_sched_latency.c.
 */
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

static void syscall_work(void) {
  long parent = getppid_raw(), batches = work_arg("n", 2000000) / BATCH;
  struct work_samples raw = {0}, extra = {0};
  for (long i = 0; i < batches; i++) {
    int64_t first = raw_batch(parent), through = batch_through(parent);
    work_add(&raw, (double) first / BATCH);
    work_add(&extra, (double) (through - first) / BATCH);
  }
  work_print("raw_ns", work_median(&raw));
  work_print("extra_ns", work_median(&extra));
  work_check(wrong);
}

static const struct work works[] = {
    {"sleep", sleep_work},     {"fair", fair_work},
    {"share", share_work},     {"blocking", blocking_work},
    {"syscall", syscall_work},
};

BENCH_MAIN(works)

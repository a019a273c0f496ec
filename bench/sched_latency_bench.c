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

static void syscall_work(void) {
  long n = work_arg("n", 2000000);
  uint64_t wrong = 0;
  long parent = getppid_raw();
  int64_t start = work_now();
  for (long i = 0; i < n; i++) wrong += getppid_raw() != parent;
  int64_t middle = work_now();
  for (long i = 0; i < n; i++) {
    mpg_syscall_enter();
    wrong += getppid_raw() != parent;
    mpg_syscall_exit();
  }
  int64_t end = work_now();
  work_print("raw_ns", (double) (middle - start) / (double) n);
  work_print("extra_ns",
             (double) ((end - middle) - (middle - start)) / (double) n);
  work_check(wrong);
}

static const struct work works[] = {
    {"sleep", sleep_work},     {"fair", fair_work},
    {"share", share_work},     {"blocking", blocking_work},
    {"syscall", syscall_work},
};

BENCH_MAIN(works)

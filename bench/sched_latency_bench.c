/* sched_latency_bench.c - how long a goroutine waits for a P.
 *
 *   sleep     n sleeps of us beside loops that never call anything: how late
 *   fair      n yields of main beside such loops: the wait of each
 *   blocking  tasks goroutines in a system call of 10 ms each, and a busy one:
 *             ms altogether, longest gap of the busy one
 *   syscall   n system calls through the runtime: ns over raw ones
 *
 * Twins: peers/go/latency.go, peers/pthread_sched_latency.c.
 */
#include <sys/syscall.h>

#include "../examples/loops.h"
#include "bench.h"

/* Loops that end with the program. */
static void start_loops(long n) {
  for (long i = 0; i < n; i++) bench_go(loops_find("empty")->fn, NULL);
  while (atomic_load(&loops_started) < n) mpg_sleep(100000);
}

static void sleep_work(void) {
  int64_t length = work_arg("us", 1000) * 1000;
  long n = work_arg("n", 200);
  struct work_samples late = {0};
  start_loops(work_arg("loops", 2));
  for (long i = 0; i < n; i++) {
    int64_t due = work_now() + length;
    mpg_sleep(length);
    work_add(&late, (double) (work_now() - due));
  }
  work_print_samples("late", &late, 1e3);
  work_check((uint64_t) n);
}

static void fair_work(void) {
  long n = work_arg("n", 50);
  struct work_samples wait = {0};
  start_loops(work_arg("loops", 1));
  for (long i = 0; i < n; i++) {
    int64_t start = work_now();
    mpg_yield();
    work_add(&wait, (double) (work_now() - start));
  }
  work_print_samples("wait", &wait, 1e6);
  work_check((uint64_t) n);
}

/* ---- system calls ---- */

static mpg_waitgroup done;
static _Atomic int over;
static double longest_gap;

static void busy(void *arg) {
  (void) arg;
  for (int64_t last = work_now(); !over;) {
    int64_t now = work_now();
    if ((double) (now - last) > longest_gap)
      longest_gap = (double) (now - last);
    last = now;
  }
  mpg_waitgroup_done(&done);
}

static void kernel_sleep(void *arg) {
  struct timespec t = {0, (intptr_t) arg};
  nanosleep(&t, NULL);
}

static void blocked(void *ns) {
  mpg_blocking(kernel_sleep, ns);
  mpg_waitgroup_done(&done);
}

static void blocking_work(void) {
  long tasks = work_arg("tasks", 1000), ms = work_arg("ms", 10);
  bench_go(busy, NULL);
  int64_t start = work_now();
  mpg_waitgroup_add(&done, (int) tasks);
  for (long i = 0; i < tasks; i++) bench_go(blocked, (void *) (ms * 1000000));
  mpg_waitgroup_wait(&done);
  work_print("total_ms", (double) (work_now() - start) / 1e6);
  mpg_waitgroup_add(&done, 1);
  over = 1;
  mpg_waitgroup_wait(&done);
  work_print("gap_ms", longest_gap / 1e6);
  work_check((uint64_t) tasks);
}

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
    {"sleep", sleep_work},
    {"fair", fair_work},
    {"blocking", blocking_work},
    {"syscall", syscall_work},
};

BENCH_MAIN(works)

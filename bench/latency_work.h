/* latency_work.h - how long a task waits for a CPU; a task is a goroutine or a
 * kernel thread.
 *
 * The includer defines, before including it:
 *   TASK_START(fn, arg)       a task that runs fn(arg), a void (*)(void *)
 *   TASK_SLEEP(ns)            lets other tasks run meanwhile
 *   TASK_YIELD()
 *   TASK_KERNEL_SLEEP(fn, t)  fn(t), which sleeps in the kernel
 *   TASK_LOOP                 a task's function that loops and calls nothing,
 *                             after adding one to loops_started
 *   done_add(n), done_one(), done_wait()   a wait group
 *
 *   sleep     n sleeps of us beside loops that never call anything: how late
 *   fair      n yields of main beside such loops: the wait of each
 *   share     tasks tasks count for ms: how evenly they got the CPUs, as Jain's
 *             index (1: all the same) and the least over the mean
 *   blocking  tasks tasks in a system call of 10 ms each, and a busy one:
 *             ms altogether, longest gap of the busy one
 */
#ifndef BENCH_LATENCY_WORK_H
#define BENCH_LATENCY_WORK_H

#include <stdatomic.h>

#include "work.h"

/* Loops that end with the program. */
static void start_loops(long n) {
  for (long i = 0; i < n; i++) TASK_START(TASK_LOOP, NULL);
  while (atomic_load(&loops_started) < n) TASK_SLEEP(100000);
}

static void task_sleep(int64_t ns) { TASK_SLEEP(ns); }

static void sleep_often(struct work_samples *late, int64_t length, long n,
                        void (*sleep_ns)(int64_t ns)) {
  for (long i = 0; i < n; i++) {
    int64_t due = work_now() + length;
    sleep_ns(length);
    work_add(late, (double) (work_now() - due));
  }
}

#define SLEEP_NS (work_arg("us", 1000) * 1000)

WORK_UNUSED static void sleep_work(void) {
  long n = work_arg("n", 200);
  struct work_samples late = {0};
  start_loops(work_arg("loops", 2));
  sleep_often(&late, SLEEP_NS, n, task_sleep);
  work_print_samples("late", &late, 1e3);
  work_check((uint64_t) n);
}

static void fair_work(void) {
  long n = work_arg("n", 50);
  struct work_samples wait = {0};
  start_loops(work_arg("loops", 1));
  for (long i = 0; i < n; i++) {
    int64_t start = work_now();
    TASK_YIELD();
    work_add(&wait, (double) (work_now() - start));
  }
  work_print_samples("wait", &wait, 1e6);
  work_check((uint64_t) n);
}

/* ---- shares ---- */

struct counter {
  volatile uint64_t n;
  char pad[120]; /* no neighbour in its cache lines */
};

static void count_for_ever(void *arg) {
  struct counter *c = arg;
  for (;;) c->n++;
}

static void share_work(void) {
  long tasks = work_arg("tasks", 8);
  struct counter *c = calloc((size_t) tasks, sizeof *c);
  double sum = 0, squares = 0, least = 0;
  if (!c) work_fail("out of memory");
  for (long i = 0; i < tasks; i++) TASK_START(count_for_ever, &c[i]);
  TASK_SLEEP(work_arg("ms", 30000) * 1000000);
  for (long i = 0; i < tasks; i++) {
    double n = (double) c[i].n;
    sum += n;
    squares += n * n;
    if (i == 0 || n < least) least = n;
  }
  work_print("index", sum * sum / ((double) tasks * squares));
  work_print("least", least * (double) tasks / sum);
  work_check((uint64_t) tasks);
}

/* ---- system calls ---- */

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
  done_one();
}

static void kernel_sleep(void *ns) {
  struct timespec t = {(intptr_t) ns / 1000000000, (intptr_t) ns % 1000000000};
  nanosleep(&t, NULL);
}

static void blocked(void *ns) {
  TASK_KERNEL_SLEEP(kernel_sleep, ns);
  done_one();
}

static void blocking_work(void) {
  long tasks = work_arg("tasks", 1000), ms = work_arg("ms", 10);
  TASK_START(busy, NULL);
  int64_t start = work_now();
  done_add((int) tasks);
  for (long i = 0; i < tasks; i++) TASK_START(blocked, (void *) (ms * 1000000));
  done_wait();
  work_print("total_ms", (double) (work_now() - start) / 1e6);
  done_add(1);
  over = 1;
  done_wait();
  work_print("gap_ms", longest_gap / 1e6);
  work_check((uint64_t) tasks);
}

#endif /* BENCH_LATENCY_WORK_H */

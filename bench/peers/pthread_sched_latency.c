/* pthread_sched_latency.c - twin of sched_latency_bench.c: kernel threads, on
 * as many CPUs as procs says.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "../work.h"

static atomic_int started, over;
static double longest_gap;

static pthread_t start_thread(void *(*fn)(void *), void *arg) {
  pthread_t t;
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 65536);
  if (pthread_create(&t, &small, fn, arg) != 0) work_fail("no thread");
  pthread_attr_destroy(&small);
  return t;
}

static void *loop(void *arg) {
  started++;
  for (;;) __asm__ volatile("");
  return arg;
}

static void start_loops(long n) {
  for (long i = 0; i < n; i++) start_thread(loop, NULL);
  while (started < n) usleep(100);
}

static void kernel_sleep(int64_t ns) {
  struct timespec t = {ns / 1000000000, ns % 1000000000};
  nanosleep(&t, NULL);
}

static void sleep_work(void) {
  int64_t length = work_arg("us", 1000) * 1000;
  long n = work_arg("n", 200);
  struct work_samples late = {0};
  start_loops(work_arg("loops", 2));
  for (long i = 0; i < n; i++) {
    int64_t due = work_now() + length;
    kernel_sleep(length);
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
    sched_yield();
    work_add(&wait, (double) (work_now() - start));
  }
  work_print_samples("wait", &wait, 1e6);
  work_check((uint64_t) n);
}

static void *busy(void *arg) {
  for (int64_t last = work_now(); !over;) {
    int64_t now = work_now();
    if ((double) (now - last) > longest_gap)
      longest_gap = (double) (now - last);
    last = now;
  }
  return arg;
}

static void *blocked(void *ns) {
  kernel_sleep((intptr_t) ns);
  return NULL;
}

static void blocking_work(void) {
  long tasks = work_arg("tasks", 1000), ms = work_arg("ms", 10);
  pthread_t *threads = calloc((size_t) tasks, sizeof *threads);
  pthread_t other = start_thread(busy, NULL);
  int64_t start = work_now();
  for (long i = 0; i < tasks; i++)
    threads[i] = start_thread(blocked, (void *) (ms * 1000000));
  for (long i = 0; i < tasks; i++) pthread_join(threads[i], NULL);
  work_print("total_ms", (double) (work_now() - start) / 1e6);
  over = 1;
  pthread_join(other, NULL);
  work_print("gap_ms", longest_gap / 1e6);
  work_check((uint64_t) tasks);
}

static const struct work works[] = {
    {"sleep", sleep_work},
    {"fair", fair_work},
    {"blocking", blocking_work},
};

int main(int argc, char **argv) {
  const struct work *work =
      work_find(works, sizeof works / sizeof *works, argc, argv);
  if (!work) return 2;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (long i = 0; i < work_arg("procs", 1); i++) CPU_SET((size_t) i, &cpus);
  sched_setaffinity(0, sizeof cpus, &cpus);
  work->run();
  return 0;
}

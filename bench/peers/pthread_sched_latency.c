/* pthread_sched_latency.c - the works of latency_work.h with kernel threads,
 * on as many CPUs as procs says.
 */
#define _GNU_SOURCE
#include <sched.h>

#include "../threads.h"

static pthread_mutex_t done_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t none_left = PTHREAD_COND_INITIALIZER;
static int tasks_left; /* done_lock */

static void done_add(int n) {
  pthread_mutex_lock(&done_lock);
  tasks_left += n;
  pthread_mutex_unlock(&done_lock);
}

static void done_one(void) {
  pthread_mutex_lock(&done_lock);
  if (--tasks_left == 0) pthread_cond_signal(&none_left);
  pthread_mutex_unlock(&done_lock);
}

static void done_wait(void) {
  pthread_mutex_lock(&done_lock);
  while (tasks_left > 0) pthread_cond_wait(&none_left, &done_lock);
  pthread_mutex_unlock(&done_lock);
}

static void kernel_sleep(void *ns);

#define TASK_START(fn, arg) thread_start(fn, arg)
#define TASK_SLEEP(ns) kernel_sleep((void *) (intptr_t) (ns))
#define TASK_YIELD() sched_yield()
#define TASK_KERNEL_SLEEP(fn, t) fn(t)
#define TASK_LOOP thread_loop
#include "../latency_work.h"

static const struct work works[] = {
    {"sleep", sleep_work},
    {"fair", fair_work},
    {"share", share_work},
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

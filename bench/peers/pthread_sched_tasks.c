/* pthread_sched_tasks.c - twin of sched_tasks_bench.c's mutex: threads on as
 * many CPUs as procs says.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>

#include "../work.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long locks_each;
static uint64_t counter;

static void *locker(void *arg) {
  for (long i = 0; i < locks_each; i++) {
    pthread_mutex_lock(&lock);
    counter++;
    pthread_mutex_unlock(&lock);
  }
  return arg;
}

static void mutex_work(void) {
  pthread_t threads[64];
  long tasks = work_arg("tasks", 8), n = work_arg("n", 8000000);
  locks_each = n / tasks;
  int64_t start = work_now();
  for (long i = 0; i < tasks; i++)
    if (pthread_create(&threads[i], NULL, locker, NULL) != 0)
      work_fail("no thread");
  for (long i = 0; i < tasks; i++) pthread_join(threads[i], NULL);
  work_print("ns", (double) (work_now() - start) / (double) counter);
  work_check(counter);
}

static const struct work works[] = {{"mutex", mutex_work}};

int main(int argc, char **argv) {
  const struct work *work = work_find(works, 1, argc, argv);
  if (!work) return 2;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (long i = 0; i < work_arg("procs", 1); i++) CPU_SET((size_t) i, &cpus);
  sched_setaffinity(0, sizeof cpus, &cpus);
  work->run();
  return 0;
}

/* stw_stop.c - Boehm's twin of stw_stop_bench.c: collections of an empty heap
 * beside threads in a loop.  stop is the time between the collector's events
 * before and after it stops the world.
 */
#define GC_THREADS
#include <gc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../work.h"

static atomic_int started;
static struct work_samples stops, collects;
static int64_t stop_began;

static void *loop(void *arg) {
  started++;
  for (;;) __asm__ volatile("");
  return arg;
}

static void start_loops(long n) {
  pthread_t t;
  for (long i = 0; i < n; i++)
    if (pthread_create(&t, NULL, loop, NULL) != 0) work_fail("no thread");
  while (started < n) usleep(100);
}

/* Called with the world stopped, too: the samples have room already. */
static void GC_CALLBACK on_event(GC_EventType event) {
  if (event == GC_EVENT_PRE_STOP_WORLD) stop_began = work_now();
  if (event == GC_EVENT_POST_STOP_WORLD && stops.n < stops.max)
    stops.v[stops.n++] = (double) (work_now() - stop_began);
}

static void collect_n(long n) {
  stops.max = (size_t) n;
  stops.v = calloc(stops.max, sizeof *stops.v);
  GC_gcollect();
  GC_set_on_collection_event(on_event);
  for (long i = 0; i < n; i++) {
    int64_t start = work_now();
    GC_gcollect();
    work_add(&collects, (double) (work_now() - start));
    usleep((useconds_t) work_arg("us", 500));
  }
}

static void stop_work(void) {
  long n = work_arg("n", 1000);
  start_loops(work_arg("loops", 0));
  collect_n(n);
  work_print_samples("stop", &stops, 1e3);
  work_check((uint64_t) n);
}

static void collect_work(void) {
  long n = work_arg("n", 200);
  start_loops(work_arg("loops", 1));
  collect_n(n);
  work_print_samples("collect", &collects, 1e3);
  work_check((uint64_t) n);
}

static const struct work works[] = {
    {"stop", stop_work},
    {"collect", collect_work},
};

int main(int argc, char **argv) {
  const struct work *work =
      work_find(works, sizeof works / sizeof *works, argc, argv);
  if (!work) return 2;
  GC_set_markers_count((unsigned) work_arg("procs", 1));
  GC_INIT();
  work->run();
  return 0;
}

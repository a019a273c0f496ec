/* gc_mark_bench.c - the works of mark_work.h on mpg's heap, and
 *
 *   stacks  a collection with n parked goroutines, about 1 KiB of stack each
 *
 * Twins: peers/gc_mark.c (Boehm, malloc), peers/roof_gc_mark.c (marking alone),
 * peers/go/mark.go.
 */
#include "heap_mpg.h"

#define HEAP_SLEEP(ns) mpg_sleep(ns)
#define HEAP_AUTOMATIC(on) ((void) mpg_gc_percent((on) ? 100 : -1))

static void heap_pauses_begin(void) { mpg_metric_reset(MPG_METRIC_PAUSE); }

static void heap_pauses_print(void) {
  bench_print_metric("pause", MPG_METRIC_PAUSE, 1e6);
}

#include "mark_work.h"

#define STACK_WORDS 112 /* a little less than 1 KiB with the frames */
#define STACK_COLLECTIONS 5

static mpg_waitgroup parked;

static WORK_NOINLINE void park_deep(mpg_chan *gate) {
  volatile uint64_t frame[STACK_WORDS];
  for (int i = 0; i < STACK_WORDS; i++) frame[i] = (uint64_t) i;
  mpg_waitgroup_done(&parked);
  mpg_chan_recv(gate, NULL);
  frame[0] = frame[1];
}

static void park_one(void *gate) { park_deep(gate); }

static void stacks_work(void) {
  long n = work_arg("n", 10000);
  mpg_chan *gate = bench_chan(0, 0);
  mpg_waitgroup_add(&parked, (int) n);
  for (long i = 0; i < n; i++) bench_go(park_one, gate);
  mpg_waitgroup_wait(&parked);
  mpg_sleep(1000000); /* the last of them park */
  mpg_gc();
  int64_t start = work_now();
  for (int i = 0; i < STACK_COLLECTIONS; i++) mpg_gc();
  work_print("ms", (double) (work_now() - start) / 1e6 / STACK_COLLECTIONS);
  work_check((uint64_t) n);
}

/* interior=0: only starts count among the words of the heap. */
static void graph_of_starts_work(void) {
  mpg_interior_pointers(work_arg("interior", 1) != 0);
  graph_work();
}

static const struct work works[] = {{"graph", graph_of_starts_work},
                                    {"live", live_work},
                                    {"stacks", stacks_work}};

BENCH_MAIN(works)

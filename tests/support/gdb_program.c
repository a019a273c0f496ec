/* gdb_program.c - goroutines for tests/api/gdb_test.sh to look at. */
#include <mpg.h>
#include <stdatomic.h>
#include "noinline.h"

static _Atomic int there;
static mpg_chan *gate;
/* For gdb: numbers come from whatever P a goroutine is started on. */
static volatile int parked_id, loop_id, moved_id;

static NOINLINE void stop_here(void) { __asm__ volatile("" : : : "memory"); }

static NOINLINE int descend(int depth, void (*at_end)(void)) {
  volatile char frame[400];
  frame[0] = (char) depth;
  if (depth == 0) {
    at_end();
    return frame[0];
  }
  return descend(depth - 1, at_end) + frame[0];
}

static NOINLINE void park(void) {
  atomic_fetch_add(&there, 1);
  mpg_chan_recv(gate, NULL);
  __asm__ volatile("" : : : "memory");
}

static void parks_deep(void *arg) {
  (void) arg;
  parked_id = (int) mpg_goid();
  descend(20, park);
  stop_here();
}

/* Its stack is swapped out. */
static void parks_moved(void *arg) {
  (void) arg;
  moved_id = (int) mpg_goid();
  descend(1, park);
  stop_here();
}

static void swap_out(void) {
  struct mpg_stack_stats s = {.size = sizeof s};
  do {
    mpg_gc();
    mpg_stack_stats_read(&s);
  } while (s.swapped_out == 0);
}

static void loops(void *arg) {
  (void) arg;
  loop_id = (int) mpg_goid();
  atomic_fetch_add(&there, 1);
  for (volatile long n = 0;; n++) continue;
}

static void start(void *arg) {
  (void) arg;
  gate = mpg_chan_new(0, 0);
  struct mpg_go_options movable = {.size = sizeof movable,
                                   .flags = MPG_GO_MOVABLE};
  mpg_go(parks_deep, NULL);
  mpg_go_with(&movable, parks_moved, NULL);
  mpg_go(loops, NULL); /* preempted, or on the other P */
  while (atomic_load(&there) < 3) mpg_sleep(1000 * 1000);
  mpg_sleep(1000 * 1000);
  swap_out();
  descend(30, stop_here);
  mpg_yield();
}

int main(int argc, char **argv) {
  (void) argv;
  mpg_gomaxprocs(argc > 1 ? 1 : 2);
  return mpg_run(start, NULL);
}

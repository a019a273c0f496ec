/* sched_migrate_bench.c - what it costs a goroutine to change threads.
 *
 *   migrate  n times two drivers, each busy on a P of its own, wake a hopper
 *            in turn: it runs on the other thread each time, and words of its
 *            stack (deep=1: 32 KiB of it) that point into the old thread's
 *            TLS block are searched for.  The same with one driver that wakes:
 *            the hopper stays.  Printed: ns of a hop of each sort, and the
 *            difference for each move.
 */
#include <sched.h>
#include <stdatomic.h>

#include "bench.h"

#define DEEP_BYTES (32 << 10)

static mpg_sem wake;
static mpg_waitgroup done;
static long hops;
static bool alternate;     /* the drivers take turns */
static _Atomic long turn;  /* hops so far */
static _Atomic long moves; /* of them to another thread */

/* Not its address: that would be made the new thread's, as it should. */
static uintptr_t this_thread(void) {
  uintptr_t self;
  __asm__ volatile("mov %%fs:0, %0\n\tnot %0" : "=r"(self));
  return self;
}

static WORK_NOINLINE void hop_all(void) {
  for (long i = 0; i < hops; i++) {
    uintptr_t before = this_thread();
    mpg_sem_acquire(&wake);
    atomic_fetch_add(&moves, this_thread() != before);
    atomic_fetch_add(&turn, 1);
  }
}

static WORK_NOINLINE void hop_deep(void) {
  volatile char frame[DEEP_BYTES];
  for (size_t i = 0; i < sizeof frame; i += 64) frame[i] = 1;
  hop_all();
  frame[0] = frame[1];
}

static void hopper(void *deep) {
  if (deep)
    hop_deep();
  else
    hop_all();
  mpg_waitgroup_done(&done);
}

static void driver(void *number) {
  long me = (intptr_t) number, t;
  while ((t = atomic_load(&turn)) < hops) {
    if (alternate ? t % 2 != me : me != 0) {
      sched_yield(); /* the other's thread, where there is one CPU for both */
      continue;
    }
    mpg_sem_release(&wake);
    while (atomic_load(&turn) == t) mpg_yield();
  }
  mpg_waitgroup_done(&done);
}

/* Returns: ns of a hop. */
static double run_hops(bool by_turns) {
  alternate = by_turns;
  turn = moves = 0;
  mpg_waitgroup_add(&done, 3);
  bench_go(hopper, (void *) work_arg("deep", 0));
  mpg_yield(); /* it waits */
  int64_t start = work_now();
  for (intptr_t i = 0; i < 2; i++) bench_go(driver, (void *) i);
  mpg_waitgroup_wait(&done);
  return (double) (work_now() - start) / (double) hops;
}

static void migrate_work(void) {
  hops = work_arg("n", 200000);
  double stays = run_hops(false), hopping = run_hops(true);
  double share = (double) moves / (double) hops;
  work_print("stays_ns", stays);
  work_print("moves_ns", hopping);
  work_print("moved", share);
  if (share > 0) work_print("extra_ns", (hopping - stays) / share);
  work_check((uint64_t) hops);
}

static const struct work works[] = {{"migrate", migrate_work}};

BENCH_MAIN(works)

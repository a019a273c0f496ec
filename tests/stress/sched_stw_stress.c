/* sched_stw_stress.c - stop the world as often as possible beside loops of
 * every sort, for several reasons at once.
 *
 * The loops' own results are checked: a loop that computes in registers and
 * in memory must come to the same result however often it is frozen, switched
 * out, or moved to another thread.
 */
#include <math.h>

#include "../../examples/loops.h"
#include "../support/stress.h"

static mpg_waitgroup done;
static _Atomic uint64_t stops, results;

/* Integers, floats, memory and the C library; the same every time. */
static __attribute__((noinline)) uint64_t compute(void) {
  uint64_t x = 1;
  double d = 1.0;
  unsigned char bytes[256];
  for (int i = 0; i < 20000; i++) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    d += sqrt((double) (x >> 40)) / (double) (i + 1);
    bytes[i & 255] = (unsigned char) (x >> 56);
    if (i % 5000 == 0) memset(bytes, i & 0xff, sizeof(bytes));
  }
  uint64_t s = (uint64_t) d;
  for (int i = 0; i < 256; i++) s = s * 31 + bytes[i];
  return s ^ x;
}

static void compute_for_ever(void *arg) {
  uint64_t expected = *(uint64_t *) arg;
  while (!stress_over()) {
    CHECK_EQ(compute(), expected);
    atomic_fetch_add(&results, 1);
  }
  mpg_waitgroup_done(&done);
}

static int by_value(const void *a, const void *b) {
  uint64_t x = *(uint64_t *) a, y = *(uint64_t *) b;
  return (x > y) - (x < y);
}

static void sort_for_ever(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  enum { N = 5000 };
  uint64_t *v = mpg_alloc_noscan(N * sizeof(*v));
  CHECK(v != NULL);
  while (!stress_over()) {
    uint64_t sum = 0;
    for (int i = 0; i < N; i++) sum += v[i] = stress_random(&rng);
    qsort(v, N, sizeof(*v), by_value);
    for (int i = 0; i < N; i++) {
      sum -= v[i];
      CHECK(i == 0 || v[i - 1] <= v[i]);
    }
    CHECK_EQ(sum, 0);
    atomic_fetch_add(&results, 1);
  }
  mpg_waitgroup_done(&done);
}

static void stop_often(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  struct mpg_gc_stats s = {.size = sizeof(s)};
  while (!stress_over()) {
    switch (stress_below(&rng, 8)) {
    case 0: stress_procs(&rng, 6); break;
    case 1: CHECK_EQ(mpg_gc_stats_read(&s), 0); break;
    case 2: mpg_sleep((int64_t) stress_below(&rng, 1000000)); break;
    default: mpg_gc(); break;
    }
    atomic_fetch_add(&stops, 1);
  }
  mpg_waitgroup_done(&done);
}

/* For seconds, perhaps the only one.  A sanitizer's memset is foreign code of
 * no known sort. */
static bool keeps_its_p(mpg_func loop) {
  if (check_switch("asyncpreemptoff"))
    return loop != loop_calls && loop != loop_syscall;
#if defined(MPG_SANITIZED)
  if (loop == loop_memset) return true;
#endif
  return loop == loop_read;
}

static void start(void *arg) {
  (void) arg;
  static uint64_t expected;
  int loops = 0;
  mpg_gomaxprocs(stress.procs ? (int) stress.procs : 4);
  CHECK_EQ(loops_open(), 0);
  expected = compute();
  for (int i = 0; i < LOOP_KINDS; i++) {
    if (!loops_usable(&loop_kinds[i])) continue;
    if (keeps_its_p(loop_kinds[i].fn)) continue;
    CHECK_GO(loop_kinds[i].fn, NULL);
    loops++;
  }
  mpg_waitgroup_add(&done, 6);
  for (int i = 0; i < 2; i++) CHECK_GO(compute_for_ever, &expected);
  for (uintptr_t i = 0; i < 2; i++) CHECK_GO(sort_for_ever, (void *) i);
  for (uintptr_t i = 0; i < 2; i++) CHECK_GO(stop_often, (void *) (i + 9));
  mpg_waitgroup_wait(&done);
  loops_close(loops);
  CHECK_GT(atomic_load(&stops), 0);
  CHECK_GT(atomic_load(&results), 0);
}

int main(int argc, char **argv) { return stress_main(argc, argv, start); }

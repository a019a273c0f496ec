/* gc_overshoot_test.c - goroutines that allocate in parallel don't outrun a
 * collection whose thread waits for a CPU.
 */
#include "../support/check.h"

#define MIB ((size_t) 1 << 20)
#define WORKERS 8
#define OBJECTS 60000

static mpg_waitgroup working;
static _Atomic uint64_t most_live, highest_goal;

static void raise_to(_Atomic uint64_t *most, uint64_t value) {
  uint64_t seen = atomic_load(most);
  while (value > seen && !atomic_compare_exchange_weak(most, &seen, value))
    continue;
}

static void look(void) {
  struct mpg_gc_stats s = {.size = sizeof(s)};
  CHECK_EQ(mpg_gc_stats_read(&s), 0);
  raise_to(&most_live, s.heap_live);
  raise_to(&highest_goal, s.heap_goal);
}

static void work(void *arg) {
  (void) arg;
  for (int i = 0; i < OBJECTS; i++) {
    char *p = mpg_alloc_noscan(500);
    CHECK(p != NULL);
    p[0] = 1;
    if (i % 500 == 0) look();
  }
  mpg_waitgroup_done(&working);
}

/* 240 MB pass through a heap with a goal of 4 MiB; the goal may be exceeded
 * by a quarter, by what waits in caches, and by stacks that are scanned.  It
 * is higher in a program with megabytes of globals, roots: a sanitizer's. */
static void heap_stays_near_its_goal(void *arg) {
  (void) arg;
  mpg_gomaxprocs(WORKERS); /* more threads than CPUs */
  mpg_waitgroup_add(&working, WORKERS);
  for (int i = 0; i < WORKERS; i++) CHECK_GO(work, NULL);
  mpg_waitgroup_wait(&working);
  uint64_t goal = atomic_load(&highest_goal);
  CHECK_LE(goal, 40 * MIB);
  CHECK_LE(atomic_load(&most_live), goal + goal / 4 + 5 * MIB);
}

static const struct check_case cases[] = {
    INSIDE(heap_stays_near_its_goal),
};

int main(int argc, char **argv) {
  return check_cases(cases, sizeof(cases) / sizeof(cases[0]), argc, argv, 60);
}

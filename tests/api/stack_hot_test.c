/* stack_hot_test.c - calls across boundaries in turn.
 *
 * The switch to the next segment remembers the one it went to last time
 * (morestack.S).  Here that one is another boundary's, or was given back
 * meanwhile and is somebody else's now, or comes again at another place.
 */
#include "../support/check.h"

#define DEPTH 150
#define GOROUTINES 16
#define ROUNDS 6

static mpg_waitgroup done;

static __attribute__((noinline)) uint64_t leaf(uint64_t x) {
  volatile uint64_t frame[24];
  for (int i = 0; i < 24; i++) frame[i] = x + (uint64_t) i;
  return frame[x % 24] - x % 24;
}

/* Of this depth: a leaf on the way down, others on the way back. */
static __attribute__((noinline)) uint64_t down(uint64_t depth, int every) {
  volatile uint64_t mine = depth;
  uint64_t sum = leaf(depth);
  if (every && depth % (uint64_t) every == 0) mpg_yield();
  if (depth) sum += down(depth - 1, every);
  for (int i = 0; i < 3; i++) sum += leaf(depth + 1) - depth - 1;
  CHECK_EQ(mine, depth);
  return sum + leaf(depth);
}

static void check_down(uint64_t depth, int every) {
  CHECK_EQ(down(depth, every), depth * (depth + 1));
}

static void every_boundary_in_turn(void *arg) {
  (void) arg;
  for (uint64_t depth = 1; depth <= DEPTH; depth++) check_down(depth, 0);
  for (uint64_t depth = DEPTH; depth > 0; depth--) check_down(depth, 0);
}

static void go_down(void *arg) {
  for (int round = 0; round < ROUNDS; round++) {
    check_down(DEPTH - 7 * (uint64_t) (intptr_t) arg, 1 + round);
    mpg_yield(); /* somebody else takes what was given back */
    check_down(3, 1);
  }
  mpg_waitgroup_done(&done);
}

/* Segments go from one goroutine to another, and collections take those that
 * are not in use. */
static void segments_change_hands(void *arg) {
  (void) arg;
  for (int procs = 1; procs <= 4; procs *= 2) {
    mpg_gomaxprocs(procs);
    mpg_waitgroup_add(&done, GOROUTINES);
    for (intptr_t i = 0; i < GOROUTINES; i++) CHECK_GO(go_down, (void *) i);
    for (int i = 0; i < 5; i++) {
      mpg_gc();
      mpg_yield();
    }
    mpg_waitgroup_wait(&done);
  }
}

static const struct check_case cases[] = {
    INSIDE(every_boundary_in_turn),
    INSIDE(segments_change_hands),
};

CHECK_MAIN(cases, 20)

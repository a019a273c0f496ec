/* stack_recursion_stress.c - deep and shallow recursion through segments,
 * with pointers in the frames and collections meanwhile.
 *
 * Every frame holds an object that nothing else refers to, and checks it on
 * the way out.  Frames of several sizes, many arguments, arguments by value
 * on the stack, the C library at the bottom (a 16 KiB segment), and parking
 * at any depth, so that the goroutine continues on another thread.
 */
#include "../support/stress.h"

#define GOROUTINES 12

struct box {
  uint64_t value;
  struct box *self;
};
struct by_value {
  struct box *box[12];
  uint64_t sum;
};

static mpg_waitgroup done;
static _Atomic uint64_t frames;

static struct box *box_new(uint64_t value) {
  struct box *b = mpg_alloc(sizeof(*b));
  CHECK(b != NULL);
  *b = (struct box){value, b};
  return b;
}

static void box_check(const struct box *b, uint64_t value) {
  CHECK(b->self == b);
  CHECK_EQ(b->value, value);
}

/* What a goroutine does at the bottom. */
static void at_bottom(uint64_t *rng) {
  char text[64];
  switch (stress_below(rng, 6)) {
  case 0: mpg_yield(); break;
  case 1: mpg_sleep(1000); break;
  case 2: mpg_gc(); break;
  case 3:
    snprintf(text, sizeof(text), "%d %s %.3f", 42, "text", 1.5);
    CHECK(strcmp(text, "42 text 1.500") == 0);
    break;
  case 4:
    for (int i = 0; i < 500; i++) box_check(box_new(7), 7);
    break;
  default: break;
  }
}

static uint64_t descend(uint64_t *rng, int depth);

static __attribute__((noinline)) uint64_t small_frame(uint64_t *rng,
                                                      int depth) {
  struct box *b = box_new((uint64_t) depth);
  uint64_t n = descend(rng, depth - 1);
  box_check(b, (uint64_t) depth);
  return n + 1;
}

static __attribute__((noinline)) uint64_t large_frame(uint64_t *rng,
                                                      int depth) {
  struct box *volatile b[200] = {0};
  size_t at = stress_below(rng, 200);
  b[at] = box_new((uint64_t) depth);
  uint64_t n = descend(rng, depth - 1);
  box_check(b[at], (uint64_t) depth);
  return n + 1;
}

static __attribute__((noinline)) uint64_t huge_frame(uint64_t *rng, int depth) {
  volatile char waste[20000];
  struct box *b = box_new((uint64_t) depth);
  size_t at = stress_below(rng, sizeof(waste));
  waste[at] = (char) depth;
  uint64_t n = descend(rng, depth - 1);
  CHECK_EQ(waste[at], (char) depth);
  box_check(b, (uint64_t) depth);
  return n + 1;
}

static __attribute__((noinline)) uint64_t many_arguments(
    uint64_t *rng, int depth, struct box *a, struct box *b, struct box *c,
    struct box *d, struct box *e, struct box *f, double x, double y) {
  uint64_t n = descend(rng, depth - 1);
  box_check(a, 1);
  box_check(b, 2);
  box_check(c, 3);
  box_check(d, 4);
  box_check(e, 5);
  box_check(f, 6);
  CHECK(x == 0.25 && y == 0.5);
  return n + 1;
}

static __attribute__((noinline)) uint64_t value_argument(uint64_t *rng,
                                                         int depth,
                                                         struct by_value v) {
  uint64_t n = descend(rng, depth - 1);
  for (uint64_t i = 0; i < 12; i++) box_check(v.box[i], i);
  CHECK_EQ(v.sum, 66);
  return n + 1;
}

static __attribute__((noinline)) struct by_value value_result(uint64_t *rng,
                                                              int depth) {
  struct by_value v;
  for (uint64_t i = 0; i < 12; i++) v.box[i] = box_new(i);
  v.sum = descend(rng, depth - 1);
  return v;
}

static uint64_t call_value_argument(uint64_t *rng, int depth) {
  struct by_value v = {.sum = 66};
  for (uint64_t i = 0; i < 12; i++) v.box[i] = box_new(i);
  return value_argument(rng, depth, v);
}

static uint64_t call_value_result(uint64_t *rng, int depth) {
  struct by_value v = value_result(rng, depth);
  for (uint64_t i = 0; i < 12; i++) box_check(v.box[i], i);
  return v.sum + 1;
}

/* Returns: the number of calls below.  When time is up those that are left
 * count as made: with a collection at every 20th allocation one descent to
 * 4576 took 27 s on a busy machine. */
static uint64_t descend(uint64_t *rng, int depth) {
  if (depth <= 0) {
    at_bottom(rng);
    return 0;
  }
  if (depth % 32 == 0 && stress_over()) return (uint64_t) depth;
  switch (stress_below(rng, 12)) {
  case 0: return large_frame(rng, depth);
  case 1: return depth % 4 ? small_frame(rng, depth) : huge_frame(rng, depth);
  case 2:
    return many_arguments(rng, depth, box_new(1), box_new(2), box_new(3),
                          box_new(4), box_new(5), box_new(6), 0.25, 0.5);
  case 3: return call_value_argument(rng, depth);
  case 4: return call_value_result(rng, depth);
  default: return small_frame(rng, depth);
  }
}

static void recurse(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  while (!stress_over()) {
    int depth = (int) stress_below(&rng, 8);
    if (stress_below(&rng, 4) == 0) depth = (int) stress_below(&rng, 300);
    if (stress_below(&rng, 200) == 0) depth = (int) stress_below(&rng, 5000);
    CHECK_EQ(descend(&rng, depth), depth);
    atomic_fetch_add(&frames, (uint64_t) depth);
  }
  mpg_waitgroup_done(&done);
}

static void start(void *arg) {
  (void) arg;
  uint64_t rng = stress_seed(0);
  mpg_gomaxprocs(stress.procs ? (int) stress.procs : 3);
  mpg_waitgroup_add(&done, GOROUTINES);
  struct mpg_go_options movable = {.size = sizeof(movable),
                                   .flags = MPG_GO_MOVABLE};
  for (uintptr_t i = 1; i <= GOROUTINES; i++)
    if (i % 2)
      CHECK_GO(recurse, (void *) i);
    else
      CHECK_EQ(mpg_go_with(&movable, recurse, (void *) i), 0);
  while (!stress_over()) {
    mpg_gc();
    if (stress_below(&rng, 20) == 0) stress_procs(&rng, 4);
    mpg_sleep(500000);
  }
  mpg_waitgroup_wait(&done);
  CHECK_GT(atomic_load(&frames), 1000);
}

int main(int argc, char **argv) { return stress_main(argc, argv, start); }

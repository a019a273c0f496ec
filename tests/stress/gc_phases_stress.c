/* gc_phases_stress.c - one collection after the other, with a heap that is
 * just large enough to call helpers.
 *
 * Many marking phases begin while threads of the last one have not left yet,
 * or come only now.  A forest of binary trees with a checksum in every node is
 * replaced bit by bit by one goroutine, which collects in between; the other
 * Ps are idle or run loops, so helpers are the collector's own threads and
 * stopped ones.  A node that was freed too early has a wrong checksum.
 */
#include "../../examples/loops.h"
#include "../support/stress.h"

#define TREES 64
#define DEPTH 9 /* 64 * 511 nodes of 48 bytes: 1.5 MB */
#define CHECK_EVERY 8

struct node {
  struct node *left, *right;
  uint64_t number, sum, inverse;
};

static struct node *forest[TREES]; /* a root */
static mpg_waitgroup loops;
static _Atomic bool over;

static struct node *tree_new(int depth, uint64_t *rng) {
  if (depth == 0) return NULL;
  struct node *n = mpg_alloc(sizeof *n);
  CHECK(n != NULL);
  n->number = stress_random(rng);
  n->sum = n->number * 0x9e3779b97f4a7c15u;
  n->inverse = ~n->number;
  n->left = tree_new(depth - 1, rng);
  n->right = tree_new(depth - 1, rng);
  return n;
}

static uint64_t tree_check(const struct node *n) {
  if (!n) return 0;
  CHECK_EQ(n->sum, n->number * 0x9e3779b97f4a7c15u);
  CHECK_EQ(n->inverse, ~n->number);
  return 1 + tree_check(n->left) + tree_check(n->right);
}

static void forest_check(void) {
  for (int i = 0; i < TREES; i++)
    CHECK_EQ(tree_check(forest[i]), (1u << DEPTH) - 1);
}

/* Now and then a P is busy when the world stops. */
static void run_loop(void *arg) {
  uint64_t rng = (uint64_t) (uintptr_t) arg;
  while (!over) {
    mpg_sleep((int64_t) stress_below(&rng, 3000000));
    for (uint64_t n = stress_below(&rng, 3); n > 0; n--) loops_leaf(100000);
  }
  mpg_waitgroup_done(&loops);
}

static void start(void *arg) {
  (void) arg;
  uint64_t rng = stress_seed(0);
  for (int i = 0; i < TREES; i++) forest[i] = tree_new(DEPTH, &rng);
  mpg_waitgroup_add(&loops, 1);
  mpg_go(run_loop, (void *) (uintptr_t) stress_seed(1));
  for (int n = 1; !stress_over(); n++) {
    stress_procs(&rng, 4);
    forest[stress_below(&rng, TREES)] = tree_new(DEPTH, &rng);
    mpg_gc();
    if (n % CHECK_EVERY == 0) forest_check();
  }
  over = true;
  mpg_waitgroup_wait(&loops);
  forest_check();
}

int main(int argc, char **argv) { return stress_main(argc, argv, start); }

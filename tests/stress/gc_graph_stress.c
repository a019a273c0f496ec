/* gc_graph_stress.c - a random graph that changes, with checksums.
 *
 * Nodes of random sizes and kinds, each with a checksum over its number, its
 * payload and its edges' targets.  Goroutines change edges of a shared graph
 * under per-slot locks (whatever becomes unreachable is garbage), walk from
 * random nodes, and check what they meet; each has a private graph, too,
 * reached only from its stack.
 */
#include "../support/stress.h"

#define SLOTS 512
#define GOROUTINES 8
#define EDGES_MAX 6

struct node {
  uint64_t number, sum;
  uint32_t nedges, bytes;
  unsigned char *payload; /* noscan */
  struct node *edge[];
};

static struct slot {
  mpg_mutex lock;
  struct node *node;
} slots[SLOTS]; /* the shared graph's entries: a root */

static mpg_waitgroup done;
static _Atomic uint64_t numbers, walked;

static uint64_t node_sum(const struct node *n) {
  uint64_t s = n->number * 0x9e3779b97f4a7c15u + n->bytes;
  for (uint32_t i = 0; i < n->bytes; i++) s = s * 33 + n->payload[i];
  return s + n->nedges;
}

static struct node *node_new(uint64_t *rng) {
  uint32_t nedges = (uint32_t) stress_below(rng, EDGES_MAX + 1);
  uint32_t bytes = (uint32_t) stress_below(rng, 300);
  struct node *n = mpg_alloc(sizeof(*n) + nedges * sizeof(n->edge[0]));
  CHECK(n != NULL);
  n->number = atomic_fetch_add(&numbers, 1);
  n->nedges = nedges;
  n->bytes = bytes;
  n->payload = mpg_alloc_noscan(bytes);
  CHECK(n->payload != NULL);
  memset(n->payload, (int) n->number, bytes);
  n->sum = node_sum(n);
  return n;
}

static void node_check(const struct node *n) {
  CHECK_LE(n->nedges, EDGES_MAX);
  CHECK(node_sum(n) == n->sum);
  CHECK_GE(mpg_alloc_size(n), sizeof(*n));
}

/* An entry, read under its lock. */
static struct node *entry(uint64_t *rng) {
  struct slot *s = &slots[stress_below(rng, SLOTS)];
  mpg_mutex_lock(&s->lock);
  struct node *n = s->node;
  mpg_mutex_unlock(&s->lock);
  return n;
}

/* Edges are read and written while others do the same: atomically. */
static struct node *follow(const struct node *n, uint32_t i) {
  return __atomic_load_n(&n->edge[i], __ATOMIC_ACQUIRE);
}

static void walk(uint64_t *rng, const struct node *n) {
  for (int steps = 0; n && steps < 50; steps++) {
    node_check(n);
    atomic_fetch_add(&walked, 1);
    if (n->nedges == 0) return;
    n = follow(n, (uint32_t) stress_below(rng, n->nedges));
  }
}

static void replace_entry(uint64_t *rng) {
  struct node *n = node_new(rng);
  for (uint32_t i = 0; i < n->nedges; i++) n->edge[i] = entry(rng);
  struct slot *s = &slots[stress_below(rng, SLOTS)];
  mpg_mutex_lock(&s->lock);
  s->node = n;
  mpg_mutex_unlock(&s->lock);
}

/* NULL edges cut chains, so that the reachable part stays bounded. */
static void change_edge(uint64_t *rng) {
  struct node *from = entry(rng);
  if (!from || from->nedges == 0) return;
  struct node *to = stress_below(rng, 3) ? entry(rng) : NULL;
  __atomic_store_n(&from->edge[stress_below(rng, from->nedges)], to,
                   __ATOMIC_RELEASE);
}

/* A tree that only this function's stack refers to. */
static void private_tree(uint64_t *rng, int depth) {
  struct node *n = node_new(rng);
  if (depth > 0)
    for (uint32_t i = 0; i < 2; i++) private_tree(rng, depth - 1);
  if (stress_below(rng, 64) == 0) mpg_yield();
  node_check(n);
}

static void mutate(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  while (!stress_over()) {
    switch (stress_below(&rng, 8)) {
    case 0:
    case 1: replace_entry(&rng); break;
    case 2:
    case 3:
    case 4: change_edge(&rng); break;
    case 5: private_tree(&rng, (int) stress_below(&rng, 8)); break;
    default: walk(&rng, entry(&rng)); break;
    }
  }
  mpg_waitgroup_done(&done);
}

static void start(void *arg) {
  (void) arg;
  uint64_t rng = stress_seed(0);
  mpg_gomaxprocs(stress.procs ? (int) stress.procs : 4);
  for (int i = 0; i < SLOTS; i++) slots[i].node = node_new(&rng);
  mpg_waitgroup_add(&done, GOROUTINES);
  for (uintptr_t i = 1; i <= GOROUTINES; i++) CHECK_GO(mutate, (void *) i);
  while (!stress_over()) {
    if (stress_below(&rng, 4) == 0) mpg_gc();
    if (stress_below(&rng, 16) == 0) stress_procs(&rng, 4);
    mpg_sleep(1000000);
  }
  mpg_waitgroup_wait(&done);
  for (int i = 0; i < SLOTS; i++) node_check(slots[i].node);
  CHECK_GT(atomic_load(&walked), 0);
}

int main(int argc, char **argv) { return stress_main(argc, argv, start); }

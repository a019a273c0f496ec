/* gc_all_stress.c - the whole collector against a shadow model.
 *
 * Each of several goroutines has a graph in the heap and its shadow in malloc
 * memory, which names objects by number and hidden address: what kind each is,
 * where its edges lead, which root slots lead to it. It makes, links, unlinks,
 * resizes and frees objects of every kind at random, and checks
 *   that everything the shadow says is reachable is whole (number, checksum,
 *     edges, payload), and its weak reference isn't cleared
 *   that a finalizer and the cleanup queue get objects that the shadow says are
 *     unreachable, whole and once
 *   that at the end nearly all unreachable objects have been reclaimed.
 * Meanwhile the number of Ps and the sampling rate change, memory is given
 * back, and collections are forced.
 *
 * Run without MPG_DEBUG it sets preemptall and gcverify itself, and on fixed
 * stacks clobberfree: then freed cells don't lie in magazines, to be handed out
 * again, which they do in the other flavours.
 */
#include "../support/hide.h"
#include "../support/stress.h"

#ifdef MPG_SPLIT_STACK
#define DEBUG "preemptall=1,gcverify=1"
#else
#define DEBUG "preemptall=1,gcverify=1,clobberfree=1"
#endif
#define GOROUTINES 6
#define SHADOWS 300
#define ROOTS 12
#define EDGES 3
#define GRAVES 4096
#define BACKLOG 10000

enum kind {
  SCAN,  /* edges lead anywhere into their targets */
  TYPED, /* with words that aren't edges and look like some */
  LARGE, /* edges at its end */
  ALIGNED,
  LEAF, /* noscan */
  ROOT, /* kept until it is freed */
  KINDS
};

/* An object: head, decoys, payload, edges at the end of `bytes`. */
struct head {
  uint64_t number, check;
  void *decoy; /* SCAN: NULL; TYPED: not looked at by the collector */
};

struct shadow {
  uint64_t number; /* 0: none */
  hidden addr;
  enum kind kind;
  size_t bytes;
  int edge[EDGES]; /* index of a shadow, or -1 */
  bool wanted;     /* by a finalizer or the queue */
  bool reached;
};

struct grave {
  hidden addr;
  uint64_t number;
};

static struct graph {
  mpg_mutex lock; /* finalizers look at the shadow, too */
  uint64_t rng;
  struct shadow *shadow; /* malloc */
  struct grave *grave;   /* malloc; of the last GRAVES objects */
  uint64_t buried;
  int root[ROOTS];
} graphs[GOROUTINES];

/* The heap's view.  Volatile: nobody reads it, so a compiler would leave the
 * stores out. */
static void *volatile roots[GOROUTINES][ROOTS];
static mpg_weak *weaks[GOROUTINES][SHADOWS];
static mpg_cleanup_queue *queue;
static mpg_type *type;
static mpg_waitgroup done, draining;
static _Atomic bool drained;
static _Atomic uint64_t numbers, wanted, finalized, cleaned, checked;

static void **edges_of(void *p, size_t bytes) {
  return (void **) ((char *) p + (bytes & ~(size_t) 7)) - EDGES;
}

static uint64_t check_of(uint64_t number, size_t bytes) {
  return (number + bytes) * 0x9e3779b97f4a7c15u;
}

/* ---- looking ---- */

static void intact(const struct head *p, uint64_t number, size_t bytes) {
  CHECK_EQ(p->number, number);
  CHECK_EQ(p->check, check_of(number, bytes));
  const unsigned char *payload = (const unsigned char *) (p + 1);
  size_t n = bytes - sizeof *p - (EDGES + 1) * 8;
  for (size_t i = 0; i < n; i += 1 + n / 16)
    CHECK_EQ(payload[i], (unsigned char) (number + i));
}

static void reach(struct graph *g, int i) {
  if (i < 0 || g->shadow[i].reached) return;
  g->shadow[i].reached = true;
  for (int e = 0; e < EDGES; e++) reach(g, g->shadow[i].edge[e]);
}

/* What is unreachable is forgotten, but for its grave. */
static void reach_all(struct graph *g) {
  for (int i = 0; i < SHADOWS; i++) g->shadow[i].reached = false;
  for (int r = 0; r < ROOTS; r++) reach(g, g->root[r]);
  for (int i = 0; i < SHADOWS; i++)
    if (g->shadow[i].number && g->shadow[i].kind == ROOT) reach(g, i);
}

static void bury(struct graph *g, int i) {
  struct shadow *s = &g->shadow[i];
  g->grave[g->buried++ % GRAVES] = (struct grave){s->addr, s->number};
  s->number = 0;
  weaks[g - graphs][i] = NULL;
}

static void settle(struct graph *g) {
  reach_all(g);
  for (int i = 0; i < SHADOWS; i++)
    if (g->shadow[i].number && !g->shadow[i].reached) bury(g, i);
}

static __attribute__((noinline)) void look_at(struct graph *g, int i) {
  const struct shadow *s = &g->shadow[i];
  struct head *p = unhide(s->addr);
  intact(p, s->number, s->bytes);
  if (weaks[g - graphs][i]) CHECK(mpg_weak_get(weaks[g - graphs][i]) == p);
  for (int e = 0; e < EDGES && s->kind != LEAF; e++) {
    char *to = edges_of(p, s->bytes)[e];
    CHECK_EQ(to == NULL, s->edge[e] < 0);
    if (to == NULL) continue;
    const struct shadow *t = &g->shadow[s->edge[e]];
    CHECK((uintptr_t) to - (uintptr_t) unhide(t->addr) <= t->bytes);
    intact(unhide(t->addr), t->number, t->bytes);
  }
  atomic_fetch_add(&checked, 1);
}

/* ---- the dead ---- */

/* tag: number * GOROUTINES + graph. */
static void expect_dead(const struct head *p, uintptr_t tag) {
  struct graph *g = &graphs[tag % GOROUTINES];
  CHECK_EQ(p->number, tag / GOROUTINES);
  mpg_mutex_lock(&g->lock);
  reach_all(g);
  for (int i = 0; i < SHADOWS; i++)
    CHECK(g->shadow[i].number != p->number || !g->shadow[i].reached);
  mpg_mutex_unlock(&g->lock);
}

static void finalize(void *obj, void *arg) {
  expect_dead(obj, (uintptr_t) arg);
  ((struct head *) obj)->number = 0; /* once */
  atomic_fetch_add(&finalized, 1);
}

static void drain(void *arg) {
  struct mpg_cleanup c;
  (void) arg;
  while (!atomic_load(&drained)) {
    if (mpg_cleanup_wait(queue, &c, mpg_now() + 10000000) != 0) continue;
    expect_dead(c.obj, (uintptr_t) c.tag);
    ((struct head *) c.obj)->number = 0;
    atomic_fetch_add(&cleaned, 1);
    memset(&c, 0, sizeof c);
  }
  mpg_waitgroup_done(&draining);
}

/* ---- making ---- */

static void *alloc(enum kind kind, size_t bytes, uint64_t *rng) {
  switch (kind) {
  case TYPED: return mpg_alloc_typed(type, 1);
  case ALIGNED:
    return mpg_alloc_aligned(bytes, (size_t) 16 << stress_below(rng, 8));
  case LEAF: return mpg_alloc_noscan(bytes);
  case ROOT: return mpg_alloc_root(bytes);
  default: return mpg_alloc(bytes);
  }
}

#define TYPED_BYTES 120
static size_t random_bytes(enum kind kind, uint64_t *rng) {
  if (kind == TYPED) return TYPED_BYTES;
  if (kind == LARGE) return 40000 + stress_below(rng, 60000);
  return 64 + stress_below(rng, stress_below(rng, 8) ? 200 : 9000);
}

/* An edge may lead anywhere into its target, and to its end. */
static void *somewhere(const struct shadow *t, uint64_t *rng) {
  return (char *) unhide(t->addr) +
         (stress_below(rng, 2) ? 0 : stress_below(rng, t->bytes + 1));
}

static int random_reached(struct graph *g) {
  int at = (int) stress_below(&g->rng, SHADOWS);
  for (int k = 0; k < SHADOWS; k++, at = (at + 1) % SHADOWS)
    if (g->shadow[at].number && g->shadow[at].reached) return at;
  return -1;
}

static void fill(struct graph *g, struct shadow *s, struct head *p) {
  unsigned char *payload = (unsigned char *) (p + 1);
  size_t n = s->bytes - sizeof *p - (EDGES + 1) * 8;
  p->number = s->number;
  p->check = check_of(s->number, s->bytes);
  for (size_t i = 0; i < n; i++) payload[i] = (unsigned char) (s->number + i);
  int decoy = random_reached(g);
  if (s->kind == TYPED && decoy >= 0) p->decoy = unhide(g->shadow[decoy].addr);
  for (int e = 0; e < EDGES; e++) {
    s->edge[e] = s->kind == LEAF ? -1 : random_reached(g);
    if (s->edge[e] >= 0)
      edges_of(p, s->bytes)[e] = somewhere(&g->shadow[s->edge[e]], &g->rng);
  }
}

static __attribute__((noinline)) void *resized(struct shadow *s, void *p,
                                               uint64_t *rng) {
  if (s->kind == TYPED || s->kind == ALIGNED || stress_below(rng, 4)) return p;
  s->bytes = 64 + stress_below(rng, 2 * s->bytes);
  p = mpg_realloc(p, s->bytes);
  CHECK(p != NULL);
  return p;
}

/* Cycles with a finalizer are never freed, so graphs have one or the other. */
static bool has_cycles(const struct graph *g) { return (g - graphs) % 2; }

static void want(struct graph *g, struct shadow *s, int i, void *p) {
  void *tag = (void *) (s->number * GOROUTINES + (uint64_t) (g - graphs));
  uint64_t how = stress_below(&g->rng, 6) + 2u * has_cycles(g);
  if (how == 0) CHECK_EQ(mpg_finalizer_set(p, finalize, tag), 0);
  if (how == 1) CHECK_EQ(mpg_cleanup_add(queue, p, tag), 0);
  if (how == 2) weaks[g - graphs][i] = mpg_weak_new(p);
  s->wanted = how < 2;
  atomic_fetch_add(&wanted, s->wanted);
}

static int free_shadow(const struct graph *g) {
  for (int i = 0; i < SHADOWS; i++)
    if (!g->shadow[i].number) return i;
  return -1;
}

static __attribute__((noinline)) void make(struct graph *g) {
  int i = free_shadow(g), r = (int) stress_below(&g->rng, ROOTS);
  if (i < 0) return;
  struct shadow *s = &g->shadow[i];
  *s = (struct shadow){.kind = stress_below(&g->rng, 40)
                                   ? (enum kind) stress_below(&g->rng, LARGE)
                                   : (enum kind) stress_below(&g->rng, KINDS)};
  if (stress_below(&g->rng, 8) == 0) s->kind = LEAF;
  s->bytes = random_bytes(s->kind, &g->rng);
  void *p = alloc(s->kind, s->bytes, &g->rng);
  CHECK(p != NULL);
  p = resized(s, p, &g->rng);
  s->addr = hide(p);
  s->number = atomic_fetch_add(&numbers, 1) + 1;
  fill(g, s, p);
  want(g, s, i, p);
  s->reached = true;
  g->root[r] = i;
  roots[g - graphs][r] = p;
}

/* ---- changing ---- */

static __attribute__((noinline)) void relink(struct graph *g) {
  int from = random_reached(g), to = random_reached(g);
  int e = (int) stress_below(&g->rng, EDGES);
  if (from < 0 || g->shadow[from].kind == LEAF) return;
  if (stress_below(&g->rng, 3) == 0) to = -1;
  if (!has_cycles(g) && to >= 0 &&
      g->shadow[to].number >= g->shadow[from].number)
    return;
  struct shadow *s = &g->shadow[from];
  s->edge[e] = to;
  edges_of(unhide(s->addr), s->bytes)[e] =
      to < 0 ? NULL : somewhere(&g->shadow[to], &g->rng);
}

static void drop_root(struct graph *g) {
  int r = (int) stress_below(&g->rng, ROOTS);
  g->root[r] = -1;
  roots[g - graphs][r] = NULL;
}

static int referrers(const struct graph *g, int i) {
  int n = 0;
  for (int r = 0; r < ROOTS; r++) n += g->root[r] == i;
  for (int k = 0; k < SHADOWS; k++)
    for (int e = 0; e < EDGES && g->shadow[k].number; e++)
      n += g->shadow[k].edge[e] == i;
  return n;
}

/* One that only a root slot leads to, or a root object nobody leads to. */
static __attribute__((noinline)) void free_one(struct graph *g) {
  int i = random_reached(g), r = 0;
  if (i < 0) return;
  while (r < ROOTS && g->root[r] != i) r++;
  bool in_slot = r < ROOTS;
  if (referrers(g, i) != in_slot || (!in_slot && g->shadow[i].kind != ROOT))
    return;
  /* From here on this keeps it: what is found dead with a finalizer queued
   * must not be freed. */
  void *p = unhide(g->shadow[i].addr);
  if (in_slot) {
    g->root[r] = -1;
    roots[g - graphs][r] = NULL;
  }
  weaks[g - graphs][i] = NULL;
  g->shadow[i].number = 0;
  atomic_fetch_sub(&wanted, g->shadow[i].wanted);
  mpg_free(p);
}

static void step(struct graph *g) {
  settle(g); /* what is unreachable must not be touched any more */
  switch (stress_below(&g->rng, 10)) {
  case 0:
  case 1:
  case 2:
  case 3: make(g); break;
  case 4:
  case 5: relink(g); break;
  case 6: drop_root(g); break;
  case 7: free_one(g); break;
  default: {
    int i = random_reached(g);
    if (i >= 0) look_at(g, i);
  }
  }
}

/* Objects whose finalizer has not run, live ones too.  There is one goroutine
 * for them, which may fall behind. */
static uint64_t waiting(void) {
  return atomic_load(&wanted) - atomic_load(&finalized) - atomic_load(&cleaned);
}

static void mutate(void *arg) {
  struct graph *g = arg;
  for (uint64_t n = 0; !stress_over(); n++) {
    mpg_mutex_lock(&g->lock);
    step(g);
    mpg_mutex_unlock(&g->lock);
    if (n % 256 == 0) mpg_yield();
    while (waiting() > BACKLOG && !stress_over()) mpg_sleep(1000000);
  }
  mpg_mutex_lock(&g->lock);
  settle(g);
  for (int i = 0; i < SHADOWS; i++)
    if (g->shadow[i].number) look_at(g, i);
  mpg_mutex_unlock(&g->lock);
  mpg_waitgroup_done(&done);
}

/* ---- all of it ---- */

static void graph_init(struct graph *g) {
  g->rng = stress_seed((uint64_t) (g - graphs) + 1);
  g->shadow = calloc(SHADOWS, sizeof *g->shadow);
  g->grave = calloc(GRAVES, sizeof *g->grave);
  CHECK(g->shadow && g->grave);
  memset(g->root, -1, sizeof g->root);
}

static uint64_t count_graves(uint64_t *alive) {
  uint64_t n = 0;
  *alive = 0;
  for (struct graph *g = graphs; g < graphs + GOROUTINES; g++)
    for (int i = 0; i < GRAVES; i++) {
      const struct head *p = unhide(g->grave[i].addr);
      if (g->grave[i].number == 0) continue;
      n++;
      *alive += mpg_base(p) == p && p->number == g->grave[i].number;
    }
  return n;
}

static void disturb(uint64_t *rng) {
  switch (stress_below(rng, 20)) {
  case 0: stress_procs(rng, 4); break;
  case 1: mpg_release_memory(); break;
  case 2: mpg_heap_profile_rate((int64_t) 1 << stress_below(rng, 22)); break;
  case 3: mpg_gc_percent((int) stress_below(rng, 200)); break;
  case 4: mpg_memory_limit(INT64_C(1) << (24 + stress_below(rng, 8))); break;
  case 5:
  case 6:
  case 7: mpg_gc(); break;
  default: break;
  }
}

static void start(void *arg) {
  uint64_t rng = stress_seed(0), alive = 0, n = 0;
  size_t at[EDGES];
  (void) arg;
  mpg_gomaxprocs(stress.procs ? (int) stress.procs : 4);
  for (int e = 0; e < EDGES; e++)
    at[e] = TYPED_BYTES - (size_t) (EDGES - e) * sizeof(void *);
  type = mpg_type_new(TYPED_BYTES, at, EDGES);
  queue = mpg_cleanup_queue_new();
  mpg_waitgroup_add(&draining, 1);
  CHECK_GO(drain, NULL);
  mpg_waitgroup_add(&done, GOROUTINES);
  for (int i = 0; i < GOROUTINES; i++) {
    graph_init(&graphs[i]);
    CHECK_GO(mutate, &graphs[i]);
  }
  while (!stress_over()) {
    disturb(&rng);
    mpg_sleep(2000000);
  }
  mpg_waitgroup_wait(&done);
  mpg_gc_percent(100); /* what disturb left would make the end slow */
  mpg_memory_limit(INT64_MAX);
  mpg_heap_profile_rate(512 << 10);
  for (int i = 0; i < 30; i++) { /* finalizers take a cycle each in a row */
    hide_collect();
    mpg_sleep(2000000);
    n = count_graves(&alive);
    if (alive <= n / 50) break;
  }
  CHECK_LE(alive, n / 50);
  atomic_store(&drained, true);
  mpg_waitgroup_wait(&draining);
  CHECK_GT(atomic_load(&checked), 0);
  CHECK_GT(atomic_load(&finalized), 0);
  CHECK_GT(atomic_load(&cleaned), 0);
}

int main(int argc, char **argv) {
  setenv("MPG_DEBUG", DEBUG, 0);
  return stress_main(argc, argv, start);
}

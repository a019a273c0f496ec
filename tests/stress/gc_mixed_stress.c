/* gc_mixed_stress.c - everything at once: allocation, channels, tight loops,
 * sleeping, goroutines that come and go, and a number of Ps that changes.
 *
 * Messages are linked lists of cells of random sizes with checksums, made by
 * producers, passed through a ring of channels by relays that copy some of
 * the cells, and checked by consumers.  Each message is counted once at
 * either end; a cell that was freed too early has a wrong checksum.
 */
#include "../../examples/loops.h"
#include "../support/stress.h"

#define STAGES 3
#define PRODUCERS 4
#define RELAYS 3 /* for each stage */
#define CONSUMERS 3
#define LOOPS 3

struct cell {
  struct cell *next;
  size_t bytes; /* of payload */
  uint64_t sum;
  unsigned char *payload; /* noscan, or inside the cell */
};

static mpg_chan *stage[STAGES + 1];
static mpg_waitgroup producing, relaying[STAGES], consuming, others;
static _Atomic uint64_t made, checked, made_sum, checked_sum;

static uint64_t sum_of(const unsigned char *p, size_t n) {
  uint64_t s = n;
  for (size_t i = 0; i < n; i++) s = s * 31 + p[i];
  return s;
}

/* Sizes from a few bytes to a few pages, rarely large. */
static size_t random_size(uint64_t *rng) {
  uint64_t r = stress_below(rng, 1000);
  if (r < 800) return 1 + stress_below(rng, 200);
  if (r < 990) return 1 + stress_below(rng, 5000);
  return 1 + stress_below(rng, 200000);
}

static struct cell *cell_new(uint64_t *rng, struct cell *next) {
  size_t n = random_size(rng);
  bool inside = stress_below(rng, 2) == 0;
  struct cell *c = mpg_alloc(sizeof(*c) + (inside ? n : 0));
  CHECK(c != NULL);
  c->payload = inside ? (unsigned char *) (c + 1) : mpg_alloc_noscan(n);
  CHECK(c->payload != NULL);
  c->bytes = n;
  memset(c->payload, (int) stress_random(rng), n);
  c->payload[n / 2] = (unsigned char) stress_random(rng);
  c->sum = sum_of(c->payload, n);
  c->next = next;
  return c;
}

static uint64_t message_check(const struct cell *c) {
  uint64_t total = 0;
  for (; c; c = c->next) {
    CHECK(sum_of(c->payload, c->bytes) == c->sum);
    total += c->sum;
  }
  return total;
}

static void produce(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  while (!stress_over()) {
    struct cell *m = NULL;
    for (uint64_t n = 1 + stress_below(&rng, 20); n > 0; n--)
      m = cell_new(&rng, m);
    atomic_fetch_add(&made_sum, message_check(m));
    atomic_fetch_add(&made, 1);
    mpg_chan_send(stage[0], &m);
  }
  mpg_waitgroup_done(&producing);
}

/* The list again, some of its cells new. */
static struct cell *copy_some(uint64_t *rng, struct cell *c) {
  struct cell *first = NULL, **end = &first;
  for (; c; c = c->next) {
    struct cell *d = c;
    if (stress_below(rng, 3) == 0) {
      d = mpg_alloc(sizeof(*d));
      CHECK(d != NULL);
      *d = (struct cell){NULL, c->bytes, c->sum, mpg_alloc_noscan(c->bytes)};
      memcpy(d->payload, c->payload, c->bytes);
    }
    *end = d;
    end = &d->next;
  }
  return first;
}

static void relay(void *arg) {
  uintptr_t id = (uintptr_t) arg, from = id % STAGES;
  uint64_t rng = stress_seed(1000 + id);
  for (struct cell *m; mpg_chan_recv(stage[from], &m);) {
    m = copy_some(&rng, m);
    if (stress_below(&rng, 50) == 0)
      mpg_sleep((int64_t) stress_below(&rng, 200000));
    mpg_chan_send(stage[from + 1], &m);
  }
  mpg_waitgroup_done(&relaying[from]);
}

static void consume(void *arg) {
  (void) arg;
  for (struct cell *m; mpg_chan_recv(stage[STAGES], &m);) {
    atomic_fetch_add(&checked_sum, message_check(m));
    atomic_fetch_add(&checked, 1);
  }
  mpg_waitgroup_done(&consuming);
}

static void short_life(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  message_check(cell_new(&rng, cell_new(&rng, NULL)));
  mpg_waitgroup_done(&others);
  if (stress_below(&rng, 2) == 0) mpg_goexit();
}

/* Change the number of Ps, collect, start goroutines: at random times. */
static void disturb(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  while (!stress_over()) {
    switch (stress_below(&rng, 4)) {
    case 0: stress_procs(&rng, 8); break;
    case 1: mpg_gc(); break;
    case 2:
      for (int i = 0; i < 50; i++) {
        mpg_waitgroup_add(&others, 1);
        CHECK_GO(short_life, (void *) stress_random(&rng));
      }
      break;
    case 3: mpg_sleep((int64_t) stress_below(&rng, 5000000)); break;
    }
  }
  mpg_waitgroup_done(&others);
}

static void start_all(void) {
  static const mpg_func loops[] = {loop_leaf, loop_calls, loop_memset};
  for (int i = 0; i <= STAGES; i++)
    stage[i] = mpg_chan_new(sizeof(struct cell *), (size_t) (i * 7));
  mpg_waitgroup_add(&producing, PRODUCERS);
  mpg_waitgroup_add(&consuming, CONSUMERS);
  for (uintptr_t i = 0; i < PRODUCERS; i++) CHECK_GO(produce, (void *) i);
  for (uintptr_t i = 0; i < RELAYS * STAGES; i++) {
    mpg_waitgroup_add(&relaying[i % STAGES], 1);
    CHECK_GO(relay, (void *) i);
  }
  for (int i = 0; i < CONSUMERS; i++) CHECK_GO(consume, NULL);
  for (int i = 0; i < LOOPS; i++) CHECK_GO(loops[i], NULL);
  mpg_waitgroup_add(&others, 2);
  for (uintptr_t i = 0; i < 2; i++) CHECK_GO(disturb, (void *) (i + 100));
}

static void start(void *arg) {
  (void) arg;
  mpg_gomaxprocs(stress.procs ? (int) stress.procs : 4);
  CHECK_EQ(loops_open(), 0);
  start_all();
  mpg_waitgroup_wait(&producing);
  for (int i = 0; i < STAGES; i++) {
    mpg_chan_close(stage[i]);
    mpg_waitgroup_wait(&relaying[i]);
  }
  mpg_chan_close(stage[STAGES]);
  mpg_waitgroup_wait(&consuming);
  mpg_waitgroup_wait(&others);
  loops_close(0);
  CHECK_EVENTUALLY(mpg_num_goroutines() == 1);
  CHECK_GT(atomic_load(&made), 0);
  CHECK_EQ(atomic_load(&made), atomic_load(&checked));
  CHECK_EQ(atomic_load(&made_sum), atomic_load(&checked_sum));
}

int main(int argc, char **argv) { return stress_main(argc, argv, start); }

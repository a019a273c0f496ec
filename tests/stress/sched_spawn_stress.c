/* sched_spawn_stress.c - goroutines start goroutines, as fast as it goes.
 *
 * Waves of trees of goroutines of random shape; each one adds its number to a
 * sum and ends by returning or by mpg_goexit, after yielding, sleeping,
 * allocating, or growing its stack.  Every wave's sum and count are known.
 */
#include "../support/stress.h"

struct wave {
  mpg_waitgroup done;
  _Atomic uint64_t count, sum, expected_sum, expected;
  mpg_chan *gate; /* some wait here */
};

struct task {
  struct wave *wave;
  uint64_t rng, number;
  int depth;
};

static void spawn(struct wave *w, uint64_t *rng, int depth);

static __attribute__((noinline)) int grow(int depth) {
  volatile char frame[400];
  frame[depth % 400] = 1;
  return depth > 0 ? grow(depth - 1) + frame[depth % 400] : 0;
}

static void live(struct task *t) {
  switch (stress_below(&t->rng, 8)) {
  case 0: mpg_yield(); break;
  case 1: mpg_sleep((int64_t) stress_below(&t->rng, 100000)); break;
  case 2: CHECK_EQ(grow(60), 60); break;
  case 3: CHECK(mpg_alloc(stress_below(&t->rng, 3000)) != NULL); break;
  case 4: mpg_chan_recv(t->wave->gate, NULL); break;
  default: break;
  }
}

static void task_run(void *arg) {
  struct task *t = arg;
  struct wave *w = t->wave;
  if (t->depth > 0)
    for (uint64_t n = stress_below(&t->rng, 4); n > 0; n--)
      spawn(w, &t->rng, t->depth - 1);
  live(t);
  atomic_fetch_add(&w->sum, t->number);
  atomic_fetch_add(&w->count, 1);
  bool leave = stress_below(&t->rng, 2) == 0;
  mpg_waitgroup_done(&w->done);
  if (leave) mpg_goexit();
}

static void spawn(struct wave *w, uint64_t *rng, int depth) {
  struct task *t = mpg_alloc(sizeof(*t));
  CHECK(t != NULL);
  *t = (struct task){w, stress_random(rng), stress_below(rng, 1000), depth};
  atomic_fetch_add(&w->expected, 1);
  atomic_fetch_add(&w->expected_sum, t->number);
  mpg_waitgroup_add(&w->done, 1);
  unsigned flags = stress_below(rng, 40) == 0 ? MPG_GO_FIXED_STACK : 0;
  struct mpg_go_options o = {.size = sizeof(o), .flags = flags};
  int e = flags ? mpg_go_with(&o, task_run, t) : mpg_go(task_run, t);
  CHECK_EQ(e, 0);
}

static void wave_run(uint64_t *rng) {
  struct wave *w = mpg_alloc(sizeof(*w));
  CHECK(w != NULL);
  w->gate = mpg_chan_new(0, 0);
  for (uint64_t n = stress_below(rng, 300); n > 0; n--)
    spawn(w, rng, (int) stress_below(rng, 6));
  if (stress_below(rng, 4) == 0) mpg_gc();
  mpg_chan_close(w->gate);
  mpg_waitgroup_wait(&w->done);
  CHECK_EQ(atomic_load(&w->count), atomic_load(&w->expected));
  CHECK_EQ(atomic_load(&w->sum), atomic_load(&w->expected_sum));
}

static void start(void *arg) {
  (void) arg;
  uint64_t rng = stress_seed(0);
  mpg_gomaxprocs(stress.procs ? (int) stress.procs : 2);
  while (!stress_over()) {
    wave_run(&rng);
    if (stress_below(&rng, 4) == 0) stress_procs(&rng, 8);
  }
  CHECK_EVENTUALLY(mpg_num_goroutines() == 1);
}

int main(int argc, char **argv) { return stress_main(argc, argv, start); }

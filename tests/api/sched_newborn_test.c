/* sched_newborn_test.c - many newborn goroutines: a tree of them stays narrow,
 * and nobody waits behind them for ever.  (No order is promised.)
 */
#include "../support/check.h"

static mpg_waitgroup done;
static _Atomic bool quit;
static _Atomic long born; /* of a stream */

/* ---- who waits beside a stream of them ---- */

static void brief(void *arg) {
  (void) arg;
  atomic_fetch_add(&born, 1);
}

/* Whoever it starts first runs last, so that one newborn always waits on top of
 * whoever waits already. */
static void stream(void *arg) {
  brief(arg);
  if (atomic_load(&quit)) {
    mpg_waitgroup_done(&done);
    return;
  }
  CHECK_GO(stream, NULL);
  CHECK_GO(brief, NULL);
}

static void start_stream(void) {
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(stream, NULL);
}

static void ends_stream(void *arg) {
  (void) arg;
  atomic_store(&quit, true);
}

static void an_early_newborn_gets_its_turn(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  for (int round = 0; round < 10; round++) {
    atomic_store(&quit, false);
    CHECK_GO(ends_stream, NULL);
    start_stream();
    mpg_waitgroup_wait(&done);
  }
  CHECK_GT(atomic_load(&born), 0);
}

/* In most rounds: any of them may use up a slice. */
static void a_yielder_waits_for_some_of_them(void *arg) {
  (void) arg;
  enum { ROUNDS = 20, MOST = 12000 };
  int late = 0;
  mpg_gomaxprocs(1);
  atomic_store(&quit, false);
  start_stream();
  for (int i = 0; i < ROUNDS; i++) {
    long before = atomic_load(&born);
    mpg_yield();
    late += atomic_load(&born) - before > MOST;
  }
  atomic_store(&quit, true);
  mpg_waitgroup_wait(&done);
  CHECK_LE(late, ROUNDS / 4);
}

static void a_sleeper_wakes_beside_them(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  atomic_store(&quit, false);
  start_stream();
  for (int i = 0; i < 20; i++) mpg_sleep(100000);
  atomic_store(&quit, true);
  mpg_waitgroup_wait(&done);
}

/* ---- on other Ps ---- */

static pthread_t parent;
static _Atomic int elsewhere;

static void looks_where_it_is(void *arg) {
  (void) arg;
  if (!pthread_equal(pthread_self(), parent)) atomic_fetch_add(&elsewhere, 1);
  int64_t until = check_now() + 20000;
  while (check_now() < until) continue;
  mpg_waitgroup_done(&done);
}

static void newborns_are_shared(void *arg) {
  (void) arg;
  enum { N = 100 };
  mpg_gomaxprocs(2);
  for (bool both = false; !both;) { /* or one thread had no CPU */
    atomic_store(&elsewhere, 0);
    parent = pthread_self();
    mpg_waitgroup_add(&done, N);
    for (int i = 0; i < N; i++) CHECK_GO(looks_where_it_is, NULL);
    mpg_waitgroup_wait(&done);
    int there = atomic_load(&elsewhere);
    both = there > 0 && there < N;
  }
}

/* ---- trees ---- */

enum { CHILDREN = 10, LEAVES = CHECK_MANY_GOROUTINES < 10000 ? 100 : 10000 };
static _Atomic int widest;
static _Atomic long leaves_seen;

static void look_how_wide(void) {
  int n = mpg_num_goroutines(), most = atomic_load(&widest);
  while (n > most && !atomic_compare_exchange_weak(&widest, &most, n)) continue;
}

struct tree {
  long leaves;
  mpg_chan *to;
};

static void grow(void *arg) {
  struct tree *t = arg;
  if (t->leaves == 1) {
    look_how_wide();
    atomic_fetch_add(&leaves_seen, 1);
    mpg_chan_send(t->to, NULL);
    return;
  }
  mpg_chan *from = mpg_chan_new(0, 0);
  struct tree child = {t->leaves / CHILDREN, from};
  for (int i = 0; i < CHILDREN; i++) {
    struct tree *c = mpg_alloc(sizeof *c);
    *c = child;
    CHECK_GO(grow, c);
  }
  for (int i = 0; i < CHILDREN; i++) mpg_chan_recv(from, NULL);
  mpg_chan_send(t->to, NULL);
}

static void grow_a_tree(long leaves) {
  struct tree t = {leaves, mpg_chan_new(0, 0)};
  atomic_store(&widest, 0);
  atomic_store(&leaves_seen, 0);
  CHECK_GO(grow, &t);
  mpg_chan_recv(t.to, NULL);
  CHECK_EQ(atomic_load(&leaves_seen), leaves);
}

/* In breadth it would be some thousand. */
static void a_tree_grows_in_depth(void *arg) {
  (void) arg;
  enum { ROUNDS = 8, MOST = 400 };
  const char *debug = getenv("MPG_DEBUG");
  int wide = 0;
  mpg_gomaxprocs(1);
  for (int round = 0; round < ROUNDS; round++) {
    grow_a_tree(LEAVES);
    wide += atomic_load(&widest) > MOST;
  }
  if (!debug) CHECK_LE(wide, ROUNDS / 4);
}

static void trees_grow_on_both(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  for (int round = 0; round < 5; round++) grow_a_tree(LEAVES);
}

static const struct check_case cases[] = {
    INSIDE(an_early_newborn_gets_its_turn),
    INSIDE(a_yielder_waits_for_some_of_them),
    INSIDE(a_sleeper_wakes_beside_them),
    INSIDE(newborns_are_shared),
    INSIDE(a_tree_grows_in_depth),
    INSIDE(trees_grow_on_both),
};
CHECK_MAIN(cases, 20)

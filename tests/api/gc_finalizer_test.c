/* gc_finalizer_test.c - finalizers: once, in order, resurrection, clearing. */
#include <errno.h>

#include "../support/hide.h"

/* ---- a log of what ran ---- */

#define LOG 20000
static _Atomic int ran; /* calls so far */
static struct {
  hidden obj;
  void *arg;
} calls[LOG];

static void note(void *obj, void *arg) {
  int i = atomic_load(&ran);
  CHECK_LE(i, LOG - 1);
  calls[i].obj = hide(obj);
  calls[i].arg = arg;
  atomic_store(&ran, i + 1);
}

static void collect(void) {
  hide_scrub();
  mpg_gc();
  hide_scrub();
}

/* Collect until n calls were made in all. */
static void collect_until(int n) {
  for (int i = 0; i < 10 && atomic_load(&ran) < n; i++) {
    collect();
    for (int k = 0; k < 50 && atomic_load(&ran) < n; k++) mpg_sleep(100000);
  }
  CHECK_EQ(atomic_load(&ran), n);
}

/* Collect often, and expect no further call. */
static void collect_in_vain(void) {
  int n = atomic_load(&ran);
  for (int i = 0; i < 4; i++) {
    collect();
    mpg_sleep(1000000);
  }
  CHECK_EQ(atomic_load(&ran), n);
}

static __attribute__((noinline)) hidden make(uintptr_t i, void *arg) {
  void *p = hide_object(i);
  CHECK_EQ(mpg_finalizer_set(p, note, arg), 0);
  return hide(p);
}

/* ---- arguments ---- */

static void arguments_are_checked(void *arg) {
  static int global;
  int local;
  char *p = mpg_alloc(100), *big = mpg_alloc(1 << 20);
  void *m = malloc(64);
  (void) arg;
  CHECK_EQ(mpg_finalizer_set(NULL, note, NULL), -EINVAL);
  CHECK_EQ(mpg_finalizer_set(p + 1, note, NULL), -EINVAL);
  CHECK_EQ(mpg_finalizer_set(p + 16, note, NULL), -EINVAL);
  CHECK_EQ(mpg_finalizer_set(big + 8192, note, NULL), -EINVAL);
  CHECK_EQ(mpg_finalizer_set(&global, note, NULL), -EINVAL);
  CHECK_EQ(mpg_finalizer_set(&local, note, NULL), -EINVAL);
  CHECK_EQ(mpg_finalizer_set(m, note, NULL), -EINVAL);
  CHECK_EQ(mpg_finalizer_set(m, NULL, NULL), -EINVAL);
  CHECK_EQ(mpg_finalizer_set(p, NULL, NULL), 0); /* nothing to clear */
  CHECK_EQ(mpg_finalizer_set(p, note, NULL), 0);
  CHECK_EQ(mpg_finalizer_set(p, NULL, NULL), 0);
  free(m);
  collect_in_vain();
}

/* ---- once ---- */

static void called_once_with_object_and_arg(void *arg) {
  (void) arg;
  static int token;
  hidden h = make(7, &token);
  collect_until(1);
  CHECK_EQ(calls[0].obj.bits, h.bits);
  CHECK(calls[0].arg == &token);
  collect_in_vain();
}

static void not_called_while_reachable(void *arg) {
  (void) arg;
  uintptr_t *p = hide_object(3);
  CHECK_EQ(mpg_finalizer_set(p, note, NULL), 0);
  collect_in_vain();
  CHECK_EQ(p[0], HIDE_PATTERN + 3);
  CHECK_EQ(mpg_finalizer_set(p, NULL, NULL), 0);
}

static void each_of_many_is_called_once(void *arg) {
  (void) arg;
  enum { N = 5000 };
  for (uintptr_t i = 0; i < N; i++) make(i, (void *) i);
  /* A stale word may keep a few for some time. */
  for (int i = 0; i < 20 && atomic_load(&ran) < N; i++) {
    collect();
    mpg_sleep(1000000);
  }
  CHECK_GE(atomic_load(&ran), N - N / 50);
  static char seen[N];
  for (int i = 0; i < atomic_load(&ran); i++) {
    uintptr_t k = (uintptr_t) calls[i].arg;
    CHECK_LE(k, N - 1);
    CHECK_EQ(seen[k]++, 0);
  }
}

static _Atomic int others;
static void other(void *obj, void *arg) {
  (void) obj, (void) arg;
  atomic_fetch_add(&others, 1);
}

static __attribute__((noinline)) void make_replaced(void) {
  void *p = hide_object(1);
  CHECK_EQ(mpg_finalizer_set(p, other, NULL), 0);
  CHECK_EQ(mpg_finalizer_set(p, note, (void *) 5), 0);
}

static void setting_replaces(void *arg) {
  (void) arg;
  make_replaced();
  collect_until(1);
  CHECK_EQ((uintptr_t) calls[0].arg, 5);
  CHECK_EQ(atomic_load(&others), 0);
}

static __attribute__((noinline)) hidden make_cleared(void) {
  void *p = hide_object(1);
  CHECK_EQ(mpg_finalizer_set(p, note, NULL), 0);
  CHECK_EQ(mpg_finalizer_set(p, NULL, NULL), 0);
  return hide(p);
}

static void null_clears(void *arg) {
  (void) arg;
  hidden h = make_cleared();
  collect_in_vain();
  CHECK(!hide_alive(h, 1));
}

/* ---- kinds ---- */

static __attribute__((noinline)) void make_kinds(void) {
  static const size_t sizes[] = {1, 16, 100, 5000, 40000, 3 << 20};
  size_t offset = 8;
  const mpg_type *t = mpg_type_new(16, &offset, 1);
  for (size_t i = 0; i < 6; i++) {
    CHECK_EQ(mpg_finalizer_set(mpg_alloc(sizes[i]), note, NULL), 0);
    CHECK_EQ(mpg_finalizer_set(mpg_alloc_noscan(sizes[i]), note, NULL), 0);
    CHECK_EQ(mpg_finalizer_set(mpg_alloc_typed(t, sizes[i] / 16), note, NULL),
             0);
  }
}

static void any_kind_and_size(void *arg) {
  (void) arg;
  make_kinds();
  collect_until(18);
}

/* ---- what a finalizer may rely on ---- */

struct node {
  struct node *next, *self;
  uintptr_t number;
};

static _Atomic int broken, last_number;

/* Nodes of a chain come first to last, each with what it leads to intact. */
static void check_node(void *obj, void *arg) {
  struct node *n = obj;
  (void) arg;
  if (n->number != (uintptr_t) atomic_load(&last_number) + 1)
    atomic_store(&broken, 1);
  atomic_store(&last_number, (int) n->number);
  for (uintptr_t i = n->number + 1; n->next; n = n->next, i++)
    if (n->next->number != i) atomic_store(&broken, 1);
  atomic_fetch_add(&ran, 1);
}

static __attribute__((noinline)) void make_chain(int length, bool between) {
  struct node *next = NULL;
  for (int i = length; i > 0; i--) {
    struct node *n = mpg_alloc(sizeof *n);
    n->number = (uintptr_t) i;
    n->self = n; /* makes no cycle */
    if (between && next) {
      void **link = mpg_alloc(64); /* without a finalizer */
      link[3] = next;
      n->self = (struct node *) link;
    }
    n->next = next;
    CHECK_EQ(mpg_finalizer_set(n, check_node, NULL), 0);
    next = n;
  }
}

static void chains_are_finalized_in_order(void *arg) {
  (void) arg;
  for (int between = 0; between < 2; between++) {
    atomic_store(&ran, 0);
    atomic_store(&last_number, 0);
    make_chain(8, between);
    for (int n = 1; n <= 8; n++) {
      for (int i = 0; i < 10 && atomic_load(&ran) < n; i++) {
        collect();
        for (int k = 0; k < 50 && atomic_load(&ran) < n; k++) mpg_sleep(100000);
      }
      CHECK_EQ(atomic_load(&ran), n); /* one a collection */
    }
    CHECK_EQ(atomic_load(&broken), 0);
  }
}

static mpg_sem go_on;
static _Atomic int entered;

static void blocks(void *obj, void *arg) {
  (void) arg;
  atomic_store(&entered, 1);
  mpg_sem_acquire(&go_on);
  struct node *n = obj;
  if (n->next->number != 2) atomic_store(&broken, 1);
}

static void collect_until_entered(void) {
  while (!atomic_load(&entered)) {
    collect();
    mpg_sleep(100000);
  }
  atomic_store(&entered, 0);
}

static __attribute__((noinline)) void make_blocking_pair(void) {
  struct node *a = mpg_alloc(sizeof *a), *b = mpg_alloc(sizeof *b);
  a->next = b;
  b->number = 2;
  CHECK_EQ(mpg_finalizer_set(a, blocks, NULL), 0);
  CHECK_EQ(mpg_finalizer_set(b, note, NULL), 0);
}

static void the_second_waits_until_the_first_returned(void *arg) {
  (void) arg;
  make_blocking_pair();
  collect_until_entered();
  collect_in_vain();
  mpg_sem_release(&go_on);
  collect_until(1);
  CHECK_EQ(atomic_load(&broken), 0);
}

static __attribute__((noinline)) hidden make_with_arg(void) {
  void *a = hide_object(9);
  CHECK_EQ(mpg_finalizer_set(hide_object(8), note, a), 0);
  return hide(a);
}

static void arg_is_a_root(void *arg) {
  (void) arg;
  static void *keep;
  keep = mpg_alloc(32);
  CHECK_EQ(mpg_finalizer_set(keep, note, hide_object(4)), 0);
  hidden h = make_with_arg();
  collect_until(1); /* keep holds the other one */
  CHECK(hide_alive(h, 9));
  CHECK(hide_alive(hide(calls[0].arg), 9));
  CHECK_EQ(mpg_finalizer_set(keep, NULL, NULL), 0);
}

/* ---- resurrection ---- */

static void *saved;

static void save(void *obj, void *arg) {
  (void) arg;
  saved = obj;
  atomic_fetch_add(&ran, 1);
}

static __attribute__((noinline)) void make_saved(void) {
  CHECK_EQ(mpg_finalizer_set(hide_object(11), save, NULL), 0);
}

static void resurrection(void *arg) {
  (void) arg;
  make_saved();
  collect_until(1);
  hidden h = hide(saved);
  collect_in_vain();
  CHECK(hide_alive(h, 11));
  saved = NULL;
  collect_in_vain(); /* not a second time */
  CHECK(!hide_alive(h, 11));
}

static void save_again(void *obj, void *arg) {
  saved = obj;
  if (atomic_fetch_add(&ran, 1) < 2)
    CHECK_EQ(mpg_finalizer_set(obj, save_again, arg), 0);
}

static __attribute__((noinline)) void make_saved_again(void) {
  CHECK_EQ(mpg_finalizer_set(hide_object(12), save_again, NULL), 0);
}

static void set_again_inside(void *arg) {
  (void) arg;
  make_saved_again();
  for (int n = 1; n <= 3; n++) {
    collect_until(n);
    CHECK(hide_alive(hide(saved), 12));
    saved = NULL;
  }
  collect_in_vain();
}

/* ---- cycles ---- */

static __attribute__((noinline)) void make_cycle(hidden *h) {
  void **a = hide_object(1), **b = hide_object(2);
  CHECK_EQ(mpg_finalizer_set(a, note, NULL), 0);
  CHECK_EQ(mpg_finalizer_set(b, note, NULL), 0);
  a[1] = b;
  b[1] = a;
  *h = hide(a);
}

static __attribute__((noinline)) void cut_cycle(hidden h) {
  void **a = unhide(h);
  CHECK(mpg_base(a) == a);
  a[1] = NULL;  /* the other one leads to it */
  hide_scrub(); /* Clang's prologues push rax, for alignment */
}

static void cycles_are_kept_and_not_finalized(void *arg) {
  (void) arg;
  hidden h;
  make_cycle(&h);
  collect_in_vain();
  cut_cycle(h);
  collect_until(2);
}

/* ---- freed and moved objects ---- */

static void free_clears(void *arg) {
  (void) arg;
  for (uintptr_t i = 0; i < 100; i++) {
    void *p = hide_object(i), *big = mpg_alloc(100000);
    CHECK_EQ(mpg_finalizer_set(p, note, NULL), 0);
    CHECK_EQ(mpg_finalizer_set(big, note, NULL), 0);
    mpg_free(p);
    mpg_free(big);
  }
  collect_in_vain();
}

static void frees(void *obj, void *arg) {
  (void) arg;
  mpg_free(obj);
  atomic_fetch_add(&ran, 1);
}

static __attribute__((noinline)) void make_freed(void) {
  CHECK_EQ(mpg_finalizer_set(hide_object(1), frees, NULL), 0);
}

static void a_finalizer_may_free(void *arg) {
  (void) arg;
  make_freed();
  collect_until(1);
  collect_in_vain();
}

static __attribute__((noinline)) hidden make_moved(void) {
  void *p = mpg_alloc(64);
  CHECK_EQ(mpg_finalizer_set(p, note, (void *) 1), 0);
  void *q = mpg_realloc(p, 50000);
  CHECK(q != NULL && q != p);
  return hide(q);
}

static void realloc_takes_it_along(void *arg) {
  (void) arg;
  hidden h = make_moved();
  collect_until(1);
  CHECK_EQ(calls[0].obj.bits, h.bits);
}

/* ---- the goroutine ---- */

static _Atomic uint64_t id;

static void asks(void *obj, void *arg) {
  (void) obj, (void) arg;
  atomic_store(&id, mpg_goid());
  atomic_fetch_add(&ran, 1);
  mpg_goexit(); /* ends this call, not the others */
}

static __attribute__((noinline)) void make_asking(void) {
  CHECK_EQ(mpg_finalizer_set(hide_object(1), asks, NULL), 0);
}

static void in_a_goroutine_of_its_own(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_num_goroutines(), 1);
  for (int i = 1; i <= 3; i++) {
    make_asking();
    collect_until(i);
    CHECK(atomic_load(&id) != 0 && atomic_load(&id) != mpg_goid());
    CHECK_EQ(mpg_num_goroutines(), 1);
  }
}

static void uses_the_api(void *obj, void *arg) {
  mpg_chan *c = arg;
  (void) obj;
  atomic_store(&entered, 1);
  for (int i = 0; i < 1000; i++) CHECK(mpg_alloc(1000) != NULL);
  mpg_sleep(1000000);
  mpg_chan_send(c, &(int){42});
}

static __attribute__((noinline)) void make_using(mpg_chan *c) {
  CHECK_EQ(mpg_finalizer_set(hide_object(1), uses_the_api, c), 0);
}

static void may_use_the_api_and_block(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 0);
  int got = 0;
  make_using(c);
  collect_until_entered();
  /* Nobody else can wake main: waiting finalizers are no deadlock. */
  CHECK(mpg_chan_recv(c, &got));
  CHECK_EQ(got, 42);
}

static __attribute__((noinline)) void set_in_goroutine(void *wg) {
  for (uintptr_t i = 0; i < 200; i++) make(i, NULL);
  mpg_waitgroup_done(wg);
}

static void many_goroutines_set(void *arg) {
  (void) arg;
  static mpg_waitgroup wg;
  mpg_waitgroup_add(&wg, 20);
  for (int i = 0; i < 20; i++) CHECK_GO(set_in_goroutine, &wg);
  while (atomic_load(&ran) < 3000) {
    mpg_gc();
    mpg_yield();
  }
  mpg_waitgroup_wait(&wg);
}

/* ---- two runs ---- */

static void leave_one(void *arg) {
  (void) arg;
  make(1, NULL);
}

static void collect_it(void *arg) {
  (void) arg;
  collect_until(1);
}

static void set_in_one_run_called_in_the_next(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_run(leave_one, NULL), 0);
  CHECK_EQ(mpg_run(collect_it, NULL), 0);
}

#define FRESH(fn)                \
  static void fn##_(void *arg) { \
    atomic_store(&ran, 0);       \
    fn(arg);                     \
  }
FRESH(arguments_are_checked)
FRESH(called_once_with_object_and_arg)
FRESH(not_called_while_reachable)
FRESH(each_of_many_is_called_once)
FRESH(setting_replaces)
FRESH(null_clears)
FRESH(any_kind_and_size)
FRESH(chains_are_finalized_in_order)
FRESH(the_second_waits_until_the_first_returned)
FRESH(arg_is_a_root)
FRESH(resurrection)
FRESH(set_again_inside)
FRESH(free_clears)
FRESH(a_finalizer_may_free)
FRESH(realloc_takes_it_along)
FRESH(in_a_goroutine_of_its_own)
FRESH(may_use_the_api_and_block)
FRESH(many_goroutines_set)
FRESH(set_in_one_run_called_in_the_next)
FRESH(cycles_are_kept_and_not_finalized)

#define CASE(fn) \
  { #fn, fn##_, CHECK_INSIDE, NULL, NULL }
static const struct check_case cases[] = {
    CASE(arguments_are_checked),
    CASE(called_once_with_object_and_arg),
    CASE(not_called_while_reachable),
    CASE(setting_replaces),
    CASE(null_clears),
    CASE(any_kind_and_size),
    CASE(chains_are_finalized_in_order),
    CASE(the_second_waits_until_the_first_returned),
    CASE(arg_is_a_root),
    CASE(resurrection),
    CASE(set_again_inside),
    CASE(free_clears),
    CASE(a_finalizer_may_free),
    CASE(realloc_takes_it_along),
    CASE(in_a_goroutine_of_its_own),
    CASE(may_use_the_api_and_block),
    {"set_in_one_run_called_in_the_next", set_in_one_run_called_in_the_next_,
     CHECK_OUTSIDE, NULL, NULL},
    CASE(cycles_are_kept_and_not_finalized),
    /* These may leave some for later. */
    CASE(each_of_many_is_called_once),
    CASE(many_goroutines_set),
};

int main(int argc, char **argv) {
  check_switches("clobberfree=1");
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 30);
}

/* Memory is refused at each possible place in turn: a workload of everything
 * that the collector offers, in a child for each value of the countdown.  What
 * can't be done says so (NULL, -ENOMEM), the handler is asked, nothing is torn:
 * the heap is valid and marked alike by both markers, what was made is intact,
 * what is to be zero is, what couldn't be given back isn't counted as if it had
 * been, and once there is memory again all goes on.
 *
 * Each walk is done twice: from the countdown on all is refused, or only that
 * one. */
#include <tests/unit/gc_world_fake.h>

#include <errno.h>
#include <fcntl.h>

#include <gc/special.h>

#define NODES 240
#define BIG 6
#define HUGE_BYTES 700000 /* what is zeroed by giving it back */
#define IN_ONE 4000
#define LEAVES (12 * IN_ONE) /* more than the first buffers hold */
#define FIRST_BUFFERS_BYTES ((size_t) 256 << 10)
#define MANY_PAGES 500

struct node {
  struct node *next;
  uintptr_t number, check;
};

struct job {
  _Atomic int64_t *countdown;
  int64_t start;
  bool early; /* armed before the collector exists */
  bool once;  /* only that one is refused */
};
enum { SURVIVED = 0, NOT_REACHED = 7 };

static unsigned failures, asked;

static void *handler(size_t bytes) {
  (void) bytes;
  asked++;
  return NULL;
}

static void finalizer(void *obj, void *arg) { (void) obj, (void) arg; }

#define REQUIRE(x) \
  if (!(x)) dprintf(2, "%s:%d: %s\n", __FILE__, __LINE__, #x), _exit(1)

/* Count a refusal. */
static void *may_fail(void *p) {
  failures += p == NULL;
  return p;
}

/* Scanned memory reads zero, also what was dirty when it was freed. */
static void zero_check(uintptr_t *p, size_t bytes) {
  for (size_t i = 0; i < bytes / sizeof *p; i++) {
    REQUIRE(p[i] == 0);
    p[i] = 0x55;
  }
}

static struct node *node_new(uintptr_t i, size_t bytes, struct node *next) {
  struct node *n = may_fail(mpg_alloc(sizeof *n + bytes));
  if (n == NULL) return NULL;
  zero_check((uintptr_t *) n, sizeof *n + bytes);
  n->next = next;
  n->number = i;
  n->check = ~i;
  return n;
}

static void chain_check(const struct node *n) {
  for (; n != NULL; n = n->next) REQUIRE(n->check == ~n->number);
}

/* What hangs on objects; refusals must leave the object as it was. */
static void hang(struct node *n) {
  int rc = mpgi_finalizer_set_g0(n, finalizer, NULL);
  REQUIRE(rc == 0 || rc == -ENOMEM);
  failures += rc != 0;
  mpg_weak *w = may_fail(mpgi_weak_new_g0(n));
  if (w != NULL) REQUIRE(mpg_weak_get(w) == n);
  rc = world.root[2] != NULL ? mpgi_weakmap_set_g0(world.root[2], n, n->next)
                             : -ENOMEM;
  REQUIRE(rc == 0 || rc == -ENOMEM);
  failures += rc != 0;
}

static void many_small(void) {
  struct node *list = NULL;
  for (uintptr_t i = 0; i < NODES; i++) {
    struct node *n = node_new(i, i * 37 % 5000, list);
    if (n == NULL) continue;
    world.root[0] = list = n;
    if (i % 3 == 0) hang(n);
    if (i % 100 == 99) mpgi_gc_g0();
  }
  chain_check(list);
}

static void some_big(void) {
  struct node *list = NULL;
  for (uintptr_t i = 0; i < BIG; i++) {
    struct node *n = node_new(i, 100000 + i * 20000, list);
    if (n == NULL) continue;
    world.root[1] = list = n;
    if (i % 8 == 0) hang(n);
    size_t bytes = sizeof *n + 100000 + i * 20000;
    char *moved = mpgi_realloc_g0(n, HUGE_BYTES);
    REQUIRE(n->check == ~i || moved != NULL);
    if (may_fail(moved) == NULL) continue;
    world.root[1] = list = (struct node *) (void *) moved;
    zero_check((uintptr_t *) (void *) (moved + bytes), HUGE_BYTES - bytes);
  }
  chain_check(list);
}

static void the_rest(void) {
  size_t offset = 0;
  mpg_type *t = may_fail(mpgi_type_new_g0(24, &offset, 1));
  for (size_t i = 0; i < 16; i++) {
    if (t != NULL) may_fail(mpgi_alloc_typed_g0(t, i * 100));
    may_fail(mpg_alloc_noscan(i * 10000));
    may_fail(mpgi_alloc_aligned_g0(i * 1000, (size_t) 1 << (5 + i % 16)));
    void *root = may_fail(mpgi_alloc_root_g0(100));
    if (root != NULL) mpgi_free_g0(root);
  }
}

/* Spans for what every class and kind has; then they are empty. */
static void many_spans(void) {
  for (size_t i = 0; i < MANY_PAGES; i++) {
    uintptr_t **p = may_fail(mpg_alloc(16 + i * 5 % 8000));
    if (p == NULL) continue;
    *p = world.root[3];
    world.root[3] = p;
  }
  world.root[3] = NULL;
}

/* A few objects, scanned together, name more leaves than there are buffers for,
 * in an order in which no two are neighbours: memory is wanted in the middle of
 * marking. */
static uintptr_t **leaf_place(uintptr_t ***top, size_t i) {
  i = i * 7919 % LEAVES;
  return &top[i / IN_ONE][i % IN_ONE];
}

static uintptr_t ***deep_make(void) {
  uintptr_t ***top = may_fail(mpg_alloc(LEAVES / IN_ONE * sizeof *top));
  world.root[3] = top;
  for (size_t i = 0; top != NULL && i < LEAVES / IN_ONE; i++)
    if ((top[i] = may_fail(mpg_alloc(IN_ONE * sizeof **top))) == NULL)
      return NULL;
  for (size_t i = 0; top != NULL && i < LEAVES; i++) {
    uintptr_t *leaf = may_fail(mpg_alloc(24));
    *leaf_place(top, i) = leaf;
    if (leaf != NULL) *leaf = i;
  }
  return top;
}

/* Verified there and then, if there is memory for that. */
static void deep(void) {
  uintptr_t ***top = deep_make();
  mpgi_opt.gcverify = 1;
  mpgi_gc_g0();
  mpgi_opt.gcverify = 0;
  for (size_t i = 0; top != NULL && i < LEAVES; i++) {
    uintptr_t *leaf = *leaf_place(top, i);
    REQUIRE(leaf == NULL || *leaf == i);
  }
  world.root[3] = NULL;
}

/* A refused call may have been one of those that had nothing to ask for. */
static void others(void) {
  static uintptr_t word;
  struct mpg_cleanup c;
  void *q = world.root[4] = may_fail(mpgi_cleanup_queue_make(NULL));
  void *obj = may_fail(mpg_alloc(40));
  if (q != NULL && obj != NULL) {
    int rc = mpgi_cleanup_add_g0(q, obj, NULL);
    REQUIRE(rc == 0 || rc == -ENOMEM);
    failures += rc != 0;
  }
  int rc = mpgi_root_add_g0(&word, sizeof word);
  REQUIRE(rc == 0 || rc == -ENOMEM);
  failures += rc != 0;
  mpgi_gc_g0();
  if (rc == 0) REQUIRE(mpgi_root_remove_g0(&word) == 0);
  while (q != NULL && mpgi_cleanup_poll_g0(q, &c) == 1) continue;
  int fd = open("/dev/null", O_WRONLY);
  rc = mpgi_heap_dump_g0(fd);
  REQUIRE(rc == 0 || rc == -ENOMEM);
  failures += rc != 0;
  close(fd);
}

static void workload(void) {
  world.root[2] = may_fail(mpgi_weakmap_new_g0());
  many_small();
  mpgi_release_memory_g0();
  some_big();
  many_spans();
  mpgi_gc_g0();
  mpgi_release_memory_g0();
  some_big(); /* where there was something before */
  world.root[1] = NULL;
  deep();
  others();
  the_rest();
}

static void validate(void) {
  struct mpgi_finalizer f;
  mpgi_opt.gcverify = 1;
  mpgi_gc_g0();
  mpgi_opt.gcverify = 0;
  REQUIRE(mpgi_central_is_valid());
  REQUIRE(mpgi_special_is_valid());
  chain_check(world.root[0]);
  chain_check(world.root[1]);
  while (mpgi_finalizer_take(&f)) REQUIRE(f.fn == finalizer);
  mpgi_release_memory_g0();
  REQUIRE(mpgi_heap_idle_bytes() == 0);
}

/* After a failure the collector can be made when there is memory. */
static bool init(const struct job *job) {
  int rc = mpgi_gc_init(&world_table);
  if (rc == 0) return true;
  REQUIRE(job->early && rc == -ENOMEM);
  REQUIRE(atomic_exchange(job->countdown, 0) <= 0);
  REQUIRE(mpgi_gc_init(&world_table) == 0);
  return false;
}

static void child(void *arg) {
  const struct job *job = arg;
  mpgi_options_init();
  mpgi_opt.heapprofile = 4096;
  atomic_store(&mpgi_os_fail_once, job->once);
  if (job->early) atomic_store(job->countdown, job->start);
  world.root = mmap(NULL, WORLD_ROOTS * sizeof(void *), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  bool reached = !init(job);
  int64_t saved = atomic_exchange(job->countdown, 0);
  mutator_begin();
  if (!reached) {
    atomic_store(job->countdown, job->early ? saved : job->start);
    mpgi_on_out_of_memory_g0(handler);
    workload();
    reached = atomic_exchange(job->countdown, 0) <= 0;
  }
  validate();
  if (!reached) REQUIRE(failures == 0 && asked == 0);
  failures = 0;
  workload(); /* there is memory again */
  REQUIRE(failures == 0);
  REQUIRE(mpgi_workbuf_bytes() > FIRST_BUFFERS_BYTES); /* deep is */
  validate();
  _exit(reached ? SURVIVED : NOT_REACHED);
}

/* Every place: until the workload doesn't come that far any more. */
static void walk(_Atomic int64_t *countdown, bool early, bool once) {
  struct child_result r = {.status = SURVIVED};
  for (int64_t n = 1; r.status != NOT_REACHED; n += UNIT_TSAN ? 9 : 1) {
    struct job job = {countdown, n, early, once};
    child_run(child, &job, &r);
    if (r.status != SURVIVED && r.status != NOT_REACHED)
      fail_msg("countdown %lld: status %d, signal %d\n%s", (long long) n,
               r.status, r.signal, r.err);
    assert_true(n < 100000);
  }
}

static void every_mapping(void **state) {
  (void) state;
  walk(&mpgi_os_mem_fail_countdown, true, false);
}

static void every_single_mapping(void **state) {
  (void) state;
  walk(&mpgi_os_mem_fail_countdown, true, true);
}

static void every_record(void **state) {
  (void) state;
  walk(&mpgi_fixmem_fail_countdown, false, false);
  walk(&mpgi_fixmem_fail_countdown, false, true);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_mapping),
      cmocka_unit_test(every_single_mapping),
      cmocka_unit_test(every_record),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

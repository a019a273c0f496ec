/* Memory is refused at each possible place in turn: a workload of everything
 * that the collector offers, in a child for each value of the countdown.  What
 * can't be done says so (NULL, -ENOMEM), the handler is asked, nothing is torn:
 * the heap is valid and marked alike by both markers, what was made is intact,
 * and once there is memory again all goes on. */
#include <tests/unit/gc_world_fake.h>

#include <errno.h>

#include <gc/special.h>

#define NODES 240
#define BIG 10

struct node {
  struct node *next;
  uintptr_t number, check;
};

struct job {
  _Atomic int64_t *countdown;
  int64_t start;
  bool early; /* armed before the collector exists */
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

static struct node *node_new(uintptr_t i, size_t bytes, struct node *next) {
  struct node *n = may_fail(mpg_alloc(sizeof *n + bytes));
  if (n == NULL) return NULL;
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
    struct node *moved = mpgi_realloc_g0(n, 3000000);
    REQUIRE(n->check == ~i || moved != NULL);
    if (may_fail(moved) != NULL) world.root[1] = list = moved;
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

static void workload(void) {
  world.root[2] = may_fail(mpgi_weakmap_new_g0());
  many_small();
  some_big();
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
}

static void child(const struct job *job) {
  mpgi_options_init();
  if (job->early) atomic_store(job->countdown, job->start);
  world.root = mmap(NULL, WORLD_ROOTS * sizeof(void *), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int rc = mpgi_gc_init(&world_table);
  REQUIRE(rc == 0 || (job->early && rc == -ENOMEM));
  if (rc != 0) _exit(SURVIVED);
  struct mpgi_cache *c = mpgi_gc_cache_new();
  if (c == NULL) _exit(SURVIVED);
  mpgi_gc_cache_free(c);
  int64_t saved = atomic_exchange(job->countdown, 0);
  mutator_begin();
  atomic_store(job->countdown, job->early ? saved : job->start);
  mpgi_on_out_of_memory_g0(handler);
  workload();
  bool reached = atomic_exchange(job->countdown, 0) < 0;
  validate();
  if (!reached) REQUIRE(failures == 0 && asked == 0);
  failures = 0;
  workload(); /* there is memory again */
  REQUIRE(failures == 0);
  validate();
  _exit(reached ? SURVIVED : NOT_REACHED);
}

/* Every place: until the workload doesn't come that far any more. */
static void walk(_Atomic int64_t *countdown, bool early) {
  for (int64_t n = 1;; n += 1 + n / 12) {
    struct job job = {countdown, n, early};
    pid_t pid = fork();
    int status;
    assert_true(pid >= 0);
    if (pid == 0) child(&job);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) ||
        (WEXITSTATUS(status) != SURVIVED && WEXITSTATUS(status) != NOT_REACHED))
      fail_msg("countdown %lld: status %x", (long long) n, (unsigned) status);
    if (WEXITSTATUS(status) == NOT_REACHED) return;
    assert_true(n < 100000);
  }
}

static void every_mapping(void **state) {
  (void) state;
  walk(&mpgi_os_mem_fail_countdown, true);
}

static void every_mapping_once_begun(void **state) {
  (void) state;
  walk(&mpgi_os_mem_fail_countdown, false);
}

static void every_record(void **state) {
  (void) state;
  walk(&mpgi_fixmem_fail_countdown, false);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_mapping),
      cmocka_unit_test(every_mapping_once_begun),
      cmocka_unit_test(every_record),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

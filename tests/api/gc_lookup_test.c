/* gc_lookup_test.c - what mpg_base says of memory that nobody has, while others
 * allocate between live objects. */
#include "../support/hide.h"

#define PAIRS 4000
#define BYTES 100
#define ROUNDS 400
#define SECONDS INT64_C(5) /* at most: threads may be late on purpose */

static void **kept; /* roots to these arrays only */
static void **made;
static hidden dead[PAIRS];
static _Atomic int round_number; /* odd: no frees, no collections */
static mpg_waitgroup looking;

static __attribute__((noinline)) void make_pairs(void) {
  for (int i = 0; i < PAIRS; i++) {
    kept[i] = mpg_alloc(BYTES);
    dead[i] = hide(mpg_alloc(BYTES));
  }
}

/* Free memory may become an object, but an object stays one. */
static void look(int round) {
  for (int i = 0; i < PAIRS; i++) {
    void *p = unhide(dead[i]);
    bool was = mpg_base(p) == p, is = mpg_base(p) == p;
    if (atomic_load(&round_number) != round) return;
    CHECK(is || !was);
  }
}

static void looker(void *arg) {
  (void) arg;
  for (int round; (round = atomic_load(&round_number)) >= 0;)
    if (round % 2 == 1)
      look(round);
    else
      mpg_yield();
  mpg_waitgroup_done(&looking);
}

static void free_cells_are_no_objects(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  kept = mpg_alloc(PAIRS * sizeof(*kept));
  made = mpg_alloc(PAIRS * sizeof(*made));
  CHECK(kept != NULL && made != NULL);
  mpg_gc_percent(-1);
  mpg_waitgroup_add(&looking, 1);
  CHECK_GO(looker, NULL);
  int64_t end = mpg_now() + SECONDS * 1000000000;
  for (int round = 0; round < ROUNDS && mpg_now() < end; round++) {
    memset(made, 0, PAIRS * sizeof(*made));
    make_pairs();
    hide_scrub();
    mpg_gc();
    atomic_fetch_add(&round_number, 1);
    for (int i = 0; i < PAIRS; i++) made[i] = mpg_alloc(BYTES);
    atomic_fetch_add(&round_number, 1);
  }
  atomic_store(&round_number, -1);
  mpg_waitgroup_wait(&looking);
}

static const struct check_case cases[] = {
    INSIDE(free_cells_are_no_objects),
};
CHECK_MAIN(cases, 30)

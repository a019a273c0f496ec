/* gc_realloc_test.c - mpg_realloc in place: addresses stay, tails are zero. */
#include "../support/hide.h"

#define PAGE ((size_t) 8192)

/* With MPG_DEBUG=redzone=1 an object is followed by a zone and is of no more
 * bytes than were asked for. */
#define ZONE ((size_t) 16)
static bool has_zones(void) { return check_switch("redzone") != 0; }

/* The largest object of so many pages. */
static size_t most_of(size_t pages) {
  return pages * PAGE - 8 - (has_zones() ? ZONE : 0);
}

/* The size of an object of so many pages of which `bytes` were asked for. */
static size_t size_of(size_t pages, size_t bytes) {
  return has_zones() ? bytes : most_of(pages);
}

static void fill(unsigned char *p, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) p[i] = (unsigned char) (i * 7 + 1);
}

static void check_filled(const unsigned char *p, size_t from, size_t to) {
  for (size_t i = from; i < to; i++)
    CHECK_EQ(p[i], (unsigned char) (i * 7 + 1));
}

static void check_zero(const unsigned char *p, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) CHECK_EQ(p[i], 0);
}

static uint64_t live(void) {
  struct mpg_gc_stats s = {.size = sizeof s};
  CHECK_EQ(mpg_gc_stats_read(&s), 0);
  return s.heap_live;
}

static uint64_t objects(void) {
  struct mpg_gc_stats s = {.size = sizeof s};
  CHECK_EQ(mpg_gc_stats_read(&s), 0);
  return s.total_alloc_objects;
}

/* ---- in the cell ---- */

static void a_small_one_stays_in_its_cell(void *arg) {
  (void) arg;
  for (size_t n = 24; n < 20000; n = n * 3 / 2) {
    unsigned char *p = mpg_alloc(n);
    size_t usable = mpg_alloc_size(p);
    fill(p, 0, usable);
    CHECK(mpg_realloc(p, usable) == p);
    check_filled(p, 0, usable);
    size_t less = usable / 2 + 1;
    CHECK(mpg_realloc(p, less) == p);
    check_filled(p, 0, less);
    check_zero(p, less, mpg_alloc_size(p));
    unsigned char *q = mpg_realloc(p, usable);
    CHECK(q == p || has_zones());
    check_filled(q, 0, less);
    check_zero(q, less, usable);
  }
}

/* ---- large ones ---- */

static void a_large_one_shrinks_where_it_is(void *arg) {
  (void) arg;
  size_t n = most_of(100);
  unsigned char *p = mpg_alloc(n);
  uint64_t before = live();
  fill(p, 0, n);
  for (size_t pages = 99; pages >= 5; pages -= 7) {
    size_t less = pages * PAGE - 1000;
    CHECK(mpg_realloc(p, less) == p);
    CHECK_EQ(mpg_alloc_size(p), size_of(pages, less));
    check_filled(p, 0, less);
    check_zero(p, less, mpg_alloc_size(p));
  }
  CHECK_LE(live(), before - 90 * PAGE);
  CHECK(mpg_base(p + 99 * PAGE) != p);
  CHECK(mpg_base(p + 5 * PAGE) == p);
  mpg_gc();
  CHECK(mpg_realloc(p, 100) != p); /* not a large one any more */
}

/* The pages behind the first are free when the second is. */
static void a_large_one_grows_into_free_pages(void *arg) {
  (void) arg;
  enum { PAGES = 40 };
  unsigned char *a = NULL, *b = NULL;
  const size_t first = most_of(PAGES);
  for (int i = 0; i < 1000; i++) { /* two neighbours */
    a = mpg_alloc(first);
    b = mpg_alloc(first);
    if (b == a + PAGES * PAGE) break;
  }
  CHECK(b == a + PAGES * PAGE);
  fill(a, 0, first);
  memset(b, 0xff, first);
  mpg_free(b);
  uint64_t before = live(), n = objects();
  for (size_t pages = PAGES + 1; pages <= 2 * PAGES; pages += 13) {
    size_t usable = mpg_alloc_size(a);
    size_t more = most_of(pages) - 100;
    CHECK(mpg_realloc(a, more) == a);
    CHECK_EQ(mpg_alloc_size(a), size_of(pages, more));
    check_filled(a, 0, first);
    check_zero(a, usable, mpg_alloc_size(a));
  }
  CHECK_GE(live(), before + 38 * PAGE);
  CHECK_EQ(objects(), n);
  CHECK(mpg_base(a + (PAGES + 30) * PAGE) == a);
  mpg_gc();
  check_filled(a, 0, first);
}

/* Nothing is behind it: the heap grows, too. */
static void the_last_one_grows_at_the_heaps_end(void *arg) {
  enum { FIRST = 64 << 20, LAST = 1 << 30, PROBE = 4096 };
  (void) arg;
  mpg_release_memory();
  unsigned char *p = mpg_alloc(FIRST);
  CHECK(p != NULL);
  fill(p, FIRST - PROBE, FIRST);
  for (size_t bytes = FIRST; bytes < LAST; bytes *= 2) {
    size_t usable = mpg_alloc_size(p);
    CHECK(mpg_realloc(p, 2 * bytes) == p);
    CHECK_GE(mpg_alloc_size(p), 2 * bytes);
    check_zero(p, usable, usable + PROBE);
    check_zero(p, 2 * bytes - PROBE, 2 * bytes);
  }
  check_filled(p, FIRST - PROBE, FIRST);
  mpg_gc();
  check_filled(p, FIRST - PROBE, FIRST);
  mpg_free(p);
  mpg_gc(); /* the goal of such a heap would be far */
}

/* What is in use is not taken. */
static void a_neighbour_makes_it_move(void *arg) {
  (void) arg;
  enum { PAGES = 6, N = 200 };
  unsigned char *p[N];
  for (int i = 0; i < N; i++) {
    p[i] = mpg_alloc_noscan(PAGES * PAGE - 8);
    memset(p[i], i, PAGES * PAGE - 8);
  }
  for (int i = 0; i < N; i += 2) {
    p[i] = mpg_realloc(p[i], 2 * PAGES * PAGE - 8);
    memset(p[i], i, 2 * PAGES * PAGE - 8);
  }
  for (int i = 0; i < N; i++)
    for (size_t at = 0; at < PAGES * PAGE - 8; at += 500)
      CHECK_EQ(p[i][at], (unsigned char) i);
}

static void growing_piece_by_piece_seldom_moves(void *arg) {
  (void) arg;
  unsigned char *p = mpg_alloc_noscan(5 * PAGE);
  int moves = 0;
  for (size_t n = 6 * PAGE; n < 2000 * PAGE; n += PAGE) {
    unsigned char *q = mpg_realloc(p, n);
    CHECK(q != NULL);
    moves += q != p;
    p = q;
    p[n - 1] = 1;
  }
  CHECK_LE(moves, 100);
}

/* A growing object is allocation: it makes collections. */
static void growing_collects(void *arg) {
  struct mpg_gc_stats a = {.size = sizeof a}, b = {.size = sizeof b};
  (void) arg;
  mpg_gc_stats_read(&a);
  for (int i = 0; i < 40; i++) {
    unsigned char *p = mpg_alloc(5 * PAGE);
    for (size_t n = 6 * PAGE; n < 200 * PAGE; n += 4 * PAGE)
      p = mpg_realloc(p, n);
    CHECK_OPAQUE(p);
  }
  mpg_gc_stats_read(&b);
  CHECK_GE(b.cycles, a.cycles + 2);
}

/* ---- kinds ---- */

struct pair {
  struct pair *next;
  uintptr_t hidden;
};

static struct pair *table; /* a root */

static void a_typed_one_keeps_its_type(void *arg) {
  (void) arg;
  size_t offset = 0, n = 8 * PAGE / sizeof *table;
  mpg_type *type = mpg_type_new(sizeof *table, &offset, 1);
  table = mpg_alloc_typed(type, n);
  for (size_t i = 0; i < 12; i++) {
    /* What only the untyped word leads to dies, the rest lives. */
    size_t last = n - 1;
    hidden dead = hide_new(i + 1000), alive = hide_new(i);
    table[last].next = unhide(alive);
    table[last].hidden = (uintptr_t) unhide(dead);
    hide_collect();
    hide_collect();
    CHECK(hide_alive(alive, i));
    CHECK(!hide_alive(dead, i + 1000));
    CHECK(table[last].next == unhide(alive));
    n = i % 3 == 2 ? n / 2 : n + n / 3;
    table = mpg_realloc(table, n * sizeof *table);
    CHECK(table != NULL);
  }
}

static mpg_weak *weak;
static void records_stay(void *arg) {
  (void) arg;
  unsigned char *p = mpg_alloc(50 * PAGE);
  weak = mpg_weak_new(p);
  CHECK(mpg_realloc(p, 20 * PAGE) == p);
  CHECK(mpg_weak_get(weak) == p);
  p = mpg_realloc(p, 300 * PAGE);
  mpg_gc();
  CHECK(mpg_weak_get(weak) == p);
  mpg_free(p);
  CHECK(mpg_weak_get(weak) == NULL);
}

/* ---- beside others ---- */

static mpg_waitgroup done;

static void resizer(void *arg) {
  uint64_t rng = (uintptr_t) arg;
  unsigned char *p[16] = {NULL};
  size_t size[16] = {0};
  for (int i = 0; i < 3000; i++) {
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    size_t k = rng >> 60, n = (rng >> 33) % (60 * PAGE);
    unsigned char *q = mpg_realloc(p[k], n);
    CHECK(q != NULL);
    size_t common = n < size[k] ? n : size[k];
    for (size_t at = 0; at < common; at += 997)
      CHECK_EQ(q[at], (unsigned char) ((uintptr_t) arg + k));
    for (size_t at = common; at < n; at += 499) CHECK_EQ(q[at], 0);
    memset(q, (int) ((uintptr_t) arg + k), n);
    p[k] = q;
    size[k] = n;
    if (i % 700 == 0) mpg_gc();
  }
  mpg_waitgroup_done(&done);
}

/* Only [0, n) was written: what is beyond was and is zero. */
static void many_resize_at_once(void *arg) {
  (void) arg;
  int before = mpg_gomaxprocs(4);
  mpg_waitgroup_add(&done, 6);
  for (uintptr_t i = 1; i <= 6; i++) CHECK_GO(resizer, (void *) (i * 31));
  mpg_waitgroup_wait(&done);
  mpg_gomaxprocs(before);
}

static const struct check_case cases[] = {
    INSIDE(a_small_one_stays_in_its_cell),
    INSIDE(a_large_one_shrinks_where_it_is),
    INSIDE(a_large_one_grows_into_free_pages),
    INSIDE(the_last_one_grows_at_the_heaps_end),
    INSIDE(a_neighbour_makes_it_move),
    INSIDE(growing_piece_by_piece_seldom_moves),
    INSIDE(growing_collects),
    INSIDE(a_typed_one_keeps_its_type),
    INSIDE(records_stay),
    INSIDE(many_resize_at_once),
};

int main(int argc, char **argv) {
  check_switches("clobberfree=1,gcverify=1");
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 30);
}

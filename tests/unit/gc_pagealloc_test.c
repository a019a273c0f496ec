/* Page runs against a naive oracle: one byte a page, searched from the start.
 */
#define MPGI_GC_INSIDE 1
#include <tests/support/unit.h>

#include <stdlib.h>

#include <gc/gc_private.h>

#define CHUNKS 37u
#define PAGES (CHUNKS * MPGI_CHUNK_PAGES)

struct oracle {
  char owner[PAGES]; /* sort + 1 of the chunk; 0: not grown */
  char free[PAGES];
  char zero[PAGES];
};

struct bench {
  struct mpgi_pagealloc pa[MPGI_SORT_COUNT];
  struct mpgi_chunk *chunk;
  struct oracle *o;
  void *tree[MPGI_SORT_COUNT];
  uint32_t grown; /* chunks */
};

static uint64_t seed = 1;
static uint32_t draw(uint32_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t) (seed >> 33) % below;
}

static int setup(void **state) {
  struct bench *b = calloc(1, sizeof *b);
  b->chunk = calloc(CHUNKS, sizeof *b->chunk);
  b->o = calloc(1, sizeof *b->o);
  for (int i = 0; i < MPGI_SORT_COUNT; i++) {
    b->tree[i] = calloc(1, mpgi_pagealloc_bytes(CHUNKS));
    mpgi_pagealloc_init(&b->pa[i], b->tree[i], b->chunk, CHUNKS);
  }
  *state = b;
  return 0;
}

static int teardown(void **state) {
  struct bench *b = *state;
  for (int i = 0; i < MPGI_SORT_COUNT; i++) free(b->tree[i]);
  free(b->chunk);
  free(b->o);
  free(b);
  return 0;
}

static bool is_ours(const struct oracle *o, int sort, uint32_t p) {
  return o->owner[p] == sort + 1 && o->free[p];
}

static uint32_t oracle_find(const struct oracle *o, int sort, uint32_t n) {
  for (uint32_t p = 0, run = 0; p < PAGES; p++) {
    run = is_ours(o, sort, p) ? run + 1 : 0;
    if (run == n) return p + 1 - n;
  }
  return MPGI_NO_PAGE;
}

static uint32_t oracle_take(struct oracle *o, uint32_t page, uint32_t n) {
  uint32_t zeroed = 0;
  for (uint32_t p = page; p < page + n; p++) {
    assert_true(o->free[p]);
    zeroed += (uint32_t) o->zero[p];
    o->free[p] = o->zero[p] = 0;
  }
  return zeroed;
}

static void grow(struct bench *b, int sort, uint32_t n) {
  if (n > CHUNKS - b->grown) return;
  memset(b->chunk[b->grown].zero, 0xff, sizeof b->chunk[0].zero);
  for (uint32_t i = 0; i < n; i++)
    memset(b->chunk[b->grown + i].zero, 0xff, sizeof b->chunk[0].zero);
  mpgi_pagealloc_grow(&b->pa[sort], b->grown, n);
  uint32_t lo = b->grown * MPGI_CHUNK_PAGES;
  memset(b->o->owner + lo, sort + 1, n * MPGI_CHUNK_PAGES);
  memset(b->o->free + lo, 1, n * MPGI_CHUNK_PAGES);
  memset(b->o->zero + lo, 1, n * MPGI_CHUNK_PAGES);
  b->grown += n;
}

static void check_alloc(struct bench *b, int sort, uint32_t n) {
  uint32_t zeroed = 0, want = oracle_find(b->o, sort, n);
  uint32_t got = mpgi_pagealloc_alloc(&b->pa[sort], n, &zeroed);
  assert_int_equal(got, want);
  if (got == MPGI_NO_PAGE) return;
  assert_int_equal(zeroed, oracle_take(b->o, got, n));
}

/* Free the allocated run around a random page, or a part of it. */
static void check_free(struct bench *b) {
  if (b->grown == 0) return;
  uint32_t p = draw(b->grown * MPGI_CHUNK_PAGES), n = 0, max = 1 + draw(600);
  int sort = b->o->owner[p] - 1;
  while (n < max && p + n < PAGES && b->o->owner[p + n] == sort + 1 &&
         !b->o->free[p + n])
    n++;
  if (n == 0) return;
  mpgi_pagealloc_free(&b->pa[sort], p, n);
  memset(b->o->free + p, 1, n);
}

static void check_alloc_at(struct bench *b) {
  uint32_t p = draw(PAGES), n = 1 + draw(300), zeroed = 0;
  int sort = (int) draw(MPGI_SORT_COUNT);
  bool can = p + n <= PAGES;
  for (uint32_t i = p; can && i < p + n; i++) can = is_ours(b->o, sort, i);
  assert_int_equal(mpgi_pagealloc_alloc_at(&b->pa[sort], p, n, &zeroed), can);
  if (can) assert_int_equal(zeroed, oracle_take(b->o, p, n));
}

static void check_take_chunk(struct bench *b) {
  int sort = (int) draw(MPGI_SORT_COUNT);
  uint32_t chunk, want = CHUNKS;
  for (uint32_t c = 0; c < CHUNKS && want == CHUNKS; c++) {
    uint32_t n = 0;
    while (n < MPGI_CHUNK_PAGES &&
           is_ours(b->o, sort, c * MPGI_CHUNK_PAGES + n))
      n++;
    if (n == MPGI_CHUNK_PAGES) want = c;
  }
  bool got = mpgi_pagealloc_take_chunk(&b->pa[sort], &chunk);
  assert_int_equal(got, want < CHUNKS);
  if (!got) return;
  assert_int_equal(chunk, want);
  mpgi_pagealloc_grow(&b->pa[1 - sort], chunk, 1);
  memset(b->o->owner + chunk * MPGI_CHUNK_PAGES, 2 - sort, MPGI_CHUNK_PAGES);
}

static void check_scavenge(struct bench *b) {
  int sort = (int) draw(MPGI_SORT_COUNT);
  uint32_t below = draw(PAGES + 1), max = 1 + draw(MPGI_CHUNK_PAGES), page = 0;
  uint32_t n = mpgi_pagealloc_scavenge(&b->pa[sort], below, max, &page);
  uint32_t top = below;
  while (top > 0 && !(is_ours(b->o, sort, top - 1) && !b->o->zero[top - 1]))
    top--;
  assert_int_equal(n > 0, top > 0);
  if (n == 0) return;
  assert_int_equal(page + n, top);
  assert_true(n <= max &&
              page / MPGI_CHUNK_PAGES == (top - 1) / MPGI_CHUNK_PAGES);
  for (uint32_t p = page; p < page + n; p++) {
    assert_true(is_ours(b->o, sort, p) && !b->o->zero[p]);
    b->o->zero[p] = 1;
  }
}

static void step(struct bench *b) {
  int sort = (int) draw(MPGI_SORT_COUNT);
  switch (draw(16)) {
  case 0: grow(b, sort, 1 + draw(3)); break;
  case 1: check_take_chunk(b); break;
  case 2: check_alloc_at(b); break;
  case 3: check_scavenge(b); break;
  case 4: check_alloc(b, sort, 1 + draw(1500)); break;
  case 5:
  case 6:
  case 7: check_alloc(b, sort, 1 + draw(20)); break;
  case 8:
  case 9: check_alloc(b, sort, 1 + draw(300)); break;
  default: check_free(b); break;
  }
}

static void random_steps_agree_with_the_oracle(void **state) {
  struct bench *b = *state;
  for (int i = 0; i < 20000; i++) {
    step(b);
    if (i % 64 != 0) continue;
    for (int s = 0; s < MPGI_SORT_COUNT; s++)
      assert_true(mpgi_pagealloc_is_valid(&b->pa[s]));
  }
  assert_int_equal(b->grown, CHUNKS);
}

static void runs_coalesce_across_chunks(void **state) {
  struct bench *b = *state;
  grow(b, 0, 8);
  uint32_t zeroed, all = 8 * MPGI_CHUNK_PAGES;
  for (uint32_t p = 0; p < all; p++)
    assert_int_equal(mpgi_pagealloc_alloc(&b->pa[0], 1, &zeroed), p);
  assert_int_equal(mpgi_pagealloc_alloc(&b->pa[0], 1, &zeroed), MPGI_NO_PAGE);
  for (uint32_t p = 1; p < all; p += 2) mpgi_pagealloc_free(&b->pa[0], p, 1);
  assert_int_equal(mpgi_pagealloc_alloc(&b->pa[0], 2, &zeroed), MPGI_NO_PAGE);
  for (uint32_t p = 0; p < all; p += 2) mpgi_pagealloc_free(&b->pa[0], p, 1);
  assert_int_equal(mpgi_pagealloc_alloc(&b->pa[0], all, &zeroed), 0);
  assert_int_equal(zeroed, 0);
}

static void freeing_twice_is_caught(void **state) {
  struct bench *b = *state;
  uint32_t zeroed;
  grow(b, 0, 1);
  mpgi_pagealloc_alloc(&b->pa[0], 4, &zeroed);
  mpgi_pagealloc_free(&b->pa[0], 1, 2);
  assert_fatal("check failed", mpgi_pagealloc_free(&b->pa[0], 2, 1));
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(random_steps_agree_with_the_oracle),
      TEST(runs_coalesce_across_chunks),
      TEST(freeing_twice_is_caught),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

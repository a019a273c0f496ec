/* pagealloc.c - address-ordered first fit over pages, in logarithmic time.
 *
 * Not responsible for memory: it neither commits nor releases; heap.c does.
 *
 * Structure.  Every chunk (2 MiB) has a bitmap of its 256 pages.  Over the
 * chunks stands a binary tree; the node for 2^level chunks holds the lengths
 * of the free run at its low end, of the longest free run in it, and of the
 * free run at its high end.  A node follows from its two children (merge), so
 * free runs that touch coalesce by arithmetic: there is no free list, no
 * boundary tag, and freeing needs no search.
 *
 * Search.  From the root: if the left child holds a run that is long enough
 * go left; else if the run across the middle is, that is the answer; else go
 * right.  Inside a chunk the bitmap is searched.  This finds the run with the
 * lowest address in one descent.
 *
 * Update.  The bitmaps of the chunks touched, their leaves, then upwards the
 * parents of what changed; it stops where nothing changes.
 *
 * Only levels that cover used chunks exist (top), so a small heap has a small
 * tree.  Nodes beyond used_chunks are zero: "nothing free".
 *
 * Invariants
 *   [pages.tree]  every node is the merge of its children; every leaf follows
 *                 from its bitmap (mpgi_pagealloc_is_valid)
 *   [pages.owner] a chunk that another sort owns has a zero leaf here, though
 *                 its bitmap may have bits set
 *
 * Concurrency: the caller holds the heap lock.
 *
 * Rejected: a treap of runs (a cache miss a level, memory for its nodes);
 * segregated bins (best fit is not address ordered, and address order is what
 * empties the high chunks so that they can be given back).
 *
 * Source: Go 1.19 mpagealloc.go (summaries).  Differences: binary with 32-bit
 * fields instead of 8-ary packed in 21 bits, so runs of any length are exact.
 */
#define MPGI_GC_INSIDE 1
#include <gc/pagealloc.h>

#include <string.h>

#include <arch/common/check.h>

/* ---- bitmaps of one chunk ---- */

static uint64_t mask_range(unsigned lo, unsigned hi) {
  MPG_ASSERT_INTERNAL(lo < hi && hi <= 64);
  return (~UINT64_C(0) >> (64 - (hi - lo))) << lo;
}

/* Call for the part of [lo, hi) in each word of a chunk's bitmap. */
#define EACH_WORD(w, m, lo, hi)                                                \
  for (unsigned w = (lo) / 64, m##_hi;                                         \
       w * 64 < (hi) && (m##_hi = (hi) -w * 64 < 64 ? (hi) -w * 64 : 64); w++) \
    for (uint64_t m = mask_range(w == (lo) / 64 ? (lo) % 64 : 0, m##_hi),      \
                  m##_once = 1;                                                \
         m##_once; m##_once = 0)

static void bits_set(uint64_t *bits, unsigned lo, unsigned hi) {
  EACH_WORD(w, m, lo, hi) bits[w] |= m;
}

static void bits_clear(uint64_t *bits, unsigned lo, unsigned hi) {
  EACH_WORD(w, m, lo, hi) bits[w] &= ~m;
}

static uint32_t bits_count(const uint64_t *bits, unsigned lo, unsigned hi) {
  uint32_t n = 0;
  EACH_WORD(w, m, lo, hi) n += (uint32_t) __builtin_popcountll(bits[w] & m);
  return n;
}

static bool bits_all(const uint64_t *bits, unsigned lo, unsigned hi) {
  bool all = true;
  EACH_WORD(w, m, lo, hi) all &= (bits[w] & m) == m;
  return all;
}

/* The first index >= from whose bit is `value`; MPGI_CHUNK_PAGES: none. */
static unsigned bits_next(const uint64_t *bits, unsigned from, bool value) {
  for (unsigned w = from / 64; w < MPGI_CHUNK_WORDS; w++) {
    uint64_t x = value ? bits[w] : ~bits[w];
    if (w == from / 64) x &= ~UINT64_C(0) << from % 64;
    if (x != 0) return w * 64 + (unsigned) __builtin_ctzll(x);
  }
  return MPGI_CHUNK_PAGES;
}

/* Length of the run of ones that ends before `end`. */
static unsigned bits_run_below(const uint64_t *bits, unsigned end) {
  unsigned n = 0;
  while (n < end) {
    unsigned at = end - n, in = (at - 1) % 64 + 1;
    uint64_t x = ~bits[(at - 1) / 64] << (64 - in);
    unsigned ones = x == 0 ? 64 : (unsigned) __builtin_clzll(x);
    if (ones < in) return n + ones;
    n += in;
  }
  return n;
}

/* The lowest run of n ones; MPGI_CHUNK_PAGES: there is none. */
static unsigned bits_find(const uint64_t *bits, unsigned n) {
  unsigned lo = bits_next(bits, 0, true);
  while (lo < MPGI_CHUNK_PAGES) {
    unsigned hi = bits_next(bits, lo, false);
    if (hi - lo >= n) return lo;
    lo = bits_next(bits, hi, true);
  }
  return MPGI_CHUNK_PAGES;
}

static struct mpgi_run leaf_of(const struct mpgi_chunk *c) {
  struct mpgi_run run = {0, 0, 0};
  unsigned lo = bits_next(c->free, 0, true);
  while (lo < MPGI_CHUNK_PAGES) {
    unsigned hi = bits_next(c->free, lo, false);
    if (lo == 0) run.start = hi;
    if (hi == MPGI_CHUNK_PAGES) run.end = hi - lo;
    if (hi - lo > run.max) run.max = hi - lo;
    lo = hi < MPGI_CHUNK_PAGES ? bits_next(c->free, hi, true) : hi;
  }
  return run;
}

/* ---- the tree ---- */

static struct mpgi_run merge(struct mpgi_run a, struct mpgi_run b,
                             uint32_t child_pages) {
  uint32_t middle = a.end + b.start;
  struct mpgi_run run = {
      .start = a.start == child_pages ? child_pages + b.start : a.start,
      .max = a.max > b.max ? a.max : b.max,
      .end = b.end == child_pages ? child_pages + a.end : b.end,
  };
  if (middle > run.max) run.max = middle;
  return run;
}

static bool run_equal(struct mpgi_run a, struct mpgi_run b) {
  return a.start == b.start && a.max == b.max && a.end == b.end;
}

static struct mpgi_run node_of(const struct mpgi_pagealloc *pa, unsigned level,
                               uint32_t i) {
  const struct mpgi_run *below = pa->level[level - 1];
  return merge(below[2 * i], below[2 * i + 1], MPGI_CHUNK_PAGES << (level - 1));
}

/* Recompute the ancestors of leaves [first, last]. */
static void ascend(struct mpgi_pagealloc *pa, uint32_t first, uint32_t last) {
  for (unsigned level = 1; level <= pa->top; level++) {
    bool changed = false;
    first /= 2;
    last /= 2;
    for (uint32_t i = first; i <= last; i++) {
      struct mpgi_run run = node_of(pa, level, i);
      changed |= !run_equal(run, pa->level[level][i]);
      pa->level[level][i] = run;
    }
    if (!changed) return;
  }
}

/* Leaves of chunks [first, last] and everything above them. */
static void refresh(struct mpgi_pagealloc *pa, uint32_t first, uint32_t last) {
  MPG_ASSERT(last < pa->used_chunks);
  for (uint32_t i = first; i <= last; i++)
    pa->level[0][i] = leaf_of(&pa->chunk[i]);
  ascend(pa, first, last);
}

/* The lowest run of n pages anywhere, as a page number. */
static uint32_t find(const struct mpgi_pagealloc *pa, uint32_t n) {
  uint32_t i = 0;
  if (pa->used_chunks == 0 || pa->level[pa->top][0].max < n)
    return MPGI_NO_PAGE;
  for (unsigned level = pa->top; level > 0; level--) {
    const struct mpgi_run *child = &pa->level[level - 1][2 * i];
    uint32_t child_pages = MPGI_CHUNK_PAGES << (level - 1);
    if (child[0].max >= n)
      i = 2 * i;
    else if (child[0].end + child[1].start >= n)
      return (2 * i + 1) * child_pages - child[0].end;
    else
      i = 2 * i + 1;
    MPG_ASSERT_INTERNAL(pa->level[level - 1][i].max >= n);
  }
  unsigned at = bits_find(pa->chunk[i].free, n);
  MPG_ASSERT(at < MPGI_CHUNK_PAGES);
  return i * MPGI_CHUNK_PAGES + at;
}

/* ---- ranges of pages across chunks ---- */

struct piece {
  uint32_t chunk;
  unsigned lo, hi; /* pages within it */
};

/* The part of [*page, end) in the chunk of *page; advances *page. */
static struct piece piece_next(uint32_t *page, uint32_t end) {
  struct piece p = {.chunk = *page / MPGI_CHUNK_PAGES,
                    .lo = *page % MPGI_CHUNK_PAGES};
  uint32_t n = end - *page;
  p.hi = n < MPGI_CHUNK_PAGES - p.lo ? p.lo + n : MPGI_CHUNK_PAGES;
  *page += p.hi - p.lo;
  return p;
}

static bool range_is_free(const struct mpgi_pagealloc *pa, uint32_t page,
                          uint32_t end) {
  while (page < end) {
    struct piece p = piece_next(&page, end);
    if (pa->level[0][p.chunk].max == 0) return false; /* full or another's */
    if (!bits_all(pa->chunk[p.chunk].free, p.lo, p.hi)) return false;
  }
  return true;
}

/* Returns how many of the pages were zero. */
static uint32_t range_take(struct mpgi_pagealloc *pa, uint32_t page,
                           uint32_t n) {
  uint32_t first = page / MPGI_CHUNK_PAGES, end = page + n;
  uint32_t zeroed = 0;
  while (page < end) {
    struct piece p = piece_next(&page, end);
    struct mpgi_chunk *c = &pa->chunk[p.chunk];
    MPG_ASSERT_INTERNAL(bits_all(c->free, p.lo, p.hi));
    zeroed += bits_count(c->zero, p.lo, p.hi);
    bits_clear(c->free, p.lo, p.hi);
    bits_clear(c->zero, p.lo, p.hi);
  }
  pa->free_pages -= n;
  refresh(pa, first, (end - 1) / MPGI_CHUNK_PAGES);
  return zeroed;
}

/* ---- interface ---- */

static unsigned levels_for(uint32_t chunks) {
  unsigned levels = 1;
  while (((uint32_t) 1 << (levels - 1)) < chunks) levels++;
  return levels;
}

/* Two nodes at least on every level: a parent reads both children. */
static size_t level_nodes(uint32_t max_chunks, unsigned level) {
  return (((size_t) max_chunks - 1) >> level) + 2;
}

size_t mpgi_pagealloc_bytes(uint32_t max_chunks) {
  size_t nodes = 0;
  for (unsigned i = 0; i < levels_for(max_chunks); i++)
    nodes += level_nodes(max_chunks, i);
  return nodes * sizeof(struct mpgi_run);
}

void mpgi_pagealloc_init(struct mpgi_pagealloc *pa, void *tree,
                         struct mpgi_chunk *chunk, uint32_t max_chunks) {
  struct mpgi_run *at = tree;
  MPG_ASSERT(max_chunks > 0);
  MPG_ASSERT(levels_for(max_chunks) <= MPGI_TREE_LEVELS_MAX);
  memset(pa, 0, sizeof *pa);
  pa->chunk = chunk;
  pa->max_chunks = max_chunks;
  for (unsigned i = 0; i < levels_for(max_chunks); i++) {
    pa->level[i] = at;
    at += level_nodes(max_chunks, i);
  }
}

/* New levels start as copies of what they cover. */
static void raise_top(struct mpgi_pagealloc *pa, uint32_t used) {
  pa->used_chunks = used;
  while (((uint32_t) 1 << pa->top) < used) {
    pa->top++;
    pa->level[pa->top][0] = node_of(pa, pa->top, 0);
  }
}

void mpgi_pagealloc_grow(struct mpgi_pagealloc *pa, uint32_t first,
                         uint32_t n) {
  MPG_ASSERT(n > 0 && n <= pa->max_chunks && first <= pa->max_chunks - n);
  if (first + n > pa->used_chunks) raise_top(pa, first + n);
  for (uint32_t i = first; i < first + n; i++) {
    MPG_ASSERT(pa->level[0][i].max == 0);
    bits_set(pa->chunk[i].free, 0, MPGI_CHUNK_PAGES);
  }
  pa->free_pages += (uint64_t) n * MPGI_CHUNK_PAGES;
  pa->chunks += n;
  refresh(pa, first, first + n - 1);
}

uint32_t mpgi_pagealloc_alloc(struct mpgi_pagealloc *pa, uint32_t n,
                              uint32_t *zeroed) {
  MPG_ASSERT(n > 0);
  uint32_t page = find(pa, n);
  if (page != MPGI_NO_PAGE) *zeroed = range_take(pa, page, n);
  return page;
}

bool mpgi_pagealloc_alloc_at(struct mpgi_pagealloc *pa, uint32_t page,
                             uint32_t n, uint32_t *zeroed) {
  MPG_ASSERT(n > 0);
  uint64_t used = (uint64_t) pa->used_chunks * MPGI_CHUNK_PAGES;
  if (page > used || n > used - page) return false;
  if (!range_is_free(pa, page, page + n)) return false;
  *zeroed = range_take(pa, page, n);
  return true;
}

void mpgi_pagealloc_free(struct mpgi_pagealloc *pa, uint32_t page, uint32_t n) {
  uint32_t first = page / MPGI_CHUNK_PAGES, end = page + n;
  MPG_ASSERT(n > 0 && end > page);
  while (page < end) {
    struct piece p = piece_next(&page, end);
    struct mpgi_chunk *c = &pa->chunk[p.chunk];
    MPG_ASSERT(bits_next(c->free, p.lo, true) >= p.hi); /* not free yet */
    bits_set(c->free, p.lo, p.hi);
  }
  pa->free_pages += n;
  refresh(pa, first, (end - 1) / MPGI_CHUNK_PAGES);
}

/* Depth first, only where a whole chunk may still be found. */
static bool find_chunk(const struct mpgi_pagealloc *pa, unsigned level,
                       uint32_t i, uint32_t *chunk) {
  if (pa->level[level][i].max < MPGI_CHUNK_PAGES) return false;
  *chunk = i;
  if (level == 0) return true;
  return find_chunk(pa, level - 1, 2 * i, chunk) ||
         find_chunk(pa, level - 1, 2 * i + 1, chunk);
}

bool mpgi_pagealloc_take_chunk(struct mpgi_pagealloc *pa, uint32_t *chunk) {
  if (pa->used_chunks == 0 || !find_chunk(pa, pa->top, 0, chunk)) return false;
  MPG_ASSERT(*chunk < pa->used_chunks);
  bits_clear(pa->chunk[*chunk].free, 0, MPGI_CHUNK_PAGES);
  pa->free_pages -= MPGI_CHUNK_PAGES;
  pa->chunks--;
  refresh(pa, *chunk, *chunk);
  return true;
}

/* The highest run of free pages with memory below `below` in one chunk. */
static unsigned held_run(const struct mpgi_chunk *c, unsigned below,
                         unsigned max, unsigned *lo) {
  uint64_t held[MPGI_CHUNK_WORDS];
  for (unsigned w = 0; w < MPGI_CHUNK_WORDS; w++)
    held[w] = c->free[w] & ~c->zero[w];
  for (unsigned end = below; end > 0; end--) {
    unsigned n = bits_run_below(held, end);
    if (n == 0) continue;
    if (n > max) n = max;
    *lo = end - n;
    return n;
  }
  return 0;
}

uint32_t mpgi_pagealloc_scavenge(struct mpgi_pagealloc *pa, uint32_t below,
                                 uint32_t max, uint32_t *page) {
  uint32_t used = pa->used_chunks * MPGI_CHUNK_PAGES;
  if (below > used) below = used;
  while (below > 0) {
    uint32_t c = (below - 1) / MPGI_CHUNK_PAGES;
    unsigned lo, n = 0;
    if (pa->level[0][c].max > 0)
      n = held_run(&pa->chunk[c], below - c * MPGI_CHUNK_PAGES, max, &lo);
    if (n > 0) {
      bits_set(pa->chunk[c].zero, lo, lo + n);
      *page = c * MPGI_CHUNK_PAGES + lo;
      return n;
    }
    below = c * MPGI_CHUNK_PAGES;
  }
  return 0;
}

void mpgi_pagealloc_scavenge_undo(struct mpgi_pagealloc *pa, uint32_t page,
                                  uint32_t n) {
  unsigned lo = page % MPGI_CHUNK_PAGES;
  struct mpgi_chunk *c = &pa->chunk[page / MPGI_CHUNK_PAGES];
  MPG_ASSERT(bits_all(c->free, lo, lo + n) && bits_all(c->zero, lo, lo + n));
  bits_clear(c->zero, lo, lo + n);
}

bool mpgi_pagealloc_is_valid(const struct mpgi_pagealloc *pa) {
  uint64_t free_pages = 0;
  for (uint32_t i = 0; i < pa->used_chunks; i++) {
    struct mpgi_run leaf = pa->level[0][i];
    if (leaf.max == 0) continue;
    if (!run_equal(leaf, leaf_of(&pa->chunk[i]))) return false;
    for (unsigned w = 0; w < MPGI_CHUNK_WORDS; w++)
      free_pages += (unsigned) __builtin_popcountll(pa->chunk[i].free[w]);
  }
  for (unsigned level = 1; level <= pa->top; level++)
    for (uint32_t i = 0; i <= (pa->used_chunks - 1) >> level; i++)
      if (!run_equal(pa->level[level][i], node_of(pa, level, i))) return false;
  return free_pages == pa->free_pages;
}

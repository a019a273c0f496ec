/* heap.c - the reservation: heap chunks, their tables, runs of pages.
 *
 * Concepts
 *   reservation  one range of addresses for everything below, made once:
 *                heap | page table | pairs | span records | chunk bitmaps |
 *                trees.  Tables are indexed by page number, so an address
 *                leads to its metadata by subtraction and shift, without a
 *                pointer that could dangle: readers need no lock.
 *   chunk        2 MiB, the unit of commitment and of ownership by a sort:
 *                pointer-free spans never share a chunk (a huge page) with
 *                scanned ones.
 *   used         bytes of the heap whose chunks are committed; only grows.
 *   held         pages that hold memory: touched and not given back.
 *
 * Growing commits the chunks after `used`, tables in steps of TABLE_STEP
 * chunks before them; `used` is published last, so whoever sees an address
 * below it may read its tables.
 *
 * When the system refuses the whole reservation, halves are tried.  After a
 * refusal the last half granted is halved once more: address space is scarce
 * then, and threads and libraries need some.
 *
 * Concurrency: heap.lock (GC_HEAP) guards the page allocators; the lock is
 * held over the system calls of growing and releasing, which is rare.  Failure
 * leaves everything as it was: tables committed in vain are used next time.
 */
#define MPGI_GC_INSIDE 1
#include <errno.h>
#include <string.h>

#include <arch/os.h>
#include <gc/gc_private.h>

#define RESERVE_BYTES ((size_t) 1 << 40)
#define RESERVE_MIN_BYTES ((size_t) 64 << 20)
#define TABLE_STEP 64u /* chunks: 2 MiB of pairs, a huge page */
#define GROW_MAX_CHUNKS 32u

struct mpgi_heap mpgi_heap MPGI_NOROOT;

/* ---- layout of the reservation ---- */

enum part {
  PART_HEAP,
  PART_PAIR,
  PART_SPAN,
  PART_ENTRY,
  PART_CHUNK,
  PART_TREE,
  PARTS
};

static size_t part_bytes(enum part part, uint32_t chunks) {
  size_t pages = (size_t) chunks * MPGI_CHUNK_PAGES;
  switch (part) {
  case PART_HEAP: return (size_t) chunks << MPGI_CHUNK_LOG2;
  case PART_PAIR: return pages * MPGI_PAGE_PAIRS * sizeof(struct mpgi_pair);
  case PART_SPAN: return pages * sizeof(struct mpgi_span);
  case PART_ENTRY: return pages * sizeof(uint32_t);
  case PART_CHUNK: return chunks * sizeof(struct mpgi_chunk);
  default: return MPGI_SORT_COUNT * mpgi_pagealloc_bytes(chunks);
  }
}

/* Parts begin on huge pages: sizes are rounded up. */
static size_t part_room(enum part part, uint32_t chunks) {
  return (part_bytes(part, chunks) + MPGI_CHUNK_BYTES - 1) &
         ~(MPGI_CHUNK_BYTES - 1);
}

static size_t total_room(uint32_t chunks) {
  size_t total = 0;
  for (int i = 0; i < PARTS; i++) total += part_room((enum part) i, chunks);
  return total;
}

static void *reserve(uint32_t chunks) {
  return mpgi_os_mem_reserve(total_room(chunks), MPGI_CHUNK_BYTES);
}

/* The largest reservation that leaves room for others. */
static void *reserve_some(uint32_t *chunks) {
  uint32_t n = (uint32_t) (RESERVE_BYTES >> MPGI_CHUNK_LOG2);
  const uint32_t min = (uint32_t) (RESERVE_MIN_BYTES >> MPGI_CHUNK_LOG2);
  void *mem = reserve(n);
  if (mem == NULL) {
    do n /= 2;
    while ((mem = reserve(n)) == NULL && n > min);
    if (mem != NULL && n > min) {
      mpgi_os_mem_unmap(mem, total_room(n));
      n /= 2;
      mem = reserve(n);
    }
  }
  *chunks = n;
  return mem;
}

static int layout(char *mem, uint32_t chunks) {
  struct mpgi_heap *h = &mpgi_heap;
  void *at[PARTS];
  for (int i = 0; i < PARTS; i++) {
    at[i] = mem;
    mem += part_room((enum part) i, chunks);
  }
  if (mpgi_os_mem_commit(at[PART_CHUNK], part_room(PART_CHUNK, chunks)) != 0 ||
      mpgi_os_mem_commit(at[PART_TREE], part_room(PART_TREE, chunks)) != 0)
    return -ENOMEM;
  h->lo = (uintptr_t) at[PART_HEAP];
  h->limit = h->lo + part_bytes(PART_HEAP, chunks);
  h->entry = at[PART_ENTRY];
  h->pair = at[PART_PAIR];
  h->span = at[PART_SPAN];
  h->chunk = at[PART_CHUNK];
  h->max_chunks = chunks;
  for (int i = 0; i < MPGI_SORT_COUNT; i++)
    mpgi_pagealloc_init(
        &h->pages[i],
        (char *) at[PART_TREE] + (size_t) i * mpgi_pagealloc_bytes(chunks),
        h->chunk, chunks);
  return 0;
}

static int tables_grow(uint32_t n);

int mpgi_heap_init(void) {
  uint32_t chunks;
  if (mpgi_heap.lo != 0) return 0;
  void *mem = reserve_some(&chunks);
  if (mem == NULL) return -ENOMEM;
  int rc = layout(mem, chunks);
  /* Offset 0 passes the marker's filter even while the heap is empty. */
  if (rc == 0) rc = tables_grow(1);
  if (rc != 0) {
    mpgi_heap.lo = 0;
    mpgi_os_mem_unmap(mem, total_room(chunks));
    return rc;
  }
  mpgi_mutex_init(&mpgi_heap.lock, MPGI_RANK_GC_HEAP);
  MPG_ASSERT(mpgi_heap.lo % MPGI_CHUNK_BYTES == 0);
  return 0;
}

/* ---- growing ---- */

static int commit_step(enum part part, void *base, uint32_t from, uint32_t to) {
  size_t lo = part_bytes(part, from), hi = part_bytes(part, to);
  size_t page = mpgi_os_page_bytes;
  lo &= ~(page - 1);
  hi = (hi + page - 1) & ~(page - 1);
  return mpgi_os_mem_commit((char *) base + lo, hi - lo);
}

/* Commit tables for the first n chunks. */
static int tables_grow(uint32_t n) {
  struct mpgi_heap *h = &mpgi_heap;
  uint32_t from = h->table_chunks;
  if (n <= from) return 0;
  uint32_t to = (n + TABLE_STEP - 1) / TABLE_STEP * TABLE_STEP;
  if (to > h->max_chunks) to = h->max_chunks;
  if (commit_step(PART_PAIR, h->pair, from, to) != 0 ||
      commit_step(PART_SPAN, h->span, from, to) != 0 ||
      commit_step(PART_ENTRY, h->entry, from, to) != 0)
    return -ENOMEM;
  /* A small heap keeps small tables; later steps fill huge pages. */
  if (from > 0)
    mpgi_os_mem_huge((char *) h->pair + part_bytes(PART_PAIR, from),
                     part_bytes(PART_PAIR, to - from));
  h->table_chunks = to;
  return 0;
}

/* Commit n chunks for a sort. */
static int chunks_grow(enum mpgi_sort sort, uint32_t n) {
  struct mpgi_heap *h = &mpgi_heap;
  uint64_t used = mpgi_load(&h->used);
  uint32_t first = (uint32_t) (used >> MPGI_CHUNK_LOG2);
  mpgi_mutex_assert_held(&h->lock);
  if (n > h->max_chunks - first) return -ENOMEM;
  size_t bytes = (size_t) n << MPGI_CHUNK_LOG2;
  void *lo = (void *) (h->lo + used);
  if (tables_grow(first + n) != 0 || mpgi_os_mem_commit(lo, bytes) != 0)
    return -ENOMEM;
  mpgi_os_mem_huge(lo, bytes);
  for (uint32_t i = first; i < first + n; i++)
    memset(h->chunk[i].zero, 0xff, sizeof h->chunk[i].zero);
  mpgi_pagealloc_grow(&h->pages[sort], first, n);
  atomic_store_explicit(&h->used, used + bytes, memory_order_release);
  return 0;
}

/* A wholly free chunk of the other sort becomes ours. */
static bool chunk_convert(enum mpgi_sort sort) {
  struct mpgi_heap *h = &mpgi_heap;
  uint32_t chunk;
  if (!mpgi_pagealloc_take_chunk(&h->pages[MPGI_SORT_COUNT - 1 - sort], &chunk))
    return false;
  mpgi_pagealloc_grow(&h->pages[sort], chunk, 1);
  return true;
}

static uint32_t chunks_for(uint32_t pages) {
  return (pages + MPGI_CHUNK_PAGES - 1) / MPGI_CHUNK_PAGES;
}

/* At least so many chunks at the heap's end. */
static bool end_grow(enum mpgi_sort sort, uint32_t need) {
  struct mpgi_heap *h = &mpgi_heap;
  uint32_t more = (uint32_t) (mpgi_load(&h->used) >> MPGI_CHUNK_LOG2) / 16;
  if (more > GROW_MAX_CHUNKS) more = GROW_MAX_CHUNKS;
  if (more > need && chunks_grow(sort, more) == 0) return true;
  return chunks_grow(sort, need) == 0;
}

/* Make room for a run of n pages. */
static bool make_room(enum mpgi_sort sort, uint32_t n) {
  uint32_t need = chunks_for(n);
  return (need == 1 && chunk_convert(sort)) || end_grow(sort, need);
}

/* ---- runs of pages ---- */

/* Count a run taken; returns whether all of it reads zero. */
static bool taken(uint32_t n, uint32_t zeroed) {
  MPG_ASSERT_INTERNAL(zeroed <= n);
  if (zeroed > 0) mpgi_add(&mpgi_heap.held_pages, zeroed);
  return zeroed == n;
}

static uint32_t pages_get(enum mpgi_sort sort, uint32_t n, bool *zero,
                          bool grow) {
  struct mpgi_heap *h = &mpgi_heap;
  uint32_t zeroed = 0;
  MPG_ASSERT(n > 0 && sort < MPGI_SORT_COUNT);
  mpgi_mutex_lock(&h->lock);
  uint32_t page = mpgi_pagealloc_alloc(&h->pages[sort], n, &zeroed);
  if (page == MPGI_NO_PAGE && grow && make_room(sort, n))
    page = mpgi_pagealloc_alloc(&h->pages[sort], n, &zeroed);
  if (page != MPGI_NO_PAGE) *zero = taken(n, zeroed);
  mpgi_mutex_unlock(&h->lock);
  return page;
}

uint32_t mpgi_heap_pages_alloc(enum mpgi_sort sort, uint32_t n, bool *zeroed) {
  return pages_get(sort, n, zeroed, true);
}

uint32_t mpgi_heap_pages_reuse(enum mpgi_sort sort, uint32_t n, bool *zeroed) {
  return pages_get(sort, n, zeroed, false);
}

static void free_locked(enum mpgi_sort sort, uint32_t page, uint32_t n) {
  struct mpgi_heap *h = &mpgi_heap;
  mpgi_pagealloc_free(&h->pages[sort], page, n);
  if (page + n > h->scavenge_below[sort]) h->scavenge_below[sort] = page + n;
  MPG_ASSERT_EXPENSIVE(mpgi_pagealloc_is_valid(&h->pages[sort]));
}

/* The pages from `page` on are free up to the heap's end, which is moved to
 * make them n. */
static bool extend_at_end(enum mpgi_sort sort, uint32_t page, uint32_t n,
                          uint32_t *zeroed) {
  struct mpgi_heap *h = &mpgi_heap;
  struct mpgi_pagealloc *pa = &h->pages[sort];
  uint32_t end = (uint32_t) (mpgi_load(&h->used) >> MPGI_PAGE_LOG2), rest = 0;
  uint32_t front = end - page;
  if (page > end || front >= n) return false;
  if (front > 0 && !mpgi_pagealloc_alloc_at(pa, page, front, zeroed))
    return false;
  if (end_grow(sort, chunks_for(n - front)) &&
      mpgi_pagealloc_alloc_at(pa, end, n - front, &rest)) {
    *zeroed += rest;
    return true;
  }
  if (front > 0) {
    taken(front, *zeroed); /* they count as having memory from now on */
    free_locked(sort, page, front);
  }
  return false;
}

bool mpgi_heap_pages_extend(enum mpgi_sort sort, uint32_t page, uint32_t n,
                            bool *zeroed) {
  struct mpgi_heap *h = &mpgi_heap;
  uint32_t zero_pages = 0;
  mpgi_mutex_lock(&h->lock);
  bool ok = mpgi_pagealloc_alloc_at(&h->pages[sort], page, n, &zero_pages) ||
            extend_at_end(sort, page, n, &zero_pages);
  if (ok) *zeroed = taken(n, zero_pages);
  mpgi_mutex_unlock(&h->lock);
  return ok;
}

static uint64_t idle_bytes_locked(void) {
  struct mpgi_heap *h = &mpgi_heap;
  uint64_t owned = (h->pages[0].chunks + h->pages[1].chunks) * MPGI_CHUNK_PAGES;
  uint64_t free_pages = h->pages[0].free_pages + h->pages[1].free_pages;
  uint64_t in_spans = owned - free_pages, held = mpgi_load(&h->held_pages);
  mpgi_mutex_assert_held(&h->lock);
  MPG_ASSERT(held >= in_spans);
  return (held - in_spans) << MPGI_PAGE_LOG2;
}

void mpgi_heap_pages_free(enum mpgi_sort sort, uint32_t page, uint32_t n) {
  struct mpgi_heap *h = &mpgi_heap;
  MPG_ASSERT(n > 0 && sort < MPGI_SORT_COUNT);
  mpgi_mutex_lock(&h->lock);
  free_locked(sort, page, n);
  uint64_t idle = idle_bytes_locked();
  mpgi_mutex_unlock(&h->lock);
  if (idle > mpgi_gc_idle_margin()) mpgi_sweep_scavenge();
}

/* ---- giving memory back ---- */

/* One run of one sort; returns its pages.  0: there are none, or the system
 * doesn't take them now. */
static uint32_t release_run_locked(enum mpgi_sort sort, uint32_t max) {
  struct mpgi_heap *h = &mpgi_heap;
  struct mpgi_pagealloc *pa = &h->pages[sort];
  uint32_t page = 0;
  uint32_t n = mpgi_pagealloc_scavenge(pa, h->scavenge_below[sort], max, &page);
  if (n > 0 && !mpgi_os_mem_release((void *) mpgi_heap_addr_of(page),
                                    (size_t) n << MPGI_PAGE_LOG2)) {
    mpgi_pagealloc_scavenge_undo(pa, page, n);
    return 0;
  }
  h->scavenge_below[sort] = page;
  if (n > 0) mpgi_sub(&h->held_pages, n);
  return n;
}

static uint32_t release_run(enum mpgi_sort sort, uint32_t max) {
  mpgi_mutex_lock(&mpgi_heap.lock);
  uint32_t n = release_run_locked(sort, max);
  mpgi_mutex_unlock(&mpgi_heap.lock);
  return n;
}

uint64_t mpgi_heap_release(uint64_t max) {
  uint64_t pages = max >> MPGI_PAGE_LOG2, done = 0;
  for (int sort = 0; sort < MPGI_SORT_COUNT; sort++)
    while (done < pages) {
      uint64_t left = pages - done;
      uint32_t n = release_run((enum mpgi_sort) sort, left < MPGI_CHUNK_PAGES
                                                          ? (uint32_t) left
                                                          : MPGI_CHUNK_PAGES);
      if (n == 0) break;
      done += n;
    }
  return done << MPGI_PAGE_LOG2;
}

/* All of it is free and holds no memory.  Its tables are all zero then
 * ([span.bits], [span.entry]; a free span's record says nothing that zero
 * doesn't), and nobody makes a span in it without the lock. */
static bool chunk_is_empty(uint32_t i) {
  const struct mpgi_heap *h = &mpgi_heap;
  if (h->pages[0].level[0][i].max < MPGI_CHUNK_PAGES &&
      h->pages[1].level[0][i].max < MPGI_CHUNK_PAGES)
    return false;
  for (unsigned w = 0; w < MPGI_CHUNK_WORDS; w++)
    if (h->chunk[i].zero[w] != ~UINT64_C(0)) return false;
  return true;
}

static void part_release(enum part part, void *base, uint32_t from,
                         uint32_t to) {
  size_t page = mpgi_os_page_bytes;
  size_t lo = (part_bytes(part, from) + page - 1) & ~(page - 1);
  size_t hi = part_bytes(part, to) & ~(page - 1);
  if (lo < hi) mpgi_os_mem_release((char *) base + lo, hi - lo);
}

void mpgi_heap_release_tables(void) {
  struct mpgi_heap *h = &mpgi_heap;
  mpgi_mutex_lock(&h->lock);
  uint32_t end = (uint32_t) (mpgi_load(&h->used) >> MPGI_CHUNK_LOG2);
  for (uint32_t from = 0, to; from < end; from = to + 1) {
    for (to = from; to < end && chunk_is_empty(to);) to++;
    if (to == from) continue;
    part_release(PART_PAIR, h->pair, from, to);
    part_release(PART_SPAN, h->span, from, to);
    part_release(PART_ENTRY, h->entry, from, to);
  }
  mpgi_mutex_unlock(&h->lock);
}

uint64_t mpgi_heap_idle_bytes(void) {
  mpgi_mutex_lock(&mpgi_heap.lock);
  uint64_t bytes = idle_bytes_locked();
  mpgi_mutex_unlock(&mpgi_heap.lock);
  return bytes;
}

uint64_t mpgi_heap_mapped_bytes(void) {
  return mpgi_load(&mpgi_heap.held_pages) << MPGI_PAGE_LOG2;
}

uint64_t mpgi_heap_table_bytes(void) {
  uint32_t chunks = (uint32_t) (mpgi_heap_used() >> MPGI_CHUNK_LOG2);
  uint64_t bytes = 0;
  for (int i = PART_PAIR; i < PARTS; i++)
    bytes += part_bytes((enum part) i, chunks > 0 ? chunks : 1);
  return bytes;
}

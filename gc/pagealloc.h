/* pagealloc.h - address-ordered first fit over the pages of the heap.
 *
 * Private to gc.  See pagealloc.c for the structure.
 */
#ifndef MPGI_PAGEALLOC_H
#define MPGI_PAGEALLOC_H

#ifndef MPGI_GC_INSIDE
#error "gc/pagealloc.h is private to gc"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <arch/arch.h>

#define MPGI_PAGE_LOG2 13 /* 8 KiB: the unit of spans */
#define MPGI_PAGE_BYTES ((size_t) 1 << MPGI_PAGE_LOG2)
#define MPGI_CHUNK_LOG2 21 /* 2 MiB: the unit of commitment, a huge page */
#define MPGI_CHUNK_BYTES ((size_t) 1 << MPGI_CHUNK_LOG2)
#define MPGI_CHUNK_PAGES_LOG2 (MPGI_CHUNK_LOG2 - MPGI_PAGE_LOG2)
#define MPGI_CHUNK_PAGES (1u << MPGI_CHUNK_PAGES_LOG2)
#define MPGI_CHUNK_WORDS (MPGI_CHUNK_PAGES / 64)
#define MPGI_TREE_LEVELS_MAX 24
#define MPGI_NO_PAGE UINT32_MAX

/* Bitmaps of one chunk; bit i is page i of the chunk.  Guard: heap lock. */
struct mpgi_chunk {
  uint64_t free[MPGI_CHUNK_WORDS]; /* 1: in no span */
  uint64_t zero[MPGI_CHUNK_WORDS]; /* 1: reads zero and holds no memory (never
                                      touched, or given back) */
};
_Static_assert(sizeof(struct mpgi_chunk) == 64, "one cache line a chunk");

/* Free runs in an aligned block of 2^level chunks, in pages. */
struct mpgi_run {
  uint32_t start; /* length of the run at the block's low end */
  uint32_t max;   /* longest run anywhere in it */
  uint32_t end;   /* length of the run at its high end */
};

/* The pages of one sort (scanned, pointer-free).  Guard: heap lock. */
struct mpgi_pagealloc {
  struct mpgi_chunk *chunk; /* shared by the sorts; each chunk belongs to one */
  struct mpgi_run *level[MPGI_TREE_LEVELS_MAX]; /* level[0]: a run a chunk */
  uint32_t max_chunks;
  uint32_t used_chunks; /* chunks below this have been seen by grow */
  uint32_t top;         /* level[top][0] covers every used chunk */
  uint32_t reserved;
  uint64_t free_pages;
  uint64_t chunks; /* owned now */
};

/* Bytes of tree that init wants for max_chunks. */
MPGI_HIDDEN size_t mpgi_pagealloc_bytes(uint32_t max_chunks);
/* tree: that many zeroed bytes; chunk: array that outlives pa, of which only
 * the elements of chunks given by grow are touched. */
MPGI_HIDDEN void mpgi_pagealloc_init(struct mpgi_pagealloc *pa, void *tree,
                                     struct mpgi_chunk *chunk,
                                     uint32_t max_chunks);
/* Chunks [first, first + n) become free pages of pa; zero bits are kept. */
MPGI_HIDDEN void mpgi_pagealloc_grow(struct mpgi_pagealloc *pa, uint32_t first,
                                     uint32_t n);
/* Lowest run of n pages.  *zeroed: how many of them read zero and held no
 * memory.  MPGI_NO_PAGE when there is no such run. */
MPGI_HIDDEN uint32_t mpgi_pagealloc_alloc(struct mpgi_pagealloc *pa, uint32_t n,
                                          uint32_t *zeroed);
/* Take [page, page + n) if all of it is free and pa's. */
MPGI_HIDDEN bool mpgi_pagealloc_alloc_at(struct mpgi_pagealloc *pa,
                                         uint32_t page, uint32_t n,
                                         uint32_t *zeroed);
MPGI_HIDDEN void mpgi_pagealloc_free(struct mpgi_pagealloc *pa, uint32_t page,
                                     uint32_t n);
/* Give up one wholly free chunk (for the other sort); false: there is none. */
MPGI_HIDDEN bool mpgi_pagealloc_take_chunk(struct mpgi_pagealloc *pa,
                                           uint32_t *chunk);
/* The highest free pages below page `below` that hold memory: at most max
 * pages, within one chunk.  Marks them zero: the caller releases them before
 * it drops the lock.  Returns their number; 0: none. */
MPGI_HIDDEN uint32_t mpgi_pagealloc_scavenge(struct mpgi_pagealloc *pa,
                                             uint32_t below, uint32_t max,
                                             uint32_t *page);
/* These are not zero after all, and hold memory. */
MPGI_HIDDEN void mpgi_pagealloc_scavenge_undo(struct mpgi_pagealloc *pa,
                                              uint32_t page, uint32_t n);
/* Recompute everything from the bitmaps and compare (tests, MPG_CHECK 3). */
MPGI_HIDDEN bool mpgi_pagealloc_is_valid(const struct mpgi_pagealloc *pa);

#endif /* MPGI_PAGEALLOC_H */

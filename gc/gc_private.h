/* gc_private.h - what the files of gc share: heap, spans, caches, pacing.
 *
 * The marker's own structures are in mark_private.h.  docs/design/heap.md
 * explains the layout, docs/design/collector.md the cycle.
 *
 * Where the collector keeps its words.  Writable segments of the program are
 * roots, so variables that hold heap addresses are MPGI_NOROOT: a section
 * that the root scan leaves out.  Everything else of the collector is in
 * memory that is no root: the reservation's tables, mappings, fixmem.
 */
#ifndef MPGI_GC_PRIVATE_H
#define MPGI_GC_PRIVATE_H

#ifndef MPGI_GC_INSIDE
#error "gc/gc_private.h is private to gc and its unit tests"
#endif

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <arch/arch.h>
#include <arch/common/chaos.h>
#include <arch/common/check.h>
#include <arch/common/mutex.h>
#include <arch/common/rand.h>
#include <gc/gc.h>
#include <gc/pagealloc.h>
#include <gc/world.h>

extern const char mpgi_noroot_start[] __asm__("__start_mpg_noroot")
    __attribute__((visibility("hidden")));
extern const char mpgi_noroot_stop[] __asm__("__stop_mpg_noroot")
    __attribute__((visibility("hidden")));

static inline uint64_t mpgi_load(const _Atomic uint64_t *p) {
  return atomic_load_explicit(p, memory_order_relaxed);
}
static inline void mpgi_store(_Atomic uint64_t *p, uint64_t v) {
  atomic_store_explicit(p, v, memory_order_relaxed);
}
static inline void mpgi_add(_Atomic uint64_t *p, uint64_t v) {
  atomic_fetch_add_explicit(p, v, memory_order_relaxed);
}
static inline void mpgi_sub(_Atomic uint64_t *p, uint64_t v) {
  atomic_fetch_sub_explicit(p, v, memory_order_relaxed);
}

/* ---- size classes (sizeclass.c, sizeclass.def) ---- */

#define MPGI_GRANULE_LOG2 4
#define MPGI_GRANULE_BYTES ((size_t) 1 << MPGI_GRANULE_LOG2)
#define MPGI_CELL_MIN_BYTES 32
#define MPGI_SMALL_MAX_BYTES ((size_t) 30712) /* usable, of the last class */
#define MPGI_SMALL_PAGES_MAX 16
#define MPGI_CLASS_LARGE 0 /* one object in a span of its own */
/* The last bytes of a cell are never an object's, so one past its end is in
 * its own cell. */
#define MPGI_PAD_BYTES 8
enum {
#define MPGI_SIZECLASS(n, bytes, usable, pages, objects, tail, worst) \
  MPGI_CLASS_##n = n,
#include <gc/sizeclass.def>
#undef MPGI_SIZECLASS
  MPGI_CLASSES /* one more than the last */
};

struct mpgi_class {
  uint32_t magic;   /* offset * magic >> 32 == offset / bytes; 0 for large */
  uint32_t bytes;   /* of a cell; 0 for large */
  uint16_t pages;   /* of a span; 0 for large */
  uint16_t objects; /* 1 for large */
  uint16_t usable;  /* bytes of a cell that an object may have; 0 for large */
  uint16_t reserved;
};
MPGI_HIDDEN extern const struct mpgi_class mpgi_class[MPGI_CLASSES];
/* Class of a request of n <= MPGI_SMALL_MAX_BYTES bytes, by words: as the
 * offset of its hole among those of a kind, which the fast path adds. */
#define MPGI_HOLE_BYTES 32
MPGI_HIDDEN extern uint16_t mpgi_class_table[MPGI_SMALL_MAX_BYTES / 8 + 1];
static inline size_t mpgi_class_hole(size_t bytes) {
  return mpgi_class_table[(bytes + 7) / 8];
}
static inline unsigned mpgi_class_for(size_t bytes) {
  return (unsigned) mpgi_class_hole(bytes) / MPGI_HOLE_BYTES;
}
MPGI_HIDDEN void mpgi_sizeclass_init(void);

/* ---- pages, spans, cells (heap.c, span.c) ---- */

/* An entry of the page table; 0: the page is in no span.
 *   bits 0-6 class, 7-8 kind, 9 in use, 10-31 pages back to the span's first
 * page; MPGI_ENTRY_BACK_MAX: go back that far and look again. */
#define MPGI_ENTRY_KIND_SHIFT 7
#define MPGI_ENTRY_USED 0x200u
#define MPGI_ENTRY_BACK_SHIFT 10
#define MPGI_ENTRY_BACK_MAX ((1u << (32 - MPGI_ENTRY_BACK_SHIFT)) - 1)
_Static_assert(MPGI_CLASSES <= 128, "seven bits of class");
_Static_assert(MPGI_KIND_COUNT <= 4, "two bits of kind");

/* In registers: without -mpopcnt the builtin is a call. */
static inline uint32_t mpgi_ones(uint64_t x) {
  x -= x >> 1 & UINT64_C(0x5555555555555555);
  x = (x & UINT64_C(0x3333333333333333)) +
      (x >> 2 & UINT64_C(0x3333333333333333));
  x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
  return (uint32_t) (x * UINT64_C(0x0101010101010101) >> 56);
}

/* Mark and allocation bits of 64 cells, side by side in one cache line.  A
 * page owns MPGI_PAGE_PAIRS of them; a span uses those of its pages densely
 * from its first page's on, one bit a cell. */
struct mpgi_pair {
  _Atomic uint64_t mark;  /* markers; cleared by the sweep */
  _Atomic uint64_t alloc; /* span's owner; who gives freed cells back, with the
                             central lock; a hole's cells are set when it is
                             taken, the rest cleared at a flush */
};
#define MPGI_PAGE_PAIRS (MPGI_PAGE_BYTES / MPGI_CELL_MIN_BYTES / 64)

enum mpgi_span_state {
  MPGI_SPAN_FREE,     /* no span; pages belong to the page allocator */
  MPGI_SPAN_CACHED,   /* its cache takes holes from it; on no list */
  MPGI_SPAN_PARTIAL,  /* swept, has free cells; central partial list */
  MPGI_SPAN_FULL,     /* swept, no free cell; central full list */
  MPGI_SPAN_SWEEPING, /* whoever took it off the unswept list; on no list */
  /* Never stored: PARTIAL or FULL of an earlier epoch, so that a cycle makes
   * every span unswept at once.  Central unswept list. */
  MPGI_SPAN_UNSWEPT,
  MPGI_SPAN_STATES
};
#define MPGI_SPAN_EPOCH_SHIFT 3
#define MPGI_SPAN_EPOCH_MASK ((1u << (32 - MPGI_SPAN_EPOCH_SHIFT)) - 1)

/* Record of a span, at index = its first page.  `guard` is who may write. */
struct mpgi_span {
  _Atomic uint32_t state; /* epoch << 3 | enum mpgi_span_state; central lock,
                             or the owner of a CACHED or SWEEPING one */
  uint32_t pages;         /* constant while a span */
  uint32_t next, prev;    /* central list: page + 1, 0 = none; central lock */
  uint8_t class;          /* constant while a span */
  uint8_t kind;
  uint16_t objects;
  _Atomic uint32_t used; /* allocation bits set; 64 Ki at most */
  uint32_t cursor;       /* holes are searched from this cell on; the owner */
  bool zero;             /* free cells read zero; the owner */
  bool reserved[3];
  _Atomic uint64_t bytes;           /* large: of its pages */
  struct mpgi_cache *_Atomic owner; /* CACHED: the cache */
  _Atomic uint32_t specials; /* records about its objects (special.h); under
                                their lock */
  uint32_t ahead; /* page + 1 of one further down its list when it was put
                     there: a hint (central.c); as next */
  uint32_t reserved2[2];
};
_Static_assert(sizeof(struct mpgi_span) == 64, "one cache line a span");

enum mpgi_sort { MPGI_SORT_SCAN, MPGI_SORT_NOSCAN, MPGI_SORT_COUNT };
static inline enum mpgi_sort mpgi_sort_of(unsigned kind) {
  return kind == MPGI_KIND_NOSCAN ? MPGI_SORT_NOSCAN : MPGI_SORT_SCAN;
}

struct mpgi_heap {
  /* Constant after init. */
  uintptr_t lo;             /* 2 MiB aligned */
  uintptr_t limit;          /* end of the reservation's heap part */
  _Atomic uint32_t *entry;  /* page table */
  struct mpgi_pair *pair;   /* MPGI_PAGE_PAIRS a page */
  struct mpgi_span *span;   /* one a page */
  struct mpgi_chunk *chunk; /* one a chunk */
  uint32_t max_chunks;
  /* Bytes of [lo, lo + used) in committed chunks, tables below committed too;
   * grows under the lock, read anywhere. */
  _Atomic uint64_t used;
  struct mpgi_mutex lock; /* rank GC_HEAP */
  /* Guard: lock. */
  uint32_t table_chunks; /* tables are committed for so many chunks */
  uint32_t reserved;
  struct mpgi_pagealloc pages[MPGI_SORT_COUNT];
  uint32_t scavenge_below[MPGI_SORT_COUNT]; /* next page to look below */
  _Atomic uint64_t held_pages; /* pages that hold memory (not zero) */
};
MPGI_HIDDEN extern struct mpgi_heap mpgi_heap;

/* Reserve; 0 or -ENOMEM. */
MPGI_HIDDEN int mpgi_heap_init(void);
/* A run of n pages; *zeroed: it reads zero.  MPGI_NO_PAGE: no memory. */
MPGI_HIDDEN uint32_t mpgi_heap_pages_alloc(enum mpgi_sort sort, uint32_t n,
                                           bool *zeroed);
/* The same without committing more. */
MPGI_HIDDEN uint32_t mpgi_heap_pages_reuse(enum mpgi_sort sort, uint32_t n,
                                           bool *zeroed);
/* Take the n pages from `page` on if they are free. */
MPGI_HIDDEN bool mpgi_heap_pages_extend(enum mpgi_sort sort, uint32_t page,
                                        uint32_t n, bool *zeroed);
MPGI_HIDDEN void mpgi_heap_pages_free(enum mpgi_sort sort, uint32_t page,
                                      uint32_t n);
/* Give up to max bytes of free pages back to the system, high ones first.
 * Returns bytes given back; 0: none are left. */
MPGI_HIDDEN uint64_t mpgi_heap_release(uint64_t max);
/* Give the tables of chunks back that hold nothing. */
MPGI_HIDDEN void mpgi_heap_release_tables(void);
/* Bytes of free pages that hold memory. */
MPGI_HIDDEN uint64_t mpgi_heap_idle_bytes(void);
MPGI_HIDDEN uint64_t mpgi_heap_mapped_bytes(void);
/* Resident bytes of the tables, about. */
MPGI_HIDDEN uint64_t mpgi_heap_table_bytes(void);

static inline uint64_t mpgi_heap_used(void) {
  return atomic_load_explicit(&mpgi_heap.used, memory_order_acquire);
}
static inline uintptr_t mpgi_heap_addr_of(uint32_t page) {
  return mpgi_heap.lo + ((uintptr_t) page << MPGI_PAGE_LOG2);
}
static inline uint32_t mpgi_heap_entry(uint32_t page) {
  return atomic_load_explicit(&mpgi_heap.entry[page], memory_order_acquire);
}
static inline struct mpgi_pair *mpgi_heap_pairs(uint32_t first_page) {
  return &mpgi_heap.pair[(size_t) first_page * MPGI_PAGE_PAIRS];
}

static inline uint32_t mpgi_span_page(const struct mpgi_span *s) {
  return (uint32_t) (s - mpgi_heap.span);
}
static inline uintptr_t mpgi_span_base(const struct mpgi_span *s) {
  return mpgi_heap_addr_of(mpgi_span_page(s));
}
static inline struct mpgi_pair *mpgi_span_pairs(const struct mpgi_span *s) {
  return mpgi_heap_pairs(mpgi_span_page(s));
}
static inline unsigned mpgi_span_words(const struct mpgi_span *s) {
  return (s->objects + 63u) / 64;
}
/* The number of the cycle whose marks decide; written with the world stopped;
 * spans keep it modulo 2^29. */
MPGI_HIDDEN extern _Atomic uint32_t mpgi_sweep_epoch;
static inline enum mpgi_span_state mpgi_span_state(const struct mpgi_span *s) {
  uint32_t v = atomic_load_explicit(&s->state, memory_order_acquire);
  uint32_t state = v & ((1u << MPGI_SPAN_EPOCH_SHIFT) - 1);
  uint32_t epoch =
      atomic_load_explicit(&mpgi_sweep_epoch, memory_order_relaxed) &
      MPGI_SPAN_EPOCH_MASK;
  if ((state == MPGI_SPAN_PARTIAL || state == MPGI_SPAN_FULL) &&
      v >> MPGI_SPAN_EPOCH_SHIFT != epoch)
    return MPGI_SPAN_UNSWEPT;
  return (enum mpgi_span_state) state;
}
/* Bytes of a cell: all of its pages for a large one. */
static inline uint64_t mpgi_span_cell_bytes(const struct mpgi_span *s) {
  return s->class == MPGI_CLASS_LARGE
             ? atomic_load_explicit(&s->bytes, memory_order_relaxed)
             : mpgi_class[s->class].bytes;
}
static inline uintptr_t mpgi_span_cell(const struct mpgi_span *s, uint32_t i) {
  return mpgi_span_base(s) + (uintptr_t) i * mpgi_class[s->class].bytes;
}

/* Turn pages into a span of state `state` with every cell free (bits clear).
 * bytes: large only. */
MPGI_HIDDEN struct mpgi_span *mpgi_span_new(uint32_t page, uint32_t pages,
                                            unsigned class, unsigned kind,
                                            bool zero, uint64_t bytes,
                                            enum mpgi_span_state state);
/* Give the pages back.  The span is on no list and empty. */
MPGI_HIDDEN void mpgi_span_free(struct mpgi_span *s);
/* The only writer of state; fatal unless the move is in the table. */
MPGI_HIDDEN void mpgi_span_state_set(struct mpgi_span *s,
                                     enum mpgi_span_state from,
                                     enum mpgi_span_state to);
/* Set or clear the allocation bits of cells [lo, hi); mark too while marking
 * (new objects are black). */
MPGI_HIDDEN void mpgi_span_bits_set(struct mpgi_span *s, uint32_t lo,
                                    uint32_t hi);
MPGI_HIDDEN void mpgi_span_bits_clear(struct mpgi_span *s, uint32_t lo,
                                      uint32_t hi);
/* The free cells from lo on among the 64 that it belongs to: bit i is cell
 * lo / 64 * 64 + i. */
MPGI_HIDDEN uint64_t mpgi_span_word_free(const struct mpgi_span *s,
                                         uint32_t lo);
/* Set their allocation bits, and put the cursor behind the 64. */
MPGI_HIDDEN void mpgi_span_word_set(struct mpgi_span *s, uint32_t lo,
                                    uint64_t cells);
/* Clear one cell's, where nobody else may write the span's. */
MPGI_HIDDEN void mpgi_span_bit_clear_alone(struct mpgi_span *s, uint32_t i);
/* The first run of free cells from s->cursor on; false: there is none. */
MPGI_HIDDEN bool mpgi_span_hole_from(const struct mpgi_span *s, uint32_t *lo,
                                     uint32_t *hi);
/* Call fn for every span, by address.  With the world stopped. */
MPGI_HIDDEN void mpgi_span_each(void (*fn)(void *arg, struct mpgi_span *s),
                                void *arg);
/* Change a large span's number of pages and usable bytes: entries only. */
MPGI_HIDDEN void mpgi_span_resize(struct mpgi_span *s, uint32_t pages,
                                  uint64_t bytes);

/* ---- conservative lookup (conserv.c) ---- */

struct mpgi_cell {
  struct mpgi_span *span;
  uint32_t index;
  uintptr_t base;
};
/* The cell that contains addr, allocated or not.  False: in no span.
 * Lock-free, any thread; exact while the span can't be freed. */
MPGI_HIDDEN bool mpgi_cell_find(uintptr_t addr, struct mpgi_cell *out);
/* The cell is handed out and not freed.  Sweeps its span first; any mutator.
 * The caller's span must not be freed meanwhile (it holds the object). */
MPGI_HIDDEN bool mpgi_cell_is_live(const struct mpgi_cell *c);
/* The live object that starts at p; false: none does. */
MPGI_HIDDEN bool mpgi_cell_start(const void *p, struct mpgi_cell *out);
/* Fatal: none does, and says why; what was called. */
MPGI_HIDDEN _Noreturn void mpgi_cell_refuse(const void *p, const char *what);
/* Usable bytes of the object. */
MPGI_HIDDEN size_t mpgi_cell_usable(const struct mpgi_cell *c);

/* ---- central lists (central.c) ---- */

#define MPGI_LIST_AHEAD 4 /* pops from one that is asked for to its own */
struct mpgi_span_list {
  uint32_t head, tail; /* page + 1; 0: empty */
  uint32_t count;
  uint32_t pushes;                  /* ever; modulo 2^32 */
  uint32_t pushed[MPGI_LIST_AHEAD]; /* the last ones, for their `ahead` */
};
struct mpgi_central {
  struct mpgi_mutex lock;     /* rank GC_CENTRAL */
  _Atomic uint32_t n_unswept; /* == unswept.count, for a look without lock */
  uint32_t reserved;
  struct mpgi_span_list partial, full, unswept;
  uint8_t pad[2 * MPGI_CACHE_LINE_BYTES - sizeof(struct mpgi_mutex) -
              2 * sizeof(uint32_t) - 3 * sizeof(struct mpgi_span_list)];
};
_Static_assert(sizeof(struct mpgi_central) == 128, "no false sharing");
MPGI_HIDDEN extern struct mpgi_central mpgi_central[MPGI_KIND_COUNT]
                                                   [MPGI_CLASSES];

static inline struct mpgi_central *mpgi_central_of(const struct mpgi_span *s) {
  return &mpgi_central[s->kind][s->class];
}
MPGI_HIDDEN void mpgi_central_init(void);
/* A span with free cells, CACHED, cursor at its start; NULL: no memory. */
MPGI_HIDDEN struct mpgi_span *mpgi_central_acquire(unsigned kind,
                                                   unsigned class);
/* A CACHED or SWEEPING span goes to the list that its used count says; an
 * empty SWEEPING one is freed.  The free cells of a CACHED one are refunded. */
MPGI_HIDDEN void mpgi_central_release(struct mpgi_span *s);
/* A new large span, FULL, its cell not yet allocated (bit clear).  align: a
 * power of two from MPGI_PAGE_BYTES. */
MPGI_HIDDEN struct mpgi_span *mpgi_central_large(unsigned kind, size_t bytes,
                                                 size_t align);
/* n cells, all of one class and kind, are free again: their spans are moved, or
 * freed when they are empty.  Of swept spans; n > 0. */
MPGI_HIDDEN void mpgi_central_cells_freed(const uintptr_t *base, uint32_t n);
/* Take up to max unswept spans off their list, SWEEPING; returns how many. */
MPGI_HIDDEN uint32_t mpgi_central_unswept_pop(unsigned kind, unsigned class,
                                              struct mpgi_span **out,
                                              uint32_t max);
/* Release n spans of one class and kind that were SWEEPING; n > 0. */
#define MPGI_SWEEP_BATCH 16
MPGI_HIDDEN void mpgi_central_swept(struct mpgi_span *const *s, uint32_t n);
/* Is it worth a pop?  Without a lock. */
MPGI_HIDDEN bool mpgi_central_has_unswept(unsigned kind, unsigned class);
/* Take this one if it is unswept. */
MPGI_HIDDEN bool mpgi_central_unswept_take(struct mpgi_span *s);
/* With the world stopped, marks complete: every span becomes unswept.
 * Returns their number. */
MPGI_HIDDEN uint64_t mpgi_central_flip_stw(void);
MPGI_HIDDEN bool mpgi_central_is_valid(void);

/* ---- allocation caches (cache.c) ---- */

/* Free cells [ptr, end) of one span, handed out upwards. */
struct mpgi_hole {
  _Atomic uintptr_t ptr; /* owner; read by anyone, like end and start */
  _Atomic uintptr_t end;
  uint64_t bytes;          /* of a cell; constant */
  _Atomic uintptr_t start; /* where ptr was at first */
};
_Static_assert(sizeof(struct mpgi_hole) == MPGI_HOLE_BYTES, "the table's");

/* Cells of a class and kind that were freed or come from short holes, the last
 * one first to be handed out again (free.c).  The owner is the cache's. */
struct mpgi_magazine {
  /* Cells, in the low 16 bits, and above them how many objects were made of
   * such: one word, so that others see the one with the other. */
  _Atomic uint64_t n;
  _Atomic uint64_t given; /* cells that were given back, less those that came
                             from holes: modulo 2^64; under the cache's seq */
  const struct mpgi_hole *hole; /* the class's, in the same cache */
  uint32_t max;                 /* of cell; constant, like hole */
  uint32_t reserved;
  uintptr_t cell[];
};
#define MPGI_MAGAZINE_REUSED ((uint64_t) 1 << 16)
#define MPGI_MAGAZINES (MPGI_KIND_COUNT << MPGI_ENTRY_KIND_SHIFT)
static inline __attribute__((always_inline)) uint32_t mpgi_magazine_cells(
    uint64_t n) {
  return n % MPGI_MAGAZINE_REUSED;
}

struct mpgi_cache {
  /* Owner: the thread whose mpgi_tls.cache this is; the collector while the
   * world is stopped. */
  struct mpgi_hole hole[MPGI_KIND_COUNT][MPGI_CLASSES];
  struct mpgi_span *span[MPGI_KIND_COUNT][MPGI_CLASSES];
  /* Freed cells, by kind and class as a page's entry has them; never NULL. */
  struct mpgi_magazine *_Atomic magazine[MPGI_MAGAZINES];
  _Atomic uint32_t seq; /* odd while holes and totals change */
  uint32_t stress;      /* allocations since the last forced collection */
  bool sampled;         /* the object just allocated is one (profile.c) */
  /* Bytes to the next sample beyond the holes made so far, those aside that
   * have their own below; about INT64_MAX: none. */
  int64_t sample_left;
  /* > 0: so many cells beyond the current hole comes a sample; < 0: so many
   * are none (cache.c). */
  int16_t to_sample[MPGI_KIND_COUNT][MPGI_CLASSES];
  struct mpgi_rand rand;
  /* Totals of objects handed out from holes that are gone. */
  _Atomic uint64_t alloc_bytes, alloc_objects;
  struct mpgi_cache *next, *prev; /* the list of caches in use, or of idle
                                     ones; guard: the lists' lock */
};
/* The owner's own words, which nobody else writes: a plain load may become an
 * operand of the comparison, an atomic one doesn't. */
static inline uintptr_t mpgi_hole_own(const _Atomic uintptr_t *p) {
  return *(const uintptr_t *) p;
}
_Static_assert(sizeof(_Atomic uintptr_t) == sizeof(uintptr_t), "plain");
/* An object from the current hole; false: it is used up. */
static inline bool mpgi_hole_pop(struct mpgi_hole *h, void **out) {
  uintptr_t p = mpgi_hole_own(&h->ptr), next = p + h->bytes;
  if (MPGI_UNLIKELY(next > mpgi_hole_own(&h->end))) return false;
  atomic_store_explicit(&h->ptr, next, memory_order_relaxed);
  *out = (void *) p;
  return true;
}
/* Take the next hole of the cache's current span; false: the cache has no
 * span with free cells left and gave it up. */
MPGI_HIDDEN bool mpgi_cache_hole_next(struct mpgi_cache *c, unsigned kind,
                                      unsigned class);
/* Get a new span; false: no memory. */
MPGI_HIDDEN bool mpgi_cache_span_next(struct mpgi_cache *c, unsigned kind,
                                      unsigned class);
/* Give every span and freed cell back; free cells of holes become
 * unallocated. */
MPGI_HIDDEN void mpgi_cache_flush(struct mpgi_cache *c);
MPGI_HIDDEN void mpgi_cache_flush_all_stw(void);
/* Count an object that came from no hole; objects 0: its growth. */
MPGI_HIDDEN void mpgi_cache_count(struct mpgi_cache *c, uint64_t bytes,
                                  uint64_t objects);
/* A cell of the class is handed out that is in no hole; false: let it be one
 * that is. */
MPGI_HIDDEN bool mpgi_cache_cell_again(struct mpgi_cache *c, unsigned kind,
                                       unsigned class);
/* Is addr in the part of the span's hole not handed out yet? */
MPGI_HIDDEN bool mpgi_cache_is_pending(const struct mpgi_span *s,
                                       uintptr_t addr);
/* The same without waiting; true: perhaps. */
static inline bool mpgi_cache_may_be_pending(const struct mpgi_span *s,
                                             uintptr_t addr) {
  struct mpgi_cache *c = atomic_load_explicit(&s->owner, memory_order_acquire);
  if (c == NULL) return false;
  const struct mpgi_hole *h = &c->hole[s->kind][s->class];
  uint32_t seq = atomic_load_explicit(&c->seq, memory_order_acquire);
  if (seq % 2 != 0) return true;
  uintptr_t end = atomic_load_explicit(&h->end, memory_order_acquire);
  uintptr_t ptr = atomic_load_explicit(&h->ptr, memory_order_acquire);
  return (addr < end && addr >= ptr) ||
         atomic_load_explicit(&c->seq, memory_order_relaxed) != seq;
}
MPGI_HIDDEN void mpgi_cache_totals(uint64_t *bytes, uint64_t *objects);
/* What was freed into magazines. */
MPGI_HIDDEN void mpgi_cache_freed(uint64_t *bytes, uint64_t *objects);
/* The profile's rate has changed; caches have been flushed. */
MPGI_HIDDEN void mpgi_cache_resample_stw(void);

/* ---- freeing (free.c) ---- */

/* Has no room and no cells: that of a class until its first free. */
MPGI_HIDDEN extern struct mpgi_magazine mpgi_magazine_none;

static inline struct mpgi_magazine *mpgi_magazine_of(const struct mpgi_cache *c,
                                                     unsigned kind,
                                                     unsigned class) {
  unsigned i = kind << MPGI_ENTRY_KIND_SHIFT | class;
  return atomic_load_explicit(&c->magazine[i], memory_order_acquire);
}
/* A cell's pad holds this, and nothing else is ever seen to, while the cell is
 * in a magazine.  No address. */
static inline uint64_t mpgi_magazine_tag(uintptr_t base) {
  return base ^ UINT64_C(0x5bd1e9955bd1e995);
}
static inline uint64_t *mpgi_pad_of(uintptr_t base, uint64_t bytes) {
  return (uint64_t *) (base + bytes - MPGI_PAD_BYTES);
}
/* The cell lies in somebody's magazine. */
MPGI_HIDDEN bool mpgi_magazine_has(const struct mpgi_cell *c);
/* A cell of the class, cleared if it is scanned; false: none, or not now. */
MPGI_HIDDEN bool mpgi_magazine_take_cell(struct mpgi_cache *c, unsigned kind,
                                         unsigned class, void **out);
static inline bool mpgi_magazine_take(struct mpgi_cache *c, unsigned kind,
                                      unsigned class, void **out) {
  const struct mpgi_magazine *m = mpgi_magazine_of(c, kind, class);
  return mpgi_magazine_cells(mpgi_load(&m->n)) > 0 &&
         mpgi_magazine_take_cell(c, kind, class, out);
}
/* The class's magazine, made if there is none; NULL: no memory, or a mode of
 * debugging in which there are none.  On g0. */
MPGI_HIDDEN struct mpgi_magazine *mpgi_magazine_get(struct mpgi_cache *c,
                                                    unsigned kind,
                                                    unsigned class);
/* Give the cells of every class back. */
MPGI_HIDDEN void mpgi_magazine_flush(struct mpgi_cache *c);
/* The live object in cell is freed, and what is known about it.  A collection
 * since the cell was found does no harm. */
MPGI_HIDDEN void mpgi_free_cell(const struct mpgi_cell *cell);
/* n cells of m have been given back. */
MPGI_HIDDEN void mpgi_cache_given(struct mpgi_cache *c, struct mpgi_magazine *m,
                                  uint32_t n);
/* What mpg_alloc and its like do when the hole is used up; on any stack. */
struct mpgi_type;
MPGI_HIDDEN void *mpgi_alloc_again(size_t bytes);
MPGI_HIDDEN void *mpgi_alloc_noscan_again(size_t bytes);
MPGI_HIDDEN void *mpgi_alloc_typed_again(const struct mpgi_type *t,
                                         size_t count);

/* ---- the heap profile (profile.c) ---- */

/* Bytes from a sample to the next; INT64_MAX: there is none. */
MPGI_HIDDEN int64_t mpgi_profile_distance(struct mpgi_rand *rand);
/* p, just allocated through c, is a sample; or `grown` bytes of it are, which
 * it has just got besides. */
MPGI_HIDDEN void mpgi_profile_sample(struct mpgi_cache *c, void *p,
                                     uint64_t grown);

/* ---- allocation (alloc.c) ---- */

/* The whole ladder: trigger, try, collect, handler. */
MPGI_HIDDEN void *mpgi_alloc_object(size_t bytes, enum mpgi_kind kind);
/* The same, tried by the fast path first. */
MPGI_HIDDEN void *mpgi_alloc_for_user(size_t bytes, enum mpgi_kind kind);
/* The out-of-memory handler's answer; NULL: there is none. */
MPGI_HIDDEN void *mpgi_alloc_ask_handler(size_t bytes);
/* The same for a scanned object in a span of its own, aligned to a power of two
 * from MPGI_PAGE_BYTES to MPGI_CHUNK_BYTES. */
MPGI_HIDDEN void *mpgi_alloc_pages(size_t bytes, size_t align);
/* Collect if that is due; then the calling thread's cache. */
MPGI_HIDDEN struct mpgi_cache *mpgi_alloc_ready(const char *what);
/* Clear part of a large object. */
MPGI_HIDDEN void mpgi_alloc_zero(void *lo, size_t bytes);
/* The calling thread's cache; fatal without one. */
MPGI_HIDDEN struct mpgi_cache *mpgi_alloc_cache(const char *what);

/* ---- types (type.c) ---- */

struct mpgi_type {
  uint64_t signature;
  size_t bytes;    /* stride of an array's elements */
  size_t n;        /* offsets */
  size_t offset[]; /* in bytes, multiples of 8 */
};
#define MPGI_TYPE_SIGNATURE UINT64_C(0x6d70675f74797065)
/* The pad of a typed cell names its type; 0: not there yet. */
_Static_assert(sizeof(struct mpgi_type *) == MPGI_PAD_BYTES, "it fits");
static inline const struct mpgi_type **mpgi_type_pad(uintptr_t base,
                                                     uint64_t cell_bytes) {
  return (const struct mpgi_type **) mpgi_pad_of(base, cell_bytes);
}
static inline const struct mpgi_type **mpgi_type_slot(const struct mpgi_span *s,
                                                      uintptr_t base) {
  return mpgi_type_pad(base, mpgi_span_cell_bytes(s));
}
/* The bytes of count objects; false: t is no type, or they are too many. */
static inline __attribute__((always_inline)) bool mpgi_type_extent(
    const struct mpgi_type *t, size_t count, size_t *bytes) {
  return MPGI_LIKELY(t != NULL && t->signature == MPGI_TYPE_SIGNATURE &&
                     !__builtin_mul_overflow(t->bytes, count, bytes));
}
MPGI_HIDDEN void mpgi_type_set(void *p, const struct mpgi_type *t);
MPGI_HIDDEN const struct mpgi_type *mpgi_type_get(const struct mpgi_cell *cell);

/* ---- roots (roots.c) ---- */

/* A large range is several jobs. */
#define MPGI_ROOT_PIECE_BYTES ((size_t) 256 << 10)
/* What is loaded, as of now; NULL: no memory.  May wait for a thread that waits
 * for the end of a stop, or of a cycle: by nobody who holds one of these up. */
MPGI_HIDDEN struct mpgi_os_objects *mpgi_roots_list(void);
/* Before the stop: adopt that list, or drop it (-ENOMEM). */
MPGI_HIDDEN int mpgi_roots_prepare(struct mpgi_os_objects *l);
/* With the world stopped: the number of pieces; then each of them. */
MPGI_HIDDEN size_t mpgi_roots_pieces_stw(void);
MPGI_HIDDEN void mpgi_roots_piece(size_t i, mpgi_visit *visit, void *arg);

/* ---- sweeping (sweep.c) ---- */

/* Sweep a SWEEPING span: marks become allocation bits.  Returns used cells;
 * the span stays SWEEPING. */
MPGI_HIDDEN uint32_t mpgi_sweep_span(struct mpgi_span *s);
/* Bracket of every sweep, so that finish can wait for others. */
MPGI_HIDDEN void mpgi_sweep_enter(void);
MPGI_HIDDEN void mpgi_sweep_leave(uint32_t swept);
/* Spans that are unswept or being swept. */
MPGI_HIDDEN extern _Atomic uint64_t mpgi_sweep_left;
static inline bool mpgi_sweep_pending(void) {
  return atomic_load_explicit(&mpgi_sweep_left, memory_order_acquire) > 0;
}
/* Sweep up to MPGI_SWEEP_BATCH spans of any class; returns how many; 0: none is
 * unswept. */
MPGI_HIDDEN uint32_t mpgi_sweep_some(void);
/* Nothing is unswept or being swept when it returns. */
MPGI_HIDDEN void mpgi_sweep_finish(void);
/* With the world stopped, after the flip: n spans wait. */
MPGI_HIDDEN void mpgi_sweep_begin_stw(uint64_t n);
MPGI_HIDDEN void mpgi_sweep_forked(void); /* its thread is not there */
/* The world runs again: wake the background sweeper if it pays. */
MPGI_HIDDEN void mpgi_sweep_background(void);
/* Too much memory is free: have the sweeper give some back.  Wakes a thread at
 * most; any lock may be held. */
MPGI_HIDDEN void mpgi_sweep_scavenge(void);
/* Make sure that s isn't UNSWEPT or SWEEPING. */
MPGI_HIDDEN void mpgi_sweep_ensure(struct mpgi_span *s);
/* Count an explicit free, not into a magazine; objects 0: of part of one. */
MPGI_HIDDEN void mpgi_sweep_count_free(uint64_t bytes, uint64_t objects);
/* Objects freed so far in either way; bytes freed explicitly. */
MPGI_HIDDEN uint64_t mpgi_sweep_freed_objects(void);
MPGI_HIDDEN uint64_t mpgi_sweep_free_bytes(void);
/* MPG_DEBUG=clobberfree=1: overwrite freed cells. */
#define MPGI_CLOBBER 0xdf
MPGI_HIDDEN void mpgi_sweep_clobber(uintptr_t lo, uint64_t bytes);

/* ---- fences (redzone.c): with MPG_DEBUG=redzone=1 only ---- */

/* An allocation asks for so many bytes more. */
#define MPGI_REDZONE_BYTES 16
/* The new object at p is of n bytes: behind them its zone begins. */
MPGI_HIDDEN void mpgi_redzone_set(void *p, size_t n);
/* The bytes that were asked for. */
MPGI_HIDDEN size_t mpgi_redzone_size(const struct mpgi_cell *c);
/* Fatal if somebody wrote beyond the object's end; by: who looks. */
MPGI_HIDDEN void mpgi_redzone_check(const struct mpgi_cell *c, const char *by);
/* Fatal if somebody wrote to free memory that is about to be used again. */
MPGI_HIDDEN void mpgi_redzone_reuse(uintptr_t base, uint64_t bytes);

/* ---- pacing (pacer.c) ---- */

MPGI_HIDDEN void mpgi_pacer_init(void);
/* Allocation took so many bytes (a span's free cells, a large object). */
MPGI_HIDDEN void mpgi_pacer_charge(uint64_t bytes);
MPGI_HIDDEN void mpgi_pacer_refund(uint64_t bytes);
MPGI_HIDDEN bool mpgi_pacer_due(void);
/* The goal was passed long ago: who allocates should wait for the cycle. */
MPGI_HIDDEN bool mpgi_pacer_far_above(void);
/* A cycle ended with so many live bytes and bytes scanned as roots. */
MPGI_HIDDEN void mpgi_pacer_cycle_end(uint64_t live, uint64_t root_bytes);
/* Is it only the limit that asks for a cycle now? */
MPGI_HIDDEN bool mpgi_pacer_is_limits(void);
/* [pacer.clock]  Stands still while the program waits for a CPU. */
MPGI_HIDDEN int64_t mpgi_pacer_clock(void);
/* So much time passed, CPU time of the process, time without anybody to run. */
MPGI_HIDDEN int64_t mpgi_pacer_clock_rule(int64_t time, int64_t cpu,
                                          int64_t idle);
/* Before the world is stopped; what it returns is for ... */
MPGI_HIDDEN int64_t mpgi_pacer_cycle_begins(bool limits);
/* ... the end of the cycle, which took so much of a CPU's time for the limit's
 * sake; 0: it was not the limit's. */
MPGI_HIDDEN void mpgi_pacer_cycle_took(int64_t begin, int64_t cost);
/* There was no memory for an object of so many bytes: may a collection help?
 * [pacer.futile] */
MPGI_HIDDEN bool mpgi_pacer_hope(uint64_t bytes);
/* One that was begun then (mpgi_pacer_clock) and took so much CPU time did not.
 */
MPGI_HIDDEN void mpgi_pacer_futile(uint64_t bytes, int64_t begin, int64_t cost);
MPGI_HIDDEN uint64_t mpgi_pacer_goal(void);
/* Coarse: counts whole spans in caches. */
MPGI_HIDDEN uint64_t mpgi_pacer_live(void);
MPGI_HIDDEN int64_t mpgi_pacer_limit(void);
/* The rule itself, for tests: next goal from what the last cycle found. */
struct mpgi_pacer_input {
  uint64_t live, root_bytes;
  uint64_t other_bytes; /* everything but heap objects, for the limit */
  int percent;          /* < 0: off */
  int64_t limit;        /* INT64_MAX: none */
};
MPGI_HIDDEN uint64_t mpgi_pacer_rule(const struct mpgi_pacer_input *in);
/* And whether a cycle is due. */
struct mpgi_pacer_due {
  uint64_t live, goal, percent_goal;
  int64_t now, last_end; /* [pacer.clock] */
  int64_t debt;          /* ns of the collector's, not yet paid back */
};
#define MPGI_PACER_DEBT_MAX_NS (INT64_C(1) * 1000000000)
MPGI_HIDDEN bool mpgi_pacer_due_rule(const struct mpgi_pacer_due *in);
/* The debt after a cycle that began then and cost so much. */
MPGI_HIDDEN int64_t mpgi_pacer_debt_rule(int64_t debt, int64_t last_end,
                                         int64_t begin, int64_t cost);

/* And whether to collect for want of memory. */
struct mpgi_pacer_futile {
  int64_t until;  /* [pacer.clock] when the futile ones are paid for */
  uint64_t bytes; /* the least that was in vain */
};
MPGI_HIDDEN bool mpgi_pacer_hope_rule(const struct mpgi_pacer_futile *f,
                                      uint64_t bytes, int64_t now);
MPGI_HIDDEN void mpgi_pacer_futile_rule(struct mpgi_pacer_futile *f,
                                        uint64_t bytes, int64_t begin,
                                        int64_t end, int64_t cost);

/* ---- the cycle (cycle.c) ---- */

MPGI_HIDDEN extern struct mpgi_world mpgi_gc_world;
/* Cycles completed. */
MPGI_HIDDEN uint64_t mpgi_gc_cycles(void);
MPGI_HIDDEN uint64_t mpgi_gc_mark_cpu_ns(void);
/* A whole cycle that begins after the call, whoever runs it; then everything
 * is swept. */
MPGI_HIDDEN void mpgi_gc_collect_fully(enum mpgi_gc_cause cause);
/* Bytes of the last cycle's survivors plus what was allocated since, less
 * what was freed explicitly.  Exact for threads that aren't allocating. */
MPGI_HIDDEN uint64_t mpgi_gc_live_bytes(void);
/* Give back half of what is free beyond a margin, once a second at most.
 * True: there is more to give back later. */
MPGI_HIDDEN bool mpgi_gc_scavenge(int64_t now);
/* Bytes of free pages that are kept at hand. */
MPGI_HIDDEN uint64_t mpgi_gc_idle_margin(void);
/* True while marking: new objects must be black. */
MPGI_HIDDEN extern _Atomic bool mpgi_gc_marking;

/* Is addr on the stack of a marking thread of the collector's (workers.c)? */
MPGI_HIDDEN bool mpgi_workers_own(uintptr_t addr);

/* ---- verification (verify.c) ---- */

/* With the world stopped: run jobs [0, n) and keep the words they show, so
 * that two markers see the same roots.  Returns the number of pieces, to be
 * run as jobs mpgi_verify_root; SIZE_MAX: no memory, do without. */
MPGI_HIDDEN size_t mpgi_verify_begin_stw(
    void (*job)(size_t i, mpgi_visit *visit, void *arg), size_t n);
MPGI_HIDDEN void mpgi_verify_root(size_t i, mpgi_visit *visit, void *arg);
/* Marks are complete: mark again from the kept words, naively, and compare;
 * fatal on a difference. */
MPGI_HIDDEN void mpgi_verify_end_stw(void);

#endif /* MPGI_GC_PRIVATE_H */

/* free.c - mpg_free, and cells that are handed out again.
 *
 * Concepts
 *   magazine  a stack of freed cells of one class and kind, in a cache: the
 *             next allocation that finds its hole used up takes the last one.
 *             Where holes are short, their cells come in here, too (cache.c).
 *             Made when the class's first object is freed, or for such a hole.
 *   tag       what the pad of a cell in a magazine holds: a word made of its
 *             address, so that another free, or a lookup, sees what it is.
 *
 * A cell in a magazine is like one of a hole that isn't handed out yet: its
 * allocation bit stays set, it is no object, it stays charged to the pacer.
 * So freeing writes the pad and the magazine, and nothing that is shared.
 * A full magazine gives its oldest ones back, many under one lock (central.c);
 * a flush, before each collection, all: markers never see such a cell.
 * Scanned cells are cleared when they are handed out again, so that they are
 * warm then; given back, when they are in a hole.
 *
 * The fast paths are leaf functions among the entry stubs, as alloc.c's.  What
 * needs more goes through the thunk to g0: a large object, records about the
 * span's objects (special.h), a span not swept yet, a full magazine, and every
 * mistake, which is reported there.  With red zones or clobbering there are no
 * magazines: freed memory is to stay as it was filled.
 *
 * Counts: a magazine's cells and how many objects were made of such are one
 * word, and what was freed into it follows from that (cache.c).
 *
 * Concurrency: magazines are their cache's owner's.  Who frees an object while
 * another thread does so, too, may not be noticed: the program's bits are
 * cleared once (span.c), which ends the process, unless the cell was handed out
 * in between.
 *
 * Invariant [free.tag]: the pad of a small cell holds its tag if and only if
 * the cell lies in a magazine (give_back checks one way).  The pad is no
 * object's (heap.md), but a typed one's type.
 */
#define MPGI_GC_INSIDE 1
#include <string.h>

#include <arch/common/fixmem.h>
#include <arch/common/options.h>
#include <arch/tls.h>
#include <gc/special.h>
#include <mpg/gc.h>

/* The thunks in front of the g0 sides (arch/x86_64/thunks.def). */
MPGI_HIDDEN void *mpgi_thunk_alloc_slow(size_t bytes, enum mpgi_kind kind);
MPGI_HIDDEN void *mpgi_thunk_alloc_typed(const struct mpgi_type *t,
                                         size_t count);
MPGI_HIDDEN void mpgi_thunk_free(void *p);

#define MAGAZINE_BYTES 32768u /* in cells, of one magazine */
#define MAGAZINE_MIN 4u       /* but so many cells */
#define MAGAZINE_MAX 512u
#define GIVEN_MAX 64u /* at a time: a lock is held */

struct mpgi_magazine mpgi_magazine_none; /* never written */

/* ---- one cell ---- */

#define FAST static inline __attribute__((always_inline))

FAST void put(struct mpgi_magazine *m, uintptr_t base, uint64_t bytes) {
  uint64_t n = mpgi_load(&m->n);
  m->cell[mpgi_magazine_cells(n)] = base;
  *mpgi_pad_of(base, bytes) = mpgi_magazine_tag(base);
  atomic_store_explicit(&m->n, n + 1, memory_order_release);
}

FAST void *take(struct mpgi_magazine *m, uint64_t n, unsigned kind,
                uint64_t bytes) {
  n += MPGI_MAGAZINE_REUSED - 1;
  uintptr_t base = m->cell[mpgi_magazine_cells(n)];
  atomic_store_explicit(&m->n, n, memory_order_release);
  if (kind == MPGI_KIND_NOSCAN)
    *mpgi_pad_of(base, bytes) = 0;
  else
    mpgi_arch_clear((void *) base, bytes);
  return (void *) base;
}

/* ---- allocation ---- */

/* mpgi_cache_cell_again, where that is simple. */
FAST bool is_no_sample(struct mpgi_cache *c, int16_t *to, uint64_t bytes) {
  if (MPGI_LIKELY(*to == 0)) {
    int64_t left = c->sample_left - (int64_t) bytes;
    if (MPGI_UNLIKELY(left < 0)) return false;
    c->sample_left = left;
    return true;
  }
  if (*to > 0) return false;
  ++*to;
  return true;
}

/* *cell: its bytes. */
FAST bool again(size_t bytes, enum mpgi_kind kind, void **p, uint64_t *cell) {
  struct mpgi_cache *c = mpgi_tls_cache();
  if (bytes > MPGI_SMALL_MAX_BYTES || c == NULL || mpgi_opt.gcstress != 0)
    return false;
  unsigned class = mpgi_class_for(bytes);
  struct mpgi_magazine *m = mpgi_magazine_of(c, kind, class);
  uint64_t n = mpgi_load(&m->n);
  *cell = c->hole[kind][class].bytes;
  if (mpgi_magazine_cells(n) == 0 ||
      !is_no_sample(c, &c->to_sample[kind][class], *cell))
    return false;
  *p = take(m, n, kind, *cell);
  return true;
}

MPGI_RT_TEXT void *mpgi_alloc_again(size_t bytes) {
  uint64_t cell;
  void *p;
  if (again(bytes, MPGI_KIND_SCAN, &p, &cell)) return p;
  return mpgi_thunk_alloc_slow(bytes, MPGI_KIND_SCAN);
}

MPGI_RT_TEXT void *mpgi_alloc_noscan_again(size_t bytes) {
  uint64_t cell;
  void *p;
  if (again(bytes, MPGI_KIND_NOSCAN, &p, &cell)) return p;
  return mpgi_thunk_alloc_slow(bytes, MPGI_KIND_NOSCAN);
}

MPGI_RT_TEXT void *mpgi_alloc_typed_again(const struct mpgi_type *t,
                                          size_t count) {
  uint64_t cell;
  size_t bytes;
  void *p;
  if (!mpgi_type_extent(t, count, &bytes) ||
      !again(bytes, MPGI_KIND_TYPED, &p, &cell))
    return mpgi_thunk_alloc_typed(t, count);
  *mpgi_type_pad((uintptr_t) p, cell) = t;
  return p;
}

bool mpgi_magazine_take_cell(struct mpgi_cache *c, unsigned kind,
                             unsigned class, void **out) {
  struct mpgi_magazine *m = mpgi_magazine_of(c, kind, class);
  uint64_t n = mpgi_load(&m->n);
  if (!mpgi_cache_cell_again(c, kind, class)) return false;
  *out = take(m, n, kind, mpgi_class[class].bytes);
  return true;
}

/* ---- freeing on any stack ---- */

/* The span is swept. */
FAST bool is_settled(const struct mpgi_span *s) {
  if (MPGI_LIKELY(!mpgi_sweep_pending())) return true;
  enum mpgi_span_state state = mpgi_span_state(s);
  return state != MPGI_SPAN_UNSWEPT && state != MPGI_SPAN_SWEEPING;
}

/* Perhaps in a hole's part that is not handed out. */
FAST bool may_be_pending(const struct mpgi_cache *c,
                         const struct mpgi_magazine *m,
                         const struct mpgi_span *s, uintptr_t p) {
  if (atomic_load_explicit(&s->owner, memory_order_relaxed) != c)
    return mpgi_cache_may_be_pending(s, p);
  const struct mpgi_hole *h = m->hole;
  return p < mpgi_hole_own(&h->end) && p >= mpgi_hole_own(&h->ptr);
}

/* A bit is set for no cell that isn't one: those of what is left at the end of
 * a span are 0.  No magazine of large objects, or of no span, has room. */
FAST bool free_here(uintptr_t p) {
  struct mpgi_cache *c = mpgi_tls_cache();
  uintptr_t off = p - mpgi_heap.lo;
  if (c == NULL || off >= mpgi_heap_used()) return false;
  uint32_t page = (uint32_t) (off >> MPGI_PAGE_LOG2);
  uint32_t e = mpgi_heap_entry(page);
  const struct mpgi_class *class =
      &mpgi_class[e & ((1u << MPGI_ENTRY_KIND_SHIFT) - 1)];
  struct mpgi_magazine *m = atomic_load_explicit(
      &c->magazine[e & (MPGI_ENTRY_USED - 1)], memory_order_relaxed);
  page -= e >> MPGI_ENTRY_BACK_SHIFT;
  off -= (uintptr_t) page << MPGI_PAGE_LOG2;
  uint64_t i = off * class->magic >> 32, bytes = class->bytes;
  if (off != i * bytes || mpgi_magazine_cells(mpgi_load(&m->n)) == m->max)
    return false;
  const struct mpgi_pair *pair = &mpgi_heap_pairs(page)[i / 64];
  const struct mpgi_span *s = &mpgi_heap.span[page];
  if (!(mpgi_load(&pair->alloc) >> i % 64 & 1) || !is_settled(s) ||
      atomic_load_explicit(&s->specials, memory_order_relaxed) != 0 ||
      may_be_pending(c, m, s, p) ||
      *mpgi_pad_of(p, bytes) == mpgi_magazine_tag(p))
    return false;
  put(m, p, bytes);
  return true;
}

MPGI_RT_TEXT void mpg_free(void *p) {
  if (MPGI_UNLIKELY(!free_here((uintptr_t) p))) mpgi_thunk_free(p);
}

/* ---- and on g0 ---- */

/* Written by the owner of the magazine. */
MPGI_NO_SANITIZE static uint64_t pad_word(const struct mpgi_cell *c) {
  uint64_t bytes = mpgi_class[c->span->class].bytes;
  return *(const volatile uint64_t *) mpgi_pad_of(c->base, bytes);
}

bool mpgi_magazine_has(const struct mpgi_cell *c) {
  return c->span->class != MPGI_CLASS_LARGE &&
         pad_word(c) == mpgi_magazine_tag(c->base);
}

static uint32_t cells_max(uint64_t bytes) {
  uint64_t n = MAGAZINE_BYTES / bytes;
  return n < MAGAZINE_MIN   ? MAGAZINE_MIN
         : n > MAGAZINE_MAX ? MAGAZINE_MAX
                            : (uint32_t) n;
}

static struct mpgi_magazine *magazine_new(const struct mpgi_hole *h) {
  struct mpgi_magazine *m;
  uint32_t max = cells_max(h->bytes);
  m = mpgi_fixmem_alloc(sizeof *m + max * sizeof m->cell[0], 0);
  if (m == NULL) return NULL;
  atomic_init(&m->n, 0);
  atomic_init(&m->given, 0);
  m->hole = h;
  m->max = max;
  return m;
}

struct mpgi_magazine *mpgi_magazine_get(struct mpgi_cache *c, unsigned kind,
                                        unsigned class) {
  struct mpgi_magazine *m = mpgi_magazine_of(c, kind, class);
  unsigned i = kind << MPGI_ENTRY_KIND_SHIFT | class;
  if (MPGI_UNLIKELY(mpgi_opt.redzone != 0 || mpgi_opt.clobberfree != 0))
    return NULL;
  if (MPGI_LIKELY(m != &mpgi_magazine_none)) return m;
  m = magazine_new(&c->hole[kind][class]);
  if (m != NULL)
    atomic_store_explicit(&c->magazine[i], m, memory_order_release);
  return m;
}

/* The n cells at the bottom go back. */
static void give_back(struct mpgi_cache *c, struct mpgi_magazine *m,
                      uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    uint64_t *pad = mpgi_pad_of(m->cell[i], m->hole->bytes);
    MPG_ASSERT_INTERNAL(*pad == mpgi_magazine_tag(m->cell[i]));
    *pad = 0;
  }
  mpgi_central_cells_freed(m->cell, n);
  mpgi_cache_given(c, m, n);
  memmove(m->cell, m->cell + n,
          mpgi_magazine_cells(mpgi_load(&m->n)) * sizeof m->cell[0]);
}

/* Where a freed cell goes; NULL: to no magazine. */
static struct mpgi_magazine *magazine_with_room(struct mpgi_cache *c,
                                                const struct mpgi_span *s) {
  if (c == NULL || s->class == MPGI_CLASS_LARGE) return NULL;
  struct mpgi_magazine *m = mpgi_magazine_get(c, s->kind, s->class);
  if (m != NULL && mpgi_magazine_cells(mpgi_load(&m->n)) == m->max)
    give_back(c, m, m->max / 2 < GIVEN_MAX ? m->max / 2 : GIVEN_MAX);
  return m;
}

void mpgi_free_cell(const struct mpgi_cell *cell) {
  mpgi_sweep_ensure(cell->span);
  if (MPGI_UNLIKELY(mpgi_special_maybe(cell))) mpgi_special_drop(cell);
  struct mpgi_magazine *m = magazine_with_room(mpgi_tls_cache(), cell->span);
  uint64_t bytes = mpgi_span_cell_bytes(cell->span);
  if (m != NULL) {
    put(m, cell->base, bytes);
    return;
  }
  if (mpgi_opt.redzone != 0) mpgi_redzone_check(cell, "mpg_free");
  if (mpgi_opt.redzone != 0 || mpgi_opt.clobberfree != 0)
    mpgi_sweep_clobber(cell->base, bytes);
  mpgi_sweep_count_free(bytes, 1);
  mpgi_central_cells_freed(&cell->base, 1);
}

void mpgi_free_g0(void *p) {
  struct mpgi_cell cell;
  if (p == NULL) return;
  if (!mpgi_cell_start(p, &cell)) mpgi_cell_refuse(p, "mpg_free");
  mpgi_free_cell(&cell);
}

void mpgi_magazine_flush(struct mpgi_cache *c) {
  for (unsigned k = 0; k < MPGI_KIND_COUNT; k++)
    for (unsigned i = 0; i < MPGI_CLASSES; i++) {
      struct mpgi_magazine *m = mpgi_magazine_of(c, k, i);
      uint32_t n = mpgi_magazine_cells(mpgi_load(&m->n));
      if (n > 0) give_back(c, m, n);
    }
}

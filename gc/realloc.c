/* realloc.c - mpg_realloc: in place where that is possible, or by moving.
 *
 * In place
 *   - a small object that still fits into its cell and fills half of it
 *   - a large one that shrinks, to no less than a large one: the pages behind
 *     it go back
 *   - a large one that grows, when the pages behind it are free, or it ends
 * where the heap does, which grows, too Moving: allocate, copy, take records
 * along, free.
 *
 * What is beyond the object's bytes in its cell reads zero for scanned kinds:
 * it is cleared whenever the object gets another size.  A typed object's type
 * moves with the end of its cell.
 *
 * Concurrency: the caller holds the object, so nobody frees its span, and it is
 * swept.  The world may stop only where a collection may run, before anything
 * is changed.  Others that look addresses up see the span's pages through the
 * page table: new ones after they are cleared, old ones no more before they are
 * free.
 */
#define MPGI_GC_INSIDE 1
#include <string.h>

#include <arch/common/options.h>
#include <arch/os.h>
#include <gc/special.h>
#include <mpg/gc.h>

static size_t min_bytes(size_t a, size_t b) { return a < b ? a : b; }

static bool is_scanned(const struct mpgi_cell *c) {
  return c->span->kind != MPGI_KIND_NOSCAN;
}

static size_t zone_bytes(void) {
  return MPGI_UNLIKELY(mpgi_opt.redzone != 0) ? MPGI_REDZONE_BYTES : 0;
}

/* ---- in its cell ---- */

/* There is room for bytes, and not more than half of it would be wasted. */
static bool fits(const struct mpgi_cell *cell, size_t bytes) {
  size_t usable = mpgi_cell_usable(cell);
  return bytes <= usable &&
         (bytes >= usable / 2 || usable <= 2 * MPGI_GRANULE_BYTES);
}

/* The object in cell, of which `usable` bytes could be used, has got its size.
 */
static void *settle(const struct mpgi_cell *cell, size_t usable, size_t bytes) {
  char *p = (char *) cell->base;
  if (zone_bytes() != 0) {
    if (is_scanned(cell) && bytes > usable)
      memset(p + usable, 0, bytes - usable); /* there was the zone */
    mpgi_redzone_set(p, bytes);
    return p;
  }
  usable = mpgi_cell_usable(cell);
  if (is_scanned(cell)) memset(p + bytes, 0, usable - bytes);
  return p;
}

/* ---- in its pages ---- */

/* Pages of a large object of so many bytes; 0: it would be a small one. */
static uint32_t pages_for(size_t bytes) {
  size_t all = bytes + zone_bytes();
  if (all <= MPGI_SMALL_MAX_BYTES) return 0;
  return (uint32_t) ((all + MPGI_PAD_BYTES + MPGI_PAGE_BYTES - 1) >>
                     MPGI_PAGE_LOG2);
}

static void resize(const struct mpgi_cell *cell, uint32_t pages,
                   const struct mpgi_type *type) {
  struct mpgi_span *s = cell->span;
  mpgi_span_resize(s, pages, (uint64_t) pages << MPGI_PAGE_LOG2);
  if (s->kind == MPGI_KIND_TYPED) *mpgi_type_slot(s, cell->base) = type;
}

static void shrink(const struct mpgi_cell *cell, uint32_t pages) {
  struct mpgi_span *s = cell->span;
  const struct mpgi_type *type =
      s->kind == MPGI_KIND_TYPED ? mpgi_type_get(cell) : NULL;
  uint32_t more = s->pages - pages, at = mpgi_span_page(s) + pages;
  uint64_t bytes = (uint64_t) more << MPGI_PAGE_LOG2;
  if (zone_bytes() != 0 || mpgi_opt.clobberfree != 0)
    mpgi_sweep_clobber(mpgi_heap_addr_of(at), bytes);
  if (mpgi_special_maybe(cell))
    mpgi_profile_shrunk(cell->base, (double) pages / s->pages);
  resize(cell, pages, type);
  mpgi_heap_pages_free(mpgi_sort_of(s->kind), at, more);
  mpgi_sweep_count_free(bytes, 0);
  mpgi_pacer_refund(bytes);
}

/* The pad, or the zone, of before becomes part of the object. */
static void clear_new(const struct mpgi_cell *cell, size_t usable,
                      uint64_t old_bytes, uint64_t bytes, bool zero) {
  if (!is_scanned(cell)) return;
  memset((void *) (cell->base + usable), 0, old_bytes - usable);
  if (!zero) mpgi_alloc_zero((void *) (cell->base + old_bytes), bytes);
}

static bool grow(struct mpgi_cache *c, const struct mpgi_cell *cell,
                 uint32_t pages) {
  struct mpgi_span *s = cell->span;
  bool zero;
  uint32_t more = pages - s->pages, at = mpgi_span_page(s) + s->pages;
  uint64_t bytes = (uint64_t) more << MPGI_PAGE_LOG2;
  if (!mpgi_heap_pages_extend(mpgi_sort_of(s->kind), at, more, &zero))
    return false;
  if (zone_bytes() != 0) mpgi_redzone_reuse(mpgi_heap_addr_of(at), bytes);
  const struct mpgi_type *type =
      s->kind == MPGI_KIND_TYPED ? mpgi_type_get(cell) : NULL;
  clear_new(cell, mpgi_cell_usable(cell), mpgi_span_cell_bytes(s), bytes, zero);
  resize(cell, pages, type);
  mpgi_cache_count(c, bytes, 0);
  mpgi_pacer_charge(bytes);
  if (MPGI_UNLIKELY(c->sampled))
    mpgi_profile_sample(c, (void *) cell->base, bytes);
  return true;
}

/* Give a large object as many pages as it needs; false: it has to move. */
static bool fit_pages(const struct mpgi_cell *cell, size_t bytes) {
  const struct mpgi_span *s = cell->span;
  if (s->class != MPGI_CLASS_LARGE) return false;
  if (bytes > mpgi_heap.limit - mpgi_heap.lo) return false; /* absurd */
  uint32_t pages = pages_for(bytes);
  if (pages == 0) return false;
  if (pages < s->pages) shrink(cell, pages);
  return pages <= s->pages ||
         grow(mpgi_alloc_ready("mpg_realloc"), cell, pages);
}

/* ---- moving ---- */

static void *alloc_like(const struct mpgi_cell *cell, size_t bytes) {
  enum mpgi_kind kind = (enum mpgi_kind) cell->span->kind;
  if (kind != MPGI_KIND_TYPED) return mpgi_alloc_for_user(bytes, kind);
  const struct mpgi_type *type = mpgi_type_get(cell);
  void *p = mpgi_alloc_for_user(bytes, kind);
  if (p != NULL) mpgi_type_set(p, type);
  return p;
}

/* Finalizers and weak references follow the object; not to memory of the
 * out-of-memory handler, which is no object. */
static void specials_follow(const struct mpgi_cell *from, void *to) {
  struct mpgi_cell cell;
  if (mpgi_cell_start(to, &cell)) mpgi_special_move(from, &cell);
}

static void *move(const struct mpgi_cell *cell, size_t bytes) {
  void *p = (void *) cell->base, *q = alloc_like(cell, bytes);
  if (q == NULL) return NULL;
  memcpy(q, p, min_bytes(bytes, mpgi_cell_usable(cell)));
  if (mpgi_special_maybe(cell)) specials_follow(cell, q);
  mpgi_free_cell(cell);
  return q;
}

/* ---- the call ---- */

/* The thunk in front of mpgi_realloc_g0 (arch/x86_64/thunks.def). */
MPGI_HIDDEN void *mpgi_thunk_realloc(void *p, size_t bytes);

MPGI_RT_TEXT void *mpg_realloc(void *p, size_t bytes) {
  return p == NULL ? mpg_alloc(bytes) : mpgi_thunk_realloc(p, bytes);
}

void *mpgi_realloc_g0(void *p, size_t bytes) {
  struct mpgi_cell cell;
  if (!mpgi_cell_start(p, &cell)) mpgi_cell_refuse(p, "mpg_realloc");
  if (zone_bytes() != 0) mpgi_redzone_check(&cell, "mpg_realloc");
  bool small = cell.span->class != MPGI_CLASS_LARGE;
  size_t usable = mpgi_cell_usable(&cell);
  if (small ? fits(&cell, bytes) : fit_pages(&cell, bytes))
    return settle(&cell, usable, bytes);
  return move(&cell, bytes);
}

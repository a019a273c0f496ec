/* alloc_more.c - the rarer ways to allocate, and giving memory back.
 *
 * Aligned objects begin where cells or spans do: cells of a class whose size
 * is a multiple of the alignment lie at multiples of it, because spans begin
 * on pages.  The smallest such class is taken, or a span of the object's own
 * where that is smaller, and always beyond a page.
 *
 * Root objects are scanned ones with a record (special.c) that makes them
 * roots until they are freed.
 */
#define MPGI_GC_INSIDE 1
#include <arch/common/fixmem.h>
#include <arch/common/options.h>
#include <gc/special.h>
#include <mpg/gc.h>

/* ---- alignment ---- */

#define ALIGN_MAX MPGI_CHUNK_BYTES

/* The smallest class for bytes with cells at multiples of align;
 * MPGI_CLASS_LARGE: none. */
static unsigned class_aligned(size_t bytes, size_t align) {
  if (bytes > MPGI_SMALL_MAX_BYTES || align > MPGI_PAGE_BYTES)
    return MPGI_CLASS_LARGE;
  for (unsigned c = mpgi_class_for(bytes); c < MPGI_CLASSES; c++)
    if (mpgi_class[c].bytes % align == 0) return c;
  return MPGI_CLASS_LARGE;
}

static size_t span_bytes(size_t bytes) {
  return (bytes + MPGI_PAD_BYTES + MPGI_PAGE_BYTES - 1) &
         ~(MPGI_PAGE_BYTES - 1);
}

void *mpgi_alloc_aligned_g0(size_t bytes, size_t align) {
  mpgi_alloc_cache("mpg_alloc_aligned"); /* by a goroutine */
  if (align == 0 || (align & (align - 1)) != 0 || align > ALIGN_MAX)
    return NULL;
  if (align <= MPGI_GRANULE_BYTES)
    return mpgi_alloc_object(bytes, MPGI_KIND_SCAN);
  size_t zone = mpgi_opt.redzone != 0 ? MPGI_REDZONE_BYTES : 0;
  unsigned c = bytes > MPGI_SMALL_MAX_BYTES /* or the sum may wrap */
                   ? MPGI_CLASS_LARGE
                   : class_aligned(bytes + zone, align);
  if (c != MPGI_CLASS_LARGE &&
      mpgi_class[c].bytes <= span_bytes(bytes + zone)) {
    void *p = mpgi_alloc_object(mpgi_class[c].usable - zone, MPGI_KIND_SCAN);
    if (zone != 0 && p != NULL) mpgi_redzone_set(p, bytes);
    return p;
  }
  return mpgi_alloc_pages(bytes,
                          align > MPGI_PAGE_BYTES ? align : MPGI_PAGE_BYTES);
}

/* ---- roots ---- */

void *mpgi_alloc_root_g0(size_t bytes) {
  struct mpgi_cell cell;
  void *p = mpgi_alloc_object(bytes, MPGI_KIND_SCAN);
  /* What the out-of-memory handler gives is no object, and not collected. */
  if (p == NULL || !mpgi_cell_start(p, &cell)) return p;
  mpgi_special_lock();
  bool ok = mpgi_special_add_locked(&cell, MPGI_SPECIAL_ROOT, NULL) != NULL;
  mpgi_special_unlock();
  if (ok) return p;
  mpgi_free_g0(p);
  return mpgi_alloc_ask_handler(bytes);
}

/* ---- interior pointers ---- */

int mpgi_interior_pointers_g0(int on) {
  mpgi_alloc_cache("mpg_interior_pointers"); /* by a goroutine */
  if (on < 0) return atomic_load(&mpgi_mark_interior);
  return atomic_exchange(&mpgi_mark_interior, on != 0);
}

/* ---- giving memory back ---- */

size_t mpgi_release_memory_g0(void) {
  mpgi_alloc_cache("mpg_release_memory"); /* by a goroutine */
  mpgi_gc_collect_fully(MPGI_GC_FORCED);
  size_t bytes = mpgi_heap_release(UINT64_MAX);
  mpgi_heap_release_tables();
  if (mpgi_gc_world.stack_release != NULL) mpgi_gc_world.stack_release();
  mpgi_fixmem_release();
  return bytes;
}

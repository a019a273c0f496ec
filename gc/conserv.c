/* conserv.c - which object does this word point into?
 *
 * The general, exact answer for the API: mpg_base, mpg_free and so on.  The
 * marker has its own copy of the arithmetic, arranged for speed (mark_scan.h);
 * verify.c has a third, naive one to check them with.
 *
 * The offset of a word in the reservation gives the page, the page table the
 * span and the class, one multiplication the cell.  All of it is memory that
 * stays readable for ever, so any word may be asked about, by any thread.
 * When the span is freed and made anew meanwhile, the answer is for one of
 * the two: the caller holds no object there.
 */
#define MPGI_GC_INSIDE 1
#include <arch/common/options.h>
#include <gc/gc_private.h>

bool mpgi_cell_find(uintptr_t addr, struct mpgi_cell *out) {
  uintptr_t off = addr - mpgi_heap.lo;
  if (off >= mpgi_heap_used()) return false;
  uint32_t page = (uint32_t) (off >> MPGI_PAGE_LOG2);
  uint32_t e = mpgi_heap_entry(page), back;
  if (e == 0) return false;
  while ((back = e >> MPGI_ENTRY_BACK_SHIFT) == MPGI_ENTRY_BACK_MAX) {
    page -= back;
    e = mpgi_heap_entry(page);
    if (e == 0) return false; /* freed under us: nobody's object */
  }
  page -= back;
  const struct mpgi_class *class =
      &mpgi_class[e & ((1u << MPGI_ENTRY_KIND_SHIFT) - 1)];
  off = addr - mpgi_heap_addr_of(page);
  out->span = &mpgi_heap.span[page];
  out->index = (uint32_t) ((uint64_t) off * class->magic >> 32);
  out->base = mpgi_heap_addr_of(page) + (uintptr_t) out->index * class->bytes;
  MPG_ASSERT_INTERNAL(class->bytes == 0 || out->index == off / class->bytes);
  MPG_ASSERT_INTERNAL(out->base <= addr);
  return true;
}

bool mpgi_cell_is_live(const struct mpgi_cell *c) {
  struct mpgi_span *s = c->span;
  if (c->index >= s->objects) return false; /* the tail of a span */
  const struct mpgi_pair *pair = &mpgi_span_pairs(s)[c->index / 64];
  mpgi_sweep_ensure(s);
  /* Acquire: the tag of a magazine's cell is older than its bit. */
  uint64_t alloc = atomic_load_explicit(&pair->alloc, memory_order_acquire);
  if (!(alloc >> c->index % 64 & 1)) return false;
  if (mpgi_cache_is_pending(s, c->base) || mpgi_magazine_has(c)) return false;
  /* Its hole may just have been given up. */
  return mpgi_load(&pair->alloc) >> c->index % 64 & 1;
}

bool mpgi_cell_start(const void *p, struct mpgi_cell *out) {
  return mpgi_cell_find((uintptr_t) p, out) && out->base == (uintptr_t) p &&
         mpgi_cell_is_live(out);
}

void mpgi_cell_refuse(const void *p, const char *what) {
  struct mpgi_cell cell;
  const char *why = "it is not in the heap";
  if ((uintptr_t) p - mpgi_heap.lo < mpgi_heap_used())
    why = "that memory is free; was it freed twice?";
  if (mpgi_cell_find((uintptr_t) p, &cell) && mpgi_cell_is_live(&cell))
    why = "it points into one";
  mpgi_fatal("%s of a pointer that is not the start of a live object: %s", what,
             why);
}

size_t mpgi_cell_usable(const struct mpgi_cell *c) {
  const struct mpgi_span *s = c->span;
  uint64_t bytes = mpgi_span_cell_bytes(s);
  MPG_ASSERT_INTERNAL(bytes >= MPGI_GRANULE_BYTES);
  if (MPGI_UNLIKELY(mpgi_opt.redzone != 0)) return mpgi_redzone_size(c);
  if (s->class == MPGI_CLASS_LARGE) return bytes - MPGI_PAD_BYTES;
  return mpgi_class[s->class].usable;
}

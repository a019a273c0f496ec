/* mark_scan.h - the marker's inner loops, compiled once a processor level.
 *
 * Included by mark_scalar.c, mark_avx2.c and mark_avx512.c, which define
 *   OPS       the name of the struct mpgi_mark_ops to define
 *   OPS_NAME  its name as a string
 *   VECTOR    words compared at a time: 1, 4 or 8
 * and are compiled for that level by a target attribute (pragma).
 *
 * A word goes through these stages.
 *   filter    one vector comparison a VECTOR of words: is its offset from the
 *             heap's start below `used`?
 *   locate    page table, class, multiplication: cell and pair.  The pair's
 *             line is prefetched and the candidate waits in the ring
 *             `pending`.
 *   mark      MPGI_RING candidates later: is the cell allocated, and not
 *             marked yet?  Mark it, push it.
 *   pop       the object's memory is prefetched and it waits in the ring
 *             `grey`.
 *   scan      MPGI_RING objects later: its words are filtered.
 * So neither the bits nor the object are waited for: on random graphs that
 * doubles the rate.
 *
 * One past the end of an object is inside its cell (MPGI_PAD_BYTES), so a word
 * belongs to one cell at most.
 *
 * Nothing here assumes that mutators are stopped, except that `alone` markers
 * write bits without atomics.  A racing reader of memory may see any old
 * value of a word: it is a candidate like every other.
 */
#include <string.h>

#include <gc/mark_private.h>

#if VECTOR > 1
#include <immintrin.h>
#endif

/* All of it reads words that sanitizers know nothing about. */
#define HOT static inline __attribute__((always_inline)) MPGI_NO_SANITIZE
#define COLD static __attribute__((noinline)) MPGI_NO_SANITIZE

/* ---- marking ---- */

/* Set a bit; true when it was this call that did. */
HOT bool bit_set(struct mpgi_marker *m, struct mpgi_pair *pair, uint64_t bit) {
  if (m->alone) {
    mpgi_store(&pair->mark, mpgi_load(&pair->mark) | bit);
    return true;
  }
  return (atomic_fetch_or_explicit(&pair->mark, bit, memory_order_relaxed) &
          bit) == 0;
}

HOT void push(struct mpgi_marker *m, mpgi_item it) {
  struct mpgi_workbuf *b = m->buf;
  if (MPGI_UNLIKELY(b->n == MPGI_WORKBUF_ITEMS)) {
    mpgi_mark_push_slow(m, it);
    return;
  }
  b->item[b->n++] = it;
}

/* The cell of `it` is allocated and unmarked in what was seen of the pair. */
HOT void mark_cell(struct mpgi_marker *m, struct mpgi_pair *pair, uint64_t bit,
                   mpgi_item it) {
  if (!bit_set(m, pair, bit)) return;
  unsigned class = mpgi_item_class(it);
  uint32_t page = (uint32_t) (mpgi_item_offset(it) >> MPGI_PAGE_LOG2);
  m->objects++;
  m->bytes += MPGI_LIKELY(class != MPGI_CLASS_LARGE)
                  ? mpgi_class[class].bytes
                  : mpgi_load(&mpgi_heap.span[page].bytes);
  if (mpgi_item_kind(it) != MPGI_KIND_NOSCAN) push(m, it);
}

HOT void mark_pending(struct mpgi_marker *m, struct mpgi_pending p) {
  unsigned shift = (unsigned) (p.item >> MPGI_ITEM_BIT_SHIFT) & 63;
  uint64_t bit = UINT64_C(1) << shift;
  uint64_t white = mpgi_load(&p.pair->alloc) & ~mpgi_load(&p.pair->mark);
  mpgi_item it = p.item & MPGI_ITEM_MASK;
  if (white & bit) mark_cell(m, p.pair, bit, it);
}

/* ---- candidates ---- */

/* An offset below `used`. */
HOT void candidate(struct mpgi_marker *m, uintptr_t off) {
  uint32_t page = (uint32_t) (off >> MPGI_PAGE_LOG2);
  uint32_t e = mpgi_heap_entry(page), back = e >> MPGI_ENTRY_BACK_SHIFT;
  if (MPGI_UNLIKELY(e == 0)) return;
  if (MPGI_UNLIKELY(back == MPGI_ENTRY_BACK_MAX)) {
    mpgi_mark_far(m, off);
    return;
  }
  unsigned class = e & ((1u << MPGI_ENTRY_KIND_SHIFT) - 1);
  unsigned kind = e >> MPGI_ENTRY_KIND_SHIFT & 3;
  const struct mpgi_class *c = &mpgi_class[class];
  page -= back;
  uintptr_t in_span = off - ((uintptr_t) page << MPGI_PAGE_LOG2);
  uint32_t index = (uint32_t) ((uint64_t) in_span * c->magic >> 32);
  uintptr_t cell = (uintptr_t) index * c->bytes;
  struct mpgi_pair *pair = mpgi_heap_pairs(page) + index / 64;
  __builtin_prefetch(pair, 1);
  mpgi_item it =
      mpgi_item_of(((uintptr_t) page << MPGI_PAGE_LOG2) + cell, class, kind) |
      (uint64_t) (index % 64) << MPGI_ITEM_BIT_SHIFT;
  struct mpgi_pending *slot = &m->pending[m->pending_at++ % MPGI_RING];
  struct mpgi_pending old = *slot;
  *slot = (struct mpgi_pending){pair, it};
  if (MPGI_LIKELY(old.pair != NULL)) mark_pending(m, old);
}

COLD void pending_flush(struct mpgi_marker *m) {
  for (unsigned i = 0; i < MPGI_RING; i++) {
    struct mpgi_pending *slot = &m->pending[m->pending_at++ % MPGI_RING];
    struct mpgi_pending old = *slot;
    slot->pair = NULL;
    if (old.pair != NULL) mark_pending(m, old);
  }
}

HOT void words(struct mpgi_marker *m, uintptr_t lo, uintptr_t hi) {
  const uintptr_t base = mpgi_heap.lo, used = mpgi_heap_used();
#if VECTOR == 8
  const __m512i vbase = _mm512_set1_epi64((long long) base);
  const __m512i vused = _mm512_set1_epi64((long long) used);
  for (; lo < hi; lo += 64) {
    size_t left = (hi - lo) / 8;
    __mmask8 in = left >= 8 ? 0xff : (__mmask8) ((1u << left) - 1);
    __m512i off =
        _mm512_sub_epi64(_mm512_maskz_loadu_epi64(in, (void *) lo), vbase);
    unsigned hits = _mm512_mask_cmplt_epu64_mask(in, off, vused);
    if (hits == 0) continue;
    uint64_t offs[8] __attribute__((aligned(64)));
    _mm512_store_si512(offs, off);
    for (; hits != 0; hits &= hits - 1) candidate(m, offs[__builtin_ctz(hits)]);
  }
#else
#if VECTOR == 4
  const __m256i sign = _mm256_set1_epi64x(INT64_MIN);
  const __m256i vbase = _mm256_set1_epi64x((long long) base);
  const __m256i vused =
      _mm256_set1_epi64x((long long) (used ^ (uint64_t) INT64_MIN));
  for (; hi - lo >= 32; lo += 32) {
    __m256i off =
        _mm256_sub_epi64(_mm256_loadu_si256((const __m256i *) lo), vbase);
    __m256i in = _mm256_cmpgt_epi64(vused, _mm256_xor_si256(off, sign));
    unsigned hits = (unsigned) _mm256_movemask_pd((__m256d) in);
    if (hits == 0) continue;
    uint64_t offs[4] __attribute__((aligned(32)));
    _mm256_store_si256((__m256i *) offs, off);
    for (; hits != 0; hits &= hits - 1) candidate(m, offs[__builtin_ctz(hits)]);
  }
#endif
  for (; lo < hi; lo += 8) {
    uintptr_t off = *(const volatile uintptr_t *) lo - base;
    if (off < used) candidate(m, off);
  }
#endif
}

/* ---- objects ---- */

/* The words of elements of a typed object that begin in [from, to) of it. */
HOT void typed_words(struct mpgi_marker *m, const struct mpgi_type *type,
                     uintptr_t base, size_t from, size_t to, size_t usable) {
  const uintptr_t used = mpgi_heap_used();
  size_t stride = type->bytes;
  if (type->n == 0 || stride == 0) return;
  for (size_t at = (from + stride - 1) / stride * stride;
       at < to && usable - at >= stride; at += stride)
    for (size_t i = 0; i < type->n; i++) {
      uintptr_t word;
      memcpy(&word, (const char *) base + at + type->offset[i], sizeof word);
      if (word - mpgi_heap.lo < used) candidate(m, word - mpgi_heap.lo);
    }
}

COLD const struct mpgi_type *type_of(uintptr_t cell_end) {
  return *(const struct mpgi_type *const *) (cell_end - MPGI_PAD_BYTES);
}

COLD void scan_typed(struct mpgi_marker *m, mpgi_item it) {
  uintptr_t lo = mpgi_heap.lo + mpgi_item_offset(it);
  size_t bytes = mpgi_class[mpgi_item_class(it)].bytes;
  const struct mpgi_type *type = type_of(lo + bytes);
  size_t usable = bytes - MPGI_PAD_BYTES;
  if (type != NULL) typed_words(m, type, lo, 0, usable, usable);
}

/* A piece of a large object; the rest goes back on the stack first. */
COLD void scan_large(struct mpgi_marker *m, mpgi_item it) {
  struct mpgi_cell cell;
  uintptr_t lo = mpgi_heap.lo + mpgi_item_offset(it);
  if (!mpgi_cell_find(lo, &cell)) return;
  uintptr_t end = cell.base + mpgi_span_cell_bytes(cell.span);
  uintptr_t hi =
      end - lo > MPGI_MARK_PIECE_BYTES ? lo + MPGI_MARK_PIECE_BYTES : end;
  MPG_ASSERT_INTERNAL(cell.base <= lo && lo < end);
  if (hi < end) push(m, it + (MPGI_MARK_PIECE_BYTES >> MPGI_GRANULE_LOG2));
  if (mpgi_item_kind(it) == MPGI_KIND_SCAN) {
    words(m, lo, hi);
    return;
  }
  const struct mpgi_type *type = type_of(end);
  if (type != NULL)
    typed_words(m, type, cell.base, lo - cell.base, hi - cell.base,
                end - cell.base - MPGI_PAD_BYTES);
}

HOT void scan_item(struct mpgi_marker *m, mpgi_item it) {
  unsigned class = mpgi_item_class(it);
  if (MPGI_UNLIKELY(class == MPGI_CLASS_LARGE)) {
    scan_large(m, it);
  } else if (MPGI_UNLIKELY(mpgi_item_kind(it) != MPGI_KIND_SCAN)) {
    scan_typed(m, it);
  } else {
    uintptr_t lo = mpgi_heap.lo + mpgi_item_offset(it);
    words(m, lo, lo + mpgi_class[class].bytes);
  }
}

/* ---- the loop ---- */

HOT void grey_in(struct mpgi_marker *m, mpgi_item it) {
  mpgi_item *slot = &m->grey[m->grey_at++ % MPGI_RING];
  mpgi_item old = *slot;
  *slot = it;
  uintptr_t lo = mpgi_heap.lo + mpgi_item_offset(it);
  __builtin_prefetch((void *) lo);
  __builtin_prefetch((void *) (lo + 32));
  if (MPGI_LIKELY(old != 0)) scan_item(m, old);
}

/* Scan one waiting object; false: none waits. */
COLD bool grey_out(struct mpgi_marker *m) {
  for (unsigned i = 0; i < MPGI_RING; i++) {
    mpgi_item *slot = &m->grey[m->grey_at++ % MPGI_RING];
    mpgi_item old = *slot;
    if (old == 0) continue;
    *slot = 0;
    scan_item(m, old);
    return true;
  }
  return false;
}

COLD void drain(struct mpgi_marker *m) {
  for (;;) {
    struct mpgi_workbuf *b = m->buf;
    if (MPGI_LIKELY(b->n > 0)) {
      grey_in(m, b->item[--b->n]);
      if (MPGI_UNLIKELY(++m->busy % MPGI_MARK_LOOK == 0)) mpgi_mark_look(m);
      continue;
    }
    pending_flush(m);
    if (m->buf->n > 0 || grey_out(m)) continue;
    if (!mpgi_mark_refill(m)) return;
  }
}

COLD void range(struct mpgi_marker *m, uintptr_t lo, uintptr_t hi) {
  lo = (lo + 7) & ~(uintptr_t) 7;
  hi &= ~(uintptr_t) 7;
  if (lo >= hi) return;
  m->root_bytes += hi - lo;
  words(m, lo, hi);
}

COLD void scan(struct mpgi_marker *m, mpgi_item it) { scan_item(m, it); }

const struct mpgi_mark_ops OPS = {OPS_NAME, drain, range, scan};

/* mark_scan.h - the marker's inner loops, compiled twice a processor level.
 *
 * Included by mark_scalar.c, mark_avx2.c, mark_avx512.c, and by these included
 * in files named .._exact.c, which define
 *   LEVEL     scalar, avx2 or avx512: mpgi_mark_LEVEL is to be defined
 *   VECTOR    words compared at a time: 1, 4 or 8
 *   EXACT     1: mpgi_mark_LEVEL_exact, for which words of objects count only
 *             when they name an object's start
 * and are compiled for that level by a target attribute (pragma).
 *
 * Work moves in batches through these stages, each a short loop:
 *   pop      items leave the stack into `grey`
 *   scan     the words of the batch popped one round before are filtered: is
 *            a word's offset from the heap's start below `used`?  Those that
 *            pass are candidates.  Meanwhile the memory of those just popped
 *            is prefetched, one object's for each that is scanned
 *   mark     the candidates located one round before: is the cell allocated
 *            and not marked yet?  Mark it, push it
 *   locate   page table, class, multiplication: cell and pair of a candidate.
 *            The pair's line is prefetched and it waits in `pending`
 *            (mark_locate.h)
 *   near     locate and mark in one (mark_near.h): while most candidates are
 *            neighbours of the one before, nothing is won by waiting for their
 *            bits, and they are pushed by the dozen, as runs
 * So neither objects nor their bits are waited for; and because batches are
 * appended to without branches (store always, advance by 0 or 1) the
 * unpredictable outcomes - is it a pointer, is it marked - cost no
 * misprediction.  On random graphs each of the two doubles the rate.
 *
 * With few items on the stack (a list) there is nothing to overlap.  Then
 * objects are chased one by one, arranged so that the address of the next one
 * depends on nothing but the word that names it.
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

#define JOIN(a, b) JOINED(a, b)
#define JOINED(a, b) a##b
#define STRING(a) STRINGED(a)
#define STRINGED(a) #a

#ifndef EXACT
#define EXACT 0
#define OPS JOIN(mpgi_mark_, LEVEL)
#define OPS_OF_STARTS &JOIN(mpgi_mark_, JOIN(LEVEL, _exact))
#else
#define OPS JOIN(mpgi_mark_, JOIN(LEVEL, _exact))
#define OPS_OF_STARTS NULL
#endif

/* All of it reads words that sanitizers know nothing about. */
#define HOT static inline __attribute__((always_inline)) MPGI_NO_SANITIZE
#define COLD static __attribute__((noinline)) MPGI_NO_SANITIZE

/* The heap's extent, in registers: stores to batches might change memory. */
struct extent {
  uintptr_t lo, used;
};
HOT struct extent extent_get(void) {
  return (struct extent){mpgi_heap.lo, mpgi_heap_used()};
}

/* ---- marking ---- */

/* True if this call marked the cell: it is allocated and was not marked.  What
 * is stored depends on the loaded mark by one operation only: neighbours that
 * are marked one after the other wait for each other's store. */
HOT bool set_alone(struct mpgi_pair *pair, uint64_t bit) {
  uint64_t mark = mpgi_load(&pair->mark);
  uint64_t cell = mpgi_load(&pair->alloc) & bit;
  mpgi_store(&pair->mark, mark | cell);
  return (cell & ~mark) != 0;
}

/* The same by a branch: the next object doesn't wait for this one's bits. */
HOT bool set_chased(struct mpgi_pair *pair, uint64_t bit) {
  uint64_t mark = mpgi_load(&pair->mark);
  if (!(mpgi_load(&pair->alloc) & bit) || (mark & bit)) return false;
  mpgi_store(&pair->mark, mark | bit);
  return true;
}

HOT bool set_shared(struct mpgi_pair *pair, uint64_t bit) {
  if (!(mpgi_load(&pair->alloc) & ~mpgi_load(&pair->mark) & bit)) return false;
  uint64_t old =
      atomic_fetch_or_explicit(&pair->mark, bit, memory_order_relaxed);
  return (old & bit) == 0;
}

/* Mark and push what is pending.  The buffer has room for all of it. */
HOT void mark_some(struct mpgi_marker *m, bool alone) {
  struct mpgi_workbuf *b = m->buf;
  mpgi_item *top = b->item + b->n;
  uint64_t objects = 0, bytes = 0;
  uint32_t n = m->n_pending;
  for (uint32_t i = 0; i < n; i++) {
    struct mpgi_pair *pair = m->pending.pair[i];
    uint64_t bit = m->pending.bit[i];
    mpgi_item it = m->pending.item[i];
    uint64_t newly = alone ? set_alone(pair, bit) : set_shared(pair, bit);
    *top = it;
    top += newly & ~(it >> MPGI_ITEM_NOSCAN_SHIFT);
    objects += newly;
    bytes += m->pending.bytes[i] & (0 - newly);
  }
  b->n = (uint32_t) (top - b->item);
  m->n_pending = 0;
  m->objects += objects;
  m->bytes += bytes;
}

COLD void mark_pending(struct mpgi_marker *m) {
  if (m->buf->n + m->n_pending >= MPGI_WORKBUF_ITEMS)
    mpgi_mark_make_room(m, MPGI_CANDIDATES + 1);
  if (m->alone)
    mark_some(m, true);
  else
    mark_some(m, false);
}

#include <gc/mark_locate.h>
#include <gc/mark_near.h>

/* ---- the filter ---- */

/* Append to candidates; there is room for eight more. */
HOT uintptr_t *filter1(struct extent x, uintptr_t *to, uintptr_t at) {
  uintptr_t off = *(const volatile uintptr_t *) at - x.lo;
  *to = off;
  return to + (off < x.used);
}

#if VECTOR >= 4
HOT __m256i offsets4(struct extent x, uintptr_t at) {
  const __m256i base = _mm256_set1_epi64x((long long) x.lo);
  return _mm256_sub_epi64(_mm256_loadu_si256((const void *) at), base);
}

/* below4: bit i: offset i is below `used`.  front4: those go to the front. */
#if VECTOR == 8
HOT unsigned below4(struct extent x, __m256i off) {
  const __m256i used = _mm256_set1_epi64x((long long) x.used);
  return _mm256_cmplt_epu64_mask(off, used);
}

HOT __m256i front4(unsigned hits, __m256i off) {
  return _mm256_maskz_compress_epi64((__mmask8) hits, off);
}
#else
HOT unsigned below4(struct extent x, __m256i off) {
  const __m256i sign = _mm256_set1_epi64x(INT64_MIN);
  const __m256i used =
      _mm256_set1_epi64x((long long) (x.used ^ (uint64_t) INT64_MIN));
  __m256i in = _mm256_cmpgt_epi64(used, _mm256_xor_si256(off, sign));
  return (unsigned) _mm256_movemask_pd((__m256d) in);
}

/* Indices of 32-bit halves that bring the chosen 64-bit lanes to the front. */
static const uint32_t front[16][8] __attribute__((aligned(32))) = {
#define LANES(a, b, c, d)                                                      \
  {                                                                            \
    2 * (a), 2 * (a) + 1, 2 * (b), 2 * (b) + 1, 2 * (c), 2 * (c) + 1, 2 * (d), \
        2 * (d) + 1                                                            \
  }
    LANES(0, 0, 0, 0), LANES(0, 0, 0, 0), LANES(1, 0, 0, 0), LANES(0, 1, 0, 0),
    LANES(2, 0, 0, 0), LANES(0, 2, 0, 0), LANES(1, 2, 0, 0), LANES(0, 1, 2, 0),
    LANES(3, 0, 0, 0), LANES(0, 3, 0, 0), LANES(1, 3, 0, 0), LANES(0, 1, 3, 0),
    LANES(2, 3, 0, 0), LANES(0, 2, 3, 0), LANES(1, 2, 3, 0), LANES(0, 1, 2, 3),
#undef LANES
};

HOT __m256i front4(unsigned hits, __m256i off) {
  __m256i order = _mm256_load_si256((const void *) front[hits]);
  return _mm256_permutevar8x32_epi32(off, order);
}
#endif

/* The first n words of four; those after a fourth don't matter. */
HOT uintptr_t *filter4(struct extent x, uintptr_t *to, uintptr_t at,
                       unsigned n) {
  __m256i off = offsets4(x, at);
  unsigned hits = _bzhi_u32(below4(x, off), n);
  _mm256_storeu_si256((void *) to, front4(hits, off));
  return to + __builtin_popcount(hits);
}

/* No word of sixteen passes.  Signed numbers are compared: adding 2^63 less
 * the heap's start takes a word to its offset and to the order of those. */
HOT bool none16(struct extent x, uintptr_t at) {
  const __m256i bias =
      _mm256_set1_epi64x((long long) ((uint64_t) INT64_MIN - x.lo));
  const __m256i used =
      _mm256_set1_epi64x((long long) (x.used ^ (uint64_t) INT64_MIN));
  __m256i hits = _mm256_setzero_si256();
  for (int i = 0; i < 4; i++) {
    __m256i word = _mm256_loadu_si256((const void *) (at + (size_t) i * 32));
    __m256i off = _mm256_add_epi64(word, bias);
    hits = _mm256_or_si256(hits, _mm256_cmpgt_epi64(used, off));
  }
  return _mm256_testz_si256(hits, hits);
}
#endif

#if VECTOR == 8
HOT uintptr_t *filter8(struct extent x, uintptr_t *to, uintptr_t at) {
  const __m512i base = _mm512_set1_epi64((long long) x.lo);
  const __m512i used = _mm512_set1_epi64((long long) x.used);
  __m512i off = _mm512_sub_epi64(_mm512_loadu_si512((const void *) at), base);
  __mmask8 hits = _mm512_cmplt_epu64_mask(off, used);
  _mm512_storeu_si512((void *) to, _mm512_maskz_compress_epi64(hits, off));
  return to + __builtin_popcount(hits);
}
#endif

/* Filter a few words, for all of which there is room.  No load goes beyond hi:
 * it might touch a line that nobody asked for.  One under a mask would, too,
 * though it leaves out all of that line. */
HOT uintptr_t *filter(struct extent x, uintptr_t *to, uintptr_t lo,
                      uintptr_t hi) {
#if VECTOR == 8
  for (; hi - lo >= 64; lo += 64) to = filter8(x, to, lo);
#endif
#if VECTOR >= 4
  for (; hi - lo >= 32; lo += 32) to = filter4(x, to, lo, 4);
#endif
  for (; lo < hi; lo += 8) to = filter1(x, to, lo);
  return to;
}

/* Filter the words of a small object.  What a vector reads beyond them is of
 * the cell, in whose last words these end. */
HOT uintptr_t *filter_small(struct extent x, uintptr_t *to, uintptr_t lo,
                            unsigned words) {
#if VECTOR >= 4
  to = filter4(x, to, lo, words);
  if (words <= 4) return to;
  return words == 5 ? filter1(x, to, lo + 32)
                    : filter4(x, to, lo + 32, words - 4);
#else
  return filter(x, to, lo, lo + words * sizeof(uintptr_t));
#endif
}

/* Filter many: long stretches are often free of pointers. */
HOT uintptr_t *filter_many(struct extent x, uintptr_t *to, uintptr_t lo,
                           uintptr_t hi) {
#if VECTOR >= 4
  for (; hi - lo >= 128; lo += 128)
    if (!none16(x, lo)) to = filter(x, to, lo, lo + 128);
#endif
  return filter(x, to, lo, hi);
}

HOT void words(struct mpgi_marker *m, struct extent x, uintptr_t lo,
               uintptr_t hi) {
  const size_t most = MPGI_SCAN_WORDS * sizeof(uintptr_t);
  for (;;) {
    uintptr_t end = hi - lo > most ? lo + most : hi;
    if (m->n_candidates > MPGI_CANDIDATES_MIN - MPGI_SCAN_WORDS) locate(m);
    uintptr_t *to = m->candidate + m->n_candidates;
    to = filter_many(x, to, lo, end);
    m->n_candidates = (uint32_t) (to - m->candidate);
    if (end == hi) return;
    lo = end;
  }
}

/* ---- objects ---- */

/* The words of elements of a typed object that begin in [from, to) of it. */
HOT void typed_words(struct mpgi_marker *m, const struct mpgi_type *type,
                     uintptr_t base, size_t from, size_t to, size_t usable) {
  size_t stride = type->bytes;
  if (type->n == 0 || stride == 0) return;
  for (size_t at = (from + stride - 1) / stride * stride;
       at < to && usable - at >= stride; at += stride)
    for (size_t i = 0; i < type->n; i++) {
      uintptr_t word;
      memcpy(&word, (const char *) base + at + type->offset[i], sizeof word);
      if (word - mpgi_heap.lo >= mpgi_heap_used()) continue;
      if (m->n_candidates >= MPGI_CANDIDATES_MIN) locate(m);
      m->candidate[m->n_candidates++] = word - mpgi_heap.lo;
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
  if (hi < end) mpgi_mark_push(m, it + MPGI_MARK_PIECE_BYTES);
  m->busy += (hi - lo) / MPGI_BUSY_BYTES;
  if (mpgi_item_kind(it) == MPGI_KIND_SCAN) {
    words(m, extent_get(), lo, hi);
    return;
  }
  const struct mpgi_type *type = type_of(end);
  if (type != NULL)
    typed_words(m, type, cell.base, lo - cell.base, hi - cell.base,
                end - cell.base - MPGI_PAD_BYTES);
}

/* One that scan_batch doesn't scan by itself. */
COLD void scan_other(struct mpgi_marker *m, mpgi_item it) {
  const struct extent x = extent_get();
  const struct mpgi_mark_class *c = &mpgi_mark_class[mpgi_item_sort(it)];
  uintptr_t lo = x.lo + mpgi_item_offset(it);
  m->busy += c->usable / MPGI_BUSY_BYTES;
  if (c->usable > 0)
    words(m, x, lo, lo + c->usable);
  else if (mpgi_item_class(it) == MPGI_CLASS_LARGE)
    scan_large(m, it);
  else
    scan_typed(m, it);
}

/* ---- batches ---- */

/* Candidates go on: to `pending`, or they are marked. */
HOT void pass(struct mpgi_marker *m) {
  if (m->near)
    mark_near(m);
  else
    locate(m);
}

/* Ask for an object's first two lines: cells up to 128 bytes are in them. */
HOT void object_prefetch(struct extent x, mpgi_item it) {
  const char *lo = (const char *) x.lo + mpgi_item_offset(it);
  line_prefetch(lo);
  line_prefetch(lo + mpgi_item_reach(it) * sizeof(uintptr_t) -
                sizeof(uintptr_t));
}

/* The lines of a run, too. */
HOT void item_prefetch(struct extent x, mpgi_item it) {
  object_prefetch(x, it);
  if (MPGI_LIKELY(!mpgi_item_is_run(it))) return;
  const char *lo = (const char *) x.lo + mpgi_item_offset(it);
  unsigned last = 63 - (unsigned) __builtin_clzll(mpgi_item_run(it));
  size_t bytes = mpgi_mark_class[mpgi_item_sort(it)].bytes * (last + 1);
  for (size_t at = MPGI_CACHE_LINE_BYTES; at < bytes;
       at += MPGI_CACHE_LINE_BYTES)
    line_prefetch(lo + at);
}

/* Scan a run.  Afterwards there are at most `room` candidates.  Cells side by
 * side are one stretch of words.  What is no object's between them is 0, or
 * whatever a program wrote beyond an object: there is room for that, too. */
COLD void scan_run(struct mpgi_marker *m, mpgi_item it, size_t room) {
  const struct extent x = extent_get();
  size_t bytes = mpgi_mark_class[mpgi_item_sort(it)].bytes;
  uintptr_t lo = x.lo + mpgi_item_offset(it);
  unsigned words = mpgi_item_reach(it);
  uint64_t run = mpgi_item_run(it);
  m->busy += (unsigned) __builtin_popcountll(run);
  size_t most = MPGI_RUN_CELLS * bytes / sizeof(uintptr_t);
  if (m->n_candidates + most > room) pass(m);
  uintptr_t *to = m->candidate + m->n_candidates;
  while (run != 0) {
    unsigned i = (unsigned) __builtin_ctzll(run);
    unsigned n = (unsigned) __builtin_ctzll(~(run >> i));
    uintptr_t at = lo + i * bytes;
    to = n == 1 ? filter_small(x, to, at, words)
                : filter(x, to, at, at + n * bytes - MPGI_PAD_BYTES);
    run &= ~UINT64_C(0) << (i + n);
  }
  m->n_candidates = (uint32_t) (to - m->candidate);
  MPG_ASSERT_INTERNAL(m->n_candidates <= room);
}

/* Take up to MPGI_BATCH items off the stack into `next`, which has room for
 * copies of whole vectors. */
HOT uint32_t pop_batch(struct mpgi_marker *m, mpgi_item *next) {
  struct mpgi_workbuf *b = m->buf;
  uint32_t n = b->n < MPGI_BATCH ? b->n : MPGI_BATCH;
  b->n -= n;
  if (MPGI_LIKELY(n == MPGI_BATCH)) /* of constant size: no call, no loop */
    memcpy(next, &b->item[b->n], MPGI_BATCH * sizeof *next);
  else
    memcpy(next, &b->item[b->n], n * sizeof *next);
  return n;
}

/* Scan the current batch.  For the words of small objects there is room.
 * Between two of them one of the n_next of the next batch is asked for: the
 * processor can wait for some lines only, and stalls at one more. */
HOT void scan_batch(struct mpgi_marker *m, struct extent x,
                    const mpgi_item *next, uint32_t n_next) {
  const mpgi_item *at = m->grey[m->odd], *end = at + m->n_grey;
  const mpgi_item *next_end = next + n_next;
  uintptr_t *to = m->candidate + m->n_candidates;
  MPG_ASSERT_INTERNAL(m->n_candidates <= MPGI_CANDIDATES_MIN);
  for (; at < end; at++) {
    mpgi_item it = *at;
    if (MPGI_LIKELY(next < next_end)) item_prefetch(x, *next++);
    if (MPGI_LIKELY(mpgi_item_is_plain(it))) {
      uintptr_t lo = x.lo + mpgi_item_offset(it);
      to = filter_small(x, to, lo, mpgi_item_reach(it));
    } else {
      m->n_candidates = (uint32_t) (to - m->candidate);
      if (mpgi_item_is_run(it))
        scan_run(m, it, MPGI_CANDIDATES - (end - at - 1) * MPGI_SMALL_WORDS);
      else
        scan_other(m, it);
      to = m->candidate + m->n_candidates;
    }
  }
  while (next < next_end) item_prefetch(x, *next++);
  m->n_candidates = (uint32_t) (to - m->candidate);
  m->n_grey = 0;
}

/* Everything that is under way, without overlap. */
COLD void settle(struct mpgi_marker *m) {
  scan_batch(m, extent_get(), NULL, 0);
  pass(m);
  mark_pending(m);
}

/* ---- chasing: a list, where each object leads to one other ---- */

/* The chase keeps these in registers. */
struct chase {
  struct extent x;
  struct tables tables;
  struct mpgi_workbuf *buf;
  uint64_t objects, bytes;
  bool alone;
};

/* An object to go on with: where its words begin, and of what sort it is. */
struct grey {
  uintptr_t lo; /* 0: none */
  const struct mpgi_mark_class *class;
};

HOT mpgi_item grey_item(const struct chase *k, struct grey g) {
  return g.class->item + (g.lo - k->x.lo);
}

HOT bool can_chase(const struct mpgi_mark_class *c) {
  return c->usable - 1u < MPGI_CHASE_BYTES;
}

/* Mark what the word at offset off refers to; returned if it was white and can
 * be chased. */
HOT struct grey chase_word(struct mpgi_marker *m, struct chase *k,
                           uintptr_t off) {
  const struct grey none = {0, NULL};
  struct named to = locate_one(k->tables, off);
  if (MPGI_UNLIKELY(to.bytes == 0)) {
    m->candidate[m->n_candidates++] = off; /* the long way, by the caller */
    return none;
  }
  if (!counts(m, to.item, off)) return none;
  uint64_t bit = UINT64_C(1) << to.index % 64;
  if (!(k->alone ? set_chased(to.pair, bit) : set_shared(to.pair, bit)))
    return none;
  k->objects++;
  k->bytes += to.bytes;
  const struct mpgi_mark_class *c = &mpgi_mark_class[mpgi_item_sort(to.item)];
  if (MPGI_UNLIKELY(!can_chase(c))) {
    if (mpgi_item_kind(to.item) != MPGI_KIND_NOSCAN)
      k->buf->item[k->buf->n++] = to.item;
    return none;
  }
  uintptr_t cell = mpgi_item_offset(to.item);
  if (MPGI_LIKELY(cell == off)) {
    /* Nearly always: then go on from the word itself, by a predicted branch,
     * without waiting for the arithmetic. */
    cell = off;
    __asm__ volatile("" : "+r"(cell));
  }
  return (struct grey){k->x.lo + cell, c};
}

/* Scan an object's words; all but the last of what it leads to is pushed.
 * Word by word with branches, not by vectors: predicted branches wait for
 * nothing, a vector's outcome does. */
HOT struct grey chase_object(struct mpgi_marker *m, struct chase *k,
                             struct grey g) {
  struct grey next = {0, NULL};
  uintptr_t hi = g.lo + g.class->usable;
  for (uintptr_t at = g.lo; at < hi; at += sizeof(uintptr_t)) {
    uintptr_t off = *(const volatile uintptr_t *) at - k->x.lo;
    if (off >= k->x.used) continue;
    struct grey found = chase_word(m, k, off);
    if (found.lo == 0) continue;
    if (MPGI_UNLIKELY(next.lo != 0))
      k->buf->item[k->buf->n++] = grey_item(k, next);
    next = found;
  }
  return next;
}

/* Follow objects one by one while the stack stays small. */
HOT void chase_some(struct mpgi_marker *m, struct grey g, bool alone) {
  struct chase k = {extent_get(), tables_get(), m->buf, 0, 0, alone};
  unsigned steps = 0;
  while (g.lo != 0 && steps < MPGI_MARK_LOOK && k.buf->n < MPGI_BATCH_MIN &&
         m->n_candidates == 0) {
    g = chase_object(m, &k, g);
    steps++;
  }
  if (g.lo != 0) k.buf->item[k.buf->n++] = grey_item(&k, g);
  m->objects += k.objects;
  m->bytes += k.bytes;
  m->busy += steps;
}

/* A single item, without overlap. */
COLD void step(struct mpgi_marker *m) {
  mpgi_item it = m->buf->item[--m->buf->n];
  const struct mpgi_mark_class *c = &mpgi_mark_class[mpgi_item_sort(it)];
  if (can_chase(c)) {
    struct grey g = {mpgi_heap.lo + mpgi_item_offset(it), c};
    if (m->alone)
      chase_some(m, g, true);
    else
      chase_some(m, g, false);
  } else {
    scan_other(m, it);
    m->busy++;
  }
  if (m->n_candidates == 0) return;
  locate(m);
  mark_pending(m);
}

/* ---- the loop ---- */

HOT void round_of_batches(struct mpgi_marker *m) {
  const struct extent x = extent_get();
  mpgi_item *next = m->grey[!m->odd];
  uint32_t n_next = pop_batch(m, next);
  scan_batch(m, x, next, n_next);
  if (m->n_pending > 0) mark_pending(m);
  pass(m);
  m->odd = !m->odd;
  m->n_grey = n_next;
}

/* A run is a batch by itself. */
HOT bool batch_is_worth(const struct mpgi_workbuf *b) {
  return b->n >= MPGI_BATCH_MIN ||
         (b->n > 0 && mpgi_item_is_run(b->item[b->n - 1]));
}

COLD void drain(struct mpgi_marker *m) {
  for (;;) {
    if (batch_is_worth(m->buf)) {
      round_of_batches(m);
      m->busy += MPGI_BATCH;
    } else if (m->n_grey + m->n_pending + m->n_candidates > 0) {
      settle(m);
    } else if (m->buf->n > 0) {
      step(m);
    } else if (!mpgi_mark_refill(m)) {
      return;
    }
    if (MPGI_UNLIKELY(m->busy >= m->look_at)) mpgi_mark_look(m);
  }
}

COLD void range(struct mpgi_marker *m, uintptr_t lo, uintptr_t hi) {
  lo = (lo + 7) & ~(uintptr_t) 7;
  hi &= ~(uintptr_t) 7;
  if (lo >= hi) return;
  m->root_bytes += hi - lo;
  if (EXACT) m->interior = true; /* roots are no objects */
  words(m, extent_get(), lo, hi);
  if (!EXACT) return;
  locate(m);
  m->interior = false;
}

COLD void scan(struct mpgi_marker *m, mpgi_item it) { scan_other(m, it); }

const struct mpgi_mark_ops OPS = {STRING(LEVEL), drain, range, scan,
                                  OPS_OF_STARTS};

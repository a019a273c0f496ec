/* mark_locate.h - from candidates to the bits of the cells that they name.
 *
 * Part of mark_scan.h, which includes it.
 *
 * A candidate's page leads to its entry, that to a row of mpgi_mark_class, and
 * a multiplication to its cell.  With vectors as many candidates as there are
 * lanes go together: only entries and rows are loaded one by one (a gather is
 * no quicker, and on some processors far slower), all arithmetic is in lanes.
 * What lies in no span of several cells sends its group the way of single ones.
 */
#ifndef MPGI_MARK_LOCATE_H
#define MPGI_MARK_LOCATE_H

_Static_assert(MPGI_ITEM_KIND_SHIFT - MPGI_ITEM_CLASS_SHIFT ==
                   MPGI_ENTRY_KIND_SHIFT,
               "class and kind lie side by side in entries as in items");

/* Constant while words are located, in registers. */
struct tables {
  const _Atomic uint32_t *entry;
  struct mpgi_pair *pair;
};
HOT struct tables tables_get(void) {
  return (struct tables){mpgi_heap.entry, mpgi_heap.pair};
}

HOT uint32_t entry_at(struct tables t, uintptr_t off) {
  return atomic_load_explicit(&t.entry[off >> MPGI_PAGE_LOG2],
                              memory_order_acquire);
}

HOT const struct mpgi_mark_class *class_at(uint32_t entry) {
  return &mpgi_mark_class[entry & MPGI_ENTRY_SORT_MASK];
}

/* ---- one ---- */

/* What a candidate names: its cell's bits and item. */
struct named {
  struct mpgi_pair *pair;
  mpgi_item item;
  uint64_t index;
  uint64_t bytes; /* of the cell; 0: this is for locate_odd */
};

/* The cell at an offset, if it is one of several in its span. */
HOT struct named locate_one(struct tables t, uintptr_t off) {
  uint32_t e = entry_at(t, off);
  const struct mpgi_mark_class *c = class_at(e);
  struct named to = {.bytes = c->bytes};
  if (MPGI_UNLIKELY(to.bytes == 0)) return to;
  uintptr_t page = (off >> MPGI_PAGE_LOG2) - (e >> MPGI_ENTRY_BACK_SHIFT);
  uintptr_t span = page << MPGI_PAGE_LOG2;
  to.index = (uint64_t) (off - span) * c->magic >> 32;
  to.pair = t.pair + page * MPGI_PAGE_PAIRS + to.index / 64;
  to.item = c->item + span + to.index * to.bytes;
  return to;
}

/* Is the cell to be kept by the word at off? */
HOT bool counts(const struct mpgi_marker *m, mpgi_item it, uintptr_t off) {
  return !EXACT || m->interior || mpgi_item_offset(it) == off;
}

/* To the second level of cache.  More lines than the first level can wait for
 * are asked for at a time, and where it can't the processor stands still. */
HOT void line_prefetch(const void *p) { __builtin_prefetch(p, 0, 2); }

HOT void pending_put(struct mpgi_marker *m, uint32_t at, struct named to) {
  line_prefetch(to.pair);
  m->pending.pair[at] = to.pair;
  m->pending.bit[at] = UINT64_C(1) << to.index % 64;
  m->pending.item[at] = to.item;
  m->pending.bytes[at] = to.bytes;
}

/* A word into a large object, or into no span. */
COLD void locate_odd(struct mpgi_marker *m, uintptr_t off) {
  struct mpgi_cell cell;
  if (!mpgi_cell_find(mpgi_heap.lo + off, &cell)) return;
  uintptr_t base = cell.base - mpgi_heap.lo;
  struct tables t = tables_get();
  struct named to = {
      .pair = t.pair + (base >> MPGI_PAGE_LOG2) * MPGI_PAGE_PAIRS,
      .item = class_at(entry_at(t, base))->item + base,
      .bytes = mpgi_span_cell_bytes(cell.span)};
  if (counts(m, to.item, off)) pending_put(m, m->n_pending++, to);
}

/* ---- as many as there are lanes ---- */

#if VECTOR >= 4
typedef uint64_t lanes __attribute__((vector_size(VECTOR * sizeof(uint64_t))));

HOT lanes all_lanes(uint64_t x) { return (lanes){0} + x; }

HOT lanes lanes_load(const void *p) {
  lanes x;
  memcpy(&x, p, sizeof x);
  return x;
}

HOT void lanes_store(void *p, lanes x) { memcpy(p, &x, sizeof x); }

/* Rows 0, 2, .. of the table in `even`, the others in `odd`: of each row half
 * a lane's word. */
#if VECTOR == 8
HOT lanes low_mul(lanes a, lanes b) {
  return (lanes) _mm512_mul_epu32((__m512i) a, (__m512i) b);
}
HOT lanes low_words(lanes even, lanes odd) {
  return (lanes) _mm512_unpacklo_epi64((__m512i) even, (__m512i) odd);
}
HOT lanes high_words(lanes even, lanes odd) {
  return (lanes) _mm512_unpackhi_epi64((__m512i) even, (__m512i) odd);
}
HOT bool has_zero(lanes x) {
  return _mm512_testn_epi64_mask((__m512i) x, (__m512i) x) != 0;
}
/* The lanes shifted up by one, the last one of `before` first. */
HOT lanes lanes_before(lanes before, lanes x) {
  return (lanes) _mm512_alignr_epi64((__m512i) x, (__m512i) before, 7);
}
#else
HOT lanes low_mul(lanes a, lanes b) {
  return (lanes) _mm256_mul_epu32((__m256i) a, (__m256i) b);
}
HOT lanes low_words(lanes even, lanes odd) {
  return (lanes) _mm256_unpacklo_epi64((__m256i) even, (__m256i) odd);
}
HOT lanes high_words(lanes even, lanes odd) {
  return (lanes) _mm256_unpackhi_epi64((__m256i) even, (__m256i) odd);
}
HOT bool has_zero(lanes x) {
  return _mm256_movemask_pd((__m256d) (x == 0)) != 0;
}
HOT lanes lanes_before(lanes before, lanes x) {
  __m256i mid = _mm256_permute2x128_si256((__m256i) before, (__m256i) x, 0x21);
  return (lanes) _mm256_alignr_epi8((__m256i) x, mid, 8);
}
#endif

HOT __m128i row_at(const uint32_t *e) {
  return _mm_load_si128((const __m128i *) class_at(*e));
}

/* The rows of e[0], e[2] .. */
HOT lanes rows_at(const uint32_t *e) {
  __m256i x = _mm256_castsi128_si256(row_at(e));
  x = _mm256_inserti128_si256(x, row_at(e + 2), 1);
#if VECTOR == 8
  __m256i y = _mm256_castsi128_si256(row_at(e + 4));
  y = _mm256_inserti128_si256(y, row_at(e + 6), 1);
  return (lanes) _mm512_inserti64x4(_mm512_castsi256_si512(x), y, 1);
#else
  return (lanes) x;
#endif
}

/* Unrolled, so that entries stay in registers. */
HOT void entries_at(struct tables t, const uintptr_t *off, uint32_t *e) {
  e[0] = entry_at(t, off[0]);
  e[1] = entry_at(t, off[1]);
  e[2] = entry_at(t, off[2]);
  e[3] = entry_at(t, off[3]);
#if VECTOR == 8
  e[4] = entry_at(t, off[4]);
  e[5] = entry_at(t, off[5]);
  e[6] = entry_at(t, off[6]);
  e[7] = entry_at(t, off[7]);
#endif
}

HOT void pairs_prefetch(struct mpgi_pair *const *pair) {
  line_prefetch(pair[0]);
  line_prefetch(pair[1]);
  line_prefetch(pair[2]);
  line_prefetch(pair[3]);
#if VECTOR == 8
  line_prefetch(pair[4]);
  line_prefetch(pair[5]);
  line_prefetch(pair[6]);
  line_prefetch(pair[7]);
#endif
}

HOT lanes entry_lanes(const uint32_t *e) {
#if VECTOR == 8
  return (lanes){e[0], e[1], e[2], e[3], e[4], e[5], e[6], e[7]};
#else
  return (lanes){e[0], e[1], e[2], e[3]};
#endif
}

/* counts() for each lane, and its cell: no bit means nothing is marked. */
HOT lanes bits_that_count(const struct mpgi_marker *m, lanes index, lanes off,
                          lanes cell) {
  lanes bits = all_lanes(1) << (index & 63);
  return !EXACT || m->interior ? bits : bits & (lanes) (cell == off);
}

/* Candidates become pending; false: they must go one by one.  *last: the pairs
 * of the group before; *same: less how many have the pair of the one before. */
HOT bool locate_lanes(struct mpgi_marker *m, struct tables t,
                      const uintptr_t *from, uint32_t at, lanes *last,
                      lanes *same) {
  uint32_t e[VECTOR];
  entries_at(t, from, e);
  lanes even = rows_at(e), odd = rows_at(e + 1);
  lanes numbers = low_words(even, odd); /* magic, bytes, usable */
  lanes bytes = numbers >> 32 & UINT16_MAX;
  if (MPGI_UNLIKELY(has_zero(bytes))) return false;
  lanes off = lanes_load(from);
  lanes page =
      (off >> MPGI_PAGE_LOG2) - (entry_lanes(e) >> MPGI_ENTRY_BACK_SHIFT);
  lanes span = page << MPGI_PAGE_LOG2;
  lanes index = low_mul(off - span, numbers) >> 32;
  lanes pair = all_lanes((uintptr_t) t.pair) +
               (page * MPGI_PAGE_PAIRS + (index >> 6)) * sizeof *t.pair;
  lanes cell = span + low_mul(index, bytes);
  lanes_store(&m->pending.pair[at], pair);
  lanes_store(&m->pending.bit[at], bits_that_count(m, index, off, cell));
  lanes_store(&m->pending.item[at], high_words(even, odd) + cell);
  lanes_store(&m->pending.bytes[at], bytes);
  pairs_prefetch(&m->pending.pair[at]);
  *same += (lanes) (pair == lanes_before(*last, pair));
  *last = pair;
  return true;
}

HOT uint32_t lanes_sum(lanes x) {
  uint64_t sum = 0;
  for (int i = 0; i < VECTOR; i++) sum += x[i];
  return (uint32_t) sum;
}
#endif

/* ---- all ---- */

/* Of n candidates, `same` have their bits in the pair of the one before.
 * Scattered groups of two aren't near: each would wait for its bits. */
HOT void near_or_far(struct mpgi_marker *m, uint32_t n, uint32_t same) {
  if (n >= MPGI_NEAR_MIN) m->near = same >= n / 8 * 5;
}

/* Candidates [from, to) one by one; returns how many have the pair of the one
 * before. */
HOT uint32_t locate_singly(struct mpgi_marker *m, struct tables t,
                           uint32_t from, uint32_t to) {
  const struct mpgi_pair *last = NULL;
  uint32_t at = m->n_pending, same = 0;
  for (uint32_t i = from; i < to; i++) {
    uintptr_t off = m->candidate[i];
    struct named it = locate_one(t, off);
    if (MPGI_UNLIKELY(it.bytes == 0)) {
      m->n_pending = at;
      locate_odd(m, off);
      at = m->n_pending;
      continue;
    }
    pending_put(m, at, it);
    at += counts(m, it.item, off);
    same += it.pair == last;
    last = it.pair;
  }
  m->n_pending = at;
  return same;
}

/* Candidates become pending. */
COLD void locate(struct mpgi_marker *m) {
  uint32_t n = m->n_candidates, i = 0, same = 0;
  if (m->n_pending + n > MPGI_CANDIDATES) mark_pending(m);
  const struct tables t = tables_get();
#if VECTOR >= 4
  lanes last = all_lanes(0), less = last;
  for (; n - i >= VECTOR; i += VECTOR)
    if (MPGI_LIKELY(
            locate_lanes(m, t, &m->candidate[i], m->n_pending, &last, &less)))
      m->n_pending += VECTOR;
    else
      same += locate_singly(m, t, i, i + VECTOR);
  same -= lanes_sum(less);
#endif
  same += locate_singly(m, t, i, n);
  m->n_candidates = 0;
  near_or_far(m, n, same);
}

#endif /* MPGI_MARK_LOCATE_H */

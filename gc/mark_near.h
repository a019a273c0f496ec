/* mark_near.h - locating and marking in one, where candidates are neighbours.
 *
 * Part of mark_scan.h, which includes it.
 *
 * A group is candidates one after the other whose bits are in one pair: up to
 * 64 cells side by side.  What is looked up is looked up once for the group;
 * of each candidate a subtraction and a multiplication make a bit, four at a
 * time by vectors, and the group's bits meet the pair in one operation.  What
 * was white is pushed as runs (mark_private.h), by the dozen.
 *
 * A word named twice in a group is one bit, so it is pushed once.
 */
#ifndef MPGI_MARK_NEAR_H
#define MPGI_MARK_NEAR_H

struct near_group {
  uintptr_t lo;  /* offset of the first cell of the pair */
  uintptr_t len; /* from there on lies what is looked up alike; 0: nothing */
  struct mpgi_pair *pair;
  mpgi_item item; /* of the first cell */
  uint32_t magic, bytes;
};

/* Around a candidate.  It ends with the page: the next may be another span. */
HOT struct near_group near_group_at(struct tables t, uintptr_t off) {
  struct named to = locate_one(t, off);
  uintptr_t before = to.index % 64 * to.bytes;
  uintptr_t lo = mpgi_item_offset(to.item) - before;
  uintptr_t end = (off | (MPGI_PAGE_BYTES - 1)) + 1 - lo;
  uintptr_t len = (uintptr_t) to.bytes * 64;
  return (struct near_group){lo,
                             len < end ? len : end,
                             to.pair,
                             to.item - before,
                             mpgi_mark_class[mpgi_item_sort(to.item)].magic,
                             to.bytes};
}

#if VECTOR >= 4
/* counts() for each: those bits.  rel is biased, index isn't. */
HOT __m256i starts4(const struct mpgi_marker *m, const struct near_group *g,
                    __m256i rel, __m256i index, __m256i bit) {
  if (m->interior) return bit;
  __m256i cell = _mm256_mul_epu32(index, _mm256_set1_epi64x(g->bytes));
  const __m256i bias = _mm256_set1_epi64x(INT64_MIN);
  return _mm256_and_si256(
      bit, _mm256_cmpeq_epi64(_mm256_xor_si256(rel, bias), cell));
}

/* Bits of the candidates from `at` on, four at a time while all are in the
 * group.  The bias makes signed comparisons do for unsigned ones, and the
 * multiplication sees low halves only. */
HOT const uintptr_t *near_bits4(const struct mpgi_marker *m,
                                const struct near_group *g, const uintptr_t *at,
                                const uintptr_t *end, uint64_t *bits) {
  const uint64_t bias = UINT64_C(1) << 63;
  const __m256i lo = _mm256_set1_epi64x((long long) (bias - g->lo));
  const __m256i len = _mm256_set1_epi64x((long long) (bias + g->len));
  const __m256i magic = _mm256_set1_epi64x((long long) g->magic);
  const __m256i one = _mm256_set1_epi64x(1);
  __m256i all = _mm256_setzero_si256();
  for (; end - at >= 4; at += 4) {
    __m256i off = _mm256_loadu_si256((const void *) at);
    __m256i rel = _mm256_add_epi64(off, lo);
    __m256i in = _mm256_cmpgt_epi64(len, rel);
    if (_mm256_movemask_pd((__m256d) in) != 15) break;
    __m256i index = _mm256_srli_epi64(_mm256_mul_epu32(rel, magic), 32);
    __m256i bit = _mm256_sllv_epi64(one, index);
    if (EXACT) bit = starts4(m, g, rel, index, bit);
    all = _mm256_or_si256(all, bit);
  }
  __m128i two = _mm_or_si128(_mm256_castsi256_si128(all),
                             _mm256_extracti128_si256(all, 1));
  *bits |= (uint64_t) _mm_extract_epi64(two, 0) |
           (uint64_t) _mm_extract_epi64(two, 1);
  return at;
}
#endif

/* Bits of the candidates from `at` on that are in the group; where they end. */
HOT const uintptr_t *near_bits(const struct mpgi_marker *m,
                               const struct near_group *g, const uintptr_t *at,
                               const uintptr_t *end, uint64_t *bits) {
#if VECTOR >= 4
  at = near_bits4(m, g, at, end, bits);
#endif
  for (; at < end && *at - g->lo < g->len; at++) {
    uint64_t index = (*at - g->lo) * g->magic >> 32;
    if (counts(m, g->item + index * g->bytes, *at))
      *bits |= UINT64_C(1) << index;
  }
  return at;
}

/* Those of the cells that are allocated and that this call marked. */
HOT uint64_t near_mark(struct mpgi_pair *pair, uint64_t bits, bool alone) {
  uint64_t mark = mpgi_load(&pair->mark);
  uint64_t fresh = bits & mpgi_load(&pair->alloc) & ~mark;
  if (fresh == 0) return 0;
  if (alone) {
    mpgi_store(&pair->mark, mark | fresh);
    return fresh;
  }
  return fresh &
         ~atomic_fetch_or_explicit(&pair->mark, fresh, memory_order_relaxed);
}

/* Push the group's cells with these numbers; returns the new top. */
HOT mpgi_item *near_push(const struct near_group *g, mpgi_item *top,
                         uint64_t cells) {
  bool small = mpgi_item_is_small(g->item);
  if (g->item >> MPGI_ITEM_NOSCAN_SHIFT & 1) return top;
  while (cells != 0) {
    uint64_t first = (uint64_t) __builtin_ctzll(cells);
    uint64_t run = small ? cells >> first & MPGI_RUN_MASK : 1;
    *top++ = (g->item + first * g->bytes) | run << MPGI_ITEM_RUN_SHIFT;
    cells &= ~(run << first);
  }
  return top;
}

struct near {
  mpgi_item *top;
  uint64_t objects, bytes;
};

HOT void near_group_end(struct near *n, const struct near_group *g,
                        uint64_t bits, bool alone) {
  uint64_t fresh = bits == 0 ? 0 : near_mark(g->pair, bits, alone);
  uint64_t count = (uint64_t) __builtin_popcountll(fresh);
  n->objects += count;
  n->bytes += count * g->bytes;
  n->top = near_push(g, n->top, fresh);
}

/* Candidates are marked and pushed at once: their bits are at hand.  The buffer
 * has room for all of them. */
HOT void near_some(struct mpgi_marker *m, bool alone) {
  const struct tables t = tables_get();
  struct near to = {m->buf->item + m->buf->n, 0, 0};
  uint32_t n = m->n_candidates, groups = 0;
  const uintptr_t *at = m->candidate, *end = at + n;
  while (at < end) {
    struct near_group g = near_group_at(t, *at);
    groups++;
    if (MPGI_UNLIKELY(g.len == 0)) {
      locate_odd(m, *at++);
      continue;
    }
    __builtin_prefetch(g.pair, 1);
    uint64_t bits = 0;
    at = near_bits(m, &g, at, end, &bits);
    near_group_end(&to, &g, bits, alone);
  }
  m->buf->n = (uint32_t) (to.top - m->buf->item);
  m->n_candidates = 0;
  m->objects += to.objects;
  m->bytes += to.bytes;
  near_or_far(m, n, n - groups);
}

COLD void mark_near(struct mpgi_marker *m) {
  if (m->n_pending + m->n_candidates > MPGI_CANDIDATES) mark_pending(m);
  if (m->buf->n + m->n_candidates >= MPGI_WORKBUF_ITEMS)
    mpgi_mark_make_room(m, MPGI_CANDIDATES + 1);
  if (m->alone)
    near_some(m, true);
  else
    near_some(m, false);
}

#endif /* MPGI_MARK_NEAR_H */

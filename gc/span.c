/* span.c - spans: runs of pages cut into cells of one class and kind.
 *
 * Concepts
 *   cell   room for one object; a large span is one cell.
 *   bits   a mark bit and an allocation bit a cell, in the pairs of the
 *          span's pages (gc_private.h).  A cell is allocated when its bit is
 *          set and it isn't in the unused part of a hole (cache.c).
 *   epoch  number of the last cycle.  A PARTIAL or FULL span of an older
 *          epoch is UNSWEPT: its dead are those without a mark.
 *
 * States: who may move a span is said at enum mpgi_span_state; the moves are
 * this table.
 *
 * Invariants
 *   [span.bits]  pages in no span have all pairs zero, so a new span needs no
 *                clearing (checked in new and free)
 *   [span.marks] marks are zero outside a cycle and once a span is swept
 *   [span.entry] entries of a span's pages name it; others are 0
 *
 * Concurrency: entries and bits are read by anyone without a lock.  Entries
 * are written (release) after the record when a span is made and before its
 * pages go back when it is freed.  Bits of one word of a CACHED span may be
 * written by its owner and by whoever gives freed cells back at once:
 * read-modify-write.  Clearing releases and searching for a hole acquires; for
 * the rest, order comes from handing objects over.
 */
#define MPGI_GC_INSIDE 1
#include <gc/gc_private.h>

_Atomic uint32_t mpgi_sweep_epoch;

/* ---- states ---- */

#define TO(state) (1u << MPGI_SPAN_##state)
static const uint8_t moves[MPGI_SPAN_STATES] = {
    [MPGI_SPAN_FREE] = TO(CACHED) | TO(FULL),
    [MPGI_SPAN_CACHED] = TO(PARTIAL) | TO(FULL),
    [MPGI_SPAN_PARTIAL] = TO(CACHED) | TO(FREE),
    [MPGI_SPAN_FULL] = TO(PARTIAL) | TO(FREE),
    [MPGI_SPAN_SWEEPING] = TO(CACHED) | TO(PARTIAL) | TO(FULL) | TO(FREE),
    [MPGI_SPAN_UNSWEPT] = TO(SWEEPING),
};
_Static_assert(MPGI_SPAN_STATES <= 1 << MPGI_SPAN_EPOCH_SHIFT, "state bits");

void mpgi_span_state_set(struct mpgi_span *s, enum mpgi_span_state from,
                         enum mpgi_span_state to) {
  uint32_t epoch =
      atomic_load_explicit(&mpgi_sweep_epoch, memory_order_relaxed);
  MPG_VERIFY(mpgi_span_state(s) == from);
  MPG_VERIFY(moves[from] & 1u << to);
  MPG_ASSERT(to != MPGI_SPAN_UNSWEPT);
  MPGI_CHAOS();
  atomic_store_explicit(&s->state, epoch << MPGI_SPAN_EPOCH_SHIFT | to,
                        memory_order_release);
}

/* ---- making and freeing ---- */

static void entries_set(uint32_t page, uint32_t from, uint32_t to,
                        uint32_t entry) {
  for (uint32_t i = from; i < to; i++) {
    uint32_t back = i < MPGI_ENTRY_BACK_MAX ? i : MPGI_ENTRY_BACK_MAX;
    uint32_t e = entry == 0 ? 0 : entry | back << MPGI_ENTRY_BACK_SHIFT;
    atomic_store_explicit(&mpgi_heap.entry[page + i], e, memory_order_release);
  }
}

static uint32_t entry_of(const struct mpgi_span *s) {
  return MPGI_ENTRY_USED | (uint32_t) s->kind << MPGI_ENTRY_KIND_SHIFT |
         s->class;
}

static bool bits_are_clear(const struct mpgi_span *s) {
  const struct mpgi_pair *pair = mpgi_span_pairs(s);
  for (unsigned i = 0; i < mpgi_span_words(s); i++)
    if (mpgi_load(&pair[i].mark) != 0 || mpgi_load(&pair[i].alloc) != 0)
      return false;
  return true;
}

struct mpgi_span *mpgi_span_new(uint32_t page, uint32_t pages, unsigned class,
                                unsigned kind, bool zero, uint64_t bytes,
                                enum mpgi_span_state state) {
  struct mpgi_span *s = &mpgi_heap.span[page];
  MPG_ASSERT(class < MPGI_CLASSES && kind < MPGI_KIND_COUNT);
  MPG_ASSERT(class == MPGI_CLASS_LARGE || pages == mpgi_class[class].pages);
  MPG_ASSERT(mpgi_heap_entry(page) == 0);
  s->pages = pages;
  s->next = s->prev = 0;
  s->class = (uint8_t) class;
  s->kind = (uint8_t) kind;
  s->objects = mpgi_class[class].objects;
  s->cursor = 0;
  s->zero = zero;
  MPG_ASSERT(atomic_load(&s->specials) == 0);
  atomic_store_explicit(&s->used, 0, memory_order_relaxed);
  mpgi_store(&s->bytes, bytes);
  atomic_store_explicit(&s->owner, NULL, memory_order_relaxed);
  MPG_ASSERT_INTERNAL(bits_are_clear(s));
  mpgi_span_state_set(s, MPGI_SPAN_FREE, state);
  MPGI_CHAOS();
  entries_set(page, 0, pages, entry_of(s));
  return s;
}

void mpgi_span_free(struct mpgi_span *s) {
  uint32_t page = mpgi_span_page(s), pages = s->pages;
  MPG_ASSERT(atomic_load_explicit(&s->used, memory_order_relaxed) == 0);
  MPG_ASSERT_INTERNAL(bits_are_clear(s));
  MPG_ASSERT(s->next == 0 && s->prev == 0);
  entries_set(page, 0, pages, 0);
  mpgi_span_state_set(s, mpgi_span_state(s), MPGI_SPAN_FREE);
  MPGI_CHAOS();
  mpgi_heap_pages_free(mpgi_sort_of(s->kind), page, pages);
}

void mpgi_span_resize(struct mpgi_span *s, uint32_t pages, uint64_t bytes) {
  MPG_ASSERT(s->class == MPGI_CLASS_LARGE && pages > 0);
  if (pages > s->pages)
    entries_set(mpgi_span_page(s), s->pages, pages, entry_of(s));
  else
    entries_set(mpgi_span_page(s), pages, s->pages, 0);
  s->pages = pages;
  mpgi_store(&s->bytes, bytes);
}

/* ---- bits ---- */

/* Bits of [lo, hi) that lie in word w. */
static uint64_t word_mask(uint32_t w, uint32_t lo, uint32_t hi) {
  uint32_t from = w == lo / 64 ? lo % 64 : 0;
  uint32_t to = hi - w * 64 < 64 ? hi - w * 64 : 64;
  return (~UINT64_C(0) >> (64 - (to - from))) << from;
}

static void word_set(struct mpgi_pair *pair, uint64_t m) {
  if (atomic_load_explicit(&mpgi_gc_marking, memory_order_relaxed))
    atomic_fetch_or_explicit(&pair->mark, m, memory_order_relaxed);
  /* Release: whoever sees the bits sees what they promise (mpgi_cell_is_live).
   */
  uint64_t old =
      atomic_fetch_or_explicit(&pair->alloc, m, memory_order_release);
  MPG_VERIFY((old & m) == 0);
}

void mpgi_span_bits_set(struct mpgi_span *s, uint32_t lo, uint32_t hi) {
  struct mpgi_pair *pair = mpgi_span_pairs(s);
  MPG_ASSERT(lo < hi && hi <= s->objects);
  for (uint32_t w = lo / 64; w * 64 < hi; w++)
    word_set(&pair[w], word_mask(w, lo, hi));
  atomic_fetch_add_explicit(&s->used, hi - lo, memory_order_relaxed);
}

uint64_t mpgi_span_word_free(const struct mpgi_span *s, uint32_t lo) {
  const struct mpgi_pair *pair = &mpgi_span_pairs(s)[lo / 64];
  uint32_t end = lo / 64 * 64 + 64;
  if (end > s->objects) end = s->objects;
  MPG_ASSERT(lo < end);
  /* Acquire: as in bit_from. */
  return ~atomic_load_explicit(&pair->alloc, memory_order_acquire) &
         word_mask(lo / 64, lo, end);
}

void mpgi_span_word_set(struct mpgi_span *s, uint32_t lo, uint64_t cells) {
  uint32_t end = lo / 64 * 64 + 64;
  word_set(&mpgi_span_pairs(s)[lo / 64], cells);
  atomic_fetch_add_explicit(&s->used, mpgi_ones(cells), memory_order_relaxed);
  s->cursor = end < s->objects ? end : s->objects;
}

void mpgi_span_bits_clear(struct mpgi_span *s, uint32_t lo, uint32_t hi) {
  struct mpgi_pair *pair = mpgi_span_pairs(s);
  MPG_ASSERT(lo < hi && hi <= s->objects);
  for (uint32_t w = lo / 64; w * 64 < hi; w++) {
    uint64_t m = word_mask(w, lo, hi);
    if (mpgi_load(&pair[w].mark) & m) /* only in a cycle */
      atomic_fetch_and_explicit(&pair[w].mark, ~m, memory_order_relaxed);
    uint64_t old =
        atomic_fetch_and_explicit(&pair[w].alloc, ~m, memory_order_release);
    MPG_VERIFY((old & m) == m);
  }
  uint32_t used =
      atomic_fetch_sub_explicit(&s->used, hi - lo, memory_order_relaxed);
  MPG_VERIFY(used >= hi - lo);
}

void mpgi_span_bit_clear_alone(struct mpgi_span *s, uint32_t i) {
  struct mpgi_pair *pair = &mpgi_span_pairs(s)[i / 64];
  uint64_t bit = UINT64_C(1) << i % 64, alloc = mpgi_load(&pair->alloc);
  uint32_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
  MPG_VERIFY((alloc & bit) != 0 && used > 0);
  mpgi_store(&pair->mark, mpgi_load(&pair->mark) & ~bit);
  atomic_store_explicit(&pair->alloc, alloc & ~bit, memory_order_release);
  atomic_store_explicit(&s->used, used - 1, memory_order_relaxed);
}

/* The first index in [from, end) whose allocation bit is `value`; end: none. */
static uint32_t bit_from(const struct mpgi_pair *pair, uint32_t from,
                         uint32_t end, bool value) {
  for (uint32_t w = from / 64; w * 64 < end; w++) {
    /* Acquire: whoever freed a cell is done with it. */
    uint64_t x = atomic_load_explicit(&pair[w].alloc, memory_order_acquire);
    if (!value) x = ~x;
    if (w == from / 64) x &= ~UINT64_C(0) << from % 64;
    if (x == 0) continue;
    uint32_t i = w * 64 + (uint32_t) __builtin_ctzll(x);
    return i < end ? i : end;
  }
  return end;
}

bool mpgi_span_hole_from(const struct mpgi_span *s, uint32_t *lo,
                         uint32_t *hi) {
  const struct mpgi_pair *pair = mpgi_span_pairs(s);
  MPG_ASSERT_INTERNAL(s->cursor <= s->objects);
  if (s->cursor >= s->objects) return false;
  *lo = bit_from(pair, s->cursor, s->objects, false);
  if (*lo == s->objects) return false;
  *hi = bit_from(pair, *lo, s->objects, true);
  MPG_ASSERT_INTERNAL(*lo < *hi);
  return true;
}

/* ---- walking ---- */

void mpgi_span_each(void (*fn)(void *arg, struct mpgi_span *s), void *arg) {
  uint32_t end = (uint32_t) (mpgi_heap_used() >> MPGI_PAGE_LOG2);
  for (uint32_t page = 0; page < end;) {
    struct mpgi_span *s = &mpgi_heap.span[page];
    if (mpgi_heap_entry(page) == 0) {
      page++;
      continue;
    }
    uint32_t pages = s->pages;
    MPG_ASSERT(mpgi_heap_entry(page) >> MPGI_ENTRY_BACK_SHIFT == 0);
    fn(arg, s);
    page += pages;
  }
}

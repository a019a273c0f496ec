/* central.c - the spans of each class and kind that no cache holds.
 *
 * Three lists a class and kind: partial (swept, with free cells), full (swept,
 * without), unswept.  A collection moves everything to unswept by joining the
 * two others and raising the epoch: constant time a class.
 *
 * acquire looks, in this order, at partial spans, at unswept ones, which it
 * sweeps (at most SWEEP_LIMIT without success: the rest is the background
 * sweeper's), at pages of the heap.  Before the heap grows while spans wait
 * to be swept, reclaim sweeps some for their pages.
 *
 * Concurrency: a mutex (GC_CENTRAL) a class and kind, held for list
 * operations, and for clearing bits of freed cells: of listed spans nobody
 * else writes bits.  Sweeping happens outside, on a span that is on no list.
 * Spans move between classes only through the page heap.
 *
 * Invariant [central.lists]: count, links and states agree
 * (mpgi_central_is_valid).
 */
#define MPGI_GC_INSIDE 1
#include <gc/gc_private.h>

#define SWEEP_LIMIT 64    /* full spans swept in vain before the heap grows */
#define RECLAIM_LIMIT 256 /* spans swept to find a run of pages */

struct mpgi_central mpgi_central[MPGI_KIND_COUNT][MPGI_CLASSES] MPGI_NOROOT
    __attribute__((aligned(MPGI_CACHE_LINE_BYTES)));

/* ---- lists ---- */

static void list_push(struct mpgi_span_list *l, struct mpgi_span *s) {
  uint32_t id = mpgi_span_page(s) + 1;
  MPG_ASSERT(s->next == 0 && s->prev == 0 && l->head != id);
  uint32_t *pushed = &l->pushed[l->pushes++ % MPGI_LIST_AHEAD];
  s->next = l->head;
  s->ahead = *pushed;
  *pushed = id;
  if (l->head != 0)
    mpgi_heap.span[l->head - 1].prev = id;
  else
    l->tail = id;
  l->head = id;
  l->count++;
}

/* Ask for what will be popped some pops after s, its record and its bits: they
 * are seldom at hand, and link by link each would be waited for.
 * (A function apart that only asks has no effect, and GCC drops the call.) */
static inline __attribute__((always_inline)) void ahead_prefetch(
    const struct mpgi_span *s) {
  if (s->ahead == 0) return;
  __builtin_prefetch(&mpgi_heap.span[s->ahead - 1], 1);
  __builtin_prefetch(mpgi_heap_pairs(s->ahead - 1), 1);
}

static void list_remove(struct mpgi_span_list *l, struct mpgi_span *s) {
  uint32_t *from_prev =
      s->prev != 0 ? &mpgi_heap.span[s->prev - 1].next : &l->head;
  uint32_t *from_next =
      s->next != 0 ? &mpgi_heap.span[s->next - 1].prev : &l->tail;
  MPG_VERIFY(*from_prev == mpgi_span_page(s) + 1 && *from_prev == *from_next);
  MPG_ASSERT(l->count > 0);
  *from_prev = s->next;
  *from_next = s->prev;
  s->next = s->prev = 0;
  l->count--;
}

static struct mpgi_span *list_pop(struct mpgi_span_list *l) {
  if (l->head == 0) return NULL;
  struct mpgi_span *s = &mpgi_heap.span[l->head - 1];
  ahead_prefetch(s);
  list_remove(l, s);
  return s;
}

/* Append b to a. */
static void list_join(struct mpgi_span_list *a, struct mpgi_span_list *b) {
  if (b->head == 0) return;
  if (a->head == 0) {
    *a = *b;
  } else {
    mpgi_heap.span[a->tail - 1].next = b->head;
    mpgi_heap.span[b->head - 1].prev = a->tail;
    a->tail = b->tail;
    a->count += b->count;
  }
  *b = (struct mpgi_span_list){0};
}

void mpgi_central_init(void) {
  for (int k = 0; k < MPGI_KIND_COUNT; k++)
    for (int c = 0; c < MPGI_CLASSES; c++)
      mpgi_mutex_init(&mpgi_central[k][c].lock, MPGI_RANK_GC_CENTRAL);
}

/* ---- sweeping on demand ---- */

static void unswept_taken(struct mpgi_central *c, struct mpgi_span *s) {
  atomic_store_explicit(&c->n_unswept, c->unswept.count, memory_order_relaxed);
  mpgi_span_state_set(s, MPGI_SPAN_UNSWEPT, MPGI_SPAN_SWEEPING);
}

uint32_t mpgi_central_unswept_pop(unsigned kind, unsigned class,
                                  struct mpgi_span **out, uint32_t max) {
  struct mpgi_central *c = &mpgi_central[kind][class];
  uint32_t n = 0;
  mpgi_mutex_lock(&c->lock);
  while (n < max && (out[n] = list_pop(&c->unswept)) != NULL)
    unswept_taken(c, out[n++]);
  mpgi_mutex_unlock(&c->lock);
  MPGI_CHAOS();
  return n;
}

bool mpgi_central_has_unswept(unsigned kind, unsigned class) {
  return atomic_load_explicit(&mpgi_central[kind][class].n_unswept,
                              memory_order_relaxed) != 0;
}

bool mpgi_central_unswept_take(struct mpgi_span *s) {
  struct mpgi_central *c = mpgi_central_of(s);
  mpgi_mutex_lock(&c->lock);
  bool ours = mpgi_span_state(s) == MPGI_SPAN_UNSWEPT;
  MPGI_CHAOS();
  if (ours) {
    list_remove(&c->unswept, s);
    unswept_taken(c, s);
  }
  mpgi_mutex_unlock(&c->lock);
  return ours;
}

/* A swept span of the class with free cells, SWEEPING; NULL: none found. */
static struct mpgi_span *sweep_for_cells(unsigned kind, unsigned class) {
  struct mpgi_span *found = NULL;
  for (int i = 0; i < SWEEP_LIMIT && found == NULL; i++) {
    mpgi_sweep_enter();
    struct mpgi_span *s;
    uint32_t n = mpgi_central_unswept_pop(kind, class, &s, 1);
    if (n > 0) {
      if (mpgi_sweep_span(s) < s->objects)
        found = s;
      else
        mpgi_central_release(s);
    }
    mpgi_sweep_leave(n);
    if (n == 0) break;
  }
  return found;
}

/* Pages for a span: free ones; freed by sweeping; a larger heap. */
static uint32_t pages_for_span(unsigned kind, uint32_t n, bool *zero) {
  enum mpgi_sort sort = mpgi_sort_of(kind);
  uint32_t page = mpgi_heap_pages_reuse(sort, n, zero);
  uint32_t swept = 0, some;
  while (page == MPGI_NO_PAGE && swept < RECLAIM_LIMIT &&
         (some = mpgi_sweep_some()) > 0) {
    swept += some;
    page = mpgi_heap_pages_reuse(sort, n, zero);
  }
  if (page == MPGI_NO_PAGE) page = mpgi_heap_pages_alloc(sort, n, zero);
  return page;
}

/* ---- acquire and release ---- */

static struct mpgi_span *partial_pop(unsigned kind, unsigned class) {
  struct mpgi_central *c = &mpgi_central[kind][class];
  mpgi_mutex_lock(&c->lock);
  struct mpgi_span *s = list_pop(&c->partial);
  if (s != NULL) mpgi_span_state_set(s, MPGI_SPAN_PARTIAL, MPGI_SPAN_CACHED);
  mpgi_mutex_unlock(&c->lock);
  MPGI_CHAOS();
  return s;
}

struct mpgi_span *mpgi_central_acquire(unsigned kind, unsigned class) {
  MPG_ASSERT(kind < MPGI_KIND_COUNT);
  MPG_ASSERT(class > MPGI_CLASS_LARGE && class < MPGI_CLASSES);
  struct mpgi_span *s = partial_pop(kind, class);
  if (s == NULL && mpgi_sweep_pending() &&
      (s = sweep_for_cells(kind, class)) != NULL)
    mpgi_span_state_set(s, MPGI_SPAN_SWEEPING, MPGI_SPAN_CACHED);
  if (s != NULL) {
    s->zero = false;
    s->cursor = 0;
    return s;
  }
  bool zero;
  uint32_t pages = mpgi_class[class].pages;
  uint32_t page = pages_for_span(kind, pages, &zero);
  if (page == MPGI_NO_PAGE) return NULL;
  return mpgi_span_new(page, pages, class, kind, zero, 0, MPGI_SPAN_CACHED);
}

/* Returns the number of its free cells. */
static uint32_t list_locked(struct mpgi_central *c, struct mpgi_span *s) {
  enum mpgi_span_state from = mpgi_span_state(s);
  MPG_ASSERT(from == MPGI_SPAN_CACHED || from == MPGI_SPAN_SWEEPING);
  atomic_store_explicit(&s->owner, NULL, memory_order_release);
  uint32_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
  if (used < s->objects) {
    mpgi_span_state_set(s, from, MPGI_SPAN_PARTIAL);
    list_push(&c->partial, s);
  } else {
    mpgi_span_state_set(s, from, MPGI_SPAN_FULL);
    list_push(&c->full, s);
  }
  return s->objects - used;
}

void mpgi_central_release(struct mpgi_span *s) {
  if (mpgi_span_state(s) == MPGI_SPAN_SWEEPING) {
    mpgi_central_swept(&s, 1);
    return;
  }
  struct mpgi_central *c = mpgi_central_of(s);
  unsigned class = s->class;
  MPGI_CHAOS();
  mpgi_mutex_lock(&c->lock);
  uint32_t cells = list_locked(c, s);
  mpgi_mutex_unlock(&c->lock);
  if (MPGI_UNLIKELY(cells > 0))
    mpgi_pacer_refund((uint64_t) cells * mpgi_class[class].bytes);
}

void mpgi_central_swept(struct mpgi_span *const *s, uint32_t n) {
  struct mpgi_central *c = mpgi_central_of(s[0]);
  uint32_t empty = 0;
  MPG_ASSERT(n > 0 && n <= MPGI_SWEEP_BATCH);
  for (uint32_t i = 0; i < n; i++) {
    MPG_ASSERT(mpgi_span_state(s[i]) == MPGI_SPAN_SWEEPING);
    MPG_ASSERT(mpgi_central_of(s[i]) == c);
    if (atomic_load_explicit(&s[i]->used, memory_order_relaxed) > 0) continue;
    atomic_store_explicit(&s[i]->owner, NULL, memory_order_release);
    mpgi_span_free(s[i]);
    empty |= 1u << i;
  }
  if (empty == (1u << n) - 1) return;
  MPGI_CHAOS();
  mpgi_mutex_lock(&c->lock);
  for (uint32_t i = 0; i < n; i++)
    if (!(empty >> i & 1)) list_locked(c, s[i]);
  mpgi_mutex_unlock(&c->lock);
}

/* A run that begins at a multiple of `align` pages: what is too much at both
 * ends goes back. */
static uint32_t pages_aligned(unsigned kind, uint32_t n, uint32_t align,
                              bool *zero) {
  enum mpgi_sort sort = mpgi_sort_of(kind);
  uint32_t page = pages_for_span(kind, n + align - 1, zero);
  if (page == MPGI_NO_PAGE) return page;
  uint32_t at = (page + align - 1) & ~(align - 1), end = page + n + align - 1;
  if (at > page) mpgi_heap_pages_free(sort, page, at - page);
  if (end > at + n) mpgi_heap_pages_free(sort, at + n, end - at - n);
  return at;
}

struct mpgi_span *mpgi_central_large(unsigned kind, size_t bytes,
                                     size_t align) {
  struct mpgi_central *c = &mpgi_central[kind][MPGI_CLASS_LARGE];
  bool zero;
  MPG_ASSERT(bytes > 0 && bytes <= mpgi_heap.limit - mpgi_heap.lo);
  uint32_t pages = (uint32_t) ((bytes + MPGI_PAGE_BYTES - 1) >> MPGI_PAGE_LOG2);
  uint32_t page =
      pages_aligned(kind, pages, (uint32_t) (align >> MPGI_PAGE_LOG2), &zero);
  if (page == MPGI_NO_PAGE) return NULL;
  struct mpgi_span *s =
      mpgi_span_new(page, pages, MPGI_CLASS_LARGE, kind, zero,
                    (uint64_t) pages << MPGI_PAGE_LOG2, MPGI_SPAN_FULL);
  MPGI_CHAOS();
  mpgi_mutex_lock(&c->lock);
  list_push(&c->full, s);
  mpgi_mutex_unlock(&c->lock);
  return s;
}

/* ---- explicit frees ---- */

/* A cell of a listed span was freed.  When it was the last one, the span comes
 * onto the list *empty. */
static void freed_of_listed_locked(struct mpgi_central *c, struct mpgi_span *s,
                                   uint32_t *empty) {
  bool full = mpgi_span_state(s) == MPGI_SPAN_FULL;
  bool last = atomic_load_explicit(&s->used, memory_order_relaxed) == 0;
  if (!full && !last) return;
  list_remove(full ? &c->full : &c->partial, s);
  if (last) {
    s->next = *empty;
    *empty = mpgi_span_page(s) + 1;
  } else {
    mpgi_span_state_set(s, MPGI_SPAN_FULL, MPGI_SPAN_PARTIAL);
    list_push(&c->partial, s);
  }
}

/* True: the cell isn't charged any more [pacer.cells]. */
static bool cell_freed_locked(struct mpgi_central *c,
                              const struct mpgi_cell *cell, uint32_t *empty) {
  struct mpgi_span *s = cell->span;
  enum mpgi_span_state state = mpgi_span_state(s);
  if (state == MPGI_SPAN_CACHED) {
    mpgi_span_bits_clear(s, cell->index, cell->index + 1);
    return false;
  }
  MPG_VERIFY(state == MPGI_SPAN_PARTIAL || state == MPGI_SPAN_FULL);
  mpgi_span_bit_clear_alone(s, cell->index);
  freed_of_listed_locked(c, s, empty);
  return true;
}

static void spans_free(uint32_t empty) {
  while (empty != 0) {
    struct mpgi_span *s = &mpgi_heap.span[empty - 1];
    empty = s->next;
    s->next = 0;
    mpgi_span_free(s);
  }
}

void mpgi_central_cells_freed(const uintptr_t *base, uint32_t n) {
  struct mpgi_cell cell;
  uint32_t empty = 0, refunded = 0;
  MPG_VERIFY(mpgi_cell_find(base[0], &cell));
  struct mpgi_central *c = mpgi_central_of(cell.span);
  uint64_t bytes = mpgi_span_cell_bytes(cell.span);
  MPGI_CHAOS();
  mpgi_mutex_lock(&c->lock);
  for (uint32_t i = 0; i < n; i++) {
    MPG_VERIFY(mpgi_cell_find(base[i], &cell));
    MPG_ASSERT(mpgi_central_of(cell.span) == c && cell.base == base[i]);
    refunded += cell_freed_locked(c, &cell, &empty);
  }
  mpgi_mutex_unlock(&c->lock);
  MPGI_CHAOS();
  if (refunded > 0) mpgi_pacer_refund(refunded * bytes);
  spans_free(empty);
}

/* ---- the cycle ---- */

uint64_t mpgi_central_flip_stw(void) {
  uint64_t n = 0;
  for (int k = 0; k < MPGI_KIND_COUNT; k++)
    for (int i = 0; i < MPGI_CLASSES; i++) {
      struct mpgi_central *c = &mpgi_central[k][i];
      MPG_ASSERT(c->unswept.head == 0);
      list_join(&c->unswept, &c->partial);
      list_join(&c->unswept, &c->full);
      atomic_store_explicit(&c->n_unswept, c->unswept.count,
                            memory_order_relaxed);
      n += c->unswept.count;
    }
  atomic_fetch_add_explicit(&mpgi_sweep_epoch, 1, memory_order_release);
  return n;
}

static bool list_is_valid(const struct mpgi_span_list *l,
                          enum mpgi_span_state state) {
  uint32_t n = 0, prev = 0;
  for (uint32_t id = l->head; id != 0;
       prev = id, id = mpgi_heap.span[id - 1].next, n++) {
    const struct mpgi_span *s = &mpgi_heap.span[id - 1];
    if (s->prev != prev || mpgi_span_state(s) != state) return false;
  }
  return n == l->count && prev == l->tail;
}

bool mpgi_central_is_valid(void) {
  for (int k = 0; k < MPGI_KIND_COUNT; k++)
    for (int i = 0; i < MPGI_CLASSES; i++) {
      struct mpgi_central *c = &mpgi_central[k][i];
      mpgi_mutex_lock(&c->lock);
      bool ok = list_is_valid(&c->partial, MPGI_SPAN_PARTIAL) &&
                list_is_valid(&c->full, MPGI_SPAN_FULL) &&
                list_is_valid(&c->unswept, MPGI_SPAN_UNSWEPT) &&
                c->n_unswept == c->unswept.count;
      mpgi_mutex_unlock(&c->lock);
      if (!ok) return false;
    }
  return true;
}

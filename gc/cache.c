/* cache.c - allocation caches: per P, per class and kind, the current hole.
 *
 * Concepts
 *   hole     a run of free cells of the cache's current span, at most
 *            HOLE_BYTES long, whose allocation bits are all set when it is
 *            taken.  The fast path hands cells out by moving ptr up.
 *   pending  cells of a hole that are not handed out yet: their bits are set,
 *            but they are no objects.  Lookups ask the owner's hole
 *            (mpgi_cache_is_pending); with the world stopped there are none,
 *            because the caches were flushed.
 * A hole that is used up gives way to freed cells (free.c) before the next one.
 * Holes of a few cells are no gain over single ones: where a span has such,
 * its free cells, up to 64 at a time, go the same way as freed ones.
 *
 * Memory of scanned kinds is zeroed when the hole is taken, so objects cost a
 * addition and a comparison, and the lines are warm.
 *
 * Cache records are never given back to the system: a lookup may read an
 * owner that has just gone.  They are kept on a list and reused.
 *
 * Concurrency: a cache belongs to the thread whose mpgi_tls.cache it is, which
 * alone writes it; with the world stopped, to the collector.  Others read
 * ptr, end, start and the totals under seq (a sequence lock whose writer is the
 * slow path; the fast path writes one word).  The lists: lock below, a leaf.
 */
#define MPGI_GC_INSIDE 1
#include <string.h>

#include <arch/common/fixmem.h>
#include <arch/common/options.h>
#include <arch/common/sanitize.h>
#include <arch/tls.h>
#include <gc/gc_private.h>

#define HOLE_BYTES 8192u
#define HOLE_CELLS_MIN 4u /* fewer are better had from a magazine */

static struct mpgi_mutex lock = MPGI_MUTEX_INIT(MPGI_RANK_LEAF);
static struct mpgi_cache *in_use; /* jemalloc memory: no heap address */
static struct mpgi_cache *idle;

/* ---- the sequence lock ----
 *
 * Without fences: what it guards is stored with release, so not before seq is
 * odd, and loaded with acquire, so not after seq is looked at again. */

static uintptr_t get(const _Atomic uintptr_t *p) {
  return atomic_load_explicit(p, memory_order_acquire);
}
static void put(_Atomic uintptr_t *p, uintptr_t v) {
  atomic_store_explicit(p, v, memory_order_release);
}

static void write_begin(struct mpgi_cache *c) {
  uint32_t seq = atomic_load_explicit(&c->seq, memory_order_relaxed);
  MPG_ASSERT(seq % 2 == 0);
  atomic_store_explicit(&c->seq, seq + 1, memory_order_relaxed);
}

static void total_add(_Atomic uint64_t *total, uint64_t n) {
  atomic_store_explicit(total, mpgi_load(total) + n, memory_order_release);
}

static void write_end(struct mpgi_cache *c) {
  uint32_t seq = atomic_load_explicit(&c->seq, memory_order_relaxed);
  MPG_ASSERT(seq % 2 == 1);
  atomic_store_explicit(&c->seq, seq + 1, memory_order_release);
}

static uint32_t read_begin(struct mpgi_cache *c) {
  uint32_t seq;
  while ((seq = atomic_load_explicit(&c->seq, memory_order_acquire)) % 2 != 0)
    mpgi_arch_relax();
  return seq;
}

static bool read_again(struct mpgi_cache *c, uint32_t seq) {
  return atomic_load_explicit(&c->seq, memory_order_relaxed) != seq;
}

/* ---- making and freeing caches ---- */

static void hole_clear(struct mpgi_hole *h) {
  put(&h->start, 0);
  put(&h->end, 0);
  put(&h->ptr, 0);
}

static void cache_init(struct mpgi_cache *c) {
  memset(c, 0, sizeof *c);
  for (int k = 0; k < MPGI_KIND_COUNT; k++)
    for (int i = 0; i < MPGI_CLASSES; i++) {
      c->hole[k][i].bytes =
          i == MPGI_CLASS_LARGE ? MPGI_GRANULE_BYTES : mpgi_class[i].bytes;
      hole_clear(&c->hole[k][i]);
    }
  for (unsigned i = 0; i < MPGI_MAGAZINES; i++)
    atomic_init(&c->magazine[i], &mpgi_magazine_none);
}

static void link_in(struct mpgi_cache **list, struct mpgi_cache *c) {
  c->prev = NULL;
  c->next = *list;
  if (*list != NULL) (*list)->prev = c;
  *list = c;
}

static void link_out(struct mpgi_cache **list, struct mpgi_cache *c) {
  if (c->prev != NULL)
    c->prev->next = c->next;
  else
    *list = c->next;
  if (c->next != NULL) c->next->prev = c->prev;
}

struct mpgi_cache *mpgi_gc_cache_new(void) {
  mpgi_mutex_lock(&lock);
  struct mpgi_cache *c = idle;
  if (c != NULL) link_out(&idle, c);
  mpgi_mutex_unlock(&lock);
  if (c == NULL) {
    c = mpgi_fixmem_alloc(sizeof *c, MPGI_CACHE_LINE_BYTES);
    if (c == NULL) return NULL;
    cache_init(c);
    c->rand.state = (uintptr_t) c;
    c->sample_left = mpgi_profile_distance(&c->rand);
  }
  mpgi_mutex_lock(&lock);
  link_in(&in_use, c);
  mpgi_mutex_unlock(&lock);
  return c;
}

void mpgi_gc_cache_free(struct mpgi_cache *c) {
  MPG_ASSERT(c != NULL);
  mpgi_cache_flush(c);
  mpgi_mutex_lock(&lock);
  link_out(&in_use, c);
  link_in(&idle, c);
  mpgi_mutex_unlock(&lock);
}

/* ---- holes ---- */

static uint32_t cell_index(const struct mpgi_span *s, uintptr_t addr) {
  uint64_t off = addr - mpgi_span_base(s);
  return (uint32_t) (off * mpgi_class[s->class].magic >> 32);
}

/* What is settled about the next cells of a class, beyond c->sample_left:
 *   to > 0   the to-th is a sample, none before it
 *   to < 0   -to are none: their bytes were counted down, but the hole ended
 *            before they were handed out
 * A point that a class's bytes met stays with the class, so the bytes that met
 * none must, too: given back to all, they took the points of whoever counted
 * next. */

/* A hole of settled cells only. */
static uint32_t cells_settled(int16_t *to, uint32_t n) {
  uint32_t settled = (uint32_t) - *to;
  if (n > settled) n = settled;
  *to = (int16_t) (*to + (int32_t) n);
  return n;
}

/* Of the n free cells that were found: how many make the hole.  The bytes of
 * holes are counted down when these are made; when one would reach the next
 * sample, the class is told how many cells there are to it, and the distance
 * to the one after it is drawn.  The hole ends before the sample, or is it
 * alone. */
static uint32_t cells_to_sample(struct mpgi_cache *c, int16_t *to, uint32_t n,
                                uint64_t bytes) {
  if (MPGI_LIKELY(*to == 0 && c->sample_left >= (int64_t) (n * bytes))) {
    c->sample_left -= (int64_t) (n * bytes);
    return n;
  }
  if (*to < 0) return cells_settled(to, n);
  if (*to == 0) {
    *to = (int16_t) ((uint64_t) c->sample_left / bytes + 1);
    c->sample_left = mpgi_profile_distance(&c->rand);
  }
  c->sampled = *to == 1;
  if (c->sampled)
    n = 1;
  else if (n >= (uint32_t) *to)
    n = (uint32_t) *to - 1;
  *to = (int16_t) (*to - (int32_t) n);
  return n;
}

/* The hole ends with n cells unused. */
static void cells_from_sample(int16_t *to, uint64_t n) {
  *to = (int16_t) (*to > 0 ? *to + (int64_t) n : *to - (int64_t) n);
}

/* A sample that this would be is the class's: the first cell beyond the hole.
 * (Left to whoever counts next it went to large objects: what mpg_realloc had
 * freed on its way to these seemed to be live.) */
bool mpgi_cache_cell_again(struct mpgi_cache *c, unsigned kind,
                           unsigned class) {
  int16_t *to = &c->to_sample[kind][class];
  uint64_t bytes = mpgi_class[class].bytes;
  if (*to == 1) return false;
  if (*to == 0 && c->sample_left < (int64_t) bytes) {
    *to = 1;
    c->sample_left = mpgi_profile_distance(&c->rand);
    return false;
  }
  if (*to > 0)
    --*to;
  else if (*to < 0)
    ++*to;
  else
    c->sample_left -= (int64_t) bytes;
  return true;
}

/* Count what the hole handed out, unallocate what it did not. */
static void hole_retire(struct mpgi_cache *c, struct mpgi_span *s,
                        struct mpgi_hole *h) {
  uintptr_t ptr = get(&h->ptr), end = get(&h->end);
  uint64_t handed = ptr - get(&h->start);
  MPG_ASSERT(get(&h->start) <= ptr && ptr <= end);
  write_begin(c);
  total_add(&c->alloc_bytes, handed);
  total_add(&c->alloc_objects, handed / h->bytes);
  cells_from_sample(&c->to_sample[s->kind][s->class], (end - ptr) / h->bytes);
  MPGI_CHAOS();
  if (ptr < end)
    mpgi_span_bits_clear(s, cell_index(s, ptr), cell_index(s, end - 1) + 1);
  hole_clear(h);
  write_end(c);
}

static uint32_t hole_cells_max(const struct mpgi_span *s) {
  if (MPGI_UNLIKELY(mpgi_opt.gcstress > 0 || mpgi_opt.redzone != 0))
    return 1; /* every one is slow */
  uint32_t n = HOLE_BYTES / mpgi_class[s->class].bytes;
  return n > 0 ? n : 1;
}

static void hole_zero(const struct mpgi_span *s, uintptr_t lo, size_t bytes) {
  if (s->kind != MPGI_KIND_NOSCAN && !s->zero) memset((void *) lo, 0, bytes);
}

/* A marker may look as soon as the bits are set: at stale words, which keep
 * something needlessly, but never at a stale type.  Otherwise bits come first,
 * because an atomic operation after clearing would wait for the clearing. */
static void hole_set(struct mpgi_cache *c, struct mpgi_span *s,
                     struct mpgi_hole *h, uint32_t lo, uint32_t hi) {
  uintptr_t from = mpgi_span_cell(s, lo);
  size_t bytes = (size_t) (hi - lo) * h->bytes;
  bool typed = s->kind == MPGI_KIND_TYPED;
  if (MPGI_UNLIKELY(mpgi_opt.redzone != 0)) mpgi_redzone_reuse(from, bytes);
  if (typed) hole_zero(s, from, bytes);
  write_begin(c);
  mpgi_span_bits_set(s, lo, hi);
  MPGI_CHAOS();
  put(&h->start, from);
  put(&h->end, from + bytes);
  put(&h->ptr, from);
  write_end(c);
  if (!typed) hole_zero(s, from, bytes);
  s->cursor = hi;
}

/* Ask for the hole after this one, if it begins among the same 64 cells: where
 * holes are of a cell or two their first lines aren't at hand.  (A function
 * apart that only asks has no effect, and GCC drops the call.) */
static inline __attribute__((always_inline)) void hole_prefetch(
    const struct mpgi_span *s) {
  uint32_t from = s->cursor;
  if (from >= s->objects) return;
  uint64_t used = mpgi_load(&mpgi_span_pairs(s)[from / 64].alloc);
  uint64_t free = ~used >> from % 64;
  if (free == 0) return;
  uint32_t i = from + (uint32_t) __builtin_ctzll(free);
  const char *p = (const char *) mpgi_span_cell(s, i);
  __builtin_prefetch(p, 1);
  __builtin_prefetch(p + MPGI_CACHE_LINE_BYTES, 1);
}

/* The next run of free cells; once more from the start when some were freed
 * explicitly behind the cursor. */
static bool hole_find(struct mpgi_span *s, uint32_t *lo, uint32_t *hi) {
  if (mpgi_span_hole_from(s, lo, hi)) return true;
  if (s->cursor == 0) return false;
  if (atomic_load_explicit(&s->used, memory_order_relaxed) == s->objects)
    return false;
  s->cursor = 0;
  s->zero = false;
  return mpgi_span_hole_from(s, lo, hi);
}

/* Where holes are short: all free cells of a word, from lo on, go into the
 * class's magazine at once.  They count neither as freed nor as allocated.
 * They are tagged before their bits are set, or they would pass for objects in
 * between.  False: a hole is wanted, because one of them might be a sample, or
 * there is no room, or they read zero and need not be touched. */
static bool magazine_fill(struct mpgi_cache *c, struct mpgi_span *s,
                          uint32_t lo) {
  struct mpgi_magazine *m = mpgi_magazine_get(c, s->kind, s->class);
  uint64_t bytes = mpgi_class[s->class].bytes;
  if (m == NULL || s->zero || c->to_sample[s->kind][s->class] != 0 ||
      c->sample_left < (int64_t) bytes)
    return false;
  uint32_t first = mpgi_magazine_cells(mpgi_load(&m->n)), n = first;
  uint64_t cells = mpgi_span_word_free(s, lo);
  mpgi_valgrind_known(&cells, sizeof cells);
  if (mpgi_ones(cells) > m->max - n) return false;
  uintptr_t base = mpgi_span_cell(s, lo / 64 * 64);
  for (uint64_t rest = cells; rest != 0; n++) { /* the lowest on top */
    unsigned i = 63 - (unsigned) __builtin_clzll(rest);
    rest &= ~(UINT64_C(1) << i);
    m->cell[n] = base + i * bytes;
    *mpgi_pad_of(m->cell[n], bytes) = mpgi_magazine_tag(m->cell[n]);
  }
  MPGI_CHAOS();
  mpgi_span_word_set(s, lo, cells);
  write_begin(c);
  total_add(&m->n, n - first);
  total_add(&m->given, -(uint64_t) (n - first));
  write_end(c);
  return n > first;
}

bool mpgi_cache_hole_next(struct mpgi_cache *c, unsigned kind, unsigned class) {
  struct mpgi_span *s = c->span[kind][class];
  struct mpgi_hole *h = &c->hole[kind][class];
  uint32_t lo, hi;
  if (s == NULL) return false;
  MPG_ASSERT(atomic_load_explicit(&s->owner, memory_order_relaxed) == c);
  hole_retire(c, s, h);
  if (!hole_find(s, &lo, &hi)) {
    c->span[kind][class] = NULL;
    mpgi_central_release(s);
    return false;
  }
  /* Marks come from such words as uninitialised ones on stacks, and the
   * program's objects are at these addresses. */
  mpgi_valgrind_known(&lo, sizeof lo);
  mpgi_valgrind_known(&hi, sizeof hi);
  if (hi - lo < HOLE_CELLS_MIN && magazine_fill(c, s, lo)) return true;
  uint32_t max = hole_cells_max(s);
  if (hi - lo > max) hi = lo + max;
  hi = lo + cells_to_sample(c, &c->to_sample[kind][class], hi - lo, h->bytes);
  hole_set(c, s, h, lo, hi);
  hole_prefetch(s);
  return true;
}

bool mpgi_cache_span_next(struct mpgi_cache *c, unsigned kind, unsigned class) {
  MPG_ASSERT(c->span[kind][class] == NULL);
  struct mpgi_span *s = mpgi_central_acquire(kind, class);
  if (s == NULL) return false;
  uint32_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
  MPG_ASSERT(used < s->objects);
  mpgi_pacer_charge((uint64_t) (s->objects - used) * mpgi_class[class].bytes);
  MPGI_CHAOS();
  atomic_store_explicit(&s->owner, c, memory_order_release);
  c->span[kind][class] = s;
  return true;
}

/* ---- flushing ---- */

static void span_flush(struct mpgi_cache *c, unsigned kind, unsigned class) {
  struct mpgi_span *s = c->span[kind][class];
  hole_retire(c, s, &c->hole[kind][class]);
  c->span[kind][class] = NULL;
  MPGI_CHAOS();
  mpgi_central_release(s);
}

void mpgi_cache_flush(struct mpgi_cache *c) {
  for (unsigned k = 0; k < MPGI_KIND_COUNT; k++)
    for (unsigned i = 0; i < MPGI_CLASSES; i++)
      if (c->span[k][i] != NULL) span_flush(c, k, i);
  mpgi_magazine_flush(c); /* spans on lists can be freed */
}

/* Threads that are about to attach may add caches meanwhile, at the head. */
void mpgi_cache_flush_all_stw(void) {
  mpgi_mutex_lock(&lock);
  struct mpgi_cache *c = in_use;
  mpgi_mutex_unlock(&lock);
  while (c != NULL) {
    mpgi_cache_flush(c);
    mpgi_mutex_lock(&lock);
    c = c->next;
    mpgi_mutex_unlock(&lock);
  }
}

/* As above: the list only gets new heads. */
static void resample(struct mpgi_cache *c) {
  for (; c != NULL; c = c->next) {
    memset(c->to_sample, 0, sizeof c->to_sample);
    c->sample_left = mpgi_profile_distance(&c->rand);
  }
}

void mpgi_cache_resample_stw(void) {
  mpgi_mutex_lock(&lock);
  struct mpgi_cache *used = in_use, *rest = idle;
  mpgi_mutex_unlock(&lock);
  resample(used);
  resample(rest);
}

/* ---- asking ---- */

bool mpgi_cache_is_pending(const struct mpgi_span *s, uintptr_t addr) {
  struct mpgi_cache *c = atomic_load_explicit(&s->owner, memory_order_acquire);
  if (c == NULL) return false;
  const struct mpgi_hole *h = &c->hole[s->kind][s->class];
  uint32_t seq;
  bool pending;
  do {
    seq = read_begin(c);
    pending = addr < get(&h->end) && addr >= get(&h->ptr);
  } while (read_again(c, seq));
  return pending;
}

void mpgi_cache_count(struct mpgi_cache *c, uint64_t bytes, uint64_t objects) {
  c->sampled = c->sample_left < (int64_t) bytes;
  if (c->sampled)
    c->sample_left = mpgi_profile_distance(&c->rand);
  else
    c->sample_left -= (int64_t) bytes;
  write_begin(c);
  total_add(&c->alloc_bytes, bytes);
  total_add(&c->alloc_objects, objects);
  write_end(c);
}

static void totals_of(struct mpgi_cache *c, uint64_t *bytes,
                      uint64_t *objects) {
  uint64_t b, n;
  uint32_t seq;
  do {
    seq = read_begin(c);
    b = atomic_load_explicit(&c->alloc_bytes, memory_order_acquire);
    n = atomic_load_explicit(&c->alloc_objects, memory_order_acquire);
    for (int k = 0; k < MPGI_KIND_COUNT; k++)
      for (int i = 1; i < MPGI_CLASSES; i++) {
        struct mpgi_hole *h = &c->hole[k][i];
        uint64_t handed = get(&h->ptr) - get(&h->start);
        if (handed == 0) continue;
        b += handed;
        n += handed / h->bytes;
      }
  } while (read_again(c, seq));
  *bytes += b;
  *objects += n;
}

/* Objects that went into a magazine (not what came from holes, which `given`
 * is less by), or were made of what came out. */
static uint64_t passed(const struct mpgi_magazine *m, bool out) {
  uint64_t n = atomic_load_explicit(&m->n, memory_order_acquire);
  uint64_t reused = n / MPGI_MAGAZINE_REUSED;
  if (out) return reused;
  return reused + mpgi_magazine_cells(n) + mpgi_load(&m->given);
}

static void passed_all(struct mpgi_cache *c, bool out, uint64_t *bytes,
                       uint64_t *objects) {
  uint64_t b, n;
  uint32_t seq;
  do {
    b = n = 0;
    seq = read_begin(c);
    for (unsigned k = 0; k < MPGI_KIND_COUNT; k++)
      for (unsigned i = 1; i < MPGI_CLASSES; i++) {
        uint64_t some = passed(mpgi_magazine_of(c, k, i), out);
        n += some;
        b += some * mpgi_class[i].bytes;
      }
  } while (read_again(c, seq));
  *bytes += b;
  *objects += n;
}

void mpgi_cache_given(struct mpgi_cache *c, struct mpgi_magazine *m,
                      uint32_t n) {
  write_begin(c);
  total_add(&m->given, n);
  total_add(&m->n, -(uint64_t) n);
  write_end(c);
}

/* Of every cache: an idle one keeps its totals. */
static void count_all(bool allocated, uint64_t *bytes, uint64_t *objects) {
  struct mpgi_cache *const lists[] = {in_use, idle};
  mpgi_mutex_assert_held(&lock);
  *bytes = *objects = 0;
  for (int i = 0; i < 2; i++)
    for (struct mpgi_cache *c = lists[i]; c != NULL; c = c->next) {
      if (allocated) totals_of(c, bytes, objects);
      passed_all(c, allocated, bytes, objects);
    }
}

void mpgi_cache_totals(uint64_t *bytes, uint64_t *objects) {
  mpgi_mutex_lock(&lock);
  count_all(true, bytes, objects);
  mpgi_mutex_unlock(&lock);
}

void mpgi_cache_freed(uint64_t *bytes, uint64_t *objects) {
  mpgi_mutex_lock(&lock);
  count_all(false, bytes, objects);
  mpgi_mutex_unlock(&lock);
}

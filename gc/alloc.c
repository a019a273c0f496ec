/* alloc.c - allocation: the fast path on any stack, the rest on g0.
 *
 * The fast path is three leaf functions among the entry stubs: they may run on
 * a goroutine's 2 KiB stack, are never preempted, and call nothing.  The hole
 * from a table and the cache, an addition, a comparison: 19 instructions.  A
 * request that misses takes a freed cell (free.c), or jumps to a thunk, which
 * switches to g0 and calls mpgi_alloc_slow_g0.
 *
 * The ladder of the slow path
 *   1  a collection, when one is due (pacer.c) or forced (gcstress)
 *   2  a freed cell; the next hole of the cache's span; a span from the central
 *      lists, sweeping on demand; pages; a larger heap
 *   3  no memory: a whole collection, everything swept, and again; not after
 *      many in vain (pacer.c)
 *   4  the out-of-memory handler, with no lock held; its answer is ours.  Not
 *      for what the runtime allocates for itself (mpgi_gc_alloc)
 * What 2 and 3 give may be a sample of the heap profile (profile.c).
 *
 * A request nobody could meet goes straight to 4.
 */
#define MPGI_GC_INSIDE 1
#include <string.h>

#include <arch/common/options.h>
#include <arch/os.h>
#include <arch/tls.h>
#include <gc/gc_private.h>
#include <mpg/gc.h>

/* Large memory that isn't known to be zero is given back and faulted in anew
 * from this size on: clearing it here would delay whoever stops the world. */
#define LARGE_ZERO_BYTES ((size_t) 512 << 10)

static void *(*_Atomic handler)(size_t bytes);

/* ---- fast path ---- */

#define FAST static inline __attribute__((always_inline))

/* *cell: its bytes. */
FAST bool fast(size_t bytes, enum mpgi_kind kind, void **p, uint64_t *cell) {
  struct mpgi_cache *c = mpgi_tls_cache();
  if (MPGI_UNLIKELY(bytes > MPGI_SMALL_MAX_BYTES || c == NULL)) return false;
  char *of_kind_0 = (char *) c->hole[0] + mpgi_class_hole(bytes);
  __asm__("" : "+r"(of_kind_0)); /* once, not for each of its words */
  struct mpgi_hole *h =
      (void *) (of_kind_0 + (size_t) kind * sizeof c->hole[0]);
  *cell = h->bytes;
  return mpgi_hole_pop(h, p);
}

MPGI_RT_TEXT void *mpg_alloc(size_t bytes) {
  uint64_t cell;
  void *p;
  if (MPGI_LIKELY(fast(bytes, MPGI_KIND_SCAN, &p, &cell))) return p;
  return mpgi_alloc_again(bytes);
}

MPGI_RT_TEXT void *mpg_alloc_noscan(size_t bytes) {
  uint64_t cell;
  void *p;
  if (MPGI_LIKELY(fast(bytes, MPGI_KIND_NOSCAN, &p, &cell))) return p;
  return mpgi_alloc_noscan_again(bytes);
}

MPGI_RT_TEXT void *mpg_alloc_typed(const mpg_type *type, size_t count) {
  const struct mpgi_type *t = (const struct mpgi_type *) type;
  uint64_t cell;
  size_t bytes;
  void *p;
  if (MPGI_UNLIKELY(!mpgi_type_extent(t, count, &bytes) ||
                    !fast(bytes, MPGI_KIND_TYPED, &p, &cell)))
    return mpgi_alloc_typed_again(t, count);
  *mpgi_type_pad((uintptr_t) p, cell) = t;
  return p;
}

/* ---- one attempt ---- */

static void *alloc_small(struct mpgi_cache *c, unsigned class,
                         enum mpgi_kind kind) {
  struct mpgi_hole *h = &c->hole[kind][class];
  void *p;
  MPG_ASSERT(class > MPGI_CLASS_LARGE && class < MPGI_CLASSES);
  while (!mpgi_hole_pop(h, &p) && !mpgi_magazine_take(c, kind, class, &p))
    if (!mpgi_cache_hole_next(c, kind, class) &&
        !mpgi_cache_span_next(c, kind, class))
      return NULL;
  return p;
}

static size_t request_max(void) {
  return mpgi_heap.limit - mpgi_heap.lo - MPGI_PAD_BYTES;
}

void mpgi_alloc_zero(void *lo, size_t bytes) {
  if (bytes >= LARGE_ZERO_BYTES)
    mpgi_os_mem_zero(lo, bytes);
  else
    memset(lo, 0, bytes);
}

static void large_zero(struct mpgi_span *s) {
  void *lo = (void *) mpgi_span_base(s);
  size_t bytes = (size_t) s->pages << MPGI_PAGE_LOG2;
  if (MPGI_UNLIKELY(mpgi_opt.redzone != 0))
    mpgi_redzone_reuse((uintptr_t) lo, bytes);
  if (!s->zero && s->kind != MPGI_KIND_NOSCAN) mpgi_alloc_zero(lo, bytes);
}

static void *alloc_large(struct mpgi_cache *c, size_t bytes,
                         enum mpgi_kind kind, size_t align) {
  struct mpgi_span *s = mpgi_central_large(kind, bytes, align);
  if (s == NULL) return NULL;
  uint64_t room = mpgi_span_cell_bytes(s);
  MPG_ASSERT(room >= bytes);
  large_zero(s);
  s->zero = false;
  mpgi_span_bits_set(s, 0, 1);
  mpgi_cache_count(c, room, 1);
  mpgi_pacer_charge(room);
  return (void *) mpgi_span_base(s);
}

/* Through cache c; no collection, no handler. */
static void *try_kind(struct mpgi_cache *c, size_t bytes, size_t how) {
  enum mpgi_kind kind = (enum mpgi_kind) how;
  MPG_ASSERT(kind < MPGI_KIND_COUNT);
  MPG_ASSERT(bytes <= request_max());
  if (bytes <= MPGI_SMALL_MAX_BYTES)
    return alloc_small(c, mpgi_class_for(bytes), kind);
  return alloc_large(c, bytes + MPGI_PAD_BYTES, kind, MPGI_PAGE_BYTES);
}

/* ---- the ladder ---- */

struct mpgi_cache *mpgi_alloc_cache(const char *what) {
  struct mpgi_cache *c = mpgi_tls_cache();
  if (MPGI_UNLIKELY(c == NULL)) {
    if (mpgi_gc_world.not_attached) mpgi_gc_world.not_attached(what);
    mpgi_fatal("%s on a thread that is not attached", what);
  }
  return c;
}

static bool stress_is_due(struct mpgi_cache *c) {
  int64_t every = mpgi_opt.gcstress;
  if (MPGI_LIKELY(every == 0) || ++c->stress < (uint64_t) every) return false;
  c->stress = 0;
  return true;
}

struct mpgi_cache *mpgi_alloc_ready(const char *what) {
  struct mpgi_cache *c = mpgi_alloc_cache(what);
  if (MPGI_UNLIKELY(stress_is_due(c)))
    mpgi_gc_collect_fully(MPGI_GC_HEAP);
  else if (MPGI_UNLIKELY(mpgi_pacer_due()))
    mpgi_gc_collect(MPGI_GC_HEAP);
  else
    return c;
  return mpgi_alloc_cache(what); /* it may be another one now */
}

void *mpgi_alloc_ask_handler(size_t bytes) {
  void *(*fn)(size_t) = atomic_load(&handler);
  return fn != NULL ? fn(bytes) : NULL;
}

/* One attempt; `how` is its own business. */
typedef void *attempt(struct mpgi_cache *c, size_t bytes, size_t how);

/* There was no memory: again after a collection.  *c: the cache it came from,
 * perhaps another one than before. */
static __attribute__((noinline)) void *retry(attempt *try, size_t bytes,
                                             size_t how,
                                             struct mpgi_cache **c) {
  if (!mpgi_pacer_hope(bytes)) return NULL;
  int clock = mpgi_os_thread_clock();
  int64_t begin = mpgi_pacer_clock(), cpu = mpgi_os_clock_read(clock);
  mpgi_gc_collect_fully(MPGI_GC_HEAP);
  *c = mpgi_alloc_cache("mpg_alloc");
  void *p = try(*c, bytes, how);
  if (p == NULL)
    mpgi_pacer_futile(bytes, begin, mpgi_os_clock_read(clock) - cpu);
  return p;
}

/* All but the handler. */
static inline __attribute__((always_inline)) void *climb(attempt *try,
                                                         size_t bytes,
                                                         size_t how) {
  size_t asked = bytes;
  if (bytes > request_max() - MPGI_REDZONE_BYTES) return NULL;
  if (MPGI_UNLIKELY(mpgi_opt.redzone != 0)) bytes += MPGI_REDZONE_BYTES;
  struct mpgi_cache *c = mpgi_alloc_ready("mpg_alloc");
  void *p = try(c, bytes, how);
  if (MPGI_UNLIKELY(p == NULL)) p = retry(try, bytes, how, &c);
  if (MPGI_UNLIKELY(p == NULL)) return NULL;
  if (MPGI_UNLIKELY(mpgi_opt.redzone != 0)) mpgi_redzone_set(p, asked);
  if (MPGI_UNLIKELY(c->sampled)) mpgi_profile_sample(c, p, 0);
  return p;
}

static inline __attribute__((always_inline)) void *ladder(attempt *try,
                                                          size_t bytes,
                                                          size_t how) {
  void *p = climb(try, bytes, how);
  return MPGI_LIKELY(p != NULL) ? p : mpgi_alloc_ask_handler(bytes);
}

void *mpgi_alloc_object(size_t bytes, enum mpgi_kind kind) {
  return ladder(try_kind, bytes, kind);
}

static void *try_pages(struct mpgi_cache *c, size_t bytes, size_t align) {
  return alloc_large(c, bytes + MPGI_PAD_BYTES, MPGI_KIND_SCAN, align);
}

void *mpgi_alloc_pages(size_t bytes, size_t align) {
  return ladder(try_pages, bytes, align);
}

void *mpgi_alloc_slow_g0(size_t bytes, enum mpgi_kind kind) {
  return mpgi_alloc_object(bytes, kind);
}

void *mpgi_alloc_for_user(size_t bytes, enum mpgi_kind kind) {
  uint64_t cell;
  void *p;
  return fast(bytes, kind, &p, &cell) ? p : mpgi_alloc_object(bytes, kind);
}

/* Apart, so that the fast path in front of it saves no registers. */
static __attribute__((noinline)) void *alloc_own(size_t bytes,
                                                 enum mpgi_kind kind) {
  return climb(try_kind, bytes, kind);
}

/* The handler's memory is no object, nor zero, and who knows for how long it
 * is there: the runtime can't use it. */
void *mpgi_gc_alloc(size_t bytes, enum mpgi_kind kind) {
  uint64_t cell;
  void *p;
  return fast(bytes, kind, &p, &cell) ? p : alloc_own(bytes, kind);
}

void mpgi_on_out_of_memory_g0(void *(*fn)(size_t bytes)) {
  atomic_store(&handler, fn);
}

/* cache.c - per-P caches of blocks and segments over the shared arena.
 *
 * A P's cache belongs to the thread that holds the P: no lock, no atomics on
 * the fast path.  It is refilled and flushed in batches of about 64 KiB under
 * mpgi_stack_lock.  Blocks and segments of order 0 have the same size but
 * lists of their own, because a segment's record (its high end) is warm and a
 * block's is not.
 *
 *   order    0..3   2 to 16 KiB  cached
 *            WIDE   256 KiB, touched as it is used, above a guard region: a
 *                   fixed stack's slot, cached with those (fixed.c)
 *            6..9   to 1 MiB, straight from the arena: growing there is rare
 *                   (doubling), and what is cached is lost to others
 *            MAPPED larger, a mapping of its own
 *
 * [stack.seg.foreign] Functions that call foreign code make sure that there are
 * 16 KiB above the guard: so lld, gold and __morestack_non_split have it.  Many
 * libraries need more, and would write below the segment.  So a segment in
 * which 16 KiB can be left at all has 48 KiB below its guard, too: 64 KiB for
 * foreign code, and in a wide one a guard region below those.
 *
 * With MPG_DEBUG=stackguard=1 every segment, also the first ones in blocks, is
 * instead a mapping of its own above a guard region: code that runs off it
 * faults, and sched/fault.c says who it was.
 *
 * [stack.cache.bounds] a list never holds more than cache_max(order) entries
 * (flush; asserted in push).
 *
 * Context: g0 or a thread without a goroutine.  c == NULL is allowed
 * everywhere: no cache.
 */
#include <errno.h>

#include <arch/common/check.h>
#include <arch/common/options.h>
#include <arch/common/sanitize.h>
#include <arch/os.h>
#include <stack/stack.h>

#include <stack/arena.h>

#define BATCH_MAX 32u
#define SEGMENT_MARGIN_BYTES 128 /* alignment and return address of a body */
/* Up to this size no foreign code is called on a segment. */
#define NARROW_BYTES MPGI_STACK_FOREIGN_BYTES

_Static_assert(sizeof(struct mpgi_segment) % 16 == 0, "hi stays 16-aligned");

/* Entries moved at once: 64 KiB, at least 2. */
static unsigned batch(unsigned order) {
  unsigned n = BATCH_MAX >> order;
  return n < 2 ? 2 : n;
}
static unsigned cache_max(unsigned order) { return 2 * batch(order); }

int mpgi_stack_init(void) {
  mpgi_valgrind_init();
  return mpgi_stack_arena_init();
}

/* ---- blocks ---- */

static void block_push(struct mpgi_stack_cache *c, void *block) {
  MPG_ASSERT_INTERNAL(c->blocks < cache_max(0));
  *(void **) block = c->block;
  c->block = block;
  c->blocks++;
}

static void *block_pop(struct mpgi_stack_cache *c) {
  void *block = c->block;
  MPG_ASSERT_INTERNAL(block && c->blocks > 0);
  c->block = *(void **) block;
  c->blocks--;
  return block;
}

void *mpgi_stack_block_alloc(struct mpgi_stack_cache *c) {
  if (MPGI_LIKELY(c && c->block)) return block_pop(c);
  void *got[BATCH_MAX];
  mpgi_mutex_lock(&mpgi_stack_lock);
  unsigned n = mpgi_stack_arena_take(0, got, c ? batch(0) : 1);
  mpgi_mutex_unlock(&mpgi_stack_lock);
  if (n == 0) return NULL;
  while (n > 1) block_push(c, got[--n]);
  return got[0];
}

static void block_flush(struct mpgi_stack_cache *c, unsigned keep) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  while (c->blocks > keep) mpgi_stack_arena_give(0, block_pop(c));
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

void mpgi_stack_block_free(struct mpgi_stack_cache *c, void *block) {
  MPG_ASSERT(block);
  MPG_ASSERT(((uintptr_t) block & (MPGI_STACK_BLOCK_BYTES - 1)) == 0);
  if (c) {
    if (c->blocks == cache_max(0)) block_flush(c, batch(0));
    block_push(c, block);
    return;
  }
  mpgi_mutex_lock(&mpgi_stack_lock);
  mpgi_stack_arena_give(0, block);
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

/* ---- segments ---- */

/* Write the record at the high end of [lo, lo + bytes). */
static struct mpgi_segment *seg_make(void *lo, size_t bytes, unsigned order) {
  uintptr_t hi = (uintptr_t) lo + bytes - sizeof(struct mpgi_segment);
  struct mpgi_segment *seg = (struct mpgi_segment *) hi;
  *seg = (struct mpgi_segment){.lo = (uintptr_t) lo,
                               .hi = hi,
                               .guard = (uintptr_t) lo + MPGI_GUARD_GAP_BYTES,
                               .bytes = bytes,
                               .order = (uint16_t) order};
  if (bytes > NARROW_BYTES) seg->guard += MPGI_STACK_BELOW_BYTES;
  mpgi_valgrind_add(seg);
  MPG_ASSERT_INTERNAL((seg->hi & 15) == 0 &&
                      mpgi_stack_segment_base(seg) == seg->lo);
  return seg;
}

static void seg_push(struct mpgi_stack_cache *c, struct mpgi_segment *seg) {
  unsigned o = seg->order;
  MPG_ASSERT_INTERNAL(c->nseg[o] < cache_max(o));
  seg->next = c->seg[o];
  c->seg[o] = seg;
  c->nseg[o]++;
}

static struct mpgi_segment *seg_pop(struct mpgi_stack_cache *c, unsigned o) {
  struct mpgi_segment *seg = c->seg[o];
  MPG_ASSERT_INTERNAL(seg && seg->order == o && c->nseg[o] > 0);
  c->seg[o] = seg->next;
  c->nseg[o]--;
  seg->next = NULL;
  return seg;
}

static struct mpgi_segment *seg_from_arena(struct mpgi_stack_cache *c,
                                           unsigned order) {
  void *got[BATCH_MAX];
  size_t bytes = MPGI_ARENA_BYTES(order);
  bool cached = c && order < MPGI_STACK_ORDERS;
  mpgi_mutex_lock(&mpgi_stack_lock);
  unsigned n = mpgi_stack_arena_take(order, got, cached ? batch(order) : 1);
  mpgi_mutex_unlock(&mpgi_stack_lock);
  if (n == 0) return NULL;
  while (n > 1) seg_push(c, seg_make(got[--n], bytes, order));
  return seg_make(got[0], bytes, order);
}

static struct mpgi_segment *seg_map(size_t bytes) {
  size_t page = mpgi_os_page_bytes;
  if (bytes > SIZE_MAX / 4) return NULL;
  bytes = (bytes + page - 1) & ~(page - 1);
  void *lo = mpgi_os_stack_map(bytes, page);
  if (!lo) return NULL;
  mpgi_stack_bytes_add(bytes);
  return seg_make(lo, bytes, MPGI_ORDER_MAPPED);
}

static struct mpgi_segment *seg_guarded(size_t bytes) {
  size_t page = mpgi_os_page_bytes;
  if (bytes > SIZE_MAX / 4) return NULL;
  bytes = (bytes + page - 1) & ~(page - 1);
  char *guard = mpgi_os_stack_map(MPGI_STACK_GUARD_BYTES + bytes, page);
  if (!guard) return NULL;
  if (mpgi_os_mem_guard(guard, MPGI_STACK_GUARD_BYTES)) {
    mpgi_os_mem_unmap(guard, MPGI_STACK_GUARD_BYTES + bytes);
    return NULL;
  }
  mpgi_stack_bytes_add(bytes);
  return seg_make(guard + MPGI_STACK_GUARD_BYTES, bytes, MPGI_ORDER_GUARDED);
}

void mpgi_stack_block_guard(uintptr_t *lo, uintptr_t *hi) {
  if (!mpgi_opt.stackguard) return;
  MPG_ASSERT(*hi - *lo <= MPGI_STACK_BLOCK_BYTES);
  struct mpgi_segment *seg = seg_guarded(MPGI_STACK_BLOCK_BYTES);
  if (!seg) return;
  *hi = seg->lo + (*hi - *lo);
  *lo = seg->lo;
}

static unsigned order_for(size_t bytes) {
  unsigned order = 0;
  while (MPGI_ARENA_BYTES(order) < bytes) order++;
  return order;
}

static bool forked;

void mpgi_stack_forked(void) { forked = true; }

struct mpgi_segment *mpgi_stack_segment_take(struct mpgi_stack_cache *c,
                                             size_t bytes) {
  if (bytes > NARROW_BYTES)
    bytes = bytes < SIZE_MAX / 2 ? bytes + MPGI_STACK_BELOW_BYTES : SIZE_MAX;
  if (MPGI_UNLIKELY(forked)) return seg_map(bytes);
  if (mpgi_opt.stackguard) return seg_guarded(bytes);
  if (bytes > NARROW_BYTES && bytes <= MPGI_STACK_FIXED_DEFAULT) {
    struct mpgi_segment *wide = mpgi_stack_wide_alloc(c);
    if (wide) return wide;
  }
  if (bytes > MPGI_ARENA_BYTES(MPGI_ARENA_TOP - 1)) return seg_map(bytes);
  unsigned order = order_for(bytes);
  if (c && order < MPGI_STACK_ORDERS && c->seg[order]) return seg_pop(c, order);
  return seg_from_arena(c, order);
}

static void seg_flush(struct mpgi_stack_cache *c, unsigned order,
                      unsigned keep) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  while (c->nseg[order] > keep) {
    struct mpgi_segment *seg = seg_pop(c, order);
    mpgi_valgrind_remove(seg);
    mpgi_stack_arena_give(order, (void *) seg->lo);
  }
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

void mpgi_stack_segment_give(struct mpgi_stack_cache *c,
                             struct mpgi_segment *seg) {
  unsigned order = seg->order;
  MPG_ASSERT(!seg->fixed);
  if (order == MPGI_ORDER_WIDE) {
    mpgi_stack_wide_free(c, seg);
    return;
  }
  MPG_VERIFY(mpgi_stack_segment_base(seg) == seg->lo);
  if (order == MPGI_ORDER_MAPPED) {
    mpgi_valgrind_remove(seg);
    mpgi_stack_bytes_sub(seg->bytes);
    mpgi_os_mem_unmap((void *) seg->lo, seg->bytes);
    return;
  }
  if (order == MPGI_ORDER_GUARDED) {
    mpgi_valgrind_remove(seg);
    mpgi_stack_bytes_sub(seg->bytes);
    mpgi_os_mem_unmap((void *) (seg->lo - MPGI_STACK_GUARD_BYTES),
                      seg->bytes + MPGI_STACK_GUARD_BYTES);
    return;
  }
  MPG_VERIFY(order < MPGI_ARENA_TOP && seg->bytes == MPGI_ARENA_BYTES(order));
  if (MPGI_UNLIKELY(forked)) return;
  if (c && order < MPGI_STACK_ORDERS) {
    if (c->nseg[order] == cache_max(order)) seg_flush(c, order, batch(order));
    seg_push(c, seg);
    return;
  }
  mpgi_valgrind_remove(seg);
  mpgi_mutex_lock(&mpgi_stack_lock);
  mpgi_stack_arena_give(order, (void *) seg->lo);
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

size_t mpgi_stack_segment_bytes_for(size_t need) {
  size_t extra =
      MPGI_GUARD_GAP_BYTES + sizeof(struct mpgi_segment) + SEGMENT_MARGIN_BYTES;
  return need > SIZE_MAX - extra ? SIZE_MAX : need + extra;
}

/* ---- everything ---- */

void mpgi_stack_cache_flush(struct mpgi_stack_cache *c) {
  MPG_ASSERT(c);
  block_flush(c, 0);
  for (unsigned o = 0; o < MPGI_STACK_ORDERS; o++) seg_flush(c, o, 0);
  mpgi_stack_fixed_flush(c);
  MPG_ASSERT(!c->block && !c->blocks && !c->fixed && !c->nfixed);
}

uint64_t mpgi_stack_bytes(void) {
  return atomic_load_explicit(&mpgi_stack_bytes_out, memory_order_relaxed);
}

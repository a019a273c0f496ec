/* fixed.c - fixed stacks: lazily committed, with a guard region.
 *
 * For code built without split stacks.  The default size comes from slabs,
 * because a mapping and a guard each would meet vm.max_map_count at 32
 * thousand goroutines; other sizes get a mapping of their own.
 *
 *   slab   32 MiB, aligned, one mapping:
 *          header page | ... | slot | slot | ...       (slots at the top end)
 *   slot   guard 64 KiB | usable stack, record of the segment at the high end
 *
 * A slot's guard is installed at its first use and stays.  Freed stacks wait
 * in the P's cache with their memory; beyond CACHE_MAX they go back to their
 * slab and their memory to the system, so an idle slot costs nothing but
 * addresses.
 *
 * The guard is 64 KiB, not a page: a C function may have locals larger than a
 * page and touch their far end first, which on the other side is the next
 * slot.  Larger ones are for the compiler (-fstack-clash-protection).
 *
 * Invariants: [stack.fixed.free] a slab is in the list exactly when it has a
 * free slot (slab_pop, slab_push).
 *
 * Concurrency: slabs under mpgi_stack_lock; a cache by its P's owner.
 */
#include <arch/common/check.h>
#include <arch/common/sanitize.h>
#include <arch/os.h>
#include <stack/stack.h>

#include <stack/arena.h>

#define SLAB_BYTES ((size_t) 32 << 20)
/* One page more than the guard and the default, for the record. */
#define SLOT_BYTES (MPGI_STACK_GUARD_BYTES + MPGI_STACK_FIXED_DEFAULT + 4096)
#define SLAB_SLOTS ((SLAB_BYTES - 4096) / SLOT_BYTES)
#define MAP_WORDS ((SLAB_SLOTS + 63) / 64)
#define CACHE_MAX 16u
/* What a fixed stack counts for in the statistics, which the collector paces
 * by: what shallow use touches, not its mostly untouched addresses. */
#define CHARGE_BYTES ((size_t) 8 << 10)

struct slab {
  struct slab *next;  /* list of slabs with free slots */
  struct slab *older; /* list of all; constant */
  uint32_t nfree;
  uint32_t listed;
  uint64_t free[MAP_WORDS];    /* bit set: slot is free */
  uint64_t guarded[MAP_WORDS]; /* bit set: its guard is installed */
};
_Static_assert(sizeof(struct slab) <= 4096, "header page");

static struct slab *slabs;          /* with free slots; under mpgi_stack_lock */
static struct slab *_Atomic newest; /* of all; likewise, read without */

static uintptr_t slot_lo(const struct slab *sl, size_t i) {
  return (uintptr_t) sl + SLAB_BYTES - (i + 1) * SLOT_BYTES;
}

static struct slab *slab_of(uintptr_t addr) {
  return (struct slab *) (addr & ~(SLAB_BYTES - 1));
}

static size_t slot_of(const struct slab *sl, uintptr_t lo) {
  return ((uintptr_t) sl + SLAB_BYTES - lo) / SLOT_BYTES - 1;
}

static void slab_list(struct slab *sl) {
  MPG_ASSERT_INTERNAL(!sl->listed && sl->nfree > 0);
  sl->listed = 1;
  sl->next = slabs;
  slabs = sl;
}

static struct slab *slab_new(void) {
  struct slab *sl = mpgi_os_mem_map(SLAB_BYTES, SLAB_BYTES);
  if (!sl) return NULL;
  for (size_t i = 0; i < SLAB_SLOTS; i++) sl->free[i / 64] |= 1ull << i % 64;
  sl->nfree = SLAB_SLOTS;
  slab_list(sl);
  sl->older = atomic_load(&newest);
  atomic_store(&newest, sl);
  return sl;
}

bool mpgi_stack_fixed_owns(uintptr_t addr) {
  const struct slab *sl = atomic_load(&newest);
  while (sl && addr - (uintptr_t) sl >= SLAB_BYTES) sl = sl->older;
  return sl != NULL;
}

static size_t slab_first_free(const struct slab *sl) {
  size_t w = 0;
  while (!sl->free[w]) w++;
  MPG_ASSERT(w < MAP_WORDS);
  return w * 64 + (size_t) __builtin_ctzll(sl->free[w]);
}

/* Slot i gets its guard; false: no mapping left for it. */
static bool slab_guard(struct slab *sl, size_t i) {
  uint64_t bit = 1ull << i % 64;
  if (sl->guarded[i / 64] & bit) return true;
  if (mpgi_os_mem_guard((void *) slot_lo(sl, i), MPGI_STACK_GUARD_BYTES))
    return false;
  sl->guarded[i / 64] |= bit;
  return true;
}

/* Low end of a slot, or 0. */
static uintptr_t slab_pop(void) {
  mpgi_mutex_assert_held(&mpgi_stack_lock);
  struct slab *sl = slabs ? slabs : slab_new();
  if (!sl) return 0;
  size_t i = slab_first_free(sl);
  if (!slab_guard(sl, i)) return 0;
  sl->free[i / 64] &= ~(1ull << i % 64);
  if (--sl->nfree == 0) {
    slabs = sl->next;
    sl->listed = 0;
  }
  return slot_lo(sl, i);
}

static void slab_push(uintptr_t lo) {
  mpgi_mutex_assert_held(&mpgi_stack_lock);
  struct slab *sl = slab_of(lo);
  size_t i = slot_of(sl, lo);
  uint64_t bit = 1ull << i % 64;
  MPG_VERIFY(i < SLAB_SLOTS && slot_lo(sl, i) == lo);
  MPG_VERIFY(!(sl->free[i / 64] & bit));
  sl->free[i / 64] |= bit;
  sl->nfree++;
  if (!sl->listed) slab_list(sl);
}

/* ---- segments ---- */

static struct mpgi_segment *seg_make(uintptr_t base, size_t bytes,
                                     unsigned order) {
  uintptr_t hi = base + bytes - sizeof(struct mpgi_segment);
  struct mpgi_segment *seg = (struct mpgi_segment *) hi;
  *seg = (struct mpgi_segment){.lo = base + MPGI_STACK_GUARD_BYTES,
                               .hi = hi,
                               .bytes = bytes,
                               .order = (uint16_t) order,
                               .fixed = 1};
  mpgi_valgrind_add(seg);
  MPG_ASSERT((seg->hi & 15) == 0);
  MPG_ASSERT(mpgi_stack_segment_base(seg) == base);
  return seg;
}

/* What the kernel does in order TSan, which sees no bare system calls, is told
 * of: unmapped before it is mapped again. */
static char unmapped;

static struct mpgi_segment *own_alloc(size_t bytes) {
  size_t page = mpgi_os_page_bytes;
  if (bytes > SIZE_MAX / 4) return NULL;
  bytes += MPGI_STACK_GUARD_BYTES + sizeof(struct mpgi_segment);
  bytes = (bytes + page - 1) & ~(page - 1);
  void *lo = mpgi_os_mem_map(bytes, page);
  if (!lo) return NULL;
  if (mpgi_os_mem_guard(lo, MPGI_STACK_GUARD_BYTES)) {
    mpgi_os_mem_unmap(lo, bytes);
    return NULL;
  }
  mpgi_san_taken(&unmapped);
  mpgi_stack_bytes_add(CHARGE_BYTES);
  return seg_make((uintptr_t) lo, bytes, MPGI_ORDER_FIXED_OWN);
}

static void own_free(struct mpgi_segment *seg) {
  uintptr_t lo = mpgi_stack_segment_base(seg);
  size_t bytes = seg->bytes;
  mpgi_valgrind_remove(seg);
  mpgi_stack_bytes_sub(CHARGE_BYTES);
  mpgi_san_given(&unmapped);
  mpgi_os_mem_unmap((void *) lo, bytes);
}

static struct mpgi_segment *slot_alloc(void) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  uintptr_t lo = slab_pop();
  mpgi_mutex_unlock(&mpgi_stack_lock);
  if (!lo) return NULL;
  mpgi_stack_bytes_add(CHARGE_BYTES);
  return seg_make(lo, SLOT_BYTES, MPGI_ORDER_FIXED);
}

static void slot_free(struct mpgi_segment *seg) {
  uintptr_t base = mpgi_stack_segment_base(seg);
  MPG_VERIFY(seg->order == MPGI_ORDER_FIXED && seg->bytes == SLOT_BYTES);
  mpgi_valgrind_remove(seg);
  /* The record goes with the memory. */
  mpgi_os_mem_release((void *) (base + MPGI_STACK_GUARD_BYTES),
                      SLOT_BYTES - MPGI_STACK_GUARD_BYTES);
  mpgi_mutex_lock(&mpgi_stack_lock);
  slab_push(base);
  mpgi_mutex_unlock(&mpgi_stack_lock);
  mpgi_stack_bytes_sub(CHARGE_BYTES);
}

static struct mpgi_segment *cache_pop(struct mpgi_stack_cache *c) {
  struct mpgi_segment *seg = c->fixed;
  MPG_ASSERT_INTERNAL(seg && c->nfixed > 0);
  c->fixed = seg->next;
  c->nfixed--;
  seg->next = NULL;
  return seg;
}

static void cache_trim(struct mpgi_stack_cache *c, unsigned keep) {
  while (c->nfixed > keep) slot_free(cache_pop(c));
}

struct mpgi_segment *mpgi_stack_fixed_alloc(struct mpgi_stack_cache *c,
                                            size_t bytes) {
  MPG_ASSERT(bytes > 0);
  if (bytes > MPGI_STACK_FIXED_DEFAULT) return own_alloc(bytes);
  if (c && c->fixed) return cache_pop(c);
  struct mpgi_segment *seg = slot_alloc();
  MPG_ASSERT(!seg || seg->hi - seg->lo >= bytes);
  return seg;
}

void mpgi_stack_fixed_free(struct mpgi_stack_cache *c,
                           struct mpgi_segment *seg) {
  MPG_ASSERT(seg && seg->fixed && !seg->prev && !seg->next);
  if (seg->order == MPGI_ORDER_FIXED_OWN) {
    own_free(seg);
    return;
  }
  if (!c) {
    slot_free(seg);
    return;
  }
  if (c->nfixed == CACHE_MAX) cache_trim(c, CACHE_MAX / 2);
  seg->next = c->fixed;
  c->fixed = seg;
  c->nfixed++;
}

/* ---- as segments of growing stacks ---- */

/* With guard regions that are mappings, 32 thousand would be all there are. */
struct mpgi_segment *mpgi_stack_wide_alloc(struct mpgi_stack_cache *c) {
  if (mpgi_os_mem_guard_maps()) return NULL;
  struct mpgi_segment *seg =
      mpgi_stack_fixed_alloc(c, MPGI_STACK_FIXED_DEFAULT);
  if (!seg) return NULL;
  seg->fixed = 0;
  seg->order = MPGI_ORDER_WIDE;
  seg->guard = seg->lo + MPGI_GUARD_GAP_BYTES + MPGI_STACK_BELOW_BYTES;
  return seg;
}

void mpgi_stack_wide_free(struct mpgi_stack_cache *c,
                          struct mpgi_segment *seg) {
  MPG_ASSERT(seg->order == MPGI_ORDER_WIDE);
  seg->fixed = 1;
  seg->order = MPGI_ORDER_FIXED;
  seg->guard = 0;
  seg->prev = seg->next = NULL;
  mpgi_stack_fixed_free(c, seg);
}

void mpgi_stack_fixed_flush(struct mpgi_stack_cache *c) { cache_trim(c, 0); }

/* fixed.c - fixed stacks: lazily committed, with a guard region.
 *
 * For code built without split stacks.  The default size comes from slabs,
 * because a mapping and a guard each would meet vm.max_map_count at 32
 * thousand goroutines; larger ones get a mapping of their own (own.c).
 *
 *   slab   32 MiB, aligned, one mapping:
 *          header page | ... | slot | slot | ...       (slots at the top end)
 *   slot   guard 64 KiB | usable stack, record of the segment at the high end
 *
 * A slot's guard is installed at its first use and stays.  Freed stacks wait
 * in the P's cache; beyond CACHE_MAX half of them go back to their slabs.
 * There a slot is warm, it has its memory still, or cold: it costs nothing but
 * addresses.  Warm ones are taken first.  Giving memory back and faulting it in
 * again takes longer than many a goroutine runs, so that waits: what was warm
 * and not needed since the last call of mpgi_stack_fixed_age, sysmon's, is
 * given back by half, whole runs of slots at a time.
 *
 * The guard is 64 KiB, not a page: a C function may have locals larger than a
 * page and touch their far end first, which on the other side is the next
 * slot.  Larger ones are for the compiler (-fstack-clash-protection); or, in
 * code for segmented stacks, for its prologues and its alloca: the guard word
 * is FIXED_GUARD_BYTES above the low end of the guard region, so that what
 * doesn't step over that goes on, and what does comes to mpgi_morestack_g0.
 *
 * Invariants: [stack.fixed.free] a slab is in the list `warm` exactly when it
 * has a warm slot, in `cold` when it has only other free ones (slab_relist).
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
#define BATCH (CACHE_MAX / 2)
#define AGE_RUNS 64 /* given back at a time: some 30 us each */
/* Room for frames that prologues don't count; and more than 60 KiB below the
 * stack, so that calls of foreign code are refused nothing. */
#define FIXED_GUARD_BYTES ((uintptr_t) 2048)
_Static_assert(FIXED_GUARD_BYTES >= MPGI_GUARD_GAP_BYTES, "slack");
/* What a fixed stack counts for in the statistics, which the collector paces
 * by: what shallow use touches, not its mostly untouched addresses. */
#define CHARGE_BYTES ((size_t) 8 << 10)

struct slab {
  struct slab *next, *prev; /* in `list` */
  struct slabs *list;       /* NULL: no slot is free */
  struct slab *older;       /* list of all; constant */
  uint32_t nfree, nwarm;
  uint64_t free[MAP_WORDS];    /* bit set: slot is free */
  uint64_t warm[MAP_WORDS];    /* .. and has its memory */
  uint64_t guarded[MAP_WORDS]; /* bit set: its guard is installed */
};
_Static_assert(sizeof(struct slab) <= 4096, "header page");

/* All under mpgi_stack_lock. */
static struct slabs { struct slab *head, *tail; } warm, cold;
static struct slab *_Atomic newest; /* of all; read without the lock, too */
static _Atomic uint32_t nwarm;      /* slots; likewise */
static uint32_t warm_low; /* the fewest since the last mpgi_stack_fixed_age */

static uintptr_t slot_lo(const struct slab *sl, size_t i) {
  return (uintptr_t) sl + SLAB_BYTES - (i + 1) * SLOT_BYTES;
}

static struct slab *slab_of(uintptr_t addr) {
  return (struct slab *) (addr & ~(SLAB_BYTES - 1));
}

static size_t slot_of(const struct slab *sl, uintptr_t lo) {
  return ((uintptr_t) sl + SLAB_BYTES - lo) / SLOT_BYTES - 1;
}

static void list_remove(struct slab *sl) {
  struct slabs *l = sl->list;
  *(sl->prev ? &sl->prev->next : &l->head) = sl->next;
  *(sl->next ? &sl->next->prev : &l->tail) = sl->prev;
}

static void list_push(struct slabs *l, struct slab *sl) {
  sl->prev = NULL;
  sl->next = l->head;
  *(l->head ? &l->head->prev : &l->tail) = sl;
  l->head = sl;
}

static void slab_relist(struct slab *sl) {
  struct slabs *l = sl->nwarm ? &warm : sl->nfree ? &cold : NULL;
  if (l == sl->list) return;
  if (sl->list) list_remove(sl);
  if (l) list_push(l, sl);
  sl->list = l;
}

static void nwarm_add(struct slab *sl, int n) {
  sl->nwarm += (uint32_t) n;
  uint32_t now = atomic_load(&nwarm) + (uint32_t) n;
  atomic_store(&nwarm, now);
  if (now < warm_low) warm_low = now;
}

static struct slab *slab_new(void) {
  struct slab *sl = mpgi_os_stack_map(SLAB_BYTES, SLAB_BYTES);
  if (!sl) return NULL;
  for (size_t i = 0; i < SLAB_SLOTS; i++) sl->free[i / 64] |= 1ull << i % 64;
  sl->nfree = SLAB_SLOTS;
  slab_relist(sl);
  sl->older = atomic_load(&newest);
  atomic_store(&newest, sl);
  return sl;
}

bool mpgi_stack_fixed_owns(uintptr_t addr) {
  const struct slab *sl = atomic_load(&newest);
  while (sl && addr - (uintptr_t) sl >= SLAB_BYTES) sl = sl->older;
  return sl != NULL;
}

static size_t first_of(const uint64_t *map) {
  size_t w = 0;
  while (!map[w]) w++;
  MPG_ASSERT(w < MAP_WORDS);
  return w * 64 + (size_t) __builtin_ctzll(map[w]);
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

/* Slot i isn't free any more; the caller relists. */
static void slab_take(struct slab *sl, size_t i) {
  uint64_t bit = 1ull << i % 64;
  MPG_ASSERT_INTERNAL(sl->free[i / 64] & bit);
  if (sl->warm[i / 64] & bit) nwarm_add(sl, -1);
  sl->free[i / 64] &= ~bit;
  sl->warm[i / 64] &= ~bit;
  sl->nfree--;
}

/* Low end of a slot, or 0. */
static uintptr_t slab_pop(void) {
  mpgi_mutex_assert_held(&mpgi_stack_lock);
  struct slab *sl = warm.head ? warm.head : cold.head ? cold.head : slab_new();
  if (!sl) return 0;
  size_t i = first_of(sl->nwarm ? sl->warm : sl->free);
  if (!slab_guard(sl, i)) return 0;
  slab_take(sl, i);
  slab_relist(sl);
  return slot_lo(sl, i);
}

static void slab_push(uintptr_t lo, bool is_warm) {
  mpgi_mutex_assert_held(&mpgi_stack_lock);
  struct slab *sl = slab_of(lo);
  size_t i = slot_of(sl, lo);
  uint64_t bit = 1ull << i % 64;
  MPG_VERIFY(i < SLAB_SLOTS && slot_lo(sl, i) == lo);
  MPG_VERIFY(!(sl->free[i / 64] & bit));
  sl->free[i / 64] |= bit;
  sl->nfree++;
  if (is_warm) {
    sl->warm[i / 64] |= bit;
    nwarm_add(sl, 1);
  }
  slab_relist(sl);
}

/* ---- giving memory back ---- */

/* Warm slots side by side, at most `most`, give back their memory, with the
 * lock given up meanwhile: nobody can take them.  Returns how many. */
static uint32_t run_release(struct slab *sl, uint32_t most) {
  size_t first = first_of(sl->warm), end = first;
  while (end < SLAB_SLOTS && end - first < most &&
         sl->warm[end / 64] >> end % 64 & 1)
    slab_take(sl, end++);
  slab_relist(sl);
  mpgi_mutex_unlock(&mpgi_stack_lock);
  /* Slot numbers go down in memory; guards between them stay. */
  uintptr_t lo = slot_lo(sl, end - 1) + MPGI_STACK_GUARD_BYTES;
  uintptr_t hi = slot_lo(sl, first) + SLOT_BYTES;
  mpgi_os_mem_release((void *) lo, hi - lo);
  mpgi_mutex_lock(&mpgi_stack_lock);
  for (size_t i = first; i < end; i++) slab_push(slot_lo(sl, i), false);
  return (uint32_t) (end - first);
}

/* The slabs that were warm first come first. */
static void release(uint32_t n, unsigned runs) {
  while (n > 0 && runs-- > 0 && warm.tail) n -= run_release(warm.tail, n);
}

void mpgi_stack_fixed_age(void) {
  mpgi_stack_own_age();
  if (atomic_load(&nwarm) == 0) return;
  mpgi_mutex_lock(&mpgi_stack_lock);
  release(warm_low - warm_low / 2, AGE_RUNS);
  warm_low = atomic_load(&nwarm);
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

uint32_t mpgi_stack_fixed_warm(void) {
  return atomic_load(&nwarm) + mpgi_stack_own_kept();
}

void mpgi_stack_fixed_release(void) {
  mpgi_stack_own_release();
  mpgi_mutex_lock(&mpgi_stack_lock);
  release(atomic_load(&nwarm), UINT32_MAX);
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

/* ---- segments ---- */

static uintptr_t fixed_guard(uintptr_t lo) {
  return lo - MPGI_STACK_GUARD_BYTES + FIXED_GUARD_BYTES;
}

struct mpgi_segment *mpgi_stack_fixed_make(uintptr_t base, size_t bytes,
                                           unsigned order) {
  uintptr_t hi = base + bytes - sizeof(struct mpgi_segment);
  struct mpgi_segment *seg = (struct mpgi_segment *) hi;
  uintptr_t lo = base + MPGI_STACK_GUARD_BYTES;
  *seg = (struct mpgi_segment){.lo = lo,
                               .hi = hi,
                               .guard = fixed_guard(lo),
                               .bytes = bytes,
                               .order = (uint16_t) order,
                               .fixed = 1};
  mpgi_valgrind_add(seg);
  mpgi_stack_bytes_add(CHARGE_BYTES);
  MPG_ASSERT((seg->hi & 15) == 0);
  MPG_ASSERT(mpgi_stack_segment_base(seg) == base);
  return seg;
}

static void cache_push(struct mpgi_stack_cache *c, struct mpgi_segment *seg) {
  MPG_ASSERT_INTERNAL(c->nfixed < CACHE_MAX);
  seg->next = c->fixed;
  c->fixed = seg;
  c->nfixed++;
}

static struct mpgi_segment *cache_pop(struct mpgi_stack_cache *c) {
  struct mpgi_segment *seg = c->fixed;
  MPG_ASSERT_INTERNAL(seg && c->nfixed > 0);
  c->fixed = seg->next;
  c->nfixed--;
  seg->next = NULL;
  return seg;
}

static struct mpgi_segment *slot_make(uintptr_t lo) {
  return mpgi_stack_fixed_make(lo, SLOT_BYTES, MPGI_ORDER_FIXED);
}

/* One slot, and for an empty cache as many more as are warm. */
static struct mpgi_segment *slot_alloc(struct mpgi_stack_cache *c) {
  uintptr_t lo[BATCH];
  unsigned n = 0, most = c ? BATCH : 1;
  mpgi_mutex_lock(&mpgi_stack_lock);
  do
    if ((lo[n] = slab_pop()) != 0) n++;
  while (n > 0 && n < most && warm.head);
  mpgi_mutex_unlock(&mpgi_stack_lock);
  if (n == 0) return NULL;
  while (n > 1) cache_push(c, slot_make(lo[--n]));
  return slot_make(lo[0]);
}

/* Its record is of no use any more. */
static void unmake(struct mpgi_segment *seg) {
  mpgi_valgrind_remove(seg);
  mpgi_stack_bytes_sub(CHARGE_BYTES);
}

static void slot_free_locked(struct mpgi_segment *seg) {
  MPG_VERIFY(seg->order == MPGI_ORDER_FIXED && seg->bytes == SLOT_BYTES);
  unmake(seg);
  slab_push(mpgi_stack_segment_base(seg), true);
}

static void slot_free(struct mpgi_segment *seg) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  slot_free_locked(seg);
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

static void cache_trim(struct mpgi_stack_cache *c, unsigned keep) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  while (c->nfixed > keep) slot_free_locked(cache_pop(c));
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

struct mpgi_segment *mpgi_stack_fixed_alloc(struct mpgi_stack_cache *c,
                                            size_t bytes) {
  MPG_ASSERT(bytes > 0);
  if (bytes > MPGI_STACK_FIXED_DEFAULT) return mpgi_stack_own_alloc(bytes);
  if (c && c->fixed) return cache_pop(c);
  struct mpgi_segment *seg = slot_alloc(c);
  MPG_ASSERT(!seg || seg->hi - seg->lo >= bytes);
  return seg;
}

void mpgi_stack_fixed_free(struct mpgi_stack_cache *c,
                           struct mpgi_segment *seg) {
  MPG_ASSERT(seg && seg->fixed && !seg->prev && !seg->next);
  if (seg->order == MPGI_ORDER_FIXED_OWN) {
    unmake(seg);
    mpgi_stack_own_free(seg);
    return;
  }
  if (!c) {
    slot_free(seg);
    return;
  }
  if (c->nfixed == CACHE_MAX) cache_trim(c, CACHE_MAX - BATCH);
  cache_push(c, seg);
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
  seg->guard = fixed_guard(seg->lo);
  seg->prev = seg->next = NULL;
  mpgi_stack_fixed_free(c, seg);
}

void mpgi_stack_fixed_flush(struct mpgi_stack_cache *c) {
  if (c->nfixed) cache_trim(c, 0);
}

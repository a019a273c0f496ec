/* arena.c - the stack arena: a buddy allocator over huge pages.
 *
 * Purpose: memory for G blocks (2 KiB) and segments up to 1 MiB, dense, on
 * huge pages, and given back when idle.  Not for fixed stacks (fixed.c) nor
 * for larger segments (mappings of their own, cache.c).
 *
 * Concepts
 *   arena   one reserved range, 64 GiB or what the system grants, committed
 *           chunk by chunk from the low end (the frontier) and never moved
 *   chunk   2 MiB, one huge page
 *   piece   2 KiB << order, aligned to its size, inside one chunk
 *   unit    2 KiB; one state byte each, out of line: 1 KiB of table a chunk,
 *           so 10 million blocks cost 10 MiB of tables
 *
 * Algorithm: buddies.  A unit's byte says FREE|order or USED|order where a
 * piece begins and 0 inside one.  Free pieces of one order are in a doubly
 * linked list through their own first words; whole free chunks are linked out
 * of line, because their memory may have been released.  Taking splits the
 * smallest sufficient piece and uses its low half; giving merges with the
 * buddy as long as that one is free.
 *
 * One allocator for all orders, not slabs by order: a lone goroutine that
 * recurses through every order touches one or two huge pages, not one for
 * each order.
 *
 * Invariants
 *   [stack.arena.merged]  no two buddies are both free (give merges; checked
 *                         by arena_is_valid)
 *   [stack.arena.used]    a piece is given back with the order it was taken
 *                         with (the unit's byte; MPG_VERIFY in give)
 *
 * Concurrency: everything under mpgi_stack_lock, on g0 or on a thread without
 * a goroutine.  Nothing allocates, nothing parks.
 *
 * Sources: Knuth 2.5, buddy systems.  Linux mm/page_alloc.c also merges
 * eagerly; it keeps its lists in struct page, we in the free memory itself.
 */
#include <errno.h>

#include <arch/common/check.h>
#include <arch/os.h>
#include <stack/stack.h>

#include <stack/arena.h>

#define CHUNK_BYTES MPGI_OS_HUGE_BYTES
#define UNITS (CHUNK_BYTES / MPGI_STACK_BLOCK_BYTES)
#define RESERVE_MAX ((size_t) 64 << 30)
#define RESERVE_MIN ((size_t) 64 << 20)
#define LEAVE_BYTES ((size_t) 192 << 20)
#define UNIT_FREE 0x80u
#define UNIT_USED 0x40u

_Static_assert(MPGI_ARENA_BYTES(MPGI_ARENA_TOP) == CHUNK_BYTES, "top order");
_Static_assert(UNITS == 1u << MPGI_ARENA_TOP, "units of a chunk");

struct piece { /* a free piece's first words */
  struct piece *next, *prev;
};

struct chunk {        /* out of line, one each */
  struct chunk *next; /* idle list */
  uint32_t released;  /* 1: its memory is with the system */
  uint32_t reserved;
  uint8_t unit[UNITS];
};

struct mpgi_mutex mpgi_stack_lock = MPGI_MUTEX_INIT(MPGI_RANK_STACK);
_Atomic uint64_t mpgi_stack_bytes_out;
size_t mpgi_stack_arena_cap;

/* All of it: written under mpgi_stack_lock. */
static struct {
  uintptr_t lo;        /* 0 before init */
  size_t chunks;       /* reserved */
  size_t frontier;     /* chunks committed so far */
  struct chunk *table; /* one each */
  struct chunk *idle;  /* whole free chunks */
  struct piece *free[MPGI_ARENA_TOP];
} arena;

static size_t table_bytes(size_t chunks) {
  size_t page = mpgi_os_page_bytes;
  return (chunks * sizeof(struct chunk) + page - 1) & ~(page - 1);
}

static bool try_reserve(size_t bytes) {
  void *lo = mpgi_os_mem_reserve(bytes, CHUNK_BYTES);
  if (!lo) return false;
  size_t chunks = bytes / CHUNK_BYTES;
  void *table = mpgi_os_mem_map(table_bytes(chunks), mpgi_os_page_bytes);
  if (!table) {
    mpgi_os_mem_unmap(lo, bytes);
    return false;
  }
  mpgi_os_mem_huge(lo, bytes);
  arena.table = table;
  arena.chunks = chunks;
  arena.lo = (uintptr_t) lo;
  return true;
}

/* Leaving as much again for the heap, and room for others. */
static bool try_reserve_half(size_t bytes) {
  size_t all = bytes + (bytes > LEAVE_BYTES ? bytes : LEAVE_BYTES);
  void *lo = mpgi_os_mem_reserve(all, CHUNK_BYTES);
  if (!lo) return false;
  mpgi_os_mem_unmap(lo, all);
  return try_reserve(bytes);
}

static int reserve(size_t bytes) {
  if (try_reserve(bytes)) return 0;
  while ((bytes /= 2) > RESERVE_MIN)
    if (try_reserve_half(bytes)) return 0;
  return try_reserve(RESERVE_MIN) ? 0 : -ENOMEM;
}

int mpgi_stack_arena_init(void) {
  size_t bytes = mpgi_stack_arena_cap ? mpgi_stack_arena_cap : RESERVE_MAX;
  MPG_ASSERT(bytes % CHUNK_BYTES == 0);
  mpgi_mutex_lock(&mpgi_stack_lock);
  int r = arena.lo ? 0 : reserve(bytes);
  mpgi_mutex_unlock(&mpgi_stack_lock);
  return r;
}

bool mpgi_stack_arena_owns(uintptr_t addr) {
  return addr - arena.lo < arena.chunks * CHUNK_BYTES;
}

/* ---- units and lists ---- */

static struct chunk *chunk_of(uintptr_t addr) {
  size_t i = (addr - arena.lo) / CHUNK_BYTES;
  MPG_VERIFY(addr >= arena.lo && i < arena.frontier);
  return &arena.table[i];
}

static uintptr_t chunk_lo(const struct chunk *ch) {
  return arena.lo + (size_t) (ch - arena.table) * CHUNK_BYTES;
}

static uint8_t *unit_of(uintptr_t addr) {
  size_t i = (addr & (CHUNK_BYTES - 1)) / MPGI_STACK_BLOCK_BYTES;
  return &chunk_of(addr)->unit[i];
}

static void list_push(unsigned order, uintptr_t addr) {
  struct piece *p = (struct piece *) addr;
  MPG_ASSERT_INTERNAL((addr & (MPGI_ARENA_BYTES(order) - 1)) == 0);
  *unit_of(addr) = (uint8_t) (UNIT_FREE | order);
  p->prev = NULL;
  p->next = arena.free[order];
  if (p->next) p->next->prev = p;
  arena.free[order] = p;
}

static void list_remove(unsigned order, struct piece *p) {
  MPG_VERIFY(*unit_of((uintptr_t) p) == (UNIT_FREE | order));
  if (p->next) p->next->prev = p->prev;
  if (p->prev)
    p->prev->next = p->next;
  else
    arena.free[order] = p->next;
}

/* ---- chunks ---- */

static struct chunk *chunk_commit(void) {
  if (arena.frontier == arena.chunks) return NULL;
  struct chunk *ch = &arena.table[arena.frontier];
  if (mpgi_os_stack_commit((void *) chunk_lo(ch), CHUNK_BYTES)) return NULL;
  arena.frontier++;
  return ch;
}

static uintptr_t chunk_take(void) {
  struct chunk *ch = arena.idle;
  if (ch)
    arena.idle = ch->next;
  else
    ch = chunk_commit();
  if (!ch) return 0;
  ch->next = NULL;
  ch->released = 0;
  return chunk_lo(ch);
}

static void chunk_give(uintptr_t addr) {
  struct chunk *ch = chunk_of(addr);
  MPG_ASSERT_INTERNAL(chunk_lo(ch) == addr && !ch->next);
  ch->unit[0] = UNIT_FREE | MPGI_ARENA_TOP;
  ch->next = arena.idle;
  arena.idle = ch;
}

/* ---- pieces ---- */

/* Split [addr, order from) down to order; the upper halves become free. */
static void split(uintptr_t addr, unsigned from, unsigned order) {
  while (from > order) {
    from--;
    list_push(from, addr + MPGI_ARENA_BYTES(from));
  }
  *unit_of(addr) = (uint8_t) (UNIT_USED | order);
}

static void *take(unsigned order) {
  unsigned from = order;
  while (from < MPGI_ARENA_TOP && !arena.free[from]) from++;
  uintptr_t addr;
  if (from < MPGI_ARENA_TOP) {
    addr = (uintptr_t) arena.free[from];
    list_remove(from, (struct piece *) addr);
  } else {
    addr = chunk_take();
    if (!addr) return NULL;
  }
  split(addr, from, order);
  return (void *) addr;
}

/* Level 3: every free list is well formed and no free buddies are left. */
static bool arena_is_valid(void) {
  for (unsigned o = 0; o < MPGI_ARENA_TOP; o++) {
    const struct piece *prev = NULL;
    for (const struct piece *p = arena.free[o]; p; prev = p, p = p->next) {
      if (p->prev != prev) return false;
      if (*unit_of((uintptr_t) p) != (UNIT_FREE | o)) return false;
      uintptr_t buddy = (uintptr_t) p ^ MPGI_ARENA_BYTES(o);
      if (*unit_of(buddy) == (UNIT_FREE | o)) return false;
    }
  }
  return true;
}

unsigned mpgi_stack_arena_take(unsigned order, void **out, unsigned n) {
  mpgi_mutex_assert_held(&mpgi_stack_lock);
  MPG_ASSERT(order < MPGI_ARENA_TOP && n > 0);
  unsigned i = 0;
  while (i < n && (out[i] = take(order)) != NULL) i++;
  mpgi_stack_bytes_add(i * MPGI_ARENA_BYTES(order));
  MPG_ASSERT_EXPENSIVE(arena_is_valid());
  return i;
}

void mpgi_stack_arena_give(unsigned order, void *piece) {
  mpgi_mutex_assert_held(&mpgi_stack_lock);
  uintptr_t addr = (uintptr_t) piece;
  MPG_ASSERT(order < MPGI_ARENA_TOP);
  MPG_VERIFY((addr & (MPGI_ARENA_BYTES(order) - 1)) == 0);
  MPG_VERIFY(*unit_of(addr) == (UNIT_USED | order));
  mpgi_stack_bytes_sub(MPGI_ARENA_BYTES(order));
  for (; order < MPGI_ARENA_TOP; order++) {
    uintptr_t buddy = addr ^ MPGI_ARENA_BYTES(order);
    if (*unit_of(buddy) != (UNIT_FREE | order)) break;
    list_remove(order, (struct piece *) buddy);
    *unit_of(buddy > addr ? buddy : addr) = 0;
    if (buddy < addr) addr = buddy;
  }
  if (order == MPGI_ARENA_TOP)
    chunk_give(addr);
  else
    list_push(order, addr);
  MPG_ASSERT_EXPENSIVE(arena_is_valid());
}

void mpgi_stack_arena_release(void) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  for (struct chunk *ch = arena.idle; ch; ch = ch->next) {
    if (ch->released) continue;
    ch->released = mpgi_os_mem_release((void *) chunk_lo(ch), CHUNK_BYTES);
  }
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

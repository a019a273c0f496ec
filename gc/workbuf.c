/* workbuf.c - buffers of grey objects: a bounded, lock-free supply.
 *
 * Buffers are 4 KiB and live in one reserved region, committed in steps as
 * marking needs them, so that they have small numbers.  Two shared stacks,
 * `full` (with items) and `empty`, are Treiber stacks of these numbers; the
 * head word carries a count of changes beside the number, so a head that was
 * popped and pushed back in between (ABA) is not mistaken for the old one.
 * The count has 32 bits; it would have to wrap within one CAS loop.
 *
 * Nothing here takes a lock or allocates from another allocator: markers run
 * while other threads are stopped anywhere.  When the region is used up or the
 * system refuses memory, empty_get returns NULL: the marker drops items and
 * the phase recovers (mark.c).
 */
#define MPGI_GC_INSIDE 1
#include <errno.h>

#include <arch/common/options.h>
#include <arch/os.h>
#include <gc/mark_private.h>

#define STEP 64u /* buffers committed at a time: 256 KiB */
#define REGION_MIN ((size_t) 1 << 20)

static struct {
  struct mpgi_workbuf *region; /* constant after init */
  uint32_t max;                /* buffers that fit in it; constant */
  _Atomic uint32_t limit;      /* at most max; tests lower it */
  _Atomic uint32_t made;       /* buffers handed out for the first time */
  _Atomic uint32_t committed;
  _Atomic bool committing; /* one thread extends at a time */
  _Atomic uint64_t full __attribute__((aligned(MPGI_CACHE_LINE_BYTES)));
  _Atomic uint64_t empty __attribute__((aligned(MPGI_CACHE_LINE_BYTES)));
} pool;

/* ---- stacks of numbers ---- */

static uint32_t head_id(uint64_t head) { return (uint32_t) head; }

static uint64_t head_next(uint64_t head, uint32_t id) {
  return ((head >> 32) + 1) << 32 | id;
}

static void stack_push(_Atomic uint64_t *stack, struct mpgi_workbuf *b) {
  uint32_t id = (uint32_t) (b - pool.region) + 1;
  uint64_t head = mpgi_load(stack);
  MPG_ASSERT(id <= pool.max);
  do atomic_store_explicit(&b->next, head_id(head), memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(
      stack, &head, head_next(head, id), memory_order_release,
      memory_order_relaxed));
}

static struct mpgi_workbuf *stack_pop(_Atomic uint64_t *stack) {
  uint64_t head = atomic_load_explicit(stack, memory_order_acquire);
  while (head_id(head) != 0) {
    struct mpgi_workbuf *b = &pool.region[head_id(head) - 1];
    uint32_t next = atomic_load_explicit(&b->next, memory_order_relaxed);
    MPGI_CHAOS();
    if (atomic_compare_exchange_weak_explicit(
            stack, &head, head_next(head, next), memory_order_acquire,
            memory_order_acquire))
      return b;
  }
  return NULL;
}

/* ---- new buffers ---- */

static bool commit_more(void) {
  uint32_t have = atomic_load(&pool.committed);
  uint32_t n = pool.max - have < STEP ? pool.max - have : STEP;
  if (n == 0) return false;
  if (mpgi_os_mem_commit(&pool.region[have], n * MPGI_WORKBUF_BYTES) != 0)
    return false;
  atomic_store(&pool.committed, have + n);
  return true;
}

/* Extend, or wait for whoever does; false: no memory. */
static bool extend(uint32_t seen) {
  bool ok = true;
  while (atomic_load(&pool.committed) == seen) {
    if (atomic_exchange(&pool.committing, true)) {
      mpgi_arch_relax();
      continue;
    }
    MPGI_CHAOS();
    if (atomic_load(&pool.committed) == seen) ok = commit_more();
    atomic_store(&pool.committing, false);
    break;
  }
  return ok;
}

static struct mpgi_workbuf *make(void) {
  uint32_t made = atomic_load(&pool.made);
  for (;;) {
    uint32_t committed = atomic_load(&pool.committed);
    if (made >= atomic_load(&pool.limit)) return NULL;
    if (made >= committed) {
      if (!extend(committed)) return NULL;
      made = atomic_load(&pool.made);
    } else if (atomic_compare_exchange_weak(&pool.made, &made, made + 1)) {
      return &pool.region[made];
    }
  }
}

/* MPG_DEBUG=markbuffers.  The leader always has its two. */
static uint32_t limit_wanted(void) {
  int64_t n = mpgi_opt.markbuffers;
  if (n == 0 || n > pool.max) return pool.max;
  return n > 2 ? (uint32_t) n : 2;
}

/* ---- interface ---- */

int mpgi_workbuf_init(size_t heap_bytes) {
  size_t bytes = heap_bytes / 16;
  if (pool.region != NULL) return 0;
  if (bytes < REGION_MIN) bytes = REGION_MIN;
  pool.region = mpgi_os_mem_reserve(bytes, mpgi_os_page_bytes);
  if (pool.region == NULL) return -ENOMEM;
  pool.max = (uint32_t) (bytes / MPGI_WORKBUF_BYTES);
  atomic_store(&pool.limit, limit_wanted());
  /* The first step is there for ever: one marker always has its two. */
  if (commit_more()) return 0;
  mpgi_os_mem_unmap(pool.region, bytes);
  pool.region = NULL;
  return -ENOMEM;
}

struct mpgi_workbuf *mpgi_workbuf_empty_get(void) {
  struct mpgi_workbuf *b = stack_pop(&pool.empty);
  if (b == NULL) b = make();
  if (b != NULL) b->n = 0;
  return b;
}

void mpgi_workbuf_empty_put(struct mpgi_workbuf *b) {
  MPG_ASSERT(b->n == 0);
  stack_push(&pool.empty, b);
}

struct mpgi_workbuf *mpgi_workbuf_full_get(void) {
  struct mpgi_workbuf *b = stack_pop(&pool.full);
  MPG_ASSERT(b == NULL || (b->n > 0 && b->n <= MPGI_WORKBUF_ITEMS));
  return b;
}

void mpgi_workbuf_full_put(struct mpgi_workbuf *b) {
  MPG_ASSERT(b->n > 0 && b->n <= MPGI_WORKBUF_ITEMS);
  stack_push(&pool.full, b);
}

bool mpgi_workbuf_full_any(void) {
  return head_id(atomic_load_explicit(&pool.full, memory_order_acquire)) != 0;
}

void mpgi_workbuf_limit(uint32_t n) {
  mpgi_workbuf_reset(0);
  atomic_store(&pool.limit, n < pool.max ? n : pool.max);
}

uint64_t mpgi_workbuf_bytes(void) {
  return (uint64_t) atomic_load(&pool.made) * MPGI_WORKBUF_BYTES;
}

void mpgi_workbuf_reset(size_t keep) {
  uint32_t n = (uint32_t) (keep / MPGI_WORKBUF_BYTES);
  uint32_t made = atomic_load(&pool.made);
  MPG_ASSERT(!mpgi_workbuf_full_any());
  mpgi_store(&pool.empty, head_next(mpgi_load(&pool.empty), 0));
  atomic_store(&pool.made, 0);
  if (made > n)
    mpgi_os_mem_release(&pool.region[n],
                        (size_t) (made - n) * MPGI_WORKBUF_BYTES);
}

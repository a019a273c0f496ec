/* own.c - fixed stacks larger than the default: a mapping and a guard each.
 *
 * To map one, to install its guard and to unmap it again takes longer than many
 * a goroutine runs, so freed ones are kept, the last one first, for whoever
 * wants as many bytes.  What nobody needed between two calls of
 * mpgi_stack_own_age, sysmon's, is unmapped by half, the oldest first.
 *
 * Concurrency: the list under mpgi_stack_lock.
 */
#include <arch/common/check.h>
#include <arch/common/sanitize.h>
#include <arch/os.h>
#include <stack/stack.h>

#include <stack/arena.h>

#define LOOK 8      /* among so many, those of a size are found */
#define AGE_MAX 64u /* unmapped at a time: some 10 us each */

static struct {
  struct mpgi_segment *head, *tail; /* linked through next and prev */
  uint32_t low;                     /* the fewest since the last age */
} kept;
static _Atomic uint32_t nkept; /* read without the lock, too */

/* What the kernel does in order TSan, which sees no bare system calls, is told
 * of: unmapped before it is mapped again. */
static char unmapped;

static void kept_push(struct mpgi_segment *seg) {
  seg->prev = NULL;
  seg->next = kept.head;
  *(kept.head ? &kept.head->prev : &kept.tail) = seg;
  kept.head = seg;
  atomic_store(&nkept, atomic_load(&nkept) + 1);
}

static void kept_remove(struct mpgi_segment *seg) {
  *(seg->prev ? &seg->prev->next : &kept.head) = seg->next;
  *(seg->next ? &seg->next->prev : &kept.tail) = seg->prev;
  uint32_t n = atomic_load(&nkept) - 1;
  atomic_store(&nkept, n);
  if (n < kept.low) kept.low = n;
}

/* One whose mapping is of so many bytes, or NULL. */
static struct mpgi_segment *kept_take(size_t bytes) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  struct mpgi_segment *seg = kept.head;
  for (int i = 1; seg && seg->bytes != bytes; i++)
    seg = i < LOOK ? seg->next : NULL;
  if (seg) kept_remove(seg);
  mpgi_mutex_unlock(&mpgi_stack_lock);
  return seg;
}

/* The n oldest ones, or all. */
static void unmap_oldest(uint32_t n) {
  struct mpgi_segment *seg, *gone = NULL;
  mpgi_mutex_lock(&mpgi_stack_lock);
  for (; n > 0 && (seg = kept.tail); n--) {
    kept_remove(seg);
    seg->next = gone;
    gone = seg;
  }
  kept.low = atomic_load(&nkept);
  mpgi_mutex_unlock(&mpgi_stack_lock);
  while ((seg = gone)) {
    void *lo = (void *) mpgi_stack_segment_base(seg);
    size_t bytes = seg->bytes;
    gone = seg->next;
    mpgi_san_given(&unmapped); /* read before */
    mpgi_os_mem_unmap(lo, bytes);
  }
}

static void *map(size_t bytes) {
  void *lo = mpgi_os_stack_map(bytes, mpgi_os_page_bytes);
  if (!lo) return NULL;
  if (mpgi_os_mem_guard(lo, MPGI_STACK_GUARD_BYTES) == 0) {
    mpgi_san_taken(&unmapped);
    return lo;
  }
  mpgi_os_mem_unmap(lo, bytes);
  return NULL;
}

struct mpgi_segment *mpgi_stack_own_alloc(size_t bytes) {
  size_t page = mpgi_os_page_bytes;
  if (bytes > SIZE_MAX / 4) return NULL;
  bytes += MPGI_STACK_GUARD_BYTES + sizeof(struct mpgi_segment);
  bytes = (bytes + page - 1) & ~(page - 1);
  struct mpgi_segment *seg = kept_take(bytes);
  void *lo = seg ? (void *) mpgi_stack_segment_base(seg) : map(bytes);
  if (!lo &&
      mpgi_stack_own_kept()) { /* they may be what there is no room for */
    mpgi_stack_own_release();
    lo = map(bytes);
  }
  return lo ? mpgi_stack_fixed_make((uintptr_t) lo, bytes, MPGI_ORDER_FIXED_OWN)
            : NULL;
}

void mpgi_stack_own_free(struct mpgi_segment *seg) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  kept_push(seg);
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

uint32_t mpgi_stack_own_kept(void) { return atomic_load(&nkept); }

void mpgi_stack_own_age(void) {
  if (mpgi_stack_own_kept() == 0) return;
  mpgi_mutex_lock(&mpgi_stack_lock);
  uint32_t n = kept.low - kept.low / 2;
  mpgi_mutex_unlock(&mpgi_stack_lock);
  unmap_oldest(n < AGE_MAX ? n : AGE_MAX);
}

void mpgi_stack_own_release(void) { unmap_oldest(UINT32_MAX); }

/* home.c - first segments that can be taken away while nobody runs on them.
 *
 * A home is a page with an address of its own for as long as its goroutine
 * lives.  While the goroutine is parked, what is live of it may be kept as an
 * image (image.c) and the page's memory be given back: swapped out.  Swapped
 * in, everything is where it was, so no word of it has to be adjusted.
 *
 *   region    one reserved range, 64 GiB or what the system grants, ordinary
 *             pages, committed in steps from the low end
 *   free list indices, out of line: a free page has no memory to be linked
 *             through; the youngest KEEP of them keep theirs
 *
 * A home's record (struct mpgi_segment) is its G's: in the page it would be
 * lost.
 *
 * Rejected: a copy at another address, as Go does.  C doesn't say which words
 * are addresses.  What was adjusted because it looked like one also was the
 * remains of one, half of them overwritten by a char array or an int; and a
 * compiler may keep rbp + index instead of an address, which points anywhere
 * (tests/stress/stack_recursion_stress.c found both within seconds).
 *
 * [stack.home.free] free and used homes are disjoint: the entry of a used one
 *                   is USED (take, give)
 *
 * Context: g0, or the world is stopped; takes mpgi_stack_lock.
 */
#include <errno.h>
#include <string.h>

#include <arch/common/check.h>
#include <arch/common/options.h>
#include <arch/common/sanitize.h>
#include <arch/os.h>
#include <stack/stack.h>

#include <stack/arena.h>

#define REGION_MAX ((size_t) 64 << 30)
#define REGION_MIN ((size_t) 64 << 20)
#define STEP_BYTES ((size_t) 2 << 20)
#define KEEP 512u

/* An entry of the table: the next free one + 1; or USED. */
#define USED UINT32_MAX
#define DIRTY 0x80000000u /* beside a link: the page has memory */

/* mpgi_stack_lock */
static struct {
  uintptr_t lo; /* 0: not reserved yet */
  uint32_t homes, committed, frontier;
  uint32_t first, dirty; /* free list; how many of it have memory */
  uint32_t *entry;
} home MPGI_NOROOT;

static bool try_reserve(size_t bytes) {
  size_t page = mpgi_os_page_bytes;
  size_t n = bytes / MPGI_STACK_HOME_BYTES;
  void *lo = mpgi_os_mem_reserve(bytes, STEP_BYTES);
  if (!lo) return false;
  size_t table = (n * sizeof *home.entry + page - 1) & ~(page - 1);
  home.entry = mpgi_os_mem_map(table, page);
  if (!home.entry) {
    mpgi_os_mem_unmap(lo, bytes);
    return false;
  }
  home.homes = (uint32_t) n;
  home.lo = (uintptr_t) lo;
  return true;
}

bool mpgi_stack_home_init(void) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  size_t bytes = REGION_MAX;
  while (!home.lo && bytes >= REGION_MIN && !try_reserve(bytes)) bytes /= 2;
  mpgi_mutex_unlock(&mpgi_stack_lock);
  return home.lo != 0;
}

void mpgi_stack_home_range(uintptr_t *lo, size_t *bytes) {
  *lo = home.lo;
  *bytes = home.homes * MPGI_STACK_HOME_BYTES;
}

static void *page_of(uint32_t i) {
  return (void *) (home.lo + i * MPGI_STACK_HOME_BYTES);
}

static uint32_t index_of(const struct mpgi_segment *seg) {
  MPG_VERIFY(seg->order == MPGI_ORDER_HOME && seg->lo >= home.lo);
  return (uint32_t) ((seg->lo - home.lo) / MPGI_STACK_HOME_BYTES);
}

/* ---- taking and giving ---- */

static uint32_t fresh_locked(void) {
  if (home.frontier == home.homes) return USED;
  if (home.frontier == home.committed) {
    if (mpgi_os_mem_commit(page_of(home.frontier), STEP_BYTES)) return USED;
    home.committed += (uint32_t) (STEP_BYTES / MPGI_STACK_HOME_BYTES);
  }
  return home.frontier++;
}

static uint32_t take_locked(void) {
  if (!home.first) return fresh_locked();
  uint32_t i = home.first - 1, e = home.entry[i];
  MPG_VERIFY(e != USED);
  home.first = e & ~DIRTY;
  if (e & DIRTY) home.dirty--;
  return i;
}

bool mpgi_stack_home_take(struct mpgi_context *ctx, struct mpgi_segment *seg) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  uint32_t i = take_locked();
  if (i != USED) home.entry[i] = USED;
  mpgi_mutex_unlock(&mpgi_stack_lock);
  if (i == USED) return false;
  uintptr_t lo = (uintptr_t) page_of(i);
  *seg = (struct mpgi_segment){.lo = lo,
                               .hi = lo + MPGI_STACK_HOME_BYTES,
                               .guard = lo + MPGI_GUARD_GAP_BYTES,
                               .bytes = MPGI_STACK_HOME_BYTES,
                               .order = MPGI_ORDER_HOME};
  mpgi_valgrind_add(seg);
  ctx->dynamic = NULL;
  mpgi_stack_attach(ctx, seg);
  mpgi_stack_bytes_add(MPGI_STACK_HOME_BYTES);
  if (!mpgi_opt.stackmove ||
      mpgi_os_mem_commit((void *) lo, MPGI_STACK_HOME_BYTES) == 0)
    return true;
  mpgi_stack_home_give(seg, true);
  return false;
}

void mpgi_stack_home_give(struct mpgi_segment *seg, bool has_memory) {
  mpgi_valgrind_remove(seg);
  uint32_t i = index_of(seg);
  if (has_memory) mpgi_stack_bytes_sub(MPGI_STACK_HOME_BYTES);
  mpgi_mutex_lock(&mpgi_stack_lock);
  MPG_VERIFY(home.entry[i] == USED);
  if (has_memory && home.dirty >= KEEP) {
    mpgi_os_mem_release(page_of(i), MPGI_STACK_HOME_BYTES);
    has_memory = false;
  }
  home.entry[i] = home.first | (has_memory ? DIRTY : 0);
  home.dirty += has_memory;
  home.first = i + 1;
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

void mpgi_stack_home_release(void) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  for (uint32_t i = home.first; i && home.dirty;) {
    uint32_t *e = &home.entry[i - 1];
    if (*e & DIRTY) {
      mpgi_os_mem_release(page_of(i - 1), MPGI_STACK_HOME_BYTES);
      *e &= ~DIRTY;
      home.dirty--;
    }
    i = *e;
  }
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

/* ---- swapping ---- */

static size_t live_bytes(const struct mpgi_context *ctx) {
  return ctx->seg->hi - ctx->sp;
}

bool mpgi_stack_can_swap(const struct mpgi_context *ctx) {
  return ctx->seg->order == MPGI_ORDER_HOME && !ctx->seg->prev &&
         !ctx->dynamic && ctx->sp >= ctx->seg->lo && ctx->sp <= ctx->seg->hi &&
         live_bytes(ctx) <= MPGI_STACK_IMAGE_MAX_BYTES;
}

/* MPG_DEBUG=stackmove: whoever uses an address of it meets no memory. */
static void forbid(const struct mpgi_context *ctx) {
  if (mpgi_opt.stackmove)
    mpgi_os_mem_decommit((void *) ctx->seg->lo, MPGI_STACK_HOME_BYTES);
  else
    mpgi_os_mem_release((void *) ctx->seg->lo, MPGI_STACK_HOME_BYTES);
}

void *mpgi_stack_swap_out(struct mpgi_context *ctx) {
  MPG_ASSERT(mpgi_stack_can_swap(ctx));
  void *image = mpgi_stack_image_alloc(live_bytes(ctx));
  if (!image) return NULL;
  mpgi_stack_trim(NULL, ctx);
  memcpy(image, (const void *) ctx->sp, live_bytes(ctx));
  forbid(ctx);
  mpgi_stack_bytes_sub(MPGI_STACK_HOME_BYTES);
  return image;
}

bool mpgi_stack_peek(const struct mpgi_context *ctx, const void *image) {
  if (mpgi_opt.stackmove &&
      mpgi_os_mem_commit((void *) ctx->seg->lo, MPGI_STACK_HOME_BYTES))
    return false;
  memcpy((void *) ctx->sp, image, live_bytes(ctx));
  return true;
}

void mpgi_stack_unpeek(const struct mpgi_context *ctx) { forbid(ctx); }

bool mpgi_stack_swap_in(const struct mpgi_context *ctx, void *image) {
  if (!mpgi_stack_peek(ctx, image)) return false;
  mpgi_stack_bytes_add(MPGI_STACK_HOME_BYTES);
  mpgi_stack_image_free((uintptr_t) image, live_bytes(ctx));
  return true;
}

void mpgi_stack_swap_drop(const struct mpgi_context *ctx, void *image) {
  mpgi_stack_image_free((uintptr_t) image, live_bytes(ctx));
}

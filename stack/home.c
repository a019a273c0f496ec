/* home.c - first segments that can be taken away while nobody runs on them.
 *
 * A home is a range of addresses that a goroutine has for as long as it lives.
 * The kernel gives memory to those of its pages that are touched: growth
 * within it is in place, and meets no boundary.  While the goroutine is parked
 * what is live may be kept as an image (image.c) and all memory be given back:
 * swapped out.  Swapped in, everything is where it was, so no word of it has
 * to be adjusted.
 *
 *   region    one reserved range, a TiB or what the system grants, ordinary
 *             pages, committed in steps from the low end
 *   free list indices, out of line: a free home keeps its top page at most;
 *             the youngest KEEP of them do
 *   chunks    of 2 MiB: how many homes have memory.  When the last is swapped
 *             out, or idle memory is released, the whole is given back at once,
 *             which since Linux 6.14 includes its page table
 *
 * Open is what prologues let a goroutine use, down to seg.guard less the gap:
 * at first a page.  Who needs more comes to __morestack's slow path, once; the
 * call stays where it is.  seg.bytes, down from hi, is what may have memory,
 * and is what is counted.  A collection that finds the goroutine parked closes
 * what lies below SP; the next one gives its memory back, if it wasn't opened
 * meanwhile: the rule that segments have (segment.c).
 *
 * A home's record (struct mpgi_segment) is its G's: in the home it would be
 * lost.
 *
 * Rejected: a copy at another address, as Go does.  C doesn't say which words
 * are addresses.  What was adjusted because it looked like one also was the
 * remains of one, half of them overwritten by a char array or an int; and a
 * compiler may keep rbp + index instead of an address, which points anywhere
 * (tests/stress/stack_recursion_stress.c found both within seconds).
 *
 * [stack.home.free]  free and used homes are disjoint: the entry of a used one
 *                    is USED (take, give)
 * [stack.home.open]  hi - bytes <= guard - gap, both on pages (is_valid)
 * [stack.home.whole] one with a next segment is open to its end, or a small
 *                    frame would cross a boundary that isn't one
 *                    (mpgi_stack_grow)
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

#define HOMES_MAX ((size_t) 1 << 24)
#define HOMES_MIN ((size_t) 1 << 10)
#define STEP_BYTES ((size_t) 16 << 20)
#define CHUNK_BYTES ((size_t) 2 << 20) /* what a page of a page table maps */
#define KEEP 512u
/* MPG_DEBUG=stackguard: of a home, at its low end */
#define GUARD_BYTES ((size_t) 16 << 10)
/* From the guard to the end of what is open: injected frames stay within. */
#define GAP_BYTES ((size_t) MPGI_GUARD_GAP_BYTES + MPGI_INJECT_BYTES)
/* An open home has this much below a parked goroutine's SP. */
#define MARGIN_BYTES ((size_t) 1024)

/* Of a chunk: homes that have memory; and whether there may be a page table. */
#define TABLE 0x80u
_Static_assert(MARGIN_BYTES >= GAP_BYTES, "it can go on without opening it");
_Static_assert(CHUNK_BYTES / MPGI_STACK_HOME_BYTES < TABLE, "memory[]");

/* An entry of the table: the next free one + 1; or USED. */
#define USED UINT32_MAX
#define DIRTY 0x80000000u /* beside a link: its top page has memory */

/* mpgi_stack_lock */
static struct {
  uintptr_t lo; /* 0: not reserved yet */
  uint32_t homes, committed, frontier;
  uint32_t first, dirty; /* free list; how many of it have memory */
  uint32_t *entry;
  uint8_t *memory; /* one a chunk */
} home MPGI_NOROOT;

static size_t table_bytes(size_t n) {
  size_t page = mpgi_os_page_bytes;
  size_t bytes = n * sizeof *home.entry +
                 n * MPGI_STACK_HOME_BYTES / CHUNK_BYTES * sizeof *home.memory;
  return (bytes + page - 1) & ~(page - 1);
}

static bool try_reserve(size_t n) {
  size_t bytes = n * MPGI_STACK_HOME_BYTES;
  void *lo = mpgi_os_mem_reserve(bytes, CHUNK_BYTES);
  if (!lo) return false;
  home.entry = mpgi_os_mem_map(table_bytes(n), mpgi_os_page_bytes);
  if (!home.entry) {
    mpgi_os_mem_unmap(lo, bytes);
    return false;
  }
  mpgi_os_mem_not_huge(lo, bytes);
  home.memory = (uint8_t *) (home.entry + n);
  home.homes = (uint32_t) n;
  home.lo = (uintptr_t) lo;
  return true;
}

bool mpgi_stack_home_init(void) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  size_t n = HOMES_MAX;
  while (!home.lo && n >= HOMES_MIN && !try_reserve(n)) n /= 2;
  mpgi_mutex_unlock(&mpgi_stack_lock);
  return home.lo != 0;
}

void mpgi_stack_home_range(uintptr_t *lo, size_t *bytes) {
  *lo = home.lo;
  *bytes = home.homes * MPGI_STACK_HOME_BYTES;
}

static uintptr_t home_at(uint32_t i) {
  return home.lo + i * MPGI_STACK_HOME_BYTES;
}

static uint32_t index_of(const struct mpgi_segment *seg) {
  MPG_VERIFY(seg->order == MPGI_ORDER_HOME && seg->lo >= home.lo);
  return (uint32_t) ((seg->lo - home.lo) / MPGI_STACK_HOME_BYTES);
}

static void *top_page(const struct mpgi_segment *seg) {
  return (void *) (seg->hi - mpgi_os_page_bytes);
}

static void release(const struct mpgi_segment *seg, uintptr_t hi) {
  if (hi > seg->lo) mpgi_os_mem_release((void *) seg->lo, hi - seg->lo);
}

/* ---- memory ---- */

static size_t chunk_of(uint32_t i) {
  return i * MPGI_STACK_HOME_BYTES / CHUNK_BYTES;
}

static void has_memory_locked(uint32_t i) {
  uint8_t *m = &home.memory[chunk_of(i)];
  *m = (uint8_t) ((*m | TABLE) + 1);
}

/* Of home i nothing is live: give its memory back. */
static void no_memory_locked(uint32_t i) {
  uint8_t *m = &home.memory[chunk_of(i)];
  MPG_VERIFY(*m > TABLE);
  --*m;
  mpgi_os_mem_release((void *) home_at(i), MPGI_STACK_HOME_BYTES);
}

/* Page tables that nobody needs, of chunks [from, to). */
static void tables_release_locked(size_t from, size_t to) {
  for (size_t i = from; i <= to; i++) {
    if (i < to && home.memory[i] == TABLE) {
      home.memory[i] = 0;
      continue;
    }
    if (i > from)
      mpgi_os_mem_release((void *) (home.lo + from * CHUNK_BYTES),
                          (i - from) * CHUNK_BYTES);
    from = i + 1;
  }
}

/* MPG_DEBUG=stackmove: whoever uses an address of it meets no memory. */
static void forbid(const struct mpgi_segment *seg) {
  if (mpgi_opt.stackmove)
    mpgi_os_mem_guard((void *) seg->lo, seg->hi - seg->lo);
}

static bool allow(const struct mpgi_segment *seg) {
  return !mpgi_opt.stackmove ||
         mpgi_os_mem_unguard((void *) seg->lo, seg->hi - seg->lo) == 0;
}

/* ---- how much is open ---- */

static uintptr_t open_lo(const struct mpgi_segment *seg) {
  return seg->guard - GAP_BYTES;
}

static uintptr_t memory_lo(const struct mpgi_segment *seg) {
  return seg->hi - seg->bytes;
}

static bool is_valid(const struct mpgi_segment *seg) {
  uintptr_t page = mpgi_os_page_bytes;
  return memory_lo(seg) >= seg->lo && memory_lo(seg) <= open_lo(seg) &&
         ((memory_lo(seg) | open_lo(seg)) & (page - 1)) == 0;
}

/* Open from lo on. */
static void open_from(struct mpgi_segment *seg, uintptr_t lo) {
  seg->guard = lo + GAP_BYTES;
  if (lo < memory_lo(seg)) {
    mpgi_stack_bytes_add(memory_lo(seg) - lo);
    seg->bytes = seg->hi - lo;
  }
  MPG_ASSERT_INTERNAL(is_valid(seg));
}

/* As it is when only its top page is used. */
static void close_all(struct mpgi_segment *seg) {
  seg->bytes = mpgi_os_page_bytes;
  seg->guard = seg->hi - seg->bytes + GAP_BYTES;
}

bool mpgi_stack_home_open(struct mpgi_context *ctx, uintptr_t sp,
                          size_t limit) {
  struct mpgi_segment *seg = ctx->seg;
  if (seg->order != MPGI_ORDER_HOME || sp > seg->hi || sp < seg->lo + GAP_BYTES)
    return false;
  uintptr_t lo = (sp - GAP_BYTES) & ~(mpgi_os_page_bytes - 1);
  if (lo < memory_lo(seg) &&
      mpgi_stack_chain_bytes(ctx) + (memory_lo(seg) - lo) > limit)
    return false;
  if (lo < open_lo(seg)) open_from(seg, lo);
  mpgi_stack_attach(ctx, seg);
  return true;
}

void mpgi_stack_home_open_all(struct mpgi_context *ctx) {
  struct mpgi_segment *seg = ctx->seg;
  if (seg->order != MPGI_ORDER_HOME) return;
  open_from(seg, seg->lo);
  mpgi_stack_attach(ctx, seg);
}

bool mpgi_stack_home_age(struct mpgi_context *ctx) {
  struct mpgi_segment *seg = ctx->seg;
  if (seg->order != MPGI_ORDER_HOME || seg->next) return false;
  uintptr_t lo = (ctx->sp - MARGIN_BYTES) & ~(mpgi_os_page_bytes - 1);
  if (lo <= memory_lo(seg)) return false;
  if (open_lo(seg) < lo) {
    open_from(seg, lo);
    mpgi_stack_attach(ctx, seg);
    return false;
  }
  mpgi_stack_bytes_sub(lo - memory_lo(seg));
  seg->bytes = seg->hi - lo;
  release(seg, lo);
  MPG_ASSERT_INTERNAL(is_valid(seg));
  return true;
}

/* ---- taking and giving ---- */

static bool fresh_locked(uint32_t *i) {
  if (home.frontier == home.homes) return false;
  if (home.frontier == home.committed) {
    if (mpgi_os_stack_commit((void *) home_at(home.frontier), STEP_BYTES))
      return false;
    home.committed += (uint32_t) (STEP_BYTES / MPGI_STACK_HOME_BYTES);
  }
  *i = home.frontier++;
  has_memory_locked(*i);
  /* Without memory for that it has none: nobody goes on there by itself. */
  if (mpgi_opt.stackguard) mpgi_os_mem_guard((void *) home_at(*i), GUARD_BYTES);
  return true;
}

static bool take_locked(uint32_t *i) {
  if (!home.first) return fresh_locked(i);
  *i = home.first - 1;
  uint32_t e = home.entry[*i];
  MPG_VERIFY(e != USED);
  home.first = e & ~DIRTY;
  if (e & DIRTY)
    home.dirty--;
  else
    has_memory_locked(*i);
  return true;
}

bool mpgi_stack_home_take(struct mpgi_context *ctx, struct mpgi_segment *seg) {
  uint32_t i;
  mpgi_mutex_lock(&mpgi_stack_lock);
  bool ok = take_locked(&i);
  if (ok) home.entry[i] = USED;
  mpgi_mutex_unlock(&mpgi_stack_lock);
  if (!ok) return false;
  *seg = (struct mpgi_segment){
      .lo = home_at(i) + (mpgi_opt.stackguard ? GUARD_BYTES : 0),
      .hi = home_at(i) + MPGI_STACK_HOME_BYTES,
      .order = MPGI_ORDER_HOME};
  close_all(seg);
  mpgi_valgrind_add(seg);
  ctx->dynamic = NULL;
  mpgi_stack_attach(ctx, seg);
  mpgi_stack_bytes_add(seg->bytes);
  ok = allow(seg);
  if (!ok) mpgi_stack_home_give(seg, true);
  return ok;
}

void mpgi_stack_home_give(struct mpgi_segment *seg, bool has_memory) {
  mpgi_valgrind_remove(seg);
  uint32_t i = index_of(seg);
  if (has_memory) {
    mpgi_stack_bytes_sub(seg->bytes);
    if (seg->bytes > mpgi_os_page_bytes)
      release(seg, (uintptr_t) top_page(seg));
  }
  mpgi_mutex_lock(&mpgi_stack_lock);
  MPG_VERIFY(home.entry[i] == USED);
  if (has_memory && home.dirty >= KEEP) {
    no_memory_locked(i);
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
      no_memory_locked(i - 1);
      *e &= ~DIRTY;
      home.dirty--;
    }
    i = *e;
  }
  if (home.frontier) tables_release_locked(0, chunk_of(home.frontier - 1) + 1);
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

void *mpgi_stack_swap_out(struct mpgi_context *ctx) {
  uint32_t i = index_of(ctx->seg);
  MPG_ASSERT(mpgi_stack_can_swap(ctx));
  void *image = mpgi_stack_image_alloc(live_bytes(ctx));
  if (!image) return NULL;
  mpgi_stack_trim(NULL, ctx);
  memcpy(image, (const void *) ctx->sp, live_bytes(ctx));
  mpgi_stack_bytes_sub(ctx->seg->bytes);
  close_all(ctx->seg);
  mpgi_stack_attach(ctx, ctx->seg);
  mpgi_mutex_lock(&mpgi_stack_lock);
  no_memory_locked(i);
  tables_release_locked(chunk_of(i), chunk_of(i) + 1);
  mpgi_mutex_unlock(&mpgi_stack_lock);
  forbid(ctx->seg);
  return image;
}

void mpgi_stack_swap_in(const struct mpgi_context *ctx, void *image) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  has_memory_locked(index_of(ctx->seg)); /* before its page comes */
  mpgi_mutex_unlock(&mpgi_stack_lock);
  if (!allow(ctx->seg)) mpgi_fatal("out of memory: a goroutine's stack");
  memcpy((void *) ctx->sp, image, live_bytes(ctx));
  mpgi_stack_bytes_add(ctx->seg->bytes);
  mpgi_stack_image_free((uintptr_t) image, live_bytes(ctx));
}

void mpgi_stack_swap_drop(const struct mpgi_context *ctx, void *image) {
  mpgi_stack_image_free((uintptr_t) image, live_bytes(ctx));
}

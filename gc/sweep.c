/* sweep.c - marks become allocation bits; lazily, in the background, or now.
 *
 * Who sweeps: an allocating thread that needs cells of the class (central.c),
 * one that needs pages, one that looks an object up in an unswept span, the
 * background sweeper, and whoever starts the next cycle, which must find
 * everything swept.  A span is swept by whoever takes it off its unswept list.
 *
 * finish waits for the others: `active` counts threads between enter and
 * leave.  The waiting cannot be for a stopped thread, because it is called
 * before the world is stopped, and because sweepers run on g0 or threads of
 * our own, which aren't frozen in place.
 *
 * The background sweeper is one thread, started when first needed; it sleeps
 * on a futex word and yields the CPU between batches.  When no thread can be
 * had, sweeping is lazy only.  When nothing is left to sweep it gives free
 * memory back, a step a second, also while every goroutine sleeps and with
 * them sysmon, which does the same when it is awake (mpgi_gc_scavenge).
 *
 * Waking it to give memory back: whoever frees pages and finds too many of
 * them free sets `scavenging` and wakes it.  It clears the flag before it
 * looks, so pages freed after its look are announced.
 *
 * Invariant [sweep.marks]: a mark implies an allocation bit (checked here).
 */
#define MPGI_GC_INSIDE 1
#include <string.h>

#include <arch/common/options.h>
#include <arch/common/trace.h>
#include <arch/os.h>
#include <gc/gc_private.h>

#define YIELD_BATCHES 2   /* between two yields of the CPU */
#define BACKGROUND_MIN 64 /* spans that are worth waking a thread */
#define BACKGROUND_MIN_BYTES ((uint64_t) 4 << 20) /* or so large a heap */
#define SCAVENGE_NS INT64_C(1000000000)           /* between two steps */
#define STACK_BYTES ((size_t) 64 << 10)

_Atomic uint64_t mpgi_sweep_left;
static struct {
  _Atomic uint32_t active; /* threads between enter and leave */
  _Atomic uint32_t turn;   /* where the next search begins */
  _Atomic uint64_t freed_objects, free_bytes;
  _Atomic uint32_t wake;   /* futex: bumped to wake the sweeper */
  _Atomic bool running;    /* its thread exists */
  _Atomic bool scavenging; /* it knows that too much memory is free */
} sweep;

/* ---- one span ---- */

void mpgi_sweep_clobber(uintptr_t lo, uint64_t bytes) {
  memset((void *) lo, MPGI_CLOBBER, bytes);
}

static void clobber_cells(struct mpgi_span *s, unsigned word, uint64_t dead) {
  for (; dead != 0; dead &= dead - 1) {
    uint32_t i = word * 64 + (uint32_t) __builtin_ctzll(dead);
    struct mpgi_cell cell = {s, i, mpgi_span_cell(s, i)};
    if (mpgi_opt.redzone != 0) mpgi_redzone_check(&cell, "the sweeper");
    mpgi_sweep_clobber(cell.base, mpgi_span_cell_bytes(s));
  }
}

uint32_t mpgi_sweep_span(struct mpgi_span *s) {
  struct mpgi_pair *pair = mpgi_span_pairs(s);
  bool clobber = mpgi_opt.clobberfree != 0 || mpgi_opt.redzone != 0;
  uint32_t live = 0, dead = 0;
  MPG_ASSERT(mpgi_span_state(s) == MPGI_SPAN_SWEEPING);
  MPGI_CHAOS();
  for (unsigned w = 0; w < mpgi_span_words(s); w++) {
    uint64_t mark = mpgi_load(&pair[w].mark);
    uint64_t alloc = mpgi_load(&pair[w].alloc);
    MPG_VERIFY((mark & ~alloc) == 0);
    if (MPGI_UNLIKELY(clobber)) clobber_cells(s, w, alloc & ~mark);
    dead += mpgi_ones(alloc & ~mark);
    live += mpgi_ones(mark);
    mpgi_store(&pair[w].alloc, mark);
    mpgi_store(&pair[w].mark, 0);
  }
  MPG_ASSERT(live <= s->objects);
  atomic_store_explicit(&s->used, live, memory_order_relaxed);
  if (dead > 0) mpgi_add(&sweep.freed_objects, dead);
  return live;
}

void mpgi_sweep_enter(void) {
  atomic_fetch_add(&sweep.active, 1);
  MPGI_CHAOS();
}

void mpgi_sweep_leave(uint32_t swept) {
  MPGI_CHAOS();
  if (swept > 0) {
    uint64_t was = atomic_fetch_sub(&mpgi_sweep_left, swept);
    MPG_ASSERT(was >= swept);
    MPGI_CHAOS();
  }
  uint32_t active = atomic_fetch_sub(&sweep.active, 1);
  MPG_ASSERT(active > 0);
}

/* ---- any span ---- */

#define SLOTS (MPGI_KIND_COUNT * MPGI_CLASSES)

static uint32_t any_unswept(struct mpgi_span **out) {
  uint32_t from = atomic_load_explicit(&sweep.turn, memory_order_relaxed);
  for (unsigned i = 0; i < SLOTS; i++) {
    unsigned slot = (from + i) % SLOTS;
    unsigned kind = slot / MPGI_CLASSES, class = slot % MPGI_CLASSES;
    if (!mpgi_central_has_unswept(kind, class)) continue;
    uint32_t n = mpgi_central_unswept_pop(kind, class, out, MPGI_SWEEP_BATCH);
    atomic_store_explicit(&sweep.turn, slot, memory_order_relaxed);
    if (n > 0) return n;
  }
  return 0;
}

uint32_t mpgi_sweep_some(void) {
  struct mpgi_span *s[MPGI_SWEEP_BATCH];
  mpgi_sweep_enter();
  uint32_t n = mpgi_sweep_pending() ? any_unswept(s) : 0;
  for (uint32_t i = 0; i < n; i++) mpgi_sweep_span(s[i]);
  MPGI_CHAOS();
  if (n > 0) mpgi_central_swept(s, n);
  mpgi_sweep_leave(n);
  return n;
}

void mpgi_sweep_finish(void) {
  while (mpgi_sweep_some() > 0) continue;
  for (unsigned spins = 0;
       mpgi_sweep_pending() || atomic_load(&sweep.active) > 0; spins++)
    if (spins < 1000)
      mpgi_arch_relax();
    else
      mpgi_os_yield();
}

void mpgi_sweep_ensure(struct mpgi_span *s) {
  while (mpgi_sweep_pending()) {
    enum mpgi_span_state state = mpgi_span_state(s);
    if (state != MPGI_SPAN_UNSWEPT && state != MPGI_SPAN_SWEEPING) return;
    MPGI_CHAOS();
    mpgi_sweep_enter();
    bool ours = state == MPGI_SPAN_UNSWEPT && mpgi_central_unswept_take(s);
    if (ours) {
      mpgi_sweep_span(s);
      mpgi_central_release(s);
    } else {
      mpgi_arch_relax();
    }
    mpgi_sweep_leave(ours);
  }
}

/* ---- the background sweeper ---- */

/* True: there is more to give back. */
static bool scavenge(void) {
  atomic_store(&sweep.scavenging, false);
  MPGI_CHAOS();
  bool more = mpgi_gc_scavenge(mpgi_os_now());
  if (more) atomic_store(&sweep.scavenging, true);
  return more;
}

static void background(void *arg) {
  (void) arg;
  for (;;) {
    uint32_t seen = atomic_load(&sweep.wake);
    uint64_t n = 0;
    unsigned batches = 0;
    MPGI_CHAOS();
    uint32_t some;
    MPGI_TRACE_EVERYBODY(SWEEPER_BEGIN, 0, 0);
    while ((some = mpgi_sweep_some()) > 0) {
      n += some;
      if (++batches % YIELD_BATCHES == 0) mpgi_os_yield();
    }
    MPGI_TRACE_EVERYBODY(SWEEPER_END, n, 0);
    mpgi_os_futex_wait(&sweep.wake, seen, scavenge() ? SCAVENGE_NS : -1);
  }
}

static void wake(void) {
  atomic_fetch_add(&sweep.wake, 1);
  mpgi_os_futex_wake(&sweep.wake, 1);
}

void mpgi_sweep_begin_stw(uint64_t n) {
  MPG_ASSERT(!mpgi_sweep_pending());
  atomic_store(&mpgi_sweep_left, n);
}

void mpgi_sweep_background(void) {
  if (mpgi_load(&mpgi_sweep_left) < BACKGROUND_MIN &&
      mpgi_heap_mapped_bytes() < BACKGROUND_MIN_BYTES)
    return;
  if (!atomic_exchange(&sweep.running, true) &&
      mpgi_os_thread_start(background, NULL, STACK_BYTES, "mpg-sweep") != 0)
    atomic_store(&sweep.running, false); /* lazily, then; tried again */
  wake();
}

void mpgi_sweep_scavenge(void) {
  if (atomic_load_explicit(&sweep.scavenging, memory_order_relaxed)) return;
  if (!atomic_exchange(&sweep.scavenging, true)) wake();
}

void mpgi_sweep_forked(void) { atomic_store(&sweep.running, false); }

/* ---- counts ---- */

void mpgi_sweep_count_free(uint64_t bytes, uint64_t objects) {
  mpgi_add(&sweep.freed_objects, objects);
  mpgi_add(&sweep.free_bytes, bytes);
}

uint64_t mpgi_sweep_freed_objects(void) {
  uint64_t bytes, objects;
  mpgi_cache_freed(&bytes, &objects);
  return mpgi_load(&sweep.freed_objects) + objects;
}

uint64_t mpgi_sweep_free_bytes(void) {
  uint64_t bytes, objects;
  mpgi_cache_freed(&bytes, &objects);
  return mpgi_load(&sweep.free_bytes) + bytes;
}

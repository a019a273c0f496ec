/* trace.c - rings of events: one producer, one consumer, no waiting.
 *
 *   put    slot stores, then tail store(release)               [trace.pub]
 *   take   tail load(acquire) sees the slots      pairs with [trace.pub]
 *          slot loads, then head store(release)               [trace.free]
 *   emit   head load(acquire): slots before it may be overwritten
 *                                                pairs with [trace.free]
 * Positions run freely and never wrap (64 bits); tail - head <= SLOTS
 * [trace.inv.size], checked in take.
 *
 * Who may emit passes from thread to thread with the ownership of the P, which
 * orders the producer's own fields.  A signal handler that interrupted no
 * runtime code may emit for the P of its thread.
 *
 * A full ring drops the new event and counts it; the next event that finds
 * room for two is preceded by LOST, so that the reader knows where.
 * Overwriting the oldest instead would need the reader's consent, or records
 * that may be torn.
 *
 * Model-checked by tests/model/trace_model.c.
 */
#include <arch/common/chaos.h>
#include <arch/common/check.h>
#include <arch/common/fixmem.h>
#include <arch/common/mutex.h>
#include <arch/common/trace.h>
#include <arch/os.h>

_Atomic uint32_t mpgi_trace_on;

static _Atomic(struct mpgi_trace_ring *) rings;
static _Atomic(struct mpgi_trace_ring *) shared;
static struct mpgi_mutex shared_lock = MPGI_MUTEX_INIT(MPGI_RANK_LEAF);

/* ---- the producer ---- */

static bool has_room(struct mpgi_trace_ring *r, uint64_t tail, uint64_t n) {
  if (tail + n - r->head_seen <= MPGI_TRACE_SLOTS) return true;
  r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
  return tail + n - r->head_seen <= MPGI_TRACE_SLOTS;
}

uint64_t mpgi_trace_emit_slow(struct mpgi_trace_ring *r, uint64_t ticks,
                              uint64_t what, uint64_t a, uint64_t b) {
  uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
  if (!has_room(r, tail, r->lost ? 2 : 1)) {
    r->lost++;
    return 0;
  }
  if (!ticks) ticks = mpgi_arch_ticks();
  if (r->lost) {
    uint64_t lost = mpgi_trace_what(MPGI_TRACE_LOST, MPGI_TRACE_NO_M, 0);
    mpgi_trace_put(r, tail++, ticks, lost, r->lost, 0);
    r->lost = 0;
  }
  mpgi_trace_put(r, tail, ticks, what, a, b);
  return mpgi_trace_record_id(r, tail);
}

uint64_t mpgi_trace_emit_shared(uint64_t what, uint64_t a, uint64_t b) {
  struct mpgi_trace_ring *r =
      atomic_load_explicit(&shared, memory_order_acquire);
  if (!r) return 0;
  mpgi_mutex_lock(&shared_lock);
  uint64_t id = mpgi_trace_emit(r, what, a, b);
  mpgi_mutex_unlock(&shared_lock);
  return id;
}

/* ---- the consumer ---- */

static void slot_get(struct mpgi_trace_ring *r, uint64_t at,
                     struct mpgi_trace_record *out) {
  _Atomic uint64_t *s = r->slot[at % MPGI_TRACE_SLOTS];
  out->ticks = atomic_load_explicit(&s[0], memory_order_relaxed);
  out->what = atomic_load_explicit(&s[1], memory_order_relaxed);
  out->a = atomic_load_explicit(&s[2], memory_order_relaxed);
  out->b = atomic_load_explicit(&s[3], memory_order_relaxed);
}

size_t mpgi_trace_take(struct mpgi_trace_ring *r, struct mpgi_trace_record *out,
                       size_t max, uint64_t until, uint64_t *first) {
  uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
  uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
  MPG_ASSERT(tail - head <= MPGI_TRACE_SLOTS); /* [trace.inv.size] */
  size_t n = tail - head < max ? (size_t) (tail - head) : max;
  for (size_t i = 0; i < n; i++) {
    slot_get(r, head + i, &out[i]);
    if (out[i].ticks > until) n = i;
  }
  MPGI_CHAOS();
  atomic_store_explicit(&r->head, head + n, memory_order_release);
  *first = head;
  return n;
}

/* ---- the list of rings ---- */

struct mpgi_trace_ring *mpgi_trace_ring_new(uint64_t id) {
  struct mpgi_trace_ring *r =
      mpgi_fixmem_alloc(sizeof *r, MPGI_CACHE_LINE_BYTES);
  if (!r) return NULL;
  r->id = id;
  r->next = atomic_load(&rings);
  while (!atomic_compare_exchange_weak(&rings, &r->next, r)) continue;
  return r;
}

bool mpgi_trace_shared_make(void) {
  if (atomic_load(&shared)) return true;
  struct mpgi_trace_ring *r = mpgi_trace_ring_new(MPGI_TRACE_SHARED);
  if (r) atomic_store(&shared, r);
  return r != NULL;
}

struct mpgi_trace_ring *mpgi_trace_rings(void) {
  return atomic_load(&rings);
}

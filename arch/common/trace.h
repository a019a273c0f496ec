/* trace.h - events, recorded in rings without locks.
 *
 * A ring has one producer at a time (for a P's: whoever owns the P) and one
 * consumer, the writer's thread (sched/trace_writer.c).  A full ring takes
 * nothing: the producer never waits, and says later how much is missing.
 * Events of threads without a P go to one shared ring, under a leaf lock.
 *
 * Context: recording allocates nothing and is signal-safe on a P's ring, as
 * long as the handler didn't interrupt the runtime.
 */
#ifndef MPGI_TRACE_H
#define MPGI_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <arch/arch.h>

enum mpgi_trace_event {
#define MPGI_TRACE_EVENT(number, name, a, b, doc) MPGI_TRACE_##name = number,
#include <arch/common/trace_events.def>
#undef MPGI_TRACE_EVENT
};

#ifndef MPGI_TRACE_SLOTS /* models have fewer */
#define MPGI_TRACE_SLOTS 32768
#endif

/* What is recorded of an event: 8 bits of event, 16 of thread, 40 of
 * goroutine; then the arguments as the table names them. */
struct mpgi_trace_record {
  uint64_t ticks; /* mpgi_arch_ticks, whose unit is unknown: compare with
                     mpgi_os_now */
  uint64_t what;
  uint64_t a, b;
};
static inline uint64_t mpgi_trace_what(enum mpgi_trace_event e, uint64_t m,
                                       uint64_t g) {
  return (uint64_t) e | (m & 0xffff) << 8 | g << 24;
}
static inline unsigned mpgi_trace_event_of(uint64_t what) {
  return (unsigned) (what & 0xff);
}
static inline unsigned mpgi_trace_m_of(uint64_t what) {
  return (unsigned) (what >> 8 & 0xffff);
}
static inline uint64_t mpgi_trace_g_of(uint64_t what) { return what >> 24; }
#define MPGI_TRACE_NO_M 0xffff

struct mpgi_trace_ring {
  /* producer */
  _Alignas(MPGI_CACHE_LINE_BYTES) _Atomic uint64_t tail; /* next to write */
  uint64_t head_seen; /* an older value of head */
  uint64_t lost;      /* since the last record */
  uint64_t last;      /* ticks of the last record */
  uint64_t id;        /* constant: P id, or MPGI_TRACE_SHARED */
  /* consumer */
  _Alignas(MPGI_CACHE_LINE_BYTES) _Atomic uint64_t head; /* next to read */
  struct mpgi_trace_ring *next; /* constant once in the list */
  _Alignas(MPGI_CACHE_LINE_BYTES) _Atomic uint64_t slot[MPGI_TRACE_SLOTS][4];
};
#define MPGI_TRACE_SHARED 0xffff

/* Written with the world stopped, or before it runs. */
MPGI_HIDDEN extern _Atomic uint32_t mpgi_trace_on;
static inline __attribute__((always_inline)) bool mpgi_trace_is_on(void) {
  return __builtin_expect(
      atomic_load_explicit(&mpgi_trace_on, memory_order_relaxed) != 0, 0);
}

/* The number of the record that stands at position at of a ring. */
static inline uint64_t mpgi_trace_record_id(const struct mpgi_trace_ring *r,
                                            uint64_t at) {
  return (r->id + 1) << 44 | at;
}

/* trace.c: there may be no room, or some were lost. */
MPGI_HIDDEN uint64_t mpgi_trace_emit_slow(struct mpgi_trace_ring *r,
                                          uint64_t ticks, uint64_t what,
                                          uint64_t a, uint64_t b);

/* A record at tail, where there is room.  Times in a ring never fall
 * (mpgi_trace_take).  The writer has read the lines that come next, on another
 * CPU, or they are in no near cache: fetched before they are written, they keep
 * the scheduler's next locked instruction waiting no longer. */
#define MPGI_TRACE_AHEAD 16
static inline __attribute__((always_inline)) void mpgi_trace_put(
    struct mpgi_trace_ring *r, uint64_t tail, uint64_t ticks, uint64_t what,
    uint64_t a, uint64_t b) {
  _Atomic uint64_t *s = r->slot[tail % MPGI_TRACE_SLOTS];
  mpgi_arch_prefetch_write(
      &r->slot[(tail + MPGI_TRACE_AHEAD) % MPGI_TRACE_SLOTS]);
  r->last = ticks < r->last ? r->last : ticks;
  atomic_store_explicit(&s[0], r->last, memory_order_relaxed);
  atomic_store_explicit(&s[1], what, memory_order_relaxed);
  atomic_store_explicit(&s[2], a, memory_order_relaxed);
  atomic_store_explicit(&s[3], b, memory_order_relaxed);
  atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
}

/* Record one event that took place when mpgi_arch_ticks was ticks, or after
 * the last one in the ring if that is later; 0: now.  Returns a number that no
 * other record has, or 0 when it was lost.  Who is lost reads no clock, which
 * would be a third of what it costs. */
static inline __attribute__((always_inline)) uint64_t mpgi_trace_emit_at(
    struct mpgi_trace_ring *r, uint64_t ticks, uint64_t what, uint64_t a,
    uint64_t b) {
  uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
  if (__builtin_expect(r->lost || tail - r->head_seen >= MPGI_TRACE_SLOTS ||
                           !(ticks || mpgi_arch_ticks_are_quick()),
                       0))
    return mpgi_trace_emit_slow(r, ticks, what, a, b);
  mpgi_trace_put(r, tail, ticks ? ticks : mpgi_arch_ticks_quick(), what, a, b);
  return mpgi_trace_record_id(r, tail);
}
static inline uint64_t mpgi_trace_emit(struct mpgi_trace_ring *r, uint64_t what,
                                       uint64_t a, uint64_t b) {
  return mpgi_trace_emit_at(r, 0, what, a, b);
}
/* An event that follows the last one in the ring within some nanoseconds may
 * have its time, and reads no clock. */
#define MPGI_TRACE_AS_LAST UINT64_C(1) /* ticks: before any record */
static inline bool mpgi_trace_follows(const struct mpgi_trace_ring *r) {
  return r->last && !r->lost;
}
/* The same in the shared ring; takes a leaf lock. */
MPGI_HIDDEN uint64_t mpgi_trace_emit_shared(uint64_t what, uint64_t a,
                                            uint64_t b);
/* For whoever has no thread or goroutine to name. */
#define MPGI_TRACE_EVERYBODY(event, a, b)                                     \
  do {                                                                        \
    if (mpgi_trace_is_on())                                                   \
      mpgi_trace_emit_shared(                                                 \
          mpgi_trace_what(MPGI_TRACE_##event, MPGI_TRACE_NO_M, 0), (a), (b)); \
  } while (0)

/* ---- the consumer ---- */
/* Take up to max records, none later than until; *first is the position of
 * out[0]. */
MPGI_HIDDEN size_t mpgi_trace_take(struct mpgi_trace_ring *r,
                                   struct mpgi_trace_record *out, size_t max,
                                   uint64_t until, uint64_t *first);
/* A ring that is never freed; NULL: no memory.  fixmem. */
MPGI_HIDDEN struct mpgi_trace_ring *mpgi_trace_ring_new(uint64_t id);
/* Make the shared ring if there is none; false: no memory. */
MPGI_HIDDEN bool mpgi_trace_shared_make(void);
/* Every ring made so far, linked by next. */
MPGI_HIDDEN struct mpgi_trace_ring *mpgi_trace_rings(void);

#endif /* MPGI_TRACE_H */

/* mark.c - a marking phase: jobs, markers, termination, recovery.
 *
 * The inner loops are in mark_scan.h.  This file hands out root jobs, moves
 * buffers between markers, and knows when everything is marked.
 *
 * Concepts
 *   leader   the thread that called mpgi_mark_run; markers that join later,
 *            recruited Ps' threads and workers of our own, are helpers.
 *   work     root jobs not taken; buffers in the shared pool; what a marker
 *            has in its buffers and rings.
 *   state    one word: markers registered, how many of them are idle, whether
 *            helpers were called, and whether the phase is over.
 *
 * [mark.alone] Until it calls helpers the leader is alone, and marks without
 * atomics.  So nobody else registers before: a worker that took its token in
 * an earlier phase, and got a CPU only now, finds `called` unset, and leaves.
 * The leader's plain stores come before it sets `called`, which the CAS that
 * registers a helper has read (acq_rel both).
 *
 * Termination.  A marker registers when it arrives, by a CAS that fails once
 * the phase is over; no number of helpers is waited for.  It turns idle only
 * with empty rings and buffers, after it saw that no job is left and the pool
 * empty, and stops being idle before it takes a buffer.  Whoever sees all
 * registered markers idle sets `over` with a CAS on the same word.
 * That is right: only markers that aren't idle push.  Let all be idle, and
 * consider the last push to the pool: the marker that did it saw the pool
 * empty later, before it turned idle, and nobody has pushed since; so the
 * pool is empty.  Jobs only get fewer, and each marker saw none.  A newcomer
 * brings no work.
 *
 * A helper leaves by unregistering.  The next phase begins when the last
 * has: a helper that is slow to leave delays nobody else.
 *
 * Overflow.  When no buffer can be had an item is dropped: its object is
 * marked but never scanned.  After termination the leader walks the heap and
 * scans every marked object once more, draining after each, until a walk
 * drops nothing.  A walk that drops has marked something new, or has moved a
 * large object's scan on, so there is an end; depth-first order keeps the
 * number of walks small.
 */
#define MPGI_GC_INSIDE 1
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <arch/os.h>
#include <gc/mark_private.h>

#define KEEP_BYTES ((size_t) 1 << 20) /* of buffers, between cycles */
#define CALL_BUSY 4096                /* work before others are called */
#define SPINS_BUSY 200
#define SPINS_YIELD 400
#define NAP_NS 100000

#define STATE_MARKERS UINT64_C(0xffff)
#define STATE_IDLE_SHIFT 16
#define STATE_IDLE_ONE (UINT64_C(1) << STATE_IDLE_SHIFT)
#define STATE_OVER (UINT64_C(1) << 32)
#define STATE_CALLED (UINT64_C(1) << 33)

static struct {
  _Atomic uint64_t state;
  _Atomic uint32_t turn; /* futex: bumped when idle markers should look */
  _Atomic uint32_t napping;
  _Atomic uint32_t arrivals;
  _Atomic bool overflow;
  mpgi_mark_job *job; /* constant during a phase, like n */
  size_t n;
  _Atomic size_t next_job;
  unsigned wanted; /* markers, until they have been called; the leader */
  _Atomic uint64_t objects, bytes, root_bytes, cpu_ns;
  struct mpgi_marker *marker; /* MPGI_MARKERS_MAX of them; no heap address */
} phase;

const struct mpgi_mark_ops *mpgi_mark_ops = &mpgi_mark_scalar;
_Atomic bool mpgi_mark_interior = true;

/* The loops of this phase.  Constant during one. */
static const struct mpgi_mark_ops *ops(void) {
  return atomic_load_explicit(&mpgi_mark_interior, memory_order_relaxed)
             ? mpgi_mark_ops
             : mpgi_mark_ops->exact;
}

struct mpgi_mark_class mpgi_mark_class[MPGI_ENTRY_SORT_MASK + 1];

static mpgi_item item_bits(const struct mpgi_class *c, unsigned kind,
                           unsigned sort) {
  unsigned words = c->usable / sizeof(uintptr_t);
  if (kind == MPGI_KIND_TYPED) words++; /* its type */
  bool small = kind == MPGI_KIND_SCAN && words > 0 && words <= MPGI_SMALL_WORDS;
  if (words == 0 || words > MPGI_ITEM_REACH_MASK) words = MPGI_ITEM_REACH_MASK;
  return MPGI_ITEM_SET | (uint64_t) sort << MPGI_ITEM_CLASS_SHIFT | words |
         (small ? 0 : MPGI_ITEM_LOOK);
}

static struct mpgi_mark_class class_of(const struct mpgi_class *c,
                                       unsigned kind, unsigned sort) {
  return (struct mpgi_mark_class){
      .magic = c->magic,
      .bytes = (uint16_t) c->bytes,
      .usable = (uint16_t) (kind == MPGI_KIND_SCAN ? c->usable : 0),
      .item = item_bits(c, kind, sort)};
}

static void classes_init(void) {
  for (unsigned kind = 0; kind < MPGI_KIND_COUNT; kind++)
    for (unsigned i = 0; i < MPGI_CLASSES; i++) {
      unsigned sort = kind << MPGI_ENTRY_KIND_SHIFT | i;
      mpgi_mark_class[sort] = class_of(&mpgi_class[i], kind, sort);
    }
}

static unsigned state_markers(uint64_t s) {
  return (unsigned) (s & STATE_MARKERS);
}
static unsigned state_idle(uint64_t s) {
  return (unsigned) (s >> STATE_IDLE_SHIFT & STATE_MARKERS);
}

int mpgi_mark_init(size_t heap_bytes) {
  size_t bytes = MPGI_MARKERS_MAX * sizeof(struct mpgi_marker);
  int rc = mpgi_workbuf_init(heap_bytes);
  if (rc != 0) return rc;
  classes_init();
  bytes = (bytes + mpgi_os_page_bytes - 1) & ~(mpgi_os_page_bytes - 1);
  if (phase.marker == NULL)
    phase.marker = mpgi_os_mem_map(bytes, mpgi_os_page_bytes);
  if (phase.marker == NULL) return -ENOMEM;
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2"))
    mpgi_mark_ops = &mpgi_mark_avx512;
  else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"))
    mpgi_mark_ops = &mpgi_mark_avx2;
  atomic_store(&phase.state, STATE_OVER);
  return 0;
}

/* ---- moving buffers ---- */

/* Tell a napping marker that the pool has something. */
static void pool_announce(void) {
  if (atomic_load(&phase.napping) == 0) return;
  MPGI_CHAOS();
  atomic_fetch_add(&phase.turn, 1);
  mpgi_os_futex_wake(&phase.turn, 1);
}

/* The current buffer becomes the spare one, the old spare is given away.
 * Without a buffer for that, what is on top of the current one is dropped. */
void mpgi_mark_make_room(struct mpgi_marker *m, uint32_t n) {
  MPG_ASSERT(n < MPGI_WORKBUF_ITEMS);
  struct mpgi_workbuf *b = m->buf, *empty = m->spare;
  if (b->n + n <= MPGI_WORKBUF_ITEMS) return;
  if (empty->n > 0) {
    empty = mpgi_workbuf_empty_get();
    if (empty == NULL) {
      atomic_store(&phase.overflow, true);
      b->n = (uint32_t) MPGI_WORKBUF_ITEMS - n;
      return;
    }
    mpgi_workbuf_full_put(m->spare);
    pool_announce();
  }
  m->spare = b;
  m->buf = empty;
}

void mpgi_mark_push(struct mpgi_marker *m, mpgi_item it) {
  mpgi_mark_make_room(m, 1);
  m->buf->item[m->buf->n++] = it;
}

bool mpgi_mark_refill(struct mpgi_marker *m) {
  struct mpgi_workbuf *b = m->buf;
  MPG_ASSERT(b->n == 0);
  if (m->spare->n > 0) {
    m->buf = m->spare;
    m->spare = b;
    return true;
  }
  struct mpgi_workbuf *full = mpgi_workbuf_full_get();
  if (full == NULL) return false;
  mpgi_workbuf_empty_put(b);
  m->buf = full;
  return true;
}

/* Somebody is idle and the pool is empty: give half of what we have, the
 * oldest half, which leads to most. */
static void share(struct mpgi_marker *m) {
  uint32_t half = m->buf->n / 2;
  if (m->spare->n == 0 && half == 0) return;
  struct mpgi_workbuf *b = mpgi_workbuf_empty_get();
  if (b == NULL) return;
  if (m->spare->n > 0) {
    struct mpgi_workbuf *give = m->spare;
    m->spare = b;
    b = give;
  } else {
    memcpy(b->item, m->buf->item, half * sizeof b->item[0]);
    m->buf->n -= half;
    memmove(m->buf->item, m->buf->item + half, m->buf->n * sizeof b->item[0]);
    b->n = half;
  }
  mpgi_workbuf_full_put(b);
  pool_announce();
}

/* The leader marks alone until there is enough to do: waking a thread costs as
 * much as marking a thousand objects. */
static void helpers_call(struct mpgi_marker *m) {
  unsigned n = phase.wanted - 1;
  m->alone = false;
  phase.wanted = 1;
  MPGI_CHAOS();
  atomic_fetch_or(&phase.state, STATE_CALLED); /* [mark.alone] */
  MPGI_CHAOS();
  unsigned got = mpgi_gc_world.recruit(n);
  MPGI_CHAOS();
  if (got < n) mpgi_workers_wake(n - got);
}

void mpgi_mark_look(struct mpgi_marker *m) {
  m->look_at = m->busy + MPGI_MARK_LOOK;
  if (m->alone) {
    if (m->busy >= CALL_BUSY && phase.wanted > 1) helpers_call(m);
  } else if (state_idle(mpgi_load(&phase.state)) > 0 &&
             !mpgi_workbuf_full_any()) {
    share(m);
  }
}

/* ---- a marker's life ---- */

/* The calling thread's marker; NULL: there are no buffers for one more. */
static struct mpgi_marker *marker_begin(void) {
  uint32_t i = atomic_fetch_add(&phase.arrivals, 1);
  if (i >= MPGI_MARKERS_MAX) return NULL;
  struct mpgi_marker *m = &phase.marker[i];
  memset(m, 0, offsetof(struct mpgi_marker, grey));
  m->buf = mpgi_workbuf_empty_get();
  m->spare = mpgi_workbuf_empty_get();
  if (m->buf == NULL || m->spare == NULL) {
    if (m->buf != NULL) mpgi_workbuf_empty_put(m->buf);
    if (m->spare != NULL) mpgi_workbuf_empty_put(m->spare);
    return NULL;
  }
  m->clock = mpgi_os_thread_clock();
  m->clock_start = mpgi_os_clock_read(m->clock);
  return m;
}

static void cpu_report(struct mpgi_marker *m) {
  int64_t now = mpgi_os_clock_read(m->clock);
  if (now <= m->clock_start) return;
  mpgi_add(&phase.cpu_ns, (uint64_t) (now - m->clock_start));
  m->clock_start = now;
}

/* Before it goes idle: the leader reads when all are, without waiting for
 * helpers to leave.  Pairs with idle's operations on `state`. */
static void marker_report(struct mpgi_marker *m) {
  mpgi_add(&phase.objects, m->objects);
  mpgi_add(&phase.bytes, m->bytes);
  mpgi_add(&phase.root_bytes, m->root_bytes);
  m->objects = m->bytes = m->root_bytes = 0;
  cpu_report(m);
}

static void marker_end(struct mpgi_marker *m) {
  MPG_ASSERT(m->buf->n == 0 && m->spare->n == 0);
  MPG_ASSERT(m->n_grey + m->n_candidates + m->n_pending == 0);
  cpu_report(m); /* a helper's last wait may come too late to be counted */
  mpgi_workbuf_empty_put(m->buf);
  mpgi_workbuf_empty_put(m->spare);
}

static bool work_is_visible(void) {
  return mpgi_workbuf_full_any() || atomic_load(&phase.next_job) < phase.n;
}

static void nap(unsigned spins) {
  if (spins < SPINS_BUSY) {
    mpgi_arch_relax();
  } else if (spins < SPINS_YIELD) {
    mpgi_os_yield();
  } else {
    uint32_t turn = atomic_load(&phase.turn);
    MPGI_CHAOS();
    atomic_fetch_add(&phase.napping, 1);
    if (!work_is_visible() && !(mpgi_load(&phase.state) & STATE_OVER))
      mpgi_os_futex_wait(&phase.turn, turn, NAP_NS);
    atomic_fetch_sub(&phase.napping, 1);
  }
}

/* Nothing left here.  True: there is something again; false: all is over. */
static bool idle(void) {
  uint64_t s = atomic_fetch_add(&phase.state, STATE_IDLE_ONE) + STATE_IDLE_ONE;
  for (unsigned spins = 0;; spins++) {
    MPG_ASSERT(state_idle(s) <= state_markers(s));
    MPGI_CHAOS();
    if (s & STATE_OVER) return false;
    if (work_is_visible()) {
      MPGI_CHAOS();
      if (atomic_compare_exchange_weak(&phase.state, &s, s - STATE_IDLE_ONE))
        return true;
      continue;
    }
    if (state_idle(s) == state_markers(s)) {
      MPGI_CHAOS();
      if (!atomic_compare_exchange_weak(&phase.state, &s, s | STATE_OVER))
        continue;
      atomic_fetch_add(&phase.turn, 1);
      mpgi_os_futex_wake(&phase.turn, MPGI_MARKERS_MAX);
      return false;
    }
    nap(spins);
    s = atomic_load(&phase.state);
  }
}

static void visit(void *arg, const void *lo, const void *hi) {
  ops()->range(arg, (uintptr_t) lo, (uintptr_t) hi);
}

static void work(struct mpgi_marker *m) {
  do {
    size_t i;
    while (atomic_load(&phase.next_job) < phase.n &&
           (i = atomic_fetch_add(&phase.next_job, 1)) < phase.n) {
      MPGI_CHAOS();
      phase.job(i, visit, m);
      ops()->drain(m);
    }
    ops()->drain(m);
    marker_report(m);
  } while (idle());
}

void mpgi_mark_join(void) {
  uint64_t s = atomic_load(&phase.state);
  do
    if ((s & STATE_OVER) || !(s & STATE_CALLED)) return;
  while (!atomic_compare_exchange_weak(&phase.state, &s, s + 1));
  MPGI_CHAOS();
  MPG_ASSERT(state_markers(s) > 0); /* the leader is among them */
  struct mpgi_marker *m = marker_begin();
  uint64_t leave = 1;
  if (m != NULL) {
    work(m);
    marker_end(m);
    leave += STATE_IDLE_ONE;
  }
  MPGI_CHAOS();
  atomic_fetch_sub(&phase.state, leave);
}

/* ---- recovery ---- */

static void rescan_span(void *arg, struct mpgi_span *s) {
  struct mpgi_marker *m = arg;
  struct mpgi_pair *pair = mpgi_span_pairs(s);
  if (s->kind == MPGI_KIND_NOSCAN) return;
  for (unsigned w = 0; w < mpgi_span_words(s); w++)
    for (uint64_t marks = mpgi_load(&pair[w].mark); marks != 0;
         marks &= marks - 1) {
      uint32_t i = w * 64 + (uint32_t) __builtin_ctzll(marks);
      ops()->scan(m, mpgi_item_of(mpgi_span_cell(s, i) - mpgi_heap.lo, s->class,
                                  s->kind));
      ops()->drain(m);
    }
}

static unsigned recover(struct mpgi_marker *m) {
  unsigned walks = 0;
  m->alone = true; /* the others are over */
  phase.wanted = 1;
  while (atomic_exchange(&phase.overflow, false)) {
    mpgi_span_each(rescan_span, m);
    walks++;
  }
  marker_report(m);
  return walks;
}

/* ---- the phase ---- */

/* Helpers of the last phase are gone. */
static void wait_for_helpers(void) {
  while (state_markers(atomic_load(&phase.state)) > 0) mpgi_os_yield();
}

void mpgi_mark_run(mpgi_mark_job *job, size_t n, unsigned wanted,
                   struct mpgi_mark_result *out) {
  wait_for_helpers();
  MPG_ASSERT(atomic_load(&phase.state) & STATE_OVER);
  MPG_ASSERT(wanted >= 1);
  phase.job = job;
  phase.n = n;
  phase.wanted = wanted;
  atomic_store(&phase.next_job, 0);
  atomic_store(&phase.arrivals, 0);
  atomic_store(&phase.overflow, false);
  mpgi_store(&phase.objects, 0);
  mpgi_store(&phase.bytes, 0);
  mpgi_store(&phase.root_bytes, 0);
  mpgi_store(&phase.cpu_ns, 0);
  struct mpgi_marker *m = marker_begin();
  MPG_VERIFY(m != NULL); /* workbuf_init committed two */
  m->alone = true;
  atomic_store(&phase.state, 1);
  MPGI_CHAOS();
  work(m);
  out->recoveries = recover(m);
  marker_end(m);
  uint32_t arrivals = atomic_load(&phase.arrivals);
  out->markers = arrivals < MPGI_MARKERS_MAX ? arrivals : MPGI_MARKERS_MAX;
  out->objects = mpgi_load(&phase.objects);
  out->bytes = mpgi_load(&phase.bytes);
  out->root_bytes = mpgi_load(&phase.root_bytes);
  out->cpu_ns = mpgi_load(&phase.cpu_ns);
  MPGI_CHAOS();
  atomic_fetch_sub(&phase.state, STATE_IDLE_ONE + 1);
}

void mpgi_mark_trim(void) {
  if (mpgi_workbuf_bytes() <= KEEP_BYTES) return;
  wait_for_helpers();
  MPGI_CHAOS();
  mpgi_workbuf_reset(KEEP_BYTES);
}

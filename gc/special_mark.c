/* special_mark.c - who dies, and what is kept for finalizers.
 *
 * After marking from the roots, still with the world stopped:
 *   1  decide: an object with a finalizer that has no mark is dead; weak
 *      references to objects without a mark are cleared
 *   2  mark what dead objects with finalizers reach, but not themselves:
 *      finalizers need it
 *   3  a dead one that still has no mark is reached by no other: its finalizer
 *      goes to the queue, and it is marked, because it is passed to it
 *      (or it goes itself to a cleanup queue: cleanup.c)
 *   4  records of references and maps that themselves have no mark are freed,
 *      entries of weak maps whose key or map has none, samples of the profile
 * After each marking the values of weak maps are marked that are reachable
 * now (ephemeron.c).
 * The others of 3 wait: they are reached by one that was queued now, which
 * stays a root until its finalizer has returned, or by one that waits, too.
 * So when A reaches B, B's finalizer runs after A's returned.
 *
 * When nothing was queued although some are dead, they reach each other in a
 * cycle; they are never finalized, and kept.  That is what Boehm and Go do;
 * it is reported, as Boehm's does, when there are twice as many of them as the
 * last time.  A pointer of an object into itself makes no cycle (Go: it does).
 *
 * Weak references are cleared in 1, so an object that a finalizer brings back
 * has none any more, and neither has what only finalizers reach.
 *
 * The lock is not taken: nobody holds it.  Nothing allocates.
 */
#define MPGI_GC_INSIDE 1
#include <string.h>

#include <arch/common/options.h>
#include <gc/special.h>

static struct {
  uint32_t waiting; /* dead in the last cycle, and not queued */
  bool cycle;       /* because they reach each other */
  uint32_t reported;
  void (*fn)(void *obj, void *arg); /* of one of them */
} last;

/* ---- roots ---- */

static size_t chunks(void) { return mpgi_special_made() / MPGI_SPECIAL_CHUNK; }

static bool any_of(enum mpgi_special_kind a, enum mpgi_special_kind b) {
  return mpgi_special_count(a) > 0 || mpgi_special_count(b) > 0;
}

size_t mpgi_special_jobs_stw(void) {
  return mpgi_finalizer_any() ||
                 any_of(MPGI_SPECIAL_CLEANUP, MPGI_SPECIAL_DELIVERED) ||
                 mpgi_special_count(MPGI_SPECIAL_ROOT) > 0
             ? chunks()
             : 0;
}

void mpgi_special_job(size_t i, mpgi_visit *visit, void *arg) {
  struct mpgi_special *s = mpgi_special_at((uint32_t) i * MPGI_SPECIAL_CHUNK);
  for (struct mpgi_special *end = s + MPGI_SPECIAL_CHUNK; s < end; s++) {
    if (s->kind == MPGI_SPECIAL_FINALIZER || s->kind == MPGI_SPECIAL_READY)
      visit(arg, &s->fin.arg, &s->fin.arg + 1);
    if (s->kind == MPGI_SPECIAL_CLEANUP || s->kind == MPGI_SPECIAL_DELIVERED)
      visit(arg, &s->cleanup.node, &s->cleanup.node + 1);
    if (s->kind == MPGI_SPECIAL_ROOT || s->kind == MPGI_SPECIAL_READY ||
        s->kind == MPGI_SPECIAL_DELIVERED)
      visit(arg, &s->base, &s->base + 1);
  }
}

void mpgi_special_values(mpgi_visit *visit, void *arg) {
  if (mpgi_special_count(MPGI_SPECIAL_ENTRY) == 0) return;
  uint32_t n = mpgi_special_made();
  for (uint32_t i = 0; i < n; i++) {
    struct mpgi_special *s = mpgi_special_at(i);
    if (s->kind == MPGI_SPECIAL_ENTRY)
      visit(arg, &s->entry.value, &s->entry.value + 1);
  }
}

static const struct mpgi_special *unkept(const struct mpgi_special *s) {
  if (s->kind == MPGI_SPECIAL_CLEANUP) return mpgi_cleanup_queue_of(s);
  return s->kind == MPGI_SPECIAL_WEAK ? s : NULL;
}

void mpgi_special_unkept_stw(mpgi_visit *visit, void *arg) {
  uint32_t n = mpgi_special_made();
  mpgi_special_values(visit, arg);
  for (uint32_t i = 0; i < n; i++) {
    const struct mpgi_special *s = unkept(mpgi_special_at(i));
    if (s != NULL) visit(arg, &s->base, &s->base + 1);
  }
}

/* ---- marks ---- */

static _Atomic uint64_t *mark_word(uintptr_t base, uint64_t *bit,
                                   struct mpgi_cell *cell) {
  bool found = mpgi_cell_find(base, cell);
  MPG_VERIFY(found && cell->base == base); /* [special.live] */
  *bit = UINT64_C(1) << cell->index % 64;
  return &mpgi_span_pairs(cell->span)[cell->index / 64].mark;
}

bool mpgi_special_is_marked(uintptr_t base) {
  struct mpgi_cell cell;
  uint64_t bit;
  return (mpgi_load(mark_word(base, &bit, &cell)) & bit) != 0;
}

static void mark(uintptr_t base, struct mpgi_mark_result *marked) {
  struct mpgi_cell cell;
  uint64_t bit;
  _Atomic uint64_t *word = mark_word(base, &bit, &cell);
  atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
  marked->objects++;
  marked->bytes += mpgi_span_cell_bytes(cell.span);
}

/* ---- contents ---- */

/* Words of [lo, hi) that aren't in the object at [base, end). */
MPGI_NO_SANITIZE static void words_outside(const uintptr_t *lo,
                                           const uintptr_t *hi, uintptr_t base,
                                           uintptr_t end, mpgi_visit *visit,
                                           void *arg) {
  for (const uintptr_t *at = lo; at < hi; at++)
    if (*(const volatile uintptr_t *) at - base < end - base) {
      if (lo < at) visit(arg, lo, at);
      lo = at + 1;
    }
  if (lo < hi) visit(arg, lo, hi);
}

static void typed_contents(const struct mpgi_cell *cell, uintptr_t end,
                           mpgi_visit *visit, void *arg) {
  const struct mpgi_type *t = mpgi_type_get(cell);
  size_t usable = mpgi_cell_usable(cell);
  if (t == NULL || t->bytes == 0) return;
  for (size_t at = 0; usable - at >= t->bytes; at += t->bytes)
    for (size_t i = 0; i < t->n; i++) {
      const uintptr_t *w = (const uintptr_t *) (cell->base + at + t->offset[i]);
      words_outside(w, w + 1, cell->base, end, visit, arg);
    }
}

void mpgi_special_contents(const struct mpgi_cell *cell, mpgi_visit *visit,
                           void *arg) {
  uintptr_t end = cell->base + mpgi_span_cell_bytes(cell->span);
  size_t usable = mpgi_cell_usable(cell) & ~(sizeof(uintptr_t) - 1);
  const uintptr_t *words = (const uintptr_t *) cell->base;
  switch (cell->span->kind) {
  case MPGI_KIND_SCAN:
    words_outside(words, words + usable / sizeof *words, cell->base, end, visit,
                  arg);
    break;
  case MPGI_KIND_TYPED: typed_contents(cell, end, visit, arg); break;
  default: break;
  }
}

static void contents(const struct mpgi_special *s, mpgi_visit *visit,
                     void *arg) {
  struct mpgi_cell cell;
  bool found = mpgi_cell_find(s->base, &cell);
  MPG_VERIFY(found);
  mpgi_special_contents(&cell, visit, arg);
}

/* Somebody wants to have it when it is dead. */
static bool is_mourned(const struct mpgi_special *s) {
  return s->kind == MPGI_SPECIAL_FINALIZER || s->kind == MPGI_SPECIAL_CLEANUP;
}

static bool is_dead(const struct mpgi_special *s) {
  return is_mourned(s) && s->dead;
}

static void contents_job(size_t i, mpgi_visit *visit, void *arg) {
  struct mpgi_special *s = mpgi_special_at((uint32_t) i * MPGI_SPECIAL_CHUNK);
  for (struct mpgi_special *end = s + MPGI_SPECIAL_CHUNK; s < end; s++)
    if (is_dead(s)) contents(s, visit, arg);
}

/* ---- the steps ---- */

static void reset(uint32_t n) {
  if (!mpgi_finalizer_any() &&
      !any_of(MPGI_SPECIAL_CLEANUP, MPGI_SPECIAL_DELIVERED) &&
      mpgi_special_count(MPGI_SPECIAL_ENTRY) == 0)
    return; /* nobody else is ever dead */
  for (uint32_t i = 0; i < n; i++) mpgi_special_at(i)->dead = false;
}

/* Its queue is gone, or going. */
static bool is_unwanted(const struct mpgi_special *s) {
  const struct mpgi_special *q = mpgi_cleanup_queue_of(s);
  return q == NULL || !mpgi_special_is_marked(q->base);
}

/* Step 1; returns the number of dead that somebody wants. */
static uint32_t decide(uint32_t n) {
  uint32_t dead = 0;
  if (!any_of(MPGI_SPECIAL_FINALIZER, MPGI_SPECIAL_WEAK) &&
      mpgi_special_count(MPGI_SPECIAL_CLEANUP) == 0)
    return 0;
  for (uint32_t i = 0; i < n; i++) {
    struct mpgi_special *s = mpgi_special_at(i);
    if (s->kind == MPGI_SPECIAL_CLEANUP && is_unwanted(s))
      mpgi_special_remove_locked(s);
    else if (is_mourned(s))
      dead += s->dead = !mpgi_special_is_marked(s->base);
    else if (s->kind == MPGI_SPECIAL_WEAK && !mpgi_special_is_marked(s->base))
      mpgi_weak_break_locked(s);
  }
  return dead;
}

void mpgi_special_mark_jobs(mpgi_mark_job *job, unsigned markers,
                            struct mpgi_mark_result *marked) {
  struct mpgi_mark_result more;
  mpgi_mark_run(job, chunks(), markers, &more);
  marked->objects += more.objects;
  marked->bytes += more.bytes;
  marked->cpu_ns += more.cpu_ns;
  marked->recoveries += more.recoveries;
}

/* Step 3. */
static void queue(uint32_t n, struct mpgi_mark_result *marked) {
  uint32_t queued = 0;
  for (uint32_t i = 0; i < n; i++) {
    struct mpgi_special *s = mpgi_special_at(i);
    if (!is_dead(s)) continue;
    bool cleanup = s->kind == MPGI_SPECIAL_CLEANUP;
    if (mpgi_special_is_marked(s->base)) {
      last.waiting++;
      if (!cleanup) last.fn = s->fin.fn;
      continue;
    }
    mark(s->base, marked);
    if (cleanup)
      mpgi_special_deliver_locked(s);
    else
      mpgi_special_queue_locked(s);
    queued++;
  }
  last.cycle = queued == 0;
}

/* Step 4. */
static void forget(uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    struct mpgi_special *s = mpgi_special_at(i), *map;
    switch (s->kind) {
    case MPGI_SPECIAL_HANDLE:
      if (!mpgi_special_is_marked(s->base)) mpgi_weak_break_locked(s);
      break;
    case MPGI_SPECIAL_QUEUE:
    case MPGI_SPECIAL_MAP:
      if (!mpgi_special_is_marked(s->base)) mpgi_special_remove_locked(s);
      break;
    case MPGI_SPECIAL_ENTRY:
      map = mpgi_weakmap_of(s);
      if (map == NULL || !mpgi_special_is_marked(map->base) ||
          !mpgi_special_is_marked(s->base))
        mpgi_weakmap_entry_remove_locked(s);
      break;
    case MPGI_SPECIAL_PROFILE:
      if (!mpgi_special_is_marked(s->base)) mpgi_profile_freed_locked(s);
      break;
    default: break;
    }
  }
}

static bool forgettable(void) {
  return any_of(MPGI_SPECIAL_HANDLE, MPGI_SPECIAL_MAP) ||
         any_of(MPGI_SPECIAL_ENTRY, MPGI_SPECIAL_PROFILE) ||
         mpgi_special_count(MPGI_SPECIAL_QUEUE) > 0;
}

void mpgi_special_mark_stw(unsigned markers, struct mpgi_mark_result *marked) {
  uint32_t n = mpgi_special_made();
  last.waiting = 0;
  if (n == mpgi_special_count(MPGI_SPECIAL_FREE)) return;
  reset(n);
  mpgi_ephemeron_mark_stw(markers, marked);
  if (decide(n) > 0) {
    mpgi_special_mark_jobs(contents_job, markers, marked);
    mpgi_ephemeron_mark_stw(markers, marked);
    queue(n, marked);
    mpgi_ephemeron_mark_stw(markers, marked); /* keys among the queued */
  }
  if (forgettable()) forget(n);
}

void mpgi_special_report(void) {
  mpgi_cleanup_deliver();
  bool stuck = last.waiting > 0 && last.cycle;
  uint32_t n = stuck ? last.waiting : 0;
  if (mpgi_opt.finalizercycles == 0 || n == 0 || n / 2 < last.reported) return;
  mpgi_print(2,
             "mpg: %u objects with finalizers reach each other and are "
             "never finalized (one's finalizer: %p)\n",
             n, (void *) (uintptr_t) last.fn);
  last.reported = n;
}

/* ---- a second opinion ---- */

/* Queued by this cycle. */
static bool is_fresh(const struct mpgi_special *s) {
  return (s->kind == MPGI_SPECIAL_READY || s->kind == MPGI_SPECIAL_DELIVERED) &&
         s->dead;
}

uint64_t mpgi_special_verify_stw(const struct mpgi_special_marker *m) {
  uint32_t n = mpgi_special_made();
  uint64_t wrong = 0;
  mpgi_ephemeron_verify_stw(m);
  for (uint32_t i = 0; i < n; i++) {
    const struct mpgi_special *s = mpgi_special_at(i);
    if (is_mourned(s) || is_fresh(s))
      wrong += m->seen(s->base) == s->dead;
    else if (s->kind == MPGI_SPECIAL_WEAK)
      wrong += !m->seen(s->base);
  }
  for (uint32_t i = 0; i < n; i++) {
    const struct mpgi_special *s = mpgi_special_at(i);
    if (is_dead(s) || is_fresh(s)) contents(s, m->words, NULL);
  }
  m->drain();
  mpgi_ephemeron_verify_stw(m);
  for (uint32_t i = 0; i < n; i++) {
    const struct mpgi_special *s = mpgi_special_at(i);
    wrong += is_fresh(s) && m->seen(s->base);
  }
  for (uint32_t i = 0; i < n; i++)
    if (is_fresh(mpgi_special_at(i))) m->reach(mpgi_special_at(i)->base);
  m->drain();
  /* A dead one waits because others lead to it, or wanted it first. */
  for (uint32_t i = 0; i < n; i++)
    wrong += is_dead(mpgi_special_at(i)) && !m->seen(mpgi_special_at(i)->base);
  mpgi_ephemeron_verify_stw(m);
  return wrong;
}

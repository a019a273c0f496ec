/* ephemeron.c - marking through weak maps.
 *
 * The value of an entry is marked when its map and its key are; that may mark
 * further keys and maps, so it is repeated until nothing changes.
 *
 *   1  Rounds: walk the entries, mark the values of those that have become
 *      due with the usual markers, all of them at once.  Nearly always two
 *      are enough.
 *   2  A chain in which each value leads to the next key would need a round
 *      for each entry: quadratic.  After ROUNDS the rest is done by following
 *      one object at a time, on a stack of our own: whenever it marks an
 *      object that is a key or a map, the entries concerned are looked at.
 *      Each object and each entry then costs a constant: linear.
 *
 * The second way needs memory for its stack and an index of entries by map,
 * taken from the system.  Without that, rounds go on: slow, but right.
 *
 * With the world stopped; one thread but for the markers of the rounds.
 */
#define MPGI_GC_INSIDE 1
#include <arch/os.h>
#include <gc/special.h>

#define ROUNDS 4

/* ---- rounds ---- */

/* Is the entry's value to be marked, and was not before?  `dead`: it was. */
static bool is_due(const struct mpgi_special *s) {
  const struct mpgi_special *map;
  return s->kind == MPGI_SPECIAL_ENTRY && !s->dead &&
         mpgi_special_is_marked(s->base) &&
         (map = mpgi_weakmap_of(s)) != NULL &&
         mpgi_special_is_marked(map->base);
}

/* `waiting` says: due in this round. */
static uint32_t choose(uint32_t n) {
  uint32_t due = 0;
  for (uint32_t i = 0; i < n; i++) {
    struct mpgi_special *s = mpgi_special_at(i);
    if (s->kind != MPGI_SPECIAL_ENTRY) continue;
    s->waiting = is_due(s);
    due += s->waiting;
    s->dead |= s->waiting;
  }
  return due;
}

static void values_job(size_t i, mpgi_visit *visit, void *arg) {
  struct mpgi_special *s = mpgi_special_at((uint32_t) i * MPGI_SPECIAL_CHUNK);
  for (struct mpgi_special *end = s + MPGI_SPECIAL_CHUNK; s < end; s++)
    if (s->kind == MPGI_SPECIAL_ENTRY && s->waiting)
      visit(arg, &s->entry.value, &s->entry.value + 1);
}

/* ---- one object at a time ---- */

static struct {
  uintptr_t *stack; /* starts of marked objects, to be scanned */
  size_t depth, stack_bytes;
  /* Entries by the number of their map: of map m, index[first[m]] up to
   * index[first[m + 1]]. */
  uint32_t *first, *index;
  size_t index_bytes;
  struct mpgi_mark_result *marked;
} f MPGI_NOROOT;

static void *map(size_t *bytes) {
  *bytes = (*bytes + mpgi_os_page_bytes) & ~(mpgi_os_page_bytes - 1);
  return mpgi_os_mem_map(*bytes, mpgi_os_page_bytes);
}

/* Objects without a mark: each may come on the stack once. */
static void count_white(void *arg, struct mpgi_span *s) {
  const struct mpgi_pair *pair = mpgi_span_pairs(s);
  for (unsigned w = 0; w < mpgi_span_words(s); w++)
    *(size_t *) arg += (size_t) __builtin_popcountll(mpgi_load(&pair[w].alloc) &
                                                     ~mpgi_load(&pair[w].mark));
}

static void index_fill(uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    const struct mpgi_special *s = mpgi_special_at(i);
    if (s->kind == MPGI_SPECIAL_ENTRY) f.first[s->entry.map + 1]++;
  }
  for (uint32_t m = 0; m < n; m++) f.first[m + 1] += f.first[m];
  /* Filled from the end of each map's part, so that first[m] comes out right
   * once it has been moved down. */
  for (uint32_t i = 0; i < n; i++) {
    const struct mpgi_special *s = mpgi_special_at(i);
    if (s->kind == MPGI_SPECIAL_ENTRY) f.index[--f.first[s->entry.map + 1]] = i;
  }
  for (uint32_t m = 0; m < n; m++) f.first[m] = f.first[m + 1];
  f.first[n] = mpgi_special_count(MPGI_SPECIAL_ENTRY);
}

static bool follow_begin(uint32_t n, struct mpgi_mark_result *marked) {
  size_t white = 0, entries = mpgi_special_count(MPGI_SPECIAL_ENTRY);
  mpgi_span_each(count_white, &white);
  f.stack_bytes = (white + 1) * sizeof *f.stack;
  f.index_bytes = (n + 1 + entries) * sizeof *f.index;
  f.depth = 0;
  f.marked = marked;
  f.stack = map(&f.stack_bytes);
  f.first = map(&f.index_bytes);
  if (f.stack == NULL || f.first == NULL) return false;
  f.index = f.first + n + 1;
  index_fill(n);
  return true;
}

static void follow_end(void) {
  if (f.stack != NULL) mpgi_os_mem_unmap(f.stack, f.stack_bytes);
  if (f.first != NULL) mpgi_os_mem_unmap(f.first, f.index_bytes);
}

/* Mark what the word refers to and remember to scan it. */
static void follow_word(uintptr_t word, bool interior) {
  struct mpgi_cell c;
  if (!mpgi_cell_find(word, &c) || c.index >= c.span->objects) return;
  if (!interior && c.base != word) return;
  struct mpgi_pair *pair = &mpgi_span_pairs(c.span)[c.index / 64];
  uint64_t bit = UINT64_C(1) << c.index % 64;
  if (!(mpgi_load(&pair->alloc) & ~mpgi_load(&pair->mark) & bit)) return;
  atomic_fetch_or_explicit(&pair->mark, bit, memory_order_relaxed);
  f.marked->objects++;
  f.marked->bytes += mpgi_span_cell_bytes(c.span);
  MPG_VERIFY((f.depth + 1) * sizeof *f.stack <= f.stack_bytes);
  f.stack[f.depth++] = c.base;
}

MPGI_NO_SANITIZE static void follow_words(void *arg, const void *lo,
                                          const void *hi) {
  bool interior = atomic_load(&mpgi_mark_interior);
  (void) arg;
  for (const uintptr_t *at = lo; at < (const uintptr_t *) hi; at++)
    follow_word(*(const volatile uintptr_t *) at, interior);
}

static void entry_look(struct mpgi_special *s) {
  if (!is_due(s)) return;
  s->dead = true;
  follow_word((uintptr_t) s->entry.value, true);
}

/* The object at base has been marked: is it a key or a map? */
static void object_look(const struct mpgi_cell *c) {
  if (!mpgi_special_maybe(c)) return;
  for (struct mpgi_special *s = mpgi_special_first(c->base); s != NULL;
       s = mpgi_special_next(s, c->base))
    if (s->kind == MPGI_SPECIAL_ENTRY) {
      entry_look(s);
    } else if (s->kind == MPGI_SPECIAL_MAP) {
      uint32_t m = s->map.number;
      for (uint32_t i = f.first[m]; i < f.first[m + 1]; i++)
        entry_look(mpgi_special_at(f.index[i]));
    }
}

static void follow_all(void) {
  struct mpgi_cell c;
  while (f.depth > 0) {
    bool found = mpgi_cell_find(f.stack[--f.depth], &c);
    MPG_ASSERT(found);
    (void) found;
    object_look(&c);
    mpgi_special_contents(&c, follow_words, NULL);
  }
}

static bool follow(uint32_t n, struct mpgi_mark_result *marked) {
  bool ok = follow_begin(n, marked);
  if (ok)
    for (uint32_t i = 0; i < n; i++) {
      struct mpgi_special *s = mpgi_special_at(i);
      if (s->kind != MPGI_SPECIAL_ENTRY) continue;
      entry_look(s);
      follow_all();
    }
  follow_end();
  return ok;
}

/* ---- interface ---- */

void mpgi_ephemeron_mark_stw(unsigned markers,
                             struct mpgi_mark_result *marked) {
  uint32_t n = mpgi_special_made();
  if (mpgi_special_count(MPGI_SPECIAL_ENTRY) == 0) return;
  for (unsigned round = 0; choose(n) > 0; round++) {
    mpgi_special_mark_jobs(values_job, markers, marked);
    if (round >= ROUNDS && follow(n, marked)) return;
  }
}

/* ---- a second opinion ---- */

void mpgi_ephemeron_verify_stw(const struct mpgi_special_marker *m) {
  uint32_t n = mpgi_special_made();
  uint64_t before;
  do {
    before = m->reached();
    for (uint32_t i = 0; i < n; i++) {
      const struct mpgi_special *s = mpgi_special_at(i), *map;
      if (s->kind != MPGI_SPECIAL_ENTRY || !m->seen(s->base)) continue;
      if ((map = mpgi_weakmap_of(s)) == NULL || !m->seen(map->base)) continue;
      m->words(NULL, &s->entry.value, &s->entry.value + 1);
    }
    m->drain();
  } while (m->reached() != before);
}

/* verify.c - a second opinion on marking (MPG_DEBUG=gcverify=1).
 *
 * Slow and simple on purpose: one thread, division instead of magic numbers,
 * a walk back through the page table instead of its offsets, no rings, no
 * vectors, its own stack and bitmap.  It shares with the marker only the
 * tables it reads.
 *
 * Roots change while the collector itself runs on some of the stacks, so both
 * markers work on a copy of the root words, taken before marking.
 *
 * Everything is in mappings of its own, unmapped afterwards.  When the system
 * refuses them the cycle goes unverified, and says so.
 */
#define MPGI_GC_INSIDE 1
#include <string.h>

#include <arch/common/options.h>
#include <arch/os.h>
#include <gc/gc.h>
#include <gc/special.h>

#define PIECE_WORDS ((size_t) 32768)

static struct {
  uintptr_t *root; /* copied words */
  size_t roots, root_room;
  uint64_t *seen; /* a bit a granule of the heap */
  size_t seen_bytes;
  uintptr_t *stack; /* starts of objects to scan */
  size_t depth, stack_bytes;
  uint64_t reached; /* objects */
  bool lost;        /* no memory for the copy */
} v MPGI_NOROOT;

static void *map(size_t *bytes) {
  *bytes = (*bytes + mpgi_os_page_bytes) & ~(mpgi_os_page_bytes - 1);
  return mpgi_os_mem_map(*bytes, mpgi_os_page_bytes);
}

/* ---- copying the roots ---- */

static bool root_room(size_t words) {
  if (words <= v.root_room - v.roots) return true;
  size_t bytes = (v.roots + words) * 2 * sizeof *v.root;
  uintptr_t *more = map(&bytes);
  if (more == NULL) return false;
  if (v.root != NULL) {
    memcpy(more, v.root, v.roots * sizeof *v.root);
    mpgi_os_mem_unmap(v.root, v.root_room * sizeof *v.root);
  }
  v.root = more;
  v.root_room = bytes / sizeof *v.root;
  return true;
}

MPGI_NO_SANITIZE static void copy(void *arg, const void *lo, const void *hi) {
  uintptr_t from = ((uintptr_t) lo + 7) & ~(uintptr_t) 7;
  uintptr_t to = (uintptr_t) hi & ~(uintptr_t) 7;
  (void) arg;
  if (from >= to) return;
  if (!root_room((to - from) / 8)) {
    v.lost = true;
    return;
  }
  for (; from < to; from += 8)
    v.root[v.roots++] = *(const volatile uintptr_t *) from;
}

static void drop_roots(void) {
  if (v.root != NULL) mpgi_os_mem_unmap(v.root, v.root_room * sizeof *v.root);
  v.root = NULL;
  v.roots = v.root_room = 0;
}

size_t mpgi_verify_begin_stw(void (*job)(size_t i, mpgi_visit *visit,
                                         void *arg),
                             size_t n) {
  MPG_ASSERT(v.root == NULL);
  v.lost = false;
  for (size_t i = 0; i < n; i++) job(i, copy, NULL);
  if (v.lost) {
    drop_roots();
    mpgi_print(2, "mpg: no memory to verify this collection\n");
    return SIZE_MAX;
  }
  return (v.roots + PIECE_WORDS - 1) / PIECE_WORDS;
}

void mpgi_verify_root(size_t i, mpgi_visit *visit, void *arg) {
  size_t lo = i * PIECE_WORDS;
  size_t n = v.roots - lo < PIECE_WORDS ? v.roots - lo : PIECE_WORDS;
  MPG_ASSERT(lo < v.roots);
  visit(arg, v.root + lo, v.root + lo + n);
}

/* ---- marking naively ---- */

/* The span whose pages contain addr, by walking back to a record that does. */
static struct mpgi_span *span_of(uintptr_t addr) {
  uintptr_t off = addr - mpgi_heap.lo;
  if (off >= mpgi_heap_used()) return NULL;
  uint32_t page = (uint32_t) (off / MPGI_PAGE_BYTES);
  if (mpgi_heap_entry(page) == 0) return NULL;
  while (mpgi_heap_entry(page) >> MPGI_ENTRY_BACK_SHIFT != 0) page--;
  return &mpgi_heap.span[page];
}

/* Start of the allocated cell that contains addr; 0: none. */
static uintptr_t naive_base(uintptr_t addr, struct mpgi_span **span) {
  struct mpgi_span *s = *span = span_of(addr);
  if (s == NULL) return 0;
  uint64_t bytes = s->class == MPGI_CLASS_LARGE
                       ? (uint64_t) s->pages * MPGI_PAGE_BYTES
                       : mpgi_class[s->class].bytes;
  uint64_t i = (addr - mpgi_span_base(s)) / bytes;
  if (i >= s->objects) return 0;
  if (!(mpgi_load(&mpgi_span_pairs(s)[i / 64].alloc) >> i % 64 & 1)) return 0;
  return mpgi_span_base(s) + i * bytes;
}

static bool seen_test(uintptr_t base, bool set) {
  size_t g = (base - mpgi_heap.lo) / MPGI_GRANULE_BYTES;
  bool old = v.seen[g / 64] >> g % 64 & 1;
  if (set) v.seen[g / 64] |= UINT64_C(1) << g % 64;
  return old;
}

static void reach(uintptr_t base) {
  if (base == 0 || seen_test(base, true)) return;
  MPG_VERIFY((v.depth + 1) * sizeof *v.stack <= v.stack_bytes);
  v.stack[v.depth++] = base;
  v.reached++;
}

static void naive_word(uintptr_t word) {
  struct mpgi_span *s;
  reach(naive_base(word, &s));
}

MPGI_NO_SANITIZE static uintptr_t word_at(uintptr_t at) {
  return *(const volatile uintptr_t *) at;
}

/* A word of an object. */
static void naive_inner(uintptr_t word) {
  struct mpgi_span *s;
  uintptr_t base = naive_base(word, &s);
  if (base == word || atomic_load(&mpgi_mark_interior)) reach(base);
}

static void naive_typed(uintptr_t base, size_t bytes) {
  size_t usable = bytes - MPGI_PAD_BYTES;
  const struct mpgi_type *t = (const struct mpgi_type *) word_at(base + usable);
  if (t == NULL || t->bytes == 0) return;
  for (size_t at = 0; at + t->bytes <= usable; at += t->bytes)
    for (size_t i = 0; i < t->n; i++)
      naive_inner(word_at(base + at + t->offset[i]));
}

static void naive_scan(uintptr_t base) {
  const struct mpgi_span *s = span_of(base);
  size_t bytes = (size_t) mpgi_span_cell_bytes(s);
  if (s->kind == MPGI_KIND_TYPED)
    naive_typed(base, bytes);
  else if (s->kind == MPGI_KIND_SCAN)
    for (size_t at = 0; at < bytes; at += 8) naive_inner(word_at(base + at));
}

static void naive_drain(void) {
  while (v.depth > 0) naive_scan(v.stack[--v.depth]);
}

/* ---- for special_mark.c ---- */

static bool naive_seen(uintptr_t base) { return seen_test(base, false); }

static void naive_words(void *arg, const void *lo, const void *hi) {
  (void) arg;
  for (uintptr_t at = (uintptr_t) lo; at < (uintptr_t) hi; at += 8)
    naive_word(word_at(at));
}

static uint64_t naive_reached(void) { return v.reached; }

static const struct mpgi_special_marker naive_marker = {
    naive_seen, naive_words, naive_drain, reach, naive_reached};

/* ---- for leak.c of sched: what is reachable, from chosen roots ---- */

void mpgi_gc_reach_words(void *arg, const void *lo, const void *hi) {
  uintptr_t from = ((uintptr_t) lo + 7) & ~(uintptr_t) 7;
  uintptr_t to = (uintptr_t) hi & ~(uintptr_t) 7;
  if (from < to) naive_words(arg, (const void *) from, (const void *) to);
  naive_drain();
}

bool mpgi_gc_reached(const void *p) {
  struct mpgi_span *s;
  uintptr_t base = naive_base((uintptr_t) p, &s);
  return base == 0 || seen_test(base, false);
}

static void visit_reached(void *visit, struct mpgi_span *s) {
  mpgi_visit *const *fn = visit;
  size_t bytes = (size_t) mpgi_span_cell_bytes(s);
  for (uint32_t i = 0; i < s->objects; i++) {
    uintptr_t lo = mpgi_span_cell(s, i);
    if (seen_test(lo, false))
      (*fn)(NULL, (const void *) lo, (const void *) (lo + bytes));
  }
}

void mpgi_gc_reached_words(mpgi_visit *visit) {
  mpgi_span_each(visit_reached, &visit);
}

static bool is_in(const void *lo, size_t bytes, uintptr_t addr) {
  return addr - (uintptr_t) lo < bytes;
}

bool mpgi_gc_owns(uintptr_t addr) {
  return is_in((const void *) mpgi_heap.lo, mpgi_heap_used(), addr) ||
         is_in(v.seen, v.seen_bytes, addr) ||
         is_in(v.stack, v.stack_bytes, addr) ||
         is_in(v.root, v.root_room * sizeof *v.root, addr) ||
         mpgi_workers_own(addr);
}

/* ---- comparing ---- */

static void count_cells(void *arg, struct mpgi_span *s) {
  *(size_t *) arg += atomic_load_explicit(&s->used, memory_order_relaxed);
}

static void differ(const struct mpgi_span *s, uint32_t i, bool marked) {
  mpgi_print(2,
             "gcverify: %p, cell %u of the span at %p (class %u bytes %llu "
             "kind %u): %s\n",
             (void *) mpgi_span_cell(s, i), i, (void *) mpgi_span_base(s),
             s->class, (unsigned long long) mpgi_span_cell_bytes(s), s->kind,
             marked ? "marked, but not reachable" : "reachable, not marked");
}

static void compare(void *arg, struct mpgi_span *s) {
  const struct mpgi_pair *pair = mpgi_span_pairs(s);
  for (uint32_t i = 0; i < s->objects; i++) {
    if (i % 64 == 0 && !mpgi_load(&pair[i / 64].alloc) &&
        !mpgi_load(&pair[i / 64].mark)) {
      i += 63; /* no objects, so none was seen */
      continue;
    }
    bool marked = mpgi_load(&pair[i / 64].mark) >> i % 64 & 1;
    if (mpgi_opt.redzone != 0 && mpgi_load(&pair[i / 64].alloc) >> i % 64 & 1)
      mpgi_redzone_check(&(struct mpgi_cell){s, i, mpgi_span_cell(s, i)},
                         "gcverify");
    if (marked == seen_test(mpgi_span_cell(s, i), false)) continue;
    if ((*(uint64_t *) arg)++ < 10) differ(s, i, marked);
  }
}

static bool verify_map(void) {
  size_t cells = 0;
  mpgi_span_each(count_cells, &cells);
  v.stack_bytes = cells * sizeof *v.stack;
  v.seen_bytes = mpgi_heap_used() / MPGI_GRANULE_BYTES / 8;
  v.depth = 0;
  v.reached = 0;
  v.stack = map(&v.stack_bytes);
  v.seen = map(&v.seen_bytes);
  return v.stack != NULL && v.seen != NULL;
}

static void verify_unmap(void) {
  if (v.stack != NULL) mpgi_os_mem_unmap(v.stack, v.stack_bytes);
  if (v.seen != NULL) mpgi_os_mem_unmap(v.seen, v.seen_bytes);
  drop_roots();
}

bool mpgi_gc_reach_begin_stw(void) {
  if (!verify_map()) {
    verify_unmap();
    return false;
  }
  size_t n = mpgi_roots_pieces_stw();
  for (size_t i = 0; i < n; i++) mpgi_roots_piece(i, mpgi_gc_reach_words, NULL);
  n = mpgi_special_jobs_stw();
  for (size_t i = 0; i < n; i++) mpgi_special_job(i, mpgi_gc_reach_words, NULL);
  mpgi_special_unkept_stw(mpgi_gc_reach_words, NULL);
  return true;
}

void mpgi_gc_reach_end_stw(void) { verify_unmap(); }

void mpgi_verify_end_stw(void) {
  uint64_t differences = 0;
  if (verify_map()) {
    for (size_t i = 0; i < v.roots; i++) naive_word(v.root[i]);
    naive_drain();
    differences = mpgi_special_verify_stw(&naive_marker);
    mpgi_span_each(compare, &differences);
  } else {
    mpgi_print(2, "mpg: no memory to verify this collection\n");
  }
  verify_unmap();
  if (differences > 0)
    mpgi_fatal("gcverify: the markers differ about %llu objects",
               (unsigned long long) differences);
}

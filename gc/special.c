/* special.c - the table of records about single objects.
 *
 * Finalizers, weak references, weak maps belong to few objects, so they are
 * kept beside the heap: records in a table that is hashed by the object's
 * address. A span counts the records about its objects (`specials`), so that
 * mpg_free asks the table only if there are some.
 *
 * Concepts
 *   record  struct mpgi_special; numbered, in chunks that are never given
 *           back; free ones are on a list.  The collector walks them by
 *           number, in the order of memory.
 *   bucket  list of the records whose address hashes to it.  There are about
 *           as many buckets as records: each insertion beyond that splits one
 *           bucket (linear hashing), so that no insertion takes long.  When
 *           there is no memory for more buckets, lists just get longer.
 *   queue   records of finalizers that are to run, in order; not in the table.
 *
 * Invariants
 *   [special.live]   a record in the table belongs to a live object: freeing
 *                    drops it, a collection decides about each before it
 *                    sweeps
 *   [special.place]  each record is in its bucket, on the queue or on the free
 *                    list (mpgi_special_is_valid)
 *
 * Concurrency: one lock (GC_SPECIAL), held for a few steps, on g0; so nobody
 * holds it when the world is stopped, and the collector needs none then.
 * Records are in fixmem: they are made before the stop, and queueing and
 * removing only relinks them.
 */
#define MPGI_GC_INSIDE 1
#include <string.h>

#include <arch/common/fixmem.h>
#include <gc/special.h>

#define BUCKET_CHUNK 1024u

/* Elements in chunks that never move. */
struct array {
  void **chunk; /* fixmem */
  size_t chunks, room;
};

static struct mpgi_mutex lock = MPGI_MUTEX_INIT(MPGI_RANK_GC_SPECIAL);
static struct {
  struct array records, buckets;
  _Atomic uint32_t made; /* records */
  uint32_t free;         /* number + 1 */
  uint32_t head, tail;   /* of the queue; number + 1 */
  /* Buckets: 1 << level, and those that the first `split` were split into. */
  unsigned level;
  uint32_t split;
  uint32_t in_table;
  _Atomic uint32_t count[MPGI_SPECIAL_KINDS];
} specials;

void mpgi_special_lock(void) {
  mpgi_mutex_lock(&lock);
  MPGI_CHAOS();
}

void mpgi_special_unlock(void) {
  mpgi_mutex_unlock(&lock);
  MPGI_CHAOS();
}

static void count_add(enum mpgi_special_kind kind, int n) {
  atomic_fetch_add_explicit(&specials.count[kind], (uint32_t) n,
                            memory_order_relaxed);
}

uint32_t mpgi_special_count(enum mpgi_special_kind kind) {
  return atomic_load_explicit(&specials.count[kind], memory_order_relaxed);
}

/* ---- chunks ---- */

static bool array_grow(struct array *a, size_t chunk_bytes) {
  if (a->chunks == a->room) {
    size_t room = a->room == 0 ? 16 : a->room * 2;
    void **chunk = mpgi_fixmem_alloc(room * sizeof *chunk, 0);
    if (chunk == NULL) return false;
    if (a->chunks > 0) memcpy(chunk, a->chunk, a->chunks * sizeof *chunk);
    if (a->chunk != NULL)
      mpgi_fixmem_free(a->chunk, a->room * sizeof *chunk, 0);
    a->chunk = chunk;
    a->room = room;
  }
  void *more = mpgi_fixmem_alloc(chunk_bytes, MPGI_CACHE_LINE_BYTES);
  if (more == NULL) return false;
  a->chunk[a->chunks++] = more;
  return true;
}

struct mpgi_special *mpgi_special_at(uint32_t n) {
  MPG_ASSERT_INTERNAL(n < mpgi_special_made());
  struct mpgi_special *chunk = specials.records.chunk[n / MPGI_SPECIAL_CHUNK];
  return &chunk[n % MPGI_SPECIAL_CHUNK];
}

uint32_t mpgi_special_made(void) {
  return atomic_load_explicit(&specials.made, memory_order_acquire);
}

static struct mpgi_special *at_id(uint32_t id) {
  return id != 0 ? mpgi_special_at(id - 1) : NULL;
}

/* ---- buckets ---- */

/* Buckets go by the low bits, which are made of the product's highest: those
 * spread objects that lie side by side.  From bit 32 on it was 3.6 records a
 * look, for some sizes and numbers; now as with random ones, or fewer. */
static uint32_t hash(uintptr_t base) {
  uint64_t granule = base >> MPGI_GRANULE_LOG2;
  return (uint32_t) __builtin_bswap64(granule * UINT64_C(0x9e3779b97f4a7c15));
}

static uint32_t *bucket_at(uint32_t i) {
  uint32_t *chunk = specials.buckets.chunk[i / BUCKET_CHUNK];
  return &chunk[i % BUCKET_CHUNK];
}

static uint32_t buckets(void) {
  return specials.buckets.chunks == 0
             ? 0
             : ((uint32_t) 1 << specials.level) + specials.split;
}

static uint32_t *bucket_of(uintptr_t base) {
  uint32_t h = hash(base), low = ((uint32_t) 1 << specials.level) - 1;
  uint32_t i = h & low;
  if (i < specials.split) i = h & (2 * low + 1);
  return bucket_at(i);
}

static void bucket_push(uint32_t *b, struct mpgi_special *s, uint32_t id) {
  s->prev = 0;
  s->next = *b;
  if (*b != 0) at_id(*b)->prev = id;
  *b = id;
}

/* Some of bucket `split` go to a new one. */
static void bucket_split(void) {
  uint32_t high = (uint32_t) 1 << specials.level;
  uint32_t *from = bucket_at(specials.split);
  uint32_t *to = bucket_at(specials.split + high);
  uint32_t id = *from;
  *from = *to = 0;
  while (id != 0) {
    struct mpgi_special *s = at_id(id);
    uint32_t next = s->next;
    bucket_push(hash(s->base) & high ? to : from, s, id);
    id = next;
  }
  if (++specials.split == high) {
    specials.level++;
    specials.split = 0;
  }
}

/* Another bucket, if there is memory; false: there is none at all. */
static bool buckets_grow(void) {
  uint32_t n = buckets();
  size_t bytes = BUCKET_CHUNK * sizeof(uint32_t);
  if (n == 0) {
    if (!array_grow(&specials.buckets, bytes)) return false;
    for (specials.level = 0; (uint32_t) 1 << specials.level < BUCKET_CHUNK;)
      specials.level++;
    return true;
  }
  if (specials.in_table < n || specials.level == 31) return true;
  if (n == specials.buckets.chunks * BUCKET_CHUNK &&
      !array_grow(&specials.buckets, bytes))
    return true;
  bucket_split();
  return true;
}

/* One more, or one less, about an object of its span. */
static void span_count(const struct mpgi_special *s, int n) {
  struct mpgi_cell cell;
  bool found = mpgi_cell_find(s->base, &cell);
  MPG_VERIFY(found && cell.base == s->base); /* [special.live] */
  uint32_t was = atomic_fetch_add_explicit(&cell.span->specials, (uint32_t) n,
                                           memory_order_relaxed);
  MPG_ASSERT(n > 0 || was > 0);
  (void) was;
}

static void link_in(struct mpgi_special *s, uint32_t id) {
  bucket_push(bucket_of(s->base), s, id);
  span_count(s, 1);
  specials.in_table++;
}

/* Returns its number + 1. */
static uint32_t link_out(struct mpgi_special *s) {
  uint32_t *at = s->prev != 0 ? &at_id(s->prev)->next : bucket_of(s->base);
  uint32_t id = *at;
  MPG_VERIFY(at_id(id) == s);
  *at = s->next;
  if (s->next != 0) at_id(s->next)->prev = s->prev;
  s->next = s->prev = 0;
  span_count(s, -1);
  specials.in_table--;
  return id;
}

/* ---- records ---- */

static bool records_grow(void) {
  uint32_t made = mpgi_special_made();
  if (made > UINT32_MAX - 2 * MPGI_SPECIAL_CHUNK) return false;
  if (!array_grow(&specials.records,
                  MPGI_SPECIAL_CHUNK * sizeof(struct mpgi_special)))
    return false;
  atomic_store_explicit(&specials.made, made + MPGI_SPECIAL_CHUNK,
                        memory_order_release);
  for (uint32_t i = MPGI_SPECIAL_CHUNK; i-- > 0;) {
    mpgi_special_at(made + i)->next = specials.free;
    specials.free = made + i + 1;
  }
  count_add(MPGI_SPECIAL_FREE, MPGI_SPECIAL_CHUNK);
  return true;
}

static void kind_set(struct mpgi_special *s, enum mpgi_special_kind kind) {
  count_add((enum mpgi_special_kind) s->kind, -1);
  count_add(kind, 1);
  s->kind = (uint8_t) kind;
}

static void record_free(struct mpgi_special *s, uint32_t id) {
  memset(s, 0, offsetof(struct mpgi_special, kind));
  memset(&s->fin, 0, sizeof s->fin);
  s->dead = s->waiting = false;
  kind_set(s, MPGI_SPECIAL_FREE);
  s->next = specials.free;
  specials.free = id;
}

/* The first of a list that is about the object. */
static struct mpgi_special *about(uint32_t id, uintptr_t base) {
  struct mpgi_special *s = at_id(id);
  while (s != NULL && s->base != base) s = at_id(s->next);
  return s;
}

struct mpgi_special *mpgi_special_first(uintptr_t base) {
  return buckets() != 0 ? about(*bucket_of(base), base) : NULL;
}

struct mpgi_special *mpgi_special_next(struct mpgi_special *s, uintptr_t base) {
  return about(s->next, base);
}

struct mpgi_special *mpgi_special_find_locked(uintptr_t base,
                                              enum mpgi_special_kind kind) {
  struct mpgi_special *s = mpgi_special_first(base);
  while (s != NULL && s->kind != kind) s = mpgi_special_next(s, base);
  return s;
}

struct mpgi_special *mpgi_special_entry_locked(uintptr_t key, uint32_t map,
                                               uint32_t generation) {
  struct mpgi_special *s = mpgi_special_first(key);
  while (s != NULL && (s->kind != MPGI_SPECIAL_ENTRY || s->entry.map != map ||
                       s->entry.generation != generation))
    s = mpgi_special_next(s, key);
  return s;
}

struct mpgi_special *mpgi_special_add_locked(const struct mpgi_cell *cell,
                                             enum mpgi_special_kind kind,
                                             uint32_t *number) {
  if (!buckets_grow()) return NULL;
  if (specials.free == 0 && !records_grow()) return NULL;
  uint32_t id = specials.free;
  struct mpgi_special *s = at_id(id);
  MPG_ASSERT(s->kind == MPGI_SPECIAL_FREE);
  specials.free = s->next;
  s->base = cell->base;
  kind_set(s, kind);
  link_in(s, id);
  if (number != NULL) *number = id - 1;
  return s;
}

void mpgi_special_remove_locked(struct mpgi_special *s) {
  record_free(s, link_out(s));
}

/* ---- the queue ---- */

void mpgi_special_queue_locked(struct mpgi_special *s) {
  MPG_ASSERT(s->kind == MPGI_SPECIAL_FINALIZER);
  uint32_t id = link_out(s);
  kind_set(s, MPGI_SPECIAL_READY);
  if (specials.tail != 0)
    at_id(specials.tail)->next = id;
  else
    specials.head = id;
  specials.tail = id;
}

void mpgi_special_deliver_locked(struct mpgi_special *s) {
  MPG_ASSERT(s->kind == MPGI_SPECIAL_CLEANUP);
  kind_set(s, MPGI_SPECIAL_DELIVERED);
}

bool mpgi_special_unqueue_locked(struct mpgi_special *out) {
  uint32_t id = specials.head;
  struct mpgi_special *s = at_id(id);
  if (s == NULL) return false;
  MPG_ASSERT(s->kind == MPGI_SPECIAL_READY);
  *out = *s;
  specials.head = s->next;
  if (specials.head == 0) specials.tail = 0;
  record_free(s, id);
  return true;
}

/* ---- the object's end, and its move ---- */

void mpgi_special_drop(const struct mpgi_cell *cell) {
  struct mpgi_special *s;
  mpgi_special_lock();
  while ((s = mpgi_special_first(cell->base)) != NULL) switch (s->kind) {
    case MPGI_SPECIAL_WEAK:
    case MPGI_SPECIAL_HANDLE: mpgi_weak_break_locked(s); break;
    case MPGI_SPECIAL_ENTRY: mpgi_weakmap_entry_remove_locked(s); break;
    case MPGI_SPECIAL_PROFILE: mpgi_profile_freed_locked(s); break;
    default: mpgi_special_remove_locked(s); break;
    }
  mpgi_special_unlock();
}

void mpgi_special_move(const struct mpgi_cell *from,
                       const struct mpgi_cell *to) {
  struct mpgi_special *s;
  mpgi_special_lock();
  while ((s = mpgi_special_first(from->base)) != NULL) {
    if (s->kind == MPGI_SPECIAL_PROFILE) { /* the new one has its own */
      mpgi_profile_freed_locked(s);
      continue;
    }
    uint32_t id = link_out(s);
    s->base = to->base;
    link_in(s, id);
    if (s->kind != MPGI_SPECIAL_WEAK) continue;
    struct mpgi_weak *w =
        (struct mpgi_weak *) mpgi_special_at(s->weak.peer)->base;
    atomic_store(&w->target, (void *) to->base);
  }
  mpgi_special_unlock();
}

/* ---- checking ---- */

static uint32_t queue_length(void) {
  uint32_t n = 0;
  for (struct mpgi_special *s = at_id(specials.head); s; s = at_id(s->next)) {
    if (s->kind != MPGI_SPECIAL_READY) return UINT32_MAX;
    n++;
  }
  return n;
}

static bool buckets_are_valid(void) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < buckets(); i++)
    for (struct mpgi_special *s = at_id(*bucket_at(i)); s; s = at_id(s->next)) {
      if (bucket_of(s->base) != bucket_at(i)) return false;
      if (s->kind == MPGI_SPECIAL_FREE || s->kind == MPGI_SPECIAL_READY)
        return false;
      n++;
    }
  return n == specials.in_table;
}

bool mpgi_special_is_valid(void) {
  mpgi_special_lock();
  uint32_t free = 0;
  for (struct mpgi_special *s = at_id(specials.free); s; s = at_id(s->next))
    free++;
  bool ok = buckets_are_valid() &&
            free == mpgi_special_count(MPGI_SPECIAL_FREE) &&
            queue_length() == mpgi_special_count(MPGI_SPECIAL_READY) &&
            free + queue_length() + specials.in_table == mpgi_special_made();
  mpgi_special_unlock();
  return ok;
}

/* profile.c - the heap profile: sampled allocations, by call stack.
 *
 * Not responsible for the file's format (sched/heapprofile.c), nor for walking
 * stacks (world->callers).
 *
 * Sampling is by allocated bytes: points are thrown on the sequence of all
 * allocated bytes of a cache, at distances that are exponentially distributed
 * around the rate, and an object is sampled when a point hits it.  So an
 * object of s bytes is sampled with probability 1 - exp(-s / rate), whatever
 * was allocated before, and one over that is how many such objects a sampled
 * one stands for.
 *
 * The fast path knows nothing of this.  A cache counts the distance to its
 * next point down by the bytes of the holes that it makes (cache.c); a hole
 * that would reach the point is made shorter, so that it ends before the object
 * that the point hits, and that object gets a hole of its own, in the slow
 * path.
 *
 * Concepts
 *   site    a call stack that allocated something sampled; never freed.
 *           Estimates of objects and bytes allocated there, and freed again.
 *   record  of a sampled live object (special.c): its site and bytes.  When
 *           it is freed, or a collection finds no mark on it, the site's
 *           freed estimates grow by what its allocation added.
 *
 * Concurrency: sites are guarded by the records' lock; with the world stopped,
 * the collector.
 *
 * Source: Go malloc.go (nextSample), pprof's scaleHeapSample.  Differences: the
 * scale is applied to each sample, not to a site's mean; live means allocated
 * and not found dead yet, up to now, not as of the last collection.
 */
#define MPGI_GC_INSIDE 1
#include <string.h>

#include <arch/common/fixmem.h>
#include <arch/common/options.h>
#include <gc/special.h>
#include <mpg/debug.h>

#define SITES_MIN 256u
#define RATE_UNSET INT64_C(-1) /* what MPG_DEBUG says, or the default */

struct site {
  uint32_t next; /* number + 1 of the next in the bucket */
  uint32_t n;    /* of pc */
  uint64_t hash;
  double objects, bytes;             /* allocated */
  double freed_objects, freed_bytes; /* of these */
  uintptr_t pc[];                    /* innermost first */
};

static _Atomic int64_t rate = RATE_UNSET; /* bytes; 0: off */
static struct {
  struct site **at; /* fixmem, like the sites */
  uint32_t *bucket; /* number + 1 */
  uint32_t n, room; /* room: a power of two; as many buckets */
} sites;

/* ---- chance ---- */

/* ln(x) for x in (0, 1]: x = m * 2^e, and ln(m) as a series of (m-1)/(m+1). */
static double ln(double x) {
  int e = 0;
  for (; x < 0.7; x *= 2) e--;
  double t = (x - 1) / (x + 1), t2 = t * t;
  return e * 0.69314718055994531 +
         2 * t * (1 + t2 * (1.0 / 3 + t2 * (1.0 / 5 + t2 * (1.0 / 7))));
}

/* 1 - exp(-x): exp(-x / 1024) as a series, squared ten times. */
static double hit_probability(double x) {
  if (x > 32) return 1;
  double y = x / 1024, miss = 1 - y * (1 - y / 2 * (1 - y / 3));
  for (int i = 0; i < 10; i++) miss *= miss;
  return 1 - miss;
}

/* ---- the rate ---- */

static int64_t rate_now(void) {
  int64_t r = atomic_load_explicit(&rate, memory_order_relaxed);
  if (r != RATE_UNSET) return r;
  mpgi_options_init();
  atomic_compare_exchange_strong(&rate, &r, mpgi_opt.heapprofile);
  return atomic_load(&rate);
}

int64_t mpgi_profile_distance(struct mpgi_rand *rand) {
  int64_t r = rate_now();
  if (r == 0 || mpgi_gc_world.callers == NULL) return INT64_MAX;
  double u = (double) ((mpgi_rand_next(rand) >> 11) + 1) * 0x1p-53;
  return (int64_t) (-ln(u) * (double) r);
}

int64_t mpgi_heap_profile_rate_g0(int64_t bytes) {
  int64_t old = rate_now();
  if (bytes < 0) return old;
  mpgi_alloc_cache("mpg_heap_profile_rate"); /* by a goroutine */
  mpgi_gc_world.stop(MPGI_STOP_STATS, 0);
  atomic_store(&rate, bytes);
  mpgi_cache_flush_all_stw();
  mpgi_cache_resample_stw();
  mpgi_gc_world.start();
  return old;
}

/* ---- sites ---- */

static uint64_t hash_of(const uintptr_t *pc, uint32_t n) {
  uint64_t h = n;
  for (uint32_t i = 0; i < n; i++)
    h = (h ^ pc[i]) * UINT64_C(0x9e3779b97f4a7c15) ^ h >> 29;
  return h ^ h >> 32;
}

static void link_in(uint32_t i) {
  uint32_t *b = &sites.bucket[sites.at[i]->hash & (sites.room - 1)];
  sites.at[i]->next = *b;
  *b = i + 1;
}

/* Twice the room. */
static bool sites_grow(void) {
  uint32_t room = sites.room > 0 ? sites.room * 2 : SITES_MIN;
  struct site **at = mpgi_fixmem_alloc(room * sizeof *at, 0);
  uint32_t *bucket = mpgi_fixmem_alloc(room * sizeof *bucket, 0);
  if (at == NULL || bucket == NULL) {
    if (at != NULL) mpgi_fixmem_free(at, room * sizeof *at, 0);
    if (bucket != NULL) mpgi_fixmem_free(bucket, room * sizeof *bucket, 0);
    return false;
  }
  if (sites.room > 0) {
    memcpy(at, sites.at, sites.n * sizeof *at);
    mpgi_fixmem_free(sites.at, sites.room * sizeof *at, 0);
    mpgi_fixmem_free(sites.bucket, sites.room * sizeof *bucket, 0);
  }
  sites.at = at;
  sites.bucket = bucket;
  sites.room = room;
  for (uint32_t i = 0; i < sites.n; i++) link_in(i);
  return true;
}

static struct site *site_new(uint64_t hash, const uintptr_t *pc, uint32_t n) {
  if (sites.n == sites.room && !sites_grow()) return NULL;
  struct site *s = mpgi_fixmem_alloc(sizeof *s + n * sizeof *pc, 0);
  if (s == NULL) return NULL;
  s->hash = hash;
  s->n = n;
  memcpy(s->pc, pc, n * sizeof *pc);
  sites.at[sites.n] = s;
  link_in(sites.n++);
  return s;
}

/* The number of the stack's site; UINT32_MAX: no memory for a new one. */
static uint32_t site_locked(const uintptr_t *pc, uint32_t n) {
  uint64_t hash = hash_of(pc, n);
  uint32_t id = sites.room > 0 ? sites.bucket[hash & (sites.room - 1)] : 0;
  for (; id != 0; id = sites.at[id - 1]->next) {
    const struct site *s = sites.at[id - 1];
    if (s->hash == hash && s->n == n && memcmp(s->pc, pc, n * sizeof *pc) == 0)
      return id - 1;
  }
  return site_new(hash, pc, n) != NULL ? sites.n - 1 : UINT32_MAX;
}

/* ---- samples ---- */

/* grown: by so many bytes, an object that is counted already. */
static void record_locked(const struct mpgi_cell *cell, uint64_t grown,
                          int64_t r, const uintptr_t *pc, uint32_t n) {
  uint64_t bytes = grown > 0 ? grown : mpgi_span_cell_bytes(cell->span);
  uint32_t site = site_locked(pc, n);
  if (site == UINT32_MAX) return;
  struct mpgi_special *s =
      mpgi_special_add_locked(cell, MPGI_SPECIAL_PROFILE, NULL);
  if (s == NULL) return;
  double weight = 1 / hit_probability((double) bytes / (double) r);
  s->profile.site = site;
  s->profile.objects = grown > 0 ? 0 : (float) weight;
  s->profile.bytes = weight * (double) bytes;
  sites.at[site]->objects += s->profile.objects;
  sites.at[site]->bytes += s->profile.bytes;
}

void mpgi_profile_sample(struct mpgi_cache *c, void *p, uint64_t grown) {
  uintptr_t pc[MPGI_PROFILE_PCS];
  struct mpgi_cell cell;
  int64_t r = rate_now();
  c->sampled = false;
  if (r == 0 || !mpgi_cell_start(p, &cell)) return;
  uint32_t n = mpgi_gc_world.callers(pc, MPGI_PROFILE_PCS);
  mpgi_special_lock();
  record_locked(&cell, grown, r, pc, n);
  mpgi_special_unlock();
}

void mpgi_profile_freed_locked(struct mpgi_special *s) {
  struct site *site = sites.at[s->profile.site];
  MPG_ASSERT(s->kind == MPGI_SPECIAL_PROFILE);
  site->freed_objects += s->profile.objects;
  site->freed_bytes += s->profile.bytes;
  mpgi_special_remove_locked(s);
}

/* Each sample's bytes shrink alike, because the object's pages are of equal
 * worth whichever of them a point hit. */
void mpgi_profile_shrunk(uintptr_t base, double kept) {
  mpgi_special_lock();
  for (struct mpgi_special *s = mpgi_special_first(base); s != NULL;
       s = mpgi_special_next(s, base)) {
    if (s->kind != MPGI_SPECIAL_PROFILE) continue;
    double gone = s->profile.bytes * (1 - kept);
    sites.at[s->profile.site]->freed_bytes += gone;
    s->profile.bytes -= gone;
  }
  mpgi_special_unlock();
}

/* ---- reading ---- */

int64_t mpgi_profile_rate(void) { return rate_now(); }

size_t mpgi_profile_sites(void) {
  mpgi_special_lock();
  size_t n = sites.n;
  mpgi_special_unlock();
  return n;
}

static uint64_t rounded(double x) { return x > 0 ? (uint64_t) (x + 0.5) : 0; }

size_t mpgi_profile_copy(struct mpgi_profile_site *out, size_t max) {
  mpgi_special_lock();
  size_t n = sites.n < max ? sites.n : max;
  for (size_t i = 0; i < n; i++) {
    const struct site *s = sites.at[i];
    out[i].alloc_objects = rounded(s->objects);
    out[i].alloc_bytes = rounded(s->bytes);
    out[i].live_objects = rounded(s->objects - s->freed_objects);
    out[i].live_bytes = rounded(s->bytes - s->freed_bytes);
    out[i].n = s->n;
    memcpy(out[i].pc, s->pc, s->n * sizeof s->pc[0]);
  }
  mpgi_special_unlock();
  return n;
}

/* g.c - making and freeing goroutines.
 *
 * A G record and its first stack share one 2 KiB block of the stack arena:
 * the record at the low end, the stack above it.  Blocks are never given back
 * while the runtime runs; dead Gs wait on free lists, a P's first.  (Movable
 * goroutines: below.)
 *
 * allg lists every G ever made: chunks of pointers, appended under allg_lock,
 * read without a lock below nallg (release store after the slot).
 */
#include <sched/sched.h>

#include <errno.h>
#include <string.h>

#include <sched/gmp.h>

#include <sched/hot.h>

#define GFREE_BATCH 32

struct mpg_g *mpgi_allg_get(size_t i) {
  MPG_ASSERT_INTERNAL(i < atomic_load(&mpgi_sched.nallg));
  return mpgi_sched.allg[i / MPGI_ALLG_CHUNK][i % MPGI_ALLG_CHUNK];
}

/* Room for one more in the table of all goroutines; under allg_lock. */
static bool allg_reserve_locked(size_t n) {
  if (n / MPGI_ALLG_CHUNK >= MPGI_ALLG_CHUNKS) return false;
  struct mpg_g ***table = mpgi_sched.allg;
  if (!table) {
    table = mpgi_fixmem_alloc(MPGI_ALLG_CHUNKS * sizeof *table, 0);
    if (!table) return false;
    mpgi_sched.allg = table;
  }
  struct mpg_g ***chunk = &table[n / MPGI_ALLG_CHUNK];
  if (!*chunk) *chunk = mpgi_fixmem_alloc(MPGI_ALLG_CHUNK * sizeof **chunk, 0);
  return *chunk != NULL;
}

static void g_init_block(struct mpg_g *gp) {
  memset(gp, 0, sizeof *gp);
  uintptr_t lo = (uintptr_t) gp + ((sizeof *gp + 15) & ~(size_t) 15);
  uintptr_t hi = (uintptr_t) gp + MPGI_STACK_BLOCK_BYTES;
  mpgi_stack_block_guard(&lo, &hi);
  mpgi_stack_first(&gp->ctx, &gp->seg0, lo, hi);
  mpgi_valgrind_add(&gp->seg0); /* for good, like the block */
  gp->signature = MPGI_G_SIGNATURE;
  mpgi_g_status_set(gp, MPGI_G_IDLE, MPGI_G_DEAD);
}

static bool allg_append_locked(struct mpg_g *gp) {
  size_t n = atomic_load_explicit(&mpgi_sched.nallg, memory_order_relaxed);
  if (!allg_reserve_locked(n)) return false;
  mpgi_sched.allg[n / MPGI_ALLG_CHUNK][n % MPGI_ALLG_CHUNK] = gp;
  atomic_store_explicit(&mpgi_sched.nallg, n + 1, memory_order_release);
  return true;
}

/* One more G, dead, on no list. */
static struct mpg_g *g_make(struct mpgi_stack_cache *c) {
  struct mpg_g *gp = mpgi_stack_block_alloc(c);
  if (!gp) return NULL;
  g_init_block(gp);
  mpgi_mutex_lock(&mpgi_sched.allg_lock);
  bool ok = allg_append_locked(gp);
  mpgi_mutex_unlock(&mpgi_sched.allg_lock);
  if (!ok) {
    gp->signature = 0;
    mpgi_stack_block_free(c, gp);
    return NULL;
  }
  return gp;
}

static void shared_push_locked(struct mpg_g *gp) {
  gp->link = mpgi_sched.gfree;
  mpgi_sched.gfree = gp;
  mpgi_sched.ngfree++;
}

static struct mpg_g *shared_pop_locked(void) {
  struct mpg_g *gp = mpgi_sched.gfree;
  if (!gp) return NULL;
  mpgi_sched.gfree = gp->link;
  mpgi_sched.ngfree--;
  return gp;
}

static void gfree_refill(struct mpg_p *pp) {
  struct mpg_g *old;
  mpgi_mutex_lock(&mpgi_sched.allg_lock);
  while (pp->ngfree < GFREE_BATCH && (old = shared_pop_locked()))
    mpgi_hot_gfree_push(pp, old);
  mpgi_mutex_unlock(&mpgi_sched.allg_lock);
  if (pp->gfree) return;
  struct mpg_g *gp = g_make(&pp->stacks);
  if (gp) mpgi_hot_gfree_push(pp, gp);
}

static struct mpg_g *gfree_pop(struct mpg_p *pp) {
  if (!pp->gfree) gfree_refill(pp);
  return pp->gfree ? mpgi_hot_gfree_pop(pp) : NULL;
}

static void gfree_spill(struct mpg_p *pp, uint32_t keep) {
  mpgi_mutex_lock(&mpgi_sched.allg_lock);
  while (pp->ngfree > keep) {
    struct mpg_g *gp = pp->gfree;
    pp->gfree = gp->link;
    pp->ngfree--;
    shared_push_locked(gp);
  }
  mpgi_mutex_unlock(&mpgi_sched.allg_lock);
}

void mpgi_gfree_flush(struct mpg_p *pp) { gfree_spill(pp, 0); }

void mpgi_g_give_back(struct mpg_g *gp) {
  mpgi_stack_first(&gp->ctx, &gp->seg0, gp->seg0.lo, gp->seg0.hi);
  mpgi_mutex_lock(&mpgi_sched.allg_lock);
  shared_push_locked(gp);
  mpgi_mutex_unlock(&mpgi_sched.allg_lock);
}

struct mpg_g *mpgi_g_attached(struct mpgi_segment *seg) {
  mpgi_mutex_lock(&mpgi_sched.allg_lock);
  struct mpg_g *gp = shared_pop_locked();
  mpgi_mutex_unlock(&mpgi_sched.allg_lock);
  if (!gp && !(gp = g_make(NULL))) return NULL;
  gp->link = NULL;
  gp->goid = gp->creator = 0;
  gp->creator_pc = 0;
  gp->fn = NULL;
  gp->wait_reason = MPGI_WAIT_NONE;
  gp->trace_wake = 0;
  atomic_store_explicit(&gp->ctx.preempt, 0, memory_order_relaxed);
  gp->ctx.seg = seg;
  gp->ctx.guard = 0;
  return gp;
}

/* ---- movable goroutines ----
 *
 * Their stack can be swapped out, so it isn't tied to the record: records come
 * densely from slabs, the first segment is a home (stack/home.c). */

#define RECORD_BYTES ((sizeof(struct mpgi_movable) + 15) & ~(size_t) 15)

/* allg_lock: dead records, and what is left of the last slab. */
static struct mpg_g *records;
static uintptr_t slab_at, slab_end;

static struct mpg_g *record_carve_locked(void) {
  if (!slab_at || slab_at + RECORD_BYTES > slab_end) {
    slab_at = (uintptr_t) mpgi_stack_slab_alloc();
    if (!slab_at) return NULL;
    slab_end = slab_at + MPGI_STACK_SLAB_BYTES;
  }
  struct mpg_g *gp = (struct mpg_g *) slab_at;
  memset(gp, 0, RECORD_BYTES);
  gp->movable = 1;
  gp->signature = MPGI_G_SIGNATURE;
  mpgi_g_status_set(gp, MPGI_G_IDLE, MPGI_G_DEAD);
  if (!allg_append_locked(gp)) return NULL;
  slab_at += RECORD_BYTES;
  return gp;
}

static void record_free(struct mpg_g *gp) {
  mpgi_mutex_lock(&mpgi_sched.allg_lock);
  gp->link = records;
  records = gp;
  mpgi_mutex_unlock(&mpgi_sched.allg_lock);
}

static struct mpg_g *record_get(void) {
  if (!mpgi_move_init()) return NULL;
  mpgi_mutex_lock(&mpgi_sched.allg_lock);
  struct mpg_g *gp = records;
  if (gp)
    records = gp->link;
  else
    gp = record_carve_locked();
  mpgi_mutex_unlock(&mpgi_sched.allg_lock);
  if (!gp) return NULL;
  if (!mpgi_stack_home_take(&gp->ctx, &gp->seg0)) {
    record_free(gp);
    return NULL;
  }
  mpgi_move_register(mpgi_movable_of(gp));
  return gp;
}

static void movable_free(struct mpg_p *pp, struct mpg_g *gp) {
  struct mpgi_movable *mg = mpgi_movable_of(gp);
  bool swapped = mg->image != NULL;
  mpgi_move_unregister(mg);
  if (swapped) mpgi_stack_swap_drop(&gp->ctx, mg->image);
  mg->image = NULL;
  mpgi_stack_reset(&pp->stacks, &gp->ctx);
  mpgi_stack_home_give(&gp->seg0, !swapped);
  record_free(gp);
}

/* Replace the first segment by a fixed stack. */
static bool g_fixed_stack(struct mpg_p *pp, struct mpg_g *gp, size_t bytes) {
  struct mpgi_segment *seg = mpgi_stack_fixed_alloc(&pp->stacks, bytes);
  if (!seg) return false;
  mpgi_stack_first_fixed(&gp->ctx, seg);
  gp->fixed = gp->leaves = 1;
  return true;
}

static char *name_copy(const char *name) {
  size_t n = strlen(name) + 1;
  char *copy = mpgi_fixmem_alloc(n, 1);
  if (copy) memcpy(copy, name, n);
  return copy;
}

static bool g_configure(struct mpg_p *pp, struct mpg_g *gp,
                        const struct mpg_go_options *opt, bool fixed) {
  size_t bytes = opt ? opt->stack_bytes : 0;
  gp->stack_limit = fixed ? 0 : bytes;
  if (opt && opt->name) {
    gp->leaves = 1;
    if (!(gp->name = name_copy(opt->name))) return false;
  }
  if (!fixed) return true;
  return g_fixed_stack(pp, gp, bytes ? bytes : MPGI_STACK_FIXED_DEFAULT);
}

struct mpg_g *mpgi_g_new(struct mpg_p *pp, mpg_func fn, void *arg,
                         const struct mpg_go_options *opt, bool fixed,
                         int *error) {
  MPG_ASSERT(fn && pp);
  *error = -ENOMEM;
  bool movable = opt && (opt->flags & MPG_GO_MOVABLE) && !fixed;
  struct mpg_g *gp = movable ? record_get() : gfree_pop(pp);
  if (!gp) return NULL;
  gp->link = NULL;
  if (!g_configure(pp, gp, opt, fixed)) {
    mpgi_g_free(pp, gp);
    return NULL;
  }
  mpgi_hot_g_begin(gp, fn, arg);
  *error = 0;
  return gp;
}

/* ---- numbers ----
 *
 * Shared counters would be an atomic operation for each start and each end. */

#define GOID_BATCH 16

uint64_t mpgi_goid_refill(struct mpg_p *pp) {
  pp->goid = atomic_fetch_add_explicit(&mpgi_sched.next_goid, GOID_BATCH,
                                       memory_order_relaxed);
  pp->goid_end = pp->goid + GOID_BATCH;
  return ++pp->goid;
}

uint64_t mpgi_goid_new(struct mpg_p *pp) { return mpgi_hot_goid_new(pp); }

void mpgi_g_count_start(struct mpg_p *pp, struct mpg_g *gp) {
  mpgi_hot_g_count_start(pp, gp);
}

/* Ends first: whoever has ended has started before. */
uint64_t mpgi_g_count(void) {
  uint64_t n = 0;
  for (int32_t i = 0; i < mpgi_sched.nallp_made; i++)
    n -= atomic_load_explicit(&mpgi_sched.allp[i]->ended, memory_order_acquire);
  for (int32_t i = 0; i < mpgi_sched.nallp_made; i++)
    n += atomic_load_explicit(&mpgi_sched.allp[i]->started,
                              memory_order_acquire);
  return n;
}

/* ---- the end ---- */

/* As a new one's are; what is freed apart is gone. */
static void reset(struct mpg_g *gp) {
  gp->m = gp->locked_m = NULL;
  gp->lock_count = gp->owned_locks = 0;
  gp->is_main = gp->finalizers = gp->leaves = 0;
  gp->extra = gp->growing = gp->leaked = gp->leak_said = gp->at_call = 0;
  gp->preempt_off = gp->pthread_locks = 0;
  gp->on_resume = NULL;
  gp->wait.elem = NULL; /* of a wait that the run's end ended */
  gp->wait.object = NULL;
}

static void stack_free(struct mpg_p *pp, struct mpg_g *gp) {
  bool first = mpgi_hot_stack_is_first(gp) && !gp->fixed && !gp->attached;
  if (first) return;
  if (!gp->attached) mpgi_stack_reset(&pp->stacks, &gp->ctx);
  if (gp->fixed) mpgi_stack_fixed_free(&pp->stacks, gp->ctx.seg);
  if (gp->fixed || gp->attached)
    mpgi_stack_first(&gp->ctx, &gp->seg0, gp->seg0.lo, gp->seg0.hi);
  gp->fixed = gp->attached = 0;
}

/* gp is dead and off its stack; give back what it holds but the block. */
void mpgi_g_free(struct mpg_p *pp, struct mpg_g *gp) {
  MPG_ASSERT(mpgi_g_status(gp) == MPGI_G_DEAD);
  if (!gp->attached) mpgi_san_dead(&gp->ctx);
  if (gp->name) {
    mpgi_fixmem_free(gp->name, strlen(gp->name) + 1, 1);
    gp->name = NULL;
  }
  if (MPGI_UNLIKELY(gp->locals != NULL)) mpgi_locals_free(gp);
  reset(gp);
  if (gp->movable) {
    movable_free(pp, gp);
    return;
  }
  stack_free(pp, gp);
  mpgi_hot_gfree_push(pp, gp);
  if (pp->ngfree > MPGI_GFREE_MAX) gfree_spill(pp, GFREE_BATCH);
}

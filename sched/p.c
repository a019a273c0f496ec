/* p.c - processors: the right to run goroutines.
 *
 * [p.inv.count] Outside sched.lock: every P is idle (on the idle list), dead
 * (beyond gomaxprocs), in a system call, or on its way to or with an M
 * (running, gcstop).  A P off the idle list is "running" at once, before its
 * M is awake, so that a stop counts it.
 *
 * Shrinking: a P that an M holds in place can't be taken away, because the M
 * may be frozen in foreign code.  It is marked retire; its owner lets go of it
 * at the next visit to the scheduler.  Its run queue is emptied at once.
 *
 * Those of attached threads (attach.c) have places beyond gomaxprocs; when it
 * grows, they move on.  They run no goroutine of a queue, and their queues are
 * empty.
 */
#include <sched/sched.h>

#include <errno.h>
#include <string.h>

#include <sched/gmp.h>

#include <sched/hot.h>

static void p_status_set(struct mpg_p *pp, enum mpgi_p_status from,
                         enum mpgi_p_status to) {
  MPG_VERIFY(atomic_load_explicit(&pp->status, memory_order_relaxed) == from);
  atomic_store_explicit(&pp->status, to, memory_order_release);
}

void mpgi_p_acquire(struct mpg_m *mp, struct mpg_p *pp) {
  MPG_ASSERT(atomic_load(&pp->status) == MPGI_P_RUNNING ||
             atomic_load(&pp->status) == MPGI_P_GCSTOP);
  mpgi_hot_p_acquire(mp, pp);
}

struct mpg_p *mpgi_p_release(struct mpg_m *mp) {
  return mpgi_hot_p_release(mp);
}

void mpgi_p_die_locked(struct mpg_p *pp) {
  mpgi_runq_drain_locked(pp);
  pp->attached = false;
  mpgi_p_want_no_more(pp, MPGI_P_WANT_RETIRE);
  atomic_store_explicit(&pp->status, MPGI_P_DEAD, memory_order_release);
  if (mpgi_stw_waiting()) mpgi_stw_arrive();
}

static void idle_push_locked(struct mpg_p *pp) {
  pp->link = mpgi_sched.idle_p;
  mpgi_sched.idle_p = pp;
  atomic_fetch_add(&mpgi_sched.npidle, 1);
}

/* False: pp isn't on the list. */
static bool idle_cut_locked(struct mpg_p *pp) {
  struct mpg_p **at = &mpgi_sched.idle_p;
  while (*at && *at != pp) at = &(*at)->link;
  if (!*at) return false;
  *at = pp->link;
  pp->link = NULL;
  atomic_fetch_sub(&mpgi_sched.npidle, 1);
  return true;
}

void mpgi_p_idle_put_locked(struct mpg_p *pp) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  if (mpgi_p_retires(pp)) {
    mpgi_p_die_locked(pp);
    return;
  }
  MPG_ASSERT(mpgi_runq_empty(pp));
  p_status_set(pp, MPGI_P_RUNNING, MPGI_P_IDLE);
  idle_push_locked(pp);
  /* It was counted when the stop began: under the lock nothing becomes idle
   * of its own accord while the world stops. */
  if (mpgi_stw_waiting()) mpgi_stw_arrive();
}

bool mpgi_p_idle_take_locked(struct mpg_p *pp) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  if (mpgi_stw_waiting() || !idle_cut_locked(pp)) return false;
  p_status_set(pp, MPGI_P_IDLE, MPGI_P_RUNNING);
  mpgi_sysmon_wake_locked(); /* it sleeps deeply while every P is idle */
  return true;
}

struct mpg_p *mpgi_p_idle_get_locked(void) {
  struct mpg_p *pp = mpgi_sched.idle_p;
  return pp && mpgi_p_idle_take_locked(pp) ? pp : NULL;
}

void mpgi_p_retire(struct mpg_m *mp) {
  mpgi_gfree_flush(mp->p);
  mpgi_stack_cache_flush(&mp->p->stacks);
  MPGI_CHAOS();
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_p_idle_put_locked(mpgi_p_release(mp));
  mpgi_mutex_unlock(&mpgi_sched.lock);
  mpgi_wakep(); /* its queue went to the global one */
}

/* ---- changing their number ---- */

static struct mpg_p *p_make(int id) {
  struct mpg_p *pp = mpgi_fixmem_alloc(sizeof *pp, MPGI_CACHE_LINE_BYTES);
  if (!pp) return NULL;
  pp->cache = mpgi_gc_cache_new();
  if (!pp->cache) {
    mpgi_fixmem_free(pp, sizeof *pp, MPGI_CACHE_LINE_BYTES);
    return NULL;
  }
  pp->id = id;
  pp->rand = (uint32_t) id * 2654435761u | 1;
  mpgi_mutex_init(&pp->timer_lock, MPGI_RANK_TIMERS);
  atomic_store(&pp->timer_first, INT64_MAX);
  atomic_store(&pp->status, MPGI_P_DEAD);
  mpgi_trace_p_made(pp);
  return pp;
}

static int make_locked(int n) {
  mpgi_mutex_assert_held(&mpgi_sched.resize_lock);
  for (int i = mpgi_sched.nallp_made; i < n; i++) {
    struct mpg_p *pp = p_make(i);
    if (!pp) return -ENOMEM;
    mpgi_sched.allp[i] = pp;
    mpgi_sched.nallp_made = i + 1;
  }
  return 0;
}

int mpgi_p_resize_prepare(int n) {
  MPG_ASSERT(n >= 1 && n <= MPGI_ALLP_MAX);
  mpgi_mutex_lock(&mpgi_sched.resize_lock);
  int err = make_locked(n);
  mpgi_mutex_unlock(&mpgi_sched.resize_lock);
  return err;
}

int mpgi_p_make_one(void) {
  mpgi_mutex_lock(&mpgi_sched.resize_lock);
  int want = mpgi_sched.nallp_made + 1;
  int err = want > MPGI_ALLP_MAX ? -EAGAIN : make_locked(want);
  mpgi_mutex_unlock(&mpgi_sched.resize_lock);
  return err;
}

void mpgi_p_shrink_locked(struct mpg_p *pp) {
  switch (atomic_load(&pp->status)) {
  case MPGI_P_DEAD: return;
  case MPGI_P_IDLE:
    idle_cut_locked(pp);
    atomic_store(&pp->status, MPGI_P_DEAD);
    return;
  default: mpgi_runq_drain_locked(pp); mpgi_p_want(pp, MPGI_P_WANT_RETIRE);
  }
}

struct mpg_p *mpgi_p_revive_locked(void) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  int32_t i = atomic_load(&mpgi_sched.procs);
  for (; i < mpgi_sched.nallp_made; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    if (atomic_load(&pp->status) != MPGI_P_DEAD) continue;
    atomic_store(&pp->status, MPGI_P_RUNNING);
    if (mpgi_sched.nallp <= i) mpgi_sched.nallp = i + 1;
    return pp;
  }
  return NULL;
}

/* allp[i] belongs to an attached thread: change places with a common P from n
 * on, whatever its state.  sysmon may see one of the two twice, or not at all:
 * it looks again. */
static bool make_way_stw(int i, int n) {
  for (int k = mpgi_sched.nallp_made; k-- > n;) {
    struct mpg_p *a = mpgi_sched.allp[i], *d = mpgi_sched.allp[k];
    if (d->attached) continue;
    a->id = k;
    d->id = i;
    mpgi_sched.allp[k] = a;
    mpgi_sched.allp[i] = d;
    return true;
  }
  return false;
}

static void enliven_locked(struct mpg_p *pp) {
  mpgi_p_want_no_more(pp, MPGI_P_WANT_RETIRE);
  if (atomic_load(&pp->status) != MPGI_P_DEAD) return;
  atomic_store(&pp->status, MPGI_P_IDLE);
  idle_push_locked(pp);
}

/* The world is stopped, or doesn't run yet. */
static void solo_set(struct mpg_p *pp, bool solo) {
  atomic_store_explicit(&pp->shut, solo, memory_order_relaxed);
  atomic_store_explicit(&pp->solo, solo, memory_order_relaxed);
}

int mpgi_p_resize_stw(int n) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  for (int i = 0; i < n; i++) {
    if (mpgi_sched.allp[i]->attached && !make_way_stw(i, n)) n = i;
    if (i < n) enliven_locked(mpgi_sched.allp[i]);
  }
  for (int i = n; i < mpgi_sched.nallp_made; i++)
    if (!mpgi_sched.allp[i]->attached) mpgi_p_shrink_locked(mpgi_sched.allp[i]);
  mpgi_sched.nallp = mpgi_sched.nallp_made;
  atomic_store(&mpgi_sched.procs, n);
  for (int i = 0; i < mpgi_sched.nallp_made; i++)
    solo_set(mpgi_sched.allp[i], i == 0 && n == 1 && mpgi_sched.may_be_solo);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  return n;
}

/* timer.c - per-P timer heaps: 4-ary, by time, stolen with the P's work.
 *
 * [timer.inv.heap] timers[i]->when >= timers[(i-1)/4]->when, index == i;
 * checked at MPG_CHECK >= 3.  timer_first mirrors timers[0]->when so that
 * nobody takes the lock for nothing.
 *
 * Who wakes: an M that goes idle sleeps until the first timer of all Ps (the
 * poller, proc.c).  Adding publishes timer_first, then loads poll_until; the
 * poller publishes poll_until, then loads timer_first; both sequentially
 * consistent: one of them sees the other.  With every P busy, sysmon preempts
 * for a due timer.
 *
 * Firing against deleting [timer.claim]: a due timer's claim runs, and its pp
 * becomes NULL, under the lock.  So who finds pp NULL (acquire), or takes the
 * timer out itself, knows that the timer touches its goroutine no more, and
 * may wait with it again.
 */
#include <sched/sched.h>

#include <errno.h>
#include <string.h>

#include <sched/gmp.h>

static void put_at(struct mpg_p *pp, uint32_t i, struct mpgi_timer *t) {
  pp->timers[i] = t;
  t->index = i;
}

static void sift_up(struct mpg_p *pp, uint32_t i) {
  struct mpgi_timer *t = pp->timers[i];
  while (i > 0) {
    uint32_t up = (i - 1) / 4;
    if (pp->timers[up]->when <= t->when) break;
    put_at(pp, i, pp->timers[up]);
    i = up;
  }
  put_at(pp, i, t);
}

static uint32_t least_child(struct mpg_p *pp, uint32_t i) {
  uint32_t best = 0, first = 4 * i + 1;
  for (uint32_t c = first; c < first + 4 && c < pp->ntimers; c++)
    if (!best || pp->timers[c]->when < pp->timers[best]->when) best = c;
  return best;
}

static void sift_down(struct mpg_p *pp, uint32_t i) {
  struct mpgi_timer *t = pp->timers[i];
  for (uint32_t c; (c = least_child(pp, i)); i = c) {
    if (pp->timers[c]->when >= t->when) break;
    put_at(pp, i, pp->timers[c]);
  }
  put_at(pp, i, t);
}

static bool heap_is_valid(struct mpg_p *pp) {
  for (uint32_t i = 0; i < pp->ntimers; i++)
    if (pp->timers[i]->index != i ||
        (i && pp->timers[i]->when < pp->timers[(i - 1) / 4]->when))
      return false;
  return true;
}

static void publish_first(struct mpg_p *pp) {
  MPG_ASSERT_EXPENSIVE(heap_is_valid(pp));
  atomic_store(&pp->timer_first, pp->ntimers ? pp->timers[0]->when : INT64_MAX);
}

static bool heap_reserve(struct mpg_p *pp) {
  if (pp->ntimers < pp->timers_cap) return true;
  uint32_t cap = pp->timers_cap ? 2 * pp->timers_cap : 64;
  struct mpgi_timer **bigger = mpgi_fixmem_alloc(cap * sizeof *bigger, 0);
  if (!bigger) return false;
  if (pp->ntimers) memcpy(bigger, pp->timers, pp->ntimers * sizeof *bigger);
  if (pp->timers)
    mpgi_fixmem_free(pp->timers, pp->timers_cap * sizeof *bigger, 0);
  pp->timers = bigger;
  pp->timers_cap = cap;
  return true;
}

static void heap_remove(struct mpg_p *pp, uint32_t i) {
  struct mpgi_timer *t = pp->timers[i], *last = pp->timers[--pp->ntimers];
  if (last != t) {
    put_at(pp, i, last);
    sift_up(pp, i);
    sift_down(pp, last->index);
  }
  atomic_store_explicit(&t->pp, NULL, memory_order_release); /* timer.claim */
}

int mpgi_timer_add(struct mpg_p *pp, struct mpgi_timer *t) {
  MPG_ASSERT(atomic_load(&t->pp) == NULL && t->when > 0);
  mpgi_mutex_lock(&pp->timer_lock);
  bool ok = heap_reserve(pp);
  if (ok) {
    atomic_store_explicit(&t->pp, pp, memory_order_relaxed);
    put_at(pp, pp->ntimers++, t);
    sift_up(pp, pp->ntimers - 1);
    publish_first(pp);
  }
  mpgi_mutex_unlock(&pp->timer_lock);
  return ok ? 0 : -ENOMEM;
}

bool mpgi_timer_del(struct mpgi_timer *t) {
  bool ours = false;
  struct mpg_p *pp;
  while (!ours && (pp = atomic_load_explicit(&t->pp, memory_order_acquire))) {
    mpgi_mutex_lock(&pp->timer_lock);
    ours = atomic_load_explicit(&t->pp, memory_order_relaxed) == pp;
    if (ours) {
      heap_remove(pp, t->index);
      publish_first(pp);
    }
    mpgi_mutex_unlock(&pp->timer_lock);
  }
  return ours;
}

static void poller_hurry(int64_t when) {
  struct mpg_m *mp = atomic_load(&mpgi_sched.poller);
  if (mp && when < atomic_load(&mpgi_sched.poll_until))
    mpgi_note_wake(&mp->park);
}

void mpgi_timer_announce(int64_t when) {
  poller_hurry(when);
  mpgi_sysmon_due(when);
}

/* The first timer, if it is due, off the heap; whom it wakes. */
static struct mpg_g *fire_locked(struct mpg_p *pp, int64_t now) {
  if (!pp->ntimers || pp->timers[0]->when > now) return NULL;
  struct mpgi_timer *t = pp->timers[0];
  struct mpg_g *gp = t->g;
  if (t->claim && !t->claim(gp)) gp = NULL;
  heap_remove(pp, 0);
  publish_first(pp);
  return gp;
}

int64_t mpgi_timers_run(struct mpg_p *pp, int64_t now) {
  int64_t first = atomic_load_explicit(&pp->timer_first, memory_order_relaxed);
  if (first == INT64_MAX) return first;
  if (!now) now = mpgi_os_now();
  while (first <= now) {
    mpgi_mutex_lock(&pp->timer_lock);
    struct mpg_g *gp = fire_locked(pp, now);
    mpgi_mutex_unlock(&pp->timer_lock);
    if (gp) mpgi_ready(gp);
    first = atomic_load_explicit(&pp->timer_first, memory_order_relaxed);
  }
  return first;
}

/* Between a timer's removal and its goroutine's place in the global queue
 * nothing else tells that somebody will run [deadlock.timer]. */
static _Atomic int32_t outside;

void mpgi_timers_run_outside(struct mpg_p *pp, int64_t now) {
  atomic_fetch_add(&outside, 1);
  mpgi_timers_run(pp, now);
  atomic_fetch_sub(&outside, 1);
}

bool mpgi_timers_running_outside(void) { return atomic_load(&outside) != 0; }

int64_t mpgi_timers_first(void) {
  int64_t first = INT64_MAX;
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    int64_t when = atomic_load(&mpgi_sched.allp[i]->timer_first);
    if (when < first) first = when;
  }
  return first;
}

/* ---- sleeping ---- */

static void sleep_until(struct mpg_g *gp, int64_t when) {
  struct mpg_m *mp = gp->m;
  struct mpg_p *pp = mp->p;
  gp->timer.when = when;
  gp->timer.g = gp;
  gp->timer.claim = NULL;
  /* Parked before the timer is visible: a thief may fire it at once. */
  mpgi_park_begin(mp, gp, MPGI_WAIT_SLEEP);
  if (mpgi_timer_add(pp, &gp->timer) != 0)
    mpgi_fatal("out of memory: no room for %u timers", pp->ntimers);
  mpgi_timer_announce(when);
  mpgi_schedule(mp);
}

void mpgi_sleep_g0(int64_t ns) {
  struct mpg_g *gp = mpgi_current_g("mpg_sleep");
  if (ns <= 0) return;
  int64_t now = mpgi_os_now();
  sleep_until(gp, ns > INT64_MAX - 1 - now ? INT64_MAX - 1 : now + ns);
}

void mpgi_sleep_until_g0(int64_t deadline_ns) {
  struct mpg_g *gp = mpgi_current_g("mpg_sleep_until");
  if (deadline_ns < 0) deadline_ns = INT64_MAX - 1; /* none: for ever */
  if (deadline_ns > mpgi_os_now()) sleep_until(gp, deadline_ns);
}

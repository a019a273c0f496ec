/* timer.c - per-P timer heaps: 4-ary, by time, stolen with the P's work.
 *
 * A slot has the time beside the timer, so that order is found without looking
 * at timers.  Deleting is lazy: the slot stays where it is and names no timer,
 * until it comes to an end of the heap or half of the slots are such; so it
 * keeps nothing alive, and what it named may be gone or in a heap again.
 *
 * [timer.inv.heap] slot i's when >= that of slot (i-1)/4; a timer's index is
 * where it is; the first and the last slot name timers; ndead don't.  Checked
 * at MPG_CHECK >= 3.  timer_first mirrors the first slot's when so that nobody
 * takes the lock for nothing.
 *
 * Who wakes: an M that goes idle sleeps until the first timer of all Ps (the
 * poller: poll_idle in proc.c).  Adding publishes timer_first, then loads
 * poll_until; the poller publishes poll_until, then loads timer_first; both
 * sequentially consistent: one of them sees the other.  (Who adds one that
 * isn't the first publishes nothing: the poller sees the first, or was seen.)
 *
 * Who fires: an M with a P, its own P's in schedule(), other Ps' when it steals
 * or when it polls.  sysmon fires nothing.  It sees that a timer is overdue
 * (its P runs a loop, is retired, is in a system call) and makes somebody look
 * at every heap: MPGI_WANT_TIMERS is set, then a P is woken or preempted, again
 * every tick as long as the flag stands.
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

#define DEAD_AT_LEAST 32 /* fewer aren't worth a pass */

typedef struct mpgi_timer_slot slot;

static void put_at(struct mpg_p *pp, uint32_t i, slot s) {
  pp->timers[i] = s;
  if (s.t) s.t->index = i;
}

static void sift_up(struct mpg_p *pp, uint32_t i, slot s) {
  while (i > 0) {
    uint32_t up = (i - 1) / 4;
    if (pp->timers[up].when <= s.when) break;
    put_at(pp, i, pp->timers[up]);
    i = up;
  }
  put_at(pp, i, s);
}

static uint32_t least_child(struct mpg_p *pp, uint32_t i) {
  uint32_t best = 0, first = 4 * i + 1;
  for (uint32_t c = first; c < first + 4 && c < pp->ntimers; c++)
    if (!best || pp->timers[c].when < pp->timers[best].when) best = c;
  return best;
}

static void sift_down(struct mpg_p *pp, uint32_t i, slot s) {
  for (uint32_t c; (c = least_child(pp, i)); i = c) {
    if (pp->timers[c].when >= s.when) break;
    put_at(pp, i, pp->timers[c]);
  }
  put_at(pp, i, s);
}

static bool slot_is_valid(struct mpg_p *pp, uint32_t i) {
  slot s = pp->timers[i];
  if (i && s.when < pp->timers[(i - 1) / 4].when) return false;
  return !s.t || (s.t->index == i && s.t->when == s.when);
}

static bool heap_is_valid(struct mpg_p *pp) {
  uint32_t n = pp->ntimers, dead = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (!slot_is_valid(pp, i)) return false;
    dead += !pp->timers[i].t;
  }
  return dead == pp->ndead &&
         (n == 0 || (pp->timers[0].t && pp->timers[n - 1].t));
}

static void publish_first(struct mpg_p *pp) {
  MPG_ASSERT_EXPENSIVE(heap_is_valid(pp));
  int64_t first = pp->ntimers ? pp->timers[0].when : INT64_MAX;
  if (first != atomic_load_explicit(&pp->timer_first, memory_order_relaxed))
    atomic_store(&pp->timer_first, first);
}

/* Without the dead ones. */
static void compact(struct mpg_p *pp) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < pp->ntimers; i++)
    if (pp->timers[i].t) put_at(pp, n++, pp->timers[i]);
  pp->ntimers = n;
  pp->ndead = 0;
  for (uint32_t i = (n + 2) / 4; i-- > 0;) sift_down(pp, i, pp->timers[i]);
}

static void drop_first(struct mpg_p *pp) {
  slot last = pp->timers[--pp->ntimers];
  if (pp->ntimers) sift_down(pp, 0, last);
}

/* Some slot died, or the first is gone. */
static void tidy(struct mpg_p *pp) {
  for (; pp->ndead; pp->ndead--) {
    if (pp->ndead > pp->ntimers / 2 && pp->ndead > DEAD_AT_LEAST) {
      compact(pp);
      return;
    }
    if (!pp->timers[pp->ntimers - 1].t)
      pp->ntimers--;
    else if (!pp->timers[0].t)
      drop_first(pp);
    else
      return;
  }
}

static bool heap_grow(struct mpg_p *pp) {
  uint32_t cap = pp->timers_cap ? 2 * pp->timers_cap : 64;
  slot *bigger = mpgi_fixmem_alloc(cap * sizeof *bigger, 0);
  if (!bigger) return false;
  if (pp->ntimers) memcpy(bigger, pp->timers, pp->ntimers * sizeof *bigger);
  if (pp->timers)
    mpgi_fixmem_free(pp->timers, pp->timers_cap * sizeof *bigger, 0);
  pp->timers = bigger;
  pp->timers_cap = cap;
  return true;
}

static bool heap_reserve(struct mpg_p *pp) {
  if (pp->ntimers < pp->timers_cap || heap_grow(pp)) return true;
  if (!pp->ndead) return false;
  compact(pp);
  return true;
}

static void out_of_heap(struct mpgi_timer *t) {
  atomic_store_explicit(&t->pp, NULL, memory_order_release); /* timer.claim */
}

static void heap_insert(struct mpg_p *pp, struct mpgi_timer *t) {
  atomic_store_explicit(&t->pp, pp, memory_order_relaxed);
  pp->ntimers++;
  sift_up(pp, pp->ntimers - 1, (slot){t->when, t});
}

int mpgi_timer_add(struct mpg_p *pp, struct mpgi_timer *t) {
  MPG_ASSERT(atomic_load(&t->pp) == NULL && t->when > 0);
  mpgi_mutex_lock(&pp->timer_lock);
  bool ok = heap_reserve(pp);
  if (ok) {
    heap_insert(pp, t);
    publish_first(pp);
    if (pp->ntimers == 1) mpgi_p_want(pp, MPGI_P_WANT_TIMERS);
  }
  mpgi_mutex_unlock(&pp->timer_lock);
  MPGI_CHAOS();
  return ok ? 0 : -ENOMEM;
}

static void heap_delete(struct mpg_p *pp, struct mpgi_timer *t) {
  if (!pp->ndead && t->index == pp->ntimers - 1) {
    pp->ntimers--;
  } else {
    pp->timers[t->index].t = NULL;
    pp->ndead++;
    tidy(pp);
  }
  publish_first(pp);
  out_of_heap(t);
}

bool mpgi_timer_del(struct mpgi_timer *t) {
  bool ours = false;
  struct mpg_p *pp;
  while (!ours && (pp = atomic_load_explicit(&t->pp, memory_order_acquire))) {
    MPGI_CHAOS();
    mpgi_mutex_lock(&pp->timer_lock);
    ours = atomic_load_explicit(&t->pp, memory_order_relaxed) == pp;
    if (ours) heap_delete(pp, t);
    mpgi_mutex_unlock(&pp->timer_lock);
  }
  return ours;
}

static void poller_wake(struct mpg_m *mp) {
  mpgi_note_wake(&mp->park); /* wherever it sleeps */
  mpgi_netpoll_break();
}

static void poller_hurry(int64_t when) {
  struct mpg_m *mp = atomic_load(&mpgi_sched.poller);
  if (!mp || when >= atomic_load(&mpgi_sched.poll_until)) return;
  MPGI_CHAOS();
  poller_wake(mp);
}

void mpgi_timer_announce(int64_t when) {
  poller_hurry(when);
  mpgi_sysmon_due(when);
}

void mpgi_poller_doubt(void) {
  struct mpg_m *mp = atomic_load(&mpgi_sched.poller);
  if (mp) poller_wake(mp);
}

void mpgi_poller_want(void) {
  if (atomic_load(&mpgi_sched.poller) == NULL) mpgi_wakep();
}

/* The first of when + k * period after now: missed ticks are dropped. */
static int64_t next_tick(const struct mpgi_timer *t, int64_t now) {
  int64_t missed = (now - t->when) / t->period, next;
  if (__builtin_mul_overflow(missed + 1, t->period, &next) ||
      __builtin_add_overflow(t->when, next, &next))
    return INT64_MAX - 1;
  return next;
}

/* What is left to do for a timer that was due, without the lock. */
struct due {
  struct mpg_g *wake;
  struct mpgi_timer *call;
};

static struct due fire_locked(struct mpg_p *pp, int64_t now) {
  struct due due = {0};
  if (!pp->ntimers || pp->timers[0].when > now) return due;
  struct mpgi_timer *t = pp->timers[0].t;
  if (!t->g)
    due.call = t;
  else if (!t->claim || t->claim(t->g))
    due.wake = t->g;
  if (t->period) {
    t->when = next_tick(t, now);
    sift_down(pp, 0, (slot){t->when, t});
  } else {
    drop_first(pp);
    out_of_heap(t);
  }
  tidy(pp);
  publish_first(pp);
  return due;
}

int64_t mpgi_timers_run(struct mpg_p *pp, int64_t now) {
  int64_t first = atomic_load_explicit(&pp->timer_first, memory_order_relaxed);
  if (first == INT64_MAX) return first;
  if (!now) now = mpgi_os_now();
  while (first <= now) {
    mpgi_mutex_lock(&pp->timer_lock);
    struct due due = fire_locked(pp, now);
    mpgi_mutex_unlock(&pp->timer_lock);
    MPGI_CHAOS();
    if (due.wake) mpgi_ready(due.wake);
    if (due.call) due.call->call(due.call, now);
    first = atomic_load_explicit(&pp->timer_first, memory_order_relaxed);
  }
  return first;
}

void mpgi_timers_run_overdue(void) {
  mpgi_want_no_more(MPGI_WANT_TIMERS);
  int64_t now = mpgi_os_now();
  for (int32_t i = 0; i < mpgi_sched.nallp; i++)
    mpgi_timers_run(mpgi_sched.allp[i], now);
}

void mpgi_timers_clear(struct mpg_p *pp) {
  for (uint32_t i = 0; i < pp->ntimers; i++)
    if (pp->timers[i].t) out_of_heap(pp->timers[i].t);
  pp->ntimers = pp->ndead = 0;
  atomic_store(&pp->timer_first, INT64_MAX);
}

int64_t mpgi_timers_first(void) {
  int64_t first = INT64_MAX;
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    int64_t when = atomic_load(&mpgi_sched.allp[i]->timer_first);
    if (when < first) first = when;
  }
  return first;
}

/* ---- sleeping ---- */

void mpgi_timer_arm(struct mpg_p *pp, struct mpg_g *gp, int64_t when,
                    bool (*claim)(struct mpg_g *gp)) {
  gp->timer.when = when;
  gp->timer.period = 0;
  gp->timer.g = gp;
  gp->timer.claim = claim;
  if (mpgi_timer_add(pp, &gp->timer) != 0)
    mpgi_fatal("out of memory: no room for %u timers", pp->ntimers + 1);
}

static void sleep_until(struct mpg_g *gp, int64_t when) {
  struct mpg_m *mp = gp->m;
  /* Parked before the timer is visible: a thief may fire it at once. */
  mpgi_park_begin(mp, gp, MPGI_WAIT_SLEEP);
  MPGI_CHAOS();
  mpgi_timer_arm(mp->p, gp, when, NULL);
  mpgi_timer_announce(when);
  MPGI_CHAOS();
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

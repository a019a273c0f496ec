/* proc.c - the scheduler proper: finding work, running it, parking, waking.
 *
 * Every function here runs on g0.  A goroutine arrives through an entry thunk
 * (its registers are on its own stack, ctx.sp is set) or through the
 * async-preemption trampoline; it leaves g0 by mpgi_arch_resume.  Operations
 * that block are therefore two-part: mpgi_park_begin detaches the goroutine
 * while the caller still holds the queue's lock, and mpgi_schedule, which
 * never returns, starts g0 afresh with the next one.
 *
 * Waking: nobody must be forgotten, and not everybody be woken.
 *   submitter   1. put the G on a run queue
 *               2. full fence                                  [wake.fence]
 *               3. if some P is idle and no M spins, start one spinning
 *   M that      1. its P to the idle list: npidle += 1         [wake.fence]
 *   goes idle   2. when it was spinning: nmspinning -= 1       [wake.fence]
 *               3. look at every run queue once more
 * So either the submitter sees an idle P and no spinner and wakes one, or
 * whoever it relied on looks after the put.  That M need not have spun: with
 * enough spinners it goes idle at once, and they may find work and leave
 * before its P counts as idle (Go up to 1.19 forgets wake-ups there).
 * An M that leaves spinning because it found work looks again, too, and starts
 * another spinner in its place when there is more.  Who takes nmspinning back
 * without having looked does so under sched.lock, with no P idle or before one
 * is, or is a stopper: at its end the world is looked through as well.
 * Model-checked by tests/model/wake_model.c.
 *
 * [wake.lazy] A thread that is woken comes some microseconds later.  Nobody is
 * woken, the P is lazy, and its queue is nobody else's to take from or to look
 * for
 *   - for whoever is in runnext, when the owner has run itself, LAZY_AFTER
 *     times, whom it had put there, and none was stolen meanwhile and nobody
 *     else waits: two goroutines that wake each other and then wait;
 *   - for any, when a thread was woken in vain: it took nothing, and the owner
 *     ran LAZY_AFTER or more until it was gone; as long as what was run since
 *     the ring was empty, and what waits there, is less than MPGI_BRIEF_RUNS.
 *     So it is for some that wake each other all the time, or that do next to
 *     nothing; on two Ps they would mostly wait for cache lines.
 * A thief that sees a short ring move on makes a P lazy, too [steal.short].
 * Nobody is forgotten: the owner runs them when its goroutine waits or ends its
 * slice; and sysmon, which looks every 100 us while some P is lazy, or less
 * often while that P runs many [lazy.pace], ends it when runnext has waited
 * that long, or when somebody waits in the ring and the owner has not run many
 * meanwhile:
 *   sysmon      1. late = 1, lazy = 0
 *               2., 3. as a submitter
 *   owner       starts to count anew
 * Every change from lazy to not goes before a full fence and a look for idle
 * Ps, which is a submission of whoever waits then; or its queue is empty.
 * Whoever sets lazy tells sysmon (mpgi_sysmon_lazy; tests/model/poll_model.c).
 *
 * Fairness: every 61st slice looks at the global queue first; runnext inherits
 * the slice of its waker, so that two goroutines that wake each other count as
 * one, but the ring has its turn after some of these [fair.ring].  Source: Go
 * proc.go (schedule, findRunnable, ready, wakep).
 */
#include <sched/sched.h>

#include <errno.h>

#include <sched/gmp.h>

#include <sched/hot.h>

struct mpgi_sched mpgi_sched = {
    .lock = MPGI_MUTEX_INIT(MPGI_RANK_SCHED),
    .allg_lock = MPGI_MUTEX_INIT(MPGI_RANK_ALLG),
    .resize_lock = MPGI_MUTEX_INIT(MPGI_RANK_RESIZE),
    .max_m = 10000,
};

#define GLOBAL_FIRST_EVERY 61
#define RING_FIRST_EVERY 4096
#define RING_FIRST_LAZY 16
#define TIMERS_EVERY 8
#define WOKEN_FIRST_EVERY 2
#ifndef STEAL_ROUNDS /* models have fewer */
#define STEAL_ROUNDS 4
#endif
#define LAZY_AFTER 16
#ifndef SET_WAKING /* for thieves' patience: models have none */
#define SET_WAKING(pp, on) \
  atomic_store_explicit(&(pp)->waking, (on), memory_order_relaxed)
#endif

void mpgi_wakep(void) {
  mpgi_arch_fence(); /* [wake.fence] */
  if (atomic_load_explicit(&mpgi_sched.npidle, memory_order_relaxed) == 0)
    return;
  MPGI_CHAOS();
  int32_t zero = 0;
  if (atomic_load_explicit(&mpgi_sched.nmspinning, memory_order_relaxed) ||
      !atomic_compare_exchange_strong(&mpgi_sched.nmspinning, &zero, 1))
    return;
  MPGI_CHAOS();
  mpgi_m_start(NULL, true);
}

/* Somebody was woken for pp.  In vain, when nobody looks any more and nothing
 * was taken: how many goroutines were run until then?  waiting: in the ring. */
static void judge_wake(struct mpg_p *pp, uint32_t waiting) {
  if (atomic_load_explicit(&mpgi_sched.nmspinning, memory_order_relaxed))
    return;
  pp->asked = false;
  pp->brief = mpgi_p_runs(pp) - pp->asked_at < LAZY_AFTER ? 0 : MPGI_BRIEF_RUNS;
  pp->brief_left = (int32_t) (pp->brief - waiting);
}

/* [wake.lazy] */
static bool may_be_lazy(struct mpg_p *pp, bool kicked) {
  uint32_t taken = atomic_load_explicit(&pp->next_taken, memory_order_relaxed);
  uint32_t waiting = mpgi_runq_size(pp);
  bool late = atomic_load_explicit(&pp->late, memory_order_relaxed);
  if (late) {
    atomic_store_explicit(&pp->late, 0, memory_order_relaxed);
    pp->asked = false;
    pp->brief = 0;
    pp->brief_left = 0;
  } else if (pp->asked) {
    judge_wake(pp, waiting);
  }
  if (late || waiting) pp->next_base = taken;
  if (waiting <= kicked) pp->brief_left = (int32_t) pp->brief;
  return taken - pp->next_base >= LAZY_AFTER || pp->brief_left > 0;
}

void mpgi_wake_for_next(struct mpg_p *pp, bool kicked) {
  bool lazy = may_be_lazy(pp, kicked);
  bool was = atomic_load_explicit(&pp->lazy, memory_order_relaxed);
  if (was != lazy) atomic_store_explicit(&pp->lazy, lazy, memory_order_relaxed);
  if (lazy) {
    if (!was) mpgi_sysmon_lazy();
    return;
  }
  if (!pp->asked) pp->asked_at = mpgi_p_runs(pp);
  pp->asked = true;
  SET_WAKING(pp, 1);
  mpgi_wakep();
  SET_WAKING(pp, 0);
}

/* What waits is for everybody again: before a mpgi_wakep, or none does. */
static void lazy_end(struct mpg_p *pp) {
  if (atomic_load_explicit(&pp->lazy, memory_order_relaxed))
    atomic_store_explicit(&pp->lazy, 0, memory_order_relaxed);
}

static void woken_globally(struct mpgi_gqueue *q) {
  MPGI_CHAOS();
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_globq_put_woken_locked(q);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  mpgi_wakep();
  if (atomic_load_explicit(&mpgi_sched.npidle, memory_order_relaxed) == 0)
    mpgi_sysmon_preempt();
}

void mpgi_ready_globally(struct mpg_g *gp) {
  struct mpgi_gqueue q = {0};
  mpgi_gqueue_push(&q, gp);
  woken_globally(&q);
}

static bool poller_wanted(void) {
  return (mpgi_timers_first() != INT64_MAX || mpgi_netpoll_waiting()) &&
         atomic_load(&mpgi_sched.poller) == NULL;
}

void mpgi_wake_if_wanted(void) {
  if (mpgi_work_anywhere() || poller_wanted()) mpgi_wakep();
}

/* mp looks for work and will find what is put on its empty queue: waking
 * another thread for it would cost more than most goroutines do. */
static bool finds_next(const struct mpg_m *mp) {
  return !mp->curg && mpgi_runq_empty(mp->p);
}

static void ready_here(struct mpg_m *mp, struct mpg_g *gp) {
  mpgi_hot_runq_put_next(mp->p, gp, true);
  if (poller_wanted()) mpgi_wakep();
}

/* By whoever isn't a thread amid a goroutine of its P, or with something else
 * to be done about it. */
void mpgi_ready_specially(struct mpg_m *mp, struct mpg_g *gp) {
  if (gp->attached) {
    mpgi_attached_ready(gp);
    return;
  }
  mpgi_hot_status_set(gp, MPGI_G_WAITING, MPGI_G_RUNNABLE);
  MPGI_TRACE_READY(mp, G_WAKE, gp);
  if (!mp || !mp->p || mp->attached) {
    mpgi_ready_globally(gp);
    return;
  }
  if (mp->fastrand % MPGI_LATENCY_EVERY == 0) {
    gp->extra |= MPGI_EXTRA_LATENCY;
    gp->ready_at = mpgi_os_now();
  }
  if (finds_next(mp))
    ready_here(mp, gp);
  else
    mpgi_hot_put_next_and_wake(mp->p, gp, true);
}

MPGI_HOT_END void mpgi_ready(struct mpg_g *gp) {
  struct mpg_m *mp = mpgi_tls_m();
  if (MPGI_LIKELY(mp && mp->curg)) {
    mpgi_hot_ready(mp, gp);
    return;
  }
  if (mp) mp->fastrand++; /* as in mpgi_hot_ready */
  mpgi_ready_specially(mp, gp);
}

/* Attached threads wake by themselves; the rest stays in q, runnable. */
static void batch_runnable(struct mpg_m *mp, struct mpgi_gqueue *q) {
  struct mpgi_gqueue all = *q;
  *q = (struct mpgi_gqueue){0};
  for (struct mpg_g *gp; (gp = mpgi_gqueue_pop(&all));) {
    if (MPGI_UNLIKELY(gp->attached)) {
      mpgi_attached_ready(gp);
      continue;
    }
    mpgi_g_status_set(gp, MPGI_G_WAITING, MPGI_G_RUNNABLE);
    MPGI_TRACE_READY(mp, G_WAKE, gp);
    mpgi_gqueue_push(q, gp);
  }
}

/* looks: for work. */
static void ready_batch(struct mpgi_gqueue *q, bool looks) {
  struct mpg_m *mp = mpgi_tls_m();
  struct mpg_p *pp = mp && !mp->attached ? mp->p : NULL;
  if (!q->n) return;
  batch_runnable(mp, q);
  if (!q->n) return;
  if (!pp) {
    woken_globally(q);
    return;
  }
  bool one = looks && q->n == 1 && mpgi_runq_empty(pp);
  for (struct mpg_g *gp; (gp = mpgi_gqueue_pop(q));)
    mpgi_runq_put(pp, gp, false);
  mpgi_hot_runq_mark_woken(pp);
  lazy_end(pp);
  if (!one || !mpgi_sysmon_polls_soon()) mpgi_wakep(); /* [netpoll.lazy] */
}

void mpgi_ready_batch(struct mpgi_gqueue *q) { ready_batch(q, false); }

static void spinning_begin(struct mpg_m *mp) {
  if (mp->spinning) return;
  mp->spinning = true;
  atomic_fetch_add(&mpgi_sched.nmspinning, 1);
}

/* Found work while spinning. */
static void spinning_end(struct mpg_m *mp) {
  MPG_ASSERT(mp->spinning);
  mp->spinning = false;
  int32_t n = atomic_fetch_sub(&mpgi_sched.nmspinning, 1);
  MPG_VERIFY(n > 0);
  MPGI_CHAOS();
  mpgi_arch_fence(); /* [wake.fence] */
  mpgi_wake_if_wanted();
}

/* ---- running ---- */

static void record_latency(struct mpg_g *gp) {
  mpgi_metric_record(MPG_METRIC_SCHED_LATENCY, mpgi_os_now() - gp->ready_at);
}

/* [cxx.swap] */
void mpgi_cxx_leave(struct mpgi_cxx *cxx, struct mpg_g *gp) {
  gp->cxx_caught = cxx->caught;
  gp->cxx_uncaught = (uint32_t) cxx->uncaught;
  gp->extra |= MPGI_EXTRA_CXX;
  *cxx = (struct mpgi_cxx){0};
}

static void cxx_return(struct mpg_m *mp, const struct mpg_g *gp) {
  MPG_ASSERT(mp->cxx && !mp->cxx->caught && !mp->cxx->uncaught);
  mp->cxx->caught = gp->cxx_caught;
  mp->cxx->uncaught = gp->cxx_uncaught;
}

static void new_slice(struct mpg_p *pp) {
  uint32_t tick = atomic_load_explicit(&pp->schedtick, memory_order_relaxed);
  atomic_store_explicit(&pp->schedtick, tick + 1, memory_order_relaxed);
}

/* gp is to run on mp. */
MPGI_HOT void give_p(struct mpg_m *mp, struct mpg_p *pp, struct mpg_g *gp,
                     bool inherit) {
  MPG_ASSERT_INTERNAL(mp->p == pp && pp->m == mp && !mp->curg && !mp->spinning);
  mpgi_hot_status_set(gp, MPGI_G_RUNNABLE, MPGI_G_RUNNING);
  mp->curg = gp;
  gp->m = mp;
  gp->wait_reason = MPGI_WAIT_NONE;
  if (!inherit) new_slice(pp);
  mpgi_hot_preempt_clear(gp);
}

/* What may be to be done before it goes on; it has the P, and its start was
 * traced.  quick: as schedule. */
static __attribute__((noinline)) _Noreturn void go_on_specially(
    struct mpg_m *mp, struct mpg_g *gp, bool quick) {
  gp->trace_wake = 0;
  if (gp->extra & MPGI_EXTRA_LATENCY) record_latency(gp);
  if (gp->extra & MPGI_EXTRA_CXX) cxx_return(mp, gp);
  gp->extra &= MPGI_EXTRA_LOCKED;
  if (gp->movable) mpgi_move_in(mpgi_movable_of(gp));
  if (gp->last_tp && gp->last_tp != mp->thread_pointer)
    mpgi_tls_migrate(gp, mp);
  gp->last_tp = mp->thread_pointer;
  if (gp->ctx.xsave) errno = gp->saved_errno;
  if (gp->on_resume) {
    void (*fn)(struct mpg_g *) = gp->on_resume;
    gp->on_resume = NULL;
    fn(gp);
  }
  /* The stopper may have looked at curg before we set it: its signal may have
   * found us on g0.  It sends again (stw.c), so this is only for speed. */
  while (!quick && mpgi_stw_waiting()) mpgi_stop_here(mp);
  mpgi_arch_resume(&gp->ctx);
}

/* [trace.switch] As get_ready_quick, with a trace on; and gp goes on. */
static __attribute__((noinline)) _Noreturn void go_on_traced(struct mpg_m *mp,
                                                             struct mpg_g *gp) {
  mpgi_trace_start(mp, gp, true);
  if (gp->extra & ~MPGI_EXTRA_WOKEN || gp->movable ||
      gp->last_tp != mp->thread_pointer)
    go_on_specially(mp, gp, true);
  gp->extra = 0;
  gp->trace_wake = 0;
  mpgi_arch_resume(&gp->ctx);
}

/* gp has nothing extra, or a select's on_resume.  last_tp 0: it never ran.
 * watched: there may be a trace. */
MPGI_HOT void get_ready_quick(struct mpg_m *mp, struct mpg_p *pp,
                              struct mpg_g *gp, bool inherit, bool watched) {
  give_p(mp, pp, gp, inherit);
  if (watched && MPGI_UNLIKELY(mpgi_trace_is_on())) go_on_traced(mp, gp);
  if (MPGI_UNLIKELY(gp->last_tp != mp->thread_pointer)) {
    if (gp->last_tp) go_on_specially(mp, gp, true);
    gp->last_tp = mp->thread_pointer;
  }
}

MPGI_HOT _Noreturn void execute_select(struct mpg_m *mp, struct mpg_g *gp,
                                       bool inherit) {
  get_ready_quick(mp, mp->p, gp, inherit, true);
  gp->extra = 0;
  gp->trace_wake = 0;
  gp->on_resume = NULL;
  mpgi_select_go_on(gp);
}

MPGI_HOT_END void mpgi_execute(struct mpg_m *mp, struct mpg_g *gp,
                               bool inherit) {
  give_p(mp, mp->p, gp, inherit);
  MPGI_TRACE_START(mp, gp, false);
  go_on_specially(mp, gp, false);
}

static inline struct mpg_g *global_one(struct mpg_p *pp,
                                       enum mpgi_globq_rule rule) {
  if (atomic_load_explicit(&mpgi_sched.runq_size, memory_order_relaxed) == 0)
    return NULL;
  mpgi_mutex_lock(&mpgi_sched.lock);
  struct mpg_g *gp = mpgi_globq_get_locked(pp, rule);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  return gp;
}

/* ---- stealing ---- */

static uint32_t gcd(uint32_t a, uint32_t b) {
  while (b) {
    uint32_t t = a % b;
    a = b;
    b = t;
  }
  return a;
}

/* Visit every other P once, in an order that differs each time: start at
 * random and step by a number coprime to n. */
static struct mpg_g *steal_round(struct mpg_m *mp, bool last, int64_t *next) {
  struct mpg_p *pp = mp->p;
  uint32_t n = (uint32_t) mpgi_sched.nallp;
  uint32_t r = mpgi_xorshift(&mp->rand);
  uint32_t at = r % n, step = 1 + (r >> 16) % n;
  while (gcd(step, n) != 1) step = step % n + 1;
  for (uint32_t i = 0; i < n; i++, at = (at + step) % n) {
    struct mpg_p *from = mpgi_sched.allp[at];
    if (from == pp || mpgi_stw_waiting()) continue;
    if (last && atomic_load_explicit(&from->timer_first,
                                     memory_order_relaxed) != INT64_MAX) {
      int64_t when = mpgi_timers_run(from, 0);
      if (when < *next) *next = when;
      bool inherit;
      struct mpg_g *gp = mpgi_runq_get(pp, &inherit);
      if (gp) return gp;
    }
    struct mpg_g *gp = mpgi_runq_steal(pp, from, last);
    if (gp) return gp;
  }
  return NULL;
}

static struct mpg_g *steal_work(struct mpg_m *mp, int64_t *next) {
  if (mpgi_opt.nosteal) return NULL;
  for (int round = 0; round < STEAL_ROUNDS; round++) {
    struct mpg_g *gp = steal_round(mp, round == STEAL_ROUNDS - 1, next);
    if (gp || mpgi_stw_waiting()) return gp;
    mpgi_arch_relax();
  }
  return NULL;
}

/* ---- going idle ---- */

/* For whoever let go of its P and is needed.  True: it has an idle one. */
static bool reacquire_idle_p(struct mpg_m *mp) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  struct mpg_p *pp = mpgi_p_idle_get_locked();
  mpgi_mutex_unlock(&mpgi_sched.lock);
  if (!pp) return false;
  mpgi_p_acquire(mp, pp);
  return true;
}

bool mpgi_work_anywhere(void) {
  if (atomic_load_explicit(&mpgi_sched.runq_size, memory_order_relaxed))
    return true;
  if (mpgi_opt.nosteal) return false;
  for (int32_t i = 0; i < mpgi_sched.nallp; i++)
    if (!mpgi_runq_closed(mpgi_sched.allp[i])) return true;
  return false;
}

/* The last look of an M that let go of its P (head of file).  True: mp has a
 * P again and spins. */
static bool last_look(struct mpg_m *mp) {
  MPG_ASSERT(!mp->p);
  if (mp->spinning) {
    mp->spinning = false;
    int32_t n = atomic_fetch_sub(&mpgi_sched.nmspinning, 1); /* [wake.fence] */
    MPG_VERIFY(n > 0);
  }
  MPGI_CHAOS();
  if (!mpgi_work_anywhere() || !reacquire_idle_p(mp)) return false;
  spinning_begin(mp);
  return true;
}

/* Until then, in epoll once descriptors are used at all. */
static void poll_sleep(struct mpg_m *mp, int64_t ns,
                       struct mpgi_gqueue *ready) {
  if (mpgi_netpoll_on())
    mpgi_netpoll(ns, ready);
  else if (ns < 0)
    mpgi_note_sleep(&mp->park);
  else
    mpgi_note_sleep_timed(&mp->park, ns);
}

/* Sleep, as the only M, until the first timer or the first descriptor that is
 * ready.  True: mp has a P. */
static bool poll_idle(struct mpg_m *mp) {
  struct mpgi_gqueue ready = {0};
  int64_t first = mpgi_timers_first();
  if (first == INT64_MAX && !mpgi_netpoll_waiting()) return false;
  struct mpg_m *none = NULL;
  mpgi_note_clear(&mp->park);
  if (!atomic_compare_exchange_strong(&mpgi_sched.poller, &none, mp))
    return false;
  /* Publish, then look again: mpgi_timer_add does it the other way round. */
  MPGI_CHAOS();
  atomic_store(&mpgi_sched.poll_until, first);
  MPGI_CHAOS();
  /* Never later than published, even when the second look finds no timer:
   * who adds one after it hurries us only if it is before poll_until. */
  int64_t again = mpgi_timers_first();
  bool nothing = again == INT64_MAX && !mpgi_netpoll_waiting();
  if (again > first) again = first;
  int64_t wait = again == INT64_MAX ? -1 : again - mpgi_os_now();
  if (!nothing && (wait > 0 || again == INT64_MAX) &&
      !atomic_load(&mpgi_sched.exiting))
    poll_sleep(mp, wait, &ready);
  MPGI_CHAOS();
  atomic_store(&mpgi_sched.poll_until, INT64_MAX);
  MPGI_CHAOS();
  atomic_store(&mpgi_sched.poller, NULL);
  MPGI_CHAOS();
  if (mpgi_timers_first() <= mpgi_os_now()) /* whosever it is */
    mpgi_want(MPGI_WANT_TIMERS);
  /* Whoever wakes the poller read the pointer before this store and may still
   * be about to touch the note: an M is never freed while the runtime runs, a
   * stray wake-up only makes the next sleep on the note end early, and each
   * sleeper looks again. */
  if (atomic_load(&mpgi_sched.exiting)) mpgi_m_exit(mp);
  bool again_with_p = reacquire_idle_p(mp);
  MPGI_CHAOS();
  if (!again_with_p) mpgi_sysmon_preempt();
  ready_batch(&ready, true);
  return again_with_p;
}

/* Descriptors that are ready now, unless somebody waits for them.  True: some
 * goroutine is. */
static bool poll_ready(void) {
  struct mpgi_gqueue ready = {0};
  if (!mpgi_netpoll_waiting() ||
      atomic_load_explicit(&mpgi_sched.poller, memory_order_relaxed))
    return false;
  mpgi_netpoll(0, &ready);
  bool any = ready.n != 0;
  ready_batch(&ready, true);
  return any;
}

/* All that a poll finds has room here: what is too much would go through the
 * global queue.  Not for long, though: the ring may never run empty. */
static bool poll_fits(struct mpg_p *pp) {
  return mpgi_runq_size(pp) + MPGI_OS_POLL_EVENTS <= MPGI_RUNQ_SLOTS ||
         mpgi_os_now() - mpgi_netpoll_last() >= MPGI_FAIR_NS;
}

/* Give up the P unless there is a reason not to.  True: look again with it. */
static bool keep_p(struct mpg_m *mp, struct mpg_g **found) {
  struct mpg_p *pp = mp->p;
  MPGI_CHAOS();
  mpgi_mutex_lock(&mpgi_sched.lock);
  bool again = mpgi_stw_waiting() || mpgi_p_retires(pp);
  if (!again) {
    *found = mpgi_globq_get_locked(pp, MPGI_GLOBQ_BATCH);
    again = *found != NULL;
  }
  if (!again) mpgi_p_idle_put_locked(mpgi_p_release(mp));
  mpgi_mutex_unlock(&mpgi_sched.lock);
  MPGI_CHAOS();
  return again;
}

static bool may_spin(struct mpg_m *mp) {
  if (mp->spinning) return true;
  int32_t busy = atomic_load_explicit(&mpgi_sched.procs, memory_order_relaxed) -
                 atomic_load_explicit(&mpgi_sched.npidle, memory_order_relaxed);
  return 2 * atomic_load_explicit(&mpgi_sched.nmspinning,
                                  memory_order_relaxed) <
         busy;
}

/* Stop for the world, or let go of a P beyond gomaxprocs; on return mp has a
 * P that may run. */
static void obey_stopper(struct mpg_m *mp) {
  for (;;) {
    while (mpgi_stw_waiting()) mpgi_stop_here(mp);
    if (!mpgi_p_retires(mp->p)) return;
    if (mp->spinning) {
      mp->spinning = false;
      atomic_fetch_sub(&mpgi_sched.nmspinning, 1);
    }
    MPGI_CHAOS();
    mpgi_p_retire(mp);
    mpgi_m_stop(mp);
  }
}

static void look_at_overdue_timers(void) {
  if (mpgi_timers_overdue()) mpgi_timers_run_overdue();
}

static struct mpg_g *find_runnable(struct mpg_m *mp, bool *inherit) {
  for (;;) {
    obey_stopper(mp);
    look_at_overdue_timers();
    struct mpg_p *pp = mp->p;
    struct mpg_g *gp = NULL;
    int64_t next = mpgi_timers_run(pp, 0);
    *inherit = false;
    if ((gp = mpgi_runq_get(pp, inherit))) return gp;
    lazy_end(pp);
    if ((gp = global_one(pp, MPGI_GLOBQ_BATCH))) return gp;
    if (poll_ready()) continue;
    if (may_spin(mp)) {
      spinning_begin(mp);
      if ((gp = steal_work(mp, &next))) return gp;
    }
    MPGI_CHAOS();
    if (mpgi_stw_waiting()) continue;
    if (keep_p(mp, &gp)) {
      if (gp) return gp;
      continue;
    }
    if (last_look(mp)) continue;
    if (poll_idle(mp)) continue;
    mpgi_m_stop(mp);
  }
}

/* ---- the loop ---- */

static inline bool has_timers(struct mpg_p *pp) {
  return atomic_load_explicit(&pp->timer_first, memory_order_relaxed) !=
         INT64_MAX;
}

/* MPG_DEBUG=stackmove: whatever can be swapped out is. */
static void move_now(struct mpg_m *mp) {
  mp->move_wanted = false;
  mpgi_gc_collect(MPGI_GC_FORCED);
}

/* The end of a whole slice [fair.turn]. */
static bool took_turn(struct mpg_p *pp) {
  if (!mpgi_p_want_no_more(pp, MPGI_P_WANT_TURN)) return false;
  bool local = pp->global_ran; /* [fair.turn] */
  pp->global_ran = false;
  return !local;
}

/* Somebody waits in the global queue who was woken: as good as one of ours. */
static inline bool some_woken_globally(uint32_t tick) {
  return tick % WOKEN_FIRST_EVERY == 0 &&
         atomic_load_explicit(&mpgi_sched.runq_woken, memory_order_relaxed);
}

static inline void ran_next(struct mpg_p *pp) {
  uint32_t n = atomic_load_explicit(&pp->next_taken, memory_order_relaxed);
  atomic_store_explicit(&pp->next_taken, n + 1, memory_order_relaxed);
}

/* [fair.family] A newborn counts as who is in runnext does, but not for
 * laziness, which is about two that wake each other. */
static __attribute__((noinline)) struct mpg_g *take_young(struct mpg_p *pp) {
  uint32_t tail = atomic_load_explicit(&pp->runq_tail, memory_order_relaxed);
  mpgi_hot_runq_prefetch(pp, tail - 2);
  struct mpg_g *gp = mpgi_hot_runq_take_young(pp);
  if (gp) {
    ran_next(pp);
    pp->next_base++;
  }
  return gp;
}

/* Who goes on with the slice; young: maybe there are newborns. */
MPGI_HOT struct mpg_g *take_family(struct mpg_p *pp, bool young) {
  struct mpg_g *gp = mpgi_hot_runq_take_next(pp);
  if (gp)
    ran_next(pp);
  else if (young && MPGI_UNLIKELY(pp->young != 0))
    gp = take_young(pp);
  return gp;
}

/* [fair.ring] Two that wake each other by runnext would keep the ring waiting
 * for a whole slice, and nobody else takes from a lazy P's.  Not too often: who
 * was woken last has its data in the cache, and a tree of goroutines becomes
 * broad otherwise.  A turn that is lost (something else is due then, and after
 * that runnext is first) comes at the end of the slice (next_g). */
static inline bool ring_has_turn(struct mpg_p *pp) {
  uint32_t n = atomic_load_explicit(&pp->next_taken, memory_order_relaxed) + 1;
  if (MPGI_LIKELY(n % RING_FIRST_LAZY != 0)) return false;
  if (mpgi_hot_ring_all_young(pp) ||
      (n % RING_FIRST_EVERY != 0 &&
       !atomic_load_explicit(&pp->lazy, memory_order_relaxed)))
    return false;
  ran_next(pp);
  return true;
}

/* [quick] Some slice that comes is the next whose end isn't quick. */
static void set_look(struct mpg_p *pp, uint32_t tick) {
  uint32_t every = has_timers(pp) ? TIMERS_EVERY : GLOBAL_FIRST_EVERY;
  uint32_t at = tick - tick % every + every;
  uint32_t global = tick - tick % GLOBAL_FIRST_EVERY + GLOBAL_FIRST_EVERY;
  pp->look_at = at < global ? at : global;
}

MPGI_HOT bool is_wanted(const struct mpg_p *pp, uint32_t but) {
  return MPGI_UNLIKELY(((mpgi_wants() & ~but) | mpgi_p_wants(pp)) != 0);
}

/* The oldest of a ring with somebody, unless something else is due or a thief
 * was quicker.  (Of a few all are in the cache.) */
#define FEW 8
MPGI_HOT struct mpg_g *next_of_ring(struct mpg_p *pp, struct mpgi_ring ring) {
  uint32_t tick = atomic_load_explicit(&pp->schedtick, memory_order_relaxed);
  if (MPGI_UNLIKELY((int32_t) (tick - pp->look_at) >= 0)) return NULL;
  if (mpgi_hot_ring_n(ring) > FEW)
    mpgi_hot_runq_prefetch(pp, (uint32_t) ring.head + 1);
  return mpgi_hot_runq_take_at(pp, &ring.head);
}

static __attribute__((noinline)) struct mpg_g *next_g(struct mpg_m *mp,
                                                      bool *inherit) {
  MPGI_CHAOS();
  obey_stopper(mp);
  struct mpg_p *pp = mp->p;
  uint32_t tick = atomic_load_explicit(&pp->schedtick, memory_order_relaxed);
  struct mpg_g *gp = NULL;
  *inherit = false;
  if (MPGI_UNLIKELY(mp->move_wanted)) move_now(mp);
  look_at_overdue_timers();
  bool due = mpgi_p_want_no_more(pp, MPGI_P_WANT_TIMERS);
  if (due || tick % TIMERS_EVERY == 0) mpgi_timers_run(pp, 0);
  set_look(pp, tick);
  bool ended = mpgi_p_wants(pp) & MPGI_P_WANT_TURN, turn = took_turn(pp);
  if (turn || tick % GLOBAL_FIRST_EVERY == 0) {
    gp = global_one(pp, turn ? MPGI_GLOBQ_TURN : MPGI_GLOBQ_LOOK);
    /* Otherwise they would keep the local queue from ever running empty. */
    if (!gp && poll_fits(pp)) poll_ready();
  } else if (some_woken_globally(tick)) {
    gp = global_one(pp, MPGI_GLOBQ_BATCH);
  }
  if (ended || gp) pp->young = 0; /* [fair.family] */
  if (ended && !gp) gp = mpgi_hot_runq_take_head(pp, true);
  if (!gp) gp = mpgi_runq_get(pp, inherit);
  if (!gp) gp = find_runnable(mp, inherit);
  if (mp->spinning) spinning_end(mp);
  MPGI_CHAOS();
  return gp;
}

/* From the top of g0. */
static MPGI_HOT_END void schedule_on_g0(void *arg) {
  struct mpg_m *mp = arg;
  MPG_ASSERT_INTERNAL(!mp->curg);
  if (MPGI_UNLIKELY(mp->locked_g != NULL)) {
    if (mp->attached) mpgi_attached_run(mp);
    mpgi_lock_run(mp);
  }
  bool inherit = mp->inherits;
  struct mpg_g *gp = mp->picked;
  mp->picked = NULL;
  if (!gp) gp = next_g(mp, &inherit);
  while (MPGI_UNLIKELY(gp->locked_m != NULL)) {
    mpgi_lock_give_p(mp, gp);
    mpgi_m_stop(mp);
    gp = next_g(mp, &inherit);
  }
  mpgi_execute(mp, gp, inherit);
}

static __attribute__((noinline)) _Noreturn void schedule_specially(
    struct mpg_m *mp, struct mpg_g *picked, bool inherits) {
  MPG_ASSERT(!mp->picked);
  mp->picked = picked;
  mp->inherits = inherits;
  mpgi_arch_g0_restart(mp->g0_sp, schedule_on_g0, mp);
}

/* on_resume may park again, and who does so from these frames must not grow
 * the stack; a select's doesn't. */
static MPGI_HOT_END __attribute__((noinline)) _Noreturn void run_with_extra(
    struct mpg_m *mp, struct mpg_g *gp, bool inherit) {
  unsigned extra = gp->extra & ~MPGI_EXTRA_WOKEN;
  if (extra == MPGI_EXTRA_RESUME && gp->on_resume == mpgi_select_resumed &&
      !gp->movable)
    execute_select(mp, gp, inherit);
  if (extra & (MPGI_EXTRA_RESUME | MPGI_EXTRA_ASYNC | MPGI_EXTRA_LOCKED))
    schedule_specially(mp, gp, inherit);
  give_p(mp, mp->p, gp, inherit);
  if (MPGI_UNLIKELY(mpgi_trace_is_on())) go_on_traced(mp, gp);
  go_on_specially(mp, gp, true);
}

/* Mostly there is nothing to be done before gp runs: no need to leave these
 * frames then. */
MPGI_HOT _Noreturn void run_quick(struct mpg_m *mp, struct mpg_p *pp,
                                  struct mpg_g *gp, bool inherit,
                                  bool watched) {
  if (MPGI_UNLIKELY(!gp)) schedule_specially(mp, NULL, inherit);
  if (MPGI_UNLIKELY(gp->extra || gp->movable)) run_with_extra(mp, gp, inherit);
  MPG_ASSERT_INTERNAL(!gp->on_resume && !gp->ctx.xsave && !gp->locked_m &&
                      !gp->trace_wake); /* [start.extra] */
  get_ready_quick(mp, pp, gp, inherit, watched);
  mpgi_arch_resume(&gp->ctx);
}

/* [quick] Nothing is wanted: no stop, no timer, no look at the global queue or
 * the network.  Who is handed the P by runnext goes on with the slice, so that
 * only new ones are counted. */
MPGI_HOT _Noreturn void schedule_quick(struct mpg_m *mp, struct mpg_p *pp,
                                       bool young) {
  bool family = mpgi_hot_has_next(pp) || (young && pp->young);
  if (family && MPGI_LIKELY(!ring_has_turn(pp))) {
    struct mpg_g *gp = take_family(pp, young);
    if (MPGI_LIKELY(gp != NULL)) run_quick(mp, pp, gp, true, true);
  }
  struct mpgi_ring ring = mpgi_hot_ring(pp);
  struct mpg_g *gp = mpgi_hot_ring_n(ring) ? next_of_ring(pp, ring) : NULL;
  run_quick(mp, pp, gp, false, true);
}

MPGI_HOT _Noreturn void schedule(struct mpg_m *mp, bool young) {
  struct mpg_p *pp = mp->p;
  if (MPGI_UNLIKELY(mp->locked_g || mp->spinning || mp->move_wanted ||
                    is_wanted(pp, MPGI_WANT_WATCH)))
    schedule_specially(mp, NULL, false);
  schedule_quick(mp, pp, young);
}

MPGI_HOT_END void mpgi_schedule(struct mpg_m *mp) { schedule(mp, true); }

static MPGI_HOT_END __attribute__((noinline)) _Noreturn void schedule_apart(
    struct mpg_m *mp) {
  schedule(mp, false);
}

/* ---- leaving a goroutine ---- */

void mpgi_drop_g(struct mpg_m *mp, struct mpg_g *gp) {
  mpgi_hot_drop_g(mp, gp);
}

void mpgi_park_watched(struct mpg_m *mp, struct mpg_g *gp,
                       enum mpgi_wait_reason reason) {
  MPGI_TRACE(mp, G_BLOCK, gp, reason, (uintptr_t) gp->wait.object);
  if (mpgi_opt.lockcheck) mpgi_lockcheck_leave(gp, "parks");
}

void mpgi_park_begin(struct mpg_m *mp, struct mpg_g *gp,
                     enum mpgi_wait_reason reason) {
  mpgi_hot_park_begin(mp, gp, reason);
}

/* Take the running gp off; it is runnable, on no queue yet, and so nobody is
 * quicker than stackmove. */
MPGI_HOT void make_way(struct mpg_m *mp, struct mpg_g *gp) {
  if (MPGI_UNLIKELY(mpgi_opt.lockcheck))
    mpgi_lockcheck_leave(gp, "is switched out");
  mpgi_hot_drop_g(mp, gp);
  mpgi_hot_status_set(gp, MPGI_G_RUNNING, MPGI_G_RUNNABLE);
  if (MPGI_UNLIKELY(mp->move_wanted)) move_now(mp);
}

static __attribute__((noinline)) void put_globally(struct mpg_g *gp) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_globq_put_locked(gp);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  mpgi_wakep();
}

MPGI_HOT _Noreturn void requeue(struct mpg_m *mp, struct mpg_g *gp,
                                bool global) {
  make_way(mp, gp);
  if (global || mpgi_p_retires(mp->p))
    put_globally(gp);
  else
    mpgi_hot_runq_put_tail(mp->p, gp);
  schedule(mp, global);
}

/* Whoever comes next has a slice of its own; after a whole slice that is
 * somebody from the global queue, before gp itself is there.  (A locked gp's
 * thread gives the P away: that turn is taken by whoever gets it.) */
void mpgi_requeue_spent(struct mpg_m *mp, struct mpg_g *gp) {
  struct mpg_p *pp = mp->p;
  make_way(mp, gp);
  new_slice(pp);
  pp->young = 0; /* [fair.family] */
  MPGI_CHAOS();
  mpgi_mutex_lock(&mpgi_sched.lock);
  if (!mp->locked_g && took_turn(pp))
    mp->picked = mpgi_globq_get_locked(pp, MPGI_GLOBQ_TURN);
  mpgi_globq_put_spent_locked(gp);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  mpgi_wakep();
  if (!mp->picked) schedule(mp, false);
  mp->inherits = true;
  mpgi_arch_g0_restart(mp->g0_sp, schedule_on_g0, mp);
}

MPGI_HOT_END void mpgi_requeue(struct mpg_m *mp, struct mpg_g *gp,
                               bool global) {
  requeue(mp, gp, global);
}

static inline bool nobody_waits(struct mpg_p *pp) {
  return mpgi_hot_runq_empty(pp) &&
         atomic_load_explicit(&mpgi_sched.runq_size, memory_order_relaxed) ==
             0 &&
         !has_timers(pp);
}

void mpgi_watch(void) {
  if (mpgi_trace_is_on() || mpgi_opt.lockcheck || mpgi_opt.stackmove)
    mpgi_want(MPGI_WANT_WATCH);
  else
    mpgi_want_no_more(MPGI_WANT_WATCH);
}

static __attribute__((noinline)) void yield_specially(void) {
  struct mpg_g *gp = mpgi_current_g("mpg_yield");
  struct mpg_m *mp = gp->m;
  if (mp->attached) {
    mpgi_os_yield();
    return;
  }
  if (!mp->p) mpgi_not_attached("mpg_yield");
  if (nobody_waits(mp->p)) return;
  gp->ctx.pc = (uintptr_t) mpgi_resume_thunk;
  MPGI_TRACE(mp, G_YIELD, gp, 0, 0);
  requeue(mp, gp, false);
}

/* What is wanted is looked at once, at first: on g0 nothing stops the thread,
 * and who wants something meanwhile finds it at the next switch.  And so is the
 * ring: gp goes to where its tail was, and the next one is at its head, if
 * there was one and no thief comes between. */
MPGI_HOT_END void mpgi_yield_g0(struct mpgi_context *ctx, struct mpg_m *mp) {
  struct mpg_g *gp = (struct mpg_g *) ctx;
  struct mpg_p *pp = NULL;
  if (MPGI_UNLIKELY(!mp || mp->locked_g || !(pp = mp->p) || is_wanted(pp, 0) ||
                    mpgi_hot_amid_cxx(mp->cxx))) {
    yield_specially();
    return;
  }
  struct mpgi_ring ring = mpgi_hot_ring(pp);
  if (MPGI_UNLIKELY(mpgi_hot_ring_n(ring) - 1 >= MPGI_RUNQ_SLOTS - 1)) {
    yield_specially(); /* full, or empty */
    return;
  }
  ctx->pc = (uintptr_t) mpgi_resume_thunk;
  mpgi_arch_control_save(&ctx->control);
  mpgi_hot_part_quick(mp, gp);
  mpgi_hot_status_set(gp, MPGI_G_RUNNING, MPGI_G_RUNNABLE);
  if (MPGI_UNLIKELY(pp->young)) pp->young = 0;
  mpgi_hot_runq_store(pp, ring, gp);
  if (MPGI_UNLIKELY(mpgi_hot_has_next(pp))) schedule_apart(mp);
  run_quick(mp, pp, next_of_ring(pp, ring), false, false);
}

/* ---- the end of a goroutine ---- */

void mpgi_goexit_misuse(void) {
  mpgi_fatal("mpg_goexit on a thread that is not a goroutine's");
}

static __attribute__((noinline)) _Noreturn void goexit_specially(
    struct mpg_m *mp, struct mpg_g *gp) {
  if (!mp) mpgi_not_attached("mpg_goexit"); /* in a child */
  if (gp->attached) mpgi_goexit_misuse();
  if (gp->once) mpgi_once_goexit(gp);
  MPGI_TRACE(mp, G_END, gp, 0, 0);
  if (mpgi_opt.lockcheck) mpgi_lockcheck_end(gp);
  mpgi_hot_lose_g(mp, gp);
  mpgi_g_status_set(gp, MPGI_G_RUNNING, MPGI_G_DEAD);
  bool finalizers = gp->finalizers;
  if (!finalizers) mpgi_hot_counter_add(&mp->p->ended);
  mpgi_g_free(mp->p, gp);
  if (finalizers) mpgi_finalizers_goexit();
  if (mp->locked_g) mpgi_m_end(mp); /* lock.c */
  schedule(mp, true);
}

MPGI_HOT_END void mpgi_goexit_g0(struct mpgi_context *ctx) {
  struct mpg_g *gp = (struct mpg_g *) ctx;
  struct mpg_m *mp = mpgi_tls_m();
  MPG_VERIFY(gp->signature == MPGI_G_SIGNATURE);
  if (MPGI_UNLIKELY(!mp || !mpgi_hot_g_is_plain(gp) ||
                    mpgi_wants() & MPGI_WANT_WATCH ||
                    mpgi_hot_amid_cxx(mp->cxx)))
    goexit_specially(mp, gp);
  struct mpg_p *pp = mp->p;
  mpgi_hot_part_quick(mp, gp);
  mpgi_hot_status_set(gp, MPGI_G_RUNNING, MPGI_G_DEAD);
  mpgi_hot_counter_add(&pp->ended);
  mpgi_hot_g_free(pp, gp);
  schedule(mp, true);
}

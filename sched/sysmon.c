/* sysmon.c - the thread without a P that watches everybody.
 *
 * Sleeps 20 us (160 after a deep sleep), doubling up to 10 ms while nothing
 * happens, never beyond the next timer or the end of a slice; deeply while
 * every P is idle (under sched.lock it sees them all idle and sets sysmon_wait;
 * whoever takes a P off the idle list wakes it, unless it wakes soon by
 * itself). Each round: Ps in long system calls are retaken, long slices are
 * ended, overdue timers get a P, traces are printed, the collector's clock
 * ticks.
 *
 * Slices: 10 ms between equals, ten times that for who runs alone.  When
 * somebody who was woken waits, or a timer is due, and no P is free, a
 * goroutine that has run a fair while (1 ms) must go at once.  Source: Go
 * proc.go (sysmon, retake); the fair while is ours.
 *
 * [sysmon.calm] A look costs some 30 us, with the switches that it causes.
 * When every P that runs has gone from goroutine to goroutine for CALM_LOOKS,
 * the next look is CALM_NS away: whoever is woken has its turn before that. A
 * slice that doesn't end is found by the second look. Nor does sysmon sleep
 * deeply then because all are idle, as servers are for moments, before nobody
 * has run for so long: whoever takes a P meanwhile needn't wake it.
 *
 * [sysmon.drowsy] A P in a system call is taken when it was there at two looks.
 * When sysmon doesn't look for long, whoever enters a system call with work in
 * the queue rouses it:
 *   sysmon   drowsy = 1, then looks once more whether a P is in a system call
 *   enter    status = syscall, then drowsy
 * both sequentially consistent, so one of them sees the other's store.
 *
 * [sysmon.soon] A deep sleep ends a little after the first timer.  Sysmon sets
 * sysmon_wait and sysmon_deep_until under the lock, with every P idle: whoever
 * takes a P after that sees them, and whoever took one before kept it from
 * sleeping deeply.  Not woken, it sees the P POLLER_GRACE_NS later at most.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/dump.h>

#define TICK_MIN_NS (20 * 1000)
#define TICK_MAX_NS (10 * 1000 * 1000)
#define TICK_CALM_NS (8 * TICK_MIN_NS)
#define TICKS_BEFORE_BACKOFF 50
#define KERNEL_SLICE_NS (100 * 1000) /* the least it knows */
#define POLLER_GRACE_NS (200 * 1000)
#define ASK_MIN_NS (100 * 1000)
#define ASK_MAX_NS (MPGI_TSAN ? 100 * 1000 : 1000 * 1000) /* stw.c: TSan */
#define CPU_EVERY_NS (MPGI_FAIR_NS / 2)
#define CPU_DOUBT_NS (CPU_EVERY_NS / 4)
#define DROWSY_NS (4 * TICK_MIN_NS)
#define FULL_LOOKS 2
#define LOOK_NS (MPGI_FAIR_NS / 2)
#define BRIEF_LOOK_NS (LOOK_NS / 4) /* too short to tell what is slow */
#define FAST_SLICE_NS (LOOK_NS / 16)
#define FAST_SLICES 32
#define CALM_NS (2 * MPGI_FAIR_NS)
#define CALM_LOOKS 4
#define SUSPECT_EVERY_NS (100 * 1000 * 1000)
#define TEXT_EVERY_NS (100 * 1000 * 1000)
#define STARVED_NS (INT64_C(5) * 1000 * 1000 * 1000)
#define LONE_SLICES 10
#define OVERDUE_NS (200 * 1000)
#define BALANCE_NS (MPGI_SLICE_NS / 2)
#define LAZY_END_NS (1000 * 1000)
#define LAZY_BRIEF_NS INT64_C(2000)
#define LONE_NS (500 * 1000) /* [netpoll.lazy] */
#define LONE_LATE_NS (100 * 1000)
#define LONE_POLLS 4 /* in LONE_NS: worth a look */
#define LONE_REST_NS MPGI_SLICE_NS
#define LONE_REST_MAX_NS (32 * LONE_REST_NS)

struct sysmon {
  int64_t now, delay;
  int64_t looked, before; /* this look at every P, and the one before */
  bool fast, slow;        /* some P has short slices; some that runs hasn't */
  bool stuck;             /* some P is, or was at the last look */
  bool brief;             /* its slices are KERNEL_SLICE_NS */
  bool alarms;            /* may be set */
  bool ahead;             /* it starts threads [m.ahead] */
  int64_t slice;          /* in the kernel, before they were */
  int64_t look_next;      /* when a slice may be over, or is asked again */
  int64_t preempt_at;     /* the same if somebody who was woken waits */
  uint32_t calm;          /* looks at which whoever ran was fast, in a row */
  uint32_t ticks;         /* of all Ps, at the last look */
  int64_t busy_at;        /* the last look at which they had moved on */
  uint32_t idle;          /* rounds in which nothing happened */
  uint32_t full;          /* rounds in which nobody was free */
  int64_t next_trace;     /* INT64_MAX: off */
  int64_t next_text, next_suspect;
  int64_t next_balance, next_doubt;
  int64_t starved_since; /* 0: nobody starves */
  /* [netpoll.lazy] */
  uint32_t lone_polls; /* mpgi_sched's, at the last look */
  bool lone;           /* they were many since the one before */
  int64_t lone_rest;   /* how long nobody was lazy the last time */
};

void mpgi_sysmon_wake(void) {
  if (atomic_load_explicit(&mpgi_sched.sysmon_wait, memory_order_relaxed) &&
      atomic_exchange(&mpgi_sched.sysmon_wait, 0))
    mpgi_note_wake(&mpgi_sched.sysmon_note);
}

void mpgi_sysmon_wake_locked(void) { /* [sysmon.soon] */
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  if (atomic_load_explicit(&mpgi_sched.sysmon_wait, memory_order_relaxed) &&
      mpgi_sched.sysmon_deep_until - mpgi_os_now() > POLLER_GRACE_NS)
    mpgi_sysmon_wake();
}

void mpgi_sysmon_due(int64_t when) {
  /* Pairs with sysmon's store of sysmon_until before it loads the timers. */
  if (when < atomic_load(&mpgi_sched.sysmon_until))
    mpgi_note_wake(&mpgi_sched.sysmon_note);
}

/* Pairs with sleep_until, which looks at lazy once more after it stored
 * sysmon_until. */
void mpgi_sysmon_lazy(void) {
  mpgi_arch_fence();
  mpgi_sysmon_due(mpgi_os_now() + MPGI_LAZY_NS);
}

/* [netpoll.lazy] Nobody waits for descriptors though a P is idle: who runs
 * looks when it has nothing else to do. */
static bool nobody_polls(void) {
  return mpgi_netpoll_waiting() && atomic_load(&mpgi_sched.npidle) > 0 &&
         atomic_load(&mpgi_sched.poller) == NULL;
}

/* Pairs with sleep_until, which asks nobody_polls after it stored sysmon_until.
 * With no P idle nobody could be woken; who idles next polls. */
bool mpgi_sysmon_polls_soon(void) {
  if (atomic_load(&mpgi_sched.npidle) == 0) return true;
  int64_t soon = mpgi_netpoll_last() + LONE_NS;
  uint32_t n =
      atomic_load_explicit(&mpgi_sched.lone_polls, memory_order_relaxed);
  atomic_store_explicit(&mpgi_sched.lone_polls, n + 1, memory_order_relaxed);
  return atomic_load(&mpgi_sched.sysmon_until) <= soon &&
         atomic_load(&mpgi_sched.lone_from) <= soon - LONE_NS &&
         mpgi_timers_first() > soon;
}

/* When a lazy P must be looked at.  INT64_MAX: there is none. */
static int64_t look_at_lazy(int64_t now) {
  int64_t first = INT64_MAX;
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    const struct mpg_p *pp = mpgi_sched.allp[i];
    if (!atomic_load_explicit(&pp->lazy, memory_order_relaxed) ||
        atomic_load_explicit(&pp->status, memory_order_relaxed) !=
            MPGI_P_RUNNING)
      continue;
    int64_t when = pp->mon_lazy_at > now ? pp->mon_lazy_at : now + MPGI_LAZY_NS;
    if (when < first) first = when;
  }
  return first;
}

void mpgi_sysmon_rouse(void) {
  if (atomic_exchange(&mpgi_sched.sysmon_drowsy, 0))
    mpgi_note_wake(&mpgi_sched.sysmon_note);
}

void mpgi_sysmon_preempt(void) {
  int64_t now = mpgi_os_now();
  int64_t at =
      atomic_load_explicit(&mpgi_sched.preempt_at, memory_order_relaxed);
  mpgi_sysmon_due(at > now ? at : now); /* then it wakes by itself [look] */
}

/* ---- sleeping ---- */

/* It works for some microseconds, and with brief slices the kernel runs it at
 * once, even when all CPUs are busy.  But it would put it before whoever wakes
 * it, too, which from a deep sleep is a thread that is about to run somebody:
 * a sleep on an idle machine ended 12 us later.  So they are brief from when
 * nobody is free until the next deep sleep. */
static void slices_brief(struct sysmon *s, bool brief) {
  if (s->brief == brief) return;
  s->brief = brief;
  if (brief)
    s->slice = mpgi_os_thread_slice(KERNEL_SLICE_NS);
  else if (s->slice)
    mpgi_os_thread_slice(s->slice);
}

static bool nobody_free(void) {
  return atomic_load(&mpgi_sched.npidle) == 0 &&
         atomic_load(&mpgi_sched.nmspinning) == 0;
}

/* A thread sleeps until the first timer is due: sysmon waking up at the same
 * moment would only be in its way, on the same CPUs.  So sysmon is late then;
 * the thread that finds no P wakes it. */
static int64_t first_timer(void) {
  int64_t first = mpgi_timers_first();
  bool covered = first < INT64_MAX - POLLER_GRACE_NS &&
                 atomic_load(&mpgi_sched.poller) &&
                 atomic_load(&mpgi_sched.poll_until) <= first;
  return covered ? first + POLLER_GRACE_NS : first;
}

static void alarms(struct sysmon *s, int64_t now, int64_t until, bool wanted) {
  if (wanted)
    mpgi_alarms_set(now, until);
  else if (s->alarms)
    mpgi_alarms_cancel();
  s->alarms = wanted;
}

static bool some_in_syscall(void) {
  for (int32_t i = 0; i < mpgi_sched.nallp; i++)
    if (atomic_load(&mpgi_sched.allp[i]->status) == MPGI_P_SYSCALL) return true;
  return false;
}

/* [sysmon.drowsy] */
static void sleep_drowsily(struct sysmon *s, int64_t ns) {
  atomic_store(&mpgi_sched.sysmon_drowsy, 1);
  if (some_in_syscall()) mpgi_sysmon_rouse();
  mpgi_note_sleep_timed(&mpgi_sched.sysmon_note, ns);
  if (atomic_exchange(&mpgi_sched.sysmon_drowsy, 0)) return;
  s->idle = 0;
  s->delay = TICK_MIN_NS;
}

/* urgent: nobody is free, and somebody may want a P. */
static void sleep_until(struct sysmon *s, int64_t when, bool urgent) {
  mpgi_note_clear(&mpgi_sched.sysmon_note);
  atomic_store(&mpgi_sched.sysmon_until, when);
  int64_t first = first_timer();
  int64_t now = mpgi_os_now();
  int64_t lazy = look_at_lazy(now);
  if (lazy < when) when = lazy;
  if (now + LONE_NS < when && nobody_polls()) when = now + LONE_NS;
  /* One that is due already has been seen to by now, as far as may be. */
  int64_t soonest = now + (first <= now ? ASK_MIN_NS : TICK_MIN_NS);
  if (first < when) when = first > soonest ? first : soonest;
  alarms(s, now, when, urgent);
  if (atomic_load(&mpgi_sched.exiting)) return;
  if (when - now > DROWSY_NS)
    sleep_drowsily(s, when - now);
  else if (when > now)
    mpgi_note_sleep_timed(&mpgi_sched.sysmon_note, when - now);
  atomic_store(&mpgi_sched.sysmon_until, 0);
}

/* No P runs, or may at any moment.  Counting isn't enough: an idle one may be
 * beyond procs, for one whose thread is blocked and may come back
 * (compensate.c). */
static bool all_idle(void) {
  if (atomic_load(&mpgi_sched.npidle) < atomic_load(&mpgi_sched.procs))
    return false;
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    const struct mpg_p *pp = mpgi_sched.allp[i];
    uint32_t s = atomic_load(&pp->status);
    if (!pp->attached && s != MPGI_P_IDLE && s != MPGI_P_DEAD) return false;
  }
  return true;
}

/* Work that waits, for want of a thread, is retried by sysmon (retry_wake). */
static bool everybody_idle_locked(void) {
  return !mpgi_stw_waiting() && mpgi_globq_n_locked() == 0 && all_idle() &&
         !nobody_polls();
}

/* Also at the first timer, a little later than the thread that sleeps for that
 * (first_timer): so that thread need not spend a system call on waking sysmon
 * before it runs somebody. */
static int64_t deep_until(const struct sysmon *s) {
  /* the idle collection must not be late by more than half its period */
  int64_t until = s->now + mpgi_opt.gcperiod * 1000000 / 2;
  int64_t first = mpgi_timers_first();
  if (first < until - POLLER_GRACE_NS) until = first + POLLER_GRACE_NS;
  return s->next_trace < until ? s->next_trace : until;
}

/* Looked at after sysmon_wait was set: who changes these wakes us. */
static int64_t deep_until_at_most(const struct sysmon *s, int64_t until) {
  if (mpgi_netpoll_trusts() && s->now + MPGI_TRUST_NS < until)
    until = s->now + MPGI_TRUST_NS;
  bool soon =
      atomic_load(&mpgi_sched.deadlock_suspected) || mpgi_stack_fixed_warm();
  if (soon && until > s->now + SUSPECT_EVERY_NS)
    until = s->now + SUSPECT_EVERY_NS;
  return until;
}

/* [sysmon.calm] */
static bool is_calm(const struct sysmon *s) { return s->calm >= CALM_LOOKS; }

static bool dozes(const struct sysmon *s) {
  return (is_calm(s) || s->lone) && s->now - s->busy_at < CALM_NS && all_idle();
}

static void count_idle(int64_t ns) {
  atomic_store(&mpgi_sched.idle_ns, atomic_load(&mpgi_sched.idle_ns) + ns);
}

static void sleep_deeply(struct sysmon *s) {
  if (dozes(s)) return;
  int64_t until = deep_until(s);
  mpgi_mutex_lock(&mpgi_sched.lock);
  bool deep = everybody_idle_locked();
  if (deep) {
    mpgi_note_clear(&mpgi_sched.sysmon_note);
    mpgi_sched.sysmon_deep_until = until;
    atomic_store(&mpgi_sched.sysmon_wait, 1);
  }
  mpgi_mutex_unlock(&mpgi_sched.lock);
  if (!deep) return;
  MPGI_CHAOS();
  slices_brief(s, false);
  until = deep_until_at_most(s, until);
  int64_t now = mpgi_os_now();
  if (!atomic_load(&mpgi_sched.exiting) && until > now)
    mpgi_note_sleep_timed(&mpgi_sched.sysmon_note, until - now);
  atomic_store(&mpgi_sched.sysmon_wait, 0);
  /* Quick looks are for Ps in system calls, and who is in one with work waiting
   * asks for them [sysmon.drowsy].  A server whose P is idle between two events
   * would otherwise have some dozen for each. */
  s->idle = TICKS_BEFORE_BACKOFF - 1;
  s->delay = TICK_CALM_NS;
  s->full = 0;
  s->looked = mpgi_os_now(); /* nobody ran until now */
  count_idle(s->looked - now);
  if (s->looked - now > CALM_NS) s->calm = 0;
}

/* Somebody may want a P before long, and a slice may have to be known to be old
 * enough by then. */
static bool somebody_soon(int64_t now) {
  return mpgi_netpoll_waiting() || mpgi_timers_first() < now + TICK_MAX_NS;
}

static void sleep_tick(struct sysmon *s) {
  if (s->ahead) return;
  if (s->idle == 0)
    s->delay = TICK_MIN_NS;
  else if (s->idle > TICKS_BEFORE_BACKOFF && s->delay < TICK_MAX_NS)
    s->delay *= 2;
  if (s->delay > TICK_MAX_NS) s->delay = TICK_MAX_NS;
  int64_t now = mpgi_os_now(), delay = s->delay;
  bool full = nobody_free();
  s->full = full ? s->full + 1 : 0;
  if (s->full > FULL_LOOKS) slices_brief(s, true);
  bool soon = somebody_soon(now), urgent = full && soon && !is_calm(s);
  if (delay > LOOK_NS && urgent) delay = LOOK_NS;
  if (delay > CALM_NS && soon && is_calm(s)) delay = CALM_NS;
  if (delay > LONE_NS && s->lone) delay = LONE_NS;
  int64_t until = now + delay;
  if (s->look_next > now && s->look_next < until) until = s->look_next;
  if (s->next_trace < until) until = s->next_trace;
  sleep_until(s, until, urgent);
}

/* ---- retaking ---- */

/* P in a system call for more than a tick, and wanted. */
static bool retake_syscall(struct sysmon *s, struct mpg_p *pp) {
  uint32_t tick = atomic_load(&pp->syscalltick);
  if (pp->mon_syscalltick != tick) {
    pp->mon_syscalltick = tick;
    pp->mon_syscallwhen = s->now;
    return false;
  }
  bool wanted = !mpgi_runq_empty(pp) || nobody_free() ||
                atomic_load(&pp->timer_first) != INT64_MAX ||
                pp->mon_syscallwhen + MPGI_SLICE_NS <= s->now;
  uint32_t st = MPGI_P_SYSCALL;
  uint64_t when = MPGI_TRACE_NOW();
  MPGI_CHAOS();
  if (!wanted || mpgi_stw_waiting() ||
      !atomic_compare_exchange_strong(&pp->status, &st, MPGI_P_RUNNING))
    return false;
  MPGI_CHAOS();
  atomic_fetch_add_explicit(&pp->taken, 1, memory_order_relaxed);
  MPGI_TRACE_RETAKE(pp, when, 0);
  mpgi_m_handoff(pp);
  return true;
}

static bool slice_is_over(const struct sysmon *s, struct mpg_p *pp) {
  int64_t ran = s->now - pp->mon_schedwhen;
  if (ran >= MPGI_SLICE_NS) return true;
  if (ran < MPGI_FAIR_NS) return false;
  if (mpgi_p_retires(pp)) return true;
  if (!nobody_free()) return false;
  return mpgi_runq_has_woken(pp) || atomic_load(&pp->timer_first) <= s->now ||
         mpgi_timers_overdue() || atomic_load(&mpgi_sched.runq_woken);
}

/* Somebody would run instead.  A goroutine that nobody waits for is asked now
 * and then only: what its frames are would be looked at for nothing. */
static bool somebody_waits(const struct sysmon *s, struct mpg_p *pp) {
  return s->now - pp->mon_schedwhen >= MPGI_SLICE_NS * LONE_SLICES ||
         mpgi_p_retires(pp) || !mpgi_runq_empty(pp) ||
         atomic_load(&mpgi_sched.runq_size) ||
         atomic_load(&pp->timer_first) <= s->now || mpgi_timers_overdue();
}

/* Who is blocked is taken for stuck at the end of its slice.  But
 * goroutines that block often come in crowds, each of which would hold up the
 * rest for that long.  So while some are stuck and others wait, two readings of
 * the CPU clock in any slice will do. */
static bool may_be_stuck(const struct sysmon *s, struct mpg_p *pp) {
  if (slice_is_over(s, pp)) return true;
  return s->stuck && nobody_free() && somebody_waits(s, pp);
}

/* It may be stuck, but whether it burns CPU isn't known yet. */
static bool in_doubt(const struct sysmon *s, struct mpg_p *pp) {
  return pp->mon_cpu >= 0 && !pp->mon_burns && !pp->mon_stuck &&
         may_be_stuck(s, pp);
}

/* In the kernel, and not in the runtime: who waits for a lock of ours, or for
 * the thread that is about to wake it, comes back when that one has a CPU. */
static bool is_blocked(const struct mpg_m *mp) {
  uint32_t waits = atomic_load(&mp->waits);
  return !(waits & MPGI_WAITS_DEPTH) && mpgi_os_thread_blocked(mp->tid) &&
         atomic_load(&mp->waits) == waits;
}

/* A goroutine that burns no CPU is blocked in the kernel: a signal would only
 * fail its poll or nanosleep with EINTR.  The thread's CPU clock is read every
 * CPU_EVERY_NS of its slice, or sooner when in doubt; a thread that got no CPU
 * may also just wait for one, which the kernel knows. */
static void watch_cpu(struct sysmon *s, struct mpg_p *pp) {
  struct mpg_m *mp = pp->m;
  /* For the first time at once, unless slices may be that short. */
  bool first =
      pp->mon_cpu < 0 && !pp->mon_fast &&
      (s->now - s->before >= CPU_DOUBT_NS || (s->stuck && may_be_stuck(s, pp)));
  int64_t since = pp->mon_cpu < 0 ? pp->mon_schedwhen : pp->mon_cpuwhen;
  int64_t every = in_doubt(s, pp) ? CPU_DOUBT_NS : CPU_EVERY_NS;
  if (!mp || (!first && s->now - since < every)) return;
  int64_t cpu = mpgi_os_clock_read(mp->cpu_clock);
  if (pp->mon_cpu >= 0) {
    /* our own signals cost it some per cent */
    pp->mon_burns = cpu - pp->mon_cpu > (s->now - pp->mon_cpuwhen) / 8;
    bool still = pp->mon_stuck && cpu == pp->mon_cpu;
    pp->mon_stuck =
        still || (!pp->mon_burns && (pp->mon_stuck || may_be_stuck(s, pp)) &&
                  is_blocked(mp));
  }
  pp->mon_cpu = cpu;
  pp->mon_cpuwhen = s->now;
}

/* Asked already and still there: it was at no safe point.  Ask again soon,
 * less and less often: the window may be small (a comparator under qsort). */
static int64_t ask_again_at(const struct sysmon *s, const struct mpg_p *pp) {
  if (pp->mon_asked == 0) return s->now;
  int64_t waited = s->now - pp->mon_schedwhen - MPGI_SLICE_NS;
  int64_t pace = waited / 16;
  if (pace < ASK_MIN_NS) pace = ASK_MIN_NS;
  if (pace > ASK_MAX_NS) pace = ASK_MAX_NS;
  return pp->mon_asked + pace;
}

/* A new slice, seen now: it began since the last look.  The earlier, the better
 * for who waits for its end; but half of a fair while must be true. */
static int64_t slice_began(const struct sysmon *s) {
  return s->now - s->before <= LOOK_NS ? s->before : s->now;
}

/* The next moment at which pp may have to be asked.  [look] While nobody is
 * free, none is later than the end of a fair while that sysmon knows of: who is
 * woken before that need not wake sysmon. */
static int64_t look_at(const struct sysmon *s, struct mpg_p *pp) {
  int64_t fair = pp->mon_schedwhen + MPGI_FAIR_NS;
  if (pp->mon_asked) return ask_again_at(s, pp);
  if (in_doubt(s, pp)) return pp->mon_cpuwhen + CPU_DOUBT_NS;
  if (fair > s->now && nobody_free()) return fair;
  return pp->mon_schedwhen + MPGI_SLICE_NS;
}

static void look_near(struct sysmon *s, struct mpg_p *pp) {
  if (pp->mon_fast && is_calm(s)) return;
  int64_t when = look_at(s, pp), fair = pp->mon_schedwhen + MPGI_FAIR_NS;
  if (when > s->now && when < s->look_next) s->look_next = when;
  if (pp->mon_stuck) return;
  if (pp->mon_asked) fair = when;
  if (fair < s->preempt_at) s->preempt_at = fair;
}

/* [lazy.pace] The next look at pp, which is lazy: later and later while it runs
 * some that are brief.  Whoever waits when that ends waits for as long as it
 * lasted at most, and for a fair while: two looks. */
static void pace_lazy(struct sysmon *s, struct mpg_p *pp, bool brief) {
  if (brief && s->now < pp->mon_lazy_at) return;
  int64_t ns = brief ? 2 * pp->mon_lazy_ns : MPGI_LAZY_NS;
  if (ns < MPGI_LAZY_NS) ns = MPGI_LAZY_NS;
  if (ns > MPGI_FAIR_NS / 2) ns = MPGI_FAIR_NS / 2;
  pp->mon_lazy_ns = ns;
  pp->mon_lazy_at = s->now + ns;
}

/* [wake.lazy] Is pp's queue still for its owner only? */
static bool stays_lazy(struct sysmon *s, struct mpg_p *pp) {
  int64_t passed = s->now - pp->mon_runswhen;
  if (passed < MPGI_LAZY_NS / 2) return true;
  uint32_t runs = mpgi_p_runs(pp), ran = runs - pp->mon_runs;
  bool brief = passed < ran * LAZY_BRIEF_NS;
  if (ran) {
    pp->mon_runs = runs;
    pp->mon_runswhen = s->now;
  }
  pace_lazy(s, pp, brief);
  uint32_t waiting = mpgi_runq_size(pp);
  if (waiting) return brief && waiting < MPGI_BRIEF_RUNS;
  bool next = atomic_load_explicit(&pp->runnext, memory_order_relaxed);
  return ran || passed < (next ? MPGI_LAZY_NS : LAZY_END_NS);
}

static void watch_lazy(struct sysmon *s, struct mpg_p *pp) {
  bool lazy = atomic_load_explicit(&pp->lazy, memory_order_relaxed);
  if (lazy && stays_lazy(s, pp)) return;
  pp->mon_lazy_at = pp->mon_lazy_ns = 0;
  if (!lazy) return;
  if (!mpgi_runq_empty(pp))
    atomic_store_explicit(&pp->late, 1, memory_order_relaxed);
  atomic_store_explicit(&pp->lazy, 0, memory_order_relaxed);
  mpgi_wakep();
}

static void slice_look(struct sysmon *s, struct mpg_p *pp) {
  uint32_t tick = atomic_load(&pp->schedtick);
  int64_t passed = s->now - s->before, least = passed / FAST_SLICE_NS;
  if (least > FAST_SLICES) least = FAST_SLICES; /* it may have been idle */
  pp->mon_fast = tick - pp->mon_schedtick > least;
  s->fast |= pp->mon_fast;
  s->slow |= !pp->mon_fast && passed > BRIEF_LOOK_NS;
  if (pp->mon_schedtick != tick) {
    pp->mon_schedtick = tick;
    pp->mon_schedwhen = slice_began(s);
    pp->mon_cpu = -1;
    pp->mon_asked = 0;
    pp->mon_burns = pp->mon_stuck = false;
  }
}

/* The last reading of the CPU clock is of a while in which it burned some and
 * then blocked: in doubt again. */
static bool blocked_since(struct mpg_p *pp) {
  const struct mpg_m *mp = pp->m;
  if (pp->mon_asked || !mp || !mpgi_os_thread_asleep(mp->tid)) return false;
  pp->mon_burns = false;
  return true;
}

static void ask(struct sysmon *s, struct mpg_p *pp) {
  pp->mon_asked = s->now;
  if (s->now - pp->mon_schedwhen >= MPGI_SLICE_NS)
    mpgi_p_want(pp, MPGI_P_WANT_TURN);
  MPGI_TRACE_EVERYBODY(PREEMPT_ASK, (uint64_t) pp->id, 0);
  mpgi_preempt_one(pp, MPGI_PREEMPT_SLICE);
}

static bool retake_running(struct sysmon *s, struct mpg_p *pp) {
  bool was_stuck = pp->mon_stuck;
  slice_look(s, pp);
  MPGI_CHAOS();
  watch_lazy(s, pp);
  watch_cpu(s, pp);
  /* Not if blocked: for the signals it would seem to use the CPU, and sysmon
   * would look as often as it can for as long as that lasts. */
  if (mpgi_opt.preemptall && pp->m && !mpgi_os_thread_blocked(pp->m->tid)) {
    mpgi_preempt_one(pp, MPGI_PREEMPT_SLICE);
    return true;
  }
  if (!pp->mon_stuck && slice_is_over(s, pp) && pp->mon_burns &&
      s->now >= ask_again_at(s, pp) && somebody_waits(s, pp) &&
      !blocked_since(pp))
    ask(s, pp);
  look_near(s, pp);
  return pp->mon_stuck != was_stuck;
}

static bool retake(struct sysmon *s) {
  bool any = false;
  int stuck = 0;
  s->look_next = s->preempt_at = INT64_MAX;
  s->fast = s->slow = false;
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    if (pp->attached) continue;
    MPGI_CHAOS(); /* it may become attached */
    switch (atomic_load(&pp->status)) {
    case MPGI_P_SYSCALL: any |= retake_syscall(s, pp); break;
    case MPGI_P_RUNNING:
      any |= retake_running(s, pp);
      stuck += pp->mon_stuck && !mpgi_p_retires(pp);
      break;
    default: break;
    }
  }
  atomic_store_explicit(&mpgi_sched.preempt_at, s->preempt_at,
                        memory_order_relaxed);
  s->calm = s->slow ? 0 : s->calm + s->fast;
  s->stuck = stuck > 0;
  mpgi_compensate(stuck);
  return any;
}

/* ---- queues that wait too long ----
 *
 * A P that always has something to run never steals.  So every BALANCE_NS
 * what waits behind a stuck thread, and what a busy P has beyond its fair
 * share while another has nothing, goes to the global queue. */

static bool is_busy(const struct mpg_p *pp) {
  return !pp->attached && atomic_load(&pp->status) == MPGI_P_RUNNING;
}

static void shed(struct mpg_p *pp, uint32_t n) {
  MPGI_CHAOS();
  mpgi_mutex_lock(&mpgi_sched.lock);
  bool open = mpgi_runq_open_locked(pp);
  if (open && pp->mon_stuck)
    mpgi_runq_drain_locked(pp);
  else if (open)
    mpgi_runq_shed_locked(pp, n);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  mpgi_wakep();
}

/* Ps that run something and are not stuck; *waiting: length of their queues;
 * *hungry: one has an empty queue. */
static uint32_t count_busy(uint32_t *waiting, bool *hungry) {
  uint32_t busy = 0;
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    if (!is_busy(pp) || pp->mon_stuck) continue;
    uint32_t n = mpgi_runq_size(pp);
    busy++;
    *waiting += n;
    *hungry |= n == 0;
  }
  return busy;
}

static void balance(struct sysmon *s) {
  if (s->now < s->next_balance || mpgi_opt.nosteal) return;
  s->next_balance = s->now + BALANCE_NS;
  uint32_t waiting = 0;
  bool hungry = false;
  uint32_t busy = count_busy(&waiting, &hungry);
  for (int32_t i = 0; i < mpgi_sched.nallp && !mpgi_stw_waiting(); i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    if (!is_busy(pp)) continue;
    uint32_t n = mpgi_runq_size(pp);
    if (pp->mon_stuck && !mpgi_runq_empty(pp))
      shed(pp, n);
    else if (hungry && n > waiting / busy)
      shed(pp, n - waiting / busy);
  }
}

/* Work that waits although a P is idle: a thread could not be started when it
 * was submitted, or nobody waits for timers. */
static void retry_wake(void) {
  if ((atomic_load(&mpgi_sched.runq_size) || mpgi_timers_overdue()) &&
      atomic_load(&mpgi_sched.npidle))
    mpgi_wakep();
}

/* Work, no P that runs, and no thread to be had: every M is blocked in the
 * kernel, and only what waits could unblock it.  For a moment that is bad luck;
 * longer, it is the end (Go: "failed to create new OS thread"). */
static void watch_starvation(struct sysmon *s) {
  bool starved = atomic_load(&mpgi_sched.runq_size) && !mpgi_stw_waiting() &&
                 !atomic_load(&mpgi_sched.exiting) && all_idle();
  if (!starved)
    s->starved_since = 0;
  else if (s->starved_since == 0)
    s->starved_since = s->now;
  else if (s->now - s->starved_since >= STARVED_NS)
    mpgi_fatal(
        "out of memory: no thread can be created for %u runnable goroutines, "
        "and all others are blocked",
        (unsigned) atomic_load(&mpgi_sched.runq_size));
}

/* Timers of Ps that run nothing (idle, dead, in a system call), and of those
 * that have not looked although they were asked, or have not run for long
 * enough to be asked: the other Ps may be too busy to steal, for ever.  A P's
 * thread may be in foreign code, or wait for a CPU while the others have one.
 */
static void find_overdue(struct sysmon *s) {
  bool free = atomic_load(&mpgi_sched.npidle) != 0;
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    int64_t late = s->now - atomic_load(&pp->timer_first);
    if (late < 0) continue;
    mpgi_p_want(pp, MPGI_P_WANT_TIMERS);
    if (atomic_load(&pp->status) == MPGI_P_RUNNING)
      late -= free ? TICK_MIN_NS : OVERDUE_NS;
    if (late >= 0) mpgi_want(MPGI_WANT_TIMERS);
  }
}

/* Descriptors, when nobody has looked for a while: soon, when every P is busy
 * and somebody could be made to make way, unless one goes from goroutine to
 * goroutine and looks itself before long. */
static void poll_network(const struct sysmon *s) {
  struct mpgi_gqueue ready = {0};
  int64_t pace = nobody_free() && !s->fast ? MPGI_FAIR_NS : MPGI_SLICE_NS;
  if (!mpgi_netpoll_waiting() || atomic_load(&mpgi_sched.poller) ||
      s->now - mpgi_netpoll_last() < pace)
    return;
  mpgi_netpoll(0, &ready);
  MPGI_CHAOS();
  mpgi_ready_batch(&ready);
}

/* ---- [netpoll.lazy] ---- */

static void count_lone(struct sysmon *s) {
  uint32_t n =
      atomic_load_explicit(&mpgi_sched.lone_polls, memory_order_relaxed);
  s->lone = (int64_t) (n - s->lone_polls) * LONE_NS >=
            LONE_POLLS * (s->now - s->before);
  s->lone_polls = n;
}

/* Somebody who was lazy runs for long. */
static void lone_off(struct sysmon *s) {
  int64_t lasted = s->now - atomic_load(&mpgi_sched.lone_from);
  if (lasted < 0) return;
  s->lone_rest = lasted > 8 * s->lone_rest ? LONE_REST_NS : 2 * s->lone_rest;
  if (s->lone_rest > LONE_REST_MAX_NS) s->lone_rest = LONE_REST_MAX_NS;
  atomic_store(&mpgi_sched.lone_from, s->now + s->lone_rest);
}

static void watch_lone(struct sysmon *s) {
  count_lone(s);
  if (!nobody_polls() || s->now - mpgi_netpoll_last() < LONE_LATE_NS) return;
  lone_off(s);
  mpgi_wakep();
}

/* [netpoll.trust] */
static void doubt_waits(struct sysmon *s) {
  struct mpgi_gqueue ready = {0};
  if (s->now < s->next_doubt || !mpgi_netpoll_trusts()) return;
  s->next_doubt = s->now + MPGI_TRUST_NS;
  mpgi_netpoll_doubt(&ready);
  mpgi_ready_batch(&ready);
}

/* ---- the loop ---- */

static void trace(struct sysmon *s) {
  if (s->now < s->next_trace) return;
  mpgi_schedtrace(mpgi_opt.scheddetail != 0);
  s->next_trace = s->now + mpgi_opt.schedtrace * 1000 * 1000;
}

static void watch_ticks(struct sysmon *s) {
  uint32_t ticks = 0;
  for (int32_t i = 0; i < mpgi_sched.nallp; i++)
    ticks += mpgi_p_runs(mpgi_sched.allp[i]);
  if (ticks != s->ticks) s->busy_at = s->now;
  s->ticks = ticks;
}

static void round_of_duty(struct sysmon *s) {
  s->now = mpgi_os_now();
  s->before = s->looked;
  s->looked = s->now;
  if (all_idle()) count_idle(s->now - s->before);
  atomic_store_explicit(&mpgi_sched.coarse_now, s->now, memory_order_relaxed);
  watch_lone(s);
  poll_network(s); /* whoever that wakes counts for the ends of slices */
  doubt_waits(s);
  watch_ticks(s);
  s->idle = retake(s) ? 0 : s->idle + 1;
  find_overdue(s);
  balance(s);
  retry_wake();
  watch_starvation(s);
  if (s->now >= s->next_suspect) {
    s->next_suspect = s->now + SUSPECT_EVERY_NS;
    mpgi_checkdead_again();
    mpgi_stack_fixed_age();
  }
  if (s->now >= s->next_text) {
    mpgi_text_refresh_soon();
    mpgi_os_signal_onstack_all(); /* handlers that others installed */
    s->next_text = s->now + TEXT_EVERY_NS;
  }
  s->ahead = mpgi_m_start_ahead(s->now);
  trace(s);
  mpgi_finalizers_watch(s->now);
  if (mpgi_gc_tick(s->now)) mpgi_idle_gc_wake();
}

void mpgi_sysmon_main(void *arg) {
  (void) arg;
  struct sysmon s = {.now = mpgi_os_now(),
                     .delay = TICK_MIN_NS,
                     .look_next = INT64_MAX,
                     .lone_rest = LONE_REST_NS};
  s.next_trace = mpgi_opt.schedtrace ? s.now + mpgi_opt.schedtrace * 1000 * 1000
                                     : INT64_MAX;
  s.next_text = s.now + TEXT_EVERY_NS;
  if (mpgi_opt.timerslack) mpgi_os_timer_slack_lower();
  mpgi_fixmem_outside(); /* no stop waits for sysmon */
  while (!atomic_load(&mpgi_sched.exiting)) {
    sleep_tick(&s);
    mpgi_dying_serve();
    if (atomic_load(&mpgi_sched.exiting)) break;
    s.now = mpgi_os_now();
    sleep_deeply(&s);
    mpgi_dying_serve();
    if (mpgi_stw_waiting()) {
      s.idle++; /* nobody to look after; the stopper wants the CPU */
      s.ahead = false;
    } else
      round_of_duty(&s);
  }
  mpgi_alarms_end();
  mpgi_thread_gone();
}

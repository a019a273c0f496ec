/* stw.c - stopping the world, and starting it again.
 *
 * The initiator, on g0 or on a thread without a P:
 *   1. takes its turn (one at a time; a second initiator with a P stops like
 *      everybody else until it is its turn);
 *   2. under sched.lock sets waiting, counts the Ps that are neither idle nor
 *      dead (stopwait), takes those in system calls by CAS, and those whose
 *      thread is not awake yet [m.handed];
 *   3. asks each running P: preempt flag, guard word, SIGURG;
 *   4. waits for stopwait to fall to 0, asking again after a back-off: a
 *      signal that found its thread in the runtime had no effect by itself.
 * A running P stops at one of
 *   mpgi_stop_here   on g0: scheduler, and whoever waits there for something
 *   mpgi_stop_in_place  on g0, amid a goroutine: entry thunk's way out, growth,
 *                    async preemption
 *   mpgi_freeze_sig  in the signal handler: foreign code, no safe point, or
 *                    nobody is wanted to help: it is the quickest way
 * [stw.arrive] Each counted P arrives exactly once in an epoch: stop_here and
 * freeze by the P's owner, p_idle_put_locked and p_die_locked for a P let go
 * of, and whoever took it from a system call or a thread that slept.  The
 * fetch_sub(acq_rel) orders everything the mutator wrote before everything the
 * stopper reads.
 *
 * [stw.left] Who makes a P loose (a system call, an attached thread that parks)
 * looks at waiting after that, and takes the P itself, for a stop whose look at
 * statuses was before.  By then that stop may be over, and the P loose again or
 * somebody else's: so it looks once more under sched.lock, under which waiting
 * falls and the statuses change.  Taken for nobody, a P would be out of use
 * until the next stop, which would wait for it for ever.
 *
 * [stw.turn] Initiators come in turn, by tickets: one that stops the world
 * again and again is always awake before those whom it stopped, and would take
 * every turn from under them.  A ticket is never given up: threads that wait
 * for one leave only at exit, when the last turn is never given back, and the
 * next run begins anew.  Who takes a turn sees what the last holder did
 * (turn_now).
 *
 * [stw.bare] g0 of who stops there is scanned; without a goroutine it isn't:
 * the scheduler's frames hold nothing of the heap, but words that they don't
 * write, in which the address of an object may stand, and with it a list,
 * collection after collection, while nothing comes up to be run.
 *
 * Start: waiting = 0, P statuses back to running, seq bumped, sleepers woken.
 * An M that sleeps through a start and a further stop sees seq changed,
 * leaves, finds waiting set again at its caller's loop and arrives anew.
 *
 * [stw.thaw] A frozen thread may hold a lock of the C library's, the dynamic
 * linker's or jemalloc's (its malloc and ours share some) that a thread on its
 * way to a stop waits for on g0: then neither would ever arrive.  So may a
 * goroutine that stopped in place, in a callback.  So when a stop takes long,
 * both sorts go on for a while, each counted as not arrived again, and are
 * asked anew.  The while doubles: at last it is long enough for the holder to
 * get a CPU and let go of its lock.  A goroutine that parks with such a lock is
 * not helped: its thread stops in the scheduler, where there is nothing to go
 * on with.
 *
 * [stw.thaw.slow] But mostly a stop takes long because others want every CPU
 * and who hasn't arrived is waiting for one.  To let the others go on then
 * makes it longer: they have to wait for a CPU once more.  So they go on when
 * somebody who hasn't arrived sleeps in the kernel, for a lock that isn't the
 * runtime's.  A sleeper that was just asked looks as if it ran, until it has
 * taken the signal: so all the same after 16 times as long, and again each
 * time that as much time as until then has passed.
 *
 * Between stop and start the initiator takes no lock that a frozen thread may
 * hold: frozen threads are in user or foreign code, so every lock of the
 * runtime is safe, libc's and jemalloc's are not (mpgi_fixmem_forbid).
 *
 * Source: Go proc.go (stopTheWorldWithSema); freezing is ours.
 */
#include <sched/sched.h>

#include <errno.h>
#include <signal.h>

#include <sched/gmp.h>

struct mpgi_stw mpgi_stw;

/* Who is asked, and runs, arrives after a signal's flight.  Who doesn't run may
 * be waiting for the very CPU that we spin on: then it is quicker to yield it.
 * To yield too soon costs a slice of whoever else wants it. */
#define FLIGHT_NS (20 * 1000)
#define YIELD_AFTER_NS (5 * 1000)
#define SPIN_NS (50 * 1000)
#define RESEND_NS (50 * 1000)
/* Under TSan most signals find their thread in its run-time library, where they
 * are no use (sigpreempt.c): who was caught must not go on before all are. */
#define RESEND_MAX_NS (MPGI_TSAN ? 100 * 1000 : 1000 * 1000)
#ifndef THAW_AFTER_NS /* models have less time */
#define THAW_AFTER_NS ((MPGI_TSAN ? 100 : 10) * 1000 * 1000)
#define THAW_MIN_NS (500 * 1000)
#endif
#define THAW_SLOW_NS (16 * THAW_AFTER_NS)
#define THAW_SLOW_FOR_NS (16 * 1000 * 1000)
#define THAW_MAX_NS (64 * 1000 * 1000)
#ifndef HERE_SPINS /* models have none */
#define HERE_SPINS 200
#endif

/* ---- asking ---- */

void mpgi_preempt_one(struct mpg_p *pp, uint32_t why) {
  struct mpg_m *mp = pp->m;
  if (!mp || !mpgi_m_pin(mp)) return;
  /* curg may change under us: then the flag lands on a goroutine that is not
   * running, whose next mpgi_execute clears it.  The signal goes to the
   * thread, whatever it runs. */
  struct mpg_g *gp = mp->curg;
  MPGI_CHAOS();
  if (gp) {
    if (why & MPGI_PREEMPT_SLICE) mpgi_preempt_asked(pp, gp);
    atomic_fetch_or(&gp->ctx.preempt, why);
  }
  MPGI_CHAOS();
  /* An attached thread isn't asked at prologues (attach.c). */
  if (!mp->attached) *(volatile uintptr_t *) mp->guard = MPGI_GUARD_POISON;
  mpgi_os_tgkill(mp->tid, SIGURG);
  mpgi_m_unpin(mp);
}

void mpgi_stw_arrive(void) {
  int32_t n =
      atomic_fetch_sub_explicit(&mpgi_stw.stopwait, 1, memory_order_acq_rel);
  MPG_VERIFY(n > 0);
  if (n > 1) return;
  MPGI_CHAOS();
  atomic_fetch_add(&mpgi_stw.arrived, 1);
  mpgi_os_futex_wake(&mpgi_stw.arrived, 1);
}

/* Stopped, or thawed and has not noticed. */
static bool can_thaw(const struct mpg_p *pp) {
  if (!pp->m) return false;
  uint32_t stop = atomic_load(&pp->m->stop);
  return stop == MPGI_M_FROZEN || stop == MPGI_M_PLACED;
}

/* Not our own P: a signal to ourselves would be taken at once, before anybody
 * else is asked.  Not a thread that was thawed and has not noticed: it would
 * stop again on the spot, a frozen one because the signal waits for its
 * handler's end. */
static void ask_all(const struct mpg_p *own) {
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    if (pp != own && atomic_load(&pp->status) == MPGI_P_RUNNING &&
        !can_thaw(pp))
      mpgi_preempt_one(pp, MPGI_PREEMPT_STOP);
  }
}

static bool all_stopped(void) {
  return atomic_load_explicit(&mpgi_stw.stopwait, memory_order_acquire) == 0;
}

/* ---- the initiator ---- */

void mpgi_world_give_way(void) {
  struct mpg_m *mp = mpgi_tls_m();
  if (mp && mp->p && mpgi_stw_waiting())
    mpgi_stop_here(mp);
  else
    mpgi_os_yield();
  /* At exit the turn is never given back. */
  if (atomic_load(&mpgi_sched.exiting) && mp && !mp->p) mpgi_m_exit(mp);
}

/* [stw.abroad] A thread on g0 that wants a lock of the dynamic linker's waits
 * for a holder of any sort: a callback or a constructor that stops the world,
 * too.  So it must be possible to stop it there: the handler freezes it, as
 * code that isn't the runtime's (sigpreempt.c). */
void mpgi_abroad(bool yes) {
  struct mpg_m *mp = mpgi_tls_m();
  if (!mp) return; /* no stop waits for this thread */
  MPG_ASSERT(mp->abroad != yes);
  MPG_ASSERT_INTERNAL(mpgi_lockrank_held() == 0);
  atomic_signal_fence(memory_order_seq_cst);
  mp->abroad = yes;
  atomic_signal_fence(memory_order_seq_cst);
  if (!yes && atomic_load(&mpgi_sched.exiting)) mpgi_m_exit(mp);
}

/* ---- whose turn it is [stw.turn] ---- */

void mpgi_turn_reset(uint32_t held) {
  atomic_store(&mpgi_stw.turn_next, held);
  atomic_store(&mpgi_stw.turn_now, 0);
}

void mpgi_turn_give(void) {
  uint32_t now = atomic_load_explicit(&mpgi_stw.turn_now, memory_order_relaxed);
  MPGI_CHAOS();
  atomic_store(&mpgi_stw.turn_now, now + 1);
}

static void turn_take(void) {
  uint32_t ticket = atomic_fetch_add(&mpgi_stw.turn_next, 1);
  MPGI_CHAOS();
  while (atomic_load(&mpgi_stw.turn_now) != ticket) mpgi_world_give_way();
}

/* Only when nobody has it or waits for it. */
static bool turn_try(void) {
  uint32_t now = atomic_load(&mpgi_stw.turn_now);
  MPGI_CHAOS();
  return atomic_compare_exchange_strong(&mpgi_stw.turn_next, &now, now + 1);
}

/* Ps that must arrive. */
static void count_locked(struct mpg_p *own) {
  int32_t n = 0;
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    uint32_t s = atomic_load(&pp->status);
    if (pp == own || s == MPGI_P_IDLE || s == MPGI_P_DEAD) continue;
    n++;
  }
  atomic_store(&mpgi_stw.stopwait, n);
}

static void take_handed_locked(struct mpg_p *pp) {
  if (!mpgi_m_take_back_locked(pp)) return;
  MPGI_CHAOS();
  atomic_store(&pp->status, MPGI_P_GCSTOP);
  mpgi_stw_arrive();
}

/* While waiting is set: P's status may say the same again after a start. */
static void take_syscall_locked(struct mpg_p *pp) {
  uint32_t s = pp->attached ? MPGI_P_AWAY : MPGI_P_SYSCALL;
  uint64_t when = MPGI_TRACE_NOW();
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  if (!atomic_compare_exchange_strong(&pp->status, &s, MPGI_P_GCSTOP)) return;
  MPGI_CHAOS();
  MPGI_TRACE_RETAKE(pp, when, 1);
  mpgi_stw_arrive();
}

static void take_ownerless_locked(void) {
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    take_syscall_locked(pp);
    take_handed_locked(pp);
  }
}

void mpgi_stw_left(struct mpg_p *pp) {
  if (MPGI_LIKELY(!mpgi_stw_waiting())) return;
  MPGI_CHAOS();
  mpgi_mutex_lock(&mpgi_sched.lock);
  if (mpgi_stw_waiting()) take_syscall_locked(pp); /* [stw.left] */
  mpgi_mutex_unlock(&mpgi_sched.lock);
}

/* [stw.thaw] Let those go on who can; false: there are none.  Who stopped
 * wrote stop before its P's status.  Its arrival may still be on its way: then
 * it takes back what is added here, and the thread leaves at once. */
static bool thaw(void) {
  bool any = false;
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    if (atomic_load(&pp->status) != MPGI_P_GCSTOP || !can_thaw(pp)) continue;
    MPGI_CHAOS();
    atomic_fetch_add(&mpgi_stw.stopwait, 1);
    pp->m->thawed = true;
    atomic_store(&pp->status, MPGI_P_RUNNING);
    any = true;
  }
  MPGI_CHAOS();
  if (!any) return false;
  atomic_fetch_add_explicit(&mpgi_stw.thaws, 1, memory_order_relaxed);
  atomic_fetch_add(&mpgi_stw.seq, 1);
  mpgi_os_futex_wake(&mpgi_stw.seq, INT32_MAX);
  return true;
}

static bool any_thawing(void) {
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    const struct mpg_p *pp = mpgi_sched.allp[i];
    if (atomic_load(&pp->status) == MPGI_P_RUNNING && can_thaw(pp)) return true;
  }
  return false;
}

/* When to yield, to ask and to thaw; ns of the clock. */
struct patience {
  int64_t begin, yield_at;
  int64_t ask_at, back_off;
  int64_t thaw_at, thaw_for;
  int64_t slow_at; /* [stw.thaw.slow] */
  bool thawing;    /* somebody was, and may not have left its handler yet */
};

/* Whoever was thawed goes on for all of thaw_for once it runs. */
static void ask_again(struct patience *w, int64_t now,
                      const struct mpg_p *own) {
  if (w->thawing) {
    w->thawing = any_thawing();
    w->ask_at = now + (w->thawing ? THAW_MIN_NS : w->thaw_for);
    return;
  }
  ask_all(own);
  w->ask_at = now + w->back_off;
  if (w->back_off < RESEND_MAX_NS) w->back_off *= 2;
}

/* Waits in the kernel for a lock that isn't the runtime's: those are nobody's
 * who is frozen. */
static bool waits_abroad(struct mpg_m *mp) {
  if (!mp || !mpgi_m_pin(mp)) return false;
  bool waits = !(atomic_load(&mp->waits) & MPGI_WAITS_DEPTH) &&
               mpgi_os_thread_asleep(mp->tid);
  mpgi_m_unpin(mp);
  return waits;
}

static bool some_wait_abroad(void) {
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    const struct mpg_p *pp = mpgi_sched.allp[i];
    if (atomic_load(&pp->status) == MPGI_P_RUNNING && !can_thaw(pp) &&
        waits_abroad(pp->m))
      return true;
  }
  return false;
}

/* [stw.thaw.slow] */
static void thaw_again(struct patience *w, int64_t now) {
  bool helps = some_wait_abroad();
  w->thaw_at = now + THAW_AFTER_NS + 2 * w->thaw_for;
  if (!helps && now < w->slow_at) return;
  if (!helps) {
    w->slow_at = now + (now - w->begin);
    if (w->thaw_for < THAW_SLOW_FOR_NS) w->thaw_for = THAW_SLOW_FOR_NS;
  }
  if (!thaw()) return;
  w->thawing = true;
  w->ask_at = now;
  if (w->thaw_for < THAW_MAX_NS) w->thaw_for *= 2;
}

/* May all who have not stopped be running, each on a CPU of its own? */
static bool all_may_run(void) {
  return atomic_load(&mpgi_stw.stopwait) < mpgi_os_ncpu();
}

static void wait_arrivals(const struct mpg_p *own) {
  int64_t begin = mpgi_os_now();
  int64_t patient = all_may_run() ? FLIGHT_NS : YIELD_AFTER_NS;
  struct patience w = {.begin = begin,
                       .yield_at = begin + patient,
                       .ask_at = begin + RESEND_NS,
                       .back_off = RESEND_NS,
                       .thaw_at = begin + THAW_AFTER_NS,
                       .slow_at = begin + THAW_SLOW_NS,
                       .thaw_for = THAW_MIN_NS};
  while (!all_stopped()) {
    uint32_t seen = atomic_load(&mpgi_stw.arrived);
    int64_t now = mpgi_os_now();
    if (now >= w.thaw_at && !w.thawing) thaw_again(&w, now);
    if (now >= w.ask_at) ask_again(&w, now, own);
    if (now - begin < SPIN_NS) {
      if (now > w.yield_at) mpgi_os_yield();
      for (int i = 0; i < 16 && !all_stopped(); i++) mpgi_arch_relax();
    } else if (!all_stopped()) {
      mpgi_os_futex_wait(&mpgi_stw.arrived, seen, w.ask_at - now);
    }
  }
}

/* Whose turn it is, and who has not stopped the world yet. */
static struct mpg_m *_Atomic reserver;

void mpgi_world_reserve(void) {
  struct mpg_m *mp = mpgi_tls_m();
  if (!mp) return; /* no stop waits for this thread */
  turn_take();
  MPGI_CHAOS();
  atomic_store(&reserver, mp);
}

void mpgi_world_unreserve(void) {
  struct mpg_m *mp = mpgi_tls_m();
  if (!mp) return;
  MPG_ASSERT(atomic_load(&reserver) == mp);
  atomic_store(&reserver, NULL);
  mpgi_turn_give();
}

static void stop_in_turn(enum mpgi_stop_reason reason, unsigned helpers) {
  struct mpg_m *mp = mpgi_tls_m();
  __builtin_unwind_init(); /* callee-saved registers to above stop_sp */
  int64_t requested = mpgi_os_now();
  MPGI_TRACE_EVERYBODY(STW_BEGIN, (uint64_t) reason, 0);
  struct mpg_p *own = mp ? mp->p : NULL;
  mpgi_stw.reason = reason;
  mpgi_stw.helpers = helpers;
  mpgi_stw.requested_at = requested;
  atomic_store(&mpgi_stw.tickets, 0);
  MPGI_CHAOS();
  mpgi_mutex_lock(&mpgi_sched.lock);
  count_locked(own);
  mpgi_want(MPGI_WANT_STOP);
  MPGI_CHAOS();
  take_ownerless_locked();
  mpgi_mutex_unlock(&mpgi_sched.lock);
  MPGI_CHAOS();
  if (!all_stopped()) {
    ask_all(own);
    MPGI_CHAOS();
    wait_arrivals(own);
  }
  if (own) {
    atomic_store(&own->status, MPGI_P_GCSTOP);
    mp->stop_sp = mpgi_arch_sp();
    atomic_store(&mp->stop, MPGI_M_ON_G0);
  }
  mpgi_stw.stopped_at = mpgi_os_now();
  int64_t tts = mpgi_stw.stopped_at - requested;
  atomic_store(&mpgi_stw.last_tts, tts);
  if (own) MPGI_TRACE_P(own, P_STOP, 2);
  MPGI_TRACE_EVERYBODY(STW_STOPPED, (uint64_t) tts, 0);
  mpgi_fixmem_forbid(+1);
}

void mpgi_world_stop(enum mpgi_stop_reason reason, unsigned helpers) {
  struct mpg_m *mp = mpgi_tls_m();
  if (!mp || atomic_load(&reserver) != mp) turn_take();
  atomic_store(&reserver, NULL);
  stop_in_turn(reason, helpers);
}

/* Somebody has the turn while a run starts, and from its end on.  A thread that
 * is no M may be here when the next run begins: it has no ticket. */
static bool turn_take_if_running(void) {
  if (mpgi_tls_m()) {
    turn_take();
    return true;
  }
  while (!turn_try()) {
    if (!atomic_load(&mpgi_sched.running)) return false;
    mpgi_world_give_way();
  }
  return true;
}

bool mpgi_world_stop_if_running(enum mpgi_stop_reason reason) {
  if (!turn_take_if_running()) return false;
  if (!atomic_load(&mpgi_sched.running)) { /* before the first run */
    mpgi_turn_give();
    return false;
  }
  stop_in_turn(reason, 0);
  return true;
}

/* Ps taken here have no M: give those with work to somebody. */
static void resume_ps(struct mpg_p **orphans) {
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    if (atomic_load(&pp->status) != MPGI_P_GCSTOP) continue;
    atomic_store_explicit(&pp->status, MPGI_P_RUNNING, memory_order_release);
    if (pp->m) continue;
    if (pp->attached) { /* its thread comes for it */
      atomic_store(&pp->status, MPGI_P_AWAY);
      continue;
    }
    pp->link = *orphans;
    *orphans = pp;
  }
}

void mpgi_world_start(void) {
  struct mpg_m *mp = mpgi_tls_m();
  MPG_ASSERT(mpgi_stw_waiting() && all_stopped());
  struct mpg_p *orphans = NULL;
  mpgi_fixmem_forbid(-1);
  if (mp) atomic_store(&mp->stop, MPGI_M_GOING);
  atomic_store(&mpgi_stw.tickets, 0);
  mpgi_mutex_lock(&mpgi_sched.lock);
  /* Before the statuses: an M that helped looks at its P at any time, and
   * one that leaves must not find itself asked to arrive again. */
  mpgi_want_no_more(MPGI_WANT_STOP);
  MPGI_CHAOS();
  resume_ps(&orphans);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  MPGI_CHAOS();
  atomic_fetch_add(&mpgi_stw.seq, 1);
  mpgi_os_futex_wake(&mpgi_stw.seq, INT32_MAX);
  int64_t pause = mpgi_os_now() - mpgi_stw.requested_at;
  if (mp && mp->p) MPGI_TRACE_P(mp->p, P_GO, 0);
  MPGI_TRACE_EVERYBODY(STW_END, (uint64_t) pause, 0);
  mpgi_metric_record_stop(mpgi_stw.reason, atomic_load(&mpgi_stw.last_tts),
                          pause);
  mpgi_turn_give();
  for (struct mpg_p *pp; (pp = orphans);) {
    MPGI_CHAOS();
    orphans = pp->link;
    pp->link = NULL;
    mpgi_m_handoff(pp);
  }
  /* No P could be taken off the idle list meanwhile: whoever wanted one went to
   * sleep and relies on this. */
  mpgi_wake_if_wanted();
}

/* ---- the stopped ---- */

static bool take_ticket(void) {
  int32_t n = atomic_load_explicit(&mpgi_stw.tickets, memory_order_relaxed);
  while (n > 0)
    if (atomic_compare_exchange_weak(&mpgi_stw.tickets, &n, n - 1)) return true;
  return false;
}

static void here_wait(uint32_t seq) {
  for (int i = 0; i < HERE_SPINS; i++) {
    if (atomic_load_explicit(&mpgi_stw.seq, memory_order_relaxed) != seq)
      return;
    mpgi_arch_relax();
  }
  mpgi_os_futex_wait(&mpgi_stw.seq, seq, -1);
}

/* The calls below spill every callee-saved register into frames at or above
 * stop_sp before the world counts as stopped: noinline makes that true. */
static __attribute__((noinline)) void here_loop(struct mpg_m *mp,
                                                enum mpgi_m_stop how) {
  mp->stop_sp = mp->curg ? mpgi_arch_sp() : mp->g0_sp; /* [stw.bare] */
  atomic_store_explicit(&mp->stop, how, memory_order_release);
  MPGI_TRACE_P(mp->p, P_STOP, 0);
  MPGI_CHAOS();
  atomic_store(&mp->p->status, MPGI_P_GCSTOP);
  MPGI_CHAOS();
  uint32_t seq = atomic_load(&mpgi_stw.seq);
  mpgi_stw_arrive();
  MPGI_CHAOS();
  /* seq moves for help wanted, too; then the P is still stopped. */
  while (atomic_load(&mp->p->status) == MPGI_P_GCSTOP) {
    if (atomic_load(&mpgi_sched.exiting)) {
      if (mp->at_edge) return; /* attach.c */
      mpgi_m_exit(mp);
    }
    if (take_ticket())
      mpgi_gc_help();
    else
      here_wait(seq);
    seq = atomic_load(&mpgi_stw.seq);
    MPGI_CHAOS();
  }
  MPGI_TRACE_P(mp->p, P_GO, 0);
  atomic_store_explicit(&mp->stop, MPGI_M_GOING, memory_order_release);
}

void mpgi_stop_here(struct mpg_m *mp) {
  MPG_ASSERT(mp->p && mp->p->m == mp);
  __builtin_unwind_init(); /* callee-saved registers to the stack */
  here_loop(mp, MPGI_M_ON_G0);
}

/* A run's last stop never ends: an attached thread leaves it (attach.c). */
static bool must_stay(const struct mpg_m *mp) {
  if (mp->thawed || !mpgi_stw_waiting()) return false;
  return !(mp->at_edge && atomic_load(&mpgi_sched.exiting));
}

void mpgi_stop_in_place(struct mpg_m *mp) {
  MPG_ASSERT(mp->p && mp->p->m == mp);
  __builtin_unwind_init();
  for (mp->thawed = false; must_stay(mp);) here_loop(mp, MPGI_M_PLACED);
}

void mpgi_freeze_sig(struct mpg_m *mp, void *ucontext) {
  struct mpg_p *pp = mp->p;
  mp->frozen_uc = ucontext;
  atomic_store_explicit(&mp->stop, MPGI_M_FROZEN, memory_order_release);
  if (pp) {
    MPGI_TRACE_P(pp, P_STOP, 1);
    MPGI_CHAOS();
    atomic_store(&pp->status, MPGI_P_GCSTOP);
    MPGI_CHAOS();
    uint32_t seq = atomic_load(&mpgi_stw.seq);
    mpgi_stw_arrive();
    MPGI_CHAOS();
    while (atomic_load(&pp->status) == MPGI_P_GCSTOP &&
           !atomic_load(&mpgi_sched.exiting)) {
      mpgi_os_futex_wait(&mpgi_stw.seq, seq, -1);
      seq = atomic_load(&mpgi_stw.seq);
    }
  }
  bool amid_a_call = !mp->attached || mp->abroad;
  if (atomic_load(&mpgi_sched.exiting) && amid_a_call)
    mpgi_freeze_for_ever_sig(mp);
  MPGI_CHAOS();
  mp->frozen_uc = NULL;
  if (pp) MPGI_TRACE_P(pp, P_GO, 0);
  atomic_store_explicit(&mp->stop, MPGI_M_GOING, memory_order_release);
  if (mp->attached && atomic_load(&mpgi_sched.exiting))
    mpgi_attached_cut_sig(mp);
}

unsigned mpgi_stw_recruit(unsigned n) {
  unsigned on_g0 = 0;
  struct mpg_m *self = mpgi_tls_m();
  for (int32_t i = 0; i < mpgi_sched.nallp; i++) {
    struct mpg_m *mp = mpgi_sched.allp[i]->m;
    if (mp && mp != self && mpgi_m_stopped_on_g0(atomic_load(&mp->stop)))
      on_g0++;
  }
  if (n > on_g0) n = on_g0;
  if (n == 0) return 0;
  MPGI_CHAOS();
  atomic_store(&mpgi_stw.tickets, (int32_t) n);
  atomic_fetch_add(&mpgi_stw.seq, 1);
  mpgi_os_futex_wake(&mpgi_stw.seq, INT32_MAX);
  return n;
}

/* ---- gomaxprocs ---- */

/* Ps for n, beside those of attached threads. */
static int prepare_ps(int n) {
  int want = n + mpgi_sched.nattached;
  return mpgi_p_resize_prepare(want < MPGI_ALLP_MAX ? want : MPGI_ALLP_MAX);
}

/* Returns how many there are now; *old: how many there were. */
static int resize(int n, int *old) {
  mpgi_world_stop(MPGI_STOP_GOMAXPROCS, 0);
  *old = atomic_load(&mpgi_sched.procs);
  int got = mpgi_p_resize_stw(n);
  mpgi_world_start();
  return got;
}

int mpgi_gomaxprocs_g0(int n) {
  if (n > MPGI_PROCS_MAX) n = MPGI_PROCS_MAX;
  if (mpgi_is_forked()) mpgi_not_attached("mpg_gomaxprocs");
  if (!atomic_load(&mpgi_sched.running)) return mpgi_procs_want(n);
  int old = atomic_load(&mpgi_sched.procs), partly;
  if (n < 1) return old;
  if (!mpgi_tls_m()) mpgi_not_attached("mpg_gomaxprocs");
  if (n == old) return old;
  if (prepare_ps(n)) return old; /* no memory for more Ps: unchanged */
  int got = resize(n, &old);
  /* Threads attached meanwhile have taken places. */
  while (got < n && prepare_ps(n) == 0) got = resize(n, &partly);
  mpgi_procs_want(n);
  for (int32_t i = n; i < mpgi_sched.nallp; i++)
    if (mpgi_p_retires(mpgi_sched.allp[i]))
      mpgi_preempt_one(mpgi_sched.allp[i], MPGI_PREEMPT_SLICE);
  return old;
}

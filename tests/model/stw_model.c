/* stw_model.c - stopping the world and starting it: every P arrives once.
 *
 * The real stw.c, p.c, syscall.c and status.c.  One or two initiators stop
 * and start the world twice in a row.  Meanwhile
 *   looper     runs a goroutine that only a signal can stop; the handler
 *              freezes it, or switches to g0 where it stops
 *   caller     enters and leaves system calls
 *   idler      lets go of its P and takes an idle one again, on g0
 *   sysmon     retakes a P from a system call and hands it off
 *   holder     is in foreign code and has a lock of its; it can be frozen
 *   called_back  the same, in a callback, where it stops in place
 *   needer     on g0, waits for that lock
 *   attached   a thread of the application's parks and comes back
 * While the world is stopped nobody else may take a step of user code; stopwait
 * may not fall below 0 (MPG_VERIFY in mpgi_stw_arrive); everybody comes to
 * the end.
 *
 * Restated here: the signal handler's policy (sigpreempt.c, sig_running), the
 * arrival of an async preemption (proc.c, stop_in_place), what an M does when
 * it runs out of work (proc.c, keep_p and obey_stopper), mpgi_m_handoff, what
 * an attached thread does with its P (attach.c, leave_p and take_p).
 * The clock stands still until nobody can run, so waits for arrivals time out
 * only then; that is when the stopper asks again.
 */
#include "model.h"

#define HERE_SPINS 0
#define THAW_AFTER_NS (200 * 1000)
#define THAW_MIN_NS (100 * 1000)

struct mpgi_sched mpgi_sched;
struct mpgi_options mpgi_opt;

#include <sched/p.c>
#include <sched/status.c>
#include <sched/stw.c>
#include <sched/syscall.c>

/* No thread ends here. */
bool mpgi_m_pin(struct mpg_m *mp) {
  (void) mp;
  return true;
}
void mpgi_m_unpin(struct mpg_m *mp) { (void) mp; }

#define THREADS 4
#define PS 3

static struct mpg_p p[PS];
static struct mpg_m m[THREADS]; /* m[i] is thread i's; some have none */
static struct mpg_g g[THREADS];
static uintptr_t guard[THREADS], stack[8];
static bool is_m[THREADS], signalled[THREADS];
static bool stopped; /* between mpgi_world_stop and mpgi_world_start */
static bool stops_done;
static int stoppers_left, helped, help_wanted;

static struct mpg_m *model_m(void) {
  int t = explore_self();
  return t >= 0 && is_m[t] ? &m[t] : NULL;
}

/* ---- what is left of the world around it ---- */

/* The stopper spins on the clock first (wait_arrivals): after its first two
 * looks at the clock that time is over. */
static uint8_t clock_reads[THREADS];
int64_t mpgi_os_now(void) {
  uint8_t *reads = &clock_reads[explore_self()];
  if (*reads < 3) ++*reads;
  explore_require(explore_now() < 2 * RESEND_MAX_NS); /* asked often enough */
  return explore_now() + (*reads == 3 ? SPIN_NS : 0);
}
void mpgi_os_yield(void) { explore_step("yield"); }
int mpgi_os_ncpu(void) { return 2; }
bool mpgi_os_thread_asleep(int tid) { /* the worst: thawed for nothing */
  (void) tid;
  return true;
}
int mpgi_os_tgkill(int tid, int sig) {
  (void) sig;
  explore_step("tgkill");
  signalled[tid] = true;
  return 0;
}
void mpgi_fixmem_forbid(int delta) { (void) delta; }
void mpgi_metric_record_stop(enum mpgi_stop_reason r, int64_t tts,
                             int64_t pause) {
  (void) r, (void) tts, (void) pause;
}
void mpgi_sysmon_wake_locked(void) {}
void mpgi_preempt_asked(struct mpg_p *pp, const struct mpg_g *gp) {
  (void) pp, (void) gp;
}
void mpgi_wakep(void) {}
void mpgi_wake_if_wanted(void) {}
bool mpgi_runq_empty(struct mpg_p *pp) {
  (void) pp;
  return true;
}
void mpgi_gc_help(void) { helped++; }

/* See wake_model.c. */
bool mpgi_m_take_back_locked(struct mpg_p *pp) {
  (void) pp;
  return false;
}

/* No work waits for it (m.c). */
void mpgi_m_handoff(struct mpg_p *pp) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_p_idle_put_locked(pp);
  mpgi_mutex_unlock(&mpgi_sched.lock);
}

/* ---- on g0, without work ---- */

/* proc.c, find_runnable and keep_p: stop, or let go of the P. */
static void go_idle(struct mpg_m *mp) {
  bool again = true;
  while (again) {
    while (mpgi_stw_waiting()) mpgi_stop_here(mp);
    mpgi_mutex_lock(&mpgi_sched.lock);
    again = mpgi_stw_waiting();
    if (!again) mpgi_p_idle_put_locked(mpgi_p_release(mp));
    mpgi_mutex_unlock(&mpgi_sched.lock);
  }
}

/* ---- initiators ---- */

static void check_stopped(struct mpg_m *mp) {
  explore_require(!stopped && mpgi_stw.stopwait == 0);
  stopped = true;
  for (int i = 0; i < PS; i++) {
    uint32_t s = memory_word(&p[i].status);
    explore_require(s == MPGI_P_IDLE || s == MPGI_P_GCSTOP);
    explore_require(p[i].m == NULL || s == MPGI_P_GCSTOP);
  }
  for (int t = 0; t < THREADS; t++)
    explore_require(!is_m[t] || !m[t].p || &m[t] == mp ||
                    memory_word(&m[t].stop) != MPGI_M_GOING);
}

static bool have_helped(const void *arg) {
  (void) arg;
  return helped == help_wanted;
}

static void stop_and_start(int times, bool with_help) {
  while (times--) {
    clock_reads[explore_self()] = 0;
    mpgi_world_stop(MPGI_STOP_GC, 0);
    check_stopped(model_m());
    if (with_help) {
      help_wanted += (int) mpgi_stw_recruit(1);
      explore_await(have_helped, NULL);
    }
    explore_step("stopped");
    stopped = false;
    mpgi_world_start();
  }
  if (model_m()) go_idle(model_m());
  if (--stoppers_left == 0) stops_done = true;
}

static void stopper(int times) { stop_and_start(times, false); }
static void stopper_with_help(int times) { stop_and_start(times, true); }

/* ---- user code and signals ---- */

static void user_step(void) {
  explore_require(!stopped);
  explore_require(m[explore_self()].p != NULL);
}

/* proc.c, stop_in_place, after an injected call switched to g0. */
static void async_preempted(struct mpg_m *mp, struct mpg_g *gp) {
  if (!mpgi_stw_waiting()) return;
  mpgi_g_status_set(gp, MPGI_G_RUNNING, MPGI_G_PREEMPTED);
  mpgi_stop_in_place(mp);
  mpgi_g_status_set(gp, MPGI_G_PREEMPTED, MPGI_G_RUNNING);
}

/* sigpreempt.c, sig_running, in user or foreign code. */
static void handle_signal(struct mpg_m *mp) {
  struct mpg_g *gp = mp->curg;
  signalled[explore_self()] = false;
  bool stopping = mpgi_stw_waiting();
  if (!stopping && !atomic_load(&gp->ctx.preempt)) return;
  if (explore_choose(2) == 0) {
    async_preempted(mp, gp);
    atomic_exchange(&gp->ctx.preempt, 0);
  } else if (stopping) {
    mpgi_freeze_sig(mp, stack);
  }
}

static bool disturbed(const void *arg) {
  return *(const bool *) arg || stops_done;
}

/* A loop without calls, as long as anybody stops the world. */
static void looper(int i) {
  while (!stops_done) {
    user_step();
    explore_await(disturbed, &signalled[i]);
    if (signalled[i]) handle_signal(&m[i]);
  }
}

/* ---- system calls ---- */

/* thunks.S; by way of g0, as a goroutine of which something is wanted. */
static void enter(int i, bool here) {
  unsigned r = here ? mpgi_syscall_enter_here(&g[i], &m[i]) : 0;
  if (r == 0) mpgi_syscall_enter_g0();
  if (r == 2) mpgi_syscall_entered_g0();
}
void mpgi_thunk_syscall_exit(void) { mpgi_syscall_exit_g0(); }
void mpgi_thunk_syscall_back(void) { mpgi_syscall_back_g0(); }

static void call(int i, int times, bool blocks) {
  while (times--) {
    user_step();
    bool here = explore_choose(2);
    enter(i, here);
    explore_step("in the kernel");
    if (blocks) explore_await(disturbed, &(bool){false});
    if (here)
      mpg_syscall_exit();
    else
      mpgi_syscall_exit_g0();
    user_step();
    explore_step("user code");
    if (signalled[i]) handle_signal(&m[i]);
  }
  looper(i);
}

static void caller(int i) { call(i, 2, false); }
static void caller_once(int i) { call(i, 1, false); }
/* Blocks until nobody stops the world any more. */
static void blocked_caller(int i) { call(i, 1, true); }

/* No P was free: wait until one is (a part of mpgi_m_stop). */
static bool p_is_free(const void *arg) {
  (void) arg;
  return mpgi_sched.idle_p &&
         !(memory_word(&mpgi_sched.wants) & MPGI_WANT_STOP);
}

static void take_a_p(struct mpg_m *mp) {
  while (!mp->p) {
    explore_await(p_is_free, NULL);
    mpgi_mutex_lock(&mpgi_sched.lock);
    struct mpg_p *pp = mpgi_p_idle_get_locked();
    mpgi_mutex_unlock(&mpgi_sched.lock);
    if (pp) mpgi_p_acquire(mp, pp);
  }
}

/* The last calls of exit_without_p.  Another M would run the goroutine: here
 * it is the same one, when it has a P again. */
void mpgi_ready_globally(struct mpg_g *gp) { (void) gp; }
void mpgi_drop_g(struct mpg_m *mp, struct mpg_g *gp) { (void) mp, (void) gp; }
void mpgi_m_stop(struct mpg_m *mp) { take_a_p(mp); }
static int times_scheduled[THREADS];
void mpgi_schedule(struct mpg_m *mp) {
  while (mpgi_stw_waiting()) mpgi_stop_here(mp);
  mpgi_g_status_set(&g[mp - m], MPGI_G_RUNNABLE, MPGI_G_RUNNING);
  times_scheduled[mp - m]++;
  looper((int) (mp - m));
  explore_done();
}

/* attach.c, leave_p and mpgi_attached_take_p. */
static void attached_leave(struct mpg_m *mp) {
  struct mpg_p *pp = mpgi_p_release(mp);
  atomic_store(&pp->status, MPGI_P_AWAY);
  mpgi_stw_left(pp);
}

static void attached_return(struct mpg_m *mp) {
  for (;;) {
    uint32_t seq = atomic_load(&mpgi_stw.seq), s = MPGI_P_AWAY;
    if (atomic_compare_exchange_strong(&mp->own_p->status, &s, MPGI_P_RUNNING))
      break;
    mpgi_os_futex_wait(&mpgi_stw.seq, seq, -1);
  }
  mpgi_p_acquire(mp, mp->own_p);
}

/* It may be away, or come back, for ever. */
static void attached(int i) {
  struct mpg_m *mp = &m[i];
  mp->own_p = mp->p;
  mp->own_p->attached = true;
  attached_leave(mp);
  attached_return(mp);
  while (mpgi_stw_waiting()) mpgi_stop_here(mp);
  user_step();
  attached_leave(mp);
}

static void idler(int i) {
  struct mpg_m *mp = &m[i];
  mp->curg = NULL;
  for (int n = 0; n < 2; n++) {
    go_idle(mp);
    take_a_p(mp);
  }
  go_idle(mp);
}

/* ---- a lock of the C library's, say ---- */

static _Atomic uint32_t foreign_lock;

/* sigpreempt.c, sig_running, in foreign code. */
static void foreign_step(int i) {
  user_step();
  explore_step("foreign code");
  if (!signalled[i]) return;
  signalled[i] = false;
  if (mpgi_stw_waiting()) mpgi_freeze_sig(&m[i], stack);
}

static void holder(int i) {
  explore_lock(&foreign_lock);
  foreign_step(i);
  explore_unlock(&foreign_lock);
  looper(i);
}

/* The way out of an entry stub, called by code that the library called. */
static void called_back(int i) {
  explore_lock(&foreign_lock);
  user_step();
  explore_step("callback");
  if (signalled[i]) {
    signalled[i] = false;
    async_preempted(&m[i], &g[i]);
  }
  explore_unlock(&foreign_lock);
  looper(i);
}

static void needer(int i) {
  m[i].curg = NULL;
  explore_lock(&foreign_lock);
  explore_unlock(&foreign_lock);
  go_idle(&m[i]);
}

/* ---- sysmon: retake_syscall ---- */

static void sysmon(int times) {
  while (times--) {
    uint32_t st = MPGI_P_SYSCALL;
    struct mpg_p *pp = &p[0];
    if (!mpgi_stw_waiting() &&
        atomic_compare_exchange_strong(&pp->status, &st, MPGI_P_RUNNING))
      mpgi_m_handoff(pp);
  }
}

/* ---- setup ---- */

static void hide_rest(void) {
  struct mpgi_sched *s = &mpgi_sched;
  explore_constant(s->allp, sizeof s->allp);
  explore_constant(stack, sizeof stack);
  explore_constant(&mpgi_opt, sizeof mpgi_opt);
  for (int i = 0; i < PS; i++) {
    explore_constant(&p[i].runq_head, (size_t) ((char *) (&p[i] + 1) -
                                                (char *) &p[i].runq_head));
  }
}

static void name_all(void) {
  static const char *const ps[] = {"P0", "P1", "P2"};
  static const char *const ms[] = {"M0", "M1", "M2", "M3"};
  explore_name(&mpgi_sched.lock, 4, "sched.lock");
  explore_name(&mpgi_stw.turn_next, 4, "stw.turn_next");
  explore_name(&mpgi_stw.turn_now, 4, "stw.turn_now");
  explore_name(&mpgi_sched.wants, 4, "sched.wants");
  explore_name(&mpgi_stw.stopwait, 4, "stw.stopwait");
  explore_name(&mpgi_stw.arrived, 4, "stw.arrived");
  explore_name(&mpgi_stw.seq, 4, "stw.seq");
  explore_name(&mpgi_stw.tickets, 4, "stw.tickets");
  for (int i = 0; i < PS; i++) {
    explore_name(&p[i], sizeof p[i], ps[i]);
    explore_name(&p[i].status, 4, "status");
  }
  for (int i = 0; i < THREADS; i++) {
    explore_name(&m[i], sizeof m[i], ms[i]);
    explore_name(&m[i].stop, 4, "m.stop");
  }
}

static void p_of(int t, int pi) {
  is_m[t] = true;
  m[t].tid = t;
  m[t].guard = &guard[t];
  m[t].curg = &g[t];
  g[t].m = &m[t];
  g[t].ctx.sp = (uintptr_t) stack;
  atomic_store(&g[t].status, MPGI_G_RUNNING);
  atomic_store(&p[pi].status, MPGI_P_RUNNING);
  mpgi_p_acquire(&m[t], &p[pi]);
}

/* Threads first to first + n - 1 have P0 and so on; the rest is idle. */
static void setup(int first, int n, int stoppers) {
  struct mpgi_sched *s = &mpgi_sched;
  s->nallp = s->nallp_made = PS;
  atomic_store(&s->procs, PS);
  stoppers_left = stoppers;
  for (int i = 0; i < PS; i++) {
    s->allp[i] = &p[i];
    p[i].id = i;
    if (i < n) {
      p_of(first + i, i);
      continue;
    }
    atomic_store(&p[i].status, MPGI_P_IDLE);
    p[i].link = s->idle_p;
    s->idle_p = &p[i];
    s->npidle++;
  }
  hide_rest();
  name_all();
}

static void setup_1(void) { setup(1, 1, 1); }
static void setup_2(void) { setup(1, 2, 1); }
static void setup_owner_stops(void) {
  setup(0, 2, 2);
  m[0].curg = NULL;
}
static void at_end(void) {
  explore_require(mpgi_stw.turn_next == mpgi_stw.turn_now);
  explore_require(mpgi_sched.wants == 0);
  explore_require(mpgi_stw.stopwait == 0 && !stopped);
}

/* ---- configurations ---- */

static const struct explore_config configs[] = {
    {.name = "stw.a_loop_is_stopped_twice",
     .setup = setup_1,
     .thread = {{"stopper", stopper, 2, false}, {"looper", looper, 1, false}}},
    {.name = "stw.system_calls_come_and_go",
     .setup = setup_1,
     .thread = {{"stopper", stopper, 2, false}, {"caller", caller, 1, false}}},
    {.name = "stw.a_system_call_blocks",
     .setup = setup_1,
     .thread = {{"stopper", stopper, 2, false},
                {"caller", blocked_caller, 1, false}}},
    {.name = "stw.ps_become_idle_and_busy",
     .setup = setup_1,
     .thread = {{"stopper", stopper, 2, false}, {"idler", idler, 1, false}}},
    {.name = "stw.sysmon_takes_the_p_of_a_call",
     .setup = setup_1,
     .thread = {{"stopper", stopper, 1, false},
                {"caller", caller, 1, false},
                {"sysmon", sysmon, 2, false}}},
    {.name = "stw.two_loops_are_stopped",
     .setup = setup_2,
     .thread = {{"stopper", stopper, 1, false},
                {"looper", looper, 1, false},
                {"looper2", looper, 2, false}}},
    {.name = "stw.a_loop_and_system_calls",
     .setup = setup_2,
     .thread = {{"stopper", stopper, 1, false},
                {"looper", looper, 1, false},
                {"caller", caller_once, 2, false}}},
    {.name = "stw.two_initiators_one_with_a_p",
     .setup = setup_owner_stops,
     .thread = {{"stopper", stopper, 1, false},
                {"looper", looper, 1, false},
                {"stopper2", stopper, 1, false}}},
    {.name = "stw.the_stopped_help_twice",
     .setup = setup_1,
     .thread = {{"stopper", stopper_with_help, 2, false},
                {"looper", looper, 1, false}}},
    {.name = "stw.some_of_the_stopped_help",
     .setup = setup_2,
     .thread = {{"stopper", stopper_with_help, 1, false},
                {"looper", looper, 1, false},
                {"looper2", looper, 2, false}}},
    {.name = "stw.a_frozen_thread_has_a_lock_that_another_needs",
     .setup = setup_2,
     .thread = {{"stopper", stopper, 1, false},
                {"holder", holder, 1, false},
                {"needer", needer, 2, false}}},
    {.name = "stw.who_stopped_in_place_has_a_lock_that_another_needs",
     .setup = setup_2,
     .thread = {{"stopper", stopper, 1, false},
                {"called_back", called_back, 1, false},
                {"needer", needer, 2, false}}},
    {.name = "stw.an_attached_thread_parks_and_comes_back",
     .setup = setup_1,
     .thread = {{"stopper", stopper, 2, false},
                {"attached", attached, 1, false}}},
};

/* ---- what must be noticed ---- */

#define LATE "explore_now() < 2 * RESEND_MAX_NS"

static const struct {
  int config;
  struct explore_mutant mutant;
  const char *message;
} wrong[] = {
    {2,
     {"mpgi_syscall_enter_g0", EXPLORE_STORE, EXPLORE_RELAX, &p[0].status},
     LATE},
    {2,
     {"mpgi_syscall_enter_here", EXPLORE_STORE, EXPLORE_RELAX, &p[0].status},
     LATE},
    {1, {"take_syscall_locked", EXPLORE_CAS, EXPLORE_TEAR, NULL}, "n > 0"},
    {5,
     {"mpgi_stw_arrive", EXPLORE_RMW, EXPLORE_TEAR, &mpgi_stw.stopwait},
     LATE},
    /* Who sleeps through the start misses the second stop. */
    {0, {"mpgi_world_start", EXPLORE_WAKE, EXPLORE_SKIP, NULL}, LATE},
    {0, {"mpgi_world_start", EXPLORE_RMW, EXPLORE_SKIP, NULL}, "deadlock"},
    {10,
     {"thaw", EXPLORE_RMW, EXPLORE_SKIP, &mpgi_stw.stopwait},
     "s == MPGI_P_IDLE"},
    {10, {"thaw", EXPLORE_WAKE, EXPLORE_SKIP, NULL}, LATE},
    {11,
     {"thaw", EXPLORE_RMW, EXPLORE_SKIP, &mpgi_stw.stopwait},
     "s == MPGI_P_IDLE"},
    {11, {"thaw", EXPLORE_WAKE, EXPLORE_SKIP, NULL}, LATE},
};

int main(void) {
  struct explore_config c;
  for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
    c = configs[i];
    c.at_end = at_end;
    c.memory = EXPLORE_TSO;
    explore_pass(&c);
  }
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    c = configs[wrong[i].config];
    c.at_end = at_end;
    c.memory = EXPLORE_TSO;
    c.mutant = &wrong[i].mutant;
    explore_fail_with(&c, wrong[i].message);
  }
  return explore_status();
}

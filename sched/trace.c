/* trace.c - mpg_trace_start, mpg_trace_stop, and who records where.
 *
 * Recording starts and stops with the world stopped (when it runs): so every
 * P's first event tells what it runs, and nobody is in the middle of an event
 * when the writer is told that no more will come.  Nothing is written to the
 * file by a thread that runs goroutines.
 *
 * The callers wait for the writer (opening a file may take long, so may
 * writing the rest) as in a system call: without a P.  When mpg_run ends
 * meanwhile the caller is gone; mpgi_trace_run_over does what it would have
 * done.
 */
#include <sched/sched.h>

#include <errno.h>
#include <string.h>

#include <sched/gmp.h>

struct mpgi_tracing mpgi_tracing;

/* ---- recording ---- */

static uint64_t m_id(const struct mpg_m *mp) {
  return mp && mp->id < MPGI_TRACE_NO_M ? (uint64_t) mp->id : MPGI_TRACE_NO_M;
}

/* After these the next goroutine starts on the P, mostly at once. */
static bool is_leave(enum mpgi_trace_event e) {
  return e == MPGI_TRACE_G_BLOCK || e == MPGI_TRACE_G_END ||
         e == MPGI_TRACE_G_YIELD || e == MPGI_TRACE_G_PREEMPT;
}

static struct mpgi_trace_ring *ring_of_p(struct mpg_p *pp) {
  return atomic_load_explicit(&pp->trace, memory_order_acquire);
}

static struct mpgi_trace_ring *ring_of(const struct mpg_m *mp) {
  return mp && mp->p ? ring_of_p(mp->p) : NULL;
}

/* [trace.switch] What a switch and a wake-up record is in line, once in each of
 * three functions.  ticks as mpgi_trace_emit_at has it. */
static inline __attribute__((always_inline)) uint64_t emit_at(
    struct mpgi_trace_ring *r, uint64_t ticks, uint64_t what, uint64_t a,
    uint64_t b) {
  return MPGI_LIKELY(r != NULL) ? mpgi_trace_emit_at(r, ticks, what, a, b)
                                : mpgi_trace_emit_shared(what, a, b);
}

void mpgi_trace_m(struct mpg_m *mp, enum mpgi_trace_event e,
                  const struct mpg_g *gp, uint64_t a, uint64_t b) {
  uint64_t what = mpgi_trace_what(e, m_id(mp), gp ? gp->goid : 0);
  if (mp) mp->trace_left = is_leave(e);
  emit_at(ring_of(mp), 0, what, a, b);
}

void mpgi_trace_start(struct mpg_m *mp, struct mpg_g *gp, bool quick) {
  struct mpgi_trace_ring *r = ring_of(mp);
  uint64_t what = mpgi_trace_what(MPGI_TRACE_G_START, m_id(mp), gp->goid);
  bool follows = r && quick && mp->trace_left && mpgi_trace_follows(r);
  mp->trace_left = false;
  emit_at(r, follows ? MPGI_TRACE_AS_LAST : 0, what, gp->trace_wake,
          (uint64_t) (uintptr_t) gp->fn);
}

void mpgi_trace_p(struct mpg_p *pp, enum mpgi_trace_event e, uint64_t a) {
  struct mpgi_trace_ring *r = ring_of_p(pp);
  if (r) mpgi_trace_emit(r, mpgi_trace_what(e, MPGI_TRACE_NO_M, 0), a, 0);
}

void mpgi_trace_retake(struct mpg_p *pp, uint64_t ticks, uint64_t by) {
  if (!ticks) ticks = mpgi_arch_ticks(); /* the trace was off then */
  struct mpgi_trace_ring *r = ring_of_p(pp);
  uint64_t what = mpgi_trace_what(MPGI_TRACE_P_RETAKE, MPGI_TRACE_NO_M, 0);
  if (r) mpgi_trace_emit_at(r, ticks, what, by, 0);
}

void mpgi_trace_back(struct mpg_m *mp, const struct mpg_g *gp, uint64_t ticks) {
  struct mpgi_trace_ring *r = ring_of(mp);
  uint64_t what = mpgi_trace_what(MPGI_TRACE_SYSCALL_EXIT, m_id(mp), gp->goid);
  emit_at(r, ticks, what, 0, 0);
}

void mpgi_trace_ready(struct mpg_m *mp, enum mpgi_trace_event e,
                      struct mpg_g *gp) {
  const struct mpg_g *by = mp ? mp->curg : NULL;
  uint64_t a = e == MPGI_TRACE_G_CREATE ? (uint64_t) (uintptr_t) gp->fn
                                        : gp->wait_reason;
  gp->extra |= MPGI_EXTRA_WOKEN;
  gp->trace_wake =
      emit_at(ring_of(mp), 0, mpgi_trace_what(e, m_id(mp), gp->goid), a,
              by && by != gp ? by->goid : 0);
}

/* ---- rings ---- */

/* Under resize_lock, or before pp is known to anybody. */
void mpgi_trace_p_made(struct mpg_p *pp) {
  if (atomic_load(&mpgi_tracing.state) == MPGI_TRACING_OFF) return;
  if (atomic_load(&pp->trace)) return;
  atomic_store(&pp->trace, mpgi_trace_ring_new((uint64_t) pp->id));
}

static int make_rings(void) {
  if (!mpgi_trace_shared_make()) return -ENOMEM;
  int err = 0;
  mpgi_mutex_lock(&mpgi_sched.resize_lock);
  for (int i = 0; i < mpgi_sched.nallp_made; i++) {
    mpgi_trace_p_made(mpgi_sched.allp[i]);
    if (!atomic_load(&mpgi_sched.allp[i]->trace)) err = -ENOMEM;
  }
  mpgi_mutex_unlock(&mpgi_sched.resize_lock);
  return err;
}

/* ---- switching it on and off ---- */

/* Which run's goroutine calls; 0: a thread that mpg doesn't know. */
static uint32_t caller_run(void) {
  return mpgi_tls_m() ? mpgi_sched.run_generation : 0;
}

static bool switch_on(void) {
  if (atomic_load(&mpgi_tracing.state) != MPGI_TRACING_OPENED) return false;
  for (int i = 0; i < mpgi_sched.nallp_made; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    const struct mpg_g *gp = pp->m ? pp->m->curg : NULL;
    struct mpgi_trace_ring *r = atomic_load(&pp->trace);
    if (!r || !gp || atomic_load(&pp->status) != MPGI_P_GCSTOP) continue;
    uint64_t m = m_id(pp->m), fn = (uint64_t) (uintptr_t) gp->fn;
    mpgi_trace_emit(r, mpgi_trace_what(MPGI_TRACE_G_START, m, gp->goid), 0, fn);
    mpgi_trace_emit(r, mpgi_trace_what(MPGI_TRACE_P_STOP, m, 0), 0, 0);
  }
  atomic_store(&mpgi_trace_on, 1);
  mpgi_watch();
  return mpgi_tracing_move(MPGI_TRACING_OPENED, MPGI_TRACING_ON);
}

/* Off before the writer is told: it takes everything. */
static bool switch_off(void) {
  if (atomic_load(&mpgi_tracing.state) != MPGI_TRACING_ON) return false;
  atomic_store(&mpgi_trace_on, 0);
  mpgi_watch();
  MPGI_CHAOS();
  atomic_store(&mpgi_tracing.caller, caller_run());
  return mpgi_tracing_move(MPGI_TRACING_ON, MPGI_TRACING_STOPPING);
}

static bool world_at_rest(bool (*fn)(void)) {
  /* For threads that mpg doesn't know, while no world runs. */
  static struct mpgi_mutex lock = MPGI_MUTEX_INIT(MPGI_RANK_LEAF);
  bool stopped = mpgi_world_stop_if_running(MPGI_STOP_STATS);
  mpgi_mutex_lock(&lock);
  bool done = fn();
  mpgi_mutex_unlock(&lock);
  if (stopped) mpgi_world_start();
  return done;
}

/* ---- waiting for the writer ---- */

bool mpgi_tracing_move(enum mpgi_trace_state from, enum mpgi_trace_state to) {
  uint32_t s = from;
  if (!atomic_compare_exchange_strong(&mpgi_tracing.state, &s, to))
    return false;
  MPGI_CHAOS();
  mpgi_os_futex_wake(&mpgi_tracing.state, INT32_MAX);
  return true;
}

#define LOOK_EVERY_NS (10 * 1000 * 1000)

/* Until the state is no more s, or mpg_run ends: looked for now and then,
 * because nobody wakes us for it. */
static void wait_while(struct mpg_m *mp, enum mpgi_trace_state s) {
  while (atomic_load(&mpgi_tracing.state) == s) {
    if (mp && atomic_load(&mpgi_sched.exiting)) mpgi_m_exit(mp);
    mpgi_os_futex_wait(&mpgi_tracing.state, s, LOOK_EVERY_NS);
  }
}

/* The rest of a call, once the writer has done its part: at once, or as
 * on_resume of a goroutine that lost its P. */
static int opened(void) {
  int err = mpgi_tracing.error;
  if (err)
    mpgi_tracing_move(MPGI_TRACING_OPENED, MPGI_TRACING_OFF);
  else
    world_at_rest(switch_on);
  return err;
}

static int written(void) {
  int err = mpgi_tracing.error;
  MPGI_CHAOS();
  mpgi_tracing_move(MPGI_TRACING_DONE, MPGI_TRACING_OFF);
  return err;
}

static void opened_resumed(struct mpg_g *gp) {
  gp->ctx.ret = (uintptr_t) (intptr_t) opened();
}
static void written_resumed(struct mpg_g *gp) {
  gp->ctx.ret = (uintptr_t) (intptr_t) written();
}

static int wait_then(enum mpgi_trace_state s, int (*rest)(void),
                     void (*rest_resumed)(struct mpg_g *gp)) {
  struct mpg_m *mp = mpgi_tls_m();
  if (!mp || !mp->curg || !mp->p) { /* it has no P to give away */
    wait_while(mp, s);
    return rest();
  }
  struct mpg_g *gp = mp->curg;
  mpgi_syscall_enter_g0();
  wait_while(mp, s);
  mpgi_g_on_resume(gp, rest_resumed); /* for an exit that doesn't return */
  mpgi_syscall_exit_g0();
  mpgi_g_on_resume(gp, NULL);
  return rest();
}

/* ---- the end of a run ---- */

void mpgi_trace_run_end_stw(void) {
  for (int i = 0; mpgi_trace_is_on() && i < mpgi_sched.nallp_made; i++)
    mpgi_trace_p(mpgi_sched.allp[i], MPGI_TRACE_RUN_END, 0);
}

void mpgi_trace_run_over(void) {
  uint32_t s = atomic_load(&mpgi_tracing.state);
  if (atomic_load(&mpgi_tracing.caller) != mpgi_sched.run_generation) return;
  if (s == MPGI_TRACING_OPENING || s == MPGI_TRACING_STOPPING)
    mpgi_tracing_move(s, MPGI_TRACING_ABANDONED);
  /* The writer may have been faster. */
  if (atomic_load(&mpgi_tracing.state) == MPGI_TRACING_OPENED) opened();
  mpgi_tracing_move(MPGI_TRACING_DONE, MPGI_TRACING_OFF);
}

/* ---- the calls ---- */

/* A thread that no stop waits for may use fixmem at any time. */
static void any_thread(void) {
  if (!mpgi_tls_m()) mpgi_fixmem_outside();
}

int mpgi_trace_start_g0(const char *path) {
  if (mpgi_is_forked()) mpgi_not_attached("mpg_trace_start");
  if (!path || !*path) return -EINVAL;
  if (!mpgi_tracing_move(MPGI_TRACING_OFF, MPGI_TRACING_OPENING))
    return -EALREADY;
  atomic_store(&mpgi_tracing.caller, caller_run());
  any_thread();
  int err = make_rings();
  if (!err) err = mpgi_trace_writer_start(path);
  if (err) {
    mpgi_tracing_move(MPGI_TRACING_OPENING, MPGI_TRACING_OFF);
    return err;
  }
  return wait_then(MPGI_TRACING_OPENING, opened, opened_resumed);
}

int mpgi_trace_stop_g0(void) {
  if (mpgi_is_forked()) mpgi_not_attached("mpg_trace_stop"); /* no writer */
  if (atomic_load(&mpgi_tracing.state) != MPGI_TRACING_ON ||
      !world_at_rest(switch_off))
    return -EALREADY;
  return wait_then(MPGI_TRACING_STOPPING, written, written_resumed);
}

/* wake_model.c - no wake-up is lost between submitters and spinners.
 *
 * The real proc.c, m.c, p.c and runq.c.  An M is a thread that runs
 * find_runnable from the top; a goroutine, once it runs, never leaves its
 * thread.  M0 runs one that starts others and then goes on for ever, so what
 * it started must be found by other Ms: the watcher waits until every G runs.
 * If one waits in a queue for ever while an M sleeps, the explorer reports a
 * deadlock.
 *
 * A stopper takes Ps back from Ms that are not awake yet, and gives them out
 * again when the world goes on.
 *
 * Left out: timers, arrivals of a stop, the order of victims (always the same),
 * lazy Ps (proc.c, [wake.lazy]: sysmon submits for them).
 */
#include "model.h"

#undef MPGI_RUNQ_SLOTS
#define MPGI_RUNQ_SLOTS 4
#define NEXT_LOOKS 1
#define NEXT_RELAXES 0
#define SHORT 0 /* [steal.short] makes Ps lazy */
#define WAKER_RELAXES 0
#define SET_WAKING(pp, on) ((void) (pp))
#define mpgi_xorshift(s) ((void) (s), 0u)
#define STEAL_ROUNDS 1 /* the last one, which takes runnext too */

struct mpgi_stw mpgi_stw;
struct mpgi_options mpgi_opt;

#include <sched/m.c>
#include <sched/p.c>
#include <sched/proc.c>
#include <sched/runq.c>

#define PS 3
#define MS 5 /* M0 to M2, then spare ones that m_new makes */
#define SPARE_FROM 3
#define GS 3

static struct mpg_p p[PS];
static struct mpg_m m[MS];
static struct mpg_g g[GS];
static int submitted, wanted, running;
static int spares_made;
static bool spare_started[MS];

static struct mpg_m *model_m(void) {
  int t = explore_self();
  return t < MS ? &m[t] : NULL;
}

/* ---- what is left of the world around it ---- */

void mpgi_note_clear(struct mpgi_note *n) { atomic_exchange(&n->state, 0); }
void mpgi_note_wake(struct mpgi_note *n) { atomic_exchange(&n->state, 2); }
static bool is_set(const void *arg) {
  return memory_word(&((const struct mpgi_note *) arg)->state) == 2;
}
void mpgi_note_sleep(struct mpgi_note *n) { explore_await(is_set, n); }

int64_t mpgi_os_now(void) { return 0; }
int64_t mpgi_timers_run(struct mpg_p *pp, int64_t now) {
  (void) pp, (void) now;
  return INT64_MAX;
}
int64_t mpgi_timers_first(void) { return INT64_MAX; }
bool mpgi_netpoll_waiting(void) { return false; }
void mpgi_sysmon_wake_locked(void) {}
void mpgi_sysmon_lazy(void) {}
void mpgi_checkdead_locked(void) {}

/* An M that stops waits in place: whether all do is stw_model.c's business. */
static bool world_runs(const void *arg) {
  (void) arg;
  return !(memory_word(&mpgi_sched.wants) & MPGI_WANT_STOP);
}
void mpgi_stop_here(struct mpg_m *mp) {
  (void) mp;
  explore_await(world_runs, NULL);
}
void mpgi_stw_arrive(void) {}

/* A thread made by m_new: its M is a spare one. */
static unsigned char other_memory[64];
__attribute__((noinline)) void *mpgi_fixmem_alloc(size_t bytes, size_t align) {
  (void) align;
  if (bytes != sizeof(struct mpg_m)) return other_memory;
  explore_require(SPARE_FROM + spares_made < MS);
  return &m[SPARE_FROM + spares_made++];
}
size_t mpgi_arch_xsave_bytes(void) { return sizeof other_memory; }
struct mpgi_xsave *mpgi_arch_xsave_init(void *mem) {
  return mem;
}
size_t mpgi_os_page_bytes = 4096;
/* No stack of it is used. */
__attribute__((noinline)) void *mpgi_os_mem_map(size_t bytes, size_t align) {
  (void) bytes, (void) align;
  return other_memory;
}
void *mpgi_os_stack_map(size_t bytes, size_t align) {
  return mpgi_os_mem_map(bytes, align);
}
void *mpgi_os_mem_reserve(size_t bytes, size_t align) {
  return mpgi_os_mem_map(bytes, align);
}
int mpgi_os_mem_guard(void *lo, size_t bytes) {
  (void) lo, (void) bytes;
  return 0;
}
void mpgi_sysmon_due(int64_t when) { (void) when; } /* threads ahead */
int mpgi_os_thread_start(void (*fn)(void *), void *arg, size_t bytes,
                         const char *name) {
  (void) fn, (void) bytes, (void) name;
  spare_started[(struct mpg_m *) arg - m] = true;
  return 0;
}

/* schedule_on_g0 and mpgi_execute, as far as others see them. */
static void schedules(struct mpg_m *mp) {
  bool inherit;
  explore_require(find_runnable(mp, &inherit) != NULL);
  if (mp->spinning) spinning_end(mp);
  running++;
  explore_done();
}

/* ---- setup ---- */

static void hide_rest_of_p(struct mpg_p *pp) {
  const char *end = (const char *) (pp + 1);
  const char *slots = (const char *) &pp->runq[MPGI_RUNQ_SLOTS];
  const char *stacks = (const char *) &pp->gfree;
  explore_constant(slots, (size_t) ((const char *) &pp->runq[256] - slots));
  explore_constant(stacks, (size_t) (end - stacks));
  explore_constant(&pp->lazy, sizeof pp->lazy);
  explore_constant(&pp->solo, 2 * sizeof pp->solo); /* and shut */
}

/* Nothing that a stop, a call or the end of a thread needs. */
static void hide_rest_of_m(struct mpg_m *mp) {
  explore_constant(&mp->locked_g,
                   (size_t) ((char *) (mp + 1) - (char *) &mp->locked_g));
}

static void name_all(void) {
  static const char *const ps[] = {"P0", "P1", "P2"};
  static const char *const ms[] = {"M0", "M1", "M2", "M3", "M4"};
  explore_name(&mpgi_sched.lock, 4, "sched.lock");
  explore_name(&mpgi_sched.npidle, 4, "npidle");
  explore_name(&mpgi_sched.nmspinning, 4, "nmspinning");
  explore_name(&mpgi_sched.runq_size, 4, "runq_size");
  explore_name(g, sizeof g, "G");
  for (int i = 0; i < PS; i++) {
    explore_name(&p[i], sizeof p[i], ps[i]);
    explore_name(&p[i].runq_head, 4, "head");
    explore_name(&p[i].runq_tail, 4, "tail");
    explore_name(&p[i].runnext, 8, "runnext");
  }
  for (int i = 0; i < MS; i++) explore_name(&m[i], sizeof m[i], ms[i]);
}

static bool with_stopper;

/* M0 to M<busy> have Ps, up to M<awake> they don't sleep. */
static void setup(int busy, int awake) {
  struct mpgi_sched *s = &mpgi_sched;
  s->nallp = PS;
  atomic_store(&s->procs, PS);
  s->nm = SPARE_FROM;
  atomic_store(&s->poll_until, INT64_MAX);
  for (int i = PS; i-- > 0;) {
    s->allp[i] = &p[i];
    p[i].id = i;
    atomic_store(&p[i].timer_first, INT64_MAX);
    atomic_store(&p[i].status, MPGI_P_RUNNING);
    if (i <= busy) {
      mpgi_p_acquire(&m[i], &p[i]);
    } else {
      p[i].link = s->idle_p;
      s->idle_p = &p[i];
      atomic_store(&p[i].status, MPGI_P_IDLE);
      s->npidle++;
    }
    hide_rest_of_p(&p[i]);
  }
  for (int i = SPARE_FROM - 1; i > awake; i--) {
    m[i].link = s->idle_m;
    s->idle_m = &m[i];
    s->nmidle++;
  }
  for (int i = 0; i < MS; i++) hide_rest_of_m(&m[i]);
  for (int i = 0; i < GS; i++) atomic_store(&g[i].status, MPGI_G_RUNNABLE);
  for (int i = 0; i < GS; i++)
    explore_constant(&g[i], offsetof(struct mpg_g, link));
  explore_constant(s->allp, sizeof s->allp);
  explore_constant(&s->procs, sizeof s->procs);
  if (!with_stopper) explore_constant(&mpgi_stw, sizeof mpgi_stw);
  explore_constant(&mpgi_opt, sizeof mpgi_opt);
  name_all();
}

static void setup_1_spins(void) {
  setup(1, 1);
  wanted = 1;
}
/* M2 runs somebody for ever. */
static void setup_none_idle(void) {
  setup(2, 2);
  wanted = 1;
}
static void setup_all_sleep_and_a_stopper(void) {
  with_stopper = true;
  setup(0, 0);
  wanted = 1;
}
static void setup_1_spins_1_comes(void) {
  setup(1, 2);
  wanted = 1;
}
/* M1 spins on behalf of one that waits; M2 is not spinning. */
static void setup_spinner_has_work(void) {
  setup(2, 2);
  wanted = 2;
  mpgi_runq_put(&p[0], &g[submitted++], true);
  spinning_begin(&m[1]);
}

/* ---- threads ---- */

/* As mpg_go does it (go.c). */
static void start_one(void) {
  struct mpg_m *mp = model_m();
  mpgi_hot_put_next_and_wake(mp->p, &g[submitted++], true);
}

/* As whoever has polled does it (mpgi_ready_batch). */
static void m0_readies_one(int arg) {
  struct mpg_m *mp = model_m();
  (void) arg;
  mpgi_runq_put(mp->p, &g[submitted++], false);
  mpgi_wakep();
}

static void m0_starts(int n) {
  while (n--) start_one();
}

/* A thread without a P puts it on the global queue, as mpgi_ready does. */
static bool all_run(const void *arg) {
  (void) arg;
  return running == wanted;
}
static void outsider_submits(int n) {
  while (n--) {
    mpgi_mutex_lock(&mpgi_sched.lock);
    mpgi_globq_put_locked(&g[submitted++]);
    mpgi_mutex_unlock(&mpgi_sched.lock);
    mpgi_wakep();
  }
  explore_await(all_run, NULL);
}

/* Has a P, and nothing to run. */
static void m_schedules(int i) { schedules(&m[i]); }

/* Has none, and sleeps: the end of mpgi_m_stop. */
static void m_sleeps(int i) {
  mpgi_p_acquire(&m[i], await_p(&m[i]));
  schedules(&m[i]);
}

static bool is_started(const void *arg) { return *(const bool *) arg; }

static void spare_m(int i) {
  explore_await(is_started, &spare_started[i]);
  mpgi_p_acquire(&m[i], atomic_exchange(&m[i].next_p, NULL));
  schedules(&m[i]);
}

/* A goroutine that comes out of a system call takes an idle P, if there is
 * one, and runs on it for ever (syscall.c). */
static void p_is_taken(int i) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  struct mpg_p *pp = mpgi_p_idle_get_locked();
  mpgi_mutex_unlock(&mpgi_sched.lock);
  if (pp) mpgi_p_acquire(&m[i], pp);
}

/* stw.c: world_stop and world_start, as far as sleeping Ms are concerned. */
static void stops_the_world(int arg) {
  (void) arg;
  struct mpg_p *taken[PS];
  int n = 0;
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_want(MPGI_WANT_STOP);
  for (int i = 0; i < PS; i++)
    if (mpgi_m_take_back_locked(&p[i])) taken[n++] = &p[i];
  mpgi_mutex_unlock(&mpgi_sched.lock);
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_want_no_more(MPGI_WANT_STOP);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  while (n-- > 0) mpgi_m_handoff(taken[n]);
  mpgi_wake_if_wanted();
}

static void watches(int arg) {
  (void) arg;
  explore_await(all_run, NULL);
}

/* ---- configurations ---- */

#define WATCHER \
  { "watcher", watches, 0, false }
#define SPARES \
  {"M3", spare_m, 3, true}, { "M4", spare_m, 4, true }

static const struct explore_config configs[] = {
    {.name = "wake.one_submitted_as_the_last_spinner_leaves",
     .setup = setup_1_spins,
     .thread = {{"M0", m0_starts, 1, false},
                {"M1", m_schedules, 1, true},
                {"M2", m_sleeps, 2, true},
                SPARES,
                WATCHER}},
    {.name = "wake.the_spinner_finds_work_as_another_goes_idle",
     .setup = setup_spinner_has_work,
     .thread = {{"M0", m0_starts, 1, false},
                {"M1", m_schedules, 1, true},
                {"M2", m_schedules, 2, true},
                SPARES,
                WATCHER}},
    {.name = "wake.global_queue_and_the_last_spinner",
     .setup = setup_1_spins,
     .thread = {{"M0", m0_starts, 0, false},
                {"M1", m_schedules, 1, true},
                {"M2", m_sleeps, 2, true},
                SPARES,
                {"outsider", outsider_submits, 1, false}}},
    {.name = "wake.the_idle_p_is_taken_meanwhile",
     .setup = setup_1_spins_1_comes,
     .thread = {{"M0", m0_starts, 1, false},
                {"M1", m_schedules, 1, true},
                {"M2", p_is_taken, 2, false},
                SPARES,
                WATCHER}},
    {.name = "wake.one_in_runnext_as_the_first_p_goes_idle",
     .setup = setup_none_idle,
     .thread = {{"M0", m0_starts, 1, false},
                {"M1", m_schedules, 1, true},
                SPARES,
                WATCHER}},
    {.name = "wake.one_in_the_ring_as_the_first_p_goes_idle",
     .setup = setup_none_idle,
     .thread = {{"M0", m0_readies_one, 1, false},
                {"M1", m_schedules, 1, true},
                SPARES,
                WATCHER}},
    {.name = "wake.a_stopper_takes_back_what_was_handed",
     .setup = setup_all_sleep_and_a_stopper,
     .thread = {{"M0", m0_starts, 1, false},
                {"M1", m_sleeps, 1, true},
                {"M2", m_sleeps, 2, true},
                {"stopper", stops_the_world, 0, false},
                WATCHER}},
};

/* ---- what must be noticed ---- */

static const struct {
  int config;
  struct explore_mutant mutant;
} wrong[] = {
    {4, {"mpgi_hot_runnext_swap", EXPLORE_RMW, EXPLORE_TEAR, NULL}},
    {1, {"mpgi_hot_put_next_and_wake", EXPLORE_FENCE, EXPLORE_SKIP, NULL}},
    {5, {"mpgi_wakep", EXPLORE_FENCE, EXPLORE_SKIP, NULL}},
    {0, {"last_look", EXPLORE_RMW, EXPLORE_SKIP, NULL}},
    {0, {"mpgi_note_wake", EXPLORE_RMW, EXPLORE_SKIP, NULL}},
    {1, {"spinning_end", EXPLORE_RMW, EXPLORE_SKIP, NULL}},
    {6, {"mpgi_m_take_back_locked", EXPLORE_RMW, EXPLORE_SKIP, NULL}},
};

MODEL_MAIN_TSO("deadlock")

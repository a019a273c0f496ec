/* poll_model.c - timers fire in time, whoever sleeps when they are set.
 *
 * The real timer.c, sysmon.c, proc.c (poll_idle) and p.c, no descriptors (those
 * are in netpoll_model.c).  The clock moves
 * only when nobody can run, to the earliest deadline of a sleeper: a sleeper
 * that was forgotten makes a timer late, and that is checked when it fires.
 *   poller  an idle M: polls, fires what is due, lets go of its P again
 *   adder   a busy M that sets a timer and runs on
 *   sysmon  one of its sleeps
 *   finder  a poller that found one goroutine, and runs it [netpoll.lazy]
 */
#include "model.h"

#include "model_note.h"

struct mpgi_stw mpgi_stw;
struct mpgi_options mpgi_opt;

static void fire(struct mpg_g *gp);

#define mpgi_ready fire
#define sleep_until timer_sleep_until
#include <sched/timer.c>
#undef mpgi_ready
#undef sleep_until
#define sleep_until sysmon_sleep_until
#include <sched/sysmon.c>
#undef sleep_until
#include <sched/p.c>
#include <sched/proc.c>

#define THREADS 4
#define PS 3
#define TIMERS 3
#define LONG_NS (1000 * 1000)

static struct mpg_p p[PS];
static struct mpg_m m[THREADS];
static struct mpg_g g[TIMERS];
static struct mpgi_timer_slot heap[PS][4];
static int fired, wanted;
static bool some_wait, lazy; /* for descriptors; and their poller */
static int64_t sysmon_woke;

static struct mpg_m *model_m(void) { return &m[explore_self()]; }

int64_t mpgi_os_now(void) { return explore_now(); }
bool mpgi_runq_empty(struct mpg_p *pp) {
  (void) pp;
  return true;
}
bool mpgi_netpoll_on(void) { return false; }
bool mpgi_netpoll_waiting(void) { return some_wait; }
int64_t mpgi_netpoll_last(void) { return explore_now(); }
bool mpgi_netpoll_trusts(void) { return false; }
void mpgi_netpoll_break(void) {}
void mpgi_gfree_flush(struct mpg_p *pp) { (void) pp; }
uint32_t mpgi_stack_fixed_warm(void) { return 0; }

/* ---- threads ---- */

static void fire(struct mpg_g *gp) {
  explore_require(gp->timer.when == explore_now());
  fired++;
}

static bool all_fired(const void *arg) {
  (void) arg;
  return fired == wanted;
}

static void let_go(struct mpg_m *mp) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_p_idle_put_locked(mpgi_p_release(mp));
  mpgi_mutex_unlock(&mpgi_sched.lock);
}

/* find_runnable, when there are only timers.  Who is not the poller would
 * sleep: until the poller hands over, which firing does (mpgi_ready wakes). */
static bool may_poll(const void *arg) {
  return all_fired(arg) || mpgi_sched.poller == NULL;
}
static void poller(int i) {
  while (!all_fired(NULL)) {
    if (poll_idle(&m[i])) {
      for (int32_t k = 0; k < PS; k++) mpgi_timers_run(&p[k], 0);
      let_go(&m[i]);
    }
    explore_await(may_poll, NULL);
  }
}

static void add(struct mpg_p *pp, int64_t when) {
  struct mpgi_timer *t = &g[wanted].timer;
  t->g = &g[wanted++];
  t->when = when;
  explore_require(mpgi_timer_add(pp, t) == 0);
}

/* timer.c, sleep_until, on an M that has something else to run. */
static void adder(int when) {
  add(&p[0], when);
  poller_hurry(when);
  mpgi_sysmon_due(when);
}

/* Sleeps until the first timer is due, with its usual delay. */
static void sysmon(int arg) {
  (void) arg;
  struct sysmon s = {0};
  do {
    sysmon_sleep_until(&s, explore_now() + LONG_NS, false);
    sysmon_woke = explore_now();
    explore_require(wanted < 2 || sysmon_woke <= 100 * 1000);
  } while (sysmon_woke < mpgi_timers_first());
}

static void sysmon_once(int arg) {
  (void) arg;
  struct sysmon s = {0};
  sysmon_sleep_until(&s, explore_now() + LONG_NS, false);
}

/* syscall.c, mpgi_syscall_enter_g0, with work in the queue. */
static void enterer(int i) {
  atomic_store(&p[i].status, MPGI_P_SYSCALL);
  if (atomic_load(&mpgi_sched.sysmon_drowsy)) mpgi_sysmon_rouse();
}

/* proc.c, [wake.lazy]. */
static void goes_lazy(int i) {
  atomic_store_explicit(&p[i].lazy, 1, memory_order_relaxed);
  mpgi_sysmon_lazy();
}

/* proc.c: it slept in epoll, and found one goroutine; and then, without
 * sleeping, another. */
static void finder(int i) {
  (void) i;
  atomic_store(&mpgi_sched.poller, NULL);
  lazy = mpgi_sysmon_polls_soon();
  lazy |= mpgi_sysmon_polls_soon();
}

static void sysmon_deep(int arg) {
  (void) arg;
  struct sysmon s = {.next_trace = INT64_MAX, .busy_at = -CALM_NS};
  sleep_deeply(&s);
}

static void p_taker(int i) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  struct mpg_p *pp = mpgi_p_idle_get_locked();
  mpgi_mutex_unlock(&mpgi_sched.lock);
  explore_require(pp != NULL);
  mpgi_p_acquire(&m[i], pp);
}

static void deep_is_too_long(int64_t next) {
  (void) next;
  explore_failed("sysmon sleeps deeply while a P is busy");
}

/* [sysmon.drowsy] */
static void drowsy_is_too_long(int64_t next) {
  (void) next;
  explore_failed("sysmon sleeps long beside a P in a system call");
}

/* [wake.lazy] */
static void lazy_is_too_long(int64_t next) {
  if (next > MPGI_LAZY_NS)
    explore_failed("sysmon sleeps long while a P is lazy");
}

/* [netpoll.lazy] */
static void lone_is_too_long(int64_t next) {
  if (lazy && next > LONE_NS)
    explore_failed("sysmon sleeps long while nobody waits for descriptors");
}

/* [sysmon.soon] */
static void deep_ends_soon(int64_t next) {
  if (next > 900 + POLLER_GRACE_NS)
    explore_failed("sysmon sleeps beyond the first timer");
}

/* ---- setup ---- */

static void name_all(void) {
  static const char *const ps[] = {"P0", "P1", "P2"};
  static const char *const ms[] = {"M0", "M1", "M2", "M3"};
  explore_name(&mpgi_sched.lock, 4, "sched.lock");
  explore_name(&mpgi_sched.poller, 8, "poller");
  explore_name(&mpgi_sched.poll_until, 8, "poll_until");
  explore_name(&mpgi_sched.sysmon_until, 8, "sysmon_until");
  explore_name(&mpgi_sched.sysmon_wait, 4, "sysmon_wait");
  explore_name(&mpgi_sched.sysmon_note, 4, "sysmon_note");
  explore_name(&mpgi_sched.sysmon_drowsy, 4, "sysmon_drowsy");
  explore_name(&mpgi_sched.npidle, 4, "npidle");
  for (int i = 0; i < PS; i++) {
    explore_name(&p[i], sizeof p[i], ps[i]);
    explore_name(&p[i].timer_first, 8, "timer_first");
  }
  for (int i = 0; i < THREADS; i++) {
    explore_name(&m[i], sizeof m[i], ms[i]);
    explore_name(&m[i].park, 4, "park");
  }
}

/* The first busy ones run on their Ps; the rest is idle. */
static void setup(int busy) {
  struct mpgi_sched *s = &mpgi_sched;
  s->nallp = PS;
  atomic_store(&s->procs, PS);
  atomic_store(&s->poll_until, INT64_MAX);
  mpgi_opt.gcperiod = 120 * 1000;
  for (int i = 0; i < PS; i++) {
    s->allp[i] = &p[i];
    p[i].timers = heap[i];
    p[i].timers_cap = 4;
    atomic_store(&p[i].timer_first, INT64_MAX);
    explore_constant(&p[i].runq_head, (size_t) ((char *) &p[i].timer_lock -
                                                (char *) &p[i].runq_head));
    if (i < busy) {
      atomic_store(&p[i].status, MPGI_P_RUNNING);
      mpgi_p_acquire(&m[i], &p[i]);
      continue;
    }
    p[i].link = s->idle_p;
    s->idle_p = &p[i];
    s->npidle++;
  }
  explore_constant(s->allp, sizeof s->allp);
  explore_constant(&mpgi_stw, sizeof mpgi_stw);
  explore_constant(&mpgi_opt, sizeof mpgi_opt);
  name_all();
}

static void setup_one_set(void) {
  setup(1);
  add(&p[0], 900);
}
static void setup_two_adders(void) {
  setup(2);
  add(&p[0], 900);
}
static void setup_sysmon(void) {
  setup(1);
  add(&p[0], 500 * 1000);
}
static void setup_busy(void) { setup(2); }
static void setup_polled(void) {
  setup(1);
  some_wait = true;
  explore_constant(&some_wait, sizeof some_wait);
  atomic_store(&mpgi_sched.poller, &m[0]);
}
static void setup_all_idle(void) { setup(0); }
static void setup_idle_until_timer(void) {
  setup(0);
  add(&p[0], 900);
}

/* ---- configurations ---- */

static const struct explore_config configs[] = {
    {.name = "poll.the_poller_hears_of_an_earlier_timer",
     .setup = setup_one_set,
     .thread = {{"adder", adder, 100, false}, {"poller", poller, 1, false}}},
    {.name = "poll.a_later_timer_changes_nothing",
     .setup = setup_one_set,
     .thread = {{"adder", adder, 2000, false}, {"poller", poller, 1, false}}},
    {.name = "poll.two_add",
     .setup = setup_two_adders,
     .thread = {{"adder", adder, 100, false},
                {"adder2", adder, 50, false},
                {"poller", poller, 2, false}}},
    {.name = "poll.two_want_to_poll",
     .setup = setup_one_set,
     .thread = {{"adder", adder, 100, false},
                {"poller", poller, 1, false},
                {"poller2", poller, 2, false}}},
    {.name = "poll.sysmon_hears_of_an_earlier_timer",
     .setup = setup_sysmon,
     .thread = {{"adder", adder, 100 * 1000, false},
                {"sysmon", sysmon, 0, false}}},
    {.name = "poll.sysmon_sleeps_deeply_only_while_all_are_idle",
     .setup = setup_all_idle,
     .thread = {{"taker", p_taker, 0, false},
                {"sysmon", sysmon_deep, 0, false}},
     .when_quiet = deep_is_too_long},
    {.name = "poll.sysmon_need_not_be_woken_shortly_before_it_wakes",
     .setup = setup_idle_until_timer,
     .thread = {{"taker", p_taker, 0, false},
                {"sysmon", sysmon_deep, 0, false}},
     .when_quiet = deep_ends_soon},
    {.name = "poll.a_drowsy_sysmon_hears_of_a_system_call",
     .setup = setup_busy,
     .thread = {{"enterer", enterer, 0, false},
                {"enterer2", enterer, 1, false},
                {"sysmon", sysmon_once, 0, false}},
     .when_quiet = drowsy_is_too_long},
    {.name = "poll.sysmon_hears_of_a_lazy_p",
     .setup = setup_busy,
     .thread = {{"owner", goes_lazy, 0, false},
                {"thief", goes_lazy, 1, false},
                {"sysmon", sysmon_once, 0, false}},
     .when_quiet = lazy_is_too_long},
    {.name = "poll.sysmon_watches_a_lone_poller",
     .setup = setup_polled,
     .thread = {{"finder", finder, 0, false},
                {"sysmon", sysmon_once, 0, false}},
     .when_quiet = lone_is_too_long},
};

static const struct {
  int config;
  struct explore_mutant mutant;
} wrong[] = {
    {0, {"mpgi_note_wake", EXPLORE_RMW, EXPLORE_SKIP, NULL}},
    {0, {"mpgi_note_wake", EXPLORE_WAKE, EXPLORE_SKIP, NULL}},
    {4,
     {"sysmon_sleep_until", EXPLORE_STORE, EXPLORE_RELAX,
      &mpgi_sched.sysmon_until}},
    {5, {"mpgi_note_wake", EXPLORE_RMW, EXPLORE_SKIP, NULL}},
    {7, {"mpgi_note_wake", EXPLORE_RMW, EXPLORE_SKIP, NULL}},
    {7, {"enterer", EXPLORE_STORE, EXPLORE_RELAX, NULL}},
    {7,
     {"sleep_drowsily", EXPLORE_STORE, EXPLORE_RELAX,
      &mpgi_sched.sysmon_drowsy}},
    {8, {"mpgi_sysmon_lazy", EXPLORE_FENCE, EXPLORE_SKIP, NULL}},
    {8,
     {"sysmon_sleep_until", EXPLORE_STORE, EXPLORE_RELAX,
      &mpgi_sched.sysmon_until}},
    {9, {"finder", EXPLORE_STORE, EXPLORE_RELAX, &mpgi_sched.poller}},
    {9,
     {"sysmon_sleep_until", EXPLORE_STORE, EXPLORE_RELAX,
      &mpgi_sched.sysmon_until}},
};

MODEL_MAIN_TSO("")

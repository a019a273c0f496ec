/* runq_model.c - the run queues (sched/runq.c): nothing lost, nothing twice.
 *
 * The real code, with rings of 4 slots and indices that wrap around.  Owners
 * put and get, thieves steal; whatever is taken out is counted; at the end
 * what is still queued is counted too, and each G must have come out once.
 * Without runnext a ring is a FIFO: what one taker gets of it, apart from the
 * newest of a stolen half (which a thief runs first), is in order.  Newborns
 * the owner takes from the tail [fair.family], under thieves at the head.  The
 * only P's queue is opened while its owner goes in and out [runq.solo].
 */
#include "model.h"

#undef MPGI_RUNQ_SLOTS
#define MPGI_RUNQ_SLOTS 4
#define NEXT_LOOKS 1
#define NEXT_RELAXES 0
#define SHORT 0 /* [steal.short]: a thief that waits gets fewer */
#define WAKER_RELAXES 0

struct mpgi_sched mpgi_sched;

#include <sched/runq.c>

#define GS 10

static struct mpg_p p[3];
static struct mpg_g g[GS];
static uint8_t out[GS];  /* how often it came out */
static uint8_t put_in;   /* G's put so far, setup's too: 0..put_in-1 */
static uint8_t last_got; /* ring order: the owner's last get, + 1 */

static struct mpg_m *model_m(void) { return NULL; }

/* What the owner's thread has in its words: a goroutine, or NULL on g0. */
static struct mpg_m owner_m;
static _Atomic uint32_t abroad;
bool mpgi_m_is_abroad(struct mpg_m *mp) {
  explore_require(mp == &owner_m);
  return atomic_load_explicit(&abroad, memory_order_acquire);
}

static int index_of(const struct mpg_g *gp) {
  ptrdiff_t i = gp - g;
  explore_require(i >= 0 && i < GS);
  return (int) i;
}

static void came_out(const struct mpg_g *gp) {
  int i = index_of(gp);
  explore_require(i < put_in);
  explore_require(out[i] == 0);
  out[i] = 1;
}

/* ---- the start: empty queues near the wrap-around ---- */

static void setup_p(struct mpg_p *pp) {
  atomic_store(&pp->status, MPGI_P_RUNNING);
  atomic_store(&pp->runq_head, UINT32_MAX - 1);
  atomic_store(&pp->runq_tail, UINT32_MAX - 1);
  explore_constant(&pp->runq[MPGI_RUNQ_SLOTS],
                   sizeof pp->runq - MPGI_RUNQ_SLOTS * sizeof pp->runq[0]);
  explore_constant(&pp->gfree,
                   (size_t) ((char *) (pp + 1) - (char *) &pp->gfree));
}

static void setup_for(bool solo) {
  static const char *const names[] = {"P0", "P1", "P2"};
  atomic_store(&mpgi_sched.procs, 2);
  for (int i = 0; i < 3; i++) {
    setup_p(&p[i]);
    if (!solo || i) explore_constant(&p[i].solo, 2 * sizeof p[i].solo);
    explore_name(&p[i], sizeof p[i], names[i]);
    explore_name(&p[i].runq_head, 8, "head");
    explore_name(&p[i].runq_tail, 4, "tail");
    explore_name(&p[i].runnext, 8, "runnext");
    explore_name(p[i].runq, 8 * MPGI_RUNQ_SLOTS, "slots");
  }
  for (int i = 0; i < GS; i++) {
    atomic_store(&g[i].status, MPGI_G_RUNNABLE);
    explore_constant(&g[i], offsetof(struct mpg_g, link));
    explore_constant(&g[i].on_resume,
                     sizeof g[i] - offsetof(struct mpg_g, on_resume));
  }
  explore_constant(&mpgi_sched.idle_p,
                   sizeof mpgi_sched - offsetof(struct mpgi_sched, idle_p));
}

static void setup(void) { setup_for(false); }

static struct mpg_g *next_g(void) {
  explore_require(put_in < GS);
  return &g[put_in++];
}

static void put_some(int n) {
  while (n--) mpgi_runq_put(&p[0], next_g(), false);
}
static void setup_some(int n) {
  setup();
  put_some(n);
}
static void setup_2(void) { setup_some(2); }
static void setup_3(void) { setup_some(3); }
static void setup_4(void) { setup_some(4); }
static void setup_next(void) {
  setup();
  mpgi_runq_put(&p[0], next_g(), true);
}
/* n newborns in the ring. */
static void put_newborns(int n) {
  for (int i = 0; i <= n; i++) mpgi_runq_put(&p[0], next_g(), true);
  came_out(mpgi_hot_runq_take_next(&p[0]));
}
static void setup_newborns(int n) {
  setup();
  put_newborns(n);
}
static void setup_1_newborn(void) { setup_newborns(1); }
static void setup_2_newborns(void) { setup_newborns(2); }
static void setup_3_newborns(void) { setup_newborns(3); }
static void setup_4_newborns(void) { setup_newborns(4); }
static void setup_newborn_and_next(void) {
  setup_newborns(1);
  mpgi_runq_put(&p[0], next_g(), true);
}
/* The only P, its owner not on g0. */
#define SOLO 19 /* the first such one of configs[] */
static void setup_solo(void) {
  setup_for(true);
  p[0].m = &owner_m;
  p[0].solo = p[0].shut = true;
  abroad = true;
  explore_name(&p[0].solo, sizeof p[0].solo, "solo");
  explore_name(&p[0].shut, sizeof p[0].shut, "shut");
  explore_name(&abroad, sizeof abroad, "abroad");
}
static void setup_solo_2(void) {
  setup_solo();
  put_some(2);
}
static void setup_solo_next(void) {
  setup_solo();
  mpgi_runq_put(&p[0], next_g(), true);
  put_some(1);
}
static void setup_solo_newborns(void) {
  setup_solo();
  put_newborns(2);
}
static void setup_global(void) {
  setup();
  for (int i = 0; i < 4; i++) mpgi_globq_put_locked(next_g());
}

/* ---- the end: take out the rest ---- */

static void drain(struct mpg_p *pp) {
  bool inherit;
  for (struct mpg_g *gp; (gp = mpgi_runq_get(pp, &inherit));) came_out(gp);
}

static void all_came_out(void) {
  for (int i = 0; i < 3; i++) {
    explore_require(mpgi_runq_size(&p[i]) <= MPGI_RUNQ_SLOTS);
    drain(&p[i]);
  }
  explore_require(mpgi_sched.runq_size == mpgi_sched.runq.n);
  for (struct mpg_g *gp; (gp = mpgi_gqueue_pop(&mpgi_sched.runq));)
    came_out(gp);
  for (int i = 0; i < put_in; i++) explore_require(out[i] == 1);
}

/* ---- threads ---- */

static void get(int pi, int n) {
  bool inherit;
  while (n--) {
    struct mpg_g *gp = mpgi_runq_get(&p[pi], &inherit);
    if (gp) came_out(gp);
  }
}

/* Of a ring, without runnext, into which nobody else puts. */
static void get_in_order(int n) {
  bool inherit;
  while (n--) {
    struct mpg_g *gp = mpgi_runq_get(&p[0], &inherit);
    if (!gp) continue;
    explore_require(!inherit && index_of(gp) >= last_got);
    last_got = (uint8_t) (index_of(gp) + 1);
    came_out(gp);
  }
}

static void put_get(int n) {
  for (int i = 0; i < n; i++) mpgi_runq_put(&p[0], next_g(), false);
  get_in_order(n);
}

static void put_get_in_turn(int n) {
  for (int i = 0; i < n; i++) {
    mpgi_runq_put(&p[0], next_g(), false);
    get_in_order(1);
  }
}

static void put_next_get(int n) {
  for (int i = 0; i < n; i++) mpgi_runq_put(&p[0], next_g(), true);
  get(0, n);
}

/* One comes, one goes: the slot at the tail is used again. */
static void newborns_in_turn(int n) {
  while (n--) {
    struct mpg_g *gp = mpgi_hot_runq_take_young(&p[0]);
    if (gp) came_out(gp);
    mpgi_hot_runq_append(&p[0], mpgi_hot_ring(&p[0]), next_g());
    p[0].young++;
  }
}
/* proc.c: mpgi_yield_g0 and next_of_ring, which look at the ring once. */
static void yields(int n) {
  while (n--) {
    struct mpgi_ring r = mpgi_hot_ring(&p[0]);
    mpgi_hot_runq_append(&p[0], r, next_g());
    struct mpg_g *gp =
        mpgi_hot_ring_n(r) ? mpgi_hot_runq_take_at(&p[0], &r.head) : NULL;
    if (!gp) gp = mpgi_hot_runq_take_head(&p[0], true);
    if (gp) came_out(gp);
  }
}
static void owner_get(int n) { get(0, n); }

/* On g0 in between, as entry thunks and mpgi_arch_resume have it. */
static void visit(void (*on_g0)(int), int n) {
  atomic_store_explicit(&abroad, false, memory_order_relaxed);
  on_g0(n);
  atomic_store_explicit(&abroad, true, memory_order_release);
}
static void visits_yield(int n) {
  while (n--) visit(yields, 1);
}
static void visits_get(int n) {
  while (n--) visit(owner_get, 1);
}
static void visits_newborns(int n) {
  while (n--) visit(newborns_in_turn, 1);
}
static void visits_next(int n) {
  while (n--) visit(put_next_get, 1);
}
static void get_then_overflow(int n) {
  get(0, 1);
  for (int i = 0; i < n; i++) mpgi_runq_put(&p[0], next_g(), true);
  get(0, 2);
}
static void put_only(int n) {
  for (int i = 0; i < n; i++) mpgi_runq_put(&p[0], next_g(), false);
}

static void steal(int by, int from, bool next) {
  struct mpg_g *gp = mpgi_runq_steal(&p[by], &p[from], next);
  if (gp) came_out(gp);
}

/* sysmon, and the other P. */
static void open_and_steal(int looks) {
  bool open = false;
  while (looks-- && !open) {
    explore_lock(&mpgi_sched.lock.state);
    open = mpgi_runq_open_locked(&p[0]);
    explore_unlock(&mpgi_sched.lock.state);
  }
  steal(1, 0, false);
  if (open) steal(1, 0, true);
}

static void thief_once(int by) {
  steal(by, 0, false);
  get(by, 1);
}
static void thief_twice(int by) {
  steal(by, 0, false);
  steal(by, 0, true);
}
static void thief_of_1(int by) {
  steal(by, 1, true);
  get(by, 1);
}
static void global_get(int pi) {
  explore_lock(&mpgi_sched.lock.state);
  struct mpg_g *gp = mpgi_globq_get_locked(&p[pi], MPGI_GLOBQ_BATCH);
  explore_unlock(&mpgi_sched.lock.state);
  if (gp) came_out(gp);
  get(pi, 1);
}

static void drain_to_global(int pi) {
  explore_lock(&mpgi_sched.lock.state);
  mpgi_runq_drain_locked(&p[pi]);
  explore_unlock(&mpgi_sched.lock.state);
}

/* sysmon.c, shed. */
static void shed(int n) {
  explore_lock(&mpgi_sched.lock.state);
  mpgi_runq_shed_locked(&p[0], (uint32_t) n);
  explore_unlock(&mpgi_sched.lock.state);
}

/* runnext is never empty, or the ring isn't, while this looks. */
static void asks_if_empty(int pi) { explore_require(!mpgi_runq_empty(&p[pi])); }
static void kick_then_get_twice(int pi) {
  mpgi_runq_put(&p[pi], next_g(), true);
  get(pi, 2);
}
static void kick_then_get(int pi) {
  mpgi_runq_put(&p[pi], next_g(), true);
  get(pi, 1);
}

/* ---- configurations ---- */

#define OWNER(fn, n) \
  { "owner", fn, n, false }
#define THIEF(fn, i) \
  { "thief" #i, fn, i, false }

static const struct explore_config configs[] = {
    {.name = "runq.owner_and_thief_share_a_ring",
     .setup = setup,
     .thread = {OWNER(put_get, 3), THIEF(thief_once, 1)},
     .at_end = all_came_out},
    {.name = "runq.slots_are_reused_under_a_thief",
     .setup = setup_2,
     .thread = {OWNER(put_get_in_turn, 4), THIEF(thief_twice, 1)},
     .at_end = all_came_out},
    {.name = "runq.overflow_races_with_a_thief",
     .setup = setup_3,
     .thread = {OWNER(put_get, 4), THIEF(thief_twice, 1)},
     .at_end = all_came_out},
    {.name = "runq.two_thieves_of_a_full_ring",
     .setup = setup_4,
     .thread = {OWNER(put_only, 1), THIEF(thief_once, 1), THIEF(thief_once, 2)},
     .at_end = all_came_out},
    {.name = "runq.runnext_is_taken_once",
     .setup = setup_next,
     .thread = {OWNER(put_next_get, 2), THIEF(thief_twice, 1)},
     .at_end = all_came_out},
    {.name = "runq.a_thief_is_robbed",
     .setup = setup_3,
     .thread = {OWNER(put_only, 1), THIEF(thief_once, 1), THIEF(thief_of_1, 2)},
     .at_end = all_came_out},
    {.name = "runq.global_batches_race_with_thieves",
     .setup = setup_global,
     .thread = {{"getter", global_get, 0, false},
                {"getter1", global_get, 1, false},
                THIEF(thief_once, 2)},
     .at_end = all_came_out},
    {.name = "runq.an_orphan_is_drained_under_a_thief",
     .setup = setup_3,
     .thread = {{"drainer", drain_to_global, 0, false}, THIEF(thief_twice, 1)},
     .at_end = all_came_out},
    {.name = "runq.sysmon_drains_under_the_owner",
     .setup = setup_next,
     .thread = {OWNER(put_next_get, 2), {"sysmon", drain_to_global, 0, false}},
     .at_end = all_came_out},
    {.name = "runq.sysmon_sheds_under_the_owner",
     .setup = setup_3,
     .thread = {OWNER(put_get_in_turn, 3), {"sysmon", shed, 2, false}},
     .at_end = all_came_out},
    {.name = "runq.never_looks_empty_while_runnext_is_kicked",
     .setup = setup_next,
     .thread = {{"owner", kick_then_get, 0, false},
                {"asker", asks_if_empty, 0, false}},
     .at_end = all_came_out},
    {.name = "runq.never_looks_empty_while_newborns_are_taken",
     .setup = setup_newborn_and_next,
     .thread = {{"owner", kick_then_get_twice, 0, false},
                {"asker", asks_if_empty, 0, false}},
     .at_end = all_came_out},
    {.name = "runq.newborns_are_taken_from_both_ends",
     .setup = setup_3_newborns,
     .thread = {OWNER(owner_get, 3), THIEF(thief_twice, 1)},
     .at_end = all_came_out},
    {.name = "runq.the_last_newborn_is_taken_once",
     .setup = setup_1_newborn,
     .thread = {OWNER(owner_get, 1),
                THIEF(thief_once, 1),
                {"sysmon", shed, 1, false}},
     .at_end = all_came_out},
    {.name = "runq.slots_at_the_tail_are_reused_under_a_thief",
     .setup = setup_2_newborns,
     .thread = {OWNER(newborns_in_turn, 3), THIEF(thief_twice, 1)},
     .at_end = all_came_out},
    {.name = "runq.two_thieves_of_newborns",
     .setup = setup_4_newborns,
     .thread = {OWNER(owner_get, 2), THIEF(thief_once, 1),
                THIEF(thief_once, 2)},
     .at_end = all_came_out},
    {.name = "runq.sysmon_sheds_newborns_under_the_owner",
     .setup = setup_2_newborns,
     .thread = {OWNER(newborns_in_turn, 2), {"sysmon", shed, 2, false}},
     .at_end = all_came_out},
    {.name = "runq.newborns_overflow_under_a_thief",
     .setup = setup_4_newborns,
     .thread = {OWNER(get_then_overflow, 3), THIEF(thief_once, 1)},
     .at_end = all_came_out},
    {.name = "runq.the_owner_yields_under_a_thief",
     .setup = setup_2,
     .thread = {OWNER(yields, 4), THIEF(thief_twice, 1)},
     .at_end = all_came_out},
    {.name = "runq.opened_while_the_owner_yields",
     .barriers = true,
     .setup = setup_solo_2,
     .thread = {OWNER(visits_yield, 2), {"sysmon", open_and_steal, 2, false}},
     .at_end = all_came_out},
    {.name = "runq.opened_while_the_owner_takes",
     .barriers = true,
     .setup = setup_solo_next,
     .thread = {OWNER(visits_get, 2), {"sysmon", open_and_steal, 2, false}},
     .at_end = all_came_out},
    {.name = "runq.opened_while_the_owner_takes_newborns",
     .barriers = true,
     .setup = setup_solo_newborns,
     .thread = {OWNER(visits_newborns, 2),
                {"sysmon", open_and_steal, 2, false}},
     .at_end = all_came_out},
    {.name = "runq.opened_while_somebody_is_next",
     .barriers = true,
     .setup = setup_solo,
     .thread = {OWNER(visits_next, 2), {"sysmon", open_and_steal, 2, false}},
     .at_end = all_came_out},
};

/* ---- what must be noticed ---- */

static const struct {
  int config;
  enum explore_memory memory;
  struct explore_mutant mutant;
} wrong[] = {
    {0, EXPLORE_SC, {"grab", EXPLORE_CAS, EXPLORE_TEAR, NULL}},
    {0, EXPLORE_SC, {"mpgi_hot_runq_advance", EXPLORE_CAS, EXPLORE_TEAR, NULL}},
    {2, EXPLORE_SC, {"make_room", EXPLORE_CAS, EXPLORE_TEAR, NULL}},
    {4, EXPLORE_SC, {"take_next_of", EXPLORE_CAS, EXPLORE_TEAR, NULL}},
    {4, EXPLORE_SC, {"mpgi_hot_runnext_swap", EXPLORE_RMW, EXPLORE_TEAR, NULL}},
    {1,
     EXPLORE_PSO,
     {"mpgi_hot_runq_store", EXPLORE_STORE, EXPLORE_RELAX, NULL}},
    {10,
     EXPLORE_PSO,
     {"mpgi_hot_runnext_swap", EXPLORE_RMW, EXPLORE_RELAX, NULL}},
    {12,
     EXPLORE_SC,
     {"mpgi_hot_runq_advance", EXPLORE_CAS, EXPLORE_TEAR, NULL}},
    {12,
     EXPLORE_SC,
     {"mpgi_hot_runq_take_tail", EXPLORE_STORE, EXPLORE_SKIP, NULL}},
    {12,
     EXPLORE_PSO,
     {"mpgi_hot_runq_advance", EXPLORE_CAS, EXPLORE_RELAX, NULL}},
    {SOLO,
     EXPLORE_TSO,
     {"mpgi_runq_open_locked", EXPLORE_FENCE, EXPLORE_SKIP, NULL}},
    {SOLO, EXPLORE_TSO, {"visit", EXPLORE_STORE, EXPLORE_SKIP, &abroad}},
    {SOLO, EXPLORE_PSO, {"visit", EXPLORE_STORE, EXPLORE_RELAX, &abroad}},
    {SOLO + 3,
     EXPLORE_TSO,
     {"mpgi_runq_open_locked", EXPLORE_FENCE, EXPLORE_SKIP, NULL}},
};

int main(void) {
  struct explore_config c;
  for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
    c = configs[i];
    c.memory = EXPLORE_TSO;
    explore_pass(&c);
    c.memory = EXPLORE_PSO;
    explore_pass(&c);
  }
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    c = configs[wrong[i].config];
    c.memory = wrong[i].memory;
    c.mutant = &wrong[i].mutant;
    explore_fail_with(&c, "");
  }
  return explore_status();
}

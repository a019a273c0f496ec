/* litmus_model.c - does the explorer see what it should?  The classic litmus
 * tests under each memory model, and each sort of failure. */
#include "model.h"

static _Atomic uint32_t a, b, word;
static uint32_t r0, r1, r2, r3, plain;

static struct mpg_m *model_m(void) { return NULL; }

#define PUT(v, x) atomic_store_explicit(&(v), x, memory_order_relaxed)
#define PUT_RELEASE(v, x) atomic_store_explicit(&(v), x, memory_order_release)
#define GET(v) atomic_load_explicit(&(v), memory_order_relaxed)
#define FENCE() atomic_thread_fence(memory_order_seq_cst)

enum { PLAIN, FENCED, RMW, SEQ_CST, RELEASE };

/* ---- store buffering: may both read 0? ---- */

static void store_then_load(_Atomic uint32_t *mine, _Atomic uint32_t *other,
                            uint32_t *r, int how) {
  if (how == SEQ_CST)
    atomic_store(mine, 1);
  else if (how == RMW)
    atomic_exchange(mine, 1);
  else
    PUT(*mine, 1);
  if (how == FENCED) FENCE();
  *r = GET(*other);
}
static void sb0(int how) { store_then_load(&a, &b, &r0, how); }
static void sb1(int how) { store_then_load(&b, &a, &r1, how); }
static void sb_end(void) { explore_require(r0 == 1 || r1 == 1); }

/* ---- message passing: may the flag be seen before the data? ---- */

static void mp0(int how) {
  PUT(a, 1);
  if (how == RELEASE)
    PUT_RELEASE(b, 1);
  else
    PUT(b, 1);
}
static void mp1(int how) {
  (void) how;
  r0 = GET(b);
  r1 = GET(a);
}
static void mp_end(void) { explore_require(!r0 || r1); }

/* ---- independent reads of independent writes: in one order for all ---- */

static void write_a(int how) {
  (void) how;
  PUT(a, 1);
}
static void write_b(int how) {
  (void) how;
  PUT(b, 1);
}
static void read_ab(int how) {
  (void) how;
  r0 = GET(a);
  r1 = GET(b);
}
static void read_ba(int how) {
  (void) how;
  r2 = GET(b);
  r3 = GET(a);
}
static void iriw_end(void) {
  explore_require(!(r0 == 1 && r1 == 0 && r2 == 1 && r3 == 0));
}

/* ---- a thread sees its own stores, in order ---- */

static void own_stores(int how) {
  (void) how;
  PUT(a, 1);
  explore_require(GET(a) == 1);
  PUT(a, 2);
  explore_require(GET(a) == 2);
}
static void sees_them_rise(int how) {
  (void) how;
  r0 = GET(a);
  r1 = GET(a);
  explore_require(r0 <= r1);
}

/* ---- read-modify-writes are one step ---- */

static void add_one(int how) {
  (void) how;
  atomic_fetch_add_explicit(&a, 1, memory_order_relaxed);
}
static void two_added(void) { explore_require(GET(a) == 2); }

/* ---- dead ends ---- */

static bool is_set(const void *arg) {
  return memory_word((const _Atomic uint32_t *) arg) != 0;
}
static void awaits(int how) {
  (void) how;
  explore_await(is_set, &word);
}
static void spins(int how) {
  (void) how;
  while (!GET(word)) continue;
}
static void sets(int how) {
  if (how == 0 || explore_choose(2)) PUT(word, 1);
}
static void locks_ab(int how) {
  (void) how;
  explore_lock(&a);
  explore_lock(&b);
  explore_unlock(&b);
  explore_unlock(&a);
}
static void locks_ba(int how) {
  (void) how;
  explore_lock(&b);
  explore_lock(&a);
  explore_unlock(&a);
  explore_unlock(&b);
}

/* ---- choices, sleeping, the clock ---- */

static void chooses(int how) {
  int n = explore_choose(how);
  explore_require(n >= 0 && n < how && n != how - 1);
}

static void sleeps(int how) {
  bool woken = explore_sleep(&word, 0, how, __func__);
  plain = woken ? 1 : 2;
  explore_require(woken || explore_now() == how);
}
static void wakes(int how) {
  PUT(word, 1);
  if (how) explore_wake(&word, 1, __func__);
}
static void was_woken(void) { explore_require(plain == 1); }
static void was_late(void) { explore_require(plain == 2); }
static void never_quiet(int64_t next) {
  explore_require(next == 50);
  explore_failed("quiet");
}

/* ---- */

#define TWO(f, g, how) .thread = {{"t0", f, how, false}, {"t1", g, how, false}}

static void pass(enum explore_memory m, struct explore_config c) {
  c.memory = m;
  explore_pass(&c);
}
static void fail(enum explore_memory m, struct explore_config c,
                 const char *text) {
  c.memory = m;
  explore_fail_with(&c, text);
}

static void litmus(void) {
  struct explore_config c = {.name = "litmus.sb", TWO(sb0, sb1, PLAIN)};
  c.at_end = sb_end;
  pass(EXPLORE_SC, c);
  fail(EXPLORE_TSO, c, "r0 == 1 || r1 == 1");
  fail(EXPLORE_PSO, c, "r0 == 1 || r1 == 1");
  for (int how = FENCED; how <= SEQ_CST; how++) {
    c.thread[0].arg = c.thread[1].arg = how;
    pass(EXPLORE_TSO, c);
    pass(EXPLORE_PSO, c);
  }
  c = (struct explore_config){.name = "litmus.mp", TWO(mp0, mp1, PLAIN)};
  c.at_end = mp_end;
  pass(EXPLORE_SC, c);
  pass(EXPLORE_TSO, c);
  fail(EXPLORE_PSO, c, "!r0 || r1");
  c.thread[0].arg = RELEASE;
  pass(EXPLORE_PSO, c);
  c = (struct explore_config){.name = "litmus.iriw",
                              .thread = {{"t0", write_a, 0, false},
                                         {"t1", write_b, 0, false},
                                         {"t2", read_ab, 0, false},
                                         {"t3", read_ba, 0, false}},
                              .at_end = iriw_end};
  for (int m = EXPLORE_SC; m <= EXPLORE_PSO; m++)
    pass((enum explore_memory) m, c);
  c = (struct explore_config){.name = "litmus.coherence",
                              TWO(own_stores, sees_them_rise, 0)};
  for (int m = EXPLORE_SC; m <= EXPLORE_PSO; m++)
    pass((enum explore_memory) m, c);
}

static void atomicity(void) {
  static const struct explore_mutant torn = {"add_one", EXPLORE_RMW,
                                             EXPLORE_TEAR, NULL};
  struct explore_config c = {.name = "litmus.add", TWO(add_one, add_one, 0)};
  c.at_end = two_added;
  pass(EXPLORE_PSO, c);
  c.mutant = &torn;
  fail(EXPLORE_SC, c, "GET(a) == 2");
}

static void dead_ends(void) {
  struct explore_config c = {.name = "litmus.await", TWO(awaits, sets, 0)};
  pass(EXPLORE_TSO, c);
  c.thread[1].arg = 1;
  fail(EXPLORE_TSO, c, "deadlock");
  c.thread[0].run = spins;
  fail(EXPLORE_TSO, c, "no way to the end");
  c.thread[1].arg = 0;
  pass(EXPLORE_TSO, c);
  c = (struct explore_config){.name = "litmus.locks",
                              TWO(locks_ab, locks_ab, 0)};
  pass(EXPLORE_TSO, c);
  c.thread[1].run = locks_ba;
  fail(EXPLORE_TSO, c, "deadlock");
  /* Who is a daemon isn't waited for. */
  c = (struct explore_config){
      .name = "litmus.daemon",
      .thread = {{"t0", awaits, 0, true}, {"t1", write_a, 0, false}}};
  pass(EXPLORE_TSO, c);
}

static void time_and_choice(void) {
  struct explore_config c = {.name = "litmus.choice",
                             .thread = {{"t0", chooses, 3, false}}};
  fail(EXPLORE_SC, c, "n != how - 1");
  c = (struct explore_config){
      .name = "litmus.sleep",
      .thread = {{"t0", sleeps, -1, false}, {"t1", wakes, 1, false}},
      .at_end = was_woken};
  pass(EXPLORE_TSO, c);
  c.spurious = true;
  pass(EXPLORE_TSO, c);
  c.spurious = false;
  c.thread[1].arg = 0; /* nobody wakes it */
  fail(EXPLORE_TSO, c, "deadlock");
  c = (struct explore_config){.name = "litmus.deadline",
                              .thread = {{"t0", sleeps, 50, false}},
                              .at_end = was_late};
  pass(EXPLORE_TSO, c);
  c.when_quiet = never_quiet;
  fail(EXPLORE_TSO, c, "quiet");
}

int main(void) {
  litmus();
  atomicity();
  dead_ends();
  time_and_choice();
  return explore_status();
}

/* select_model.c - select: one gives the result, nothing is lost or doubled.
 *
 * The real chan.c, select.c and timer.c.  Goroutines on Ms of their own
 * (model_park.h) send, receive and select on two channels, with a thread that
 * fires timers.  Values are counted where they go in and where they come out;
 * at the end no waiter and no timer is left, and nobody holds a lock.
 */
#define MODEL_RESUMED_BY_WAKER(gp) block_spoil(gp)
struct mpg_g;
static void block_spoil(struct mpg_g *gp);

#include "model_park.h"

#define SMALL 2
static inline uint32_t model_random(void) {
  return explore_choose(2) ? UINT32_MAX : 0;
}
#define mpgi_xorshift(state) ((void) (state), model_random())

#include <sched/chan.c>
#include <sched/runq.c>
/* What comes after it in wait_locked is no step of its own otherwise. */
#define mpgi_timer_arm(...) (mpgi_timer_arm(__VA_ARGS__), explore_step("armed"))
#include <sched/select.c>
#undef mpgi_timer_arm
#include <sched/timer.c>

#define CAP 1

/* Room for what is at their ends. */
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wgnu-variable-sized-type-not-at-end"
struct storage {
  struct mpg_chan c;
  uint64_t slot[CAP];
};

static struct storage storage[2];
static struct mpg_chan nowhere = {.lock = {.state = 1}}; /* for nobody */
#define A (&storage[0].c)
#define B (&storage[1].c)
static struct mpg_p p[THREADS];
static struct {
  struct mpgi_select s;
  struct mpgi_waiter waiter[SMALL];
  struct mpg_chan *order[SMALL];
} block[THREADS];
static struct mpgi_timer_slot heap[THREADS][2];
static struct mpg_select_case cases[THREADS][2];
static uint64_t elem[THREADS][2];
static uint64_t in, out; /* sums of what was sent and received */
static bool finished;    /* the one with the deadline */
static bool sent;        /* some sender's element went */

int64_t mpgi_os_now(void) { return 1; }
void mpgi_sysmon_due(int64_t when) { (void) when; }

/* Another M has cleaned up after gp: nobody else may rely on the block.  It
 * goes to where gp will look for one. */
static void block_spoil(struct mpg_g *gp) {
  struct mpg_p *from = gp->m->p, *to = &p[gp - gs];
  struct mpgi_select *s = from->selects;
  from->selects = s->next;
  from->nselects--;
  s->next = to->selects;
  to->selects = s;
  to->nselects++;
  s->norder = 1;
  s->order[0] = &nowhere;
}

/* ---- threads ---- */

static void sends(int which) {
  uint64_t *e = &elem[explore_self()][0];
  *e = which ? 10 : 1;
  in += *e;
  PARKS(mpgi_chan_send_g0(which ? B : A, e));
  sent = true;
}

static void receives(int which) {
  uint64_t *e = &elem[explore_self()][0];
  PARKS(mpgi_chan_recv_g0(which ? B : A, e));
  out += *e;
}

/* As chan_stub.c does them. */
static void stub_send(uint64_t value) {
  uint64_t *e = &elem[explore_self()][0];
  *e = value;
  in += value;
  if (!mpgi_chan_stub_send(A, e)) PARKS(mpgi_chan_send_g0(A, e));
}
static bool stub_receive(void) {
  uint64_t *e = &elem[explore_self()][0];
  bool ok = mpgi_chan_stub_recv(A, e);
  if (!ok) ok = PARKS_FOR(mpgi_chan_recv_g0(A, e));
  out += *e;
  return ok;
}
static void stub_sends(int times) {
  for (int i = 1; i <= times; i++) stub_send((uint64_t) i);
}
static void stub_receives(int times) {
  while (times--) explore_require(stub_receive());
}
static void drains(int arg) {
  (void) arg;
  while (stub_receive()) continue;
}
static void sends_and_closes(int times) {
  stub_sends(times);
  mpgi_chan_close_g0(A);
}

static void closes(int which) { mpgi_chan_close_g0(which ? B : A); }

static struct mpg_select_case *set(int i, struct mpg_chan *c,
                                   enum mpg_select_dir dir) {
  int t = explore_self();
  elem[t][i] = 100;
  cases[t][i] =
      (struct mpg_select_case){.chan = c, .dir = dir, .elem = &elem[t][i]};
  return cases[t];
}

/* Count what case i did. */
static void count(intptr_t i) {
  int t = explore_self();
  explore_require(i == 0 || i == 1);
  if (cases[t][i].dir == MPG_SEND)
    in += elem[t][i];
  else
    out += elem[t][i];
  explore_require(cases[t][i].dir == MPG_SEND || cases[t][i].ok);
}

static void selects_from_both(int times) {
  while (times--) {
    set(0, A, MPG_RECV);
    struct mpg_select_case *k = set(1, B, MPG_RECV);
    count(PARKS_FOR(mpgi_select_g0(k, 2)));
  }
}

/* Both directions of A, or A one way and B the other. */
static void offers(int how) {
  set(0, A, how == 1 ? MPG_RECV : MPG_SEND);
  struct mpg_select_case *k =
      set(1, how == 2 ? A : B, how == 1 ? MPG_SEND : MPG_RECV);
  count(PARKS_FOR(mpgi_select_g0(k, 2)));
}

static void selects_a_closed_one(int arg) {
  int t = explore_self();
  (void) arg;
  for (int n = 0; n < 2; n++) {
    set(0, A, MPG_RECV);
    struct mpg_select_case *k = set(1, B, MPG_RECV);
    if (n == 1) k[0].chan = NULL;
    intptr_t i = PARKS_FOR(mpgi_select_g0(k, 2));
    if (i == 1) {
      out += elem[t][1];
      return;
    }
    explore_require(i == 0 && !k[0].ok && elem[t][0] == 0);
  }
}

/* After a timeout the sender is still to be served. */
static void selects_until(int arg) {
  (void) arg;
  struct mpg_select_case *k = set(0, A, MPG_RECV);
  intptr_t i = PARKS_FOR(mpgi_select_until_g0(k, 1, 10));
  if (i == -ETIMEDOUT) {
    explore_require(elem[explore_self()][0] == 100);
    receives(0);
  } else {
    count(i);
  }
  finished = true;
}

static void selects_late(int times) {
  while (times--) {
    struct mpg_select_case *k = set(0, A, MPG_RECV);
    count(PARKS_FOR(mpgi_select_until_g0(k, 1, 1000)));
  }
}

/* The later ones have a deadline that doesn't come. */
static void selects_until_twice(int arg) {
  (void) arg;
  struct mpg_select_case *k = set(0, A, MPG_RECV);
  intptr_t i = PARKS_FOR(mpgi_select_until_g0(k, 1, 10));
  finished = true;
  if (i != -ETIMEDOUT) count(i);
  selects_late(i == -ETIMEDOUT ? 2 : 1);
}

/* Only a deadline, and then only a channel. */
static void sleeps_and_receives(int arg) {
  (void) arg;
  struct mpg_select_case *k = set(0, NULL, MPG_RECV);
  explore_require(PARKS_FOR(mpgi_select_until_g0(k, 1, 10)) == -ETIMEDOUT);
  finished = true;
  selects_late(1);
}

static bool timer_or_end(const void *arg) {
  int64_t first;
  memcpy(&first, (const void *) &p[0].timer_first, sizeof first);
  return *(const bool *) arg || first != INT64_MAX;
}
static void fires(int arg) {
  (void) arg;
  explore_await(timer_or_end, &finished);
  mpgi_timers_run(&p[0], 10);
}

/* A is full, and a sender waits: there is something at all times. */
static bool sender_waited(const void *arg) {
  (void) arg;
  return gs[0].m == NULL || sent;
}
static void receives_from_full(int arg) {
  (void) arg;
  explore_await(sender_waited, NULL);
  receives(0);
}
static void finds_one(int how) {
  explore_await(sender_waited, NULL);
  struct mpg_select_case *k = set(0, A, MPG_RECV);
  if (how) {
    count(mpgi_select_try_g0(k, 1));
    return;
  }
  explore_require(mpgi_chan_try_recv_g0(A, k->elem) == 0);
  out += *(uint64_t *) k->elem;
}

/* The element of A goes to B: there is one in A or B at all times. */
static void moves(int arg) {
  uint64_t *e = &elem[explore_self()][0];
  (void) arg;
  *e = 1;
  if (mpgi_chan_try_send_g0(B, e) != 0) return;
  in += 1;
  if (mpgi_chan_try_recv_g0(A, e) == 0) out += *e;
}
static void tries_both(int arg) {
  (void) arg;
  set(0, A, MPG_RECV);
  count(mpgi_select_try_g0(set(1, B, MPG_RECV), 2));
}

/* ---- setup ---- */

static void setup(void) {
  setup_goroutines();
  for (int i = 0; i < 2; i++) {
    storage[i].c.elem_bytes = sizeof(uint64_t);
    explore_name(&storage[i].c.lock, 4, i ? "B.lock" : "A.lock");
    explore_name(&storage[i].c.count, 8, i ? "B.count" : "A.count");
    explore_name(&storage[i].c.recvq, 16, i ? "B.recvq" : "A.recvq");
    explore_name(&storage[i].c.sendq, 16, i ? "B.sendq" : "A.sendq");
  }
  for (int t = 0; t < THREADS; t++) {
    ms[t].p = &p[t];
    block[t].s.cap = SMALL;
    block[t].s.order = block[t].order;
    for (uint32_t i = 0; i < SMALL; i++) {
      block[t].waiter[i].select = true;
      block[t].waiter[i].index = i;
    }
    p[t].selects = &block[t].s;
    p[t].nselects = 1;
    p[t].timers = heap[t];
    p[t].timers_cap = 2;
    atomic_store(&p[t].timer_first, INT64_MAX);
    explore_constant(&p[t].runq, sizeof p[t].runq);
    explore_name(&gs[t].claimed, 4, "claimed");
  }
  explore_constant(&mpgi_sched, sizeof mpgi_sched);
}
static void setup_buffered(void) {
  setup();
  A->cap = CAP;
}
static void setup_full(void) {
  setup();
  A->cap = CAP;
  storage[0].slot[0] = in = 5;
  atomic_store(&A->count, 1);
}
static void setup_moving(void) {
  setup_full();
  B->cap = CAP;
}

static void all_gone(void) {
  for (int i = 0; i < 2; i++) {
    const struct mpg_chan *c = &storage[i].c;
    explore_require(!c->recvq.head && !c->sendq.head);
    explore_require(!c->recvq.tail && !c->sendq.tail);
    explore_require(c->lock.state == 0);
    for (size_t k = 0; k < c->count; k++) out += storage[i].slot[k];
  }
  for (int t = 0; t < THREADS; t++)
    explore_require(p[t].ntimers == 0 && p[t].selects == &block[t].s);
  explore_require(nowhere.lock.state == 1);
  explore_require(in == out);
}

/* ---- configurations ---- */

static const struct explore_config configs[] = {
    {.name = "select.receives_from_two",
     .setup = setup,
     .thread = {{"selector", selects_from_both, 2, false},
                {"sender", sends, 0, false},
                {"sender2", sends, 1, false}}},
    {.name = "select.two_for_one_sender",
     .setup = setup,
     .thread = {{"selector", selects_from_both, 1, false},
                {"selector2", selects_from_both, 1, false},
                {"sender", sends, 0, false},
                {"sender2", sends, 1, false}}},
    {.name = "select.crosswise",
     .setup = setup,
     .thread = {{"one", offers, 0, false}, {"other", offers, 1, false}}},
    {.name = "select.both_ways_on_one",
     .setup = setup,
     .thread = {{"one", offers, 2, false}, {"other", offers, 2, false}}},
    {.name = "select.one_is_closed",
     .setup = setup,
     .thread = {{"selector", selects_a_closed_one, 0, false},
                {"closer", closes, 0, false},
                {"sender", sends, 1, false}}},
    {.name = "select.deadline",
     .setup = setup,
     .thread = {{"selector", selects_until, 0, false},
                {"sender", sends, 0, false},
                {"timers", fires, 0, false}}},
    {.name = "select.an_old_deadline_is_gone",
     .setup = setup,
     .thread = {{"selector", selects_until_twice, 0, false},
                {"sender", sends, 0, false},
                {"sender2", sends, 0, false},
                {"timers", fires, 0, false}}},
    {.name = "select.a_deadline_and_nothing_else",
     .setup = setup,
     .thread = {{"selector", sleeps_and_receives, 0, false},
                {"sender", sends, 0, false},
                {"timers", fires, 0, false}}},
    {.name = "select.a_full_buffer_stays_full",
     .setup = setup_full,
     .thread = {{"sender", sends, 0, false},
                {"receiver", receives_from_full, 0, false},
                {"trier", finds_one, 0, false}}},
    {.name = "select.a_full_buffer_stays_full_for_select",
     .setup = setup_full,
     .thread = {{"sender", sends, 0, false},
                {"receiver", receives_from_full, 0, false},
                {"trier", finds_one, 1, false}}},
    {.name = "chan.stubs_meet_waiters",
     .setup = setup_buffered,
     .thread = {{"sender", stub_sends, 2, false},
                {"receiver", stub_receives, 1, false},
                {"receiver2", stub_receives, 1, false}}},
    {.name = "chan.stubs_drain_a_closed_one",
     .setup = setup_buffered,
     .thread = {{"sender", sends_and_closes, 2, false},
                {"receiver", drains, 0, false}}},
    {.name = "select.looks_at_one_moment",
     .setup = setup_moving,
     .thread = {{"mover", moves, 0, false}, {"trier", tries_both, 0, false}}},
};

static const struct {
  int config;
  struct explore_mutant mutant;
  const char *message;
} wrong[] = {
    {1, {"mpgi_select_claim", EXPLORE_CAS, EXPLORE_TEAR, NULL}, ""},
    {5, {"mpgi_select_claim", EXPLORE_CAS, EXPLORE_TEAR, NULL}, ""},
};

int main(void) {
  struct explore_config c;
  for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
    c = configs[i];
    c.at_end = all_gone;
    c.memory = EXPLORE_TSO;
    explore_pass(&c);
    c.memory = EXPLORE_PSO;
    explore_pass(&c);
  }
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    c = configs[wrong[i].config];
    c.at_end = all_gone;
    c.memory = EXPLORE_TSO;
    c.mutant = &wrong[i].mutant;
    explore_fail_with(&c, wrong[i].message);
  }
  return explore_status();
}

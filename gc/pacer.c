/* pacer.c - when to collect.
 *
 * Live bytes are counted coarsely: a cache that takes a span is charged for
 * its free cells at once and refunded what it gives back.  A cycle is due
 * when the count reaches the goal.
 *
 * [pacer.cells] A free cell is charged while it is in a cache's span or in a
 * magazine (free.c), so that it costs nothing to hand it out, once or again.
 * It is refunded when its span goes to a list with it free, or when it is given
 * back to a span that is on one (central.c).
 *
 * The rule (mpgi_pacer_rule): after a cycle that found `live` bytes and
 * scanned `roots` bytes, the next begins at
 *     live + work * percent / 100,
 * where `work` is live + roots, what a cycle reads; for a small heap eight
 * times as much, up to 32 MiB.  At least 4 MiB * percent / 100 (as in Go), and
 * at least STEP above live.  A memory limit lowers the goal to what it leaves
 * for the heap, but never below a tenth above live.
 *
 * [pacer.spacing] So from 4 MiB of live data on there are 32 MiB between two
 * cycles, at 100 percent; of a smaller heap there is an eighth as much to mark
 * as was allocated.  The eightfold, and not 32 MiB at once, because the memory
 * of a tiny heap is still in the processor's cache when its turn comes again.
 * Both follow percent: who asks for 3 means his memory.
 *
 * A limit that cannot be kept must not make the collector run all the time.
 * The CPU time of cycles that only the limit asked for is a debt that the time
 * between cycles pays back, one for one; while the debt is above a second no
 * cycle begins that only the limit asks for (mpgi_pacer_due_rule).  So in the
 * long run at most half of the time is the collector's.  What percent asks for
 * is done at once.
 * CPU time: beside other programs a collector that needs 0.1 ms may wait for a
 * CPU for a second and a half.  Charged for that, a limit of 128 MiB that is
 * easily kept was not: nothing was collected while 200 MiB were allocated.
 *
 * [pacer.clock] Nor is it paid back by time in which the program waits for a
 * CPU; with a fraction f of one the collector's share was 1 / (1 + f).  The
 * pacer's clock goes while the program runs, as its CPU time does, and while it
 * has nothing to do (mpgi_gc_world.idle_ns, sampled), but never faster than
 * time: of a program that needs more CPUs than one, the collector has half of
 * the time, and far less than half of its CPU time.
 *
 * [pacer.futile] Nor must a heap that is full: a collection that an allocation
 * asked for when there was no memory, and that found none for it, is futile.
 * Its CPU time is owed in the same way, and above a second of debt an
 * allocation that fails does so at once - unless it asks for less than half of
 * what was in vain: of that nobody knows.  Cycles for another reason, mpg_gc
 * among them, are as ever, and every allocation profits from what they free.
 *
 * Concurrency: every word is atomic; a goal that is a little old does no
 * harm, nor does a futile collection that is counted together with another's
 * size.
 */
#define MPGI_GC_INSIDE 1
#include <limits.h>

#include <arch/common/fixmem.h>
#include <arch/common/options.h>
#include <arch/os.h>
#include <gc/gc_private.h>

#define MIN_GOAL_BYTES (UINT64_C(4) << 20) /* at 100 percent */
#define SPACING_BYTES (UINT64_C(32) << 20) /* of small heaps, likewise */
#define SPACING_TIMES 8                    /* but not of tiny ones */
#define STEP_BYTES (UINT64_C(64) << 10)
#define LIMIT_MARGIN 10 /* live / 10 is allowed above a limit */
#define FAR 4           /* a goal is far exceeded by a quarter */

#define CLOCK_STEP_NS INT64_C(1000000) /* between two readings, but cycles' */

#define UNSET_PERCENT INT_MIN /* what MPG_GC says, or the default */
#define UNSET_LIMIT INT64_C(-1)

static struct {
  _Atomic uint64_t live, goal;
  _Atomic uint64_t percent_goal;          /* without the limit */
  _Atomic int64_t last_end;               /* of a cycle [pacer.clock] */
  _Atomic int64_t debt;                   /* ns, as of then */
  _Atomic uint64_t last_live, last_roots; /* of the last cycle */
  /* Futile collections are paid for by then; the least that was in vain. */
  _Atomic int64_t futile_until;
  _Atomic uint64_t futile_bytes;
  _Atomic int64_t limit;
  _Atomic int percent;
} pacer = {.limit = UNSET_LIMIT, .percent = UNSET_PERCENT};

/* The last reading; of whoever set `busy`, but for the sum. */
static struct {
  atomic_flag busy;
  int64_t now, cpu, idle;
  _Atomic int64_t sum, read_at;
} clock = {.busy = ATOMIC_FLAG_INIT};

static uint64_t add_capped(uint64_t a, uint64_t b) {
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t percent_of(uint64_t a, uint64_t percent) {
  return a / 100 > UINT64_MAX / (percent + 1)
             ? UINT64_MAX
             : a / 100 * percent + a % 100 * percent / 100;
}

/* [pacer.spacing] */
static uint64_t growth(const struct mpgi_pacer_input *in) {
  uint64_t work = add_capped(in->live, in->root_bytes);
  if (work < SPACING_BYTES / SPACING_TIMES)
    work *= SPACING_TIMES;
  else if (work < SPACING_BYTES)
    work = SPACING_BYTES;
  return percent_of(work, (uint64_t) in->percent);
}

uint64_t mpgi_pacer_rule(const struct mpgi_pacer_input *in) {
  uint64_t goal = UINT64_MAX;
  if (in->percent >= 0) {
    uint64_t min = percent_of(MIN_GOAL_BYTES, (uint64_t) in->percent);
    goal = add_capped(in->live, growth(in));
    if (goal < min) goal = min;
  }
  if (in->limit < INT64_MAX) {
    uint64_t limit = (uint64_t) in->limit;
    uint64_t room = limit > in->other_bytes ? limit - in->other_bytes : 0;
    uint64_t floor = add_capped(in->live, in->live / LIMIT_MARGIN);
    if (room < floor) room = floor;
    if (goal > room) goal = room;
  }
  uint64_t least = add_capped(in->live, STEP_BYTES);
  return goal > least ? goal : least;
}

static uint64_t other_bytes(void) {
  uint64_t stacks =
      mpgi_gc_world.stack_bytes != NULL ? mpgi_gc_world.stack_bytes() : 0;
  return stacks + mpgi_fixmem_bytes() + mpgi_heap_table_bytes();
}

static void goal_set(void) {
  struct mpgi_pacer_input in = {
      .live = mpgi_load(&pacer.last_live),
      .root_bytes = mpgi_load(&pacer.last_roots),
      .other_bytes = other_bytes(),
      .percent = atomic_load(&pacer.percent),
      .limit = atomic_load(&pacer.limit),
  };
  uint64_t goal = mpgi_pacer_rule(&in);
  in.limit = INT64_MAX;
  mpgi_store(&pacer.percent_goal, mpgi_pacer_rule(&in));
  mpgi_store(&pacer.goal, goal);
}

/* The environment's values, unless the program set others before. */
static void defaults_set(void) {
  int percent = UNSET_PERCENT;
  int64_t limit = UNSET_LIMIT;
  mpgi_options_init();
  atomic_compare_exchange_strong(&pacer.percent, &percent,
                                 (int) mpgi_opt.gcpercent);
  atomic_compare_exchange_strong(&pacer.limit, &limit, mpgi_opt.memlimit);
}

void mpgi_pacer_init(void) {
  defaults_set();
  goal_set();
}

void mpgi_pacer_charge(uint64_t bytes) { mpgi_add(&pacer.live, bytes); }

/* A cycle may have set the count anew since the bytes were charged. */
void mpgi_pacer_refund(uint64_t bytes) {
  uint64_t live = mpgi_load(&pacer.live);
  while (!atomic_compare_exchange_weak_explicit(
      &pacer.live, &live, live > bytes ? live - bytes : 0, memory_order_relaxed,
      memory_order_relaxed))
    continue;
}

int64_t mpgi_pacer_clock_rule(int64_t time, int64_t cpu, int64_t idle) {
  return time < cpu + idle ? time : cpu + idle;
}

static void clock_step(void) {
  int64_t now = mpgi_os_now(), cpu = mpgi_os_clock_read(MPGI_OS_PROCESS_CLOCK);
  int64_t idle = mpgi_gc_world.idle_ns ? mpgi_gc_world.idle_ns() : 0;
  if (clock.now)
    atomic_fetch_add(&clock.sum,
                     mpgi_pacer_clock_rule(now - clock.now, cpu - clock.cpu,
                                           idle - clock.idle));
  clock.now = now;
  clock.cpu = cpu;
  clock.idle = idle;
  atomic_store(&clock.read_at, now);
}

/* Who finds somebody at it takes the last reading for good. */
int64_t mpgi_pacer_clock(void) {
  if (!atomic_flag_test_and_set_explicit(&clock.busy, memory_order_acquire)) {
    clock_step();
    atomic_flag_clear_explicit(&clock.busy, memory_order_release);
  }
  return atomic_load(&clock.sum);
}

/* For who asks again and again: the kernel adds up all threads. */
static int64_t clock_coarse(void) {
  if (mpgi_os_now() - atomic_load(&clock.read_at) < CLOCK_STEP_NS)
    return atomic_load(&clock.sum);
  return mpgi_pacer_clock();
}

bool mpgi_pacer_due_rule(const struct mpgi_pacer_due *in) {
  if (in->live < in->goal) return false;
  return in->live >= in->percent_goal ||
         in->debt - (in->now - in->last_end) <= MPGI_PACER_DEBT_MAX_NS;
}

int64_t mpgi_pacer_debt_rule(int64_t debt, int64_t last_end, int64_t begin,
                             int64_t cost) {
  int64_t paid = begin - last_end;
  return (debt > paid ? debt - paid : 0) + cost;
}

bool mpgi_pacer_due(void) {
  struct mpgi_pacer_due in = {.live = mpgi_load(&pacer.live),
                              .goal = mpgi_load(&pacer.goal)};
  if (MPGI_LIKELY(in.live < in.goal)) return false;
  in.percent_goal = mpgi_load(&pacer.percent_goal);
  in.last_end = atomic_load(&pacer.last_end);
  in.debt = atomic_load(&pacer.debt);
  in.now = clock_coarse();
  return mpgi_pacer_due_rule(&in);
}

bool mpgi_pacer_is_limits(void) {
  uint64_t live = mpgi_load(&pacer.live);
  return live >= mpgi_load(&pacer.goal) &&
         live < mpgi_load(&pacer.percent_goal);
}

int64_t mpgi_pacer_cycle_begins(bool limits) {
  return limits || atomic_load(&pacer.debt) ? mpgi_pacer_clock() : -1;
}

void mpgi_pacer_cycle_took(int64_t begin, int64_t cost) {
  int64_t last = atomic_load(&pacer.last_end);
  MPG_ASSERT(cost >= 0 && (begin >= 0 || cost == 0));
  if (begin < 0) return; /* nothing was owed, nor is */
  int64_t debt =
      mpgi_pacer_debt_rule(atomic_load(&pacer.debt), last, begin, cost);
  atomic_store(&pacer.debt, debt);
  atomic_store(&pacer.last_end, mpgi_pacer_clock());
}

bool mpgi_pacer_hope_rule(const struct mpgi_pacer_futile *f, uint64_t bytes,
                          int64_t now) {
  return f->until - now <= MPGI_PACER_DEBT_MAX_NS || bytes < f->bytes / 2;
}

void mpgi_pacer_futile_rule(struct mpgi_pacer_futile *f, uint64_t bytes,
                            int64_t begin, int64_t end, int64_t cost) {
  bool owed = f->until > begin;
  if (!owed || bytes < f->bytes) f->bytes = bytes;
  f->until = end + cost + (owed ? f->until - begin : 0);
}

static struct mpgi_pacer_futile futile_get(void) {
  return (struct mpgi_pacer_futile){atomic_load(&pacer.futile_until),
                                    mpgi_load(&pacer.futile_bytes)};
}

bool mpgi_pacer_hope(uint64_t bytes) {
  struct mpgi_pacer_futile f = futile_get();
  return mpgi_pacer_hope_rule(&f, bytes, clock_coarse());
}

void mpgi_pacer_futile(uint64_t bytes, int64_t begin, int64_t cost) {
  struct mpgi_pacer_futile was = futile_get(), f;
  int64_t end = mpgi_pacer_clock();
  do {
    f = was;
    mpgi_pacer_futile_rule(&f, bytes, begin, end, cost);
  } while (
      !atomic_compare_exchange_weak(&pacer.futile_until, &was.until, f.until));
  mpgi_store(&pacer.futile_bytes, f.bytes);
}

bool mpgi_pacer_far_above(void) {
  uint64_t goal = mpgi_load(&pacer.goal);
  return mpgi_load(&pacer.live) >= add_capped(goal, goal / FAR);
}

void mpgi_pacer_cycle_end(uint64_t live, uint64_t root_bytes) {
  mpgi_store(&pacer.live, live);
  mpgi_store(&pacer.last_live, live);
  mpgi_store(&pacer.last_roots, root_bytes);
  goal_set();
  MPG_ASSERT(mpgi_load(&pacer.goal) > live);
}

uint64_t mpgi_pacer_goal(void) { return mpgi_load(&pacer.goal); }
uint64_t mpgi_pacer_live(void) { return mpgi_load(&pacer.live); }
int64_t mpgi_pacer_limit(void) { return atomic_load(&pacer.limit); }

static void refuse_strangers(const char *what) {
  if (mpgi_gc_world.is_stranger && mpgi_gc_world.is_stranger())
    mpgi_gc_world.not_attached(what);
}

int mpgi_gc_percent_g0(int percent) {
  refuse_strangers("mpg_gc_percent");
  if (percent < -1) percent = -1;
  defaults_set();
  int old = atomic_exchange(&pacer.percent, percent);
  goal_set();
  return old;
}

int64_t mpgi_memory_limit_g0(int64_t bytes) {
  defaults_set();
  if (bytes < 0) return mpgi_pacer_limit();
  refuse_strangers("mpg_memory_limit");
  int64_t old = atomic_exchange(&pacer.limit, bytes);
  goal_set();
  return old;
}

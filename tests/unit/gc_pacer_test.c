/* A simulator around the pacer's rules: mutators that allocate at some rate and
 * keep some of it, a collector that takes time in proportion to what is live;
 * which share of the time it gets, and how large the heap becomes. */
#define MPGI_GC_INSIDE 1
#include <tests/support/unit.h>

#include <time.h>

#include <arch/os.h>
#include <gc/gc_private.h>

#define MIB (UINT64_C(1) << 20)
#define MS INT64_C(1000000)

struct load {
  uint64_t live;      /* what survives each cycle */
  uint64_t per_ms;    /* bytes allocated in a ms of mutators' time */
  int64_t ns_per_mib; /* of marking */
  int64_t waits_ms;   /* of a cycle, for a CPU */
  int percent;
  int64_t limit;
  int64_t run_ms; /* how long */
};

struct outcome {
  double share;  /* of the time, the collector's */
  uint64_t peak; /* bytes */
  uint64_t allocated;
  unsigned cycles;
};

static struct outcome simulate(const struct load *l) {
  const uint64_t step = 64 << 10; /* a span's worth */
  struct mpgi_pacer_input in = {
      .live = 0, .percent = l->percent, .limit = l->limit};
  struct mpgi_pacer_due due = {.goal = mpgi_pacer_rule(&in)};
  struct outcome out = {0, 0, 0, 0};
  int64_t collecting = 0;
  in.limit = INT64_MAX;
  due.percent_goal = mpgi_pacer_rule(&in);
  while (due.now < l->run_ms * MS) {
    due.now += (int64_t) (step * (uint64_t) MS / l->per_ms);
    due.live += step;
    out.allocated += step;
    if (due.live > out.peak) out.peak = due.live;
    if (!mpgi_pacer_due_rule(&due)) continue;
    uint64_t live = due.live < l->live ? due.live : l->live;
    int64_t begin = due.now;
    int64_t cost = (int64_t) (live * (uint64_t) l->ns_per_mib / MIB);
    due.now += cost + l->waits_ms * MS;
    due.debt = mpgi_pacer_debt_rule(due.debt, due.last_end, begin, cost);
    due.last_end = due.now;
    collecting += due.now - begin;
    out.cycles++;
    due.live = in.live = live;
    in.limit = l->limit;
    due.goal = mpgi_pacer_rule(&in);
    in.limit = INT64_MAX;
    due.percent_goal = mpgi_pacer_rule(&in);
  }
  out.share = (double) collecting / (double) due.now;
  return out;
}

/* A minute of it, without a limit. */
static struct load unlimited(uint64_t live, int percent) {
  return (struct load){.live = live,
                       .per_ms = MIB,
                       .ns_per_mib = 300000,
                       .percent = percent,
                       .limit = INT64_MAX,
                       .run_ms = 60000};
}

static void percent_bounds_heap_and_share(void **state) {
  (void) state;
  struct load l = unlimited(100 * MIB, 100);
  struct outcome o = simulate(&l);
  assert_true(o.peak <= 201 * MIB);
  assert_true(o.share < 0.3); /* 30 ms of marking for 100 ms of allocating */
  l.percent = 50;
  struct outcome half = simulate(&l);
  assert_true(half.peak <= 151 * MIB);
  assert_true(half.cycles > o.cycles * 3 / 2);
}

/* [pacer.spacing] Marking a small heap again and again costs no more than an
 * eighth of what it would cost to mark all that is allocated, and its size is
 * bounded by 32 MiB. */
static void small_heaps_are_collected_seldom(void **state) {
  (void) state;
  for (uint64_t live = MIB / 8; live <= 64 * MIB; live *= 2) {
    struct load l = unlimited(live, 100);
    struct outcome o = simulate(&l);
    uint64_t grows = 8 * live < 32 * MIB ? 8 * live : 32 * MIB;
    if (grows < live) grows = live;
    uint64_t least = live + grows < 4 * MIB ? 4 * MIB - live : grows;
    assert_true(o.peak <= live + (grows > 4 * MIB ? grows : 4 * MIB) + MIB);
    assert_true(o.allocated / o.cycles >= least - least / 100);
    assert_true(o.allocated / o.cycles <= least + MIB);
    if (live <= 4 * MIB) assert_true(o.share < 0.3 / 8 + 0.005);
  }
}

/* The spacing is no floor under what percent asks for, nor under a limit. */
static void small_heaps_of_few_percent_stay_small(void **state) {
  (void) state;
  struct load l = unlimited(16 * MIB, 3);
  l.run_ms = 10000;
  assert_true(simulate(&l).peak <= 17 * MIB + MIB / 8);
  l.percent = 100;
  assert_true(simulate(&l).peak > 47 * MIB);
  l.limit = 24 << 20;
  assert_true(simulate(&l).peak <= 25 * MIB);
}

static void a_limit_with_room_is_kept(void **state) {
  (void) state;
  for (int percent = -1; percent <= 400; percent += 401) {
    struct load l = {.live = 100 * MIB,
                     .per_ms = MIB,
                     .ns_per_mib = 300000,
                     .percent = percent,
                     .limit = 160 << 20,
                     .run_ms = 60000};
    struct outcome o = simulate(&l);
    assert_true(o.peak <= 161 * MIB);
    assert_true(o.share < 0.5);
  }
}

/* Other programs keep the CPUs busy: a cycle takes long, but costs little. */
static void a_limit_with_room_is_kept_beside_other_programs(void **state) {
  (void) state;
  for (int64_t waits = 1; waits <= 10000; waits *= 10) {
    struct load l = {.live = 100 * MIB,
                     .per_ms = MIB,
                     .ns_per_mib = 300000,
                     .waits_ms = waits,
                     .percent = -1,
                     .limit = 160 << 20,
                     .run_ms = 60000};
    assert_true(simulate(&l).peak <= 161 * MIB);
  }
}

/* More is live than the limit allows: half of the time at most, whatever the
 * rate and the cost, and the heap stays bounded by what can be allocated in
 * the other half. */
static void an_impossible_limit_takes_half_at_most(void **state) {
  (void) state;
  for (int64_t cost = 100000; cost <= 10000000; cost *= 10)
    for (uint64_t per_ms = MIB / 8; per_ms <= 8 * MIB; per_ms *= 8) {
      struct load l = {.live = 200 * MIB,
                       .per_ms = per_ms,
                       .ns_per_mib = cost,
                       .percent = -1,
                       .limit = 50 << 20,
                       .run_ms = 100000};
      struct outcome o = simulate(&l);
      assert_true(o.share <= 0.53); /* the debt that is allowed at first */
      uint64_t cycle_ms = 200 * (uint64_t) cost / 1000000 + 1;
      assert_true(o.peak <= 221 * MIB + cycle_ms * per_ms * 2);
      assert_true(o.cycles > 10);
    }
}

/* Percent's own goal is never put off. */
static void the_debt_is_the_limits(void **state) {
  (void) state;
  struct mpgi_pacer_due d = {.live = 100,
                             .goal = 90,
                             .percent_goal = 100,
                             .debt = 100 * MPGI_PACER_DEBT_MAX_NS};
  assert_true(mpgi_pacer_due_rule(&d));
  d.live = 99;
  assert_false(mpgi_pacer_due_rule(&d));
  d.now = 99 * MPGI_PACER_DEBT_MAX_NS;
  assert_true(mpgi_pacer_due_rule(&d));
  d.live = 89;
  assert_false(mpgi_pacer_due_rule(&d));
}

/* ---- [pacer.clock] ---- */

static int64_t pretended_idle;
static int64_t idle_ns(void) { return pretended_idle; }

/* Neither runs nor is idle, as a program that waits for a CPU. */
static void wait_for_nothing(void) {
  nanosleep(&(struct timespec){0, 20 * MS}, NULL);
}

static void the_clock_stands_still_without_a_cpu(void **state) {
  (void) state;
  mpgi_gc_world.idle_ns = idle_ns;
  for (int i = 0; i < 5; i++) {
    int64_t cpu = mpgi_os_clock_read(MPGI_OS_PROCESS_CLOCK);
    int64_t before = mpgi_pacer_clock();
    wait_for_nothing();
    int64_t passed = mpgi_pacer_clock() - before;
    assert_true(passed >= 0);
    assert_true(passed <= mpgi_os_clock_read(MPGI_OS_PROCESS_CLOCK) - cpu);
  }
}

static void the_clock_goes_while_nobody_has_anything_to_do(void **state) {
  (void) state;
  mpgi_gc_world.idle_ns = idle_ns;
  int64_t before = mpgi_pacer_clock();
  wait_for_nothing();
  pretended_idle += 15 * MS;
  int64_t passed = mpgi_pacer_clock() - before;
  assert_true(passed >= 15 * MS);
  int64_t now = mpgi_os_now();
  before = mpgi_pacer_clock();
  pretended_idle += 3600000 * MS; /* but never faster than time */
  passed = mpgi_pacer_clock() - before;
  assert_true(passed <= mpgi_os_now() - now);
}

/* ---- a full heap ---- */

/* A program that meets every failure with the next attempt, `pause` later. */
struct full {
  int64_t cost, pause; /* of a collection; between two attempts */
  uint64_t bytes;
};

static unsigned collections_of(struct mpgi_pacer_futile *f,
                               const struct full *l, int64_t *now,
                               unsigned attempts) {
  unsigned n = 0;
  for (unsigned i = 0; i < attempts; i++) {
    *now += l->pause;
    if (!mpgi_pacer_hope_rule(f, l->bytes, *now)) continue;
    int64_t begin = *now;
    *now += l->cost;
    mpgi_pacer_futile_rule(f, l->bytes, begin, *now, l->cost);
    n++;
  }
  return n;
}

static void futile_collections_take_half_at_most(void **state) {
  (void) state;
  for (int64_t cost = MS / 10; cost <= 3000 * MS; cost *= 7)
    for (int64_t pause = 1000; pause <= 100 * MS; pause *= 10) {
      struct mpgi_pacer_futile f = {0, 0};
      struct full l = {cost, pause, 1000};
      int64_t now = 0;
      unsigned attempts = (unsigned) (100 * cost / pause + 100);
      unsigned n = collections_of(&f, &l, &now, attempts);
      assert_true(n * cost <= MPGI_PACER_DEBT_MAX_NS + cost + now / 2);
      if (pause >= cost) assert_int_equal(n, attempts); /* not needed */
    }
}

/* 5000 allocations in a row that fail: a second of collections. */
static void failures_in_a_row_are_cheap(void **state) {
  (void) state;
  struct mpgi_pacer_futile f = {0, 0};
  struct full l = {5 * MS, MS / 1000, 1000};
  int64_t now = 0;
  unsigned n = collections_of(&f, &l, &now, 5000);
  assert_true(n >= 200 && n <= 203);
  now += MPGI_PACER_DEBT_MAX_NS / 100; /* and hope comes back with time */
  assert_true(mpgi_pacer_hope_rule(&f, 1000, now));
}

static void half_as_much_is_another_question(void **state) {
  (void) state;
  struct mpgi_pacer_futile f = {0, 0};
  struct full l = {2000 * MS, 1, 1 << 20};
  int64_t now = MS;
  assert_int_equal(collections_of(&f, &l, &now, 10), 1);
  assert_false(mpgi_pacer_hope_rule(&f, 1 << 20, now));
  assert_false(mpgi_pacer_hope_rule(&f, 1 << 30, now));
  assert_true(mpgi_pacer_hope_rule(&f, 1000, now));
  l.bytes = 1000;
  assert_int_equal(collections_of(&f, &l, &now, 10), 1);
  assert_false(mpgi_pacer_hope_rule(&f, 1000, now));
  now = f.until; /* paid: large ones are no measure any more, nor small ones */
  l.bytes = 1 << 20;
  assert_int_equal(collections_of(&f, &l, &now, 1), 1);
  assert_int_equal(f.bytes, 1 << 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(percent_bounds_heap_and_share),
      cmocka_unit_test(small_heaps_are_collected_seldom),
      cmocka_unit_test(small_heaps_of_few_percent_stay_small),
      cmocka_unit_test(a_limit_with_room_is_kept),
      cmocka_unit_test(a_limit_with_room_is_kept_beside_other_programs),
      cmocka_unit_test(an_impossible_limit_takes_half_at_most),
      cmocka_unit_test(the_debt_is_the_limits),
      cmocka_unit_test(the_clock_stands_still_without_a_cpu),
      cmocka_unit_test(the_clock_goes_while_nobody_has_anything_to_do),
      cmocka_unit_test(futile_collections_take_half_at_most),
      cmocka_unit_test(failures_in_a_row_are_cheap),
      cmocka_unit_test(half_as_much_is_another_question),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

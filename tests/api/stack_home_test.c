/* stack_home_test.c - the range of addresses that a movable goroutine's stack
 * begins in: it grows there in place, and what isn't used any more of it is
 * given back. */
#include "../support/check.h"

#if defined(MPG_SPLIT_STACK)
#define MOVES true
#else
#define MOVES false
#endif

#define HOME_BYTES 65536 /* stacks.md */
#define PAGE_BYTES 4096

static mpg_chan *gate, *done;
static _Atomic int ready;

static void go_movable(mpg_func fn, void *arg) {
  struct mpg_go_options opt = {.size = sizeof(opt), .flags = MPG_GO_MOVABLE};
  CHECK_EQ(mpg_go_with(&opt, fn, arg), 0);
}

static uint64_t stack_bytes(void) {
  struct mpg_stack_stats s = {.size = sizeof(s)};
  CHECK_EQ(mpg_stack_stats_read(&s), 0);
  return s.stack_bytes;
}

static void begin(void) {
  gate = mpg_chan_new(sizeof(uint64_t), 0);
  done = mpg_chan_new(sizeof(uint64_t), 0);
  CHECK(gate != NULL && done != NULL);
  atomic_store(&ready, 0);
}

static uint64_t result(void) {
  uint64_t x = 0;
  CHECK(mpg_chan_recv(done, &x));
  return x;
}

static uint64_t run(mpg_func fn) {
  begin();
  go_movable(fn, NULL);
  return result();
}

/* ---- growth in place ---- */

/* Frames of n calls, some 100 bytes each; *farthest: between two of them. */
static __attribute__((noinline)) uint64_t descend(int n, uintptr_t above,
                                                  uintptr_t *farthest) {
  volatile uint64_t here[8] = {(uint64_t) n};
  uintptr_t me = (uintptr_t) here, far = above > me ? above - me : me - above;
  if (far > *farthest) *farthest = far;
  if (n == 0) return 0;
  return descend(n - 1, me, farthest) + here[0];
}

static uint64_t descended(int n, uintptr_t *farthest) {
  uintptr_t here = (uintptr_t) &here;
  *farthest = 0;
  return descend(n, here, farthest);
}

static void stays_together(void *arg) {
  (void) arg;
  uintptr_t farthest;
  for (int n = 1; n < 300; n++) {
    CHECK_EQ(descended(n, &farthest), n * (n + 1) / 2);
    CHECK_LE(farthest, 1024);
  }
  mpg_chan_send(done, &(uint64_t){1});
}
static void it_grows_in_place(void *arg) {
  (void) arg;
  CHECK_EQ(run(stays_together), 1);
}

static void goes_beyond(void *arg) {
  (void) arg;
  uintptr_t farthest;
  for (int i = 0; i < 3; i++)
    for (int n = 10; n < (MOVES ? 20000 : 2000); n *= 3)
      CHECK_EQ(descended(n, &farthest), n * (n + 1) / 2);
  mpg_chan_send(done, &(uint64_t){1});
}
static void segments_go_on_beyond_it(void *arg) {
  (void) arg;
  CHECK_EQ(run(goes_beyond), 1);
}

static uintptr_t in_comparator;

static int compare(const void *a, const void *b) {
  volatile int here = *(const int *) a - *(const int *) b;
  in_comparator = (uintptr_t) &here;
  return here;
}

static void calls_foreign_code(void *arg) {
  (void) arg;
  for (int i = 0; i < 10; i++) {
    int v[] = {3, 1, 2};
    qsort(v, 3, sizeof(v[0]), compare);
    CHECK(v[0] == 1 && v[1] == 2 && v[2] == 3);
    uintptr_t me = (uintptr_t) v;
    CHECK(in_comparator < me && me - in_comparator < HOME_BYTES / 4);
  }
  mpg_chan_send(done, &(uint64_t){1});
}
static void foreign_code_finds_room_in_it(void *arg) {
  (void) arg;
  CHECK_EQ(run(calls_foreign_code), 1);
}

static __attribute__((noinline)) uint64_t sum_of(size_t n) {
  volatile unsigned char v[n];
  uint64_t sum = 0;
  for (size_t i = 0; i < n; i++) v[i] = (unsigned char) i;
  mpg_yield();
  for (size_t i = 0; i < n; i++) sum += v[i];
  return sum;
}

static void has_arrays(void *arg) {
  (void) arg;
  for (size_t n = 256; n <= (1 << 17); n *= 2)
    CHECK_EQ(sum_of(n), n / 256 * (255 * 256 / 2));
  mpg_chan_send(done, &(uint64_t){1});
}
static void arrays_of_any_size_live_there(void *arg) {
  (void) arg;
  CHECK_EQ(run(has_arrays), 1);
}

/* ---- memory is given back ---- */

#define SOME 50
#define DEEP 300 /* frames: more than 20 KiB */

static uint64_t *pins[SOME];

/* Has been deep, and is parked at the top; pinned, so that it stays there. */
static void parks_after_a_descent(void *arg) {
  uint64_t mine = 5, got;
  uintptr_t farthest;
  if (arg) *(uint64_t **) arg = &mine;
  do {
    CHECK_EQ(descended(DEEP, &farthest), DEEP * (DEEP + 1) / 2);
    atomic_fetch_add(&ready, 1);
    CHECK(mpg_chan_recv(gate, &got));
  } while (got);
  mpg_chan_send(done, &mine);
}

static void until_ready(int n) {
  CHECK_EVENTUALLY(atomic_load(&ready) == n);
  mpg_sleep(20 * 1000000);
}

static void tell(int n, uint64_t again) {
  for (int i = 0; i < n; i++) mpg_chan_send(gate, &again);
}

/* Some collections. */
static void until_given_back(uint64_t empty) {
  while (MOVES && stack_bytes() > empty + 2 * SOME * PAGE_BYTES) mpg_gc();
}

static void what_is_not_used_is_given_back(void *arg) {
  (void) arg;
  begin();
  mpg_gc();
  uint64_t empty = stack_bytes();
  for (int i = 0; i < SOME; i++) go_movable(parks_after_a_descent, &pins[i]);
  for (int round = 1; round <= 3; round++) {
    until_ready(SOME * round);
    if (MOVES && !getenv("MPG_DEBUG")) /* collections meanwhile */
      CHECK_GE(stack_bytes(), empty + SOME * 20000);
    until_given_back(empty);
    tell(SOME, round < 3);
  }
  for (int i = 0; i < SOME; i++) CHECK_EQ(result(), 5);
  memset(pins, 0, sizeof(pins));
  CHECK_EVENTUALLY(mpg_num_goroutines() == 1);
}

static void a_dead_one_gives_it_back(void *arg) {
  (void) arg;
  mpg_gc();
  uint64_t empty = stack_bytes();
  for (int i = 0; i < 500; i++) CHECK_EQ(run(stays_together), 1);
  CHECK_EVENTUALLY(mpg_num_goroutines() == 1);
  CHECK_LE(stack_bytes(), empty + 4 * HOME_BYTES); /* images, caches */
}

/* What is live deep down isn't given back. */
static __attribute__((noinline)) uint64_t parked_deep(int n) {
  volatile uint64_t here[8] = {(uint64_t) n};
  uint64_t got;
  if (n > 0) return parked_deep(n - 1) + here[0];
  atomic_fetch_add(&ready, 1);
  CHECK(mpg_chan_recv(gate, &got));
  return got;
}
static void parks_deep(void *arg) {
  (void) arg;
  uintptr_t farthest;
  descended(2 * DEEP, &farthest);
  uint64_t x = parked_deep(DEEP);
  mpg_chan_send(done, &x);
}
static void what_is_used_stays(void *arg) {
  (void) arg;
  begin();
  for (int i = 0; i < SOME; i++) go_movable(parks_deep, NULL);
  until_ready(SOME);
  for (int i = 0; i < 6; i++) mpg_gc();
  tell(SOME, 3);
  for (int i = 0; i < SOME; i++) CHECK_EQ(result(), DEEP * (DEEP + 1) / 2 + 3);
}

/* A limit below a home's size: what is used counts. */
static void uses_some(void *arg) {
  uintptr_t farthest;
  CHECK_EQ(descended((int) (intptr_t) arg, &farthest), 150 * 151 / 2);
  mpg_chan_send(done, &(uint64_t){1});
}
static void a_small_limit_is_enough(void *arg) {
  (void) arg;
  begin();
  struct mpg_go_options opt = {
      .size = sizeof(opt), .flags = MPG_GO_MOVABLE, .stack_bytes = 40000};
  CHECK_EQ(mpg_go_with(&opt, uses_some, (void *) (intptr_t) 150), 0);
  CHECK_EQ(result(), 1);
}

static const struct check_case cases[] = {
    INSIDE(it_grows_in_place),
    INSIDE(segments_go_on_beyond_it),
    INSIDE(foreign_code_finds_room_in_it),
    INSIDE(arrays_of_any_size_live_there),
    INSIDE(what_is_not_used_is_given_back),
    INSIDE(a_dead_one_gives_it_back),
    INSIDE(what_is_used_stays),
    INSIDE(a_small_limit_is_enough),
};
CHECK_MAIN(cases, 30)

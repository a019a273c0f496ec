/* gc_oom_test.c - memory runs out: NULL, the handler, and going on.
 *
 * RLIMIT_DATA makes the kernel refuse more writable memory.
 */
#include <sys/resource.h>

#include "../support/check.h"

#define MIB ((size_t) 1 << 20)

static uint64_t data_bytes(void) { /* VmData of /proc/self/status */
  char line[256];
  unsigned long kib = 0;
  FILE *f = fopen("/proc/self/status", "r");
  CHECK(f != NULL);
  while (fgets(line, sizeof(line), f))
    if (strncmp(line, "VmData:", 7) == 0) kib = strtoul(line + 7, NULL, 10);
  fclose(f);
  CHECK_GT(kib, 0);
  return (uint64_t) kib << 10;
}

/* Also beyond what the heap has free since the cases before. */
#define TOO_MUCH (4096 * MIB)

/* How much memory is exhausted.  Less when that takes a collection for every
 * few cells. */
static uint64_t little(void) { return (check_collects() ? 16 : 64) * MIB; }

static void limit_data(uint64_t more) {
  struct rlimit r;
  CHECK_EQ(getrlimit(RLIMIT_DATA, &r), 0);
  r.rlim_cur = more ? data_bytes() + more : r.rlim_max;
  CHECK_EQ(setrlimit(RLIMIT_DATA, &r), 0);
}

struct cell {
  struct cell *next;
  char payload[1000];
};

static struct cell *list; /* global: a root */

/* Larger ones when every few are followed by a collection. */
static size_t cell_bytes(void) {
  return check_switch("gcstress") ? 8000 : sizeof(struct cell);
}

static bool add_cell(size_t n) {
  struct cell *c = mpg_alloc(cell_bytes());
  if (!c) return false;
  memset(c->payload, (int) n, sizeof(c->payload));
  c->next = list;
  list = c;
  return true;
}

/* Allocate until there is no more; returns the number of cells. */
static size_t exhaust(void) {
  size_t n = 0;
  while (add_cell(n)) {
    n++;
    CHECK_LE(n, (size_t) 4 << 20); /* the limit didn't work */
  }
  return n;
}

static void check_list(size_t n) {
  for (struct cell *c = list; c; c = c->next) {
    n--;
    for (size_t i = 0; i < sizeof(c->payload); i += 99)
      CHECK_EQ((unsigned char) c->payload[i], n & 0xff);
  }
  CHECK_EQ(n, 0);
}

/* Cut into pieces, so that a stale pointer keeps one cell, not all. */
static void forget_list(void) {
  for (struct cell *c = list, *next; c; c = next) {
    next = c->next;
    c->next = NULL;
  }
  list = NULL;
}

static void exhaustion_gives_null_and_an_intact_heap(void *arg) {
  (void) arg;
  limit_data(little());
  for (int round = 0; round < 3; round++) {
    size_t n = exhaust();
    CHECK_GT(n, 1000);
    CHECK(mpg_alloc(32 * MIB) == NULL);
    CHECK(mpg_alloc_noscan(32 * MIB) == NULL);
    check_list(n);
    mpg_gc();
    check_list(n);
    forget_list();
  }
  limit_data(0);
  for (int i = 0; i < 10000; i++) CHECK(mpg_alloc(1000) != NULL);
}

/* Many failures don't collect for ever; what a collection frees is found. */
static void failing_in_a_full_heap_is_cheap(void *arg) {
  (void) arg;
  limit_data(little());
  size_t n = exhaust();
  struct mpg_gc_stats before = {.size = sizeof(before)}, after = before;
  CHECK_EQ(mpg_gc_stats_read(&before), 0);
  size_t failed = 0; /* a stale pointer may have kept a cell or two */
  int tries = check_switch("gcstress") ? 5000 : 100000;
  for (int i = 0; i < tries; i++) {
    bool added = add_cell(n);
    n += added;
    failed += !added;
  }
  CHECK_GE(failed, tries - 100);
  CHECK_EQ(mpg_gc_stats_read(&after), 0);
  CHECK_LE(after.cycles - before.cycles, 20000); /* a second's worth */
  check_list(n);
  forget_list();
  mpg_gc();
  for (int i = 0; i < 1000; i++) CHECK(mpg_alloc(1000) != NULL);
  limit_data(0);
}

/* Who drops something at each failure gets memory for it, mostly. */
static void what_was_dropped_is_found(void *arg) {
  (void) arg;
  limit_data(little());
  exhaust();
  for (int i = 0; i < 2; i++) {
    struct cell *c = list;
    for (int k = 0; k < 50; k++) {
      struct cell *next = c->next;
      c->next = NULL;
      c = next;
    }
    list = c;
    CHECK(add_cell(0));
    exhaust();
  }
  forget_list();
  limit_data(0);
}

/* malloc may fail then, also on a thread that hasn't called it before; but it
 * doesn't crash (jemalloc's would, left to itself). */
static _Atomic bool other_runs, exhausted, other_is_done;

static void malloc_once_exhausted(void *arg) {
  (void) arg;
  other_runs = true;
  while (!exhausted) continue; /* on a thread of its own */
  for (size_t n = 16; n <= 4096; n *= 2) {
    char *p = malloc(n);
    if (p) memset(p, 1, n);
    free(p);
  }
  other_is_done = true;
}

static void malloc_is_ready_on_new_threads(void *arg) {
  (void) arg;
  int procs = mpg_gomaxprocs(2);
  mpg_heap_profile_rate(0); /* its records would be that thread's first use */
  CHECK_EQ(mpg_go(malloc_once_exhausted, NULL), 0);
  while (!other_runs) continue; /* it doesn't run here */
  limit_data(little());
  exhaust();
  exhausted = true;
  while (!other_is_done) continue;
  limit_data(0);
  forget_list();
  mpg_gomaxprocs(procs);
}

static void failed_realloc_keeps_the_block(void *arg) {
  (void) arg;
  char *p = mpg_alloc_noscan(MIB);
  memset(p, 9, MIB);
  limit_data(32 * MIB);
  CHECK(mpg_realloc(p, TOO_MUCH) == NULL);
  limit_data(0);
  for (size_t i = 0; i < MIB; i += 997) CHECK_EQ(p[i], 9);
}

static int asked;
static size_t asked_bytes;
static char instead[256];

static void *give_instead(size_t bytes) {
  asked++;
  asked_bytes = bytes;
  return instead;
}

static void *give_nothing(size_t bytes) {
  (void) bytes;
  asked++;
  return NULL;
}

/* The attribute malloc lets the compiler believe that this can't be. */
static bool is_instead(void *p) {
  CHECK_OPAQUE(p);
  return p == instead;
}

static void ask_too_much(void *arg) {
  (void) arg;
  CHECK(is_instead(mpg_alloc(SIZE_MAX)));
}

static void the_handler_may_be_set_before_the_runs(void *arg) {
  (void) arg;
  mpg_on_out_of_memory(give_instead);
  for (int i = 0; i < 2; i++) CHECK_EQ(mpg_run(ask_too_much, NULL), 0);
  mpg_on_out_of_memory(NULL);
  asked = 0;
}

static void the_handler_is_asked_and_its_result_passed_on(void *arg) {
  (void) arg;
  limit_data(32 * MIB);
  mpg_on_out_of_memory(give_instead);
  CHECK(is_instead(mpg_alloc(TOO_MUCH)));
  CHECK_EQ(asked, 1);
  CHECK_EQ(asked_bytes, TOO_MUCH);
  CHECK(is_instead(mpg_alloc_noscan(TOO_MUCH)));
  CHECK_EQ(asked, 2);
  mpg_on_out_of_memory(give_nothing);
  CHECK(mpg_alloc(TOO_MUCH) == NULL);
  CHECK_EQ(asked, 3);
  mpg_on_out_of_memory(NULL);
  CHECK(mpg_alloc(TOO_MUCH) == NULL);
  CHECK_EQ(asked, 3);
  limit_data(0);
}

/* The handler's memory isn't for the library's own objects. */
static void the_handler_is_not_asked_for_channels(void *arg) {
  (void) arg;
  mpg_on_out_of_memory(give_instead);
  asked = 0;
  limit_data(32 * MIB);
  CHECK(mpg_chan_new(TOO_MUCH / 8, 8) == NULL);
  CHECK(mpg_chan_new(1, SIZE_MAX / 2) == NULL);
  limit_data(0);
  CHECK_EQ(asked, 0);
  mpg_on_out_of_memory(NULL);
}

static void channels_too_large_for_memory(void *arg) {
  (void) arg;
  CHECK(mpg_chan_new(SIZE_MAX, 1) == NULL);
  CHECK(mpg_chan_new(1, SIZE_MAX) == NULL);
  CHECK(mpg_chan_new(SIZE_MAX / 2, 2) == NULL);
  CHECK(mpg_chan_new((size_t) 1 << 32, (size_t) 1 << 32) == NULL);
  CHECK(mpg_chan_new((size_t) 1 << 50, 0) == NULL);
  mpg_chan *c = mpg_chan_new(8, 4);
  CHECK(c != NULL);
  CHECK_EQ(mpg_chan_cap(c), 4);
}

static const struct check_case cases[] = {
    INSIDE(exhaustion_gives_null_and_an_intact_heap),
    INSIDE(failing_in_a_full_heap_is_cheap),
    INSIDE(what_was_dropped_is_found),
    INSIDE(malloc_is_ready_on_new_threads),
    INSIDE(failed_realloc_keeps_the_block),
    OUTSIDE(the_handler_may_be_set_before_the_runs),
    INSIDE(the_handler_is_asked_and_its_result_passed_on),
    INSIDE(the_handler_is_not_asked_for_channels),
    INSIDE(channels_too_large_for_memory),
};
CHECK_MAIN(cases, 30)

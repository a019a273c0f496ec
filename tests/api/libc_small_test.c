/* libc_small_test.c - a goroutine whose functions call the C library stays on
 * its 2 KiB: 100,000 of them, each parked inside such a function.
 */
#include "../support/check.h"
#include "../support/resident.h"

#define PLAIN __attribute__((noinline))

enum { MANY = 100000, LIMIT_BYTES = 2200 };

static mpg_chan *gate; /* closed: everybody goes on */
static _Atomic int parked, wrong;
static FILE *null;

static PLAIN void use_libc_and_park(const char *text) {
  char buf[48];
  struct timespec t;
  size_t n = strlen(text);
  char *copy = malloc(n + 1);
  memcpy(copy, text, n + 1);
  snprintf(buf, sizeof(buf), "%s %.3f %d", copy, 1.5, 7);
  fprintf(null, "%s %g\n", buf, 0.25);
  printf("%s", "");
  if (clock_gettime(CLOCK_MONOTONIC, &t) != 0 || t.tv_sec < 0) wrong = 1;
  atomic_fetch_add(&parked, 1);
  mpg_chan_recv(gate, NULL);
  if (strtod(buf + n, NULL) != 1.5) wrong = 1;
  free(copy);
  atomic_fetch_sub(&parked, 1);
}

static void worker(void *arg) { use_libc_and_park(arg); }

static uint64_t stack_bytes(void) {
  struct mpg_gc_stats s = {.size = sizeof(s)};
  CHECK_EQ(mpg_gc_stats_read(&s), 0);
  return s.stack_bytes;
}

/* With stackguard a page more. */
static long limit_bytes(void) {
  return LIMIT_BYTES + (check_switch("stackguard") ? 4096 : 0);
}

/* Fixed stacks are larger. */
#if defined(MPG_SPLIT_STACK)
#define SMALL_IS_PROMISED true
#else
#define SMALL_IS_PROMISED false
#endif

static void parked_inside_the_c_library_s_callers(void *arg) {
  (void) arg;
  bool small = SMALL_IS_PROMISED;
  int n = small ? MANY : 2000;
  gate = mpg_chan_new(1, 0);
  null = fopen("/dev/null", "w");
  CHECK(null != NULL);
  long resident = resident_bytes();
  uint64_t stacks = stack_bytes();
  for (int i = 0; i < n; i++) CHECK_GO(worker, "some text");
  CHECK_EVENTUALLY(atomic_load(&parked) == n);
  if (small) {
    CHECK_LE((stack_bytes() - stacks) / n, limit_bytes());
    /* The text itself, and what malloc keeps for it, are the program's. */
    CHECK_LE((resident_bytes() - resident) / n, limit_bytes() + 64);
  }
  mpg_chan_close(gate);
  CHECK_EVENTUALLY(atomic_load(&parked) == 0);
  CHECK_EQ(wrong, 0);
  fclose(null);
}

/* ---- a segment that is not used any more ---- */

static PLAIN uint64_t descend(int depth, uint64_t sum) {
  volatile uint64_t here[16];
  here[depth % 16] = sum + (uint64_t) depth;
  if (depth == 0) return here[0];
  return descend(depth - 1, here[depth % 16]) + (here[depth % 16] != 0);
}

enum { DEPTH = 100, DEEP_ONES = 1000, DEEP_BYTES = 16000 };

static void deep_then_parked(void *arg) {
  uint64_t sum = descend(DEPTH, (uintptr_t) arg);
  atomic_fetch_add(&parked, 1);
  mpg_chan_recv(gate, NULL);
  if (descend(DEPTH, (uintptr_t) arg) != sum) wrong = 1;
  atomic_fetch_sub(&parked, 1);
}

static void an_emptied_segment_goes_back_at_collections(void *arg) {
  (void) arg;
  gate = mpg_chan_new(1, 0);
  uint64_t before = stack_bytes();
  for (uintptr_t i = 1; i <= DEEP_ONES; i++)
    CHECK_GO(deep_then_parked, (void *) i);
  CHECK_EVENTUALLY(atomic_load(&parked) == DEEP_ONES);
  mpg_sleep(10 * 1000000); /* until the last has parked */
  uint64_t deep = stack_bytes() - before;
  for (int i = 0; i < 3; i++) mpg_gc();
  uint64_t shallow = stack_bytes() - before;
  if (SMALL_IS_PROMISED) {
    if (!check_collects()) CHECK_GE(deep / DEEP_ONES, DEEP_BYTES);
    CHECK_LE(shallow / DEEP_ONES, limit_bytes());
  }
  mpg_chan_close(gate);
  CHECK_EVENTUALLY(atomic_load(&parked) == 0);
  CHECK_EQ(wrong, 0);
}

static const struct check_case cases[] = {
    INSIDE(parked_inside_the_c_library_s_callers),
    INSIDE(an_emptied_segment_goes_back_at_collections),
};
CHECK_MAIN(cases, 50)

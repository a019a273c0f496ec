/* libc_small_test.c - a goroutine whose functions call the C library stays on
 * its 2 KiB: 100,000 of them, each parked inside such a function.
 */
#include "../support/check.h"

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

static long resident_bytes(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  CHECK(f && fscanf(f, "%*d %ld", &pages) == 1);
  fclose(f);
  return pages * sysconf(_SC_PAGESIZE);
}

static uint64_t stack_bytes(void) {
  struct mpg_gc_stats s = {.size = sizeof(s)};
  CHECK_EQ(mpg_gc_stats_read(&s), 0);
  return s.stack_bytes;
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
    CHECK_LE((stack_bytes() - stacks) / n, LIMIT_BYTES);
    /* The text itself, and what malloc keeps for it, are the program's. */
    CHECK_LE((resident_bytes() - resident) / n, LIMIT_BYTES + 64);
  }
  mpg_chan_close(gate);
  CHECK_EVENTUALLY(atomic_load(&parked) == 0);
  CHECK_EQ(wrong, 0);
  fclose(null);
}

static const struct check_case cases[] = {
    INSIDE(parked_inside_the_c_library_s_callers),
};
CHECK_MAIN(cases, 50)

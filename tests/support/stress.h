/* stress.h - what the stress programs share: options, a seeded generator, a
 * time limit, errors that end the process (check.h).
 *
 * Options: --seconds N (3), --seed N (the clock), --procs N (0: the program
 * changes the number of Ps as it likes).  The seed is printed first; a run
 * with the same seed makes the same decisions, though not the same
 * interleavings.
 */
#ifndef TESTS_SUPPORT_STRESS_H
#define TESTS_SUPPORT_STRESS_H

#include "check.h"

static struct {
  uint64_t seed;
  int64_t seconds, procs, deadline;
} stress = {.seconds = 3};

/* splitmix64; each goroutine has a state of its own. */
static inline uint64_t stress_random(uint64_t *state) {
  uint64_t x = *state += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static inline uint64_t stress_below(uint64_t *state, uint64_t n) {
  return stress_random(state) % n;
}

/* A seed for goroutine number i. */
static inline uint64_t stress_seed(uint64_t i) {
  uint64_t state = stress.seed ^ i * 0xd1342543de82ef95u;
  return stress_random(&state);
}

static inline bool stress_over(void) { return mpg_now() >= stress.deadline; }

static inline void stress_procs(uint64_t *state, int most) {
  if (stress.procs == 0)
    mpg_gomaxprocs(1 + (int) stress_below(state, (uint64_t) most));
}

static inline void stress_option(const char *name, const char *value) {
  char *end;
  uint64_t v = strtoull(value, &end, 10);
  bool ok = *value != '\0' && *end == '\0';
  if (ok && strcmp(name, "--seconds") == 0)
    stress.seconds = (int64_t) v;
  else if (ok && strcmp(name, "--seed") == 0)
    stress.seed = v;
  else if (ok && strcmp(name, "--procs") == 0)
    stress.procs = (int64_t) v;
  else {
    fprintf(stderr, "wrong option: %s %s\n", name, value);
    exit(2);
  }
}

/* Parse, print the seed, run fn as main under a watchdog.  Returns: exit
 * status. */
static inline int stress_main(int argc, char **argv, mpg_func fn) {
  stress.seed = (uint64_t) check_now();
  for (int i = 1; i < argc; i += 2)
    stress_option(argv[i], i + 1 < argc ? argv[i + 1] : "");
  printf("seed %llu\n", (unsigned long long) stress.seed);
  fflush(stdout);
  stress.deadline = check_now() + stress.seconds * INT64_C(1000000000);
  check_watchdog((int) stress.seconds + 30);
  CHECK_EQ(mpg_run(fn, NULL), 0);
  check_watchdog(0);
  return 0;
}

#endif /* TESTS_SUPPORT_STRESS_H */

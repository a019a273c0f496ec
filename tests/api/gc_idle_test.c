/* gc_idle_test.c - a program that only sleeps is collected now and then.
 *
 * MPG_DEBUG=gcperiod, behind what else is set, shortens the two minutes.  The
 * collection must happen while every P is idle and sysmon sleeps deeply.
 */
#include <stdio.h>

#include "../support/check.h"

static uint64_t cycles(void) {
  struct mpg_gc_stats s = {.size = sizeof(s)};
  CHECK_EQ(mpg_gc_stats_read(&s), 0);
  return s.cycles;
}

static void idle_program_is_collected(void *arg) {
  (void) arg;
  uint64_t before = cycles();
  while (cycles() < before + 3) mpg_sleep(20 * 1000 * 1000);
  CHECK_EQ(mpg_num_goroutines(), 1);
}

static void not_when_collection_is_off(void *arg) {
  (void) arg;
  mpg_gc_percent(-1);
  uint64_t before = cycles();
  mpg_sleep(200 * 1000 * 1000);
  CHECK_EQ(cycles(), before);
  mpg_gc_percent(100);
}

static const struct check_case cases[] = {
    INSIDE(idle_program_is_collected),
    INSIDE(not_when_collection_is_off),
};

int main(int argc, char **argv) {
  const char *given = getenv("MPG_DEBUG");
  char debug[256];
  snprintf(debug, sizeof debug, "%s%sgcperiod=20", given ? given : "",
           given ? "," : "");
  setenv("MPG_DEBUG", debug, 1); /* read by the first mpg_run */
  return check_cases(cases, sizeof(cases) / sizeof(cases[0]), argc, argv, 20);
}

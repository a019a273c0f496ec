// A frame that steps over the guard region, to where nothing is: as code does
// that wasn't compiled with -fstack-clash-protection.
// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack overflow: goroutine [0-9]+ exceeds its fixed
// EXPECT-STDERR: ^step\(\.\.\.\)
// EXPECT-STDERR: ^overflow\(\.\.\.\)
#include <mpg.h>
#include <unistd.h>

#include "../support/step.h"

#define STACK_BYTES (400 << 10)

/* Nothing, or memory without access. */
static bool is_out_of_bounds(const char *at) {
  int ends[2];
  if (pipe(ends)) return false;
  bool bad = write(ends[1], at, 1) != 1;
  close(ends[0]);
  close(ends[1]);
  return bad;
}

static void overflow(void *arg) {
  char here;
  size_t bytes = 2 * STACK_BYTES;
  while (!is_out_of_bounds(&here - bytes)) bytes += 65536;
  *(int *) arg = step(bytes);
}

static void start(void *arg) {
  struct mpg_go_options o = {.size = sizeof(o),
                             .flags = MPG_GO_FIXED_STACK,
                             .stack_bytes = STACK_BYTES};
  mpg_go_with(&o, overflow, arg);
  mpg_chan_recv(NULL, NULL);
}

int main(void) {
  int x;
  return mpg_run(start, &x);
}

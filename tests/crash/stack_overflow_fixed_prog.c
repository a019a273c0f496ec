// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack overflow
// EXPECT-STDERR: ^goroutine [0-9]+ \[running
// EXPECT-STDERR: ^recurse\(\.\.\.\)
#include <mpg.h>

#include "../support/recurse.h"

static void start(void *arg) {
  struct mpg_go_options o = {.size = sizeof(o), .flags = MPG_GO_FIXED_STACK};
  mpg_go_with(&o, overflow, arg);
  mpg_chan_recv(NULL, NULL);
}

int main(void) {
  int x;
  return mpg_run(start, &x);
}

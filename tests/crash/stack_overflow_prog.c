// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack overflow
// EXPECT-STDERR: ^goroutine [0-9]+ \[running
// EXPECT-STDERR: ^recurse\(\.\.\.\)
// ENV: MPG_DEBUG=maxstack=1000000
#include <mpg.h>

#include "../support/recurse.h"

static void start(void *arg) {
  mpg_go(overflow, arg);
  mpg_chan_recv(NULL, NULL);
}

int main(void) {
  int x;
  return mpg_run(start, &x);
}

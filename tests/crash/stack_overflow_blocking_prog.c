// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack overflow: goroutine [0-9]+ exceeds the limit
// EXPECT-STDERR: ^goroutine [0-9]+ \[syscall
// EXPECT-STDERR: ^recurse\(\.\.\.\)
// EXPECT-STDERR: ^start\(\.\.\.\)
// ENV: MPG_DEBUG=maxstack=5000
#include <mpg.h>

#include "../support/recurse.h"

static void start(void *arg) {
  mpg_blocking(overflow, arg);
  *(int *) arg = 0;
}

int main(void) {
  int x;
  return mpg_run(start, &x);
}

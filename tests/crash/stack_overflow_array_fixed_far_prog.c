// Far beyond what a fault's address would be taken for the stack's.
// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack overflow: goroutine [0-9]+ exceeds its fixed
// EXPECT-STDERR: ^goroutine [0-9]+ \[running
// EXPECT-STDERR: ^array\(\.\.\.\)
// EXPECT-STDERR: ^overflow\(\.\.\.\)
#include <mpg.h>

#include "../support/array.h"

static void start(void *arg) {
  struct mpg_go_options o = {.size = sizeof(o), .flags = MPG_GO_FIXED_STACK};
  array_bytes = (size_t) 1 << 40;
  mpg_go_with(&o, overflow, arg);
  mpg_chan_recv(NULL, NULL);
}

int main(void) { return mpg_run(start, NULL); }

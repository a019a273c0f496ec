// An array for which SP wraps around: above any guard word.
// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack overflow: goroutine [0-9]+ exceeds the limit
// EXPECT-STDERR: ^goroutine [0-9]+ \[running
// EXPECT-STDERR: ^array\(\.\.\.\)
// EXPECT-STDERR: ^overflow\(\.\.\.\)
#include <mpg.h>

#include "../support/array.h"

static void start(void *arg) {
  struct mpg_go_options o = {.size = sizeof(o), .flags = 0};
  array_bytes = (size_t) 3 << 61;
  mpg_go_with(&o, overflow, arg);
  mpg_chan_recv(NULL, NULL);
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: close of nil channel
// EXPECT-STDERR: ^goroutine 1 \[running\]:
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  mpg_chan_close(NULL);
}

int main(void) { return mpg_run(start, NULL); }

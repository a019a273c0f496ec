// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: close of closed channel
// EXPECT-STDERR: ^goroutine 1 \[running\]:
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 1);
  mpg_chan_close(c);
  mpg_chan_close(c);
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: send on closed channel
// EXPECT-STDERR: ^goroutine 1 \[running\]:
#include <mpg.h>

static void start(void *arg) {
  mpg_chan *c = mpg_chan_new(sizeof(int), 1);
  int x = 1;
  struct mpg_select_case k[2] = {{.dir = MPG_RECV},
                                 {.chan = c, .dir = MPG_SEND, .elem = &x}};
  (void) arg;
  mpg_chan_close(c);
  mpg_select_try(k, 2);
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: send on closed channel
// EXPECT-STDERR: ^goroutine 1 \[running\]:
#include <mpg.h>

static void close_it(void *c) {
  mpg_sleep(2000000);
  mpg_chan_close(c);
}

static void start(void *arg) {
  mpg_chan *c = mpg_chan_new(sizeof(int), 0);
  int x = 1;
  struct mpg_select_case k[2] = {{.chan = c, .dir = MPG_SEND, .elem = &x},
                                 {.dir = MPG_RECV}};
  (void) arg;
  mpg_go(close_it, c);
  mpg_select_until(k, 2, mpg_now() + INT64_C(60000000000));
}

int main(void) { return mpg_run(start, NULL); }

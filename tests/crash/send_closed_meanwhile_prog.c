// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: send on closed channel
#include <mpg.h>

static void send(void *c) {
  int x = 1;
  mpg_chan_send(c, &x); /* waits; then the channel is closed */
}

static void start(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 0);
  mpg_go(send, c);
  mpg_sleep(5000000);
  mpg_chan_close(c);
  mpg_chan_recv(NULL, NULL);
}

int main(void) { return mpg_run(start, NULL); }

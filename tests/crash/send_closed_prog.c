// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: send on closed channel
// EXPECT-STDERR: ^goroutine [0-9]+ \[running\]:
#include <mpg.h>

static void send(void *c) {
  int x = 1;
  mpg_chan_send(c, &x);
}

static void start(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 1);
  mpg_chan_close(c);
  mpg_go(send, c);
  mpg_chan_recv(NULL, NULL);
}

int main(void) { return mpg_run(start, NULL); }

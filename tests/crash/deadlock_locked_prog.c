// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: all goroutines are asleep - deadlock!
#include <mpg.h>

static void wait_bound(void *arg) {
  mpg_lock_thread();
  mpg_chan_recv(arg, NULL);
}

/* Threads that wait for their goroutine are idle, too. */
static void start(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(1, 0);
  for (int i = 0; i < 3; i++) mpg_go(wait_bound, c);
  wait_bound(c);
}

int main(void) { return mpg_run(start, NULL); }

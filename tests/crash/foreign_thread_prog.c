// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: .*thread
#include <mpg.h>
#include <pthread.h>

static mpg_chan *chan;

/* A thread that mpg doesn't know may not wait on a channel. */
static void *receive(void *arg) {
  mpg_chan_recv(chan, NULL);
  return arg;
}

static void start(void *arg) {
  (void) arg;
  pthread_t t;
  chan = mpg_chan_new(sizeof(int), 0);
  if (pthread_create(&t, NULL, receive, NULL) != 0) return;
  for (;;) mpg_sleep(1000000);
}

int main(void) { return mpg_run(start, NULL); }

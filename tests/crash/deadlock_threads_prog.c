// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: all goroutines are asleep - deadlock!
#include <mpg.h>
#include <pthread.h>
#include <unistd.h>

static mpg_chan *chan;

static void *attach_late(void *arg) {
  int x = 1;
  usleep(200000); /* everybody is asleep: I may attach */
  if (mpg_thread_attach() != 0) _exit(3);
  mpg_chan_send(chan, &x);
  usleep(200000); /* I am attached */
  if (mpg_thread_detach() != 0) _exit(3);
  usleep(200000); /* I may attach again */
  return arg;
}

/* Nothing is reported as long as the thread lives. */
static void start(void *arg) {
  int x;
  pthread_t t;
  chan = mpg_chan_new(sizeof(x), 0);
  if (pthread_create(&t, NULL, attach_late, NULL) != 0) return;
  int64_t begin = mpg_now();
  mpg_chan_recv(chan, &x);
  if (mpg_now() - begin < 190000000) _exit(4);
  mpg_chan_recv(chan, &x);
  (void) arg;
}

int main(void) { return mpg_run(start, NULL); }

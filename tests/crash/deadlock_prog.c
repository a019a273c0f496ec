// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: all goroutines are asleep - deadlock!
// EXPECT-STDERR: ^goroutine 1 \[chan receive
// EXPECT-STDERR: ^goroutine [0-9]+ \[chan send
// EXPECT-STDERR: ^goroutine [0-9]+ \[sync\.WaitGroup\.Wait
#include <mpg.h>

static mpg_waitgroup never;

static void send(void *c) {
  int x = 1;
  mpg_chan_send(c, &x);
}

static void wait_for_group(void *arg) {
  (void) arg;
  mpg_waitgroup_wait(&never);
}

static void start(void *arg) {
  (void) arg;
  mpg_waitgroup_add(&never, 1);
  mpg_go(send, mpg_chan_new(sizeof(int), 0));
  mpg_go(wait_for_group, NULL);
  mpg_chan_recv(mpg_chan_new(sizeof(int), 0), NULL);
}

int main(void) { return mpg_run(start, NULL); }

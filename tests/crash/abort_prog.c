// EXPECT-EXIT: signal 6
#include <mpg.h>
#include <stdlib.h>

static void fail(void *arg) {
  (void) arg;
  abort();
}

static void start(void *arg) {
  (void) arg;
  mpg_go(fail, NULL);
  mpg_chan_recv(NULL, NULL);
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: all goroutines are asleep - deadlock!
// EXPECT-STDERR: ^goroutine [0-9]+ \[chan receive.*\]: finalizers
#include <mpg.h>

static mpg_chan *never;
static _Atomic int entered;

static void fn(void *obj, void *arg) {
  (void) obj, (void) arg;
  entered = 1;
  mpg_chan_recv(never, NULL);
}

static __attribute__((noinline)) void make(void) {
  for (int i = 0; i < 50; i++) mpg_finalizer_set(mpg_alloc(32), fn, NULL);
}

/* One that blocks for ever is asleep like everybody. */
static void start(void *arg) {
  (void) arg;
  never = mpg_chan_new(sizeof(int), 0);
  make();
  while (!entered) {
    mpg_gc();
    mpg_sleep(100000);
  }
  mpg_chan_recv(never, NULL);
}

int main(void) { return mpg_run(start, NULL); }

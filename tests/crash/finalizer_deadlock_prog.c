// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: all goroutines are asleep - deadlock!
// EXPECT-STDERR: ^goroutine 1 \[chan receive
// REJECT-STDERR: finalizer wait
#include <mpg.h>

static void fn(void *obj, void *arg) { (void) obj, (void) arg; }

/* Whoever waits to run finalizers is no reason against a deadlock. */
static void start(void *arg) {
  void *p = mpg_alloc(32);
  (void) arg;
  mpg_finalizer_set(p, fn, NULL);
  mpg_gc();
  mpg_chan_recv(mpg_chan_new(sizeof(int), 0), NULL);
  mpg_keep_alive(p);
}

int main(void) { return mpg_run(start, NULL); }

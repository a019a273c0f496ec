// EXPECT-EXIT: 0
// EXPECT-STDERR: ^leak: nobody can wake goroutine [0-9]+
// EXPECT-STDERR: ^goroutine [0-9]+ \[chan receive\]:
// EXPECT-STDERR: ^forgotten\(\.\.\.\)
// ENV: MPG_DEBUG=leak=1
#include <mpg.h>

static void forgotten(void *c) {
  mpg_chan_recv(c, NULL);
  __asm__ volatile("" : : : "memory");
}

static void forgets(void *arg) {
  (void) arg;
  mpg_go(forgotten, mpg_chan_new(0, 0));
}

/* It may not be parked yet, and a stale word may hide it for a while. */
static void start(void *arg) {
  (void) arg;
  mpg_go(forgets, NULL);
  for (int i = 0; i < 100; i++) {
    mpg_sleep(2 * 1000 * 1000);
    mpg_gc();
  }
}

int main(void) { return mpg_run(start, NULL); }

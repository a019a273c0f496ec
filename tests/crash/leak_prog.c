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

static void start(void *arg) {
  (void) arg;
  mpg_go(forgets, NULL);
  mpg_sleep(20 * 1000 * 1000);
  mpg_gc();
  mpg_gc();
}

int main(void) { return mpg_run(start, NULL); }

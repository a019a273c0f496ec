// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: unlock of unlocked mutex
// EXPECT-STDERR: ^goroutine 1 \[running\]:
// EXPECT-STDERR: ^mistake\(\.\.\.\)
// REJECT-STDERR: ^goroutine [02-9]
// ENV: MPG_TRACEBACK=single
#include <mpg.h>

static mpg_mutex m;

static void waits(void *arg) {
  (void) arg;
  mpg_chan_recv(NULL, NULL);
}

static __attribute__((noinline)) void mistake(void) {
  mpg_mutex_unlock(&m);
  __asm__ volatile("" : : : "memory");
}

static void start(void *arg) {
  (void) arg;
  mpg_go(waits, NULL);
  mpg_sleep(1000 * 1000);
  mistake();
}

int main(void) { return mpg_run(start, NULL); }

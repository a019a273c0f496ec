// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: WaitGroup misuse: Add called concurrently with Wait
// EXPECT-STDERR: ^goroutine [0-9]* \[running\]:
#include <mpg.h>

static mpg_waitgroup wg;

static void wait(void *arg) {
  (void) arg;
  mpg_waitgroup_add(&wg, 1);
  mpg_waitgroup_wait(&wg);
}

/* A waiter whose count is zero: only a misuse makes it, here by hand. */
static void start(void *arg) {
  (void) arg;
  mpg_go(wait, NULL);
  mpg_sleep(5000000);
  wg.state -= (uint64_t) 1 << 32;
  mpg_waitgroup_add(&wg, 1);
}

int main(void) { return mpg_run(start, NULL); }

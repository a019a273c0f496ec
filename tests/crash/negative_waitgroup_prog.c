// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: .*negative WaitGroup counter
// EXPECT-STDERR: ^goroutine 1 \[running\]:
#include <mpg.h>

static mpg_waitgroup wg;

static void start(void *arg) {
  (void) arg;
  mpg_waitgroup_add(&wg, 1);
  mpg_waitgroup_done(&wg);
  mpg_waitgroup_done(&wg);
}

int main(void) { return mpg_run(start, NULL); }

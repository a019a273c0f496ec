// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: .*preempt
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  mpg_preempt_disable();
  mpg_preempt_enable();
  mpg_preempt_enable(); /* one too many */
}

int main(void) { return mpg_run(start, NULL); }

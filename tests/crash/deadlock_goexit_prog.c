// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: .*deadlock!
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  mpg_goexit(); /* main is gone, and nobody else is there */
}

int main(void) { return mpg_run(start, NULL); }

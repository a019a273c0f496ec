// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_cleanup operation on something that is not a queue
#include <mpg.h>

static void start(void *arg) {
  struct mpg_cleanup c;
  (void) arg;
  mpg_cleanup_poll(mpg_alloc(32), &c);
}

int main(void) { return mpg_run(start, NULL); }

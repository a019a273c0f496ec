// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_weakmap operation on something that is not a weak map
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  mpg_weakmap_len(mpg_alloc(32));
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: .*free
#include <mpg.h>
#include <stdlib.h>

static void start(void *arg) {
  (void) arg;
  mpg_free(malloc(100));
}

int main(void) { return mpg_run(start, NULL); }

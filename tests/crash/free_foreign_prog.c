// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_free of .*: it is not in the heap
#include <mpg.h>
#include <stdlib.h>

static void start(void *arg) {
  (void) arg;
  mpg_free(malloc(100));
}

int main(void) { return mpg_run(start, NULL); }

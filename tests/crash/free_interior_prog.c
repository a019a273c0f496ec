// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_free of .*: it points into one
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  char *p = mpg_alloc(100);
  mpg_free(p + 16);
}

int main(void) { return mpg_run(start, NULL); }

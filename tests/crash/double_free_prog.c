// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_free of .*: that memory is free; was it freed twice
// EXPECT-STDERR: ^goroutine 1 \[running\]:
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  void *p = mpg_alloc(100), *q = mpg_alloc(100);
  mpg_free(p);
  mpg_free(q);
  mpg_free(p);
}

int main(void) { return mpg_run(start, NULL); }

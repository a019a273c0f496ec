// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_free of .*: that memory is free; was it freed twice
// EXPECT-STDERR: ^goroutine 1 \[running\]:
#include <mpg.h>

/* The first of so many is no more at hand when it is freed again. */
static void start(void *arg) {
  static void *v[5000];
  (void) arg;
  for (int i = 0; i < 5000; i++) v[i] = mpg_alloc(100);
  for (int i = 0; i < 5000; i++) mpg_free(v[i]);
  mpg_free(v[0]);
}

int main(void) { return mpg_run(start, NULL); }

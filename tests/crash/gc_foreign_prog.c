// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_gc on a thread that is not attached
#include <mpg.h>
#include <pthread.h>

/* A thread that mpg doesn't know, beside the runtime. */
static void *collect(void *arg) {
  mpg_gc();
  return arg;
}

static void start(void *arg) {
  (void) arg;
  pthread_t t;
  if (pthread_create(&t, NULL, collect, NULL) != 0) return;
  for (;;) mpg_sleep(1000000);
}

int main(void) { return mpg_run(start, NULL); }

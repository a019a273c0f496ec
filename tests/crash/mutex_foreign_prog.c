// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_mutex_lock on a thread that is not attached
#include <mpg.h>
#include <pthread.h>

static mpg_mutex lock;

/* Nobody holds it: misuse all the same. */
static void *take(void *arg) {
  mpg_mutex_lock(&lock);
  return arg;
}

static void start(void *arg) {
  (void) arg;
  pthread_t t;
  if (pthread_create(&t, NULL, take, NULL) != 0) return;
  for (;;) mpg_sleep(1000000);
}

int main(void) { return mpg_run(start, NULL); }

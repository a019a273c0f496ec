// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: pthread_exit or pthread_cancel in a goroutine$
#include <mpg.h>
#include <pthread.h>

static void leave(void *arg) {
  (void) arg;
  pthread_exit(NULL);
}

static void start(void *arg) {
  (void) arg;
  mpg_blocking(leave, NULL);
}

int main(void) { return mpg_run(start, NULL); }

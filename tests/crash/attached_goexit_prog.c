// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_goexit on a thread that is not a goroutine's
#include <mpg.h>
#include <pthread.h>

static void *leave(void *arg) {
  (void) arg;
  if (mpg_thread_attach() != 0) return NULL;
  mpg_goexit();
}

static void start(void *arg) {
  (void) arg;
  pthread_t t;
  if (pthread_create(&t, NULL, leave, NULL) != 0) return;
  for (;;) mpg_sleep(1000000);
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: pthread_exit or pthread_cancel in a goroutine$
#include <mpg.h>
#include <pthread.h>
#include <unistd.h>

static void start(void *arg) {
  (void) arg;
  pthread_cancel(pthread_self());
  pause();
}

int main(void) { return mpg_run(start, NULL); }

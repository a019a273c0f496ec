// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: all goroutines are asleep - deadlock!
/* Threads that were started before they are needed are nobody who may come to
 * help. */
#include <mpg.h>
#include <time.h>

#define SLEEPERS 200

static mpg_waitgroup awake;

static void sleep_in_kernel(void *arg) {
  struct timespec t = {0, 5000000};
  mpg_syscall_enter();
  nanosleep(&t, NULL);
  mpg_syscall_exit();
  mpg_waitgroup_done(&awake);
  (void) arg;
}

static void start(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  mpg_waitgroup_add(&awake, SLEEPERS + 1);
  for (int i = 0; i < SLEEPERS; i++) mpg_go(sleep_in_kernel, NULL);
  mpg_waitgroup_wait(&awake);
}

int main(void) { return mpg_run(start, NULL); }

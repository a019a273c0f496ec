// EXPECT-EXIT: 7
// EXPECT-STDERR: ^mine$
// REJECT-STDERR: goroutine
// The application's handler for SIGQUIT stays.
#include <mpg.h>
#include <signal.h>
#include <unistd.h>

static void mine(int sig) {
  (void) sig;
  _exit(write(2, "mine\n", 5) == 5 ? 7 : 1);
}

static void start(void *arg) {
  (void) arg;
  kill(getpid(), SIGQUIT);
  for (;;) mpg_sleep(1000 * 1000 * 1000);
}

int main(void) {
  signal(SIGQUIT, mine);
  return mpg_run(start, NULL);
}

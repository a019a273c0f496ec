// EXPECT-EXIT: 2
// EXPECT-STDERR: ^SIGQUIT: quit$
// REJECT-STDERR: goroutine
// ENV: MPG_TRACEBACK=none
#include <mpg.h>
#include <signal.h>
#include <unistd.h>

static void start(void *arg) {
  (void) arg;
  kill(getpid(), SIGQUIT);
  for (;;) mpg_sleep(1000 * 1000 * 1000);
}

int main(void) { return mpg_run(start, NULL); }

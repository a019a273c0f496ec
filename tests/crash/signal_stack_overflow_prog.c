// A handler that takes more than the signal stack has.
// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: signal stack overflow: recurse.* \(.*\) is called by a
// EXPECT-STDERR: 262144 bytes
#include <mpg.h>
#include <signal.h>

#include "../support/recurse.h"

static void handler(int sig) {
  int x = sig;
  overflow(&x);
}

static void start(void *arg) {
  (void) arg;
  signal(SIGUSR1, handler);
  raise(SIGUSR1);
}

int main(void) { return mpg_run(start, NULL); }

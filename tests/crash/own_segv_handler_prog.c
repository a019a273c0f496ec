// EXPECT-EXIT: 9
// EXPECT-STDERR: ^handled
#include <mpg.h>
#include <signal.h>
#include <unistd.h>

/* A handler that the program installed before is called for its faults. */
static void handler(int sig) {
  static const char text[] = "handled\n";
  (void) sig;
  _exit(write(2, text, sizeof(text) - 1) > 0 ? 9 : 1);
}

static int *volatile nowhere;

static void start(void *arg) {
  (void) arg;
  *nowhere = 1;
}

int main(void) {
  struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
  sigaction(SIGSEGV, &sa, NULL);
  return mpg_run(start, NULL);
}

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: longjmp out of a signal handler that interrupted the runtime
// EXPECT-STDERR: ^goroutine 1 \[running\]:
// EXPECT-STDERR: ^start\(
/* mpg_gc_stats_read is given an address that isn't one. */
#include <mpg.h>
#include <setjmp.h>
#include <signal.h>

static sigjmp_buf env;

static void handler(int sig) { siglongjmp(env, sig); }

static void start(void *arg) {
  if (sigsetjmp(env, 1) == 0) mpg_gc_stats_read(arg);
}

int main(void) {
  struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
  sigaction(SIGSEGV, &sa, NULL);
  return mpg_run(start, (void *) 16);
}

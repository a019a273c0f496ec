// EXPECT-EXIT: 0
// EXPECT-STDERR: ^SCHED [0-9]+ms: gomaxprocs=2 idleprocs=[0-9]+ threads=[0-9]+ spinningthreads=[0-9]+ idlethreads=[0-9]+ runqueue=[0-9]+ \[[0-9]+ [0-9]+\]
// ENV: MPG_DEBUG=schedtrace=10
// ENV: MPG_PROCS=2
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  for (int i = 0; i < 10; i++) mpg_sleep(10000000);
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 0
// EXPECT-STDERR: MPG_PROCS.*-3
// EXPECT-STDERR: MPG_GC.*often
// EXPECT-STDERR: MPG_MEMLIMIT.*12Q
// EXPECT-STDERR: MPG_TRACEBACK.*loud
// ENV: MPG_PROCS=-3
// ENV: MPG_GC=often
// ENV: MPG_MEMLIMIT=12Q
// ENV: MPG_TRACEBACK=loud
#include <mpg.h>

/* The defaults hold. */
static void start(void *arg) {
  int *ok = arg;
  *ok = mpg_gomaxprocs(0) >= 1 && mpg_gc_percent(100) == 100 &&
        mpg_memory_limit(-1) == INT64_MAX;
}

int main(void) {
  int ok = 0;
  return mpg_run(start, &ok) == 0 && ok ? 0 : 1;
}

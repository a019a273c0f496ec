// EXPECT-EXIT: 0
// EXPECT-STDERR: -3.*MPG_PROCS
// EXPECT-STDERR: often.*MPG_GC
// EXPECT-STDERR: 12Q.*MPG_MEMLIMIT
// EXPECT-STDERR: loud.*MPG_TRACEBACK
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

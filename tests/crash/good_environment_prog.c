// EXPECT-EXIT: 0
// REJECT-STDERR: .
// ENV: MPG_PROCS=3
// ENV: MPG_GC=250
// ENV: MPG_MEMLIMIT=512MiB
#include <mpg.h>

static void start(void *arg) {
  int *ok = arg;
  *ok = mpg_gomaxprocs(0) == 3 && mpg_gc_percent(100) == 250 &&
        mpg_memory_limit(-1) == (int64_t) 512 << 20;
}

int main(void) {
  int ok = 0;
  return mpg_run(start, &ok) == 0 && ok ? 0 : 1;
}

// EXPECT-EXIT: 0
// REJECT-STDERR: .
// ENV: MPG_GC=off
// ENV: MPG_DEBUG=gcstress=0
#include <mpg.h>

static void start(void *arg) {
  struct mpg_gc_stats s = {.size = sizeof(s)};
  for (int i = 0; i < 200000; i++)
    if (!mpg_alloc(500)) return;
  *(int *) arg = mpg_gc_stats_read(&s) == 0 && s.cycles == 0;
}

int main(void) {
  int ok = 0;
  return mpg_run(start, &ok) == 0 && ok ? 0 : 1;
}

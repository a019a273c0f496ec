// EXPECT-EXIT: 0
// EXPECT-STDERR: ^gc 1 @[0-9]+\.[0-9]+s [0-9]+%: [0-9.]+\+[0-9.]+\+[0-9.]+ ms clock, .* ms cpu, [0-9]+->[0-9]+->[0-9]+ MB, [0-9]+ MB goal, .*2 P
// EXPECT-STDERR: ^gc 2 @.*\(forced\)
// EXPECT-STDERR: ^gc 3 @
// ENV: MPG_DEBUG=gctrace=1
// ENV: MPG_PROCS=2
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  for (int i = 0; i < 5; i++) mpg_gc();
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 0
// EXPECT-STDERR: MPG_DEBUG.*nonsense
// EXPECT-STDERR: MPG_DEBUG.*gctrace=7
// EXPECT-STDERR: MPG_DEBUG.*gcstress=x
// EXPECT-STDERR: MPG_DEBUG.*gcverify=-1
// REJECT-STDERR: clobberfree
// ENV: MPG_DEBUG=nonsense=1,gctrace=7,clobberfree=1,gcstress=x,gcverify=-1,,
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  mpg_gc();
}

int main(void) { return mpg_run(start, NULL); }

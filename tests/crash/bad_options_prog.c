// EXPECT-EXIT: 0
// EXPECT-STDERR: nonsense.*MPG_DEBUG
// EXPECT-STDERR: '7' of gctrace in MPG_DEBUG
// EXPECT-STDERR: 'x' of gcstress in MPG_DEBUG
// EXPECT-STDERR: '-1' of gcverify in MPG_DEBUG
// REJECT-STDERR: clobberfree
// ENV: MPG_DEBUG=nonsense=1,gctrace=7,clobberfree=1,gcstress=x,gcverify=-1,,
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  mpg_gc();
}

int main(void) { return mpg_run(start, NULL); }

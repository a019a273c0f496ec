// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack guard: goroutine [0-9]+ ran off a stack segment of [0-9]+ bytes in descend
// EXPECT-STDERR: ^goroutine [0-9]+ \[running\]:
// ENV: MPG_DEBUG=stackguard=1
/* Foreign code, called by name, that wants more than there is.  (Without
 * stackguard the same is said where the kernel has guard regions that cost no
 * mappings.) */
#include <mpg.h>
#include <stdlib.h>

static volatile int never_enough = 1;

static __attribute__((noinline, no_split_stack)) int descend(int depth) {
  volatile char frame[1000];
  frame[depth % 1000] = 1;
  return never_enough ? descend(depth + 1) + frame[depth % 1000] : 0;
}

static __attribute__((no_split_stack)) int compare(const void *a,
                                                   const void *b) {
  return a == b ? 0 : descend(0);
}

static void start(void *arg) {
  int v[2] = {2, 1};
  (void) arg;
  qsort(v, 2, sizeof(v[0]), compare);
}

int main(void) { return mpg_run(start, NULL); }

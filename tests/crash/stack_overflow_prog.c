// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack overflow
// EXPECT-STDERR: ^goroutine [0-9]+ \[running
// EXPECT-STDERR: ^recurse\(\.\.\.\)
// ENV: MPG_DEBUG=maxstack=1000000
#include <mpg.h>

static volatile int never_enough = 1;

static __attribute__((noinline)) int recurse(int depth) {
  volatile char frame[100];
  frame[depth % 100] = 1;
  return never_enough ? recurse(depth + 1) + frame[depth % 100] : 0;
}

static void overflow(void *arg) { *(int *) arg = recurse(0); }

static void start(void *arg) {
  mpg_go(overflow, arg);
  mpg_chan_recv(NULL, NULL);
}

int main(void) {
  int x;
  return mpg_run(start, &x);
}

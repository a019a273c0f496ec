// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack overflow: goroutine [0-9]+ exceeds the limit
// EXPECT-STDERR: ^goroutine [0-9]+ \[syscall
// EXPECT-STDERR: ^recurse\(\.\.\.\)
// EXPECT-STDERR: ^start\(\.\.\.\)
// ENV: MPG_DEBUG=maxstack=5000
#include <mpg.h>

static volatile int never_enough = 1;

static __attribute__((noinline)) int recurse(int depth) {
  volatile char frame[100];
  frame[depth % 100] = 1;
  return never_enough ? recurse(depth + 1) + frame[depth % 100] : 0;
}

static void overflow(void *arg) { *(int *) arg = recurse(0); }

static void start(void *arg) {
  mpg_blocking(overflow, arg);
  *(int *) arg = 0;
}

int main(void) {
  int x;
  return mpg_run(start, &x);
}

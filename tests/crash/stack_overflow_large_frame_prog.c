// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack overflow
// ENV: MPG_DEBUG=maxstack=1000000
#include <mpg.h>
#include <string.h>

static __attribute__((noinline)) char use(volatile char *p) { return *p; }

static void start(void *arg) {
  volatile char frame[5000000]; /* in one step beyond the limit */
  memset((char *) frame, 1, sizeof(frame));
  *(char *) arg = use(frame);
}

int main(void) {
  char c;
  return mpg_run(start, &c);
}

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack overflow: goroutine [0-9]+ exceeds the limit
// EXPECT-STDERR: ^goroutine [0-9]+ \[running
// EXPECT-STDERR: ^collect\(\.\.\.\)
// EXPECT-STDERR: ^caller\(\.\.\.\)
// REJECT-STDERR: ^\?\(
// ENV: MPG_DEBUG=maxstack=1000000
#include <alloca.h>
#include <mpg.h>

static volatile int never_enough = 1;

static __attribute__((noinline)) int collect(void) {
  int sum = 0;
  while (never_enough) {
    volatile char *memory = alloca(10000);
    memory[0] = 1;
    sum += memory[0];
  }
  return sum;
}

static __attribute__((noinline)) int caller(void) { return collect() + 1; }

static void overflow(void *arg) { *(int *) arg = caller(); }

static void start(void *arg) {
  mpg_go(overflow, arg);
  mpg_chan_recv(NULL, NULL);
}

int main(void) {
  int x;
  return mpg_run(start, &x);
}

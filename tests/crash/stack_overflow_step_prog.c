// An alloca that steps over the guard region.
// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack overflow: goroutine [0-9]+ exceeds its fixed
// EXPECT-STDERR: ^step\(\.\.\.\)
// EXPECT-STDERR: ^overflow\(\.\.\.\)
#include <alloca.h>
#include <mpg.h>

static volatile int bytes = 60000000; /* far below, nobody is */

static __attribute__((noinline)) int step(void) {
  volatile char *memory = alloca(bytes);
  memory[0] = 1;
  return memory[0] + memory[bytes - 1];
}

static void overflow(void *arg) { *(int *) arg = step(); }

static void start(void *arg) {
  struct mpg_go_options o = {.size = sizeof(o),
                             .flags = MPG_GO_FIXED_STACK,
                             .stack_bytes = 300000}; /* not in a slab */
  mpg_go_with(&o, overflow, arg);
  mpg_chan_recv(NULL, NULL);
}

int main(void) {
  int x;
  return mpg_run(start, &x);
}

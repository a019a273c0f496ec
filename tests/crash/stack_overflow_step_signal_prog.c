// A frame that steps over the guard region to the one of the thread's signal
// stack: no handler runs, so it is the goroutine that overflowed.
// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack overflow: goroutine [0-9]+ exceeds its fixed
// EXPECT-STDERR: ^try\(\.\.\.\)
#include <mpg.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

#include "../support/step.h"

#define STACK_BYTES (400 << 10)
#define FAR_BYTES (48 << 20)
#define TRIES 32

static struct mpg_chan *turn, *next;

/* Each has a thread for ever.  Their stacks are mapped first, so that signal
 * stacks of threads that begin later lie below. */
static void try(void *arg) {
  char here;
  stack_t own;
  mpg_chan_send(next, NULL);
  mpg_chan_recv(turn, NULL);
  mpg_lock_thread();
  if (sigaltstack(NULL, &own)) exit(3);
  size_t bytes = (size_t) &here - (uintptr_t) own.ss_sp + 64;
  if (bytes > STACK_BYTES && bytes < FAR_BYTES) step(bytes);
  mpg_chan_send(next, NULL);
  mpg_chan_recv(NULL, NULL);
  (void) arg;
}

static void start(void *arg) {
  struct mpg_go_options o = {.size = sizeof(o),
                             .flags = MPG_GO_FIXED_STACK,
                             .stack_bytes = STACK_BYTES};
  turn = mpg_chan_new(0, 0);
  next = mpg_chan_new(0, 0);
  for (int i = 0; i < TRIES; i++) mpg_go_with(&o, try, NULL);
  for (int i = 0; i < TRIES; i++) mpg_chan_recv(next, NULL);
  for (int i = 0; i < TRIES; i++) {
    mpg_chan_send(turn, NULL);
    mpg_chan_recv(next, NULL);
  }
  exit(4); /* no stack lay above its thread's */
  (void) arg;
}

int main(void) { return mpg_run(start, NULL); }

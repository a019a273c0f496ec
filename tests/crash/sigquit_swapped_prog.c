// EXPECT-EXIT: 2
// EXPECT-STDERR: ^SIGQUIT: quit$
// EXPECT-STDERR: ^goroutine [0-9]+ \[chan receive\]: swapped out$
// EXPECT-STDERR: ^waits_for_ever\(\.\.\.\)
// EXPECT-STDERR: ^is_movable\(\.\.\.\)
// EXPECT-STDERR: ^leaves_by_a_jump\(\.\.\.\)
// REJECT-STDERR: additional frames elided
/* A stack that is in its image, and one without a frame of its own. */
#include <mpg.h>
#include <signal.h>
#include <unistd.h>

__attribute__((noinline)) static void waits_for_ever(mpg_chan *c) {
  mpg_chan_recv(c, NULL);
  __asm__ volatile("" : : "r"(c));
}

static void is_movable(void *arg) {
  waits_for_ever(arg);
  __asm__ volatile("" : : "r"(arg));
}

static void leaves_by_a_jump(void *arg) {
  (void) arg;
  mpg_sleep(1000 * 1000 * 1000);
}

static void start(void *arg) {
  (void) arg;
  struct mpg_go_options opt = {
      .size = sizeof opt, .flags = MPG_GO_MOVABLE, .name = "swapped out"};
  mpg_go_with(&opt, is_movable, mpg_chan_new(0, 0));
  mpg_go(leaves_by_a_jump, NULL);
  mpg_sleep(1000 * 1000);
  for (int i = 0; i < 3; i++) mpg_gc();
  struct mpg_stack_stats st = {.size = sizeof st};
  if (mpg_stack_stats_read(&st) != 0 || st.swapped_out == 0) _exit(9);
  kill(getpid(), SIGQUIT);
  for (;;) mpg_sleep(1000 * 1000 * 1000);
}

int main(void) { return mpg_run(start, NULL); }

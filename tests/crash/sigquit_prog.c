// EXPECT-EXIT: 2
// EXPECT-STDERR: ^SIGQUIT: quit$
// EXPECT-STDERR: ^goroutine 1 \[sleep\]:
// EXPECT-STDERR: ^goroutine [0-9]+ \[running\]:
// EXPECT-STDERR: ^goroutine [0-9]+ \[syscall\]:
// EXPECT-STDERR: ^goroutine [0-9]+ \[chan receive\]:
// EXPECT-STDERR: ^loops_for_ever\(\.\.\.\)
// EXPECT-STDERR: ^waits_for_ever\(\.\.\.\)
// EXPECT-STDERR: ^blocks_for_ever\(\.\.\.\)
// EXPECT-STDERR: ^created by start in goroutine 1
#include <mpg.h>
#include <signal.h>
#include <unistd.h>

static _Atomic int there;

static void loops_for_ever(void *arg) {
  volatile long n = 0;
  (void) arg;
  there++;
  for (;;) n++;
}

static void waits_for_ever(void *arg) {
  mpg_chan *c = arg;
  there++;
  mpg_chan_recv(c, NULL);
  __asm__ volatile("" : : "r"(c));
}

static void blocks_for_ever(void *arg) {
  (void) arg;
  there++;
  mpg_syscall_enter();
  for (;;) pause();
}

static void start(void *arg) {
  mpg_go(loops_for_ever, NULL);
  mpg_go(waits_for_ever, mpg_chan_new(0, 0));
  mpg_go(blocks_for_ever, arg);
  while (there < 3) mpg_sleep(1000 * 1000);
  mpg_sleep(1000 * 1000);
  kill(getpid(), SIGQUIT);
  for (;;) mpg_sleep(1000 * 1000 * 1000);
}

int main(void) {
  mpg_gomaxprocs(3);
  return mpg_run(start, NULL);
}

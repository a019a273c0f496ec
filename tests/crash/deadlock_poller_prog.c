// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: all goroutines are asleep - deadlock!
/* A thread that sleeps for a timer which was stopped since, or for a descriptor
 * that was closed, is nobody who helps. */
#include <mpg.h>
#include <stddef.h>
#include <unistd.h>

static void nothing(void *arg) { (void) arg; }

static void read_it(void *arg) {
  char c;
  mpg_read(*(int *) arg, &c, 1);
}

static void start(void *arg) {
  int fd[2];
  (void) arg;
  mpg_gomaxprocs(4);
  mpg_timer *t = mpg_timer_start(INT64_C(3600) * 1000000000, 0, nothing, NULL);
  if (pipe(fd) != 0 || mpg_go(read_it, &fd[0]) != 0) return;
  /* The other threads have nothing to do: one of them sleeps for these. */
  for (int64_t until = mpg_now() + 50000000; mpg_now() < until;) mpg_yield();
  mpg_timer_stop(t);
  mpg_close(fd[0]);
  mpg_chan_recv(NULL, NULL);
}

int main(void) { return mpg_run(start, NULL); }

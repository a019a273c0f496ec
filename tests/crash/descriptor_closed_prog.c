// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: a descriptor of mpg's was closed: epoll says -(9|22)
/* The next who must wait for a descriptor ends the program.  -22: at that
 * moment sysmon reads a thread's state, by a descriptor that has got the
 * number. */
#include <mpg.h>
#include <stdlib.h>
#include <unistd.h>

static void start(void *arg) {
  int fd[2];
  char c;
  (void) arg;
  if (pipe(fd) != 0) abort();
  mpg_wait_fd(fd[0], 1, mpg_now() + 1000000);
  for (int n = 3; n < 1024; n++)
    if (n != fd[0] && n != fd[1]) close(n);
  mpg_read(fd[0], &c, 1);
}

int main(void) { return mpg_run(start, NULL); }

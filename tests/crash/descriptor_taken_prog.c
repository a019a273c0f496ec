// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: a descriptor of mpg's was closed: epoll says -[0-9]
/* Everybody waits, in epoll_wait or about to, when another thread takes the
 * numbers and then wants somebody to look again. */
#include <mpg.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static int fd[2];

static void *take(void *arg) {
  if (mpg_thread_attach() != 0) abort();
  mpg_sleep(10000000);
  for (int n = 3; n < 64; n++)
    if (n != fd[0] && n != fd[1] && dup2(2, n) != n) abort();
  mpg_sleep(1000000);
  return arg;
}

static void start(void *arg) {
  pthread_t thread;
  char c;
  (void) arg;
  if (pipe(fd) != 0 || pthread_create(&thread, NULL, take, NULL) != 0) abort();
  mpg_read(fd[0], &c, 1);
}

int main(void) { return mpg_run(start, NULL); }

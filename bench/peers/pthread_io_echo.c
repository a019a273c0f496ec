/* pthread_io_echo.c - an echo server with a kernel thread a connection. */
#define _GNU_SOURCE
#include "../serve.h"

static void serve(void *arg) {
  int fd = (int) (intptr_t) arg;
  char buf[SERVE_BUFFER_BYTES];
  ssize_t n;
  do n = recv(fd, buf, sizeof buf, 0);
  while (n > 0 && send(fd, buf, (size_t) n, MSG_NOSIGNAL) == n);
  close(fd);
}

static void echo_work(void) {
  int listener = serve_listen();
  serve_start_loops();
  for (;;) thread_start(serve, (void *) (intptr_t) serve_accept(listener));
}

static const struct work works[] = {{"echo", echo_work}};

WORK_MAIN(works)

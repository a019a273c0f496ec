/* epoll_io_echo.c - the floor of the echo servers: one thread around epoll
 * that answers each message at once.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>

#include "../serve.h"

static int poll_fd;

static void watch(int fd) {
  struct epoll_event e = {EPOLLIN, {.fd = fd}};
  if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e) != 0) work_fail("no epoll");
}

static void serve(int fd) {
  char buf[SERVE_BUFFER_BYTES];
  ssize_t n = recv(fd, buf, sizeof buf, 0);
  if (n <= 0 || send(fd, buf, (size_t) n, MSG_NOSIGNAL) != n) close(fd);
}

static void serve_ready(int listener) {
  struct epoll_event events[128];
  int n = epoll_wait(poll_fd, events, 128, -1);
  for (int i = 0; i < n; i++) {
    if (events[i].data.fd == listener)
      watch(serve_accept(listener));
    else
      serve(events[i].data.fd);
  }
}

static void echo_work(void) {
  int listener = serve_listen();
  poll_fd = epoll_create1(EPOLL_CLOEXEC);
  watch(listener);
  serve_start_loops();
  for (;;) serve_ready(listener);
}

static const struct work works[] = {{"echo", echo_work}};

WORK_MAIN(works)

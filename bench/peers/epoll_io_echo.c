/* epoll_io_echo.c - the floor of the echo servers: a thread for each P around
 * an epoll of its own that answers each message at once.  Connections are dealt
 * out in turn and stay where they are.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/epoll.h>

#include "../serve.h"

#define POLLERS_MAX 64
static int poll_fd[POLLERS_MAX], pollers, listener;

static void watch(int poll, int fd) {
  struct epoll_event e = {EPOLLIN, {.fd = fd}};
  if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) != 0) work_fail("no epoll");
}

static void welcome(void) {
  static int turn;
  watch(poll_fd[turn++ % pollers], serve_accept(listener));
}

static void serve(int fd) {
  char buf[SERVE_BUFFER_BYTES];
  ssize_t n = recv(fd, buf, sizeof buf, 0);
  if (n <= 0 || send(fd, buf, (size_t) n, MSG_NOSIGNAL) != n) close(fd);
}

static void *serve_ready(void *arg) {
  struct epoll_event events[128];
  int poll = *(const int *) arg;
  for (;;) {
    int n = epoll_wait(poll, events, 128, -1);
    for (int i = 0; i < n; i++) {
      if (events[i].data.fd == listener)
        welcome();
      else
        serve(events[i].data.fd);
    }
  }
  return NULL;
}

static void start_poller(int i) {
  pthread_t thread;
  if ((poll_fd[i] = epoll_create1(EPOLL_CLOEXEC)) < 0) work_fail("no epoll");
  if (i > 0 && pthread_create(&thread, NULL, serve_ready, &poll_fd[i]) != 0)
    work_fail("no thread");
}

static void echo_work(void) {
  listener = serve_listen();
  pollers = (int) work_arg("procs", 1);
  if (pollers < 1 || pollers > POLLERS_MAX) work_fail("procs=1 to 64");
  for (int i = 0; i < pollers; i++) start_poller(i);
  watch(poll_fd[0], listener);
  serve_start_loops();
  serve_ready(&poll_fd[0]);
}

static const struct work works[] = {{"echo", echo_work}};

WORK_MAIN(works)

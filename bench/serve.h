/* serve.h - what the servers among the peers share: a port to listen on, loops
 * that hog.
 *
 * A server prints "listening on 127.0.0.1:PORT" and serves until a signal ends
 * it, as examples/server.h does.
 */
#ifndef BENCH_SERVE_H
#define BENCH_SERVE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "threads.h"
#include "work.h"

#define SERVE_BACKLOG 4096
#define SERVE_BUFFER_BYTES 4096

/* A socket that listens on a free port of this machine, which is printed. */
static int serve_listen(void) {
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t bytes = sizeof a;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *) &a, sizeof a) != 0 ||
      listen(fd, SERVE_BACKLOG) != 0 ||
      getsockname(fd, (struct sockaddr *) &a, &bytes) != 0)
    work_fail("can't listen");
  printf("listening on 127.0.0.1:%d\n", ntohs(a.sin_port));
  fflush(stdout);
  return fd;
}

/* The next connection, which sends every message at once. */
static int serve_accept(int listener) {
  int one = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) work_fail("accept failed");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

static void serve_start_loops(void) {
  for (long i = work_arg("loops", 0); i > 0; i--)
    thread_start(thread_loop, NULL);
}

#endif /* BENCH_SERVE_H */

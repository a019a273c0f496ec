/* listener.h - a socket of the test's on loopback, at a port of its own. */
#ifndef TESTS_SUPPORT_LISTENER_H
#define TESTS_SUPPORT_LISTENER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "check.h"

static struct sockaddr_in at;
static int listener;

static inline void open_listener(int backlog) {
  socklen_t len = sizeof(at);
  at = (struct sockaddr_in){.sin_family = AF_INET};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_EQ(bind(listener, (struct sockaddr *) &at, sizeof(at)), 0);
  CHECK_EQ(listen(listener, backlog), 0);
  CHECK_EQ(getsockname(listener, (struct sockaddr *) &at, &len), 0);
}

#endif /* TESTS_SUPPORT_LISTENER_H */

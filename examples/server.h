/* server.h - what the example servers share: a listening socket on the
 * loopback interface, a goroutine for each connection, and an end on SIGINT or
 * SIGTERM.
 *
 * Signals come to the thread that called mpg_run; the handler writes to an
 * eventfd, from which the main goroutine reads.
 */
#ifndef EXAMPLES_SERVER_H
#define EXAMPLES_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mpg.h>

struct server {
  const char *name;
  void (*connection)(int fd); /* a goroutine's work; fd is closed after it */
  void (*start)(void);        /* before connections are accepted, or NULL */
  long port, procs, seconds;  /* options; 0: any, the default, for ever */
  bool quiet;
  const char *trace; /* a file, or NULL */
  /* private */
  int listener;
  int error; /* of accept */
  _Atomic uint64_t accepted, open, requests, bytes;
  mpg_waitgroup acceptor;
};

/* Rows of the table of options. */
#define SERVER_PORT(s) \
  { "port", CLI_NUMBER, &(s).port, 0, 65535, SERVER_PORT_HELP }
#define SERVER_PROCS(s) \
  { "procs", CLI_NUMBER, &(s).procs, 0, 1024, SERVER_PROCS_HELP }
#define SERVER_SECONDS(s) \
  { "seconds", CLI_NUMBER, &(s).seconds, 0, 1000000, SERVER_SECONDS_HELP }
#define SERVER_QUIET(s) \
  { "quiet", CLI_FLAG, &(s).quiet, 0, 0, "print nothing but the address" }
#define SERVER_TRACE(s) \
  { "trace", CLI_WORD, &(s).trace, 0, 0, "write what every P did to this file" }
#define SERVER_PORT_HELP "on 127.0.0.1; 0: any that is free, printed"
#define SERVER_PROCS_HELP "goroutines that run at the same time; 0: CPUs"
#define SERVER_SECONDS_HELP "end after so many; 0: on SIGINT or SIGTERM"

static struct server *server_running;
static int server_signal_fd = -1;

static void server_on_signal(int sig) {
  uint64_t one = 1;
  (void) sig;
  if (write(server_signal_fd, &one, sizeof(one)) < 0) _exit(1);
}

static void server_connection(void *arg) {
  struct server *s = server_running;
  int fd = (int) (intptr_t) arg, one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  s->connection(fd);
  mpg_close(fd);
  atomic_fetch_sub(&s->open, 1);
}

static void server_accept(void *arg) {
  struct server *s = arg;
  int fd;
  for (;;) {
    fd = mpg_accept(s->listener, NULL, NULL);
    if (fd == -EMFILE || fd == -ENFILE) { /* until somebody leaves */
      mpg_sleep(10 * 1000 * 1000);
      continue;
    }
    if (fd < 0) break;
    atomic_fetch_add(&s->accepted, 1);
    atomic_fetch_add(&s->open, 1);
    if (mpg_go(server_connection, (void *) (intptr_t) fd) != 0) {
      mpg_close(fd);
      atomic_fetch_sub(&s->open, 1);
    }
  }
  s->error = fd;
  mpg_waitgroup_done(&s->acceptor);
}

/* 0, or the exit status after a message. */
static int server_listen(struct server *s) {
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t) s->port)};
  socklen_t len = sizeof(at);
  int one = 1;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s->listener < 0 ||
      setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
      bind(s->listener, (struct sockaddr *) &at, sizeof(at)) ||
      listen(s->listener, 4096) ||
      getsockname(s->listener, (struct sockaddr *) &at, &len)) {
    fprintf(stderr, "%s: port %ld: %s\n", s->name, s->port, strerror(errno));
    return 1;
  }
  printf("%s: listening on 127.0.0.1:%d\n", s->name, ntohs(at.sin_port));
  fflush(stdout);
  return 0;
}

static void server_main(void *arg) {
  struct server *s = arg;
  if (s->procs) mpg_gomaxprocs((int) s->procs);
  if (s->start) s->start();
  mpg_waitgroup_add(&s->acceptor, 1);
  if (mpg_go(server_accept, s) != 0) return;
  int64_t deadline = s->seconds ? mpg_now() + s->seconds * 1000000000 : -1;
  mpg_wait_fd(server_signal_fd, POLLIN, deadline);
  mpg_close(s->listener);
  mpg_waitgroup_wait(&s->acceptor);
  if (s->error != -ECANCELED && s->error != -EBADF)
    fprintf(stderr, "%s: accept: %s\n", s->name, strerror(-s->error));
  /* Whoever is still connected is cut off when this returns. */
  if (s->quiet) return;
  printf("%s: %llu connections, %llu still open, %llu requests, %llu bytes\n",
         s->name, (unsigned long long) atomic_load(&s->accepted),
         (unsigned long long) atomic_load(&s->open),
         (unsigned long long) atomic_load(&s->requests),
         (unsigned long long) atomic_load(&s->bytes));
}

/* As many descriptors as may be. */
static void server_raise_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static int server_failed(const struct server *s, const char *what, int err) {
  fprintf(stderr, "%s: %s: %s\n", s->name, what, strerror(-err));
  return 1;
}

/* Run it, traced if that is wanted.  Returns: exit status. */
static int server_go(struct server *s) {
  int err = s->trace ? mpg_trace_start(s->trace) : 0;
  if (err) return server_failed(s, s->trace, err);
  err = mpg_run(server_main, s);
  int status = err ? server_failed(s, "mpg_run", err) : 0;
  err = s->trace ? mpg_trace_stop() : 0;
  return err ? server_failed(s, s->trace, err) : status;
}

/* Run it.  Returns: exit status. */
static int server_run(struct server *s) {
  struct sigaction act = {.sa_handler = server_on_signal,
                          .sa_flags = SA_RESTART};
  server_running = s;
  server_raise_limit();
  server_signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (server_signal_fd < 0) {
    perror("eventfd");
    return 1;
  }
  sigaction(SIGINT, &act, NULL);
  sigaction(SIGTERM, &act, NULL);
  int status = server_listen(s);
  return status ? status : server_go(s);
}

#endif /* EXAMPLES_SERVER_H */

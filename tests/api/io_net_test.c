/* io_net_test.c - accepting and connecting on 127.0.0.1 and local sockets;
 * many idle connections. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../support/check.h"

#define MS INT64_C(1000000)

static mpg_waitgroup done;

static int tcp(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_GE(fd, 0);
  return fd;
}

/* A listening socket; *at is where. */
static int listen_tcp(struct sockaddr_in *at, int backlog) {
  socklen_t len = sizeof(*at);
  int fd = tcp();
  *at = (struct sockaddr_in){.sin_family = AF_INET};
  at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK_EQ(bind(fd, (struct sockaddr *) at, sizeof(*at)), 0);
  CHECK_EQ(listen(fd, backlog), 0);
  CHECK_EQ(getsockname(fd, (struct sockaddr *) at, &len), 0);
  return fd;
}

static int connect_tcp(const struct sockaddr_in *at) {
  int fd = tcp();
  CHECK_EQ(mpg_connect(fd, (const struct sockaddr *) at, sizeof(*at)), 0);
  return fd;
}

/* ---- one connection ---- */

static void echo(void *arg) {
  int fd = (int) (intptr_t) arg;
  char buf[1024];
  for (ssize_t n; (n = mpg_read(fd, buf, sizeof(buf))) > 0;)
    CHECK_EQ(mpg_write(fd, buf, (size_t) n), n);
  CHECK_EQ(mpg_close(fd), 0);
  mpg_waitgroup_done(&done);
}

static void serve(void *arg) {
  int listener = *(int *) arg, fd;
  while ((fd = mpg_accept(listener, NULL, NULL)) >= 0) {
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(echo, (void *) (intptr_t) fd);
  }
  CHECK_EQ(fd, -ECANCELED);
  mpg_waitgroup_done(&done);
}

static void say(int fd, const char *what) {
  char buf[100];
  size_t n = strlen(what), got = 0;
  CHECK_EQ(mpg_write(fd, what, n), n);
  while (got < n) {
    ssize_t r = mpg_read(fd, buf + got, n - got);
    CHECK_GT(r, 0);
    got += (size_t) r;
  }
  CHECK(memcmp(buf, what, n) == 0);
}

static void clients_are_served(void *arg) {
  (void) arg;
  struct sockaddr_in at;
  int listener = listen_tcp(&at, 10);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(serve, &listener);
  int fd[50];
  for (int i = 0; i < 50; i++) {
    fd[i] = connect_tcp(&at);
    say(fd[i], "hello");
  }
  for (int i = 0; i < 50; i++) {
    say(fd[i], "good-bye");
    CHECK_EQ(mpg_close(fd[i]), 0);
  }
  CHECK_EQ(mpg_close(listener), 0);
  mpg_waitgroup_wait(&done);
}

static void accept_tells_who(void *arg) {
  (void) arg;
  struct sockaddr_in at, peer, mine;
  socklen_t len = sizeof(peer), my_len = sizeof(mine);
  int listener = listen_tcp(&at, 10), fd = connect_tcp(&at);
  int there = mpg_accept(listener, (struct sockaddr *) &peer, &len);
  CHECK_GE(there, 0);
  CHECK_EQ(len, sizeof(peer));
  CHECK_EQ(getsockname(fd, (struct sockaddr *) &mine, &my_len), 0);
  CHECK_EQ(peer.sin_port, mine.sin_port);
  CHECK_EQ(peer.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
  CHECK(fcntl(there, F_GETFL) & O_NONBLOCK);
  CHECK(fcntl(there, F_GETFD) & FD_CLOEXEC);
  CHECK(fcntl(listener, F_GETFL) & O_NONBLOCK);
  CHECK_EQ(mpg_close(there), 0);
  CHECK_EQ(mpg_close(fd), 0);
  CHECK_EQ(mpg_close(listener), 0);
}

/* ---- errors ---- */

static void nobody_listens(void *arg) {
  (void) arg;
  struct sockaddr_in at;
  CHECK_EQ(mpg_close(listen_tcp(&at, 10)), 0);
  for (int i = 0; i < 10; i++) {
    int fd = tcp();
    CHECK_EQ(mpg_connect(fd, (struct sockaddr *) &at, sizeof(at)),
             -ECONNREFUSED);
    CHECK_EQ(mpg_close(fd), 0);
  }
}

static void misuse_is_refused(void *arg) {
  (void) arg;
  struct sockaddr_in at;
  struct sockaddr unknown = {.sa_family = 999};
  int listener = listen_tcp(&at, 10), fd = connect_tcp(&at), p[2];
  struct sockaddr *to = (struct sockaddr *) &at;
  CHECK_EQ(mpg_connect(fd, to, sizeof(at)), -EISCONN);
  CHECK_EQ(mpg_accept(fd, NULL, NULL), -EINVAL);
  CHECK_EQ(mpg_close(fd), 0);
  fd = tcp();
  CHECK_EQ(mpg_connect(fd, &unknown, sizeof(unknown)), -EAFNOSUPPORT);
  CHECK_EQ(mpg_connect(fd, to, 3), -EINVAL);
  CHECK_EQ(mpg_connect(fd, (void *) 8, sizeof(at)), -EFAULT);
  char c = 0;
  CHECK_EQ(mpg_read(fd, &c, 1), -ENOTCONN);
  CHECK_EQ(mpg_close(fd), 0);
  CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
  CHECK_EQ(mpg_accept(p[0], NULL, NULL), -ENOTSOCK);
  CHECK_EQ(mpg_connect(p[1], to, sizeof(at)), -ENOTSOCK);
  CHECK_EQ(mpg_close(p[0]), 0);
  CHECK_EQ(mpg_close(p[1]), 0);
  CHECK_EQ(mpg_close(listener), 0);
  CHECK_EQ(mpg_connect(999999, to, sizeof(at)), -EBADF);
}

/* The peer goes away with data unread: a reset. */
static void a_reset_is_an_error(void *arg) {
  (void) arg;
  struct sockaddr_in at;
  int listener = listen_tcp(&at, 10), fd = connect_tcp(&at);
  int there = mpg_accept(listener, NULL, NULL);
  struct linger now = {.l_onoff = 1};
  CHECK_EQ(setsockopt(there, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
  CHECK_EQ(mpg_close(there), 0);
  char c = 0;
  CHECK_EQ(mpg_read(fd, &c, 1), -ECONNRESET);
  CHECK_EQ(mpg_write(fd, &c, 1), -EPIPE);
  CHECK_EQ(mpg_close(fd), 0);
  CHECK_EQ(mpg_close(listener), 0);
}

/* ---- local sockets ---- */

static int listen_local(struct sockaddr_un *at, socklen_t *len, int backlog) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  *len = sizeof(*at);
  memset(at, 0, sizeof(*at));
  at->sun_family = AF_UNIX;
  /* bound to nothing but the family: the kernel invents an abstract name */
  CHECK_EQ(bind(fd, (struct sockaddr *) at, sizeof(sa_family_t)), 0);
  CHECK_EQ(getsockname(fd, (struct sockaddr *) at, len), 0);
  CHECK_EQ(listen(fd, backlog), 0);
  return fd;
}

static struct sockaddr_un local;
static socklen_t local_len;
static _Atomic int connected;

static void connect_local(void *arg) {
  (void) arg;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int r = mpg_connect(fd, (struct sockaddr *) &local, local_len);
  if (r == 0)
    atomic_fetch_add(&connected, 1);
  else
    CHECK_EQ(r, -ECONNREFUSED);
  CHECK_EQ(mpg_close(fd), 0);
  mpg_waitgroup_done(&done);
}

/* With room for one in the queue, connecting waits for the others. */
static void a_full_queue_is_waited_for(void *arg) {
  (void) arg;
  int listener = listen_local(&local, &local_len, 0);
  mpg_waitgroup_add(&done, 10);
  for (int i = 0; i < 10; i++) CHECK_GO(connect_local, NULL);
  mpg_sleep(3 * MS);
  CHECK_LE(atomic_load(&connected), 2);
  for (int i = 0; i < 10; i++) {
    int fd = mpg_accept(listener, NULL, NULL);
    CHECK_GE(fd, 0);
    CHECK_EQ(mpg_close(fd), 0);
  }
  mpg_waitgroup_wait(&done);
  CHECK_EQ(atomic_load(&connected), 10);
  CHECK_EQ(mpg_close(listener), 0);
}

/* ---- closing ---- */

static void accept_canceled(void *arg) {
  CHECK_EQ(mpg_accept(*(int *) arg, NULL, NULL), -ECANCELED);
  mpg_waitgroup_done(&done);
}

static void a_closed_listener_ends_accept(void *arg) {
  (void) arg;
  struct sockaddr_in at;
  int listener = listen_tcp(&at, 10);
  mpg_waitgroup_add(&done, 5);
  for (int i = 0; i < 5; i++) CHECK_GO(accept_canceled, &listener);
  mpg_sleep(20 * MS);
  CHECK_EQ(mpg_close(listener), 0);
  mpg_waitgroup_wait(&done);
}

static void connect_canceled(void *arg) {
  int *fd = arg;
  int r = mpg_connect(*fd, (struct sockaddr *) &local, local_len);
  CHECK_EQ(r, -ECANCELED);
  mpg_waitgroup_done(&done);
}

static void closing_ends_connect(void *arg) {
  (void) arg;
  int listener = listen_local(&local, &local_len, 0);
  mpg_waitgroup_add(&done, 1);
  connect_local(NULL); /* fills the queue */
  mpg_waitgroup_wait(&done);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(connect_canceled, &fd);
  mpg_sleep(20 * MS);
  CHECK_EQ(mpg_close(fd), 0);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(mpg_close(listener), 0);
}

/* ---- many ---- */

static int threads(void) {
  char line[200];
  int n = 0;
  FILE *f = fopen("/proc/self/status", "r");
  CHECK(f != NULL);
  while (fgets(line, sizeof(line), f)) sscanf(line, "Threads: %d", &n);
  fclose(f);
  return n;
}

static void idle(void *arg) {
  int fd = (int) (intptr_t) arg;
  char c;
  CHECK_EQ(mpg_read(fd, &c, 1), 1);
  CHECK_EQ(mpg_write(fd, &c, 1), 1);
  CHECK_EQ(mpg_close(fd), 0);
  mpg_waitgroup_done(&done);
}

static void serve_idle(void *arg) {
  int listener = *(int *) arg, fd;
  while ((fd = mpg_accept(listener, NULL, NULL)) >= 0)
    CHECK_GO(idle, (void *) (intptr_t) fd);
  mpg_waitgroup_done(&done);
}

/* As many as the limit on descriptors allows, at most 10,000. */
static void ten_thousand_idle_connections(void *arg) {
  (void) arg;
  struct rlimit limit;
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  int n = limit.rlim_cur > 20100 ? 10000 : ((int) limit.rlim_cur - 100) / 2;
  if (n < 9000) printf("only %d connections (RLIMIT_NOFILE)\n", n);
  if (n > CHECK_MANY_GOROUTINES) n = CHECK_MANY_GOROUTINES;
  struct sockaddr_in at;
  int listener = listen_tcp(&at, 1000), *fd = mpg_alloc((size_t) n * 4);
  mpg_waitgroup_add(&done, n + 1);
  CHECK_GO(serve_idle, &listener);
  for (int i = 0; i < n; i++) fd[i] = connect_tcp(&at);
  CHECK_EVENTUALLY(mpg_num_goroutines() == n + 2);
  mpg_gc();
  CHECK_LE(threads(), 30);
  for (int i = 0; i < n; i++) {
    char c = (char) i, back = 0;
    CHECK_EQ(mpg_write(fd[i], &c, 1), 1);
    CHECK_EQ(mpg_read(fd[i], &back, 1), 1);
    CHECK_EQ(back, c);
    CHECK_EQ(mpg_close(fd[i]), 0);
  }
  CHECK_EQ(mpg_close(listener), 0);
  mpg_waitgroup_wait(&done);
}

static const struct check_case cases[] = {
    INSIDE(clients_are_served),
    INSIDE(accept_tells_who),
    INSIDE(nobody_listens),
    INSIDE(misuse_is_refused),
    INSIDE(a_reset_is_an_error),
    INSIDE(a_full_queue_is_waited_for),
    INSIDE(a_closed_listener_ends_accept),
    INSIDE(closing_ends_connect),
    INSIDE(ten_thousand_idle_connections),
};
CHECK_MAIN(cases, 40)

/* io_tcp_test.c - reads from TCP that get less than they asked for: what comes
 * after them is never missed, and never late.
 *
 * Late means the fallback of [netpoll.trust], 50 to 100 ms: many rounds that
 * needed it would take far longer than PROMPT.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "../support/check.h"

#define MS INT64_C(1000000)
#define ROUNDS 300
#define PROMPT (12000 * MS) /* for ROUNDS; the fallback takes 15000 */

static mpg_waitgroup done;

static struct sockaddr_in at;
static int listener;

static void open_listener(void) {
  socklen_t len = sizeof(at);
  at = (struct sockaddr_in){.sin_family = AF_INET};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_GE(listener, 0);
  CHECK_EQ(bind(listener, (struct sockaddr *) &at, sizeof(at)), 0);
  CHECK_EQ(listen(listener, 10), 0);
  CHECK_EQ(getsockname(listener, (struct sockaddr *) &at, &len), 0);
}

/* Both ends of a connection. */
static void open_pair(int fd[2]) {
  int one = 1;
  fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_EQ(mpg_connect(fd[1], (struct sockaddr *) &at, sizeof(at)), 0);
  CHECK_EQ(setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
  fd[0] = mpg_accept(listener, NULL, NULL);
  CHECK_GE(fd[0], 0);
}

static void close_pair(int fd[2]) {
  CHECK_EQ(mpg_close(fd[0]), 0);
  CHECK_EQ(mpg_close(fd[1]), 0);
}

/* Exactly what: nothing else comes before. */
static void expect(int fd, const char *what) {
  char buf[100];
  size_t n = strlen(what);
  CHECK_EQ(mpg_read(fd, buf, sizeof(buf)), n);
  CHECK(memcmp(buf, what, n) == 0);
}

/* Both are registered, and short reads have been: trust is possible. */
static void make_known(int fd[2]) {
  for (int i = 0; i < 2; i++)
    CHECK_EQ(mpg_wait_fd(fd[i], POLLIN, mpg_now() + 1000), -ETIMEDOUT);
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(mpg_write(fd[1], "hello", 5), 5);
    expect(fd[0], "hello");
    CHECK_EQ(mpg_write(fd[0], "you", 3), 3);
    expect(fd[1], "you");
  }
}

/* Promptly, ROUNDS connections: all that one does, but closing its fd[0]. */
static void many_times(void (*one)(int i, int fd[2])) {
  open_listener();
  int64_t start = mpg_now();
  for (int i = 0; i < ROUNDS; i++) {
    int fd[2];
    open_pair(fd);
    make_known(fd);
    one(i, fd);
    CHECK_EQ(mpg_close(fd[0]), 0);
  }
  CHECK_LE(mpg_now() - start, PROMPT);
  CHECK_EQ(mpg_close(listener), 0);
}

/* ---- the end ---- */

/* Bytes and the end come at once, or one after the other. */
static void bytes_and_end(int i, int fd[2]) {
  CHECK_EQ(mpg_write(fd[1], "bye", 3), 3);
  if (i % 3 == 0) mpg_sleep(i % 7 * 20000);
  CHECK_EQ(shutdown(fd[1], SHUT_WR), 0);
  if (i % 3 == 1) mpg_sleep(i % 7 * 20000);
  expect(fd[0], "bye");
  expect(fd[0], "");
  expect(fd[0], "");
  CHECK_EQ(mpg_write(fd[0], "still there", 11), 11);
  expect(fd[1], "still there");
  CHECK_EQ(mpg_close(fd[1]), 0);
}

static void the_end_follows_bytes(void *arg) {
  (void) arg;
  many_times(bytes_and_end);
}

/* A read that waits while the end comes, without bytes before. */
static void expect_end(void *fd) {
  expect((int) (intptr_t) fd, "");
  mpg_waitgroup_done(&done);
}

static void end_while_waiting(int i, int fd[2]) {
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(expect_end, (void *) (intptr_t) fd[0]);
  if (i % 2) mpg_sleep(i % 7 * 20000);
  CHECK_EQ(shutdown(fd[i % 4 == 0], i % 4 == 0 ? SHUT_WR : SHUT_RD), 0);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(mpg_close(fd[1]), 0);
}

static void the_end_of_one_who_waits(void *arg) {
  (void) arg;
  many_times(end_while_waiting);
}

static void reset(int i, int fd[2]) {
  (void) i;
  struct linger now = {.l_onoff = 1};
  char c;
  CHECK_EQ(setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
  CHECK_EQ(mpg_close(fd[1]), 0);
  CHECK_EQ(mpg_read(fd[0], &c, 1), -ECONNRESET);
}

static void a_reset_after_a_short_read(void *arg) {
  (void) arg;
  many_times(reset);
}

/* ---- a close that waits ---- */

static _Atomic bool begun;

static void close_it(void *arg) {
  int fd = *(int *) arg;
  atomic_store(&begun, true);
  CHECK_EQ(mpg_close(fd), 0);
  mpg_waitgroup_done(&done);
}

/* It may wait until the other end has read all: on one P, which reads. */
static void a_close_that_lingers_loses_nothing(void *arg) {
  (void) arg;
  static char buf[64 << 10];
  ssize_t n, sent = 0, came = 0;
  int fd[2];
  struct linger some = {.l_onoff = 1, .l_linger = 10};
  mpg_gomaxprocs(1);
  open_listener();
  open_pair(fd);
  while ((n = send(fd[1], buf, sizeof(buf), MSG_DONTWAIT)) > 0) sent += n;
  CHECK_EQ(setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &some, sizeof(some)), 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(close_it, &fd[1]);
  while (!atomic_load(&begun)) mpg_yield();
  while ((n = mpg_read(fd[0], buf, sizeof(buf))) > 0) came += n;
  CHECK_EQ(n, 0);
  CHECK_EQ(came, sent);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(mpg_close(fd[0]), 0);
  CHECK_EQ(mpg_close(listener), 0);
}

/* ---- urgent data ---- */

/* A read ends before the mark though more has come. */
static void urgent(int i, int fd[2]) {
  CHECK_EQ(send(fd[1], "ab", 2, 0), 2);
  CHECK_EQ(send(fd[1], "!", 1, MSG_OOB), 1);
  CHECK_EQ(send(fd[1], "cd", 2, 0), 2);
  if (i % 2) mpg_sleep(100000);
  expect(fd[0], "ab");
  expect(fd[0], "cd");
  make_known(fd);
  CHECK_EQ(mpg_close(fd[1]), 0);
}

static void bytes_around_urgent_data(void *arg) {
  (void) arg;
  many_times(urgent);
}

/* ---- trust that is wrong ---- */

/* The number means another connection, which mpg hasn't heard of: reads go on
 * all the same, if later. */
static void another_connection_under_the_number(void *arg) {
  (void) arg;
  open_listener();
  for (int i = 0; i < 5; i++) {
    int fd[2], again;
    open_pair(fd);
    make_known(fd);
    again = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(connect(again, (struct sockaddr *) &at, sizeof(at)), 0);
    int other = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    while (other == -1 && errno == EAGAIN) {
      mpg_sleep(MS);
      other = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    }
    CHECK_EQ(dup2(other, fd[0]), fd[0]);
    CHECK_EQ(close(other), 0);
    if (i % 2) CHECK_EQ(mpg_write(again, "new", 3), 3);
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(expect_end, (void *) (intptr_t) fd[1]); /* of the old one */
    if (i % 2 == 0) CHECK_EQ(mpg_write(again, "new", 3), 3);
    expect(fd[0], "new");
    mpg_waitgroup_wait(&done);
    CHECK_EQ(mpg_close(again), 0);
    close_pair(fd);
  }
  CHECK_EQ(mpg_close(listener), 0);
}

/* ---- several who read ---- */

#define READERS 4
#define MESSAGES 20000

static _Atomic long bytes_read;

static void read_some(void *arg) {
  int fd = (int) (intptr_t) arg;
  char buf[100];
  for (ssize_t n; (n = mpg_read(fd, buf, sizeof(buf))) > 0;)
    atomic_fetch_add(&bytes_read, n);
  mpg_waitgroup_done(&done);
}

static void readers_share_a_connection(void *arg) {
  (void) arg;
  open_listener();
  int fd[2];
  open_pair(fd);
  mpg_waitgroup_add(&done, READERS);
  for (int i = 0; i < READERS; i++)
    CHECK_GO(read_some, (void *) (intptr_t) fd[0]);
  long sent = 0;
  for (int i = 0; i < MESSAGES; i++) {
    size_t n = (size_t) (i % 5) + 1;
    CHECK_EQ(mpg_write(fd[1], "12345", n), n);
    sent += (long) n;
    if (i % 100 == 0) CHECK_EVENTUALLY(atomic_load(&bytes_read) == sent);
  }
  CHECK_EQ(shutdown(fd[1], SHUT_WR), 0);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(atomic_load(&bytes_read), sent);
  close_pair(fd);
  CHECK_EQ(mpg_close(listener), 0);
}

static const struct check_case cases[] = {
    INSIDE(the_end_follows_bytes),
    INSIDE(the_end_of_one_who_waits),
    INSIDE(a_reset_after_a_short_read),
    INSIDE(a_close_that_lingers_loses_nothing),
    INSIDE(bytes_around_urgent_data),
    INSIDE(another_connection_under_the_number),
    INSIDE(readers_share_a_connection),
};
CHECK_MAIN(cases, 40)

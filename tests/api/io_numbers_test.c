/* io_numbers_test.c - descriptors that the runtime has for itself, and a
 * program that closes them: between two runs it may. */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "../support/check.h"

#define FIRST 56 /* where the runtime's are: arch/linux/io.c */
#define LAST 63

static int there[2], back[2];

static void echo(void *arg) {
  char c;
  (void) arg;
  while (mpg_read(there[0], &c, 1) == 1) CHECK_EQ(mpg_write(back[1], &c, 1), 1);
  mpg_close(back[1]);
}

/* Waits for descriptors, and breaks of such waits by timers. */
static void talk(void *arg) {
  (void) arg;
  CHECK_EQ(pipe(there), 0);
  CHECK_EQ(pipe(back), 0);
  CHECK_GO(echo, NULL);
  for (int i = 0; i < 100; i++) {
    char c = (char) i;
    CHECK_EQ(mpg_write(there[1], &c, 1), 1);
    CHECK_EQ(mpg_read(back[0], &c, 1), 1);
    CHECK_EQ(c, i);
    mpg_sleep(10000);
  }
  CHECK_EQ(mpg_close(there[1]), 0);
  char c;
  CHECK_EQ(mpg_read(back[0], &c, 1), 0);
  CHECK_EQ(mpg_close(back[0]), 0);
  CHECK_EQ(mpg_close(there[0]), 0);
}

static int unread(int fd) {
  int n = -1;
  CHECK_EQ(ioctl(fd, FIONREAD, &n), 0);
  return n;
}

static void they_may_be_closed_between_runs(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_run(talk, NULL), 0);
  for (int fd = FIRST; fd <= LAST; fd++) close(fd);
  CHECK_EQ(mpg_run(talk, NULL), 0);
  CHECK_EQ(mpg_run(talk, NULL), 0);
}

/* What the program has there then is left alone. */
static void they_may_be_taken_between_runs(void *arg) {
  (void) arg;
  int pair[2];
  char text[64] = "";
  CHECK_EQ(mpg_run(talk, NULL), 0);
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  CHECK_EQ(write(pair[1], text, sizeof text), sizeof text);
  for (int fd = FIRST; fd <= LAST; fd++) CHECK_EQ(dup2(pair[0], fd), fd);
  CHECK_EQ(mpg_run(talk, NULL), 0);
  CHECK_EQ(unread(pair[0]), sizeof text);
  CHECK_EQ(unread(pair[1]), 0);
  for (int fd = FIRST; fd <= LAST; fd++) CHECK_EQ(unread(fd), sizeof text);
  for (int fd = FIRST; fd <= LAST; fd++) CHECK_EQ(close(fd), 0);
  CHECK_EQ(close(pair[0]), 0);
  CHECK_EQ(close(pair[1]), 0);
  CHECK_EQ(mpg_run(talk, NULL), 0);
}

/* Also an epoll instance of the program's, which reports nothing of ours. */
static void they_may_be_taken_by_another_epoll(void *arg) {
  (void) arg;
  struct epoll_event ev;
  int pair[2], epoll = epoll_create1(0);
  CHECK_EQ(mpg_run(talk, NULL), 0);
  CHECK_GE(epoll, 0);
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  CHECK_EQ(write(pair[1], "", 1), 1);
  CHECK_EQ(dup2(epoll, FIRST), FIRST);
  for (int fd = FIRST + 1; fd <= LAST; fd++) CHECK_EQ(dup2(pair[0], fd), fd);
  CHECK_EQ(mpg_run(talk, NULL), 0);
  CHECK_EQ(epoll_wait(epoll, &ev, 1, 0), 0);
  for (int fd = FIRST; fd <= LAST; fd++) CHECK_EQ(close(fd), 0);
  CHECK_EQ(close(epoll), 0);
  CHECK_EQ(close(pair[0]), 0);
  CHECK_EQ(close(pair[1]), 0);
  CHECK_EQ(mpg_run(talk, NULL), 0);
}

/* The low numbers stay the program's, but for the moment in which a file of
 * sysmon's is opened and moved up. */
static void check_lowest(int expected) {
  int fd;
  do {
    fd = dup(0);
    CHECK_EQ(close(fd), 0);
  } while (fd != expected); /* if it is kept: till the test's time is up */
}

static void waiting_and_tracing_take_no_low_number(void *arg) {
  (void) arg;
  char path[] = "/tmp/mpg_numbers_test.XXXXXX";
  int fd = mkstemp(path);
  CHECK_GE(fd, 0);
  CHECK_EQ(close(fd), 0);
  check_lowest(fd);
  talk(NULL);
  CHECK_EQ(mpg_trace_start(path), 0);
  check_lowest(fd);
  CHECK_EQ(mpg_trace_stop(), 0);
  CHECK_EQ(unlink(path), 0);
}

static const struct check_case cases[] = {
    OUTSIDE(they_may_be_closed_between_runs),
    OUTSIDE(they_may_be_taken_between_runs),
    OUTSIDE(they_may_be_taken_by_another_epoll),
    INSIDE(waiting_and_tracing_take_no_low_number),
};
CHECK_MAIN(cases, 30)

/* io_attach_test.c - attached threads wait for descriptors. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "../support/check.h"

#define ROUNDS 50

static int ends[2];
static mpg_chan *ready; /* the thread is about to wait */

static void join(pthread_t t) {
  mpg_syscall_enter();
  int err = pthread_join(t, NULL);
  mpg_syscall_exit();
  CHECK_EQ(err, 0);
}

static pthread_t start(void *(*fn)(void *) ) {
  pthread_t t;
  CHECK_EQ(pthread_create(&t, NULL, fn, NULL), 0);
  return t;
}

static void open_pair(void) {
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  ready = mpg_chan_new(0, 1);
}

static void close_pair(void) {
  for (int i = 0; i < 2; i++)
    if (ends[i] >= 0) CHECK_EQ(mpg_close(ends[i]), 0);
}

/* ---- there and back ---- */

static void *echo(void *arg) {
  int x;
  CHECK_EQ(mpg_thread_attach(), 0);
  for (int i = 0; i < ROUNDS; i++) {
    CHECK_EQ(mpg_read(ends[1], &x, sizeof x), sizeof x);
    x++;
    CHECK_EQ(mpg_write(ends[1], &x, sizeof x), sizeof x);
  }
  CHECK_EQ(mpg_thread_detach(), 0);
  return arg;
}

static void a_thread_answers_a_goroutine(void *arg) {
  (void) arg;
  for (int procs = 1; procs <= 2; procs++) {
    mpg_gomaxprocs(procs);
    open_pair();
    pthread_t t = start(echo);
    for (int i = 0, x; i < ROUNDS; i++) {
      CHECK_EQ(mpg_write(ends[0], &i, sizeof i), sizeof i);
      if (i % 10 == 0) mpg_gc(); /* while it waits */
      CHECK_EQ(mpg_read(ends[0], &x, sizeof x), sizeof x);
      CHECK_EQ(x, i + 1);
    }
    join(t);
    close_pair();
  }
}

/* A pipe's worth more than its buffer: both sides park. */
#define BYTES ((size_t) 1 << 20)

static void *send_much(void *arg) {
  CHECK_EQ(mpg_thread_attach(), 0);
  unsigned char *from = mpg_alloc_noscan(BYTES);
  for (size_t i = 0; i < BYTES; i++) from[i] = (unsigned char) (i * 7);
  CHECK_EQ(mpg_write(ends[1], from, BYTES), BYTES);
  CHECK_EQ(mpg_thread_detach(), 0);
  return arg;
}

static void a_thread_writes_more_than_fits(void *arg) {
  unsigned char to[4096];
  size_t at = 0;
  (void) arg;
  open_pair();
  pthread_t t = start(send_much);
  while (at < BYTES) {
    ssize_t n = mpg_read(ends[0], to, sizeof to);
    CHECK_GT(n, 0);
    for (ssize_t i = 0; i < n; i++, at++)
      CHECK_EQ(to[i], (unsigned char) (at * 7));
  }
  join(t);
  close_pair();
}

/* ---- without anything to read ---- */

static void *wait_in_vain(void *arg) {
  char c;
  CHECK_EQ(mpg_thread_attach(), 0);
  int64_t until = mpg_now() + 2000000;
  CHECK_EQ(mpg_wait_fd(ends[1], POLLIN, until), -ETIMEDOUT);
  CHECK_GE(mpg_now(), until);
  CHECK_EQ(mpg_wait_fd(ends[1], POLLOUT, -1), POLLOUT);
  mpg_chan_send(ready, NULL);
  CHECK_EQ(mpg_read(ends[1], &c, 1), -ECANCELED);
  CHECK_EQ(mpg_thread_detach(), 0);
  return arg;
}

static void deadlines_and_closing_end_a_wait(void *arg) {
  (void) arg;
  open_pair();
  pthread_t t = start(wait_in_vain);
  mpg_chan_recv(ready, NULL);
  mpg_sleep(2000000); /* it may wait by now */
  CHECK_EQ(mpg_close(ends[1]), 0);
  ends[1] = -1;
  join(t);
  close_pair();
}

static const struct check_case cases[] = {
    INSIDE(a_thread_answers_a_goroutine),
    INSIDE(a_thread_writes_more_than_fits),
    INSIDE(deadlines_and_closing_end_a_wait),
};
CHECK_MAIN(cases, 20)

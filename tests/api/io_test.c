/* io_test.c - reading, writing, waiting, closing: pipes, sockets, eventfds,
 * terminals, files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "../support/check.h"
#include "../support/hide.h"

#define MS INT64_C(1000000)

static mpg_waitgroup done;
static int fds[2];

static void open_pipe(void) { CHECK_EQ(pipe2(fds, O_CLOEXEC), 0); }
static void open_sockets(int type) {
  CHECK_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
}
static void close_both(void) {
  CHECK_EQ(mpg_close(fds[0]), 0);
  CHECK_EQ(mpg_close(fds[1]), 0);
}

static unsigned char byte_at(size_t i) {
  return (unsigned char) (i * 2654435761u >> 13);
}

/* ---- bytes ---- */

#define LONG_BYTES ((size_t) 3 << 20)

static void write_long(void *arg) {
  (void) arg;
  unsigned char *bytes = mpg_alloc_noscan(LONG_BYTES);
  for (size_t i = 0; i < LONG_BYTES; i++) bytes[i] = byte_at(i);
  CHECK_EQ(mpg_write(fds[1], bytes, LONG_BYTES), LONG_BYTES);
  CHECK_EQ(mpg_close(fds[1]), 0);
  mpg_waitgroup_done(&done);
}

/* Into memory on the stack and in the heap, in pieces of all sizes. */
static void read_long(void) {
  unsigned char local[777];
  unsigned char *heap = mpg_alloc_noscan(LONG_BYTES);
  size_t at = 0;
  for (;;) {
    bool on_stack = at % 3 == 0;
    unsigned char *to = on_stack ? local : heap;
    ssize_t n = mpg_read(fds[0], to, on_stack ? sizeof(local) : 1 + at % 70000);
    CHECK_GE(n, 0);
    if (n == 0) break;
    for (ssize_t i = 0; i < n; i++) CHECK_EQ(to[i], byte_at(at + (size_t) i));
    at += (size_t) n;
  }
  CHECK_EQ(at, LONG_BYTES);
}

static void transfer_long(void) {
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(write_long, NULL);
  read_long();
  mpg_waitgroup_wait(&done);
  CHECK_EQ(mpg_read(fds[0], &(char){0}, 1), 0); /* the end, again */
  CHECK_EQ(mpg_close(fds[0]), 0);
}

static void a_pipe_carries_everything(void *arg) {
  (void) arg;
  open_pipe();
  transfer_long();
}

static void a_socket_carries_everything(void *arg) {
  (void) arg;
  open_sockets(SOCK_STREAM);
  transfer_long();
}

static void they_become_non_blocking(void *arg) {
  (void) arg;
  open_pipe();
  CHECK_EQ(mpg_write(fds[1], "x", 1), 1);
  CHECK(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
  CHECK(!(fcntl(fds[0], F_GETFL) & O_NONBLOCK));
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, -1), POLLIN);
  CHECK(!(fcntl(fds[0], F_GETFL) & O_NONBLOCK));
  CHECK_EQ(mpg_read(fds[0], &(char){0}, 1), 1);
  CHECK(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
  close_both();
}

static void nothing_is_read_and_written_at_once(void *arg) {
  (void) arg;
  open_pipe();
  CHECK_EQ(mpg_read(fds[0], NULL, 0), 0);
  CHECK_EQ(mpg_write(fds[1], NULL, 0), 0);
  close_both();
  open_sockets(SOCK_STREAM);
  CHECK_EQ(mpg_read(fds[0], NULL, 0), 0);
  CHECK_EQ(mpg_write(fds[1], NULL, 0), 0);
  close_both();
}

static void messages_stay_apart(void *arg) {
  (void) arg;
  char buf[100];
  open_sockets(SOCK_DGRAM);
  CHECK_EQ(mpg_write(fds[1], "one", 3), 3);
  CHECK_EQ(mpg_write(fds[1], "", 0), 0);
  CHECK_EQ(mpg_write(fds[1], "three", 5), 5);
  CHECK_EQ(mpg_read(fds[0], buf, sizeof(buf)), 3);
  CHECK_EQ(mpg_read(fds[0], buf, sizeof(buf)), 0);
  CHECK_EQ(mpg_read(fds[0], buf, 2), 2);
  CHECK(memcmp(buf, "th", 2) == 0);
  close_both();
}

static void read_one(void *arg) {
  char c;
  CHECK_EQ(mpg_read(fds[0], &c, 1), 1);
  *(_Atomic int *) arg += c;
  mpg_waitgroup_done(&done);
}

static void several_may_read(void *arg) {
  (void) arg;
  static _Atomic int sum;
  atomic_store(&sum, 0);
  open_pipe();
  mpg_waitgroup_add(&done, 50);
  for (int i = 0; i < 50; i++) CHECK_GO(read_one, &sum);
  mpg_sleep(2 * MS); /* most of them wait */
  char ones[50];
  memset(ones, 1, sizeof(ones));
  CHECK_EQ(mpg_write(fds[1], ones, 20), 20);
  mpg_sleep(MS);
  CHECK_EQ(mpg_write(fds[1], ones, 30), 30);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(atomic_load(&sum), 50);
  close_both();
}

static void write_some(void *arg) {
  (void) arg;
  static const char bytes[300000];
  CHECK_EQ(mpg_write(fds[1], bytes, sizeof(bytes)), sizeof(bytes));
  mpg_waitgroup_done(&done);
}

static void several_may_write(void *arg) {
  (void) arg;
  static char bytes[1 << 16];
  open_sockets(SOCK_STREAM);
  mpg_waitgroup_add(&done, 8);
  for (int i = 0; i < 8; i++) CHECK_GO(write_some, NULL);
  for (size_t left = 8 * 300000; left;) {
    ssize_t n = mpg_read(fds[0], bytes, sizeof(bytes));
    CHECK_GT(n, 0);
    left -= (size_t) n;
  }
  mpg_waitgroup_wait(&done);
  close_both();
}

/* ---- the other sorts ---- */

static void an_eventfd_counts(void *arg) {
  (void) arg;
  uint64_t v = 3;
  fds[0] = eventfd(0, EFD_CLOEXEC);
  CHECK_EQ(mpg_write(fds[0], &v, 8), 8);
  CHECK_EQ(mpg_write(fds[0], &v, 8), 8);
  v = 0;
  CHECK_EQ(mpg_read(fds[0], &v, 8), 8);
  CHECK_EQ(v, 6);
  CHECK_EQ(mpg_read(fds[0], &v, 4), -EINVAL);
  CHECK_EQ(mpg_close(fds[0]), 0);
}

static void type(void *arg) {
  int master = *(int *) arg;
  mpg_sleep(MS);
  CHECK_EQ(mpg_write(master, "hello\n", 6), 6);
  mpg_waitgroup_done(&done);
}

static void a_terminal_gives_lines(void *arg) {
  (void) arg;
  int master, slave;
  char line[100];
  CHECK_EQ(openpty(&master, &slave, NULL, NULL, NULL), 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(type, &master);
  CHECK_EQ(mpg_read(slave, line, sizeof(line)), 6);
  CHECK(memcmp(line, "hello\n", 6) == 0);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(mpg_close(slave), 0);
  CHECK_EQ(mpg_close(master), 0);
}

static void files_work_too(void *arg) {
  (void) arg;
  char buf[100], name[] = "/tmp/mpg_io_test.XXXXXX";
  int fd = mkstemp(name);
  CHECK_GE(fd, 0);
  CHECK_EQ(unlink(name), 0);
  CHECK_EQ(mpg_write(fd, "some words", 10), 10);
  CHECK_EQ(mpg_write(fd, buf, 0), 0);
  CHECK_EQ(lseek(fd, 5, SEEK_SET), 5);
  CHECK_EQ(mpg_read(fd, buf, sizeof(buf)), 5);
  CHECK(memcmp(buf, "words", 5) == 0);
  CHECK_EQ(mpg_read(fd, buf, sizeof(buf)), 0);
  CHECK_EQ(mpg_wait_fd(fd, POLLIN | POLLOUT, -1), POLLIN | POLLOUT);
  CHECK_EQ(mpg_wait_fd(fd, POLLPRI, -1), -EPERM);
  CHECK_EQ(mpg_accept(fd, NULL, NULL), -ENOTSOCK);
  CHECK_EQ(mpg_close(fd), 0);
  fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  CHECK_EQ(mpg_read(fd, buf, sizeof(buf)), sizeof(buf));
  CHECK_EQ(mpg_close(fd), 0);
  fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
  CHECK_EQ(mpg_write(fd, buf, sizeof(buf)), -ENOSPC);
  CHECK_EQ(mpg_close(fd), 0);
  fd = open("/", O_RDONLY | O_CLOEXEC);
  CHECK_EQ(mpg_read(fd, buf, sizeof(buf)), -EISDIR);
  CHECK_EQ(mpg_write(fd, buf, 0), -EBADF); /* of nothing, for reading only */
  CHECK_EQ(mpg_close(fd), 0);
}

/* What isn't in memory is waited for: a read ends at the end of the file. */
static void files_are_read_whole(void *arg) {
  (void) arg;
  enum { BYTES = 128 << 10 };
  char path[] = "/tmp/mpg_io_test.XXXXXX";
  char *out = mpg_alloc_noscan(BYTES), *in = mpg_alloc_noscan(BYTES + 1);
  int fd = mkstemp(path);
  CHECK_GE(fd, 0);
  CHECK_EQ(unlink(path), 0);
  for (int i = 0; i < BYTES; i++) out[i] = (char) (i * 7 + i / 256);
  CHECK_EQ(mpg_write(fd, out, BYTES), BYTES);
  CHECK_EQ(fsync(fd), 0);
  for (int kept = 0; kept <= BYTES; kept += BYTES / 4) {
    CHECK_EQ(posix_fadvise(fd, kept, BYTES - kept, POSIX_FADV_DONTNEED), 0);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    memset(in, 0, BYTES);
    CHECK_EQ(mpg_read(fd, in, BYTES + 1), BYTES);
    CHECK(memcmp(in, out, BYTES) == 0);
    CHECK_EQ(mpg_read(fd, in, 1), 0);
  }
  CHECK_EQ(mpg_close(fd), 0);
}

/* ---- errors ---- */

static void wrong_descriptors_are_refused(void *arg) {
  (void) arg;
  static const int wrong[] = {-1, INT_MIN, 999999, INT_MAX};
  char c = 0;
  for (int i = 0; i < 4; i++) {
    CHECK_EQ(mpg_read(wrong[i], &c, 1), -EBADF);
    CHECK_EQ(mpg_write(wrong[i], &c, 1), -EBADF);
    CHECK_EQ(mpg_accept(wrong[i], NULL, NULL), -EBADF);
    CHECK_EQ(mpg_wait_fd(wrong[i], POLLIN, -1), -EBADF);
    CHECK_EQ(mpg_close(wrong[i]), -EBADF);
  }
  open_pipe();
  CHECK_EQ(mpg_read(fds[1], &c, 1), -EBADF); /* for writing only */
  CHECK_EQ(mpg_write(fds[0], &c, 1), -EBADF);
  close_both();
  CHECK_EQ(mpg_read(fds[0], &c, 1), -EBADF);
  CHECK_EQ(mpg_write(fds[1], &c, 1), -EBADF);
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, 0), -EBADF);
  CHECK_EQ(mpg_close(fds[0]), -EBADF);
}

static void bad_memory_is_refused(void *arg) {
  (void) arg;
  open_sockets(SOCK_STREAM);
  CHECK_EQ(mpg_write(fds[1], (void *) 8, 5), -EFAULT);
  CHECK_EQ(mpg_write(fds[1], "x", 1), 1);
  CHECK_EQ(mpg_read(fds[0], (void *) 8, 1), -EFAULT);
  close_both();
}

static void nobody_reads_any_more(void *arg) {
  (void) arg;
  char c = 0;
  signal(SIGPIPE, SIG_DFL); /* it would kill us */
  for (int i = 0; i < 3; i++) {
    open_pipe();
    CHECK_EQ(mpg_close(fds[0]), 0);
    CHECK_EQ(mpg_write(fds[1], &c, 1), -EPIPE);
    CHECK_EQ(mpg_close(fds[1]), 0);
    open_sockets(SOCK_STREAM);
    CHECK_EQ(mpg_close(fds[0]), 0);
    CHECK_EQ(mpg_write(fds[1], &c, 1), -EPIPE);
    CHECK_EQ(mpg_close(fds[1]), 0);
  }
  sigset_t pending;
  CHECK_EQ(sigpending(&pending), 0);
  CHECK(!sigismember(&pending, SIGPIPE));
}

/* Also when the program has unblocked it in this thread. */
static void sigpipe_may_be_unblocked(void *arg) {
  (void) arg;
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  mpg_lock_thread();
  CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &set, &old), 0);
  nobody_reads_any_more(NULL);
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, &old, &set), 0);
  CHECK(!sigismember(&set, SIGPIPE));
  mpg_unlock_thread();
}

static void close_reader_late(void *arg) {
  (void) arg;
  char some[1000];
  CHECK_EQ(mpg_read(fds[0], some, sizeof(some)), sizeof(some));
  mpg_sleep(3 * MS);
  CHECK_EQ(mpg_close(fds[0]), 0);
  mpg_waitgroup_done(&done);
}

static void what_was_written_before_an_error_counts(void *arg) {
  (void) arg;
  size_t n = 8 << 20;
  char *bytes = mpg_alloc_noscan(n);
  memset(bytes, 1, n);
  open_pipe();
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(close_reader_late, NULL);
  ssize_t wrote = mpg_write(fds[1], bytes, n);
  CHECK_GT(wrote, 999);
  CHECK_LE(wrote, (ssize_t) n - 1);
  CHECK_EQ(mpg_write(fds[1], bytes, n), -EPIPE);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(mpg_close(fds[1]), 0);
}

/* ---- waiting ---- */

static void ready_events_are_told(void *arg) {
  (void) arg;
  open_pipe();
  CHECK_EQ(mpg_wait_fd(fds[1], POLLOUT, -1), POLLOUT);
  CHECK_EQ(mpg_wait_fd(fds[1], POLLIN | POLLOUT, 0), POLLOUT);
  CHECK_EQ(mpg_write(fds[1], "x", 1), 1);
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, 0), POLLIN); /* ready wins */
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, mpg_now() - MS), POLLIN);
  CHECK_EQ(mpg_close(fds[1]), 0);
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, -1), POLLIN | POLLHUP);
  CHECK_EQ(mpg_wait_fd(fds[0], 0, -1), POLLHUP);
  CHECK_EQ(mpg_close(fds[0]), 0);
  open_pipe();
  CHECK_EQ(mpg_close(fds[0]), 0);
  CHECK_EQ(mpg_wait_fd(fds[1], POLLOUT, -1), POLLOUT | POLLERR);
  CHECK_EQ(mpg_close(fds[1]), 0);
}

static void deadlines_end_a_wait(void *arg) {
  (void) arg;
  open_pipe();
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, 0), -ETIMEDOUT);
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, 1), -ETIMEDOUT);
  for (int i = 0; i < 10; i++) {
    int64_t deadline = mpg_now() + i * MS / 2;
    CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, deadline), -ETIMEDOUT);
    CHECK_GE(mpg_now(), deadline);
  }
  CHECK_EQ(mpg_write(fds[1], "x", 1), 1);
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, mpg_now() + 3600 * 1000 * MS), POLLIN);
  close_both();
}

static void write_soon(void *arg) {
  mpg_sleep((int64_t) (intptr_t) arg);
  CHECK_EQ(mpg_write(fds[1], "x", 1), 1);
}

/* The event and the deadline come at about the same time. */
static void an_event_and_a_deadline_race(void *arg) {
  (void) arg;
  char c;
  int ready = 0;
  open_pipe();
  for (int i = 0; i < 300; i++) {
    CHECK_GO(write_soon, (void *) (intptr_t) 100000);
    int64_t deadline = mpg_now() + 60000 + i % 100 * 1000;
    int r = mpg_wait_fd(fds[0], POLLIN, deadline);
    CHECK(r == POLLIN || r == -ETIMEDOUT);
    if (r == POLLIN)
      ready++;
    else
      CHECK_GE(mpg_now(), deadline);
    CHECK_EQ(mpg_read(fds[0], &c, 1), 1);
  }
  close_both();
}

static void wait_until_writable(void *arg) {
  int *fd = arg;
  CHECK_EQ(mpg_wait_fd(*fd, POLLOUT, -1), POLLOUT);
  mpg_waitgroup_done(&done);
}

static void fill(int fd) {
  static const char bytes[4096];
  CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  while (write(fd, bytes, sizeof(bytes)) > 0) continue;
  CHECK_EQ(errno, EAGAIN);
}

static void both_directions_wait_apart(void *arg) {
  (void) arg;
  static char bytes[1 << 16];
  static _Atomic int sum;
  open_sockets(SOCK_STREAM);
  fill(fds[0]);
  mpg_waitgroup_add(&done, 2);
  CHECK_GO(read_one, &sum);
  CHECK_GO(wait_until_writable, &fds[0]);
  mpg_sleep(2 * MS);
  CHECK_EQ(mpg_write(fds[1], "x", 1), 1); /* wakes the reader only */
  while (mpg_wait_fd(fds[1], POLLIN, 0) == POLLIN)
    CHECK_GT(mpg_read(fds[1], bytes, sizeof(bytes)), 0);
  mpg_waitgroup_wait(&done);
  close_both();
}

/* Only a thread that mpg doesn't know can end the wait. */
static void *write_from_outside(void *arg) {
  struct timespec t = {0, 50 * MS};
  nanosleep(&t, NULL);
  if (write(*(int *) arg, "x", 1) != 1) abort();
  return NULL;
}

static void waiting_is_no_deadlock(void *arg) {
  (void) arg;
  char c;
  pthread_t thread;
  open_pipe();
  CHECK_EQ(pthread_create(&thread, NULL, write_from_outside, &fds[1]), 0);
  CHECK_EQ(mpg_read(fds[0], &c, 1), 1);
  CHECK_EQ(c, 'x');
  CHECK_EQ(pthread_join(thread, NULL), 0);
  close_both();
}

/* Longer than any pace of polling, beside loops on every P. */
static void loop(void *arg) {
  while (!atomic_load((_Atomic bool *) arg)) __asm__ volatile("");
  mpg_waitgroup_done(&done);
}

static void loops_do_not_keep_it_waiting(void *arg) {
  (void) arg;
  static _Atomic bool stop;
  char c;
  pthread_t thread;
  mpg_gomaxprocs(2);
  atomic_store(&stop, false);
  open_pipe();
  mpg_waitgroup_add(&done, 4);
  for (int i = 0; i < 4; i++) CHECK_GO(loop, &stop);
  CHECK_EQ(pthread_create(&thread, NULL, write_from_outside, &fds[1]), 0);
  CHECK_EQ(mpg_read(fds[0], &c, 1), 1);
  atomic_store(&stop, true);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  close_both();
}

/* ---- closing ---- */

static _Atomic int begun, ended, canceled;

/* On a busy machine one may come when it is closed already. */
static void is_over(ssize_t result) {
  CHECK(result == -ECANCELED || result == -EBADF);
  if (result == -ECANCELED) atomic_fetch_add(&canceled, 1);
  atomic_fetch_add(&ended, 1);
}
static void read_canceled(void *arg) {
  char c;
  atomic_fetch_add(&begun, 1);
  is_over(mpg_read(*(int *) arg, &c, 1));
}
static void write_canceled(void *arg) {
  atomic_fetch_add(&begun, 1);
  is_over(mpg_write(*(int *) arg, "x", 1));
}
static void wait_canceled(void *arg) {
  atomic_fetch_add(&begun, 1);
  is_over(mpg_wait_fd(*(int *) arg, POLLIN, -1));
}
static void wait_with_deadline_canceled(void *arg) {
  int64_t deadline = mpg_now() + 3600 * 1000 * MS;
  atomic_fetch_add(&begun, 1);
  is_over(mpg_wait_fd(*(int *) arg, POLLIN | POLLPRI, deadline));
}
static void fresh(void) {
  atomic_store(&begun, 0);
  atomic_store(&ended, 0);
}

static void close_wakes_all(void *arg) {
  (void) arg;
  atomic_store(&canceled, 0);
  for (int round = 0; round < 20; round++) {
    fresh();
    open_sockets(SOCK_STREAM);
    fill(fds[0]);
    for (int i = 0; i < 5; i++) {
      CHECK_GO(read_canceled, &fds[0]);
      CHECK_GO(write_canceled, &fds[0]);
      CHECK_GO(wait_canceled, &fds[0]);
      CHECK_GO(wait_with_deadline_canceled, &fds[0]);
    }
    CHECK_EVENTUALLY(atomic_load(&begun) == 20);
    mpg_sleep(MS);
    CHECK_EQ(mpg_close(fds[0]), 0);
    CHECK_EQ(fcntl(fds[0], F_GETFL), -1);
    CHECK_EVENTUALLY(atomic_load(&ended) == 20);
    CHECK_EQ(mpg_close(fds[1]), 0);
  }
  CHECK_GT(atomic_load(&canceled), 200);
}

static void write_much(void *arg) {
  size_t n = 16 << 20, *wrote = arg;
  char *bytes = mpg_alloc_noscan(n);
  ssize_t r = mpg_write(fds[1], bytes, n);
  CHECK_GT(r, 0);
  *wrote = (size_t) r;
  mpg_waitgroup_done(&done);
}

static void what_was_written_before_a_close_counts(void *arg) {
  (void) arg;
  static size_t wrote;
  static char bytes[1 << 16];
  size_t n = 0;
  open_pipe();
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(write_much, &wrote);
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, -1), POLLIN);
  mpg_sleep(MS);
  CHECK_EQ(mpg_close(fds[1]), 0);
  mpg_waitgroup_wait(&done);
  for (ssize_t r; (r = mpg_read(fds[0], bytes, sizeof(bytes))) > 0;)
    n += (size_t) r;
  CHECK_EQ(n, wrote);
  CHECK_EQ(mpg_close(fds[0]), 0);
}

/* A number that is used again has nothing of the old. */
static void numbers_are_used_again(void *arg) {
  (void) arg;
  int reused = 0;
  atomic_store(&canceled, 0);
  for (int i = 0; i < 200; i++) {
    int old = fds[0];
    fresh();
    if (i & 1)
      open_pipe();
    else
      open_sockets(SOCK_STREAM);
    reused += fds[0] == old; /* the runtime opens files, too */
    CHECK_GO(read_canceled, &fds[0]);
    CHECK_EVENTUALLY(atomic_load(&begun) == 1);
    mpg_sleep(i % 5 * 30000);
    CHECK_EQ(mpg_close(fds[0]), 0);
    CHECK_EVENTUALLY(atomic_load(&ended) == 1);
    CHECK_EQ(mpg_close(fds[1]), 0);
  }
  CHECK_GT(atomic_load(&canceled), 100);
  CHECK_GT(reused, 100);
}

/* Closed by close(2), which mpg doesn't hear of. */
static void numbers_closed_behind_its_back(void *arg) {
  (void) arg;
  for (int i = 0; i < 300; i++) {
    static _Atomic int sum;
    atomic_store(&sum, 0);
    switch (i % 4) {
    case 0: open_pipe(); break;
    case 1: open_sockets(SOCK_STREAM | SOCK_NONBLOCK); break;
    case 2: open_sockets(SOCK_STREAM); break;
    default: CHECK_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0); break;
    }
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(read_one, &sum);
    mpg_sleep(i % 3 * 50000);
    CHECK_EQ(mpg_write(fds[1], "a", 1), 1);
    mpg_waitgroup_wait(&done);
    CHECK_EQ(atomic_load(&sum), 'a');
    CHECK_EQ(close(fds[0]), 0);
    CHECK_EQ(close(fds[1]), 0);
    if (i % 7 == 0) {
      int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
      CHECK_EQ(mpg_read(fd, &(char){0}, 1), 0);
      CHECK_EQ(mpg_write(fd, "x", 1), 1);
      CHECK_EQ(close(fd), 0);
    }
  }
}

/* One that lives on under another number must not disturb. */
static void duplicates_live_on(void *arg) {
  (void) arg;
  char c;
  open_pipe();
  CHECK_EQ(mpg_write(fds[1], "x", 1), 1);
  CHECK_EQ(mpg_read(fds[0], &c, 1), 1);
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, mpg_now() + MS), -ETIMEDOUT);
  int other = dup(fds[0]);
  CHECK_EQ(mpg_close(fds[0]), 0);
  CHECK_EQ(mpg_write(fds[1], "yz", 2), 2);
  CHECK_EQ(mpg_read(other, &c, 1), 1);
  CHECK_EQ(c, 'y');
  CHECK_EQ(dup2(other, fds[0]), fds[0]);
  CHECK_EQ(mpg_read(fds[0], &c, 1), 1);
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, mpg_now() + MS), -ETIMEDOUT);
  CHECK_EQ(mpg_close(other), 0);
  close_both();
}

/* The number may come to mean a file that the runtime opens for a moment: one
 * more close succeeds then, a read finds the end. */
static void close_it(void *arg) {
  int r = mpg_close(*(int *) arg);
  CHECK(r == 0 || r == -EBADF);
  atomic_fetch_add(&canceled, r == 0);
  mpg_waitgroup_done(&done);
}

static void use_it(void *arg) {
  char c[10];
  for (;;) {
    ssize_t r = mpg_read(*(int *) arg, c, sizeof(c));
    if (r == -EBADF || r == 0) break;
    if (r < 0) CHECK_EQ(r, -ECANCELED);
  }
  mpg_waitgroup_done(&done);
}

static void closing_races_with_everything(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  for (int i = 0; i < 100; i++) {
    atomic_store(&canceled, 0);
    open_sockets(SOCK_STREAM);
    mpg_waitgroup_add(&done, 11);
    for (int k = 0; k < 8; k++) CHECK_GO(use_it, &fds[0]);
    CHECK_EQ(mpg_write(fds[1], "0123456789abcdef", 16), 16);
    if (i % 2) mpg_sleep(i * 5000);
    for (int k = 0; k < 3; k++) CHECK_GO(close_it, &fds[0]);
    mpg_waitgroup_wait(&done);
    CHECK_GE(atomic_load(&canceled), 1);
    CHECK_EQ(mpg_close(fds[1]), 0);
  }
}

/* ---- the collector, stops, the end ---- */

static _Atomic bool over;
static void collect(void *arg) {
  (void) arg;
  while (!atomic_load(&over)) {
    hide_collect();
    mpg_sleep(200000);
  }
  mpg_waitgroup_done(&done);
}

static __attribute__((noinline)) void read_into_heap(int fd, size_t n) {
  unsigned char *to = mpg_alloc_noscan(n);
  size_t at = 0;
  while (at < n) {
    ssize_t r = mpg_read(fd, to + at, n - at);
    CHECK_GT(r, 0);
    at += (size_t) r;
  }
  for (size_t i = 0; i < n; i++) CHECK_EQ(to[i], byte_at(i));
}

static void write_slowly(void *arg) {
  size_t n = *(size_t *) arg;
  unsigned char *from = mpg_alloc_noscan(n);
  for (size_t i = 0; i < n; i++) from[i] = byte_at(i);
  for (size_t at = 0; at < n;) {
    size_t k = n - at < 1000 ? n - at : 1000;
    CHECK_EQ(mpg_write(fds[1], from + at, k), k);
    at += k;
    mpg_sleep(50000);
  }
  mpg_waitgroup_done(&done);
}

static void memory_is_kept_while_parked(void *arg) {
  (void) arg;
  static size_t n = 50000;
  atomic_store(&over, false);
  open_sockets(SOCK_STREAM);
  mpg_waitgroup_add(&done, 2);
  CHECK_GO(collect, NULL);
  CHECK_GO(write_slowly, &n);
  read_into_heap(fds[0], n);
  atomic_store(&over, true);
  mpg_waitgroup_wait(&done);
  close_both();
}

static void read_for_ever(void *arg) {
  char c;
  mpg_read(*(int *) arg, &c, 1);
  abort();
}

/* The end finds some parked and some blocked. */
static void a_run_leaves_readers_behind(void *arg) {
  (void) arg;
  open_pipe();
  for (int i = 0; i < 10; i++) CHECK_GO(read_for_ever, &fds[0]);
  mpg_sleep(MS);
}

static void which_disturb_no_other_run(void *arg) {
  (void) arg;
  char c;
  CHECK_EQ(mpg_write(fds[1], "ab", 2), 2);
  CHECK_EQ(mpg_read(fds[0], &c, 1), 1);
  CHECK_EQ(c, 'a');
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, -1), POLLIN);
  close_both();
}

/* ---- threads that are attached ---- */

static void *use_from_a_thread(void *arg) {
  char c = 0;
  (void) arg;
  CHECK_EQ(mpg_thread_attach(), 0);
  CHECK_EQ(mpg_wait_fd(fds[0], POLLIN, mpg_now() + MS), -ETIMEDOUT);
  atomic_store(&begun, 1);
  CHECK_EQ(mpg_read(fds[0], &c, 1), 1);
  CHECK_EQ(c, 'a');
  CHECK_EQ(mpg_write(fds[0], "b", 1), 1);
  atomic_store(&begun, 2);
  ssize_t r = mpg_read(fds[0], &c, 1);
  CHECK(r == -ECANCELED || r == -EBADF); /* on a busy machine it came late */
  int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  CHECK_EQ(mpg_read(fd, &c, 1), 1);
  CHECK_EQ(mpg_close(fd), 0);
  CHECK_EQ(mpg_thread_detach(), 0);
  return NULL;
}

static void attached_threads_wait_too(void *arg) {
  (void) arg;
  char c = 0;
  pthread_t thread;
  open_sockets(SOCK_STREAM);
  fresh();
  CHECK_EQ(pthread_create(&thread, NULL, use_from_a_thread, NULL), 0);
  CHECK_EVENTUALLY(atomic_load(&begun) == 1);
  mpg_sleep(MS);
  CHECK_EQ(mpg_write(fds[1], "a", 1), 1);
  CHECK_EQ(mpg_read(fds[1], &c, 1), 1);
  CHECK_EQ(c, 'b');
  mpg_gc();
  CHECK_EVENTUALLY(atomic_load(&begun) == 2);
  mpg_sleep(20 * MS); /* it reads again */
  CHECK_EQ(mpg_close(fds[0]), 0);
  mpg_syscall_enter();
  CHECK_EQ(pthread_join(thread, NULL), 0);
  mpg_syscall_exit();
  CHECK_EQ(mpg_close(fds[1]), 0);
}

static const struct check_case cases[] = {
    INSIDE(a_pipe_carries_everything),
    INSIDE(a_socket_carries_everything),
    INSIDE(they_become_non_blocking),
    INSIDE(nothing_is_read_and_written_at_once),
    INSIDE(messages_stay_apart),
    INSIDE(several_may_read),
    INSIDE(several_may_write),
    INSIDE(an_eventfd_counts),
    INSIDE(a_terminal_gives_lines),
    INSIDE(files_work_too),
    INSIDE(files_are_read_whole),
    INSIDE(wrong_descriptors_are_refused),
    INSIDE(bad_memory_is_refused),
    INSIDE(nobody_reads_any_more),
    INSIDE(sigpipe_may_be_unblocked),
    INSIDE(what_was_written_before_an_error_counts),
    INSIDE(ready_events_are_told),
    INSIDE(deadlines_end_a_wait),
    INSIDE(an_event_and_a_deadline_race),
    INSIDE(both_directions_wait_apart),
    INSIDE(waiting_is_no_deadlock),
    INJECTS(loops_do_not_keep_it_waiting),
    INSIDE(close_wakes_all),
    INSIDE(what_was_written_before_a_close_counts),
    INSIDE(numbers_are_used_again),
    INSIDE(numbers_closed_behind_its_back),
    INSIDE(duplicates_live_on),
    INSIDE(closing_races_with_everything),
    INSIDE(memory_is_kept_while_parked),
    INSIDE(attached_threads_wait_too),
    INSIDE(a_run_leaves_readers_behind),
    INSIDE(which_disturb_no_other_run),
};
CHECK_MAIN(cases, 20)

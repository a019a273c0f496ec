/* io.c - system calls on descriptors, without errno, restarted after EINTR. */
#include <arch/common/check.h>
#include <arch/linux/sys.h>
#include <arch/os.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

/* Restart what a signal interrupted. */
static long retry(long nr, long a, long b, long c, long d, long e, long f) {
  long r;
  do r = mpgi_sys6(nr, a, b, c, d, e, f);
  while (r == -EINTR);
  return r;
}

int mpgi_os_fd_flags(int fd) {
  return (int) mpgi_sys3(SYS_fcntl, fd, F_GETFL, 0);
}

bool mpgi_os_fd_is_nonblocking(int fd) {
  int flags = mpgi_os_fd_flags(fd);
  return flags >= 0 && (flags & O_NONBLOCK);
}

int mpgi_os_fd_set_nonblocking(int fd) {
  int flags = mpgi_os_fd_flags(fd);
  if (flags < 0) return flags;
  if (flags & O_NONBLOCK) return 0;
  return (int) mpgi_sys3(SYS_fcntl, fd, F_SETFL, flags | O_NONBLOCK);
}

/* But the kernel's table has 64 places at first, and to make it larger beside
 * other threads it waits until every CPU has let go of the old one: 5 to 40 ms,
 * and two seconds on a busy machine, before the first operation. */
#define OUR_FDS 56

int mpgi_os_fd_move_up(int fd) {
  if (fd < 0) return fd;
  int up = (int) mpgi_sys3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, OUR_FDS);
  if (up < 0) return fd; /* beyond the limit */
  mpgi_os_close(fd);
  return up;
}

int mpgi_os_close(int fd) {
  /* Never repeated: after EINTR Linux has closed it all the same. */
  int err = (int) mpgi_sys3(SYS_close, fd, 0, 0);
  return err == -EINTR ? 0 : err;
}

/* ---- files, pipes ---- */

ssize_t mpgi_os_fd_read(int fd, void *buf, size_t n) {
  return retry(SYS_read, fd, (long) buf, (long) n, 0, 0, 0);
}

/* SIGPIPE that this thread's own write has raised. */
static void take_sigpipe(const sigset_t *pipe) {
  struct timespec zero = {0, 0};
  while (mpgi_sys6(SYS_rt_sigtimedwait, (long) pipe, 0, (long) &zero, 8, 0,
                   0) == -EINTR)
    continue;
}

/* The signal is blocked on runtime threads already, unless the program has
 * changed that. */
ssize_t mpgi_os_fd_write(int fd, const void *buf, size_t n) {
  sigset_t pipe, old;
  sigemptyset(&old);
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  mpgi_sys6(SYS_rt_sigprocmask, SIG_BLOCK, (long) &pipe, (long) &old, 8, 0, 0);
  long r = retry(SYS_write, fd, (long) buf, (long) n, 0, 0, 0);
  if (r == -EPIPE) take_sigpipe(&pipe);
  if (!sigismember(&old, SIGPIPE))
    mpgi_sys6(SYS_rt_sigprocmask, SIG_SETMASK, (long) &old, 0, 8, 0, 0);
  return r;
}

/* Linux 6.18 has all of it, for pipes; files read what is in memory.  Who knows
 * nothing of such calls (kernels, sandboxes) has several ways to say so, and a
 * file that can't be read or written at all says -EINVAL. */
#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x100
#endif

static long nowait(long nr, int fd, const void *buf, size_t n, int flags) {
  struct iovec all = {(void *) buf, n};
  long r = retry(nr, fd, (long) &all, 1, -1, -1, RWF_NOWAIT | flags);
  return r == -ENOSYS || r == -EINVAL || r == -EPERM ? -EOPNOTSUPP : r;
}

ssize_t mpgi_os_fd_read_nowait(int fd, void *buf, size_t n) {
  return nowait(SYS_preadv2, fd, buf, n, 0);
}

ssize_t mpgi_os_fd_write_nowait(int fd, const void *buf, size_t n) {
  return nowait(SYS_pwritev2, fd, buf, n, RWF_NOSIGNAL);
}

/* ---- sockets ---- */

static int socket_option(int fd, int option) {
  int value = 0;
  socklen_t len = sizeof value;
  long r = mpgi_sys6(SYS_getsockopt, fd, SOL_SOCKET, option, (long) &value,
                     (long) &len, 0);
  return r < 0 ? (int) r : value;
}

int mpgi_os_socket_type(int fd) { return socket_option(fd, SO_TYPE); }

bool mpgi_os_socket_is_tcp(int fd) {
  return socket_option(fd, SO_PROTOCOL) == IPPROTO_TCP;
}

bool mpgi_os_socket_lingers(int fd) {
  struct linger l = {0};
  socklen_t len = sizeof l;
  long r = mpgi_sys6(SYS_getsockopt, fd, SOL_SOCKET, SO_LINGER, (long) &l,
                     (long) &len, 0);
  return r < 0 || l.l_onoff;
}

ssize_t mpgi_os_recv(int fd, void *buf, size_t n) {
  return retry(SYS_recvfrom, fd, (long) buf, (long) n, MSG_DONTWAIT, 0, 0);
}

ssize_t mpgi_os_send(int fd, const void *buf, size_t n) {
  return retry(SYS_sendto, fd, (long) buf, (long) n,
               MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
}

int mpgi_os_accept(int fd, struct sockaddr *sa, socklen_t *len) {
  return (int) retry(SYS_accept4, fd, (long) sa, (long) len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC, 0, 0);
}

int mpgi_os_connect(int fd, const struct sockaddr *sa, socklen_t len) {
  /* EINTR: it goes on, as after EINPROGRESS. */
  int r = (int) mpgi_sys3(SYS_connect, fd, (long) sa, (long) len);
  return r == -EINTR ? -EINPROGRESS : r;
}

int mpgi_os_socket_error(int fd) {
  int error = socket_option(fd, SO_ERROR);
  return error < 0 ? error : -error;
}

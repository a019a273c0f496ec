/* process.c - output and exit without libc's state. */
#include <arch/common/check.h>
#include <arch/linux/sys.h>
#include <arch/os.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Of a descriptor that is not the program's standard error (or output): a
 * connection, say, that somebody asked for a dump by.  Its end raises no
 * SIGPIPE, as elsewhere; and who is slow to read is waited for, because
 * mpg_write has made it non-blocking.  Not for ever: the world may be
 * stopped.  stuck: for that one no more, until it takes something. */
#define SLOW_MS 1000

static bool wait_for_reader(int fd) {
  static _Atomic int stuck = -1;
  struct pollfd p = {.fd = fd, .events = POLLOUT};
  int ms = atomic_load(&stuck) == fd ? 0 : SLOW_MS;
  bool ready = mpgi_sys3(SYS_poll, (long) &p, 1, ms) > 0;
  atomic_store(&stuck, ready ? -1 : fd);
  return ready;
}

int mpgi_os_write(int fd, const void *buf, size_t bytes) {
  bool is_standard = fd <= 2;
  const char *p = buf;
  while (bytes > 0) {
    long n = is_standard ? mpgi_sys3(SYS_write, fd, (long) p, (long) bytes)
                         : mpgi_os_fd_write(fd, p, bytes);
    if (n == -EINTR) continue;
    if (n == -EAGAIN && !is_standard && wait_for_reader(fd)) continue;
    if (n <= 0) return n ? (int) n : -EIO; /* closed, full */
    MPG_ASSERT_INTERNAL((size_t) n <= bytes);
    p += n;
    bytes -= (size_t) n;
  }
  return 0;
}

int mpgi_os_pid(void) { return (int) mpgi_sys3(SYS_getpid, 0, 0, 0); }

void mpgi_os_exit(int status) {
  for (;;) mpgi_sys3(SYS_exit_group, status, 0, 0);
}

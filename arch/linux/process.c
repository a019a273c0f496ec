/* process.c - output and exit without libc's state. */
#include <arch/common/check.h>
#include <arch/linux/sys.h>
#include <arch/os.h>
#include <errno.h>

void mpgi_os_write(int fd, const void *buf, size_t bytes) {
  const char *p = buf;
  while (bytes > 0) {
    long n = mpgi_sys3(SYS_write, fd, (long) p, (long) bytes);
    if (n == -EINTR) continue;
    if (n <= 0) return; /* closed, full: nowhere to report it */
    MPG_ASSERT_INTERNAL((size_t) n <= bytes);
    p += n;
    bytes -= (size_t) n;
  }
}

int mpgi_os_pid(void) { return (int) mpgi_sys3(SYS_getpid, 0, 0, 0); }

void mpgi_os_exit(int status) {
  for (;;) mpgi_sys3(SYS_exit_group, status, 0, 0);
}

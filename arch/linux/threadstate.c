/* threadstate.c - is a thread blocked, or runnable and only not scheduled?
 *
 * From /proc/self/task/<tid>/stat, "tid (name) S ...": the name may hold any
 * byte, so the state is looked for behind the last parenthesis.  Source:
 * proc(5).
 */
#include <fcntl.h>
#include <string.h>

#include <arch/common/check.h>
#include <arch/linux/sys.h>
#include <arch/os.h>

bool mpgi_os_thread_blocked(int tid) {
  char path[64], text[128];
  mpgi_format(path, sizeof path, "/proc/self/task/%d/stat", tid);
  long fd = mpgi_sys3(SYS_open, (long) path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return true; /* no /proc: the CPU clock alone decides */
  long n = mpgi_sys3(SYS_read, fd, (long) text, sizeof text - 1);
  mpgi_sys3(SYS_close, fd, 0, 0);
  if (n <= 0) return true;
  text[n] = 0;
  const char *end = strrchr(text, ')');
  return !end || end[1] != ' ' || end[2] != 'R';
}

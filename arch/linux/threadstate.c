/* threadstate.c - is a thread blocked, or runnable and only not scheduled?
 * How many threads are there that we didn't make?
 *
 * From /proc/self/task/<tid>/stat, "tid (name) S ...": the name may hold any
 * byte, so the state is looked for behind the last parenthesis; the number of
 * threads is the 18th field from it.  Source: proc(5).
 *
 * Who reads has the lowest free number for a moment, so that what the program
 * opens meanwhile gets another; and it may close ours (closefrom), and have the
 * number itself by the time we read: pread takes nothing from a file, nor
 * anything at all from pipes and sockets.
 */
#include <fcntl.h>
#include <string.h>

#include <arch/common/check.h>
#include <arch/linux/sys.h>
#include <arch/os.h>

/* What follows the name, into text; NULL: not readable. */
static const char *read_stat(const char *path, char *text, size_t bytes) {
  int fd = mpgi_os_fd_move_up(
      (int) mpgi_sys3(SYS_open, (long) path, O_RDONLY | O_CLOEXEC, 0));
  if (fd < 0) return NULL;
  long n = mpgi_sys6(SYS_pread64, fd, (long) text, (long) bytes - 1, 0, 0, 0);
  mpgi_os_close(fd);
  if (n <= 0) return NULL;
  text[n] = 0;
  const char *end = strrchr(text, ')');
  return end && end[1] == ' ' ? end + 2 : NULL;
}

/* As in /proc; 0: there is none. */
static char state_of(int tid) {
  char path[64], text[128];
  mpgi_format(path, sizeof path, "/proc/self/task/%d/stat", tid);
  const char *state = read_stat(path, text, sizeof text);
  return state ? *state : 0;
}

/* Without /proc the CPU clock alone decides: the two differ in that. */
bool mpgi_os_thread_blocked(int tid) { return state_of(tid) != 'R'; }
bool mpgi_os_thread_asleep(int tid) {
  char state = state_of(tid);
  return state && state != 'R';
}

int mpgi_os_threads_foreign(void) {
  char text[512];
  int own = atomic_load(&mpgi_os_threads_own), n = 0;
  const char *p = read_stat("/proc/self/stat", text, sizeof text);
  for (int field = 0; p && field < 17; field++)
    if ((p = strchr(p, ' '))) p++;
  if (!p) return -1;
  for (; *p >= '0' && *p <= '9'; p++) n = 10 * n + (*p - '0');
  MPG_ASSERT(n > 0);
  /* Read in this order, one of ours that ends meanwhile is no foreigner's
   * place taken; one that starts counts as foreign for a moment. */
  return n - own;
}

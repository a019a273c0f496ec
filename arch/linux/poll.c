/* poll.c - epoll, and the eventfd that ends a wait.
 *
 * One epoll instance for the process, made once.  Descriptors are registered
 * edge-triggered for everything; the eventfd level-triggered, so that a poll
 * that doesn't wait can't swallow a wake-up meant for one that does.
 *
 * [linux.poll.owner] The program may close our two numbers (closefrom) and get
 * them for files of its own.  So neither is ever read or written: the eventfd
 * can always be read, and a break is that epoll is asked to report it.  That
 * fails unless the one number is still an epoll instance in which the other is
 * registered.
 *
 * Assumptions: epoll_pwait2 takes nanoseconds [linux.poll.pwait2]; on kernels
 * before 5.11, which don't have it, milliseconds rounded up must do.  Sandboxes
 * that are older than a system call refuse it with EPERM [linux.poll.sandbox].
 */
#include <arch/common/check.h>
#include <arch/linux/sys.h>
#include <arch/os.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#define NS_PER_S ((int64_t) 1000000000)
#define NS_PER_MS ((int64_t) 1000000)
#define BREAK_DATA UINT64_MAX

static int epoll_fd = -1, break_fd = -1;
static _Atomic bool no_pwait2;

#define SAME(name) \
  _Static_assert((int) MPGI_OS_POLL_##name == (int) EPOLL##name, #name)
SAME(IN);
SAME(OUT);
SAME(PRI);
SAME(ERR);
SAME(HUP);
SAME(RDHUP);

static int control(int op, int fd, uint32_t events, uint64_t data) {
  struct epoll_event ev = {.events = events, .data.u64 = data};
  return (int) mpgi_sys6(SYS_epoll_ctl, epoll_fd, op, fd, (long) &ev, 0, 0);
}

int mpgi_os_poll_open(void) {
  MPG_ASSERT(epoll_fd < 0);
  epoll_fd = mpgi_os_fd_move_up(
      (int) mpgi_sys3(SYS_epoll_create1, EPOLL_CLOEXEC, 0, 0));
  if (epoll_fd < 0) return epoll_fd;
  int err = break_fd = mpgi_os_fd_move_up(
      (int) mpgi_sys3(SYS_eventfd2, 1, EFD_CLOEXEC | EFD_NONBLOCK, 0));
  if (err >= 0) err = control(EPOLL_CTL_ADD, break_fd, 0, BREAK_DATA);
  if (err == 0) return 0;
  if (break_fd >= 0) mpgi_os_close(break_fd);
  mpgi_os_close(epoll_fd);
  epoll_fd = break_fd = -1;
  return err;
}

bool mpgi_os_poll_is_open(void) {
  int err = control(EPOLL_CTL_ADD, break_fd, 0, BREAK_DATA);
  if (err == 0) control(EPOLL_CTL_DEL, break_fd, 0, 0); /* both somebody's */
  return err == -EEXIST;
}

void mpgi_os_poll_close(void) {
  if (mpgi_os_poll_is_open()) {
    mpgi_os_close(break_fd);
    mpgi_os_close(epoll_fd);
  }
  epoll_fd = break_fd = -1;
}

int mpgi_os_poll_add(int fd, uint64_t data) {
  MPG_ASSERT(data != BREAK_DATA);
  return control(EPOLL_CTL_ADD, fd,
                 EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET, data);
}

void mpgi_os_poll_del(int fd) { control(EPOLL_CTL_DEL, fd, 0, 0); }

static long wait_ms(struct epoll_event *ev, int n, int64_t ns) {
  int64_t ms = ns < 0 ? -1 : (ns + NS_PER_MS - 1) / NS_PER_MS;
  if (ms > INT32_MAX) ms = INT32_MAX;
  return mpgi_sys6(SYS_epoll_pwait, epoll_fd, (long) ev, n, (long) ms, 0, 8);
}

static long wait_ns(struct epoll_event *ev, int n, int64_t ns) {
  struct timespec ts = {ns / NS_PER_S, ns % NS_PER_S};
  if (ns == 0 || atomic_load_explicit(&no_pwait2, memory_order_relaxed))
    return wait_ms(ev, n, ns);
  long r = mpgi_sys6(SYS_epoll_pwait2, epoll_fd, (long) ev, n,
                     ns < 0 ? 0 : (long) &ts, 0, 8);
  if (r != -ENOSYS && r != -EPERM) return r; /* [linux.poll.sandbox] */
  atomic_store_explicit(&no_pwait2, true, memory_order_relaxed);
  return wait_ms(ev, n, ns);
}

int mpgi_os_poll_wait(struct mpgi_os_poll_event *out, int max,
                      int64_t timeout_ns, bool *broken) {
  struct epoll_event ev[MPGI_OS_POLL_EVENTS];
  MPG_ASSERT(max > 0 && max <= MPGI_OS_POLL_EVENTS);
  long n = wait_ns(ev, max, timeout_ns);
  if (n < 0 && n != -EINTR) return (int) n;
  int k = 0;
  *broken = false;
  for (long i = 0; i < n; i++) {
    if (ev[i].data.u64 == BREAK_DATA)
      *broken = true;
    else
      out[k++] = (struct mpgi_os_poll_event){ev[i].data.u64, ev[i].events};
  }
  return k;
}

/* [linux.poll.owner] */
int mpgi_os_poll_break(void) {
  return control(EPOLL_CTL_MOD, break_fd, EPOLLIN, BREAK_DATA);
}

int mpgi_os_poll_unbreak(void) {
  return control(EPOLL_CTL_MOD, break_fd, 0, BREAK_DATA);
}

int mpgi_os_poll_now(int fd, int events) {
  struct pollfd p = {.fd = fd, .events = (short) events};
  long r;
  do r = mpgi_sys3(SYS_poll, (long) &p, 1, 0);
  while (r == -EINTR);
  if (r <= 0) return (int) r;
  return p.revents & POLLNVAL ? -EBADF : p.revents;
}

/* alarm.c - a signal for one thread at a point in time, from the kernel's timer
 * interrupt: it meets a thread that runs, however long others wait for its CPU.
 *
 * POSIX timers by bare system calls: libc's wrappers write errno, and refuse
 * SIGEV_THREAD_ID under some feature macros.  A timer keeps the thread that it
 * was made for, not its number; once that has ended, it signals nobody.  A
 * child of fork has none.
 */
#include <arch/common/check.h>
#include <arch/linux/sys.h>
#include <arch/os.h>
#include <linux/time_types.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define NS_PER_S ((int64_t) 1000000000)

static const char mark; /* its address in the signal: it is ours */

/* The kernel's struct sigevent: libc's has other names for the thread. */
struct event {
  const void *value;
  int32_t signo, notify, tid;
  int32_t pad[11];
};
_Static_assert(sizeof(struct event) == 64, "the kernel's struct sigevent");

static bool make(struct mpgi_os_alarm *a, int tid) {
  struct event e = {
      .value = &mark, .signo = SIGURG, .notify = SIGEV_THREAD_ID, .tid = tid};
  int id;
  mpgi_os_alarm_end(a);
  if (mpgi_sys3(SYS_timer_create, CLOCK_MONOTONIC, (long) &e, (long) &id) != 0)
    return false;
  *a = (struct mpgi_os_alarm){.tid = tid, .id = id};
  return true;
}

static void settime(struct mpgi_os_alarm *a, int64_t when) {
  struct __kernel_itimerspec t = {
      .it_value = {.tv_sec = when / NS_PER_S, .tv_nsec = when % NS_PER_S}};
  long r =
      mpgi_sys6(SYS_timer_settime, a->id, TIMER_ABSTIME, (long) &t, 0, 0, 0);
  MPG_ASSERT(r == 0);
  (void) r;
  a->set = when != 0;
}

bool mpgi_os_alarm_set(struct mpgi_os_alarm *a, int tid, int64_t when) {
  MPG_ASSERT(tid > 0 && when > 0);
  if (a->tid != tid && !make(a, tid)) return false;
  settime(a, when);
  return true;
}

void mpgi_os_alarm_cancel(struct mpgi_os_alarm *a) {
  if (a->set) settime(a, 0);
}

void mpgi_os_alarm_end(struct mpgi_os_alarm *a) {
  if (!a->tid) return;
  mpgi_sys3(SYS_timer_delete, a->id, 0, 0);
  memset(a, 0, sizeof *a);
}

bool mpgi_os_is_alarm(const void *siginfo) {
  const siginfo_t *info = siginfo;
  return info->si_code == SI_TIMER && info->si_value.sival_ptr == &mark;
}

/* time.c - the monotonic clock, sleeping and yielding the CPU. */
#include <arch/common/check.h>
#include <arch/linux/sys.h>
#include <arch/os.h>
#include <arch/tls.h>
#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#define NS_PER_S ((int64_t) 1000000000)

static int64_t read_clock(clockid_t clock) {
  struct timespec ts;
  /* The vDSO: no system call, and no errno because it can't fail. */
  int bad = clock_gettime(clock, &ts);
  MPG_ASSERT_INTERNAL(bad == 0);
  (void) bad;
  return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t mpgi_os_now(void) { return read_clock(CLOCK_MONOTONIC); }
int64_t mpgi_os_wall_now(void) { return read_clock(CLOCK_REALTIME); }

void mpgi_os_sleep(int64_t ns) {
  if (ns <= 0) return;
  /* Absolute, so that signals don't lengthen it. */
  int64_t now = mpgi_os_now();
  int64_t end = ns > INT64_MAX - now ? INT64_MAX : now + ns;
  struct timespec ts = {end / NS_PER_S, end % NS_PER_S};
  long r;
  mpgi_waits_begin();
  do {
    r = mpgi_sys6(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME,
                  (long) &ts, 0, 0, 0);
  } while (r == -EINTR);
  mpgi_waits_end();
  MPG_ASSERT_INTERNAL(r == 0);
}

void mpgi_os_yield(void) { mpgi_sys3(SYS_sched_yield, 0, 0, 0); }

void mpgi_os_timer_slack_lower(void) {
  /* 0 would mean "the default" (50 us). */
  long r = mpgi_sys6(SYS_prctl, PR_SET_TIMERSLACK, 1, 0, 0, 0, 0);
  MPG_ASSERT_INTERNAL(r == 0);
  (void) r;
}

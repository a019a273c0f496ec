/* futex.c - sleep on a word, wake its sleepers.
 *
 * Private futexes: no word is shared between processes.  Signal-safe, and
 * used inside signal handlers to freeze threads while the world is stopped.
 */
#include <arch/common/chaos.h>
#include <arch/common/check.h>
#include <arch/linux/sys.h>
#include <arch/os.h>
#include <arch/tls.h>
#include <errno.h>
#include <linux/futex.h>
#include <time.h>

#define NS_PER_S ((int64_t) 1000000000)

/* The kernel reads the word as 32 naturally aligned bits. */
_Static_assert(sizeof(_Atomic uint32_t) == 4, "futex word");

int mpgi_os_futex_wait(_Atomic uint32_t *word, uint32_t expected,
                       int64_t timeout_ns) {
  MPG_ASSERT(((uintptr_t) word & 3) == 0);
  struct timespec ts, *timeout = NULL;
  MPGI_CHAOS();
  if (timeout_ns >= 0) {
    ts.tv_sec = timeout_ns / NS_PER_S;
    ts.tv_nsec = timeout_ns % NS_PER_S;
    timeout = &ts;
  }
  mpgi_waits_begin();
  long r = mpgi_sys6(SYS_futex, (long) word, FUTEX_WAIT_PRIVATE, expected,
                     (long) timeout, 0, 0);
  mpgi_waits_end();
  MPGI_CHAOS();
  /* EAGAIN: the word had changed; EINTR: a spurious wake-up. */
  MPG_ASSERT(r == 0 || r == -EAGAIN || r == -EINTR || r == -ETIMEDOUT);
  return r == -ETIMEDOUT ? -ETIMEDOUT : 0;
}

void mpgi_os_futex_wake(_Atomic uint32_t *word, int n) {
  MPG_ASSERT(((uintptr_t) word & 3) == 0 && n > 0);
  MPGI_CHAOS();
  /* EFAULT is legal: the last sleeper may have unmapped the word already. */
  long r = mpgi_sys6(SYS_futex, (long) word, FUTEX_WAKE_PRIVATE, n, 0, 0, 0);
  MPG_ASSERT_INTERNAL(r >= 0 || r == -EFAULT);
  (void) r;
}

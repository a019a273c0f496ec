/* mpg/time.h - the monotonic clock and sleeping. */
#ifndef MPG_TIME_H
#define MPG_TIME_H

#include <mpg/base.h>

MPG_BEGIN_DECLS

/* CLOCK_MONOTONIC.
 *
 * Returns: nanoseconds.
 * Context: any thread, signal handlers too; also before mpg_run.
 * Since: 0.1.
 */
MPG_API int64_t mpg_now(void);

/* Park the goroutine, not the thread, for ns nanoseconds or until the clock
 * of mpg_now shows deadline_ns.
 *
 * ns           nanoseconds; <= 0 returns at once; INT64_MAX is for ever
 * deadline_ns  absolute; one in the past returns at once; < 0 is for ever
 *
 * Never returns early; how late depends on how busy the Ps are.
 * Context: goroutine.  Parks.
 * Since: 0.1.  Source: Go time.go (timeSleep).
 */
MPG_API void mpg_sleep(int64_t ns);
MPG_API void mpg_sleep_until(int64_t deadline_ns);

MPG_END_DECLS

#endif /* MPG_TIME_H */

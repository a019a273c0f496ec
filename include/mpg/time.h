/* mpg/time.h - the monotonic clock and sleeping. */
#ifndef MPG_TIME_H
#define MPG_TIME_H

#include <mpg/base.h>

MPG_BEGIN_DECLS

/* CLOCK_MONOTONIC in nanoseconds.  Any thread, signal handlers too. */
MPG_API int64_t mpg_now(void);

/* Park for ns nanoseconds; ns <= 0 returns at once.  until: absolute in
 * mpg_now()'s clock; the past returns at once. */
MPG_API void mpg_sleep(int64_t ns);
MPG_API void mpg_sleep_until(int64_t deadline_ns);

MPG_END_DECLS

#endif /* MPG_TIME_H */

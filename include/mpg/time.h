/* mpg/time.h - the monotonic clock, sleeping, timers. */
#ifndef MPG_TIME_H
#define MPG_TIME_H

#include <mpg/base.h>
#include <mpg/chan.h>

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

/* A channel that delivers one int64_t, the time, after ns nanoseconds.
 *
 * ns  nanoseconds; <= 0 is now
 *
 * Returns: a channel of capacity 1, never closed; NULL without memory.
 * Owner: the collector; the channel lives until it has delivered, too, when
 *   nobody else keeps it.
 * Context: goroutine.  Allocates, may run a collection; doesn't park.
 * Since: 0.1.  Source: Go sleep.go (After).
 */
MPG_API mpg_chan *mpg_after(int64_t ns);

typedef struct mpg_timer mpg_timer;

/* Run fn(arg), in a new goroutine each time, after ns nanoseconds and then
 * every period_ns.
 *
 * Ticks are at the start plus ns plus multiples of period_ns; one that is
 * missed because the program was too busy is dropped, so there may be fewer,
 * never more.  Missed, too, is one that comes while the goroutine of the tick
 * before has yet to begin.  Goroutines of several ticks run side by side when
 * fn lasts longer than the period.
 *
 * mpg_timer_start is a macro so that the translation unit's own build flags
 * decide the kind of stack that fn gets (mpg_go).
 *
 * ns         nanoseconds to the first call; <= 0 is at once
 * period_ns  nanoseconds between calls; <= 0: only one call
 * fn         what to run; not NULL
 * arg        passed to fn; may be anything
 *
 * Returns: the timer; NULL when fn is NULL or without memory.
 * Owner: the collector.  A timer that may still fire lives, and arg is a root,
 *   whether or not the handle is kept; the handle itself is valid as long as
 *   the collector can see it (not in malloc memory), after firing and stopping
 *   too.
 * Context: goroutine.  Allocates, may run a collection; doesn't park.
 * Callbacks: fn, as a goroutine.
 * Since: 0.1.  Source: Go sleep.go (AfterFunc).
 */
MPG_API mpg_timer *mpg_timer_start_segmented(int64_t ns, int64_t period_ns,
                                             mpg_func fn, void *arg);
MPG_API mpg_timer *mpg_timer_start_fixed(int64_t ns, int64_t period_ns,
                                         mpg_func fn, void *arg);
/* The same name as a function, for dlsym and for other languages: on a fixed
 * stack. */
MPG_API mpg_timer *mpg_timer_start(int64_t ns, int64_t period_ns, mpg_func fn,
                                   void *arg);
#if defined(MPG_SPLIT_STACK) && MPG_SPLIT_STACK
#define mpg_timer_start(...) mpg_timer_start_segmented(__VA_ARGS__)
#endif

/* Stop a timer.  It may be called any number of times, by anybody, while the
 * timer fires too.
 *
 * t  from mpg_timer_start; NULL does nothing
 *
 * Returns: true when this call prevented a firing: no goroutine is started any
 *   more (one that was may still have to run).  false when a one-shot timer
 *   has fired, or the timer was stopped before, or for NULL.
 * Context: goroutine.  Doesn't park, doesn't wait for fn.
 * Since: 0.1.  Source: Go sleep.go (Timer.Stop).
 */
MPG_API bool mpg_timer_stop(mpg_timer *t);

MPG_END_DECLS

#endif /* MPG_TIME_H */

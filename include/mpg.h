/* mpg.h - umbrella for the public headers of mpg.
 *
 * mpg gives a C program what the Go runtime gives a Go program: goroutines,
 * growable stacks, preemption and a garbage collector.  Start with mpg_run()
 * (mpg/sched.h) and mpg_alloc() (mpg/gc.h).
 */
#ifndef MPG_H
#define MPG_H

#include <mpg/base.h>
#include <mpg/chan.h>
#include <mpg/debug.h>
#include <mpg/gc.h>
#include <mpg/io.h>
#include <mpg/sched.h>
#include <mpg/sync.h>
#include <mpg/time.h>

#endif /* MPG_H */

/* mpg/sched.h - goroutines and the threads that run them. */
#ifndef MPG_SCHED_H
#define MPG_SCHED_H

#include <mpg/base.h>

MPG_BEGIN_DECLS

/* Start the runtime and run fn(arg) as the main goroutine; wait for it.
 *
 * When fn returns the other goroutines execute no further instruction, as in
 * Go.  The heap stays readable and mpg_run may be called again.
 *
 * Returns: 0; -EINVAL (fn is NULL); -EALREADY (inside or beside a running
 *   runtime); -ENOMEM; -EAGAIN (no thread could be created).
 * Context: an ordinary thread; blocks it until fn has returned.
 * Since: 0.1.  Source: Go proc.go (main, rt0_go).
 */
MPG_API int mpg_run(mpg_func fn, void *arg);

enum {
  MPG_GO_MOVABLE = 1u << 0,     /* the stack may be relocated (user guide) */
  MPG_GO_FIXED_STACK = 1u << 1, /* fn calls code built without mpg's flags */
};

struct mpg_go_options {
  size_t size;        /* sizeof(struct mpg_go_options) */
  unsigned flags;     /* MPG_GO_... */
  size_t stack_bytes; /* size of a fixed stack, limit of a segmented one; 0 =
                         the default */
  const char *name;   /* copied; for tracebacks; may be NULL */
};

/* Start a goroutine that runs fn(arg).
 *
 * mpg_go is a macro so that the translation unit's own build flags decide
 * the kind of stack: segmented when it was compiled with MPG_SPLIT_STACK=1,
 * fixed otherwise.
 *
 * Returns: 0; -EINVAL (fn NULL; size 0, unknown flags, MOVABLE with FIXED);
 *   -ENOMEM; -EPERM outside mpg_run.
 * Owner: arg is a root until the goroutine starts; then it is on its stack.
 * Context: goroutine, attached thread.  Doesn't park.
 * Since: 0.1.  Source: Go proc.go (newproc).
 */
MPG_API int mpg_go_segmented(mpg_func fn, void *arg);
MPG_API int mpg_go_fixed(mpg_func fn, void *arg);
MPG_API int mpg_go_with_segmented(const struct mpg_go_options *opt, mpg_func fn,
                                  void *arg);
MPG_API int mpg_go_with_fixed(const struct mpg_go_options *opt, mpg_func fn,
                              void *arg);
/* mpg_run likewise: the main goroutine's stack follows the caller's flags. */
MPG_API int mpg_run_segmented(mpg_func fn, void *arg);

/* The same names as functions, for dlsym and for other languages; they give
 * a fixed stack, which is right for any code. */
MPG_API int mpg_go(mpg_func fn, void *arg);
MPG_API int mpg_go_with(const struct mpg_go_options *opt, mpg_func fn,
                        void *arg);

#if defined(MPG_SPLIT_STACK) && MPG_SPLIT_STACK
#define mpg_run(fn, arg) mpg_run_segmented((fn), (arg))
#define mpg_go(fn, arg) mpg_go_segmented((fn), (arg))
#define mpg_go_with(opt, fn, arg) mpg_go_with_segmented((opt), (fn), (arg))
#endif

/* Let others run; the caller goes to the back of the queue. */
MPG_API void mpg_yield(void);

/* End the calling goroutine.  From the main goroutine: the others go on, and
 * mpg_run returns never, or deadlock is reported. */
MPG_API MPG_NORETURN void mpg_goexit(void);

/* The calling goroutine's number, from 1; 0 outside a goroutine. */
MPG_API uint64_t mpg_goid(void);

/* Set the number of Ps, as GOMAXPROCS; n < 1 only reports.  Stops the world.
 * Returns: the previous value. */
MPG_API int mpg_gomaxprocs(int n);

/* Set the cap on threads (default 10000).  Returns: the previous value. */
MPG_API int mpg_set_max_threads(int n);

/* User goroutines that exist, main included; 0 outside mpg_run. */
MPG_API int mpg_num_goroutines(void);

/* Forbid a goroutine switch by preemption; calls nest.  The collector may
 * still freeze the thread in place. */
MPG_API void mpg_preempt_disable(void);
MPG_API void mpg_preempt_enable(void);

/* Hand the P off around a call that blocks in the kernel.  Between the two
 * the goroutine must not use the mpg API nor hold the only pointer to an
 * object in a variable assigned in between. */
MPG_API void mpg_syscall_enter(void);
MPG_API void mpg_syscall_exit(void);

/* Run fn(arg), which may block its thread, with the P handed off. */
MPG_API void mpg_blocking(mpg_func fn, void *arg);

MPG_END_DECLS

#endif /* MPG_SCHED_H */

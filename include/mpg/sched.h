/* mpg/sched.h - goroutines and the threads that run them.
 *
 * "Goroutine" as a context means: called by code that runs as a goroutine.
 * On a thread that mpg doesn't know such a call is fatal, unless its comment
 * says "any thread".
 */
#ifndef MPG_SCHED_H
#define MPG_SCHED_H

#include <mpg/base.h>

MPG_BEGIN_DECLS

/* Start the runtime and run fn(arg) as the main goroutine; wait for it.
 *
 * When fn returns the other goroutines execute no further instruction, as in
 * Go.  The heap stays readable and mpg_run may be called again.  Before the
 * first mpg_run only what says so does anything: mpg_goid, mpg_now,
 * mpg_version, the setters of limits (mpg_gomaxprocs, mpg_set_max_threads,
 * mpg_gc_percent, mpg_memory_limit), and some more.
 *
 * fn   what to run; must be able to run on another thread than the caller's
 * arg  passed to fn; may be anything
 *
 * Returns: 0; -EINVAL (fn is NULL); -EALREADY (inside or beside a running
 *   runtime); -ENOMEM; -EAGAIN (no thread could be created); -EPERM (not on
 *   the thread's own stack: a coroutine's, the alternate signal stack).
 * Context: an ordinary thread; blocks it until fn has returned.
 * Callbacks: fn, as a goroutine.
 * Since: 0.1.  Source: Go proc.go (main, rt0_go).
 */
MPG_API int mpg_run(mpg_func fn, void *arg);

/* Flags of a goroutine. */
enum {
  MPG_GO_MOVABLE = 1u << 0,     /* its stack may be swapped out (user guide) */
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
 * fn   what to run; the goroutine ends when it returns
 * arg  passed to fn; may be anything
 * opt  see above; read before the call returns
 *
 * Returns: 0; -EINVAL (fn or opt NULL; size 0, unknown flags, MOVABLE with
 *   FIXED); -ENOMEM; -EPERM outside mpg_run.
 * Owner: arg is a root until the goroutine starts; then it is on its stack.
 * Context: goroutine.  Allocates; doesn't park.
 * Callbacks: fn, as a goroutine.
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
/* Variadic: an argument may be a compound literal, with commas. */
#define mpg_run(...) mpg_run_segmented(__VA_ARGS__)
#define mpg_go(...) mpg_go_segmented(__VA_ARGS__)
#define mpg_go_with(...) mpg_go_with_segmented(__VA_ARGS__)
#endif

/* Let others run; the caller goes to the back of its P's queue.  Those in the
 * global queue, loops that were preempted for example, run before it when it is
 * their turn: at every 61st switch, or when nobody else is there.
 *
 * Context: goroutine.  A safe point.
 * Since: 0.1.  Source: Go proc.go (Gosched), which uses the global queue.
 */
MPG_API void mpg_yield(void);

/* End the calling goroutine, at any depth of calls.  Nothing is unwound.
 *
 * From the main goroutine: the others go on, and mpg_run never returns; when
 * the last of them ends, a deadlock is reported.
 * Context: goroutine.
 * Since: 0.1.  Source: Go panic.go (Goexit).
 */
MPG_API MPG_NORETURN void mpg_goexit(void);

/* The calling goroutine's number, unique within a run.
 *
 * Returns: from 1; 0 outside a goroutine.
 * Context: any thread; also before mpg_run.
 * Since: 0.1.
 */
MPG_API uint64_t mpg_goid(void);

/* Set the number of Ps, that is, of goroutines that run at the same time.
 * The first value is MPG_PROCS or the number of CPUs the process may use; a
 * value set stays for later runs.
 *
 * n  from 1, silently capped at 1024; below 1 only reports
 *
 * Returns: the previous value.
 * Context: goroutine (stops the world); before mpg_run, and to report, any
 * thread.
 * Since: 0.1.  Source: Go debug.go (GOMAXPROCS).
 */
MPG_API int mpg_gomaxprocs(int n);

/* Set the cap on threads; exceeding it is fatal.
 *
 * n  from 1; not below the number of threads there are, which is fatal
 *
 * Returns: the previous value; 10000 at first.
 * Context: any thread; also before mpg_run.
 * Since: 0.1.  Source: Go proc.go (setMaxThreads).
 */
MPG_API int mpg_set_max_threads(int n);

/* The number of the user's goroutines, main included.
 *
 * Returns: from 1; 0 outside mpg_run.
 * Context: any thread.
 * Since: 0.1.  Source: Go debug.go (NumGoroutine).
 */
MPG_API int mpg_num_goroutines(void);

/* Forbid a switch to another goroutine by preemption; the calls nest.  The
 * collector may still freeze the thread in place, and the goroutine may park
 * or yield by itself.  One enable too many is fatal.
 *
 * Context: goroutine.
 * Since: 0.1.
 */
MPG_API void mpg_preempt_disable(void);
MPG_API void mpg_preempt_enable(void);

/* Make the calling thread, one of the application's, known to the runtime that
 * mpg_run runs: it may then call everything that a goroutine may, allocate,
 * start goroutines, wait for them.  Operations that park a goroutine block the
 * thread.  Its stack, registers and thread-local variables are roots, and it
 * is frozen by SIGURG while the world is stopped, wherever it is.
 *
 * It is no goroutine: mpg_goid is 0, mpg_num_goroutines and GOMAXPROCS don't
 * count it, it is never switched out, and mpg_goexit is fatal.  While a
 * thread is attached no deadlock is reported.
 *
 * A thread that ends detaches by itself.  When mpg_run returns, its attached
 * threads go on in their own code, detached. A call of mpg that one is blocked
 * in then never returns, nor does one that it makes later, as if the end had
 * come during the call (mpg_thread_attach, mpg_thread_detach and what any
 * thread may call excepted).
 *
 * Returns: 0; -EALREADY (attached already, or a goroutine); -EPERM (mpg_run
 *   doesn't run, or the thread is not on its own stack: a coroutine's, the
 *   alternate signal stack); -EAGAIN (1024 threads are attached); -ENOMEM.
 * Context: any thread; not in a signal handler.  Allocates; waits while the
 *   world is stopped.
 * Since: 0.1.  Source: sched/attach.c.
 */
MPG_API int mpg_thread_attach(void);

/* Undo mpg_thread_attach; the thread's alternate signal stack and mask are as
 * before.  It may attach again.
 *
 * Returns: 0, also when the attachment ended with the run; -EPERM (not
 *   attached; a goroutine).
 * Context: an attached thread, outside mpg_syscall_enter.
 * Since: 0.1.
 */
MPG_API int mpg_thread_detach(void);

/* Bind the calling goroutine to its thread: until it has called
 * mpg_unlock_thread as often, it runs on this thread only, and the thread runs
 * nobody else.  For code that depends on the thread: pthread_setspecific,
 * namespaces, credentials, OpenGL contexts.  A switch to or from such a
 * goroutine costs a switch of threads.  An unlock too many does nothing.
 *
 * A goroutine that ends while it is bound ends the thread, too; another one
 * takes its place.
 *
 * The main goroutine doesn't run on the thread that called mpg_run; binding
 * doesn't change that.
 *
 * Context: goroutine.  Doesn't park.
 * Since: 0.1.  Source: Go proc.go (LockOSThread).
 */
MPG_API void mpg_lock_thread(void);
MPG_API void mpg_unlock_thread(void);

/* A key of goroutine-local storage.  Zero-initialised ones are no keys. */
typedef struct {
  uint64_t id;
} mpg_local;

#define MPG_LOCALS_MAX 65536 /* keys of a process */

/* Make a key.  Every goroutine has a value of its own for it, NULL until set;
 * a new goroutine inherits nothing.  Keys are never given back nor used
 * again, and outlive mpg_run: make them once, like a static variable.
 *
 * key  where to put it; not NULL
 *
 * Returns: 0; -EINVAL (key is NULL); -EAGAIN (MPG_LOCALS_MAX keys exist).
 * Context: any thread; also before mpg_run.  Doesn't allocate.
 * Since: 0.1.
 */
MPG_API int mpg_local_new(mpg_local *key);

/* The calling goroutine's value.
 *
 * Returns: what it set last; NULL when it has set nothing, or for what is no
 *   key.
 * Context: goroutine.  A few instructions.
 * Since: 0.1.
 */
MPG_API void *mpg_local_get(mpg_local key);

/* Set the calling goroutine's value.
 *
 * value  anything; a pointer keeps its object alive
 *
 * Returns: 0; -EINVAL (no key); -ENOMEM.  A value set once can be changed
 *   without failing.
 * Owner: the value is a root until it is changed or the goroutine ends.
 * Nothing is called for it then: what it points at is garbage.
 * Context: goroutine.  May allocate.
 * Since: 0.1.  Source: sched/local.c.
 */
MPG_API int mpg_local_set(mpg_local key, void *value);

/* Hand the P off around a call that blocks in the kernel: others run
 * meanwhile, and the world can stop.  Between the two the goroutine must not
 * use the mpg API, nor hold the only pointer to an object in a variable
 * assigned in between.  The stack may grow.  Nesting is fatal, and so are exit
 * without enter and what waits, yields, ends or allocates in between.  exit
 * does nothing in the child of a fork.
 *
 * Context: goroutine.  exit parks when no P is free.
 * Since: 0.1.  Source: Go proc.go (entersyscall, exitsyscall).
 */
MPG_API void mpg_syscall_enter(void);
MPG_API void mpg_syscall_exit(void);

/* Run fn(arg), which may block its thread, with the P handed off; the same
 * restrictions as between mpg_syscall_enter and mpg_syscall_exit.
 *
 * fn   what to run, on the goroutine's own stack
 * arg  passed to fn
 *
 * Owner: arg is a root until fn returns.
 * Context: goroutine.
 * Callbacks: fn.
 * Since: 0.1.
 */
MPG_API void mpg_blocking(mpg_func fn, void *arg);

/* Run fn(arg) with MPG_FOREIGN_BYTES of stack, at least.
 *
 * For functions that were built without mpg's flags and that no linker sees
 * being called: through a pointer that a library or dlsym gave.  (A call by
 * name needs nothing: it has as much.)  Such code doesn't grow
 * its stack; on the rest of a small segment it would overwrite what lies
 * below.  MPG_DEBUG=stackguard=1 finds calls that should have gone through
 * here.
 *
 * fn runs on the goroutine's own stack, in its own name: it may block its
 * thread as any foreign code, use the mpg API, park, and call back code built
 * with the flags.  A function with another type is called by a small fn of the
 * application's that takes arguments and results through arg.
 *
 * fn   what to run
 * arg  passed to fn
 *
 * Context: goroutine; on a fixed stack, and on other threads, it just calls
 *   fn on the stack there is.  Fatal "stack overflow" beyond the goroutine's
 *   limit.
 * Callbacks: fn.
 * Since: 0.1.
 */
#define MPG_FOREIGN_BYTES (60 << 10)
MPG_API void mpg_foreign_call(mpg_func fn, void *arg);

MPG_END_DECLS

#endif /* MPG_SCHED_H */

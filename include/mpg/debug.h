/* mpg/debug.h - looking at a running program. */
#ifndef MPG_DEBUG_H
#define MPG_DEBUG_H

#include <mpg/base.h>

MPG_BEGIN_DECLS

/* Write every goroutine's number, status, wait reason and stack, beginning
 * with "goroutine N [status]:".
 *
 * fd  a descriptor; errors of writing are ignored
 *
 * Context: goroutine, or a thread without one.  Stops the world; doesn't
 *   allocate.
 * Since: 0.1.  Source: Go traceback.go (tracebackothers).
 */
MPG_API void mpg_traceback_all(int fd);

/* The version and the platform: "0.1.0 (x86_64-linux)".
 *
 * Owner: static.
 * Context: any thread; also before mpg_run.
 * Since: 0.1.
 */
MPG_API const char *mpg_version(void);

/* Declare that a loaded library was built with mpg's flags, so that
 * goroutines may be preempted in its code.  The main program is declared by
 * itself.  Declaring one that wasn't is an error that nobody reports: a
 * goroutine could be switched out where it must not be.
 *
 * addr  an address in the library's code or data
 *
 * Returns: 0, also when it was declared before; -EINVAL (addr is in no
 *   library); -ENOMEM.
 * Context: goroutine, or a thread without one.  Takes the dynamic linker's
 *   lock.
 * Since: 0.1.
 */
MPG_API int mpg_text_add(const void *addr);

MPG_END_DECLS

#endif /* MPG_DEBUG_H */

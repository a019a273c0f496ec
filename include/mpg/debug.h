/* mpg/debug.h - looking at a running program. */
#ifndef MPG_DEBUG_H
#define MPG_DEBUG_H

#include <mpg/base.h>

MPG_BEGIN_DECLS

/* Write every goroutine's number, status, wait reason and stack to fd. */
MPG_API void mpg_traceback_all(int fd);

/* "0.1.0 (x86_64-linux)"; static. */
MPG_API const char *mpg_version(void);

/* Declare that the loaded library that contains addr was built with mpg's
 * flags, so that goroutines may be preempted in its code.  The main program
 * is declared by itself.  Returns: 0; -EINVAL (no such library); -ENOMEM. */
MPG_API int mpg_text_add(const void *addr);

MPG_END_DECLS

#endif /* MPG_DEBUG_H */

/* sys.h - bare system calls, for what must be signal-safe and leave errno
 * alone.  The result is the kernel's: a value, or a negative errno.
 *
 * libc's wrappers are not used for these: they write errno, which belongs to
 * whatever user code the thread will run next, and some are cancellation
 * points.
 */
#ifndef MPGI_SYS_H
#define MPGI_SYS_H

#include <sys/syscall.h>

#if defined(__x86_64__)
#include <arch/linux/sys_x86_64.h>
#else
#error "no bare system calls for this CPU"
#endif

#endif /* MPGI_SYS_H */

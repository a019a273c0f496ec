/* check.h - assertions, fatal errors and signal-safe printing.
 *
 * MPG_CHECK (0..3, set by the build) decides which checks run; switched-off
 * ones still compile.  The failure path allocates nothing, takes no lock and
 * works in a signal handler.
 */
#ifndef MPGI_CHECK_H
#define MPGI_CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <arch/arch.h>

#ifndef MPG_CHECK
#define MPG_CHECK 1
#endif

#define MPGI_LIKELY(x) __builtin_expect(!!(x), 1)
#define MPGI_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define MPGI_CHECK_AT(level, cond)                            \
  do {                                                        \
    if ((level) <= MPG_CHECK && MPGI_UNLIKELY(!(cond)))       \
      mpgi_check_failed(#cond, __FILE__, __LINE__, __func__); \
  } while (0)

#define MPG_VERIFY(cond) MPGI_CHECK_AT(0, cond)
#define MPG_ASSERT(cond) MPGI_CHECK_AT(1, cond)
#define MPG_ASSERT_INTERNAL(cond) MPGI_CHECK_AT(2, cond)
#define MPG_ASSERT_EXPENSIVE(cond) MPGI_CHECK_AT(3, cond)

/* "fatal: check failed: cond (file:line, func)", G/M/P through the hook,
 * abort(). */
MPGI_HIDDEN _Noreturn void mpgi_check_failed(const char *cond, const char *file,
                                             int line, const char *func);

/* The documented fatal errors: "fatal: " message newline, the traceback of
 * the calling goroutine through the hook, _exit(2).  printf-like subset as
 * mpgi_print. */
MPGI_HIDDEN _Noreturn void mpgi_fatal(const char *fmt, ...)
    __attribute__((format(printf, 1, 2), cold));

/* True for the first thread to die, which then prints; another one is held up
 * meanwhile.  To be called when the message is printed.  Signal-safe. */
MPGI_HIDDEN bool mpgi_die_first(void);

/* Set by sched: prints state and tracebacks to fd, signal-safe. */
MPGI_HIDDEN extern void (*mpgi_fatal_hook)(int fd);

/* Tests: called first with the message of a fatal error or failed check; may
 * longjmp away.  NULL in production. */
MPGI_HIDDEN extern void (*mpgi_fatal_intercept)(const char *message);

/* Signal-safe formatted output to a descriptor in one write where it fits in
 * 1 KiB: %s %c %d %i %u %x %p %% with l, ll, z modifiers, width and precision
 * of %s (numbers or *), 0 and - flags.  No floating point.  The formatters
 * truncate, always end with NUL (bytes > 0) and return the length stored. */
MPGI_HIDDEN void mpgi_print(int fd, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
MPGI_HIDDEN int mpgi_format(char *buf, size_t bytes, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
MPGI_HIDDEN int mpgi_vformat(char *buf, size_t bytes, const char *fmt,
                             va_list ap);

#endif /* MPGI_CHECK_H */

/* mpg/base.h - types and macros shared by the public headers.
 *
 * Errors: every function that can fail returns 0 or a count on success and a
 * negative errno on failure, or NULL for pointers; errno is never used.
 * Durations are int64_t nanoseconds.  A deadline is absolute in mpg_now()'s
 * clock; < 0 means none.
 */
#ifndef MPG_BASE_H
#define MPG_BASE_H

#if !defined(__x86_64__) || !defined(__LP64__)
#error "mpg: for x86-64 with 64-bit pointers (not -m32, not -mx32)"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if !defined(__GLIBC__)
#error "mpg: needs glibc, and this is another C library"
#endif

#ifdef __cplusplus
#define MPG_BEGIN_DECLS extern "C" {
#define MPG_END_DECLS }
#define MPG_NORETURN __attribute__((noreturn))
#else
#define MPG_BEGIN_DECLS
#define MPG_END_DECLS
#define MPG_NORETURN _Noreturn
#endif

#if defined(MPG_SPLIT_STACK) && MPG_SPLIT_STACK
/* Linkers find no calls of foreign code in it: docs/design/stacks.md. */
#if defined(__code_model_large__)
#error "mpg: -mcmodel=large with -fsplit-stack: use -mcmodel=medium"
#endif
/* Linkers don't find the prologue behind endbr64. */
#if defined(__CET__)
#error "mpg: -fsplit-stack needs -fcf-protection=none behind other flags"
#endif

/* A library that is linked without mpg's would get GCC's __morestack, which
 * knows nothing of goroutines, and overwrite what is below their segments.
 * Beside mpg's there is this symbol: the link fails without. */
__asm__(
    ".hidden mpg_link_with_libs_of_pkg_config_mpg\n\t"
    ".reloc ., R_X86_64_NONE, mpg_link_with_libs_of_pkg_config_mpg");
#endif

/* Stacks are switched behind the backs of these two, unless they are told. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MPG_IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MPG_IS_SANITIZED 1
#endif
#endif
#if defined(MPG_IS_SANITIZED) && !defined(MPG_SANITIZED)
#error "mpg: -fsanitize=address and =thread need an mpg built with MPG_SANITIZE"
#endif

/* Every function declared in the public headers is exported from libmpg.so. */
#define MPG_API __attribute__((visibility("default")))

#define MPG_VERSION_MAJOR 0
#define MPG_VERSION_MINOR 1
#define MPG_VERSION_PATCH 0

/* The function a goroutine, a timer or a finalizer runs. */
typedef void (*mpg_func)(void *arg);

#endif /* MPG_BASE_H */

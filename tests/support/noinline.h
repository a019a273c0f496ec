/* noinline.h - functions that are to be seen as they are written. */
#ifndef TESTS_SUPPORT_NOINLINE_H
#define TESTS_SUPPORT_NOINLINE_H

#ifdef __clang__ /* clones nothing */
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noinline, noclone))
#endif

#endif /* TESTS_SUPPORT_NOINLINE_H */

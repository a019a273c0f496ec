/* array.h - a goroutine with an array of array_bytes on its stack. */
#ifndef TESTS_SUPPORT_ARRAY_H
#define TESTS_SUPPORT_ARRAY_H

#include <stddef.h>

static volatile size_t array_bytes;

static __attribute__((noinline)) int touch(volatile char *p, size_t n) {
  p[0] = 1;
  p[n - 1] = 2;
  return p[0] + p[n - 1];
}

static __attribute__((noinline)) int array(size_t n) {
  volatile char b[n];
  return touch(b, n) + 1;
}

static void overflow(void *arg) {
  volatile int result = array(array_bytes);
  (void) result, (void) arg;
}

#endif /* TESTS_SUPPORT_ARRAY_H */

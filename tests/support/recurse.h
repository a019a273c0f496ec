/* recurse.h - a goroutine that recurses until its stack ends. */
#ifndef TESTS_SUPPORT_RECURSE_H
#define TESTS_SUPPORT_RECURSE_H

static volatile int never_enough = 1;

static __attribute__((noinline)) int recurse(int depth) {
  volatile char frame[100];
  frame[depth % 100] = 1;
  return never_enough ? recurse(depth + 1) + frame[depth % 100] : 0;
}

static void overflow(void *arg) { *(int *) arg = recurse(0); }

#endif

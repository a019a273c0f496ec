/* step.h - a frame so many bytes below, as code has it that isn't compiled with
 * -fstack-clash-protection. */
#ifndef TESTS_SUPPORT_STEP_H
#define TESTS_SUPPORT_STEP_H

#include <stddef.h>

static __attribute__((noinline)) int step(size_t bytes) {
  volatile char here = 1;
  __asm__ volatile(
      "mov %%rsp, %%rbx\n"
      "sub %0, %%rsp\n"
      "movb $1, (%%rsp)\n"
      "mov %%rbx, %%rsp\n"
      :
      : "r"(bytes)
      : "rbx", "memory");
  return here;
}

#endif /* TESTS_SUPPORT_STEP_H */

/* ticks.c - a cheap clock for traces: the time-stamp counter.
 *
 * Used when the CPU says that it runs at one rate in every state, which the
 * kernel's own clocks rely on too; otherwise CLOCK_MONOTONIC.
 */
#include <cpuid.h>

#include <arch/arch.h>
#include <arch/os.h>

#define INVARIANT_TSC (1u << 8)

static bool is_steady(void) {
  uint32_t a, b, c, d = 0;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & INVARIANT_TSC);
}

uint64_t mpgi_arch_ticks(void) {
  static _Atomic int steady; /* 0 unknown, 1 no, 2 yes */
  int s = atomic_load_explicit(&steady, memory_order_relaxed);
  if (__builtin_expect(s == 0, 0)) {
    s = is_steady() ? 2 : 1;
    atomic_store_explicit(&steady, s, memory_order_relaxed);
  }
  return s == 2 ? __builtin_ia32_rdtsc() : (uint64_t) mpgi_os_now();
}

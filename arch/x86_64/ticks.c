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

_Atomic bool mpgi_arch_ticks_tsc;

uint64_t mpgi_arch_ticks_slow(void) {
  static _Atomic bool unsteady;
  if (atomic_load_explicit(&unsteady, memory_order_relaxed))
    return (uint64_t) mpgi_os_now();
  bool steady = is_steady();
  atomic_store_explicit(steady ? &mpgi_arch_ticks_tsc : &unsteady, true,
                        memory_order_relaxed);
  return mpgi_arch_ticks();
}

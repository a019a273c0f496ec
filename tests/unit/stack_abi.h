/* stack_abi.h - between stack_abi_harness.c and stack_abi_user.c. */
#ifndef STACK_ABI_H
#define STACK_ABI_H

#include <stdint.h>

/* One kind of call, as a function of a seed.  Compiled with split stacks; run
 * on a goroutine's stack its result must equal the one on a thread's stack. */
struct abi_case {
  const char *name;
  uint64_t (*fn)(uint64_t seed);
};
extern const struct abi_case abi_cases[];
extern const unsigned abi_ncases;

#endif /* STACK_ABI_H */

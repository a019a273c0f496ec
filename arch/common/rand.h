/* rand.h - small fast random numbers (wyrand), state owned by the caller.
 *
 * For victim choice, select order and tests: not for secrets.  One add, one
 * multiplication, one xor; period 2^64; any seed is good.
 */
#ifndef MPGI_RAND_H
#define MPGI_RAND_H

#include <stdint.h>

struct mpgi_rand {
  uint64_t state; /* owner only */
};

static inline uint64_t mpgi_rand_next(struct mpgi_rand *r) {
  __extension__ typedef unsigned __int128 wide;
  r->state += UINT64_C(0xa0761d6478bd642f);
  wide m = (wide) r->state * (r->state ^ UINT64_C(0xe7037ed1a0b428db));
  return (uint64_t) (m >> 64) ^ (uint64_t) m;
}

/* Uniform in [0, n) up to a bias below n / 2^32; n > 0. */
static inline uint32_t mpgi_rand_below(struct mpgi_rand *r, uint32_t n) {
  return (uint32_t) (((mpgi_rand_next(r) >> 32) * n) >> 32);
}

#endif /* MPGI_RAND_H */

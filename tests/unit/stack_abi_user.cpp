// stack_abi_user.cpp - C++ exceptions across segments, with -fsplit-stack.
//
// The cases of stack_abi_harness.c when it is linked with this file instead
// of stack_abi_user.c.  After each catch more frames are entered, so a context
// that still names an abandoned segment shows.
#include <cstdint>
#include <stdexcept>
#include <string>

extern "C" {
#include "stack_abi.h"
}

namespace {

#define NOINLINE __attribute__((noinline))

inline uint64_t mix(uint64_t h, uint64_t v) {
  h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
  return h * 0xff51afd7ed558ccdu;
}

NOINLINE uint64_t pad(uint64_t h) {
  volatile uint64_t v[6] = {h, h + 1, h + 2, h + 3, h + 4, h + 5};
  return v[0] ^ v[3] ^ v[5];
}

// Its destructor makes calls of its own while the unwinder works.
struct Guard {
  uint64_t &h;
  uint64_t v;
  NOINLINE ~Guard() { h = mix(h, pad(v)); }
};

NOINLINE uint64_t thrower(uint64_t depth, uint64_t s, uint64_t &trace) {
  Guard guard{trace, depth};
  volatile uint64_t frame[20] = {s};
  if (depth == 0) throw s;
  return thrower(depth - 1, mix(s, depth), trace) + frame[0];
}

NOINLINE uint64_t catcher(uint64_t depth, uint64_t s) {
  uint64_t trace = s;
  try {
    trace = mix(trace, thrower(depth, s, trace));
  } catch (uint64_t v) {
    trace = mix(trace, v);
  }
  return mix(trace, pad(trace));
}

NOINLINE uint64_t descend(uint64_t n, uint64_t h) {
  volatile uint64_t keep[10] = {h};
  if (n == 0) return h;
  return mix(descend(n - 1, mix(h, n)), keep[0]);
}

extern "C" uint64_t case_throw(uint64_t s) {
  uint64_t h = s;
  for (uint64_t depth = 0; depth < 40; depth += 7) {
    h = mix(h, catcher(depth, h));
    h = mix(h, descend(30, h));
  }
  return h;
}

// Rethrown half way down.
NOINLINE uint64_t rethrower(uint64_t depth, uint64_t s, uint64_t &trace) {
  volatile uint64_t frame[30] = {s};
  try {
    if (depth == 0) throw std::runtime_error(std::to_string(s));
    return rethrower(depth - 1, s + 1, trace) + frame[0];
  } catch (const std::runtime_error &e) {
    trace = mix(trace, pad(depth) + std::string(e.what()).size());
    if (depth % 3 == 0) throw;
    return mix(trace, depth);
  }
}
extern "C" uint64_t case_rethrow(uint64_t s) {
  uint64_t h = s;
  for (uint64_t depth = 1; depth < 30; depth += 5) {
    try {
      h = mix(h, rethrower(depth, s, h));
    } catch (const std::exception &e) {
      h = mix(h, std::string(e.what()).size());
    }
  }
  return mix(h, descend(20, h));
}

// Through memory of alloca that its segment couldn't hold.
NOINLINE uint64_t vla_thrower(uint64_t depth, uint64_t s) {
  auto *p =
      static_cast<volatile unsigned char *>(__builtin_alloca(700 * depth + 1));
  p[0] = p[700 * depth] = static_cast<unsigned char>(s);
  if (depth == 0) throw s;
  return vla_thrower(depth - 1, s + 1) + p[0];
}
extern "C" uint64_t case_vla_throw(uint64_t s) {
  uint64_t h = s;
  for (uint64_t i = 0; i < 6; i++) {
    try {
      h = mix(h, vla_thrower(i, h));
    } catch (uint64_t v) {
      h = mix(h, v);
    }
    h = mix(h, descend(10, h));
  }
  return h;
}

}  // namespace

extern "C" {
extern const abi_case abi_cases[] = {
    {"throw", case_throw},
    {"rethrow", case_rethrow},
    {"vla_throw", case_vla_throw},
};
extern const unsigned abi_ncases = 3;
}

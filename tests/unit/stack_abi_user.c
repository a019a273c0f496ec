/* stack_abi_user.c - every kind of call, compiled with -fsplit-stack.
 *
 * Built several times: GCC at -O0 -O2 -O3 -Os and Clang at -O2
 * (stack_abi_harness.c runs it).  Every case mixes what it received into a
 * hash, so a lost or swapped argument shows.  pad() makes callees that can't be
 * inlined and have a frame of their own.
 */
#include <alloca.h>
#include <complex.h>
#include <immintrin.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack_abi.h"

#define NOINLINE __attribute__((noinline))
/* Used by Clang too, which can't compile varargs with split stacks. */
#ifdef __clang__
#define HAVE_VARARGS 0
#define HAVE_NESTED 0
#define HAVE_VLA_STRUCT 0 /* docs/design/stacks.md */
#else
#define HAVE_VARARGS 1
#define HAVE_NESTED 1
#define HAVE_VLA_STRUCT 1
#endif

static inline uint64_t mix(uint64_t h, uint64_t v) {
  h ^= v + 0x9e3779b97f4a7c15u + (h << 6) + (h >> 2);
  return h * 0xff51afd7ed558ccdu;
}
static inline uint64_t mixd(uint64_t h, double d) {
  uint64_t v;
  memcpy(&v, &d, sizeof v);
  return mix(h, v);
}
static NOINLINE uint64_t mixbytes(uint64_t h, const void *p, size_t n) {
  const unsigned char *b = p;
  for (size_t i = 0; i < n; i++) h = h * 31 + b[i];
  return h;
}

/* Something with a frame below the callee under test. */
static NOINLINE uint64_t pad(uint64_t h) {
  volatile uint64_t v[6] = {h, h + 1, h + 2, h + 3, h + 4, h + 5};
  return v[0] ^ v[3] ^ v[5];
}

/* ---- registers and stack words ---- */

static NOINLINE uint64_t ints6(uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                               uint64_t e, uint64_t f) {
  uint64_t h = pad(a);
  h = mix(mix(mix(h, b), c), d);
  return mix(mix(h, e), f);
}
static uint64_t case_ints6(uint64_t s) {
  return ints6(s, s + 1, s ^ 77, s * 3, ~s, s << 7);
}

static NOINLINE uint64_t ints14(uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                uint64_t e, uint64_t f, uint64_t g, uint32_t h,
                                uint16_t i, int8_t j, _Bool k, uint64_t l,
                                uint64_t m, uint64_t n) {
  uint64_t x = pad(a);
  x = mix(mix(mix(mix(x, b), c), d), e);
  x = mix(mix(mix(mix(x, f), g), h), i);
  x = mix(mix(mix(x, (uint64_t) j), k), l);
  return mix(mix(x, m), n);
}
static uint64_t case_ints14(uint64_t s) {
  return ints14(s, s + 1, s + 2, s + 3, s + 4, s + 5, s + 6, (uint32_t) s,
                (uint16_t) s, (int8_t) s, s & 1, s + 7, s + 8, s + 9);
}

static NOINLINE uint64_t doubles12(double a, double b, double c, double d,
                                   double e, double f, double g, double h,
                                   double i, float j, double k, double l,
                                   uint64_t s) {
  uint64_t x = pad(s);
  x = mixd(mixd(mixd(mixd(x, a), b), c), d);
  x = mixd(mixd(mixd(mixd(x, e), f), g), h);
  return mixd(mixd(mixd(mixd(x, i), j), k), l);
}
static uint64_t case_doubles12(uint64_t s) {
  double d = (double) (s & 0xffff);
  return doubles12(d, d + 1, d * 2, d / 3, d - 4, d + .5, d * .25, -d, d + 9,
                   (float) d + 10, d + 11, d + 12, s);
}

static NOINLINE double all_mixed(uint64_t a, double b, uint64_t c, double d,
                                 uint64_t e, double f, uint64_t g, double h,
                                 uint64_t i, double j, uint64_t k, double l,
                                 uint64_t m, double n, uint64_t o, double p,
                                 uint64_t q, double r, uint64_t t, double u) {
  double x = (double) (pad(a) & 0xff);
  x += b + (double) c + d * 2 + (double) e + f * 3 + (double) g + h * 5;
  x += (double) i + j * 7 + (double) k + l * 11 + (double) m + n * 13;
  return x + (double) o + p * 17 + (double) q + r * 19 + (double) t + u * 23;
}
static uint64_t case_mixed20(uint64_t s) {
  uint64_t v = s & 0xfff;
  double d = (double) v / 8;
  return mixd(s, all_mixed(v, d, v + 1, d + 1, v + 2, d + 2, v + 3, d + 3,
                           v + 4, d + 4, v + 5, d + 5, v + 6, d + 6, v + 7,
                           d + 7, v + 8, d + 8, v + 9, d + 9));
}

/* Microsoft's convention: other registers, and rsi, rdi, xmm6 to 15 live. */
static NOINLINE __attribute__((ms_abi)) uint64_t ms_callee(uint64_t a, double b,
                                                           uint64_t c,
                                                           uint64_t d, double e,
                                                           uint64_t f) {
  return mix(mixd(mix(mixd(pad(a), b), c), e), mix(d, f));
}
static NOINLINE __attribute__((ms_abi)) uint64_t ms_caller(uint64_t s,
                                                           double d) {
  uint64_t x = s * 3, y = s ^ 5, z = s + 7, sum = 0;
  double u = d * 2, v = d - 1;
  for (uint64_t i = 0; i < 3; i++) {
    sum += ms_callee(s, d, i, x, u, y);
    sum = mix(mixd(mix(sum, x), u), mix(y, z));
    sum = mixd(sum, v);
  }
  return sum;
}
static uint64_t case_ms_abi(uint64_t s) {
  return ms_caller(s, (double) (s & 0xffff));
}

/* ---- structures by value ---- */

#define STRUCT_CASE(name, n)                                               \
  struct name {                                                            \
    uint64_t a[n];                                                         \
  };                                                                       \
  static NOINLINE uint64_t take_##name(struct name v, uint64_t x) {        \
    uint64_t h = pad(x);                                                   \
    v.a[n - 1]++;                                                          \
    return mixbytes(h, &v, sizeof v);                                      \
  }                                                                        \
  static NOINLINE uint64_t pass_##name(const struct name *p, uint64_t x) { \
    return take_##name(*p, x) + take_##name(*p, x + 1);                    \
  }                                                                        \
  static uint64_t case_##name(uint64_t s) {                                \
    static _Thread_local struct name v;                                    \
    for (size_t i = 0; i < n; i++) v.a[i] = s + i * i;                     \
    return pass_##name(&v, s);                                             \
  }
STRUCT_CASE(struct24, 3)
STRUCT_CASE(struct200, 25)
STRUCT_CASE(struct264, 33)
STRUCT_CASE(struct512, 64)
STRUCT_CASE(struct3200, 400)

/* GCC makes cold functions small, with arguments pushed if it may. */
static NOINLINE __attribute__((cold)) uint64_t pass_coldly(
    const struct struct3200 *p, uint64_t x) {
  return take_struct3200(*p, x) + take_struct3200(*p, x + 1);
}
static uint64_t case_cold(uint64_t s) {
  static _Thread_local struct struct3200 v;
  for (size_t i = 0; i < 400; i++) v.a[i] = s - i * i;
  return pass_coldly(&v, s);
}

#if HAVE_VLA_STRUCT
static NOINLINE uint64_t pass_below(const struct struct3200 *p, size_t n) {
  volatile unsigned char memory[n];
  memory[0] = (unsigned char) n;
  memory[n - 1]++;
  memory[n - 1] = (unsigned char) (n >> 8);
  uint64_t h = take_struct3200(*p, n);
  return mix(h, memory[0] + memory[n - 1]);
}
static uint64_t case_vla_struct(uint64_t s) {
  static _Thread_local struct struct3200 v;
  for (size_t i = 0; i < 400; i++) v.a[i] = s + 3 * i;
  return pass_below(&v, 20 + s % 1500);
}
#endif

#define OVERALIGNED(n)                                                         \
  struct overaligned##n {                                                      \
    _Alignas(n) uint64_t a[n / 8];                                             \
  };                                                                           \
  static NOINLINE uint64_t take_overaligned##n(                                \
      uint64_t a, struct overaligned##n v, uint64_t b, uint64_t c, uint64_t d, \
      uint64_t e, uint64_t f, uint64_t g) {                                    \
    uint64_t h = mix(mix(mix(pad(a), c), d), mix(mix(e, f), g));               \
    uintptr_t at = (uintptr_t) &v;                                             \
    __asm__("" : "+r"(at)); /* else it is known to be aligned */               \
    if (at % n) abort();                                                       \
    return mix(mixbytes(h, &v, sizeof v), b);                                  \
  }                                                                            \
  static uint64_t case_overaligned##n(uint64_t s) {                            \
    struct overaligned##n v;                                                   \
    for (uint64_t i = 0; i < n / 8; i++) v.a[i] = s * i;                       \
    return take_overaligned##n(s, v, s + 1, s + 2, s + 3, s + 4, s + 5,        \
                               s + 6);                                         \
  }
OVERALIGNED(64)
OVERALIGNED(128)
#ifndef __clang__ /* its prologues don't count alignment */
OVERALIGNED(256)
OVERALIGNED(4096)
#endif

/* ---- results ---- */

struct pair {
  uint64_t a, b;
};
struct fpair {
  double a, b;
};
struct mpair {
  uint64_t a;
  double b;
};
struct quad {
  uint64_t a[4];
};
static NOINLINE struct pair ret_pair(uint64_t s) {
  return (struct pair){pad(s), s + 1};
}
static NOINLINE struct fpair ret_fpair(uint64_t s) {
  return (struct fpair){(double) (pad(s) & 0xfff), 2.5};
}
static NOINLINE struct mpair ret_mpair(uint64_t s) {
  return (struct mpair){pad(s), 3.5};
}
static NOINLINE struct quad ret_quad(uint64_t s) {
  return (struct quad){{pad(s), s, s + 2, s + 3}};
}
static NOINLINE long double ret_ld(uint64_t s, long double x) {
  return x * 3 + (long double) (pad(s) & 0xff);
}
static NOINLINE _Complex long double ret_cld(uint64_t s,
                                             _Complex long double z) {
  return z * 2 + (long double) (pad(s) & 0xf);
}
static NOINLINE _Complex double ret_cd(uint64_t s, _Complex double z) {
  return z * 2 + (double) (pad(s) & 0xf);
}
static NOINLINE unsigned __int128 ret_i128(uint64_t s, unsigned __int128 x) {
  return (x << 3) + pad(s);
}
static uint64_t case_results(uint64_t s) {
  struct pair p = ret_pair(s);
  struct fpair f = ret_fpair(s);
  struct mpair m = ret_mpair(s);
  struct quad q = ret_quad(s);
  uint64_t h = mix(mix(s, p.a), p.b);
  h = mixd(mixd(h, f.a), f.b);
  h = mixd(mix(h, m.a), m.b);
  return mixbytes(h, &q, sizeof q);
}
static uint64_t case_x87(uint64_t s) {
  long double x = (long double) (s & 0xffff) / 7;
  long double y = ret_ld(s, x) + ret_ld(s + 1, x + 1);
  _Complex long double z = ret_cld(s, y + x * I);
  uint64_t h = mixd(s, (double) y);
  return mixd(mixd(h, (double) creall(z)), (double) cimagl(z));
}
static uint64_t case_wide(uint64_t s) {
  _Complex double z = ret_cd(s, (double) (s & 0xff) + 2 * I);
  unsigned __int128 w = ret_i128(s, (unsigned __int128) s << 40);
  uint64_t h = mix(mix(s, (uint64_t) w), (uint64_t) (w >> 64));
  return mixd(mixd(h, creal(z)), cimag(z));
}

/* ---- complex numbers ---- */

/* float: both parts in one register; double: two registers; more of them than
 * there are; long double: always on the stack, returned on the x87's. */
static NOINLINE _Complex float cfloats(uint64_t s, _Complex float a,
                                       _Complex float b, _Complex float c,
                                       _Complex float d, _Complex float e,
                                       _Complex float f, _Complex float g,
                                       _Complex float h, _Complex float i,
                                       float j, _Complex float k) {
  _Complex float x = (float) (pad(s) & 0xf) + a * 2 + b * 3 + c * 5 + d * 7;
  return x + e * 11 + f * 13 + g * 17 + h * 19 + i * 23 + j * 29 + k * 31;
}
static NOINLINE _Complex double cdoubles(_Complex double a, uint64_t s,
                                         _Complex double b, _Complex double c,
                                         _Complex double d, double e,
                                         _Complex double f, double g) {
  _Complex double x = (double) (pad(s) & 0xf) + a * 2 + b * 3 + c * 5;
  return x + d * 7 + e * 11 + f * 13 + g * 17;
}
static NOINLINE _Complex long double clongs(_Complex long double a, uint64_t s,
                                            _Complex double b, long double c,
                                            _Complex long double d,
                                            _Complex float e) {
  return (long double) (pad(s) & 0xf) + a * 2 + b * 3 + c * 5 + d * 7 + e * 11;
}
static uint64_t case_complex(uint64_t s) {
  double v = (double) (s & 0xff);
  float w = (float) v;
  _Complex float f =
      cfloats(s, w + 1 * I, w + 2 * I, 3 - w * I, 4 + w * I, 5 + 6 * I, w * I,
              w, 7 - 8 * I, w + 9 * I, w + 10, 11 + w * I);
  _Complex double d = cdoubles(v + 1 * I, s, 2 - v * I, v + 3 * I, 4 + 5 * I, v,
                               v + 6 * I, v + 7);
  _Complex long double l = clongs(v + 1 * I, s, d, v / 3, v - 2 * I, f);
  uint64_t h = mixd(mixd(s, crealf(f)), cimagf(f));
  h = mixd(mixd(h, creal(d)), cimag(d));
  return mixd(mixd(h, (double) creall(l)), (double) cimagl(l));
}

/* ---- vectors ---- */

#define AVX __attribute__((target("avx")))
#define AVX512 __attribute__((target("avx512f")))

static AVX NOINLINE __m256d vec256(__m256d a, __m256d b, __m256d c, __m256d d,
                                   __m256d e, __m256d f, __m256d g, __m256d h,
                                   __m256d i, __m256d j, uint64_t s) {
  __m256d x = _mm256_set1_pd((double) (pad(s) & 0xff));
  x = _mm256_add_pd(_mm256_add_pd(x, a), _mm256_mul_pd(b, b));
  x = _mm256_add_pd(_mm256_add_pd(x, c), _mm256_mul_pd(d, e));
  x = _mm256_add_pd(_mm256_add_pd(x, f), _mm256_mul_pd(g, h));
  return _mm256_add_pd(x, _mm256_mul_pd(i, j));
}
static AVX NOINLINE uint64_t run256(uint64_t s) {
  double d = (double) (s & 0xff);
  __m256d v[10];
  for (int i = 0; i < 10; i++) v[i] = _mm256_set_pd(d + i, d - i, d * i, i);
  double out[4];
  _mm256_storeu_pd(out, vec256(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7],
                               v[8], v[9], s));
  return mixbytes(s, out, sizeof out);
}
static uint64_t case_m256(uint64_t s) {
  return __builtin_cpu_supports("avx") ? run256(s) : s;
}

static AVX512 NOINLINE __m512i vec512(__m512i a, __m512i b, __m512i c,
                                      __m512i d, __m512i e, __m512i f,
                                      __m512i g, __m512i h, __m512i i,
                                      __m512i j, uint64_t s) {
  __m512i x = _mm512_set1_epi64((long long) pad(s));
  x = _mm512_xor_si512(_mm512_add_epi64(x, a), _mm512_slli_epi64(b, 1));
  x = _mm512_xor_si512(_mm512_add_epi64(x, c), _mm512_slli_epi64(d, 2));
  x = _mm512_xor_si512(_mm512_add_epi64(x, e), _mm512_slli_epi64(f, 3));
  x = _mm512_xor_si512(_mm512_add_epi64(x, g), _mm512_slli_epi64(h, 4));
  return _mm512_xor_si512(_mm512_add_epi64(x, i), _mm512_slli_epi64(j, 5));
}
static AVX512 NOINLINE uint64_t run512(uint64_t s) {
  __m512i v[10];
  for (int i = 0; i < 10; i++)
    v[i] = _mm512_set_epi64((long long) s, i, 2, 3 * i, (long long) ~s, 5, 6,
                            7 - i);
  uint64_t out[8];
  _mm512_storeu_si512(out, vec512(v[0], v[1], v[2], v[3], v[4], v[5], v[6],
                                  v[7], v[8], v[9], s));
  return mixbytes(s, out, sizeof out);
}
static uint64_t case_m512(uint64_t s) {
  return __builtin_cpu_supports("avx512f") ? run512(s) : s;
}

/* ---- varargs ---- */

#if HAVE_VARARGS
static NOINLINE uint64_t vsum(uint64_t h, const char *fmt, va_list ap) {
  for (; *fmt; fmt++) {
    if (*fmt == 'i')
      h = mix(h, va_arg(ap, uint64_t));
    else if (*fmt == 'd')
      h = mixd(h, va_arg(ap, double));
    else if (*fmt == 'l')
      h = mixd(h, (double) va_arg(ap, long double));
    else
      h = mix(h, va_arg(ap, struct quad).a[3]);
  }
  return h;
}
static NOINLINE uint64_t varsum(uint64_t h, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  h = vsum(pad(h), fmt, ap);
  va_end(ap);
  return h;
}
static NOINLINE uint64_t varsum_named(uint64_t a, uint64_t b, uint64_t c,
                                      uint64_t d, uint64_t e, uint64_t f,
                                      uint64_t g, uint64_t h, const char *fmt,
                                      ...) {
  va_list ap;
  va_start(ap, fmt);
  uint64_t x = mix(mix(mix(mix(pad(a), b), c), d), e);
  x = vsum(mix(mix(mix(x, f), g), h), fmt, ap);
  va_end(ap);
  return x;
}
static uint64_t case_varargs(uint64_t s) {
  struct quad q = {{s, 1, 2, s + 3}};
  uint64_t h =
      varsum(s, "iiiiiiii", s, s + 1, s + 2, s + 3, s + 4, s + 5, s + 6, s + 7);
  h = mix(h, varsum(s, "dddddddddd", 1., 2., 3., 4., 5., 6., 7., 8., 9., 10.));
  h = mix(h, varsum(s, "ididiqdllid", s, 1.5, s + 1, 2.5, s + 2, q, 3.5, 4.5L,
                    5.5L, s + 3, 6.5));
  return mix(h, varsum(s, ""));
}
static uint64_t case_varargs_named(uint64_t s) {
  struct quad q = {{s, 1, 2, s + 3}};
  uint64_t h = varsum_named(s, 1, 2, 3, 4, 5, 6, 7, "idiqdl", s, 1.25, s + 1, q,
                            7.5, 8.5L);
  return mix(h, varsum_named(s, 9, 8, 7, 6, 5, 4, 3, "dd", 1., 2.));
}
#endif

/* ---- memory from the stack at run time ---- */

static NOINLINE uint64_t fill(unsigned char *p, size_t n, uint64_t s) {
  for (size_t i = 0; i < n; i++) p[i] = (unsigned char) (s + i);
  return pad(s);
}
static NOINLINE uint64_t vla(size_t n, uint64_t s) {
  unsigned char v[n];
  uint64_t h = fill(v, n, s);
  h = mix(h, ((uintptr_t) v & 15) == 0);
  return mixbytes(h, v, n);
}
static uint64_t case_vla(uint64_t s) {
  uint64_t h = vla(1 + s % 64, s);
  h = mix(h, vla(500 + s % 64, s));
  h = mix(h, vla(3000 + s % 64, s));
  return mix(h, vla(20000 + s % 64, s));
}
static uint64_t case_vla_loop(uint64_t s) {
  uint64_t h = s;
  for (size_t n = 100; n < 6000; n += 171) {
    unsigned char v[n];
    h = mix(h, fill(v, n, s + n));
    h = mixbytes(h, v, n);
  }
  return h;
}
static uint64_t case_vla_nested(uint64_t s) {
  unsigned char outer[900 + s % 32];
  uint64_t h = fill(outer, sizeof outer, s);
  for (size_t i = 0; i < 8; i++) {
    unsigned char inner[300 * i + 1];
    h = mix(h, fill(inner, sizeof inner, s + i));
    {
      unsigned char third[1000 + i];
      h = mix(h, fill(third, sizeof third, s + 2 * i));
      h = mixbytes(h, third, sizeof third);
    }
    h = mixbytes(h, inner, sizeof inner);
  }
  return mixbytes(h, outer, sizeof outer);
}

struct node {
  struct node *next;
  uint64_t v[30];
};
/* A list whose older nodes only the newer ones refer to. */
static NOINLINE uint64_t alloca_list(uint64_t s, int n) {
  struct node *head = NULL;
  for (int i = 0; i < n; i++) {
    struct node *p = alloca(sizeof *p);
    p->next = head;
    for (int j = 0; j < 30; j++) p->v[j] = s + (uint64_t) (i * j);
    head = p;
    s = mix(s, pad(s));
  }
  uint64_t h = s;
  for (struct node *p = head; p; p = p->next)
    h = mixbytes(h, p->v, sizeof p->v);
  return h;
}
static uint64_t case_alloca_list(uint64_t s) {
  uint64_t h = 0;
  for (int i = 0; i < 4; i++) h = mix(h, alloca_list(s + (uint64_t) i, 24));
  return h;
}
static NOINLINE uint64_t alloca_recurse(uint64_t s, int depth) {
  if (depth == 0) return pad(s);
  size_t n = 64 + (s & 0x7f) * 16;
  unsigned char *p = alloca(n);
  uint64_t h = fill(p, n, s);
  h = mix(h, alloca_recurse(h, depth - 1));
  return mixbytes(h, p, n);
}
static uint64_t case_alloca_recurse(uint64_t s) {
  return mix(alloca_recurse(s, 20), alloca_recurse(s + 1, 5));
}

/* ---- frames ---- */

#define FRAME_CASE(n)                                                          \
  static NOINLINE uint64_t frame##n(uint64_t s) {                              \
    volatile unsigned char v[n];                                               \
    for (size_t i = 0; i < n; i += n / 8) v[i] = (unsigned char) (s >> i % 8); \
    v[n - 1] = (unsigned char) s;                                              \
    uint64_t h = pad(s);                                                       \
    for (size_t i = 0; i < n; i += n / 8) h = mix(h, v[i]);                    \
    return mix(h, v[n - 1]);                                                   \
  }                                                                            \
  static uint64_t case_frame##n(uint64_t s) {                                  \
    return frame##n(s) + frame##n(s + 1);                                      \
  }
FRAME_CASE(100)
FRAME_CASE(220)
FRAME_CASE(300)
FRAME_CASE(1500)
FRAME_CASE(5000)
FRAME_CASE(100000)
FRAME_CASE(3000000)

/* ---- recursion, tail calls, pointers ---- */

static NOINLINE uint64_t fib(uint64_t n) {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}
static uint64_t case_fib(uint64_t s) { return fib(10 + s % 4); }

static NOINLINE uint64_t descend(uint64_t n, uint64_t h) {
  if (n == 0) return h;
  volatile uint64_t keep = h;
  uint64_t r = descend(n - 1, mix(h, n));
  return mix(r, keep);
}
static uint64_t case_descend(uint64_t s) { return descend(2000, s); }

/* Stack arguments rewritten in place by a tail call; -O0 just calls. */
static NOINLINE uint64_t tail_b(uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                uint64_t e, uint64_t f, uint64_t g, uint64_t h);
static NOINLINE uint64_t tail_a(uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                uint64_t e, uint64_t f, uint64_t g,
                                uint64_t h) {
  if (a == 0) return mix(mix(mix(mix(b, c), d), e), mix(mix(f, g), h));
  return tail_b(a - 1, c, b, e, d, g, f, h + pad(a));
}
static NOINLINE uint64_t tail_b(uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                uint64_t e, uint64_t f, uint64_t g,
                                uint64_t h) {
  return tail_a(a, h, b, c, d, e, f, g);
}
static uint64_t case_tail(uint64_t s) {
  return tail_a(50, s, s + 1, s + 2, s + 3, s + 4, s + 5, s + 6);
}

static uint64_t case_pointer(uint64_t s) {
  uint64_t (*volatile f)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                         uint64_t, uint64_t, uint64_t) = tail_b;
  return f(3, s, s, s + 1, s + 2, s + 3, s + 4, s + 5);
}

#if HAVE_NESTED
static uint64_t case_nested(uint64_t s) {
  uint64_t k = s;
  NOINLINE uint64_t inner(uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                          uint64_t e, uint64_t f, uint64_t g, double x) {
    k = mix(k, pad(a));
    k = mix(mix(mix(k, b), c), d);
    return mixd(mix(mix(mix(k, e), f), g), x);
  }
  NOINLINE uint64_t middle(uint64_t n) {
    return n == 0 ? k : inner(n, k, 1, 2, 3, 4, 5, 6.5) + middle(n - 1);
  }
  return mix(middle(5), k);
}
#endif

/* Jumps over frames, segments and alloca memory; then all must still work. */
static NOINLINE uint64_t jump(jmp_buf *env, uint64_t n, size_t bytes) {
  volatile unsigned char v[bytes];
  v[0] = v[bytes - 1] = (unsigned char) n;
  if (n == 0) longjmp(*env, 7);
  if (n > 1000) return n; /* never: GCC sees no other way to return */
  return jump(env, n - 1, bytes + 16) + v[0];
}
static NOINLINE uint64_t jump_once(uint64_t s, uint64_t depth, size_t bytes) {
  jmp_buf env;
  volatile uint64_t h = s;
  int r = setjmp(env);
  if (r == 0) h = jump(&env, depth, bytes);
  return mix(h, (uint64_t) r) + pad(s);
}
static uint64_t case_vla_longjmp(uint64_t s) {
  uint64_t h = jump_once(s, 2, 32);
  h = mix(h, jump_once(h, 60, 100));
  for (uint64_t i = 0; i < 6; i++) h = mix(h, jump_once(h, 3 * i, 900 * i + 1));
  return mix(h, descend(50, h));
}

/* ---- foreign code: the linker makes these call __morestack_non_split ---- */

static NOINLINE uint64_t format(uint64_t s, double d) {
  char buf[400];
  int n = snprintf(buf, sizeof buf, "%llu %.17g %s %Lf", (unsigned long long) s,
                   d, "text", (long double) d);
  return mixbytes(s, buf, (size_t) n);
}
static uint64_t case_printf(uint64_t s) {
  return format(s, (double) s / 3) ^ format(s + 1, 1e100);
}

static NOINLINE int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
  return pad(x) == 0 ? 0 : x < y ? -1 : x > y;
}
static uint64_t case_qsort(uint64_t s) {
  uint64_t v[20];
  for (size_t i = 0; i < 20; i++) v[i] = s = mix(s, i);
  qsort(v, 20, sizeof v[0], compare);
  return mixbytes(s, v, sizeof v);
}

static NOINLINE uint64_t foreign_args(uint64_t a, uint64_t b, uint64_t c,
                                      uint64_t d, uint64_t e, uint64_t f,
                                      uint64_t g, uint64_t h, double x) {
  char buf[64];
  snprintf(buf, sizeof buf, "%llu%llu%.3f", (unsigned long long) g,
           (unsigned long long) h, x);
  return mixbytes(mix(mix(mix(mix(a, b), c), d), mix(e, f)), buf, strlen(buf));
}
static uint64_t case_foreign_args(uint64_t s) {
  return foreign_args(s, 1, 2, 3, 4, 5, s + 6, s + 7, 8.5);
}

#if HAVE_VARARGS
static NOINLINE uint64_t foreign_varargs(uint64_t s, const char *fmt, ...) {
  char buf[200];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(buf, sizeof buf, fmt, ap);
  va_end(ap);
  return mixbytes(s, buf, (size_t) n);
}
static uint64_t case_foreign_varargs(uint64_t s) {
  return foreign_varargs(s, "%d %d %d %d %d %d %.2f %.2f %s", 1, 2, 3, 4, 5,
                         (int) s, 1.5, (double) s, "end");
}
#endif

#define CASE(name) \
  { #name, case_##name }
const struct abi_case abi_cases[] = {
    CASE(ints6),
    CASE(ints14),
    CASE(doubles12),
    CASE(mixed20),
    CASE(struct24),
    CASE(struct200),
    CASE(struct264),
    CASE(struct512),
    CASE(struct3200),
    CASE(overaligned64),
    CASE(overaligned128),
#ifndef __clang__
    CASE(overaligned256),
    CASE(overaligned4096),
#endif
    CASE(results),
    CASE(x87),
    CASE(wide),
    CASE(complex),
    CASE(m256),
    CASE(m512),
    CASE(ms_abi),
    CASE(cold),
#if HAVE_VLA_STRUCT
    CASE(vla_struct),
#endif
#if HAVE_VARARGS
    CASE(varargs),
    CASE(varargs_named),
    CASE(foreign_varargs),
#endif
    CASE(vla),
    CASE(vla_loop),
    CASE(vla_nested),
    CASE(alloca_list),
    CASE(alloca_recurse),
    CASE(frame100),
    CASE(frame220),
    CASE(frame300),
    CASE(frame1500),
    CASE(frame5000),
    CASE(frame100000),
    CASE(frame3000000),
    CASE(fib),
    CASE(descend),
    CASE(tail),
    CASE(pointer),
#if HAVE_NESTED
    CASE(nested),
#endif
    CASE(vla_longjmp),
    CASE(printf),
    CASE(qsort),
    CASE(foreign_args),
};
const unsigned abi_ncases = sizeof abi_cases / sizeof abi_cases[0];

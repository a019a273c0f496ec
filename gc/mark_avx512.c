/* mark_avx512.c - the marker's loops with AVX-512 (F, DQ, VL). */
#include <immintrin.h>
#include <stdatomic.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(                                                  \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx2,bmi,bmi2,popcnt"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512vl,avx2,bmi,bmi2,popcnt")
#endif
#define MPGI_GC_INSIDE 1
#define LEVEL avx512
#define VECTOR 8
#include <gc/mark_scan.h>
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

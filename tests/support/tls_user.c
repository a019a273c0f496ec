/* tls_user.c - code whose compiler keeps addresses of thread-local variables
 * across a switch.  Compiled in several ways (tests/CMakeLists.txt): TLS_WAY
 * is a name for each.
 *
 * Each function returns how often an address taken before a switch was not the
 * one that the thread has after it; *moved counts changes of thread.
 */
#include <errno.h>
#include <mpg.h>
#include <stdint.h>

#define PASTE(a, b) a##b
#define NAME(a, b) PASTE(a, b)
#define WAY(f) NAME(f, TLS_WAY)

static __thread int64_t counter, others[4];

/* Not inlined: they find the thread anew. */
__attribute__((noinline)) static int64_t *fresh(void) {
  __asm__ volatile("");
  return &counter;
}
__attribute__((noinline)) static int *fresh_errno(void) {
  __asm__ volatile("");
  return &errno;
}

int WAY(tls_leave_)(void (*leave)(void), int rounds, int *moved);
int WAY(tls_spin_)(int rounds, int *moved);
int WAY(tls_vector_)(int rounds, int *moved);

/* Voluntary switches: variable, array element, errno. */
int WAY(tls_leave_)(void (*leave)(void), int rounds, int *moved) {
  int bad = 0;
  for (int i = 0; i < rounds; i++) {
    int64_t *p = &counter, *q = &others[3], *was = fresh();
    __asm__ volatile("" : "+r"(p), "+r"(q));
    uintptr_t word = (uintptr_t) was ^ UINTPTR_MAX; /* isn't moved */
    __asm__ volatile("" : "+r"(word), "=r"(was));
    errno = 0;
    leave();
    mpg_preempt_disable(); /* what is written and read stays on one thread */
    int64_t *now = fresh();
    errno = i; /* through what the compiler may have kept */
    bad += p != now || q - p != &others[3] - &counter;
    bad += *fresh_errno() != i;
    counter = i;
    bad += *now != i;
    mpg_preempt_enable();
    *moved += (uintptr_t) now != (word ^ UINTPTR_MAX);
  }
  return bad;
}

/* Switched out in the middle of a loop that calls nothing. */
int WAY(tls_spin_)(int rounds, int *moved) {
  int bad = 0;
  for (int i = 0; i < rounds; i++) {
    int64_t *p = &counter;
    __asm__ volatile("" : "+r"(p));
    uintptr_t word = (uintptr_t) fresh() ^ UINTPTR_MAX;
    __asm__ volatile("" : "+r"(word));
    for (int n = 0; n < 300000; n++) __asm__ volatile("" : "+r"(p));
    int64_t *now = fresh();
    /* It may be switched out here, too: look again. */
    if (p != now && p != fresh()) bad++;
    *moved += (uintptr_t) now != (word ^ UINTPTR_MAX);
  }
  return bad;
}

#define SPINS 300000

typedef uintptr_t pair __attribute__((vector_size(16)));

static pair spin_with_two(int64_t *p) {
  pair v = {(uintptr_t) p, (uintptr_t) p};
  for (int n = 0; n < SPINS; n++) __asm__ volatile("" : "+x"(v));
  return v;
}

/* The upper half of a wide register. */
static uintptr_t spin_with_four(int64_t *p) {
  uintptr_t upper = 0;
  int n = SPINS;
  if (!__builtin_cpu_supports("avx2")) return (uintptr_t) p;
  __asm__ volatile(
      "vmovq %2, %%xmm1\n\t"
      "xor %k2, %k2\n\t"
      "vpbroadcastq %%xmm1, %%ymm1\n"
      "1:\tdec %0\n\t"
      "jnz 1b\n\t"
      "vextracti128 $1, %%ymm1, %%xmm1\n\t"
      "vpextrq $1, %%xmm1, %1\n\t"
      "vzeroupper"
      : "+r"(n), "=&r"(upper), "+r"(p)
      :
      : "xmm1", "cc");
  return upper;
}

/* Likewise, with the address in a vector register: compilers spill to these,
 * and vectorise loops over pointers. */
int WAY(tls_vector_)(int rounds, int *moved) {
  int bad = 0;
  for (int i = 0; i < rounds; i++) {
    uintptr_t word = (uintptr_t) fresh() ^ UINTPTR_MAX;
    __asm__ volatile("" : "+r"(word));
    pair v = spin_with_two(&counter);
    uintptr_t now = (uintptr_t) fresh();
    bad += (v[0] != now || v[1] != now) && v[0] != (uintptr_t) fresh();
    *moved += now != (word ^ UINTPTR_MAX);
    uintptr_t upper = spin_with_four(&counter);
    bad += upper != (uintptr_t) fresh() && upper != (uintptr_t) fresh();
  }
  return bad;
}

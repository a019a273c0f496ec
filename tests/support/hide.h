/* hide.h - objects that a test can name without keeping them alive.
 *
 * A hidden pointer is the complement of an address: no word of it looks like
 * a pointer into the heap.  Objects carry a pattern, so that one that was
 * freed and used again (or filled, with MPG_DEBUG=clobberfree=1) is noticed.
 * Everything that holds a plain pointer happens in functions that aren't
 * inlined, and hide_scrub overwrites the stack they used and the registers.
 */
#ifndef TESTS_SUPPORT_HIDE_H
#define TESTS_SUPPORT_HIDE_H

#include <mpg.h>
#include <stdint.h>
#include <string.h>

#include "check.h"

typedef struct {
  uintptr_t bits;
} hidden;

#define HIDE_WORDS 6 /* 48 bytes */
#define HIDE_PATTERN ((uintptr_t) 0xa5a5f00dcafe0000)

static inline hidden hide(const void *p) { return (hidden){~(uintptr_t) p}; }
/* What comes back keeps the object: it isn't computed again later. */
static inline void *unhide(hidden h) {
  CHECK_OPAQUE(h.bits);
  void *p = (void *) ~h.bits;
  CHECK_OPAQUE(p);
  return p;
}

/* An object with the pattern of its number i. */
static __attribute__((noinline, unused)) void *hide_object(uintptr_t i) {
  uintptr_t *p = mpg_alloc(HIDE_WORDS * sizeof(*p));
  CHECK(p != NULL);
  for (int w = 0; w < HIDE_WORDS; w++) p[w] = HIDE_PATTERN + i;
  return p;
}

static __attribute__((noinline, unused)) hidden hide_new(uintptr_t i) {
  return hide(hide_object(i));
}

/* Is it the object that was made with number i, untouched? */
static __attribute__((noinline, unused)) bool hide_alive(hidden h,
                                                         uintptr_t i) {
  const uintptr_t *p = unhide(h);
  if (mpg_base(p) != p) return false;
  for (int w = 0; w < HIDE_WORDS; w++)
    if (p[w] != HIDE_PATTERN + i) return false;
  return true;
}

/* Overwrite 1.5 KiB of stack below the caller and the caller-saved
 * registers. */
static __attribute__((noinline, unused)) void hide_scrub(void) {
  volatile uintptr_t junk[192];
  for (int i = 0; i < 192; i++) junk[i] = (uintptr_t) i;
  (void) junk[0];
  __asm__ volatile(
      "xor %%eax, %%eax\n\txor %%ecx, %%ecx\n\txor %%edx, %%edx\n\t"
      "xor %%esi, %%esi\n\txor %%edi, %%edi\n\txor %%r8d, %%r8d\n\t"
      "xor %%r9d, %%r9d\n\txor %%r10d, %%r10d\n\txor %%r11d, %%r11d\n\t"
      "pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\tpxor %%xmm2, %%xmm2\n\t"
      "pxor %%xmm3, %%xmm3\n\tpxor %%xmm4, %%xmm4\n\tpxor %%xmm5, %%xmm5\n\t"
      "pxor %%xmm6, %%xmm6\n\tpxor %%xmm7, %%xmm7\n\t"
      :
      :
      : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0",
        "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "memory", "cc");
}

/* Collect, and use the memory of whatever was freed. */
static __attribute__((noinline, unused)) void hide_collect(void) {
  hide_scrub();
  mpg_gc();
  hide_scrub();
  for (int i = 0; i < 2000; i++) {
    uintptr_t *p = mpg_alloc(HIDE_WORDS * sizeof(*p));
    CHECK(p != NULL);
    CHECK_EQ(p[0] | p[HIDE_WORDS - 1], 0);
    p[0] = p[HIDE_WORDS - 1] = (uintptr_t) i;
  }
  mpg_gc();
}

#endif /* TESTS_SUPPORT_HIDE_H */

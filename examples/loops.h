/* loops.h - goroutines that hold their P, one for each sort of code.
 *
 * What they have in common: none of them ever asks the scheduler for
 * anything.  Whoever wants to stop the world, or just to run, has to stop
 * them.  "empty" is endless; the others look at loops_stop between rounds, so
 * that a program can end them.  loops_started counts those that are inside.
 *
 *   empty    jmp to itself: no call, no memory access
 *   leaf     inside a function that has no frame of its own
 *   calls    a function call per round
 *   avx512   zmm and mask registers in use (needs the CPU)
 *   memset   inside the C library, 64 MiB at a time
 *   qsort    a comparator of ours under the C library's frames
 *   read     a raw read(2) of a pipe that stays empty: the P is held, too
 *   syscall  the same between mpg_syscall_enter and mpg_syscall_exit
 */
#ifndef EXAMPLES_LOOPS_H
#define EXAMPLES_LOOPS_H

#include <errno.h>
#include <mpg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic int loops_stop;
static _Atomic int loops_started;
static int loops_pipe[2] = {-1, -1}; /* made by loops_open */

static inline bool loops_done(void) {
  return atomic_load_explicit(&loops_stop, memory_order_relaxed) != 0;
}

static inline void loops_enter(void) { atomic_fetch_add(&loops_started, 1); }

static void loop_empty(void *arg) {
  (void) arg;
  loops_enter();
  for (;;) __asm__ volatile("");
}

/* Counts rdi down to zero: interrupted anywhere in it, the caller's address
 * is at the top of the stack and the frame pointer is the caller's. */
__asm__(
    ".text\n\t.p2align 4\n\t.type loops_leaf, @function\n"
    "loops_leaf:\n\t.cfi_startproc\n"
    "1:\tsub $1, %rdi\n\tjnz 1b\n\tret\n\t.cfi_endproc\n"
    "\t.size loops_leaf, . - loops_leaf\n");
void loops_leaf(uint64_t n);

static void loop_leaf(void *arg) {
  (void) arg;
  loops_enter();
  while (!loops_done()) loops_leaf(1000000);
}

static __attribute__((noinline)) uint64_t loops_step(uint64_t x) {
  volatile char frame[64]; /* so that it has one */
  frame[x & 63] = (char) x;
  return x * 6364136223846793005u + (uint64_t) frame[x & 63];
}

static void loop_calls(void *arg) {
  (void) arg;
  loops_enter();
  for (uint64_t x = 1; !loops_done();) x = loops_step(x);
}

static inline bool loops_have_avx512(void) {
  return __builtin_cpu_supports("avx512f") != 0;
}

static void loop_avx512(void *arg) {
  (void) arg;
  loops_enter();
  while (!loops_done())
    __asm__ volatile(
        "mov $1000000, %%ecx\n\t"
        "vpternlogd $0xff, %%zmm0, %%zmm0, %%zmm0\n\t"
        "vpxorq %%zmm31, %%zmm31, %%zmm31\n\t"
        "kxnorw %%k1, %%k1, %%k1\n"
        "1:\tvpaddq %%zmm0, %%zmm31, %%zmm31%{%%k1%}\n\t"
        "dec %%ecx\n\t"
        "jnz 1b"
        :
        :
        : "ecx", "cc", "xmm0", "xmm15"
#ifdef __AVX512F__
          ,
          "xmm31", "k1"
#endif
    );
}

#define LOOPS_MEMSET_BYTES ((size_t) 64 << 20)
static void *(*volatile loops_memset)(void *, int, size_t) = memset;

static void loop_memset(void *arg) {
  (void) arg;
  void *p = malloc(LOOPS_MEMSET_BYTES);
  if (!p) abort();
  loops_enter();
  while (!loops_done()) loops_memset(p, 1, LOOPS_MEMSET_BYTES);
  free(p);
}

#define LOOPS_QSORT_ITEMS ((size_t) 1 << 18)

static int loops_compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;
  return (x > y) - (x < y);
}

static void loop_qsort(void *arg) {
  (void) arg;
  uint32_t *v = malloc(LOOPS_QSORT_ITEMS * sizeof(*v)), x = 1;
  if (!v) abort();
  loops_enter();
  while (!loops_done()) {
    for (size_t i = 0; i < LOOPS_QSORT_ITEMS; i++)
      v[i] = x = x * 1664525u + 1013904223u;
    qsort(v, LOOPS_QSORT_ITEMS, sizeof(*v), loops_compare);
  }
  free(v);
}

static void loop_read(void *arg) {
  (void) arg;
  loops_enter();
  char c;
  while (!loops_done())
    if (read(loops_pipe[0], &c, 1) < 0 && errno != EINTR) abort();
}

static void loop_syscall(void *arg) {
  (void) arg;
  loops_enter();
  char c;
  while (!loops_done()) {
    mpg_syscall_enter();
    bool failed = read(loops_pipe[0], &c, 1) < 0 && errno != EINTR;
    mpg_syscall_exit();
    if (failed) abort();
  }
}

struct loop_kind {
  const char *name;
  mpg_func fn;
};

static const struct loop_kind loop_kinds[] = {
    {"empty", loop_empty},   {"leaf", loop_leaf},       {"calls", loop_calls},
    {"avx512", loop_avx512}, {"memset", loop_memset},   {"qsort", loop_qsort},
    {"read", loop_read},     {"syscall", loop_syscall},
};
#define LOOP_KINDS ((int) (sizeof(loop_kinds) / sizeof(loop_kinds[0])))

/* NULL: no such kind. */
static inline const struct loop_kind *loops_find(const char *name) {
  for (int i = 0; i < LOOP_KINDS; i++)
    if (strcmp(loop_kinds[i].name, name) == 0) return &loop_kinds[i];
  return NULL;
}

/* ThreadSanitizer's memset is no place to stop in, and such a loop is nowhere
 * else. */
#if defined(__SANITIZE_THREAD__)
enum { LOOPS_STOP_IN_MEMSET = 0 };
#else
enum { LOOPS_STOP_IN_MEMSET = 1 };
#endif

static inline bool loops_usable(const struct loop_kind *kind) {
  if (kind->fn == loop_memset) return LOOPS_STOP_IN_MEMSET;
  return kind->fn != loop_avx512 || loops_have_avx512();
}

/* Before the first loop starts.  Returns: 0 or a negative errno. */
static inline int loops_open(void) {
  atomic_store(&loops_stop, 0);
  atomic_store(&loops_started, 0);
  return pipe(loops_pipe) == 0 ? 0 : -errno;
}

/* End all but the empty ones; n is how many were started. */
static inline void loops_close(int n) {
  atomic_store(&loops_stop, 1);
  for (int i = 0; i < n; i++)
    if (write(loops_pipe[1], "", 1) != 1) abort();
}

#endif /* EXAMPLES_LOOPS_H */

/* sched_registers_test.c - every register survives thousands of preemptions.
 *
 * Goroutines on one P, each with values of its own in all vector, mask, x87
 * and general registers and in the control words, spin inside one asm block;
 * with MPG_DEBUG=preemptall=1 sysmon preempts at every tick.  After each spin
 * the registers are stored and compared.  The run ends when the library has
 * counted enough preemptions.
 */
#include "../support/check.h"
#include "../support/preemptions.h"

#define PREEMPTIONS 2000
/* Where others want the CPUs a preemption takes as long as the thread waits for
 * one: fewer must do when they have taken so long. */
#define PREEMPTIONS_LEAST (PREEMPTIONS / 10)
#define LONG_NS (INT64_C(10) * 1000 * 1000 * 1000)
#define GOROUTINES 4

struct vectors {
  _Alignas(64) uint64_t zmm[32][8];
  uint64_t k[8];
  long double x87[8];
  uint32_t mxcsr;
  uint16_t x87_control;
};

static _Atomic bool quit;
static mpg_waitgroup done;

static uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15u;
  return x ^ (x >> 29);
}

static void fill(struct vectors *v, uint64_t seed) {
  memset(v, 0, sizeof(*v));
  for (int i = 0; i < 32; i++)
    for (int j = 0; j < 8; j++)
      v->zmm[i][j] = mix(seed * 1000 + (uint64_t) (i * 8 + j));
  for (int i = 0; i < 8; i++) {
    v->k[i] = mix(seed * 77 + (uint64_t) i) & 0xffff;
    v->x87[i] = (long double) (seed * 1000 + (uint64_t) i) + 0.25L;
  }
  v->mxcsr = 0x1f80 | (uint32_t) (seed & 3) << 13; /* rounding */
  v->x87_control = (uint16_t) (0x037f | (seed & 3) << 10);
}

static bool same(const struct vectors *a, const struct vectors *b) {
  for (int i = 0; i < 8; i++)
    if (a->x87[i] != b->x87[i]) return false;
  return memcmp(a->zmm, b->zmm, sizeof(a->zmm)) == 0 &&
         memcmp(a->k, b->k, sizeof(a->k)) == 0 &&
         (a->mxcsr & ~0x3fu) == (b->mxcsr & ~0x3fu) &&
         a->x87_control == b->x87_control;
}

#define X87_LOAD                                                          \
  "fnstcw %[cw]\n\tstmxcsr %[csr]\n\t"                                    \
  "fldcw %[in_cw]\n\tldmxcsr %[in_csr]\n\t"                               \
  "fldt 112(%[x])\n\tfldt 96(%[x])\n\tfldt 80(%[x])\n\tfldt 64(%[x])\n\t" \
  "fldt 48(%[x])\n\tfldt 32(%[x])\n\tfldt 16(%[x])\n\tfldt (%[x])\n\t"
#define X87_STORE                                                             \
  "fnstcw %[out_cw]\n\tstmxcsr %[out_csr]\n\t"                                \
  "fstpt (%[y])\n\tfstpt 16(%[y])\n\tfstpt 32(%[y])\n\tfstpt 48(%[y])\n\t"    \
  "fstpt 64(%[y])\n\tfstpt 80(%[y])\n\tfstpt 96(%[y])\n\tfstpt 112(%[y])\n\t" \
  "fldcw %[cw]\n\tldmxcsr %[csr]\n\t"
#define SPIN "mov %[n], %%ecx\n\t1:\tdec %%ecx\n\tjnz 1b\n\t"
#define OPERANDS                                                           \
  [cw] "+m"(old_cw), [csr] "+m"(old_csr), [out_cw] "=m"(out->x87_control), \
      [out_csr] "=m"(out->mxcsr)                                           \
      : [v] "r"(in->zmm),                                                  \
        [w] "r"(out->zmm),                                                 \
        [x] "r"(in->x87),                                                  \
        [y] "r"(out->x87),                                                 \
        [in_cw] "m"(in->x87_control),                                      \
        [in_csr] "m"(in->mxcsr),                                           \
        [kin] "r"(in->k),                                                  \
        [kout] "r"(out->k),                                                \
        [n] "i"(200000)                                                    \
      : "rcx",                                                             \
        "cc",                                                              \
        "memory",                                                          \
        "st",                                                              \
        "st(1)",                                                           \
        "st(2)",                                                           \
        "st(3)",                                                           \
        "st(4)",                                                           \
        "st(5)",                                                           \
        "st(6)",                                                           \
        "st(7)",                                                           \
        "xmm0",                                                            \
        "xmm1",                                                            \
        "xmm2",                                                            \
        "xmm3",                                                            \
        "xmm4",                                                            \
        "xmm5",                                                            \
        "xmm6",                                                            \
        "xmm7",                                                            \
        "xmm8",                                                            \
        "xmm9",                                                            \
        "xmm10",                                                           \
        "xmm11",                                                           \
        "xmm12",                                                           \
        "xmm13",                                                           \
        "xmm14",                                                           \
        "xmm15"

#define Z_LOAD(i) "vmovdqu64 " #i "*64(%[v]), %%zmm" #i "\n\t"
#define Z_STORE(i) "vmovdqu64 %%zmm" #i ", " #i "*64(%[w])\n\t"
#define X_LOAD(i) "movdqu " #i "*64(%[v]), %%xmm" #i "\n\t"
#define X_STORE(i) "movdqu %%xmm" #i ", " #i "*64(%[w])\n\t"
#define K_LOAD(i) "kmovw " #i "*8(%[kin]), %%k" #i "\n\t"
#define K_STORE(i) "kmovw %%k" #i ", " #i "*8(%[kout])\n\t"
#define LOW16(F) \
  F(0)           \
  F(1)           \
  F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define HIGH16(F) \
  F(16)           \
  F(17)           \
  F(18)           \
  F(19) F(20) F(21) F(22) F(23) F(24) F(25) F(26) F(27) F(28) F(29) F(30) F(31)
#define KS(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)

static __attribute__((noinline)) void spin_avx512(const struct vectors *in,
                                                  struct vectors *out) {
  uint16_t old_cw = 0;
  uint32_t old_csr = 0;
  __asm__ volatile(X87_LOAD LOW16(Z_LOAD) HIGH16(Z_LOAD) KS(K_LOAD)
                       SPIN LOW16(Z_STORE) HIGH16(Z_STORE) KS(K_STORE) X87_STORE
                   "vzeroupper\n\t"
                   : OPERANDS);
}

static __attribute__((noinline)) void spin_sse(const struct vectors *in,
                                               struct vectors *out) {
  uint16_t old_cw = 0;
  uint32_t old_csr = 0;
  __asm__ volatile(X87_LOAD LOW16(X_LOAD) SPIN LOW16(X_STORE) X87_STORE
                   : OPERANDS);
}

/* What the CPU lacks is equal on both sides. */
static void clear_unused(struct vectors *v) {
  memset(v->k, 0, sizeof(v->k));
  for (int i = 0; i < 32; i++)
    memset(v->zmm[i] + (i < 16 ? 2 : 0), 0, i < 16 ? 48 : 64);
}

static void keep_vectors(void *arg) {
  struct vectors in, out;
  bool avx512 = __builtin_cpu_supports("avx512f") != 0;
  for (uint64_t seed = (uint64_t) arg; !atomic_load(&quit); seed += 16) {
    fill(&in, seed);
    if (!avx512) clear_unused(&in);
    memset(&out, 0, sizeof(out));
    if (avx512)
      spin_avx512(&in, &out);
    else
      spin_sse(&in, &out);
    CHECK(same(&in, &out));
  }
  mpg_waitgroup_done(&done);
}

/* All general registers but rsp, and rbp, which has to be a frame pointer,
 * hold seed + 1, seed + 2, ... while a counter in memory runs down. */
__asm__(
    ".text\n\t.p2align 4\n\t.type spin_general, @function\n"
    "spin_general:\n\t.cfi_startproc\n\t"
    "push %rbp\n\t.cfi_adjust_cfa_offset 8\n\t"
    ".cfi_offset %rbp, -16\n\t"
    "mov %rsp, %rbp\n\t.cfi_def_cfa_register %rbp\n\t"
    "push %rbx\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t"
    "push $200000\n\tpush %rdi\n\t"
    "lea 1(%rdi), %rax\n\tlea 2(%rdi), %rbx\n\tlea 3(%rdi), %rcx\n\t"
    "lea 4(%rdi), %rdx\n\tlea 5(%rdi), %rsi\n\tlea 6(%rdi), %r8\n\t"
    "lea 7(%rdi), %r9\n\tlea 8(%rdi), %r10\n\tlea 9(%rdi), %r11\n\t"
    "lea 10(%rdi), %r12\n\tlea 11(%rdi), %r13\n\tlea 12(%rdi), %r14\n\t"
    "lea 13(%rdi), %r15\n"
    "1:\tdecq 8(%rsp)\n\tjnz 1b\n\t"
    "sub (%rsp), %rdi\n\t" /* 0 */
    "sub (%rsp), %rax\n\tsub $1, %rax\n\tor %rax, %rdi\n\t"
    "sub (%rsp), %rbx\n\tsub $2, %rbx\n\tor %rbx, %rdi\n\t"
    "sub (%rsp), %rcx\n\tsub $3, %rcx\n\tor %rcx, %rdi\n\t"
    "sub (%rsp), %rdx\n\tsub $4, %rdx\n\tor %rdx, %rdi\n\t"
    "sub (%rsp), %rsi\n\tsub $5, %rsi\n\tor %rsi, %rdi\n\t"
    "sub (%rsp), %r8\n\tsub $6, %r8\n\tor %r8, %rdi\n\t"
    "sub (%rsp), %r9\n\tsub $7, %r9\n\tor %r9, %rdi\n\t"
    "sub (%rsp), %r10\n\tsub $8, %r10\n\tor %r10, %rdi\n\t"
    "sub (%rsp), %r11\n\tsub $9, %r11\n\tor %r11, %rdi\n\t"
    "sub (%rsp), %r12\n\tsub $10, %r12\n\tor %r12, %rdi\n\t"
    "sub (%rsp), %r13\n\tsub $11, %r13\n\tor %r13, %rdi\n\t"
    "sub (%rsp), %r14\n\tsub $12, %r14\n\tor %r14, %rdi\n\t"
    "sub (%rsp), %r15\n\tsub $13, %r15\n\tor %r15, %rdi\n\t"
    "mov %rdi, %rax\n\tadd $16, %rsp\n\t"
    "pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbx\n\tpop %rbp\n\t"
    ".cfi_def_cfa %rsp, 8\n\tret\n\t.cfi_endproc\n"
    "\t.size spin_general, . - spin_general\n");
uint64_t spin_general(uint64_t seed); /* 0: all as they were */

static void keep_general(void *arg) {
  for (uint64_t seed = (uint64_t) arg << 48; !atomic_load(&quit); seed += 99)
    CHECK_EQ(spin_general(seed), 0);
  mpg_waitgroup_done(&done);
}

/* Carry, zero, sign, overflow, parity, direction: set before, read after. */
static __attribute__((noinline)) uint64_t spin_flags(uint64_t set) {
  uint64_t after;
  /* The red zone is the compiler's; lea and jrcxz leave flags alone.  SP is
   * where the unwind tables expect it while the loop runs. */
  __asm__ volatile(
      "mov $200000, %%rcx\n\t"
      "lea -128(%%rsp), %%rsp\n\t"
      "push %[set]\n\tpopfq\n\t"
      "lea 128(%%rsp), %%rsp\n"
      "1:\tlea -1(%%rcx), %%rcx\n\t"
      "jrcxz 2f\n\tjmp 1b\n"
      "2:\tlea -128(%%rsp), %%rsp\n\t"
      "pushfq\n\tpop %[after]\n\tcld\n\t"
      "lea 128(%%rsp), %%rsp\n\t"
      : [after] "=&r"(after)
      : [set] "r"(set)
      : "rcx", "cc", "memory");
  return after;
}

#define FLAGS 0xcd5u /* OF DF SF ZF AF PF CF */

static void keep_flags(void *arg) {
  (void) arg;
  for (uint64_t x = 1; !atomic_load(&quit); x = mix(x)) {
    uint64_t set = 0x202 | (x & FLAGS);
    CHECK_EQ(spin_flags(set) & FLAGS, set & FLAGS);
  }
  mpg_waitgroup_done(&done);
}

/* ---- the cases ---- */

/* Returns when the goroutines have been preempted often; collections come on
 * top. */
static void preempt_often(mpg_func fn) {
  mpg_gomaxprocs(1);
  atomic_store(&quit, false);
  uint64_t before = preemptions(), n = 0;
  int64_t start = mpg_now();
  mpg_waitgroup_add(&done, GOROUTINES);
  for (uintptr_t i = 1; i <= GOROUTINES; i++) CHECK_GO(fn, (void *) i);
  while (n < PREEMPTIONS &&
         (n < PREEMPTIONS_LEAST || mpg_now() - start < LONG_NS)) {
    mpg_gc();
    mpg_yield();
    n = preemptions() - before;
  }
  atomic_store(&quit, true);
  mpg_waitgroup_wait(&done);
}

static void vector_mask_and_x87_registers_survive(void *arg) {
  (void) arg;
  preempt_often(keep_vectors);
}
static void general_registers_survive(void *arg) {
  (void) arg;
  preempt_often(keep_general);
}
static void flags_survive(void *arg) {
  (void) arg;
  preempt_often(keep_flags);
}

/* The same while the collector freezes the threads in place. */
static void freeze_often(mpg_func fn) {
  mpg_gomaxprocs(3);
  atomic_store(&quit, false);
  mpg_waitgroup_add(&done, 2);
  for (uintptr_t i = 1; i <= 2; i++) CHECK_GO(fn, (void *) i);
  int times = check_switch("chaos") ? 50 : 500; /* which makes each slow */
  for (int i = 0; i < times; i++) mpg_gc();
  atomic_store(&quit, true);
  mpg_waitgroup_wait(&done);
}

static void registers_survive_collections(void *arg) {
  (void) arg;
  freeze_often(keep_vectors);
  freeze_often(keep_general);
  freeze_often(keep_flags);
}

/* ---- control words across a park ---- */

static uint32_t rounding_get(void) {
  uint32_t csr;
  __asm__ volatile("stmxcsr %0" : "=m"(csr));
  return csr >> 13 & 3;
}

static void rounding_set(uint32_t mode) {
  uint32_t csr = 0x1f80 | mode << 13;
  uint16_t cw = (uint16_t) (0x037f | mode << 10);
  __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(csr), "m"(cw));
}

static uint32_t exceptions_get(void) {
  uint32_t csr;
  __asm__ volatile("stmxcsr %0" : "=m"(csr));
  return csr & 0x3f;
}

static uint32_t x87_rounding_get(void) {
  uint16_t cw;
  __asm__ volatile("fnstcw %0" : "=m"(cw));
  return cw >> 10 & 3;
}

static void expect_default_rounding(void *arg) {
  (void) arg;
  CHECK_EQ(rounding_get(), 0);
  CHECK_EQ(x87_rounding_get(), 0);
  mpg_waitgroup_done(&done);
}

static void keep_rounding(void *arg) {
  uint32_t mine = (uint32_t) (uintptr_t) arg;
  rounding_set(mine);
  for (int i = 0; i < 1000; i++) {
    mpg_yield();
    CHECK_EQ(rounding_get(), mine);
    CHECK_EQ(x87_rounding_get(), mine);
  }
  rounding_set(0);
  mpg_waitgroup_done(&done);
}

static void control_words_belong_to_the_goroutine(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  mpg_waitgroup_add(&done, 8);
  for (uintptr_t i = 0; i < 8; i++) CHECK_GO(keep_rounding, (void *) (i % 4));
  mpg_waitgroup_wait(&done);
}

/* SSE's: what one computed isn't seen by another. */
static void keep_exceptions(void *arg) {
  uint32_t mine = (uint32_t) (uintptr_t) arg, csr = 0x1f80 | mine;
  CHECK_EQ(exceptions_get(), 0);
  __asm__ volatile("ldmxcsr %0" : : "m"(csr));
  for (int i = 0; i < 1000; i++) {
    mpg_yield();
    CHECK_EQ(exceptions_get(), mine);
  }
  mpg_waitgroup_done(&done);
}

static void exception_flags_belong_to_the_goroutine(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  mpg_waitgroup_add(&done, 8);
  for (uintptr_t i = 0; i < 8; i++) CHECK_GO(keep_exceptions, (void *) (i * 7));
  mpg_waitgroup_wait(&done);
}

static void new_goroutines_get_default_control_words(void *arg) {
  (void) arg;
  rounding_set(3);
  mpg_waitgroup_add(&done, 50);
  for (int i = 0; i < 50; i++) CHECK_GO(expect_default_rounding, NULL);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(rounding_get(), 3);
  rounding_set(0);
}

static const struct check_case cases[] = {
    INJECTS(vector_mask_and_x87_registers_survive),
    INJECTS(general_registers_survive),
    INJECTS(flags_survive),
    INJECTS(registers_survive_collections),
    INSIDE(control_words_belong_to_the_goroutine),
    INSIDE(exception_flags_belong_to_the_goroutine),
    INSIDE(new_goroutines_get_default_control_words),
};

int main(int argc, char **argv) {
  check_switches("preemptall=1");
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 30);
}

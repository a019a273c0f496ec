/* arch_libc_test.c - what the leaves of libc.def need of the stack.
 *
 * Each runs on a painted stack, with arguments that take it through its
 * cases; what it wrote below its return address is counted.
 */
#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arch/arch.h>

struct row {
  const char *kind, *why, *names;
};
#define MPGI_LIBC(kind, why, names) {#kind, why, #names},
static const struct row table[] = {
#include <arch/linux/libc.def>
};

#define STACK_BYTES 16384
#define PAINT 0xa7
#define TEXT_BYTES 65536

static unsigned char painted[STACK_BYTES] __attribute__((aligned(4096)));
/* Low bytes of the addresses are 0: they serve as characters, too. */
static unsigned char text1[TEXT_BYTES] __attribute__((aligned(256)));
static unsigned char text2[TEXT_BYTES] __attribute__((aligned(256)));

struct arguments {
  uint64_t gp[4];
  uint64_t xmm[3];
};

/* void on_stack(void *fn, const struct arguments *a, void *top) */
void on_stack(void *fn, const struct arguments *a, void *top);
__asm__(
    ".text\n.type on_stack, @function\non_stack:\n"
    "  push %rbp\n  mov %rsp, %rbp\n"
    "  mov %rdi, %rax\n  mov %rsi, %r11\n  mov %rdx, %rsp\n"
    "  mov (%r11), %rdi\n  mov 8(%r11), %rsi\n"
    "  mov 16(%r11), %rdx\n  mov 24(%r11), %rcx\n"
    "  movq 32(%r11), %xmm0\n  movq 40(%r11), %xmm1\n  movq 48(%r11), %xmm2\n"
    "  call *%rax\n"
    "  mov %rbp, %rsp\n  pop %rbp\n  ret\n"
    ".size on_stack, . - on_stack\n");

static size_t used(void *fn, const struct arguments *a) {
  memset(painted, PAINT, sizeof painted);
  on_stack(fn, a, painted + STACK_BYTES - 64);
  size_t low = 0;
  while (painted[low] == PAINT) low++;
  size_t return_address = STACK_BYTES - 64 - 8;
  return return_address > low ? return_address - low : 0;
}

static void fill(unsigned char *text, size_t n, size_t width) {
  memset(text, 0, TEXT_BYTES);
  for (size_t i = 0; i < n; i++)
    text[i * width] = (unsigned char) ('a' + i % 20);
}

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

static size_t used_on_text(void *fn, bool wide, bool length_second) {
  static const size_t lengths[] = {0, 1, 7, 16, 33, 64, 130, 260, 1000, 5000};
  size_t max = 0, width = wide ? sizeof(wchar_t) : 1;
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    size_t n = lengths[i];
    for (int same = 0; same < 2; same++) {
      fill(text1, n, width);
      fill(text2, same ? n : n / 2, width);
      struct arguments a = {{(uintptr_t) text1, (uintptr_t) text2, n, n}, {0}};
      if (length_second) a.gp[1] = n;
      max = most(max, used(fn, &a));
    }
  }
  return max;
}

static size_t used_on_numbers(void *fn, bool is_float) {
  static const double v[] = {0,     0.5,   1,       -2.25,    100000.7, 1e10,
                             1e22,  1e300, -3.4e38, 5e-324,   1e-40,    0.75,
                             -0.99, 30,    -750.5,  HUGE_VAL, NAN};
  size_t max = 0, n = sizeof v / sizeof *v;
  for (size_t i = 0; i < n * n; i++) {
    double x[3] = {v[i % n], v[i / n], v[(i + 3) % n]};
    struct arguments a = {{(uintptr_t) text1, (uintptr_t) text2, 3, 3}, {0}};
    for (int k = 0; k < 3; k++) {
      float f = (float) x[k];
      if (is_float)
        memcpy(&a.xmm[k], &f, sizeof f);
      else
        memcpy(&a.xmm[k], &x[k], sizeof x[k]);
    }
    max = most(max, used(fn, &a));
  }
  return max;
}

static bool one_of(const char *name, const char *list) {
  size_t n = strlen(name);
  for (const char *at = list; (at = strstr(at, name)); at += n)
    if ((at == list || at[-1] == ' ') && (at[n] == ' ' || !at[n])) return true;
  return false;
}

static size_t measure(const struct row *r, const char *name, void *fn) {
  struct arguments small = {{97, 5, 3, 3}, {0}};
  if (!strcmp(r->why, "a look into a table") ||
      !strcmp(r->why, "arithmetic in registers"))
    return used(fn, &small);
  if (!strcmp(r->why, "floating point in registers") ||
      !strcmp(r->why, "polynomials and tables, small frames"))
    return used_on_numbers(
        fn, name[strlen(name) - 1] == 'f' && !one_of(name, "erf modf __isinf"));
  return used_on_text(fn, name[0] == 'w',
                      one_of(name, "bzero explicit_bzero strnlen wcsnlen"));
}

static void each_name(const char *kind,
                      void (*visit)(const struct row *r, const char *name)) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    if (strcmp(table[i].kind, kind)) continue;
    char *names = strdup(table[i].names), *rest = names;
    for (char *name; (name = strsep(&rest, " "));) visit(&table[i], name);
    free(names);
  }
}

static unsigned measured;
static void *libm;

static void check_leaf(const struct row *r, const char *name) {
  void *fn = dlsym(RTLD_DEFAULT, name);
  if (!fn) fn = dlsym(libm, name);
  if (!fn) return;      /* not in this C library: no stub either */
  measure(r, name, fn); /* lazy binding has its turn */
  size_t bytes = measure(r, name, fn);
  if (getenv("SHOW")) print_message("%5zu %s\n", bytes, name);
  if (bytes > MPGI_LIBC_LEAF_BYTES)
    fail_msg("%s uses %zu bytes of stack: it is no leaf", name, bytes);
  measured++;
}

static void leaves_need_little_stack(void **state) {
  (void) state;
  libm = dlopen("libm.so.6", RTLD_NOW);
  assert_non_null(libm);
  each_name("LEAF", check_leaf);
  assert_true(measured > 100);
}

static void the_measure_measures(void **state) {
  (void) state;
  struct arguments a = {{(uintptr_t) "12.5", 0, 0, 0}, {0}};
  assert_true(used(dlsym(RTLD_DEFAULT, "strtod"), &a) > MPGI_LIBC_LEAF_BYTES);
}

static void behind_a_jump(void **state) {
  (void) state;
  static void *slot = (void *) leaves_need_little_stack;
  static struct {
    unsigned char code[2];
    int32_t offset;
  } __attribute__((packed)) jump = {{0xff, 0x25}, 0};
  static void *near_slot;
  near_slot = slot;
  intptr_t distance = (intptr_t) &near_slot - (intptr_t) (&jump + 1);
  jump.offset = (int32_t) distance;
  assert_ptr_equal(mpgi_arch_behind_jump(&jump), slot);
  assert_ptr_equal(mpgi_arch_behind_jump((void *) measure), (void *) measure);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(leaves_need_little_stack),
      cmocka_unit_test(the_measure_measures),
      cmocka_unit_test(behind_a_jump),
  };
  return cmocka_run_group_tests_name("arch_libc", tests, NULL, NULL);
}

/* stack_sweep_test.c - every kind of call with every amount of stack left.
 *
 * tests/unit/stack_abi_harness.c does that for calling conventions, with a
 * fake runtime.  Here is the real one: mpg's own functions, stubs of the C
 * library, foreign code, growth, from a first segment with -240 (what a
 * prologue lets pass) to 2 KiB left; beside nothing, and while another
 * goroutine stops the world as often as it can, which sends SIGURG thousands
 * of times a second.
 */
#include "../support/check.h"

#define NOINLINE __attribute__((noinline))
#define LEFT_MIN (-240)
#define LEFT_MAX 2048

#if defined(MPG_SPLIT_STACK)
#define SEGMENTED true
/* fn(x) with SP `left` above the guard word; or where it is, when that is not
 * below, or the word is poisoned.  Counts the others. */
_Atomic uint64_t placed;
uint64_t call_with(long left, uint64_t (*fn)(uint64_t), uint64_t x);
__asm__(
    ".text\n.p2align 4\n.globl call_with\n.type call_with, @function\n"
    "call_with:\n"
    "  .cfi_startproc\n"
    "  push %rbp\n"
    "  .cfi_def_cfa_offset 16\n"
    "  .cfi_offset %rbp, -16\n"
    "  mov %rsp, %rbp\n"
    "  .cfi_def_cfa_register %rbp\n"
    "  add %fs:0x70, %rdi\n"
    "  and $-16, %rdi\n"
    "  cmp %rsp, %rdi\n"
    "  jae 1f\n"
    "  lock incq placed(%rip)\n"
    "  mov %rdi, %rsp\n"
    "1: mov %rdx, %rdi\n"
    "  call *%rsi\n"
    "  leave\n"
    "  .cfi_def_cfa %rsp, 8\n"
    "  ret\n"
    "  .cfi_endproc\n"
    ".size call_with, . - call_with\n");
#else
#define SEGMENTED false
static _Atomic uint64_t placed;
static uint64_t call_with(long left, uint64_t (*fn)(uint64_t), uint64_t x) {
  (void) left;
  return fn(x);
}
#endif

/* ---- kinds of calls; each returns x + 1 ---- */

static mpg_chan *buffered, *unbuffered;
static mpg_mutex mutex;

static uint64_t call_alloc(uint64_t x) {
  uint64_t *p = mpg_alloc(64);
  *p = x;
  return *p + 1;
}

static uint64_t call_alloc_large(uint64_t x) {
  uint64_t *p = mpg_alloc(100000);
  p[9999] = x;
  return p[9999] + 1;
}

static uint64_t call_buffered(uint64_t x) {
  uint64_t got = 0;
  mpg_chan_send(buffered, &x);
  CHECK(mpg_chan_recv(buffered, &got));
  return got + 1;
}

/* An echo adds one. */
static uint64_t call_unbuffered(uint64_t x) {
  uint64_t got = 0;
  mpg_chan_send(unbuffered, &x);
  CHECK(mpg_chan_recv(unbuffered, &got));
  return got;
}

static uint64_t call_mutex(uint64_t x) {
  mpg_mutex_lock(&mutex);
  mpg_mutex_unlock(&mutex);
  return x + 1;
}

static uint64_t call_yield(uint64_t x) {
  mpg_yield();
  return x + 1;
}

static void child(void *arg) { mpg_chan_send(buffered, arg); }

static uint64_t call_go(uint64_t x) {
  uint64_t got = 0;
  CHECK_GO(child, &x);
  CHECK(mpg_chan_recv(buffered, &got));
  return got + 1;
}

static uint64_t call_leaf(uint64_t x) {
  char text[32] = "some text";
  size_t n = strlen(text);
  char *volatile to = text;
  memmove(to + 1, text, n);
  return x + (text[1] == 's');
}

static uint64_t call_malloc(uint64_t x) {
  uint64_t *volatile p = malloc(sizeof(*p));
  *p = x;
  uint64_t got = *p;
  free(p);
  return got + 1;
}

static uint64_t call_printf(uint64_t x) {
  char text[64];
  int n = snprintf(text, sizeof(text), "%llu %.2f %s", (unsigned long long) x,
                   1.5, "end");
  return strcmp(text + n - 8, "1.50 end") == 0 ? strtoull(text, NULL, 10) + 1
                                               : 0;
}

static int compare(const void *a, const void *b) {
  uint64_t l = *(const uint64_t *) a, r = *(const uint64_t *) b;
  return l < r ? -1 : l > r;
}

static uint64_t call_foreign(uint64_t x) {
  uint64_t v[] = {x + 3, x, x + 2, x + 1};
  qsort(v, 4, sizeof(v[0]), compare);
  return v[1];
}

static NOINLINE uint64_t descend(uint64_t n) {
  volatile uint64_t frame[20] = {n};
  return n == 0 ? 0 : descend(n - 1) + (frame[0] == n);
}

static uint64_t call_growth(uint64_t x) { return x + descend(30) - 29; }

static const struct {
  const char *name;
  uint64_t (*fn)(uint64_t x);
} kinds[] = {
    {"alloc", call_alloc},
    {"alloc_large", call_alloc_large},
    {"buffered", call_buffered},
    {"unbuffered", call_unbuffered},
    {"mutex", call_mutex},
    {"yield", call_yield},
    {"go", call_go},
    {"leaf", call_leaf},
    {"malloc", call_malloc},
    {"printf", call_printf},
    {"foreign", call_foreign},
    {"growth", call_growth},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ---- the sweep, in a goroutine of its own for each kind ---- */

#define CALLS ((LEFT_MAX - LEFT_MIN) / 16)

static mpg_waitgroup done, swept, stopper;
static _Atomic bool stop;
static _Atomic int stops;

static NOINLINE void sweep(uint64_t (*fn)(uint64_t)) {
  for (long left = LEFT_MIN; left <= LEFT_MAX; left += 16) {
    uint64_t x = (uint64_t) left + 1000;
    CHECK_EQ(call_with(left, fn, x), x + 1);
  }
}

static NOINLINE void at_depth(uint64_t (*fn)(uint64_t)) {
  volatile char frame[5000];
  frame[0] = 1;
  sweep(fn);
  CHECK_EQ(frame[0], 1);
}

/* In the first segment, of which less than 2 KiB are left, and in a larger
 * one. */
static void sweep_in_two(void *arg) {
  uint64_t (*fn)(uint64_t) = kinds[(uintptr_t) arg].fn;
  sweep(fn);
  at_depth(fn);
  mpg_waitgroup_done(&swept);
}

static void sweep_kind(uintptr_t i) {
  mpg_waitgroup_add(&swept, 1);
  CHECK_GO(sweep_in_two, (void *) i);
  mpg_waitgroup_wait(&swept);
}

static void echo(void *arg) {
  (void) arg;
  uint64_t x;
  while (mpg_chan_recv(unbuffered, &x)) {
    x++;
    mpg_chan_send(unbuffered, &x);
  }
  mpg_waitgroup_done(&done);
}

static void sweep_all(void) {
  buffered = mpg_chan_new(sizeof(uint64_t), 4);
  unbuffered = mpg_chan_new(sizeof(uint64_t), 0);
  CHECK(buffered && unbuffered);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(echo, NULL);
  for (uintptr_t i = 0; i < KINDS; i++) sweep_kind(i);
  mpg_chan_close(unbuffered);
  mpg_waitgroup_wait(&done);
}

static void alone(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  sweep_all();
  /* Few of the first segment's are above what it has. */
  if (SEGMENTED) CHECK_GT(atomic_load(&placed), KINDS * CALLS);
}

static void stop_the_world(void *arg) {
  (void) arg;
  while (!atomic_load(&stop))
    mpg_gomaxprocs(3 + atomic_fetch_add(&stops, 1) % 2);
  mpg_waitgroup_done(&stopper);
}

static void among_signals(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  mpg_waitgroup_add(&stopper, 1);
  CHECK_GO(stop_the_world, NULL);
  do sweep_all();
  while (atomic_load(&stops) < 2000);
  atomic_store(&stop, true);
  mpg_waitgroup_wait(&stopper);
}

static const struct check_case cases[] = {
    INSIDE(alone),
    INSIDE(among_signals),
};
CHECK_MAIN(cases, 30)

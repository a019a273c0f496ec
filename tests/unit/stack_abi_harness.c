/* stack_abi_harness.c - the split-stack ABI, every kind of call at every depth.
 *
 * stack_abi_user.c, compiled with split stacks, runs on a goroutine's stack
 * whose first segment has from nothing to 2 KiB left; each result must equal
 * the one computed on the thread's own stack (guard word 0), and nothing may
 * be written below any segment.  The C sides below destroy every register
 * that the ABI lets them, so an argument that __morestack forgets is lost.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>

#include <cmocka.h>

#include <arch/common/check.h>
#include <arch/tls.h>

#include "stack_abi.h"
#include "tests/support/unit_stack.h"

#define FIRST_BYTES (MPGI_GUARD_GAP_BYTES + 2064)
/* A caller the prologue let pass may be this far below the guard, and the
 * call pushed its return address: what is left is 16-aligned. */
#define LEFT_MIN (-(long) MPGI_SPLIT_SLACK_BYTES + 16)
#define LEFT_MAX 2048

static struct mpgi_stack_cache cache;
static enum { PREEMPT_NONE, PREEMPT_REFUSED, PREEMPT_TAKEN } preempt_mode;
static unsigned grown, opened, preempted, resumed;
/* Segments serve as alloca memory too, and then are written everywhere. */
static bool watching;

__attribute__((target("avx512f"))) static void clobber512(void) {
  __asm__ volatile(
      "vpternlogd $255, %%zmm0, %%zmm0, %%zmm0\n"
      "vmovdqa64 %%zmm0, %%zmm1\n vmovdqa64 %%zmm0, %%zmm2\n"
      "vmovdqa64 %%zmm0, %%zmm3\n vmovdqa64 %%zmm0, %%zmm4\n"
      "vmovdqa64 %%zmm0, %%zmm5\n vmovdqa64 %%zmm0, %%zmm6\n"
      "vmovdqa64 %%zmm0, %%zmm7\n"
      :
      :
      : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
}

static void clobber(void) {
  if (__builtin_cpu_supports("avx512f"))
    clobber512();
  else
    __asm__ volatile(
        "pcmpeqd %%xmm0, %%xmm0\n movaps %%xmm0, %%xmm1\n"
        "movaps %%xmm0, %%xmm2\n movaps %%xmm0, %%xmm3\n"
        "movaps %%xmm0, %%xmm4\n movaps %%xmm0, %%xmm5\n"
        "movaps %%xmm0, %%xmm6\n movaps %%xmm0, %%xmm7\n"
        :
        :
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
  __asm__ volatile(
      "mov $-1, %%rax\n mov %%rax, %%rcx\n mov %%rax, %%rdx\n"
      "mov %%rax, %%rsi\n mov %%rax, %%rdi\n mov %%rax, %%r8\n"
      "mov %%rax, %%r9\n mov %%rax, %%r10\n mov %%rax, %%r11\n"
      :
      :
      : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
}

/* ---- upcalls ---- */

/* No case has more pieces of alloca memory at a time (vla_longjmp: 61 frames
 * with one each): what is dead must be freed. */
#define DYNAMIC_MAX 61
static unsigned dynamic_count(const struct mpgi_context *ctx) {
  unsigned n = 0;
  for (const struct mpgi_segment *d = ctx->dynamic; d; d = d->next) n++;
  return n;
}

void mpgi_morestack_g0(struct mpgi_context *ctx, size_t frame, size_t args,
                       uintptr_t stay) {
  assert_null(mpgi_tls_g());
  assert_true(dynamic_count(ctx) <= DYNAMIC_MAX);
  if (mpgi_stack_home_open(ctx, stay, MPGI_STACK_LIMIT_DEFAULT)) {
    opened++;
    clobber();
    return;
  }
  struct mpgi_segment *old = ctx->seg->next;
  int r = mpgi_stack_grow(&cache, ctx, frame + args, MPGI_STACK_LIMIT_DEFAULT);
  assert_int_equal(r, 0);
  if (watching && ctx->seg->next != old) unit_stack_watch(ctx->seg->next);
  grown++;
  clobber();
}

bool mpgi_morestack_preempt_g0(struct mpgi_context *ctx, uintptr_t fp) {
  assert_null(mpgi_tls_g());
  assert_true(fp > ctx->sp && fp < ctx->seg->hi);
  atomic_store(&ctx->preempt, 0);
  preempted++;
  clobber();
  return preempt_mode == PREEMPT_TAKEN;
}

void mpgi_async_preempted(struct mpgi_context *ctx) {
  assert_null(mpgi_tls_g());
  assert_non_null(ctx->xsave);
  assert_ptr_equal(ctx->pc, mpgi_resume_async);
  resumed++;
  clobber();
  mpgi_arch_resume(ctx);
}

/* ---- cases ---- */

static struct unit_stack stack;

static int setup(void **state) {
  (void) state;
  unit_stack_setup();
  if (!unit_m.xsave_free) {
    size_t bytes = mpgi_arch_xsave_bytes();
    void *mem = aligned_alloc(64, bytes);
    memset(mem, 0, bytes);
    unit_m.xsave_free = mpgi_arch_xsave_init(mem);
  }
  preempt_mode = PREEMPT_NONE;
  grown = opened = preempted = resumed = 0;
  unit_stack_open(&stack, FIRST_BYTES);
  return 0;
}

/* On a home, where it grows in place. */
static int setup_home(void **state) {
  int r = setup(state);
  unit_stack_close(&stack, &cache);
  unit_stack_open_home(&stack);
  return r;
}

static int teardown(void **state) {
  (void) state;
  unit_stack_close(&stack, &cache);
  mpgi_stack_cache_flush(&cache);
  assert_int_equal(mpgi_stack_bytes(), 0);
  return 0;
}

/* How each call of a sweep begins. */
enum sweep { SWEEP_CACHED, SWEEP_FRESH, SWEEP_PREEMPT };

static void run_case(const struct abi_case *c, long left, enum sweep how) {
  uint64_t seed = (uint64_t) (left + 1000) * 0x9e3779b97f4a7c15u;
  uint64_t expected = c->fn(seed);
  watching = strncmp(c->name, "vla", 3) && strncmp(c->name, "alloca", 6);
  if (how == SWEEP_PREEMPT) atomic_store(&stack.ctx.preempt, 1);
  if (how == SWEEP_FRESH) mpgi_stack_trim(&cache, &stack.ctx);
  if (how != SWEEP_CACHED && !stack.mem) unit_stack_shut_home(&stack, &cache);
  /* As a function does that is entered above the last case.  The sweep jumps
   * to a lower SP without one: then the dead of one case may be there beside
   * the live of the next, which DYNAMIC_MAX has no room for. */
  mpgi_stack_dynamic_reap(&stack.ctx, stack.ctx.seg->hi);
  assert_null(stack.ctx.dynamic);
  uint64_t r = unit_stack_call(&stack, left, c->fn, seed);
  if (r != expected)
    fail_msg("%s: wrong result with %ld bytes left", c->name, left);
}

static unsigned sweep(enum sweep how) {
  unsigned n = 0;
  for (unsigned i = 0; i < abi_ncases; i++) {
    for (long left = LEFT_MIN; left <= LEFT_MAX; left += 16) {
      run_case(&abi_cases[i], left, how);
      n++;
    }
  }
  return n;
}

static void cached_segments(void **state) {
  (void) state;
  sweep(SWEEP_CACHED);
  assert_true(grown > 0);
}

static void fresh_segments(void **state) {
  (void) state;
  unsigned n = sweep(SWEEP_FRESH);
  assert_true(grown > n / 4);
}

static void homes_grow_in_place(void **state) {
  (void) state;
  unsigned n = sweep(SWEEP_FRESH);
  assert_true(opened > n / 4);
  opened = 0;
  sweep(SWEEP_CACHED);
  assert_true(opened < n / 100);
}

static void preempted_at_a_prologue(void **state) {
  (void) state;
  preempt_mode = PREEMPT_TAKEN;
  unsigned n = sweep(SWEEP_PREEMPT);
  assert_int_equal(preempted, n);
  assert_int_equal(resumed, n);
}

static void preemption_refused_at_a_prologue(void **state) {
  (void) state;
  preempt_mode = PREEMPT_REFUSED;
  unsigned n = sweep(SWEEP_PREEMPT);
  assert_int_equal(preempted, n);
  assert_int_equal(resumed, 0);
}

/* Without XSAVEC, and without XSAVE: what older processors have. */
extern uint32_t mpgi_xsave_mode;
extern uint64_t mpgi_xsave_mask;
static void older_processors(void **state) {
  (void) state;
  uint32_t mode = mpgi_xsave_mode;
  mpgi_xsave_mode = 1;
  for (unsigned i = 0; i < abi_ncases; i++)
    for (long left = LEFT_MIN; left <= LEFT_MAX; left += 112)
      run_case(&abi_cases[i], left, SWEEP_FRESH);
  mpgi_xsave_mode = 0;
  for (unsigned i = 0; i < abi_ncases; i++) {
    if (strncmp(abi_cases[i].name, "m", 1) == 0) continue; /* wide vectors */
    for (long left = LEFT_MIN; left <= LEFT_MAX; left += 112)
      run_case(&abi_cases[i], left, SWEEP_FRESH);
  }
  mpgi_xsave_mode = mode;
}

/* ---- a storm of preemption signals ---- */

#define STORM_US 40
static volatile sig_atomic_t storm_signals, storm_injected;

/* What the runtime's handler does: flag, poison, and where the code is user
 * code with room on its stack, an injected call. */
static void on_signal(int sig, siginfo_t *info, void *ucontext) {
  (void) sig, (void) info;
  struct mpgi_context *ctx = (struct mpgi_context *) mpgi_tls_g();
  struct mpgi_sigregs r;
  storm_signals++;
  if (!ctx) return;
  mpgi_arch_sigregs(ucontext, &r);
  bool on_stack = r.sp >= ctx->seg->lo && r.sp < ctx->seg->hi;
  if (!mpgi_arch_pc_in_rt(r.pc) && !on_stack) return;
  atomic_store(&ctx->preempt, 1);
  mpgi_arch_guard_set(MPGI_GUARD_POISON);
  if (mpgi_arch_pc_in_rt(r.pc)) return;
  if (r.sp - ctx->seg->lo < MPGI_INJECT_BYTES + UNIT_STACK_WATCH_BYTES) return;
  if (storm_signals & 1) return; /* leave it to the next prologue */
  storm_injected++;
  mpgi_arch_inject_preempt(ucontext);
}

static void storm_start(void) {
  static unsigned char alt[64 << 10];
  stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt};
  assert_int_equal(sigaltstack(&ss, NULL), 0);
  struct sigaction sa = {.sa_sigaction = on_signal,
                         .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
  sigfillset(&sa.sa_mask);
  assert_int_equal(sigaction(SIGALRM, &sa, NULL), 0);
  struct itimerval it = {{0, STORM_US}, {0, STORM_US}};
  assert_int_equal(setitimer(ITIMER_REAL, &it, NULL), 0);
}

static void storm_stop(void) {
  struct itimerval it = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &it, NULL);
  signal(SIGALRM, SIG_IGN);
}

static void growth_under_signals(void **state) {
  (void) state;
  preempt_mode = PREEMPT_TAKEN;
  storm_start();
  for (int round = 0; round < 4 || storm_injected < 300; round++) {
    enum sweep how = round & 1 ? SWEEP_CACHED : SWEEP_FRESH;
    for (unsigned i = 0; i < abi_ncases; i++)
      for (long left = LEFT_MIN + round % 7 * 16; left <= LEFT_MAX; left += 112)
        run_case(&abi_cases[i], left, how);
  }
  storm_stop();
  assert_true(storm_signals > 0 && resumed > 0 && storm_injected > 0);
}

/* ---- places where the guard word belongs to somebody else ---- */

/* On a thread without a goroutine a poisoned or foreign guard word changes
 * nothing: bodies stay where they are. */
static void foreign_stack_is_left_alone(void **state) {
  (void) state;
  for (unsigned i = 0; i < abi_ncases; i++) {
    uint64_t expected = abi_cases[i].fn(i);
    mpgi_arch_guard_set(MPGI_GUARD_POISON);
    uint64_t r = abi_cases[i].fn(i);
    mpgi_arch_guard_set(0);
    if (r != expected) fail_msg("%s: wrong result", abi_cases[i].name);
  }
  assert_int_equal(grown, 0);
}

/* User code in a signal handler on an alternate stack, while a goroutine is
 * current: SP is outside its segment. */
static unsigned handler_case;
static uint64_t handler_result;
static void user_handler(int sig) {
  (void) sig;
  handler_result = abi_cases[handler_case].fn(5);
}
static uint64_t raise_on_stack(uint64_t arg) {
  raise(SIGUSR1);
  return arg;
}
static void handlers_keep_their_stack(void **state) {
  (void) state;
  size_t bytes = (size_t) 8 << 20;
  unsigned char *alt = malloc(bytes);
  stack_t ss = {.ss_sp = alt, .ss_size = bytes}, old;
  sigaltstack(&ss, &old);
  struct sigaction sa = {.sa_handler = user_handler, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &sa, NULL);
  struct unit_stack big;
  unit_stack_open(&big, 64 << 10);
  for (handler_case = 0; handler_case < abi_ncases; handler_case++) {
    uint64_t expected = abi_cases[handler_case].fn(5);
    handler_result = ~expected;
    unit_stack_call(&big, 32 << 10, raise_on_stack, 1);
    if (handler_result != expected)
      fail_msg("%s: wrong result", abi_cases[handler_case].name);
  }
  assert_int_equal(grown, 0);
  unit_stack_close(&big, &cache);
  signal(SIGUSR1, SIG_DFL);
  ss.ss_flags = SS_DISABLE;
  sigaltstack(&ss, NULL);
  free(alt);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(cached_segments, setup, teardown),
    cmocka_unit_test_setup_teardown(fresh_segments, setup, teardown),
    cmocka_unit_test_setup_teardown(homes_grow_in_place, setup_home, teardown),
    cmocka_unit_test_setup_teardown(preempted_at_a_prologue, setup, teardown),
    cmocka_unit_test_setup_teardown(preempted_at_a_prologue, setup_home,
                                    teardown),
    cmocka_unit_test_setup_teardown(preemption_refused_at_a_prologue, setup,
                                    teardown),
    cmocka_unit_test_setup_teardown(older_processors, setup, teardown),
    cmocka_unit_test_setup_teardown(growth_under_signals, setup, teardown),
    cmocka_unit_test_setup_teardown(growth_under_signals, setup_home, teardown),
    cmocka_unit_test_setup_teardown(foreign_stack_is_left_alone, setup,
                                    teardown),
    cmocka_unit_test_setup_teardown(handlers_keep_their_stack, setup, teardown),
};

int main(void) {
  return cmocka_run_group_tests_name("stack_abi", tests, NULL, NULL);
}

/* unit_stack.c - run functions on a goroutine's stack without a scheduler. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arch/os.h>
#include <arch/tls.h>

#include "unit_stack.h"

#define G0_BYTES ((size_t) 256 << 10)
#define CANARY 0xa7

struct unit_m unit_m;
void mpgi_goexit_entry(void);

/* rbx, rbp hold what is needed afterwards: fn preserves them. */
uint64_t call_on(struct mpgi_context *ctx, uintptr_t sp,
                 uint64_t (*fn)(uint64_t), uint64_t arg, uintptr_t guard);
__asm__(
    ".text\n"
    ".type call_on, @function\n"
    "call_on:\n"
    "  .cfi_startproc\n"
    "  push %rbp\n"
    "  .cfi_def_cfa_offset 16\n"
    "  .cfi_offset %rbp, -16\n"
    "  mov %rsp, %rbp\n"
    "  .cfi_def_cfa_register %rbp\n"
    "  push %rbx\n"
    "  push %r12\n"
    "  mov mpgi_tls@gottpoff(%rip), %rbx\n"
    "  mov %rsi, %rsp\n"
    "  mov %rdi, %fs:(%rbx)\n"
    "  mov %r8, %fs:0x70\n"
    "  mov %rcx, %rdi\n"
    "  call *%rdx\n"
    "  movq $0, %fs:0x70\n"
    "  movq $0, %fs:(%rbx)\n"
    "  lea -16(%rbp), %rsp\n"
    "  pop %r12\n"
    "  pop %rbx\n"
    "  pop %rbp\n"
    "  .cfi_def_cfa %rsp, 8\n"
    "  ret\n"
    "  .cfi_endproc\n"
    ".size call_on, . - call_on\n");

/* Where a goroutine's first function returns to; its presence here keeps the
 * entry thunks, and with them the scheduler, out of the test. */
void mpgi_goexit_entry(void) { fail_msg("mpgi_goexit_entry called"); }

/* Upcalls for tests that don't grow; others define their own. */
__attribute__((weak)) void mpgi_morestack_g0(struct mpgi_context *ctx,
                                             size_t frame, size_t args,
                                             uintptr_t stay) {
  (void) stay;
  (void) ctx;
  fail_msg("unexpected growth by %zu + %zu", frame, args);
}
__attribute__((weak)) bool mpgi_morestack_preempt_g0(struct mpgi_context *ctx,
                                                     uintptr_t fp) {
  (void) ctx, (void) fp;
  return false;
}
__attribute__((weak)) struct mpgi_context *mpgi_jump_to(uintptr_t sp) {
  (void) sp;
  return NULL;
}
__attribute__((weak, noreturn)) void mpgi_async_preempted(
    struct mpgi_context *ctx) {
  mpgi_arch_resume(ctx);
}

#define MAX_WATCHED 4096
static struct mpgi_segment *watched[MAX_WATCHED];
static unsigned nwatched;

void unit_stack_setup(void) {
  mpgi_arch_init();
  assert_int_equal(mpgi_stack_init(), 0);
  static unsigned char *g0;
  if (!g0) g0 = aligned_alloc(64, G0_BYTES);
  assert_non_null(g0);
  mpgi_tls.g = NULL;
  mpgi_tls.g0_sp = (uintptr_t) g0 + G0_BYTES - 64;
  mpgi_tls.m = (struct mpg_m *) &unit_m;
}

/* Small stacks lie below the arena, large ones may lie above: comparing
 * addresses of different segments by mistake shows in one of them. */
static _Alignas(64) unsigned char low[8192];
static bool low_used;

void unit_stack_open(struct unit_stack *s, size_t bytes) {
  memset(s, 0, sizeof *s);
  s->bytes = UNIT_STACK_CANARY_BYTES + bytes;
  if (s->bytes <= sizeof low && !low_used) {
    s->mem = low;
    low_used = true;
  } else {
    s->mem = aligned_alloc(64, (s->bytes + 63) & ~(size_t) 63);
  }
  assert_non_null(s->mem);
  uintptr_t lo = (uintptr_t) s->mem + UNIT_STACK_CANARY_BYTES;
  mpgi_stack_first(&s->ctx, &s->first, lo, lo + bytes);
}

void unit_stack_open_home(struct unit_stack *s) {
  memset(s, 0, sizeof *s);
  assert_true(mpgi_stack_home_init());
  assert_true(mpgi_stack_home_take(&s->ctx, &s->first));
}

void unit_stack_shut_home(struct unit_stack *s, struct mpgi_stack_cache *c) {
  mpgi_stack_trim(c, &s->ctx);
  s->ctx.sp = s->first.hi;
  mpgi_stack_home_age(&s->ctx);
  mpgi_stack_home_age(&s->ctx);
  assert_int_equal(s->first.bytes, mpgi_os_page_bytes);
  memset((void *) (s->first.hi - s->first.bytes), 0, UNIT_STACK_WATCH_BYTES);
}

void unit_stack_close(struct unit_stack *s, struct mpgi_stack_cache *c) {
  mpgi_stack_reset(c, &s->ctx);
  if (!s->mem) {
    mpgi_stack_home_give(&s->first, true);
    mpgi_stack_release();
    return;
  }
  if (s->mem == low)
    low_used = false;
  else
    free(s->mem);
}

void unit_stack_watch(struct mpgi_segment *seg) {
  assert_true(nwatched < MAX_WATCHED);
  memset((void *) seg->lo, CANARY, UNIT_STACK_WATCH_BYTES);
  watched[nwatched++] = seg;
}

static void canaries_set(struct unit_stack *s) {
  if (!s->mem) return;
  memset(s->mem, CANARY, UNIT_STACK_CANARY_BYTES + UNIT_STACK_WATCH_BYTES);
}

static bool intact(const unsigned char *p, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (p[i] != CANARY) return false;
  return true;
}

/* Of a home what isn't open reads zero. */
static bool canaries_intact(const struct unit_stack *s) {
  if (s->mem)
    return intact(s->mem, UNIT_STACK_CANARY_BYTES + UNIT_STACK_WATCH_BYTES);
  uintptr_t end = s->first.hi - s->first.bytes,
            at = end + UNIT_STACK_WATCH_BYTES;
  uintptr_t lo = end - s->first.lo < UNIT_STACK_CANARY_BYTES
                     ? s->first.lo
                     : end - UNIT_STACK_CANARY_BYTES;
  while (at > lo)
    if (*(unsigned char *) --at) return false;
  return true;
}

/* Where the first call of a sweep would find no room. */
static uintptr_t boundary(const struct unit_stack *s) {
  if (s->mem) return s->first.guard;
  return s->first.hi - mpgi_os_page_bytes + MPGI_GUARD_GAP_BYTES +
         MPGI_INJECT_BYTES;
}

uint64_t unit_stack_call(struct unit_stack *s, long left,
                         uint64_t (*fn)(uint64_t), uint64_t arg) {
  canaries_set(s);
  nwatched = 0;
  struct mpgi_context *ctx = &s->ctx;
  uintptr_t sp = boundary(s) + (uintptr_t) left;
  assert_true((sp & 15) == 0 && sp <= ctx->seg->hi && sp > ctx->seg->lo);
  bool preempt = atomic_load(&ctx->preempt) != 0;
  uint64_t r =
      call_on(ctx, sp, fn, arg, preempt ? MPGI_GUARD_POISON : ctx->guard);
  assert_true(canaries_intact(s));
  for (unsigned i = 0; i < nwatched; i++)
    assert_true(intact((void *) watched[i]->lo, UNIT_STACK_WATCH_BYTES));
  assert_ptr_equal(ctx->seg, &s->first);
  /* Nothing is alive any more. */
  mpgi_stack_dynamic_reap(ctx, UINTPTR_MAX);
  assert_null(ctx->dynamic);
  assert_true(ctx->guard == s->first.guard);
  return r;
}

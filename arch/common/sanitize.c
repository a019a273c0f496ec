/* sanitize.c - the sanitizers' side of sanitize.h.
 *
 * Their interfaces, declared in LLVM's sanitizer/common_interface_defs.h,
 * asan_interface.h and tsan_interface.h, are repeated here: GCC doesn't
 * install all of them.
 */
#include <arch/common/sanitize.h>

#include <stddef.h>

#if MPGI_ASAN

void __sanitizer_start_switch_fiber(void **fake_stack_save, const void *bottom,
                                    size_t bytes);
void __sanitizer_finish_switch_fiber(void *fake_stack_save,
                                     const void **bottom_old, size_t *bytes);
void __asan_unpoison_memory_region(const volatile void *p, size_t bytes);

static _Thread_local uintptr_t lo_of_g0, hi_of_g0;

/* Nothing between the two looks at SP. */
static void switch_to(uintptr_t lo, uintptr_t hi) {
  __sanitizer_start_switch_fiber(NULL, (const void *) lo, hi - lo);
  __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
}

void mpgi_san_thread(uintptr_t g0_lo, uintptr_t g0_hi) {
  lo_of_g0 = g0_lo;
  hi_of_g0 = g0_hi;
}

void mpgi_san_on_g0(void) { switch_to(lo_of_g0, hi_of_g0); }

void mpgi_san_back(const struct mpgi_context *ctx) {
  switch_to(ctx->seg->lo, ctx->seg->hi);
}

void mpgi_san_enter(const struct mpgi_context *ctx) { mpgi_san_back(ctx); }

void mpgi_san_new(struct mpgi_context *ctx) {
  __asan_unpoison_memory_region((const void *) ctx->seg->lo,
                                ctx->seg->hi - ctx->seg->lo);
}

void mpgi_san_leave(void) {}
void mpgi_san_adopt(struct mpgi_context *ctx) { (void) ctx; }
void mpgi_san_dead(struct mpgi_context *ctx) { (void) ctx; }
void mpgi_san_given(void *p) { (void) p; }
void mpgi_san_taken(void *p) { (void) p; }

#elif MPGI_TSAN

void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *p);
void __tsan_release(void *p);

/* sysmon and whoever stops the world look at words of Ps and Ms while their
 * owners write them (whose P it is, what runs, shall it go), and are prepared
 * for any of the values.  In these files only, which never touch the program's
 * data.  Weak: a program may have its own. */
const char *__tsan_default_suppressions(void);
__attribute__((weak, visibility("default"))) const char *
__tsan_default_suppressions(void) {
  return "race:sched/p.c\nrace:sched/proc.c\nrace:sched/stw.c\n"
         "race:sched/sysmon.c\nrace:sched/compensate.c\n"
         "race:sched/alarm.c\n"
         "race:sched/timer.c\nrace:sched/syscall.c\nrace:sched/m.c\n"
         "race:sched/hot.h\n";
}

/* A suppressed report is put into words, too, under a lock of TSan's.  The
 * first one reads debug information for a second: not with threads that are
 * frozen at each of its system calls. */
void __sanitizer_symbolize_pc(void *pc, const char *format, char *out,
                              size_t bytes);
static __attribute__((constructor)) void read_symbols(void) {
  char out[64];
  __sanitizer_symbolize_pc((void *) read_symbols, "%L", out, sizeof out);
}

static _Thread_local void *own; /* the thread's */

void mpgi_san_thread(uintptr_t g0_lo, uintptr_t g0_hi) {
  (void) g0_lo, (void) g0_hi;
  own = __tsan_get_current_fiber();
}

void mpgi_san_leave(void) {
  if (__tsan_get_current_fiber() != own) __tsan_switch_to_fiber(own, 0);
}

void mpgi_san_enter(const struct mpgi_context *ctx) {
  if (__tsan_get_current_fiber() != ctx->fiber)
    __tsan_switch_to_fiber(ctx->fiber, 0);
}

void mpgi_san_new(struct mpgi_context *ctx) {
  ctx->fiber = __tsan_create_fiber(0);
}

void mpgi_san_adopt(struct mpgi_context *ctx) { ctx->fiber = own; }

void mpgi_san_dead(struct mpgi_context *ctx) {
  if (ctx->fiber) __tsan_destroy_fiber(ctx->fiber);
  ctx->fiber = NULL;
}

void mpgi_san_given(void *p) { __tsan_release(p); }
void mpgi_san_taken(void *p) { __tsan_acquire(p); }

void mpgi_san_on_g0(void) {}
void mpgi_san_back(const struct mpgi_context *ctx) { (void) ctx; }

#endif

/* ---- valgrind ---- */

/* Requests, as in valgrind/valgrind.h. */
#define RUNNING_ON_VALGRIND 0x1001
#define STACK_REGISTER 0x1501
#define STACK_DEREGISTER 0x1502
#define CHANGE_ERR_DISABLEMENT 0x1801
/* and in valgrind/memcheck.h */
#define MAKE_MEM_UNDEFINED 0x4d430001
#define MAKE_MEM_DEFINED 0x4d430002
#define ENABLE_ADDR_ERRORS_IN_RANGE 0x4d43000d
#define DISABLE_ADDR_ERRORS_IN_RANGE 0x4d43000e

bool mpgi_valgrind;

void mpgi_valgrind_init(void) {
  mpgi_valgrind = mpgi_arch_valgrind(RUNNING_ON_VALGRIND, 0, 0) != 0;
}

void mpgi_valgrind_register(struct mpgi_segment *seg) {
  seg->valgrind =
      (uint32_t) mpgi_arch_valgrind(STACK_REGISTER, seg->lo, seg->hi);
  mpgi_arch_valgrind(DISABLE_ADDR_ERRORS_IN_RANGE, seg->lo, seg->hi - seg->lo);
}

void mpgi_valgrind_deregister(const struct mpgi_segment *seg) {
  mpgi_arch_valgrind(ENABLE_ADDR_ERRORS_IN_RANGE, seg->lo, seg->hi - seg->lo);
  mpgi_arch_valgrind(STACK_DEREGISTER, seg->valgrind, 0);
}

void mpgi_valgrind_thread(uintptr_t lo, uintptr_t hi, bool on) {
  uintptr_t request =
      on ? DISABLE_ADDR_ERRORS_IN_RANGE : ENABLE_ADDR_ERRORS_IN_RANGE;
  if (mpgi_valgrind) mpgi_arch_valgrind(request, lo, hi - lo);
}

void mpgi_valgrind_end(void) {
  if (mpgi_valgrind)
    mpgi_arch_valgrind(ENABLE_ADDR_ERRORS_IN_RANGE, 4096, (uintptr_t) 1 << 46);
}

void mpgi_valgrind_no_stack(void *lo, size_t bytes) {
  if (mpgi_valgrind)
    mpgi_arch_valgrind(MAKE_MEM_UNDEFINED, (uintptr_t) lo, bytes);
}

void mpgi_valgrind_known(void *p, size_t bytes) {
  if (mpgi_valgrind) mpgi_arch_valgrind(MAKE_MEM_DEFINED, (uintptr_t) p, bytes);
}

void mpgi_valgrind_mute(int by) {
  if (mpgi_valgrind)
    mpgi_arch_valgrind(CHANGE_ERR_DISABLEMENT, (uintptr_t) (intptr_t) by, 0);
}

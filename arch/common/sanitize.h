/* sanitize.h - telling AddressSanitizer and ThreadSanitizer whose stack a
 * thread is on, and valgrind what is a stack.
 *
 * The sanitizers take a thread's stack for the one it was born with.  The
 * hooks of sanitizer builds (nothing is left of them in others):
 *
 *   mpgi_san_thread  the calling thread's g0 is [lo, hi)
 *   mpgi_san_on_g0   it came to g0 from a goroutine's stack (entry thunks)
 *   mpgi_san_back    the thunk returns to the goroutine's stack
 *   mpgi_san_leave   it leaves its goroutine for good (mpgi_drop_g), or ends
 *   mpgi_san_enter   it is about to jump to a goroutine's stack (switch.S)
 *   mpgi_san_new     a goroutine gets its first stack
 *   mpgi_san_adopt   a goroutine stands for the calling thread, on its stack
 *   mpgi_san_dead    the goroutine is dead; not for one that was adopted: its
 *                    thread may go on
 *   mpgi_san_given   memory is free; and
 *   mpgi_san_taken   is used again, perhaps by another thread (jemalloc is not
 *                    instrumented)
 *
 * ASan poisons what surrounds local variables until their function returns.
 * Where one doesn't return (_Noreturn) it takes the poison away from SP to the
 * top of the stack, whose bounds it must know: at every moment.  Its fake
 * stacks (detect_stack_use_after_return=1) are not for mpg: the collector
 * doesn't look at them.
 *
 * TSan keeps a "fiber" for each goroutine, a history of its own, which the
 * runtime's calls on g0 for the goroutine belong to.  Goroutines that one
 * thread runs one after the other are ordered for it: it sees races between
 * threads only.  Functions of the runtime must not note entry and exit
 * (CMakeLists.txt): their frames are abandoned.
 */
#ifndef MPGI_SANITIZE_H
#define MPGI_SANITIZE_H

#include <stdbool.h>
#include <stdint.h>

#include <arch/arch.h>

#if MPGI_ASAN || MPGI_TSAN
MPGI_HIDDEN void mpgi_san_thread(uintptr_t g0_lo, uintptr_t g0_hi);
MPGI_HIDDEN void mpgi_san_on_g0(void);
MPGI_HIDDEN void mpgi_san_back(const struct mpgi_context *ctx);
MPGI_HIDDEN void mpgi_san_leave(void);
MPGI_HIDDEN void mpgi_san_enter(const struct mpgi_context *ctx);
MPGI_HIDDEN void mpgi_san_new(struct mpgi_context *ctx);
MPGI_HIDDEN void mpgi_san_adopt(struct mpgi_context *ctx);
MPGI_HIDDEN void mpgi_san_dead(struct mpgi_context *ctx);
MPGI_HIDDEN void mpgi_san_given(void *p);
MPGI_HIDDEN void mpgi_san_taken(void *p);
#else
static inline void mpgi_san_thread(uintptr_t g0_lo, uintptr_t g0_hi) {
  (void) g0_lo, (void) g0_hi;
}
static inline void mpgi_san_leave(void) {}
static inline void mpgi_san_new(struct mpgi_context *ctx) { (void) ctx; }
static inline void mpgi_san_adopt(struct mpgi_context *ctx) { (void) ctx; }
static inline void mpgi_san_dead(struct mpgi_context *ctx) { (void) ctx; }
static inline void mpgi_san_given(void *p) { (void) p; }
static inline void mpgi_san_taken(void *p) { (void) p; }
#endif

/* ---- valgrind ----
 *
 * It runs ordinary programs, so these are in every build.  It must know a
 * stack from another: SP that moves within one makes memory valid or invalid,
 * and a small distance is a push.  So each segment is registered while it
 * exists.  memcheck remembers the current stack for all threads together, so
 * after it changed threads the next large frame looks like a change of stack
 * and stays invalid: of segments, and of the stacks of threads that run
 * goroutines, it is told not to report invalid accesses.
 * Without valgrind all that is a look at a constant where memory comes from the
 * arena or the system. */
MPGI_HIDDEN extern bool mpgi_valgrind; /* it runs this; mpgi_valgrind_init */
MPGI_HIDDEN void mpgi_valgrind_init(void);
MPGI_HIDDEN void mpgi_valgrind_register(struct mpgi_segment *seg);
MPGI_HIDDEN void mpgi_valgrind_deregister(const struct mpgi_segment *seg);

/* A thread that is to run goroutines, and when it has: its stack. */
MPGI_HIDDEN void mpgi_valgrind_thread(uintptr_t lo, uintptr_t hi, bool on);

/* The program ends and nobody runs on a segment: valgrind would list them all
 * as ranges that were forgotten. */
MPGI_HIDDEN void mpgi_valgrind_end(void);

/* Memory that may have been a stack, where what was below SP is invalid, is for
 * other uses now. */
MPGI_HIDDEN void mpgi_valgrind_no_stack(void *lo, size_t bytes);

/* What is there was computed from words that may be anything, and is known. */
MPGI_HIDDEN void mpgi_valgrind_known(void *p, size_t bytes);

/* Errors of this thread are not (+1) or again (-1) reported: words are read
 * that may be anything.  Nest. */
MPGI_HIDDEN void mpgi_valgrind_mute(int by);

static inline void mpgi_valgrind_add(struct mpgi_segment *seg) {
  if (__builtin_expect(mpgi_valgrind, 0)) mpgi_valgrind_register(seg);
}
static inline void mpgi_valgrind_remove(const struct mpgi_segment *seg) {
  if (__builtin_expect(mpgi_valgrind, 0)) mpgi_valgrind_deregister(seg);
}

#endif /* MPGI_SANITIZE_H */

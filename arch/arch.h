/* arch.h - the CPU contract: contexts, switches, entry thunks, the guard word.
 *
 * Everything here is implemented in arch/<cpu>/ and is the same for every
 * operating system.  What depends on the kernel is in os.h.
 *
 * Concepts
 *   context   what the assembler needs of a goroutine; the first member of
 *             struct mpg_g, so that a G and its context have one address.
 *   segment   one contiguous piece of a goroutine's stack; its record is the
 *             segment's own memory at the high end (the first one's is in G).
 *   g0        the M's system stack.  Runtime code runs there only.
 *   guard     the word at %fs:0x70 that split-stack prologues compare %rsp
 *             with; 0 = never grow; MPGI_GUARD_POISON = always call
 *             __morestack (the cooperative safe point).
 *
 * Who writes what: a context belongs to the M that runs its goroutine; when
 * none does, to whoever holds the goroutine's status (sched/status).
 */
#ifndef MPGI_ARCH_H
#define MPGI_ARCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MPGI_HIDDEN __attribute__((visibility("hidden")))
/* Functions that read other code's stacks and data word by word. */
#define MPGI_NO_SANITIZE \
  __attribute__((no_sanitize("address", "thread", "undefined")))

/* 1 in builds for the sanitizer (CMakeLists.txt; common/sanitize.h), also in
 * files that it leaves alone. */
#ifndef MPGI_ASAN
#define MPGI_ASAN 0
#endif
#ifndef MPGI_TSAN
#define MPGI_TSAN 0
#endif
/* Entry stubs: the only runtime code that runs on a goroutine's stack.  The
 * signal handler treats a PC in here as "in the runtime". */
#define MPGI_RT_TEXT __attribute__((section("mpg_rt_text"), noinline))

/* Variables of the runtime whose words must not look like the program's
 * references: the scan of global segments leaves this section out. */
#define MPGI_NOROOT __attribute__((section("mpg_noroot")))

#define MPGI_CACHE_LINE_BYTES 64
#define MPGI_RED_ZONE_BYTES 128
/* Above every address, and positive: GCC compares the guard unsigned, Clang's
 * alloca compares it signed. */
#define MPGI_GUARD_POISON ((uintptr_t) 0x7ffffffffffff000)
/* Room below the guard.  GCC and Clang let frames under 256 bytes pass the
 * check, so SP may be that far below the guard at a call; the rest is for the
 * entry stubs (at most MPGI_STUB_BYTES, checked by tests/unit). */
#define MPGI_SPLIT_SLACK_BYTES 256
#define MPGI_STUB_BYTES 256
#define MPGI_GUARD_GAP_BYTES (MPGI_SPLIT_SLACK_BYTES + MPGI_STUB_BYTES)
/* Between guard and hi of every segment that has a guard word: __morestack's
 * fast way relies on it [stack.seg.least]. */
#define MPGI_SEGMENT_LEAST_BYTES 624
/* Stack that a LEAF of linux/libc.def may use below its return address. */
#define MPGI_LIBC_LEAF_BYTES (MPGI_STUB_BYTES - 8)

struct mpgi_segment {
  struct mpgi_segment *prev; /* older; NULL for the first */
  struct mpgi_segment *next; /* cached for the next growth; NULL if none */
  uintptr_t lo, hi;          /* usable stack is [lo, hi) */
  uintptr_t guard;           /* 0: no checks; else at least lo +
                                MPGI_GUARD_GAP_BYTES; above that where there
                                is room for foreign code (stack/cache.c), and
                                in a home (stack/home.c) */
  uintptr_t prev_sp; /* while in use: everything of prev at or above this is
                        live (rbp of __morestack's frame); and a bit */
  size_t bytes;      /* what the stack module gave out, this record included */
  uint16_t order;    /* stack module: class; meaning private to it */
  uint16_t fixed;    /* 1: a fixed stack with a guard region */
  uint32_t valgrind; /* valgrind's number for it */
};

/* In prev_sp, gone at the next entry: frames of prev were looked at before
 * [seg.walked]. */
#define MPGI_SEGMENT_WALKED ((uintptr_t) 1)
static inline uintptr_t mpgi_segment_entry(const struct mpgi_segment *seg) {
  return seg->prev_sp & ~MPGI_SEGMENT_WALKED;
}

/* How the thread rounds and which exceptions trap. */
struct mpgi_control {
  uint32_t mxcsr; /* SSE's; with exception flags when saved at a park */
  uint16_t x87cw;
  uint16_t unused;
};

struct mpgi_context {
  uintptr_t sp;    /* saved SP; valid while not running on its own stack */
  uintptr_t pc;    /* where mpgi_arch_resume jumps; knows how to restore */
  uintptr_t ret;   /* becomes rax for pc = mpgi_resume_thunk */
  uintptr_t guard; /* == seg->guard; the guard word while it runs */
  struct mpgi_segment *seg; /* current segment; one word, so that whoever looks
                               (the signal handler's range test) sees one */
  _Atomic uint32_t preempt; /* not 0: the next safe point must switch or stop;
                               bits of whoever asks */
  uint32_t reserved;
  struct mpgi_control control;  /* saved at a park */
  struct mpgi_xsave *xsave;     /* extended state while async-preempted */
  struct mpgi_segment *dynamic; /* memory of alloca beyond the segment, newest
                                   first (stack/dynamic.c) */
  struct mpgi_segment *hot;     /* __morestack's: the segment that it switched
                                   to last; only compared, it may be gone */
#if MPGI_TSAN
  void *fiber; /* common/sanitize.h */
#endif
};

/* Extended-state buffer: 64-byte aligned, zeroed when made; links a free list
 * of the M.  state[] is in XSAVEC (compacted) format. */
struct mpgi_xsave {
  struct mpgi_xsave *next;
  size_t bytes; /* of state[] that may be written */
  uint64_t pad[6];
  unsigned char state[] __attribute__((aligned(64)));
};
/* Bytes for a whole struct mpgi_xsave; and make one out of such zeroed,
 * 64-byte aligned memory. */
MPGI_HIDDEN size_t mpgi_arch_xsave_bytes(void);
MPGI_HIDDEN struct mpgi_xsave *mpgi_arch_xsave_init(void *mem);
/* Once per process before any of the above; detects CPU features. */
MPGI_HIDDEN void mpgi_arch_init(void);

/* ---- switching (x86_64/switch.S) ---- */

/* Run gp: set the M's current goroutine and guard word, load the control
 * words, and jump to its pc.  On g0; never returns. */
MPGI_HIDDEN _Noreturn void mpgi_arch_resume(struct mpgi_context *gp);

/* pc values */
MPGI_HIDDEN extern const char mpgi_resume_thunk[]; /* after an entry thunk */
MPGI_HIDDEN extern const char mpgi_resume_async[]; /* after an async preempt */

MPGI_HIDDEN extern const char mpg_goroutine_start[]; /* new (switch.S) */

/* Lay the first frame of a new goroutine that will call fn(arg) and then
 * mpgi_goexit_entry.  seg is its first segment, hi a multiple of 16. */
static inline void mpgi_arch_context_init(struct mpgi_context *ctx,
                                          const struct mpgi_segment *seg,
                                          struct mpgi_control control,
                                          void (*fn)(void *), void *arg) {
  uintptr_t *sp = (uintptr_t *) seg->hi - 4;
  sp[0] = (uintptr_t) fn;
  sp[1] = (uintptr_t) arg;
  sp[2] = sp[3] = 0;
  ctx->sp = (uintptr_t) sp;
  ctx->pc = (uintptr_t) mpg_goroutine_start;
  ctx->control = control;
}

/* Save the control words of the running thread. */
static inline void mpgi_arch_control_save(struct mpgi_control *c) {
  __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(c->mxcsr), "=m"(c->x87cw));
}

/* For others than the one that runs: no exception has happened. */
static inline void mpgi_arch_control_clear(struct mpgi_control *c) {
  c->mxcsr &= ~(uint32_t) 0x3f;
}

/* Make the calling thread an M's: run entry(arg) on its own stack below the
 * caller's frame as "g0"; entry must not return but call mpgi_arch_g0_leave,
 * which makes this return.  *g0_sp gets the top that thunks will use. */
MPGI_HIDDEN void mpgi_arch_g0_enter(void (*entry)(void *), void *arg,
                                    uintptr_t *g0_sp, uintptr_t *g0_base);
MPGI_HIDDEN _Noreturn void mpgi_arch_g0_leave(uintptr_t g0_base);

/* On g0, in an entry thunk's g0 side: return to the caller of the thunk that
 * saved at, with at->ret as the result, and as a thread without goroutine, M
 * and cache.  at may lie on g0. */
MPGI_HIDDEN _Noreturn void mpgi_arch_leave(const struct mpgi_context *at);

/* Restart on g0 from the top: discard every g0 frame and call fn(arg), which
 * never returns. */
MPGI_HIDDEN _Noreturn void mpgi_arch_g0_restart(uintptr_t g0_sp,
                                                void (*fn)(void *), void *arg);

/* ---- guard word ---- */
static inline uintptr_t *mpgi_arch_guard_addr(void) {
  uintptr_t tp;
  __asm__ volatile("mov %%fs:0, %0" : "=r"(tp));
  return (uintptr_t *) (tp + 0x70);
}
static inline void mpgi_arch_guard_set(uintptr_t v) {
  __asm__ volatile("mov %0, %%fs:0x70" : : "r"(v) : "memory");
}
static inline uintptr_t mpgi_arch_guard_get(void) {
  uintptr_t v;
  __asm__ volatile("mov %%fs:0x70, %0" : "=r"(v));
  return v;
}

static inline uintptr_t mpgi_arch_sp(void) {
  uintptr_t sp;
  __asm__ volatile("mov %%rsp, %0" : "=r"(sp));
  return sp;
}
/* A full fence.  What GCC makes of one; Clang's mfence takes 25 ns on AMD, more
 * than all the rest of starting a goroutine. */
static inline void mpgi_arch_fence(void) {
  __asm__ volatile("lock orq $0, (%%rsp)" : : : "memory", "cc");
}
/* A full fence behind a sequentially consistent read-modify-write. */
static inline void mpgi_arch_fence_after_rmw(void) {
  __asm__ volatile("" : : : "memory");
}
/* Set the lowest bit, an acquire: was it set?  GCC makes the same instruction
 * of the builtin, Clang 14 a loop around a compare-and-swap. */
static inline __attribute__((always_inline)) bool mpgi_arch_lock_bit(
    uint32_t *word) {
#ifdef __clang__
  bool was;
  __asm__ volatile("lock btsl $0, %0" : "+m"(*word), "=@ccc"(was) : : "memory");
  return was;
#else
  return __atomic_fetch_or(word, 1, __ATOMIC_ACQUIRE) & 1;
#endif
}
/* A request to valgrind: instructions that do nothing, which it knows.  0
 * elsewhere. */
static inline uintptr_t mpgi_arch_valgrind(uintptr_t request, uintptr_t a,
                                           uintptr_t b) {
  volatile uintptr_t args[6] = {request, a, b, 0, 0, 0};
  uintptr_t result = 0;
  __asm__ volatile(
      "rolq $3, %%rdi\n\trolq $13, %%rdi\n\t"
      "rolq $61, %%rdi\n\trolq $51, %%rdi\n\t"
      "xchgq %%rbx, %%rbx"
      : "+d"(result)
      : "a"(args)
      : "cc", "memory");
  return result;
}
#define MPGI_ARCH_CLEAR_LOOP_BYTES 512 /* beyond: the slow start pays */
static inline void mpgi_arch_relax(void) { __builtin_ia32_pause(); }
/* Clear bytes, a multiple of 16 and not 0, at such an address; without a call.
 * The last ones by a store of their own: reading what rep stosb wrote waits for
 * all of it, and there is the pad of a cell. */
static inline __attribute__((always_inline)) void mpgi_arch_clear(
    void *lo, size_t bytes) {
  typedef long long two __attribute__((vector_size(16), may_alias));
  char *p = lo, *last = p + bytes - sizeof(two);
  if (bytes > MPGI_ARCH_CLEAR_LOOP_BYTES) {
    bytes -= sizeof(two);
    __asm__ volatile("rep stosb" : "+D"(p), "+c"(bytes) : "a"(0) : "memory");
  }
  for (; p <= last; p += sizeof(two)) {
    *(two *) (void *) p = (two){0, 0};
    __asm__ volatile("" : : : "memory"); /* it stays a loop */
  }
}
/* A hint; nothing where the CPU doesn't know the instruction. */
static inline void mpgi_arch_prefetch_write(const volatile void *p) {
  __asm__ volatile("prefetchw %0" : : "m"(*(const volatile char *) p));
}
/* A steady, process-wide clock that is cheap to read, in a unit of its own
 * (x86_64/ticks.c).  Signal-safe. */
MPGI_HIDDEN extern _Atomic bool mpgi_arch_ticks_tsc; /* known to be steady */
MPGI_HIDDEN uint64_t mpgi_arch_ticks_slow(void);
/* Known to be one instruction: then read it so, without a call that might be
 * needed. */
static inline bool mpgi_arch_ticks_are_quick(void) {
  return __builtin_expect(
      atomic_load_explicit(&mpgi_arch_ticks_tsc, memory_order_relaxed), 1);
}
static inline uint64_t mpgi_arch_ticks_quick(void) {
  return __builtin_ia32_rdtsc();
}
static inline uint64_t mpgi_arch_ticks(void) {
  return mpgi_arch_ticks_are_quick() ? mpgi_arch_ticks_quick()
                                     : mpgi_arch_ticks_slow();
}

/* ---- interrupted code (x86_64/sigctx.c), ucontext is ucontext_t * ---- */
struct mpgi_sigregs {
  uintptr_t pc, sp, fp;
  uint64_t sigmask; /* as the interrupted code had it */
  bool unsaveable;  /* state that the trampoline doesn't save is in use (AMX) */
};
MPGI_HIDDEN void mpgi_arch_sigregs(const void *ucontext,
                                   struct mpgi_sigregs *out);
/* Make the interrupted code call mpg_async_preempt when the handler returns:
 * skip the red zone, push PC, set PC.  The caller checked the room:
 * MPGI_INJECT_BYTES below SP. */
#define MPGI_INJECT_BYTES (MPGI_RED_ZONE_BYTES + 8 + 8 + 15 * 8 + 24)
/* As much more where SP is no multiple of 8: Clang's leaf functions subtract
 * what they need.  The registers are saved at one all the same, where the
 * collector looks; the call returns to mpgi_odd_return, which finds at SP the
 * address of PC. */
#define MPGI_INJECT_ODD_BYTES (MPGI_RED_ZONE_BYTES + 8 + 8)
MPGI_HIDDEN extern const char mpgi_odd_return[];
MPGI_HIDDEN void mpgi_arch_inject_preempt(void *ucontext);
/* Words of the interrupted registers, general and extended, that may hold
 * pointers: calls visit(arg, lo, hi) for each range in the signal frame. */
MPGI_HIDDEN void mpgi_arch_sigregs_words(
    const void *ucontext,
    void (*visit)(void *arg, const void *lo, const void *hi), void *arg);
/* True when the thread was interrupted at a system call instruction that the
 * kernel will restart or fail with EINTR: it was blocked in the kernel. */
MPGI_HIDDEN bool mpgi_arch_in_syscall(const void *ucontext);

/* ---- text ranges of the entry stubs ---- */
extern const char mpgi_rt_text_start[] __asm__("__start_mpg_rt_text")
    __attribute__((visibility("hidden")));
extern const char mpgi_rt_text_stop[] __asm__("__stop_mpg_rt_text")
    __attribute__((visibility("hidden")));
static inline bool mpgi_arch_pc_in_rt(uintptr_t pc) {
  return pc >= (uintptr_t) mpgi_rt_text_start &&
         pc < (uintptr_t) mpgi_rt_text_stop;
}

/* A return address in __morestack or __morestack_non_split.  The frame it
 * leads to is theirs: [fp] caller's fp, [fp+8] return into the prologue of the
 * function already seen, [fp+16] return into its caller. */
MPGI_HIDDEN extern const char mpgi_morestack_start[], mpgi_morestack_stop[];
static inline bool mpgi_arch_pc_in_morestack(uintptr_t pc) {
  return pc >= (uintptr_t) mpgi_morestack_start &&
         pc < (uintptr_t) mpgi_morestack_stop;
}

/* ---- how user code was built (x86_64/split.c) ---- */
/* NULL, or why the linker of this program is none for split stacks. */
MPGI_HIDDEN const char *mpgi_arch_refuses_linker(void);
/* Does the function at fn look at the guard word, as compiled with
 * -fsplit-stack?  What doesn't may use any amount of stack. */
MPGI_HIDDEN bool mpgi_arch_is_split_slow(uintptr_t fn);
static inline bool mpgi_arch_is_split(uintptr_t fn) {
  const uint32_t compare = 0x243b4864; /* cmp %fs:..., %rsp */
  /* What begins with the prefix is no shorter. */
  bool fs = *(const uint8_t *) fn == (uint8_t) compare;
  return (fs && *(const uint32_t *) fn == compare) ||
         mpgi_arch_is_split_slow(fn);
}

/* ---- C library stubs (x86_64/libc_call.S) ---- */
/* Where the stubs jump to. */
extern void mpg_abi_libc_call(void);
/* Behind a stub or a linkage table's entry: the function that fn, code of this
 * program, jumps to through a slot; fn itself when it is no such jump. */
MPGI_HIDDEN void *mpgi_arch_behind_jump(void *fn);

/* ---- upcalls: called by the assembler, on g0, defined by sched ---- */
/* An entry thunk's way out saw preempt set: park or stop in place, or return
 * to let it go on. */
MPGI_HIDDEN void mpgi_thunk_preempted(struct mpgi_context *gp);
/* The C library returned to libc_call.S with preempt set: stop in place, or
 * true to go through the async-preemption save, or false to go on. */
MPGI_HIDDEN bool mpgi_libc_preempted(struct mpgi_context *gp);
/* An entry thunk was called from inside the C library. */
MPGI_HIDDEN _Noreturn void mpgi_libc_misuse(const char *what);
/* One for goroutines was called on a thread that is none's, nor attached. */
MPGI_HIDDEN _Noreturn void mpgi_not_attached(const char *what);
/* A longjmp to SP sp that doesn't come from a goroutine's stack: the goroutine
 * of this thread that goes on there; NULL when it lands elsewhere.  Not on g0
 * but where the jump is. */
MPGI_HIDDEN struct mpgi_context *mpgi_jump_to(uintptr_t sp);
/* gp was async-preempted; its state is saved (pc = mpgi_resume_async). */
MPGI_HIDDEN _Noreturn void mpgi_async_preempted(struct mpgi_context *gp);
/* gp's function returned, or mpg_goexit was called. */
MPGI_HIDDEN _Noreturn void mpgi_goexit_g0(struct mpgi_context *gp);
/* __morestack needs a segment for frame bytes plus args bytes, twice what the
 * stack arguments take (upcall to sched, which calls the stack module and
 * reports overflow).  On return gp->seg->next is large enough, or the guard is
 * at stay or below: the body's SP, less its frame, on the current segment; 0:
 * it can't stay there. */
MPGI_HIDDEN void mpgi_morestack_g0(struct mpgi_context *gp, size_t frame,
                                   size_t args, uintptr_t stay);
/* __morestack found preempt set.  Returns true when the goroutine must go
 * through the async-preemption save (it is then at a prologue, every frame
 * checked as for tier 2); false to go on growing or running. */
MPGI_HIDDEN bool mpgi_morestack_preempt_g0(struct mpgi_context *gp,
                                           uintptr_t fp);

#endif /* MPGI_ARCH_H */

/* stack.h - goroutine stacks: blocks, segments, fixed stacks.
 *
 * The stack module owns the memory; struct mpgi_segment and mpgi_context
 * (arch/arch.h) are the interface to the assembler.  It knows neither G nor P
 * nor the collector.  Every function runs on g0 (or on a thread without a
 * goroutine) and may take the STACK lock; none parks; none may be called with
 * the world stopped except where marked _stw.
 *
 * Block: 2 KiB, 2 KiB-aligned, of an arena on huge pages; sched puts the G
 * record at its low end and the first segment above it.
 */
#ifndef MPGI_STACK_H
#define MPGI_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <arch/arch.h>

#define MPGI_STACK_BLOCK_BYTES 2048
#define MPGI_STACK_ORDERS 4 /* cached: 2, 4, 8, 16 KiB (cache.c) */
#define MPGI_STACK_LIMIT_DEFAULT ((size_t) 1 << 30)
#define MPGI_STACK_FIXED_DEFAULT ((size_t) 256 << 10) /* usable bytes */
/* Room for foreign code above the guard of a segment, which linkers compare
 * with, and below it [stack.seg.foreign]. */
#define MPGI_STACK_FOREIGN_BYTES ((size_t) 16 << 10)
#define MPGI_STACK_BELOW_BYTES ((size_t) 48 << 10)

/* A P's cache of blocks and segments; used only by the P's owner. */
struct mpgi_stack_cache {
  void *block; /* free blocks, linked through their first word */
  uint32_t blocks;
  uint32_t reserved;
  struct mpgi_segment *seg[MPGI_STACK_ORDERS]; /* linked through next */
  uint32_t nseg[MPGI_STACK_ORDERS];
  struct mpgi_segment *fixed; /* default-size fixed stacks, wide segments */
  uint32_t nfixed;
  uint32_t reserved2;
};

/* In the child of a fork: from now on segments are mappings of their own, and
 * no lock is taken. */
MPGI_HIDDEN void mpgi_stack_forked(void);

/* Once per process; reserves the arena.  0 or -ENOMEM. */
MPGI_HIDDEN int mpgi_stack_init(void);
/* Give everything cached back to the shared pools. */
MPGI_HIDDEN void mpgi_stack_cache_flush(struct mpgi_stack_cache *c);

/* A block, contents unspecified.  c may be NULL (shared pool directly).
 * NULL when memory is exhausted. */
MPGI_HIDDEN void *mpgi_stack_block_alloc(struct mpgi_stack_cache *c);
MPGI_HIDDEN void mpgi_stack_block_free(struct mpgi_stack_cache *c, void *block);

/* Make seg the first segment, [lo, hi), of ctx and switch checks on. */
MPGI_HIDDEN void mpgi_stack_first(struct mpgi_context *ctx,
                                  struct mpgi_segment *seg, uintptr_t lo,
                                  uintptr_t hi);

/* The same for a fixed stack: seg becomes ctx's only segment, no checks. */
MPGI_HIDDEN void mpgi_stack_first_fixed(struct mpgi_context *ctx,
                                        struct mpgi_segment *seg);

/* Make ctx->seg->next hold at least need bytes above its guard.  limit: bytes
 * of all segments of ctx together.  0; -ENOMEM; -EOVERFLOW beyond limit. */
MPGI_HIDDEN int mpgi_stack_grow(struct mpgi_stack_cache *c,
                                struct mpgi_context *ctx, size_t need,
                                size_t limit);
/* Is ctx->seg a fixed stack that has no room for need bytes below ctx->sp?  For
 * code with prologues, and alloca.  One that has room comes here, too, when the
 * guard word was poisoned. */
MPGI_HIDDEN bool mpgi_stack_exceeds_fixed(const struct mpgi_context *ctx,
                                          size_t need);
/* Return the cached, unused segments beyond the current one. */
MPGI_HIDDEN void mpgi_stack_trim(struct mpgi_stack_cache *c,
                                 struct mpgi_context *ctx);
/* For a parked goroutine at each collection, also with the world stopped:
 * return those that were not used since the last call. */
MPGI_HIDDEN void mpgi_stack_age(struct mpgi_context *ctx);
/* Return every segment but the first: the goroutine is dead. */
MPGI_HIDDEN void mpgi_stack_reset(struct mpgi_stack_cache *c,
                                  struct mpgi_context *ctx);

/* Memory for an alloca or VLA of bytes that the caller's segment can't hold
 * (assembler; uses mpgi_morestack_g0 for growth, limit and failure).  sp: the
 * caller's SP.  Gives the memory and the SP the caller goes on with, at most
 * 16 bytes lower (dynamic.c says why). */
struct mpgi_stack_dynamic {
  void *p;
  uintptr_t sp;
};
MPGI_HIDDEN struct mpgi_stack_dynamic mpgi_stack_dynamic_g0(
    struct mpgi_context *ctx, size_t bytes, uintptr_t sp);
/* Free those whose function returned: a function is being entered with SP
 * sp, or an alloca is done there. */
MPGI_HIDDEN void mpgi_stack_dynamic_reap(struct mpgi_context *ctx,
                                         uintptr_t sp);

/* Make to, an older segment in use, the current one of the running goroutine:
 * the newer ones were abandoned by an exception or a longjmp.  The only
 * function of the module that may also run on the goroutine's own stack. */
MPGI_HIDDEN void mpgi_stack_leave(struct mpgi_context *ctx,
                                  struct mpgi_segment *to);
/* The same for a jump to SP sp; nothing when sp is on no segment in use. */
MPGI_HIDDEN void mpgi_stack_leave_to(struct mpgi_context *ctx, uintptr_t sp);

/* A fixed stack with a guard region below, usable bytes >= bytes; guard lies
 * in that region (fixed.c), so that prologues never grow it.  NULL when memory
 * is exhausted. */
MPGI_HIDDEN struct mpgi_segment *mpgi_stack_fixed_alloc(
    struct mpgi_stack_cache *c, size_t bytes);
MPGI_HIDDEN void mpgi_stack_fixed_free(struct mpgi_stack_cache *c,
                                       struct mpgi_segment *seg);
/* Now and then: half of those that have been free since the last call give
 * their memory back.  On a thread that may wait. */
MPGI_HIDDEN void mpgi_stack_fixed_age(void);
/* How many are free and have their memory, in no cache. */
MPGI_HIDDEN uint32_t mpgi_stack_fixed_warm(void);

/* The segment in use (current or older) that contains addr; NULL if none.
 * Signal-safe for the goroutine's own thread. */
MPGI_HIDDEN struct mpgi_segment *mpgi_stack_find(const struct mpgi_context *ctx,
                                                 uintptr_t addr);
/* With MPG_DEBUG=stackguard=1: move a first segment's range out of its block,
 * to memory of the same size above a guard region, which is never given back.
 * Without memory for that it stays. */
MPGI_HIDDEN void mpgi_stack_block_guard(uintptr_t *lo, uintptr_t *hi);
/* Does addr lie in the guard region of a wide segment of ctx, or with
 * MPG_DEBUG=stackguard=1 of any?  Which one, else NULL.  Signal-safe. */
MPGI_HIDDEN const struct mpgi_segment *mpgi_stack_guard_of(
    const struct mpgi_context *ctx, uintptr_t addr);
/* Does addr lie in the guard region of a fixed stack of ctx?  Signal-safe. */
MPGI_HIDDEN bool mpgi_stack_is_guard(const struct mpgi_context *ctx,
                                     uintptr_t addr);

/* Is addr in memory for stacks, used or not?  Those that have mappings of their
 * own aside. */
MPGI_HIDDEN bool mpgi_stack_owns(uintptr_t addr);

/* Call visit for every live range of the stack whose SP is sp, from the
 * current segment to the first.  Signal-safe on a stopped goroutine. */
MPGI_HIDDEN void mpgi_stack_ranges(const struct mpgi_context *ctx, uintptr_t sp,
                                   void (*visit)(void *arg, const void *lo,
                                                 const void *hi),
                                   void *arg);

/* ---- stacks that are swapped out while parked (home.c, image.c) ----
 *
 * All but init also with the world stopped. */

#define MPGI_STACK_HOME_BYTES ((size_t) 64 << 10)
#define MPGI_STACK_SLAB_BYTES ((size_t) 32 << 10)

MPGI_HIDDEN bool mpgi_stack_home_init(void); /* false: no address space */
/* Where homes are; constant once it could be reserved. */
MPGI_HIDDEN void mpgi_stack_home_range(uintptr_t *lo, size_t *bytes);
/* A home for ctx, its record written to *seg; false: no memory. */
MPGI_HIDDEN bool mpgi_stack_home_take(struct mpgi_context *ctx,
                                      struct mpgi_segment *seg);
MPGI_HIDDEN void mpgi_stack_home_give(struct mpgi_segment *seg,
                                      bool has_memory);
/* The call whose body would have SP sp, all of its frame above that, stays on
 * the current segment: a home that can be opened so far.  False: it isn't one,
 * or too small, or that would be beyond the limit (as mpgi_stack_grow). */
MPGI_HIDDEN bool mpgi_stack_home_open(struct mpgi_context *ctx, uintptr_t sp,
                                      size_t limit);
/* For a parked goroutine at each collection: close what it doesn't use of its
 * home; give back what was closed already.  True: memory was given back. */
MPGI_HIDDEN bool mpgi_stack_home_age(struct mpgi_context *ctx);
/* Is the goroutine, off its stack, on its home alone, and little of it live? */
MPGI_HIDDEN bool mpgi_stack_can_swap(const struct mpgi_context *ctx);
/* Returns an image of [ctx.sp, ctx.seg->hi), or NULL: no memory for one. */
MPGI_HIDDEN void *mpgi_stack_swap_out(struct mpgi_context *ctx);
/* The image is freed. */
MPGI_HIDDEN void mpgi_stack_swap_in(const struct mpgi_context *ctx,
                                    void *image);
/* The goroutine will not run again: free its image only. */
MPGI_HIDDEN void mpgi_stack_swap_drop(const struct mpgi_context *ctx,
                                      void *image);
/* MPGI_STACK_SLAB_BYTES of the arena, for good; NULL: no memory. */
MPGI_HIDDEN void *mpgi_stack_slab_alloc(void);

/* Bytes held by blocks, segments and fixed stacks that are in use or cached. */
MPGI_HIDDEN uint64_t mpgi_stack_bytes(void);
/* Give idle pooled memory back to the system. */
MPGI_HIDDEN void mpgi_stack_release(void);

#endif /* MPGI_STACK_H */

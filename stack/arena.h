/* arena.h - memory for blocks and segments.  Private to stack/.
 *
 * A piece is 2 KiB << order bytes, aligned to its size, order 0 to
 * MPGI_ARENA_TOP - 1 (1 MiB).  arena.c says how they are kept.
 */
#ifndef MPGI_ARENA_H
#define MPGI_ARENA_H

#ifndef MPGI_STACK_H
#error "include stack/stack.h first; arena.h is private to stack/"
#endif

#include <arch/common/mutex.h>

#define MPGI_ARENA_TOP 10u /* order of a whole chunk: 2 MiB */
#define MPGI_ARENA_BYTES(order) ((size_t) MPGI_STACK_BLOCK_BYTES << (order))

/* What mpgi_segment.order holds: an arena order, or one of these. */
enum mpgi_stack_order {
  MPGI_ORDER_MAPPED = 32, /* a mapping of its own */
  MPGI_ORDER_BLOCK,       /* part of a G's block: never freed by itself */
  MPGI_ORDER_FIXED,       /* slot of a fixed-stack slab */
  MPGI_ORDER_FIXED_OWN,   /* fixed stack with a mapping of its own */
  MPGI_ORDER_GUARDED,     /* a mapping of its own, above a guard region */
  MPGI_ORDER_WIDE,        /* a slot of fixed.c's as a growing stack's segment */
  MPGI_ORDER_HOME,        /* home.c; the record is in the G */
};

/* Reserve: 0 or -ENOMEM.  Idempotent under the STACK lock. */
MPGI_HIDDEN int mpgi_stack_arena_init(void);
/* Up to n pieces of one order into out[]; returns how many (fewer only when
 * memory is exhausted).  Context: the STACK lock is held. */
MPGI_HIDDEN unsigned mpgi_stack_arena_take(unsigned order, void **out,
                                           unsigned n);
/* Give one piece back.  Context: the STACK lock is held. */
MPGI_HIDDEN void mpgi_stack_arena_give(unsigned order, void *piece);
/* Memory of idle chunks back to the system; takes the lock itself. */
MPGI_HIDDEN void mpgi_stack_arena_release(void);

/* Segments for the module's own files: a piece or a mapping with the record
 * at its high end, in the cache's or the pools' order.  NULL when exhausted.
 * bytes is rounded up to what an order holds. */
MPGI_HIDDEN struct mpgi_segment *mpgi_stack_segment_take(
    struct mpgi_stack_cache *c, size_t bytes);
MPGI_HIDDEN void mpgi_stack_segment_give(struct mpgi_stack_cache *c,
                                         struct mpgi_segment *seg);
/* Memory for an image of live bytes (image.c); NULL: too large, or none. */
#define MPGI_STACK_IMAGE_STEP_BYTES ((size_t) 64)
#define MPGI_STACK_IMAGE_MAX_BYTES ((size_t) 1024)
MPGI_HIDDEN void *mpgi_stack_image_alloc(size_t live);
MPGI_HIDDEN void mpgi_stack_image_free(uintptr_t image, size_t live);
#define MPGI_STACK_SLAB_ORDER 4u
_Static_assert(MPGI_ARENA_BYTES(MPGI_STACK_SLAB_ORDER) == MPGI_STACK_SLAB_BYTES,
               "order of a slab");
MPGI_HIDDEN void mpgi_stack_home_release(void);
/* [stack.home.whole]; nothing when the current segment is none. */
MPGI_HIDDEN void mpgi_stack_home_open_all(struct mpgi_context *ctx);
/* Bytes in use: the chain from the current segment back, and alloca's. */
MPGI_HIDDEN size_t mpgi_stack_chain_bytes(const struct mpgi_context *ctx);
/* Make seg the current one of ctx. */
MPGI_HIDDEN void mpgi_stack_attach(struct mpgi_context *ctx,
                                   struct mpgi_segment *seg);
/* Bytes of a segment that can hold need bytes of frames and arguments. */
MPGI_HIDDEN size_t mpgi_stack_segment_bytes_for(size_t need);

/* Of a fixed stack and a wide segment, with MPG_DEBUG=stackguard=1 of any
 * segment, below its lo.  Not a page: a C function may have larger locals and
 * touch their far end first. */
#define MPGI_STACK_GUARD_BYTES ((size_t) 64 << 10)

/* Low end of what was given out for seg: its record is at the high end. */
static inline uintptr_t mpgi_stack_segment_base(
    const struct mpgi_segment *seg) {
  return (uintptr_t) (seg + 1) - seg->bytes;
}

/* A slot for a fixed stack as a segment (fixed.c); NULL: no memory, or guard
 * regions would use up the mappings that a process may have. */
MPGI_HIDDEN struct mpgi_segment *mpgi_stack_wide_alloc(
    struct mpgi_stack_cache *c);
MPGI_HIDDEN void mpgi_stack_wide_free(struct mpgi_stack_cache *c,
                                      struct mpgi_segment *seg);

/* For mpgi_stack_owns. */
MPGI_HIDDEN bool mpgi_stack_arena_owns(uintptr_t addr);
MPGI_HIDDEN bool mpgi_stack_fixed_owns(uintptr_t addr);

/* Free the fixed stacks of a cache (fixed.c). */
MPGI_HIDDEN void mpgi_stack_fixed_flush(struct mpgi_stack_cache *c);
/* A fixed stack's record, and what it counts for. */
MPGI_HIDDEN struct mpgi_segment *mpgi_stack_fixed_make(uintptr_t base,
                                                       size_t bytes,
                                                       unsigned order);
/* Mappings of their own (own.c). */
MPGI_HIDDEN struct mpgi_segment *mpgi_stack_own_alloc(size_t bytes);
MPGI_HIDDEN void mpgi_stack_own_free(struct mpgi_segment *seg);
MPGI_HIDDEN uint32_t mpgi_stack_own_kept(void);
MPGI_HIDDEN void mpgi_stack_own_age(void);
MPGI_HIDDEN void mpgi_stack_own_release(void);
/* Give the memory of all free fixed stacks back that are in no cache. */
MPGI_HIDDEN void mpgi_stack_fixed_release(void);

MPGI_HIDDEN extern struct mpgi_mutex mpgi_stack_lock;
/* Outside the shared pools: in use or in a P's cache.  Relaxed. */
MPGI_HIDDEN extern _Atomic uint64_t mpgi_stack_bytes_out;
static inline void mpgi_stack_bytes_add(size_t bytes) {
  atomic_fetch_add_explicit(&mpgi_stack_bytes_out, bytes, memory_order_relaxed);
}
static inline void mpgi_stack_bytes_sub(size_t bytes) {
  atomic_fetch_sub_explicit(&mpgi_stack_bytes_out, bytes, memory_order_relaxed);
}

/* Testing: reserve at most this much at init (0: the default). */
MPGI_HIDDEN extern size_t mpgi_stack_arena_cap;

#endif /* MPGI_ARENA_H */

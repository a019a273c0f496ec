/* mark_private.h - markers, their buffers, and what they share.
 *
 * Private to mark.c, mark_scan.h, workbuf.c, workers.c and their tests.
 */
#ifndef MPGI_MARK_PRIVATE_H
#define MPGI_MARK_PRIVATE_H

#ifndef MPGI_GC_INSIDE
#error "gc/mark_private.h is private to gc and its unit tests"
#endif

#include <gc/gc_private.h>

/* ---- items: grey objects ---- */

/* A marked object whose words are still to be scanned; or, of a large one,
 * what lies above an address; or a run: some of fourteen small neighbours.
 * 0 is no item.
 *   bits 0-3 reach, 4-39 offset from heap.lo (of 16 bytes), 40-46 class, 47-48
 * kind, 49 set, 50-62 which of the 13 cells behind it, too, 63 not small. */
typedef uint64_t mpgi_item;
#define MPGI_ITEM_REACH_MASK UINT64_C(0xf)
#define MPGI_ITEM_CLASS_SHIFT 40
#define MPGI_ITEM_KIND_SHIFT 47
#define MPGI_ITEM_SET (UINT64_C(1) << 49)
#define MPGI_ITEM_RUN_SHIFT 49 /* the cells of a run, itself the first */
#define MPGI_RUN_CELLS 14
#define MPGI_RUN_MASK ((UINT64_C(1) << MPGI_RUN_CELLS) - 1)
#define MPGI_ITEM_MORE ((MPGI_RUN_MASK - 1) << MPGI_ITEM_RUN_SHIFT)
#define MPGI_ITEM_LOOK (UINT64_C(1) << 63)
/* Set in items without words to scan. */
#define MPGI_ITEM_NOSCAN_SHIFT MPGI_ITEM_KIND_SHIFT
_Static_assert(MPGI_KIND_NOSCAN == 1 && MPGI_KIND_COUNT <= 3,
               "only the kind without words is odd");
/* A large object is scanned in pieces so that others can take part. */
#define MPGI_MARK_PIECE_BYTES ((size_t) 128 << 10)

/* Words that are scanned and read with an object, as far as two lines of cache
 * go.  These are all words of a small one, which is scanned without a look at
 * its class. */
static inline unsigned mpgi_item_reach(mpgi_item it) {
  return (unsigned) (it & MPGI_ITEM_REACH_MASK);
}
static inline bool mpgi_item_is_small(mpgi_item it) {
  return (it & MPGI_ITEM_LOOK) == 0;
}
/* One object, which is small. */
static inline bool mpgi_item_is_plain(mpgi_item it) {
  return (it & (MPGI_ITEM_LOOK | MPGI_ITEM_MORE)) == 0;
}
static inline bool mpgi_item_is_run(mpgi_item it) {
  return (it & MPGI_ITEM_MORE) != 0;
}
/* Bit i: the cell i behind the first; bit 0 is set. */
static inline uint64_t mpgi_item_run(mpgi_item it) {
  return it >> MPGI_ITEM_RUN_SHIFT & MPGI_RUN_MASK;
}
static inline uintptr_t mpgi_item_offset(mpgi_item it) {
  return (uintptr_t) (it & ((UINT64_C(1) << MPGI_ITEM_CLASS_SHIFT) - 1) &
                      ~MPGI_ITEM_REACH_MASK);
}
static inline unsigned mpgi_item_class(mpgi_item it) {
  return (unsigned) (it >> MPGI_ITEM_CLASS_SHIFT) & 127;
}
static inline unsigned mpgi_item_kind(mpgi_item it) {
  return (unsigned) (it >> MPGI_ITEM_KIND_SHIFT) & 3;
}
/* Class and kind, side by side as in an entry of the page table. */
static inline unsigned mpgi_item_sort(mpgi_item it) {
  return (unsigned) (it >> MPGI_ITEM_CLASS_SHIFT) & 511;
}

/* ---- buffers (workbuf.c) ---- */

#define MPGI_WORKBUF_BYTES 4096
#define MPGI_WORKBUF_ITEMS (MPGI_WORKBUF_BYTES / sizeof(mpgi_item) - 1)
struct mpgi_workbuf {
  _Atomic uint32_t next; /* in a shared stack: index + 1 of the next */
  uint32_t n;            /* items; the owner */
  mpgi_item item[MPGI_WORKBUF_ITEMS];
};
_Static_assert(sizeof(struct mpgi_workbuf) == MPGI_WORKBUF_BYTES, "exact");

MPGI_HIDDEN int mpgi_workbuf_init(size_t heap_bytes);
/* An empty buffer; NULL: none can be had.  No lock, signal-safe. */
MPGI_HIDDEN struct mpgi_workbuf *mpgi_workbuf_empty_get(void);
MPGI_HIDDEN void mpgi_workbuf_empty_put(struct mpgi_workbuf *b);
/* The shared pool of buffers with items. */
MPGI_HIDDEN struct mpgi_workbuf *mpgi_workbuf_full_get(void);
MPGI_HIDDEN void mpgi_workbuf_full_put(struct mpgi_workbuf *b);
MPGI_HIDDEN bool mpgi_workbuf_full_any(void);
/* Nobody holds a buffer: at most so many exist from now on (tests force
 * overflow); UINT32_MAX: as many as there is room for. */
MPGI_HIDDEN void mpgi_workbuf_limit(uint32_t n);
MPGI_HIDDEN uint64_t mpgi_workbuf_bytes(void);
/* Nobody holds a buffer: forget them all, keep memory of `keep` bytes. */
MPGI_HIDDEN void mpgi_workbuf_reset(size_t keep);

/* ---- markers ---- */

#define MPGI_MARKERS_MAX 64
/* See mark_scan.h.  Tests shrink nothing here: every size is passed often. */
#define MPGI_BATCH 32      /* objects or runs that are fetched at a time */
#define MPGI_BATCH_MIN 6   /* fewer on the stack aren't worth the overlap */
#define MPGI_SCAN_WORDS 64 /* words filtered between two looks at the room */
#define MPGI_SMALL_WORDS 8 /* of an object that is scanned without a look */
#define MPGI_CANDIDATES_MIN                        \
  240 /* that fit besides a batch of small objects \
       */
#define MPGI_CANDIDATES (MPGI_CANDIDATES_MIN + MPGI_BATCH * MPGI_SMALL_WORDS)
/* Work is counted in objects; every so many bytes of one count as another. */
#define MPGI_BUSY_BYTES 64
#define MPGI_MARK_LOOK 256  /* work between two looks after others */
#define MPGI_NEAR_MIN 16    /* candidates that tell whether they are near */
#define MPGI_VECTOR_WORDS 8 /* stores of whole vectors write beyond the end */

#define MPGI_ROOM (MPGI_CANDIDATES + MPGI_VECTOR_WORDS)

/* What candidates name, while the mark bits are being fetched. */
struct mpgi_pending {
  struct mpgi_pair *pair[MPGI_ROOM];
  uint64_t bit[MPGI_ROOM];
  mpgi_item item[MPGI_ROOM];
  uint64_t bytes[MPGI_ROOM]; /* of the cell */
};

/* One marker's state.  Owner: the thread that marks with it. */
struct mpgi_marker {
  struct mpgi_workbuf *buf;   /* pushed to and popped from; never NULL */
  struct mpgi_workbuf *spare; /* full or empty; never NULL */
  uint32_t n_grey, n_candidates, n_pending;
  bool interior;          /* EXACT: candidates are a root's words */
  bool alone;             /* no other marker, no mutator: no atomics needed */
  bool odd;               /* which half of `grey` is current */
  bool near;              /* candidates lie close together */
  uint64_t busy, look_at; /* work done; when to look after others */
  int clock;              /* CPU clock of the thread; -1: none */
  int64_t clock_start;
  uint64_t objects, bytes;        /* marked; handed over when it goes idle */
  uint64_t root_bytes;            /* conservatively scanned ranges */
  mpgi_item grey[2][MPGI_BATCH];  /* popped, their memory is being fetched */
  uintptr_t candidate[MPGI_ROOM]; /* offsets */
  struct mpgi_pending pending;
};
_Static_assert(MPGI_CANDIDATES + 1 < MPGI_WORKBUF_ITEMS, "room can be made");

/* The processor-specific half: mark_scan.h, compiled for each. */
struct mpgi_mark_ops {
  const char *name;
  /* Mark and scan until this marker has nothing left. */
  void (*drain)(struct mpgi_marker *m);
  /* Candidates among the words of [lo, hi) become pending. */
  void (*range)(struct mpgi_marker *m, uintptr_t lo, uintptr_t hi);
  /* Scan a marked object (overflow recovery). */
  void (*scan)(struct mpgi_marker *m, mpgi_item it);
  /* The loops for heaps without interior pointers. */
  const struct mpgi_mark_ops *exact;
};
MPGI_HIDDEN extern const struct mpgi_mark_ops mpgi_mark_scalar;
MPGI_HIDDEN extern const struct mpgi_mark_ops mpgi_mark_avx2;
MPGI_HIDDEN extern const struct mpgi_mark_ops mpgi_mark_avx512;
MPGI_HIDDEN extern const struct mpgi_mark_ops mpgi_mark_scalar_exact;
MPGI_HIDDEN extern const struct mpgi_mark_ops mpgi_mark_avx2_exact;
MPGI_HIDDEN extern const struct mpgi_mark_ops mpgi_mark_avx512_exact;
MPGI_HIDDEN extern const struct mpgi_mark_ops *mpgi_mark_ops;
/* Do words of objects count that point into an object, not to its start?
 * Written by mutators, so never during a phase. */
MPGI_HIDDEN extern _Atomic bool mpgi_mark_interior;

/* What markers need of a span, by class and kind as in an entry of the page
 * table: [entry & MPGI_ENTRY_SORT_MASK]. */
#define MPGI_ENTRY_SORT_MASK (MPGI_ENTRY_USED - 1)
_Static_assert(MPGI_ENTRY_SORT_MASK == 511, "mpgi_item_sort");
struct mpgi_mark_class {
  uint32_t magic;  /* as in struct mpgi_class */
  uint16_t bytes;  /* as in struct mpgi_class; 0: the sort is of no cells */
  uint16_t usable; /* of conservatively scanned small cells; else 0 */
  mpgi_item item;  /* but for the offset */
} __attribute__((aligned(16))); /* read as one vector */
_Static_assert(sizeof(struct mpgi_mark_class) == 16, "a shift");
#define MPGI_CHASE_BYTES 128 /* larger ones are better scanned in batches */
MPGI_HIDDEN extern struct mpgi_mark_class
    mpgi_mark_class[MPGI_ENTRY_SORT_MASK + 1];
static inline mpgi_item mpgi_item_of(uintptr_t offset, unsigned class,
                                     unsigned kind) {
  unsigned sort = kind << MPGI_ENTRY_KIND_SHIFT | class;
  return mpgi_mark_class[sort].item + offset;
}

/* Called by the processor-specific half. */
/* Room for n items in the current buffer, n < MPGI_WORKBUF_ITEMS.  When there
 * are no buffers some items are dropped and the phase will recover. */
MPGI_HIDDEN void mpgi_mark_make_room(struct mpgi_marker *m, uint32_t n);
MPGI_HIDDEN void mpgi_mark_push(struct mpgi_marker *m, mpgi_item it);
MPGI_HIDDEN bool mpgi_mark_refill(struct mpgi_marker *m);
/* Every MPGI_MARK_LOOK of work: get help, or give some of the work away. */
MPGI_HIDDEN void mpgi_mark_look(struct mpgi_marker *m);

/* ---- a marking phase (mark.c) ---- */

struct mpgi_mark_result {
  uint64_t objects, bytes; /* live */
  uint64_t root_bytes;
  uint64_t cpu_ns;
  unsigned markers;    /* that took part */
  unsigned recoveries; /* passes over the heap after lost items */
};
MPGI_HIDDEN int mpgi_mark_init(size_t heap_bytes);
/* Mark everything reachable from jobs [0, n), each run once by some marker,
 * with up to `wanted` markers: others are called once there is work for them.
 * With the world stopped. */
typedef void mpgi_mark_job(size_t i, mpgi_visit *visit, void *arg);
MPGI_HIDDEN void mpgi_mark_run(mpgi_mark_job *job, size_t n, unsigned wanted,
                               struct mpgi_mark_result *out);
/* The world runs again: give back what buffers took beyond a margin. */
MPGI_HIDDEN void mpgi_mark_trim(void);
/* Take part if a phase is on; returns when it is over. */
MPGI_HIDDEN void mpgi_mark_join(void);

/* ---- the collector's own threads (workers.c) ---- */

/* Before the stop: have at least n threads if the system allows. */
MPGI_HIDDEN void mpgi_workers_prepare(unsigned n);
/* Wake up to n of them to call mpgi_mark_join; returns how many. */
MPGI_HIDDEN unsigned mpgi_workers_wake(unsigned n);

#endif /* MPGI_MARK_PRIVATE_H */

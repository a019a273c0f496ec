/* mpg/gc.h - garbage-collected memory, its roots, metrics and statistics. */
#ifndef MPG_GC_H
#define MPG_GC_H

#include <mpg/base.h>

MPG_BEGIN_DECLS

/* Allocate bytes of zeroed memory, scanned conservatively.  16-byte aligned
 * from 16 bytes up.  0 bytes gives a unique object.
 *
 * Returns: the object; NULL when memory is exhausted or bytes is absurd (the
 *   out-of-memory handler, if any, was asked first).
 * Owner: the collector; any pointer to it or into it or one past its end,
 *   from a stack, a register, a global or a heap object, keeps it.
 * Context: goroutine, attached thread.  May run a collection; doesn't park.
 */
MPG_API void *mpg_alloc(size_t bytes)
    __attribute__((malloc, alloc_size(1), warn_unused_result));

/* The same for memory that holds no pointers; contents unspecified. */
MPG_API void *mpg_alloc_noscan(size_t bytes)
    __attribute__((malloc, alloc_size(1), warn_unused_result));

/* Describe an object of bytes whose words at pointer_offsets[0..n) are the
 * only pointers.  Returns: the type, for ever; NULL for unaligned offsets or
 * ones beyond the object, and when memory is exhausted. */
typedef struct mpg_type mpg_type;
MPG_API mpg_type *mpg_type_new(size_t bytes, const size_t *pointer_offsets,
                               size_t n);

/* Zeroed array of count objects of type; only the named words are scanned. */
MPG_API void *mpg_alloc_typed(const mpg_type *type, size_t count)
    __attribute__((malloc, warn_unused_result));

/* Resize; keeps the kind, zeroes the tail of scanned objects.  p NULL is
 * mpg_alloc.  Returns: the object, or NULL and then p is intact. */
MPG_API void *mpg_realloc(void *p, size_t bytes)
    __attribute__((alloc_size(2), warn_unused_result));

/* Free at once; optional.  NULL is allowed; what is not the start of a live
 * object is a fatal misuse. */
MPG_API void mpg_free(void *p);

MPG_API char *mpg_strdup(const char *s)
    __attribute__((malloc, warn_unused_result));

/* Start of the object p points into, or NULL. */
MPG_API void *mpg_base(const void *p);

/* Usable bytes of the object that starts at p; 0 for anything else. */
MPG_API size_t mpg_alloc_size(const void *p);

/* Full collection, finished when it returns. */
MPG_API void mpg_gc(void);

/* Growth in percent before the next collection; < 0 turns collection off;
 * default 100.  Returns: the previous value. */
MPG_API int mpg_gc_percent(int percent);

/* Soft limit on the process's mpg memory; < 0 only reports.  Returns: the
 * previous value, INT64_MAX when there was none. */
MPG_API int64_t mpg_memory_limit(int64_t bytes);

/* Register [lo, lo+bytes) as a root.  Returns: 0, -EINVAL, -ENOMEM;
 * remove: 0, -ENOENT. */
MPG_API int mpg_root_add(const void *lo, size_t bytes);
MPG_API int mpg_root_remove(const void *lo);

/* Keep p's object alive up to this point. */
MPG_API void mpg_keep_alive(const void *p);

/* Ask handler for memory before an allocation fails; NULL clears. */
MPG_API void mpg_on_out_of_memory(void *(*handler)(size_t bytes));

/* ---- metrics: log-linear histograms of nanoseconds, error below 1/32 ---- */
struct mpg_histogram;
MPG_API uint64_t mpg_histogram_count(const struct mpg_histogram *h);
MPG_API void mpg_histogram_free(struct mpg_histogram *h);
MPG_API uint64_t mpg_histogram_max(const struct mpg_histogram *h);
/* q in [0, 1]; 0 when empty; monotone in q. */
MPG_API uint64_t mpg_histogram_quantile(const struct mpg_histogram *h,
                                        double q);

enum mpg_metric {
  MPG_METRIC_TIME_TO_STOP,    /* stop requested until the last thread stopped */
  MPG_METRIC_PAUSE,           /* stop requested until the world runs again */
  MPG_METRIC_PREEMPT_LATENCY, /* preemption requested until switched out */
  MPG_METRIC_SCHED_LATENCY,   /* made runnable until running */
};
/* Snapshot into *out, to be freed with mpg_histogram_free.
 * Returns: 0; -EINVAL (unknown metric, out NULL); -ENOMEM. */
MPG_API int mpg_metric_read(enum mpg_metric m, struct mpg_histogram **out);
MPG_API void mpg_metric_reset(enum mpg_metric m);

/* Why the world was stopped; TIME_TO_STOP and PAUSE are kept for each. */
enum mpg_stop_reason {
  MPG_STOP_GC,         /* a collection's mark phase */
  MPG_STOP_GOMAXPROCS, /* mpg_gomaxprocs */
  MPG_STOP_STATS,      /* consistent statistics, tracebacks */
  MPG_STOP_EXIT,       /* mpg_run's end */
};
/* As mpg_metric_read, for the stops of one reason; -EINVAL for the metrics
 * that have no reason. */
MPG_API int mpg_stop_metric_read(enum mpg_metric m,
                                 enum mpg_stop_reason reason,
                                 struct mpg_histogram **out);

struct mpg_gc_stats {
  size_t size;                  /* set by the caller: sizeof(*s) */
  uint64_t cycles;              /* completed collections */
  uint64_t heap_live;           /* bytes: last mark's survivors + allocated */
  uint64_t heap_goal;           /* bytes at which the next one starts */
  uint64_t heap_mapped;         /* bytes committed for the heap */
  uint64_t heap_objects;        /* objects allocated and not yet freed */
  uint64_t total_alloc_bytes;   /* since the start */
  uint64_t total_alloc_objects; /* since the start */
  uint64_t freed_objects;       /* since the start */
  uint64_t pause_total_ns;      /* stopped world, all reasons */
  uint64_t mark_cpu_ns;         /* CPU time of markers */
  uint64_t stack_bytes;         /* held by goroutine stacks */
  uint64_t offheap_bytes;       /* runtime memory outside the heap */
};
/* Returns: 0; -EINVAL (NULL, or size not set). */
MPG_API int mpg_gc_stats_read(struct mpg_gc_stats *s);

MPG_END_DECLS

#endif /* MPG_GC_H */

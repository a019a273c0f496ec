/* mpg/gc.h - garbage-collected memory, its roots, metrics and statistics.
 *
 * What keeps an object: a pointer to it, into it, or one past its end (unless
 * another object starts there), found in a root or in an object that is kept
 * itself and isn't noscan.  Roots are the writable data of the program and
 * its libraries, thread-local variables of the runtime's threads, stacks and
 * registers of every goroutine, what the runtime holds for goroutines (the
 * arg of one that has not started, queued and blocked channel elements), and
 * ranges that mpg_root_add registers.  malloc memory is not a root.
 *
 * "Goroutine" as a context: fatal elsewhere, unless "any thread" is said.
 */
#ifndef MPG_GC_H
#define MPG_GC_H

#include <mpg/base.h>

MPG_BEGIN_DECLS

/* Allocate zeroed memory, scanned conservatively: every aligned word of it
 * that looks like a pointer is taken for one.
 *
 * bytes  any; 0 gives a unique object
 *
 * Returns: the object, 16-byte aligned from 16 bytes up; NULL when memory is
 *   exhausted or bytes is absurd (the out-of-memory handler, if any, was
 *   asked first).
 * Owner: the collector.
 * Context: goroutine.  May run a collection; doesn't park.
 * Since: 0.1.  Source: Go malloc.go (mallocgc).
 */
MPG_API void *mpg_alloc(size_t bytes);

/* The same for memory that holds no pointers: it isn't scanned, and its
 * contents are unspecified. */
MPG_API void *mpg_alloc_noscan(size_t bytes);

/* Describe an object whose words at certain offsets are its only pointers.
 *
 * bytes            size of the object
 * pointer_offsets  n offsets in bytes, multiples of 8, in [0, bytes - 8]
 *
 * Returns: the type; NULL for unaligned offsets or ones beyond the object,
 *   and when memory is exhausted.
 * Owner: the library, for ever.
 * Context: goroutine.  Allocates outside the heap.
 * Since: 0.1.
 */
typedef struct mpg_type mpg_type;
MPG_API mpg_type *mpg_type_new(size_t bytes, const size_t *pointer_offsets,
                               size_t n);

/* Allocate a zeroed array of which only the words that type names are
 * scanned.
 *
 * type   from mpg_type_new
 * count  number of objects, from 0
 *
 * Returns, Owner, Context: as mpg_alloc.  Since: 0.1.
 */
MPG_API void *mpg_alloc_typed(const mpg_type *type, size_t count);

/* As mpg_alloc, but at a multiple of alignment; mpg_realloc doesn't keep that.
 *
 * bytes      any
 * alignment  a power of two from 1 to 2 MiB
 *
 * Returns: as mpg_alloc; NULL for another alignment, too.
 * Owner, Context: as mpg_alloc.  Since: 0.1.
 */
MPG_API void *mpg_alloc_aligned(size_t bytes, size_t alignment);

/* As mpg_alloc, but the object is a root: it and what it refers to are kept
 * until it is freed by mpg_free.  It may be the only link to the heap from
 * malloc memory, say.
 *
 * Returns, Context: as mpg_alloc.
 * Owner: the caller: mpg_free.  Since: 0.1.  Source: Boehm
 *   (GC_malloc_uncollectable).
 */
MPG_API void *mpg_alloc_root(size_t bytes) __attribute__((warn_unused_result));

/* Resize an object, moving it where necessary; it keeps its kind, and the
 * tail of a scanned one is zeroed.
 *
 * p      start of an object; NULL: as mpg_alloc
 * bytes  new size
 *
 * Returns: the object; NULL as for mpg_alloc, and then p is intact.
 * Owner: the collector; pointers to a moved object's old place don't keep
 *   the new one, and the old one is freed at once.
 * Context: as mpg_alloc.  Since: 0.1.
 */
MPG_API void *mpg_realloc(void *p, size_t bytes)
    __attribute__((warn_unused_result));

/* Free an object at once.  Never necessary.
 *
 * p  NULL, or the start of an object that nobody uses any more; anything that
 *    is not the start of a live object is fatal
 *
 * Context: goroutine.  Doesn't park.  Since: 0.1.
 */
MPG_API void mpg_free(void *p);

/* Copy a string into memory from mpg_alloc_noscan.
 *
 * s  not NULL
 *
 * Returns, Owner, Context: as mpg_alloc.  Since: 0.1.
 */
MPG_API char *mpg_strdup(const char *s);

/* The object that an address belongs to.
 *
 * p  any value: it is not read through
 *
 * Returns: the object's start; one past an object's end belongs to it unless
 *   another one starts there; NULL for everything else, stacks, globals and
 *   malloc memory included.
 * Context: goroutine.  Doesn't park.  Since: 0.1.
 */
MPG_API void *mpg_base(const void *p);

/* The bytes of an object that may be used, not fewer than were asked for.
 *
 * p  any value
 *
 * Returns: bytes of the object that starts at p; 0 for anything else.
 * Context: goroutine.  Doesn't park.  Since: 0.1.
 */
MPG_API size_t mpg_alloc_size(const void *p);

/* Run a full collection; it is finished when this returns.
 *
 * Context: goroutine.  Stops the world.
 * Since: 0.1.  Source: Go mgc.go (GC).
 */
MPG_API void mpg_gc(void);

/* Set how much the heap grows before the next collection.  The first value
 * is MPG_GC or 100.
 *
 * percent  of what was live after the last one, roots counted; < 0 turns
 *          automatic collection off
 *
 * A small heap grows by more: by `percent` of eight times what was live, but of
 * no more than 32 MiB, so that collections of it aren't too frequent.  An empty
 * heap may have `percent` of 4 MiB.
 *
 * Returns: the previous value, -1 when it was off.
 * Context: goroutine; before mpg_run, any thread.
 * Since: 0.1.  Source: Go mgcpacer.go (GOGC).
 */
MPG_API int mpg_gc_percent(int percent);

/* Set a soft limit on mpg's memory (heap, stacks, runtime): the nearer it is,
 * the more often is collected, also with automatic collection off.
 *
 * bytes  from 0; INT64_MAX for none; < 0 only reports
 *
 * Returns: the previous value, INT64_MAX when there was none.
 * Context: goroutine; before mpg_run, and to report, any thread.
 * Since: 0.1.  Source: Go mgcpacer.go (GOMEMLIMIT).
 */
MPG_API int64_t mpg_memory_limit(int64_t bytes);

/* Register memory, for example from malloc, as a root; forget it before it
 * is unmapped.
 *
 * lo     start of the range, of any alignment; not NULL
 * bytes  from 1, not beyond the address space
 *
 * Returns: 0; add: -EINVAL (wrong range), -ENOMEM; remove: -ENOENT (no range
 *   that starts at lo).
 * Context: goroutine.  Since: 0.1.
 */
MPG_API int mpg_root_add(const void *lo, size_t bytes);
MPG_API int mpg_root_remove(const void *lo);

/* Have fn(obj, arg) called once obj has become unreachable.
 *
 * It is called once, some time after the collection that found obj dead, by a
 * goroutine that runs all finalizers one after another and isn't counted by
 * mpg_num_goroutines.  The finalizer is cleared when it is called; it may be
 * set again, also by fn.  What obj refers to is alive while fn runs, and fn
 * may make obj reachable again.  When A refers to B, directly or not, B's
 * finalizer is called by a later collection, after A's has returned.  Objects
 * that refer to each other in a cycle that contains one with a finalizer are
 * never finalized and never freed; that is reported on stderr, unless
 * MPG_DEBUG=finalizercycles=0 is set.  Pointers of an object into itself don't
 * count.  Finalizers that haven't been called when mpg_run returns are called
 * in the next run, or never.
 *
 * obj  start of an object of any kind
 * fn   replaces an earlier one; NULL clears it
 * arg  passed to fn; what it refers to is kept until then.  If that leads to
 *      obj, obj never dies
 *
 * Returns: 0; -EINVAL (obj isn't the start of an object); -ENOMEM.
 * Owner: mpg_free of obj clears the finalizer, mpg_realloc takes it along.
 * Context: goroutine.  Doesn't park.
 * Callbacks: fn, on a fixed stack of 1 MiB; it may block and use the whole
 *   API, but the others wait for it: one that takes longer than 10 s is
 *   reported on stderr (MPG_DEBUG=slowfinalizer=N: N ms; 0: never).
 * Since: 0.1.  Source: Go mfinal.go (SetFinalizer).
 */
MPG_API int mpg_finalizer_set(void *obj, void (*fn)(void *obj, void *arg),
                              void *arg);

/* A cleanup queue: as a finalizer, but nobody is called.  A registered object
 * that becomes unreachable is put into the queue, and whoever takes it from
 * there, on a thread and at a time of his choice, does with it what he likes:
 * it is whole, with all it refers to.  What is taken is registered no more.
 *
 * Objects die in the order in which finalizers are called: when A refers to B,
 * B comes in a later collection, after nobody holds A any more; cycles never
 * come.  An object with several registrations, or with a finalizer too, goes to
 * one after the other, in different collections.  A queue that is itself only
 * reachable through dead objects gets nothing more: they are just freed, and so
 * is what lies in a queue when nobody can reach it any more.
 *
 * Returns: the queue; NULL when memory is exhausted.
 * Owner: the collector; mpg_free frees it earlier.
 * Context of all functions on queues: goroutine.  They may be called on one
 *   queue by many at once.  Fatal: something that isn't a queue.
 * Since: 0.1.  Source: Guile's guardians; Java's ReferenceQueue.
 */
typedef struct mpg_cleanup_queue mpg_cleanup_queue;
MPG_API mpg_cleanup_queue *mpg_cleanup_queue_new(void);

/* Register obj: it goes to q once it is unreachable.
 *
 * obj  start of an object of any kind
 * tag  handed out with it; what it refers to is kept until then.  If that leads
 *      to obj, obj never dies.  A second call for obj and q replaces it
 *
 * Returns: 0; -EINVAL (obj isn't the start of an object); -ENOMEM.
 * Owner: mpg_free of obj drops the registration, mpg_realloc takes it along.
 * Context: may run a collection; doesn't park.
 */
MPG_API int mpg_cleanup_add(mpg_cleanup_queue *q, void *obj, void *tag);

/* Drop a registration.  Returns: 0; -ENOENT (obj isn't registered with q, or
 * is in it already).  Context: doesn't park. */
MPG_API int mpg_cleanup_remove(mpg_cleanup_queue *q, const void *obj);

struct mpg_cleanup {
  void *obj; /* dead but for this reference */
  void *tag;
};
/* Take the next one, if there is one.
 *
 * out  gets it; not NULL
 *
 * Returns: 0; -EAGAIN (the queue is empty).  Context: doesn't park.
 */
MPG_API int mpg_cleanup_poll(mpg_cleanup_queue *q, struct mpg_cleanup *out);

/* Take the next one, waiting for it until a deadline.
 *
 * deadline_ns  absolute, in mpg_now's clock; < 0: none; in the past: as
 *              mpg_cleanup_poll
 *
 * Returns: 0; -ETIMEDOUT.  Context: parks.
 */
MPG_API int mpg_cleanup_wait(mpg_cleanup_queue *q, struct mpg_cleanup *out,
                             int64_t deadline_ns);

/* Have somebody told after each collection that has put something into q, and
 * at once if there is something: an event loop, say, by a write to an eventfd.
 *
 * fn  NULL: nobody
 *
 * Context: doesn't park.
 * Callbacks: fn(arg), on the runtime's stack, by any of its threads: it must
 *   not use the mpg API, nor block.  arg is kept by q.
 */
MPG_API void mpg_cleanup_notify(mpg_cleanup_queue *q, void (*fn)(void *arg),
                                void *arg);

/* Make a weak reference: one that doesn't keep obj.
 *
 * obj  start of an object of any kind
 *
 * Returns: the reference, an object of its own, different for each call; NULL
 *   when obj isn't the start of an object, or memory is exhausted.
 * Owner: the collector; mpg_free frees it earlier.
 * Context: goroutine.  May run a collection; doesn't park.
 * Since: 0.1.  Source: Go weak/pointer.go; Java's WeakReference, in that an
 *   object with a finalizer has none left when it is finalized.
 */
typedef struct mpg_weak mpg_weak;
MPG_API mpg_weak *mpg_weak_new(void *obj);

/* The object that w refers to; from here on the result keeps it.
 *
 * w  from mpg_weak_new; NULL is allowed
 *
 * Returns: the object; after mpg_realloc has moved it, its new place; NULL
 *   when mpg_free has freed it or a collection has found that nothing but
 *   weak references and finalizers leads to it.  Once NULL, it stays so, also
 *   when a finalizer makes the object reachable again.
 * Context: any thread that may hold references to objects.  Never blocks.
 * Since: 0.1.
 */
MPG_API void *mpg_weak_get(mpg_weak *w);

/* A map with weak keys: it keeps neither its keys nor, without them, its
 * values.  An entry's value is kept while both the map and the key are
 * reachable otherwise; a value that leads to its own key doesn't keep it.  The
 * entry is gone when the key has been collected (after its finalizer) or
 * freed.
 *
 * Returns: the map; NULL when memory is exhausted.
 * Owner: the collector; mpg_free frees it earlier.
 * Context of all functions on maps: goroutine.  They may be called on one map
 *   by many goroutines at once; they don't park.
 * Since: 0.1.  Source: ephemerons (Hayes 1997), as in Lua and Racket.
 */
typedef struct mpg_weakmap mpg_weakmap;
MPG_API mpg_weakmap *mpg_weakmap_new(void);

/* Is there an entry for key?  *value, unless value is NULL, gets its value, or
 * NULL when there is none.  key may be anything.  Fatal: m is no map. */
MPG_API bool mpg_weakmap_get(mpg_weakmap *m, const void *key, void **value);

/* Make the entry for key, or replace its value.
 *
 * key    start of an object of any kind
 * value  any; scanned like a root's word
 *
 * Returns: 0; -EINVAL (key isn't the start of an object); -ENOMEM.
 * Context: fatal when m is no map.
 */
MPG_API int mpg_weakmap_set(mpg_weakmap *m, void *key, void *value);

/* Remove the entry for key.  Returns: 0; -ENOENT (there is none).  Context:
 * fatal when m is no map. */
MPG_API int mpg_weakmap_delete(mpg_weakmap *m, const void *key);

/* Entries now; those whose key is dead count until it has been collected.
 * Context: fatal when m is no map. */
MPG_API size_t mpg_weakmap_len(mpg_weakmap *m);

/* Set whether pointers into objects keep them that are found in other objects.
 * At first they do.  Without, words of the heap count only when they name an
 * object's start; pointers in roots (stacks, registers, globals, registered
 * ranges) always count wherever they point.  For programs that are known to
 * hold starts only: fewer objects are kept by chance.
 *
 * on  0 or 1; < 0 only reports
 *
 * Returns: the previous setting.
 * Context: goroutine.  Since: 0.1.  Source: Boehm (GC_all_interior_pointers).
 */
MPG_API int mpg_interior_pointers(int on);

/* Collect, and give memory that isn't used back to the system at once.
 * Otherwise that happens in the background, down to a margin: half of what is
 * too much every second, also while every goroutine sleeps.
 *
 * Returns: bytes of the heap that were given back.
 * Context: goroutine.  Stops the world.
 * Since: 0.1.  Source: Go debug/garbage.go (FreeOSMemory).
 */
MPG_API size_t mpg_release_memory(void);

/* Keep p's object up to this point, whatever the compiler does to p.
 *
 * Context: any.  Since: 0.1.  Source: Go mfinal.go (KeepAlive).
 */
MPG_API void mpg_keep_alive(const void *p);

/* Set who is asked when an allocation is about to fail, after a collection;
 * the handler's result is what the allocation returns.  Not for what the
 * library needs itself: channels, timers, weak references, maps and queues.
 *
 * A heap that stays full isn't collected for each failure: when collections in
 * vain have taken a second of CPU time they take half of the time at most, and
 * allocations in between fail at once.  Who has dropped objects since then
 * calls mpg_gc and tries again.
 *
 * handler  gets the number of bytes; NULL clears
 *
 * Context: any thread; also before mpg_run, and for later runs.
 * Callbacks: handler, on the runtime's stack: it must not use the mpg API,
 *   nor park.
 * Since: 0.1.
 */
MPG_API void mpg_on_out_of_memory(void *(*handler)(size_t bytes));

/* ---- metrics: log-linear histograms of nanoseconds, error below 1/32 ----
 *
 * Since: 0.1.  Source: Go histogram.go (timeHistogram).
 */
struct mpg_histogram;
/* The number of samples.  Context: any thread. */
MPG_API uint64_t mpg_histogram_count(const struct mpg_histogram *h);
/* Free a snapshot; NULL is allowed.  Context: any thread. */
MPG_API void mpg_histogram_free(struct mpg_histogram *h);
/* The largest sample, exactly, ns; 0 when empty.  Context: any thread. */
MPG_API uint64_t mpg_histogram_max(const struct mpg_histogram *h);
/* The smallest value that a share q of the samples doesn't exceed, ns.
 * q in [0, 1], others are clamped; 0 when empty; monotone in q.
 * Context: any thread. */
MPG_API uint64_t mpg_histogram_quantile(const struct mpg_histogram *h,
                                        double q);

enum mpg_metric {
  MPG_METRIC_TIME_TO_STOP,    /* stop requested until the last thread stopped */
  MPG_METRIC_PAUSE,           /* stop requested until the world runs again */
  MPG_METRIC_PREEMPT_LATENCY, /* preemption requested until switched out */
  MPG_METRIC_SCHED_LATENCY,   /* made runnable until running */
};
/* Take a snapshot.  Samples collect since the process began or the metric was
 * reset; of SCHED_LATENCY only one in some is taken.
 *
 * m    which
 * out  gets the snapshot
 *
 * Returns: 0; -EINVAL (unknown metric, out NULL); -ENOMEM.
 * Owner: the caller: mpg_histogram_free.
 * Context: any thread.
 */
MPG_API int mpg_metric_read(enum mpg_metric m, struct mpg_histogram **out);
/* Begin anew; an unknown metric is ignored.  Context: any thread. */
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
MPG_API int mpg_stop_metric_read(enum mpg_metric m, enum mpg_stop_reason reason,
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
  /* The runtime's own: records, tables of the heap, markers' buffers, and what
   * its threads have touched of their stacks (24 KiB each).  Not what it has
   * mapped and not used, nor malloc's of the program. */
  uint64_t offheap_bytes;
};
/* Read the statistics.
 *
 * s  with s->size set by the caller
 *
 * Returns: 0; -EINVAL (s NULL, or s->size isn't sizeof(*s)).
 * Context: any thread.
 * Since: 0.1.  Source: Go mstats.go.
 */
MPG_API int mpg_gc_stats_read(struct mpg_gc_stats *s);

MPG_END_DECLS

#endif /* MPG_GC_H */

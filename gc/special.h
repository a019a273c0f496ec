/* special.h - what the collector knows about single objects.
 *
 * Private to special.c, its users (finalize.c, weak.c, weakmap.c,
 * special_mark.c, ephemeron.c) and their tests.
 */
#ifndef MPGI_SPECIAL_H
#define MPGI_SPECIAL_H

#ifndef MPGI_GC_INSIDE
#error "gc/special.h is private to gc and its unit tests"
#endif

#include <gc/mark_private.h>

enum mpgi_special_kind {
  MPGI_SPECIAL_FREE,      /* on the list of free records */
  MPGI_SPECIAL_FINALIZER, /* the object has a finalizer; at most one */
  MPGI_SPECIAL_READY,     /* its finalizer is to run; on the queue, not in the
                             table; the object is a root */
  MPGI_SPECIAL_ROOT,      /* the object is a root (mpg_alloc_root) */
  MPGI_SPECIAL_WEAK,      /* a weak reference to the object exists */
  MPGI_SPECIAL_HANDLE,    /* the object is that weak reference */
  MPGI_SPECIAL_MAP,       /* the object is a weak map */
  MPGI_SPECIAL_ENTRY,     /* the object is a key of a weak map */
  MPGI_SPECIAL_QUEUE,     /* the object is a cleanup queue */
  MPGI_SPECIAL_CLEANUP,   /* the object is for a cleanup queue once it's dead */
  MPGI_SPECIAL_DELIVERED, /* it is dead, but not there yet; a root */
  MPGI_SPECIAL_PROFILE,   /* the object is a sample of the heap profile */
  MPGI_SPECIAL_KINDS
};

/* A record about an object.  Guard: the lock; with the world stopped, the
 * collector.  In fixmem, so that nothing here keeps an object by itself. */
struct mpgi_special {
  uintptr_t base; /* start of the object; of its cell, too */
  uint32_t next;  /* number + 1 of the next in the bucket, queue or free list */
  uint32_t prev;  /* in a bucket: the same the other way; 0: it is first */
  uint8_t kind;   /* enum mpgi_special_kind */
  bool dead;      /* FINALIZER, CLEANUP: unreachable as of this cycle; READY,
                     DELIVERED: so by this cycle; ENTRY: its value is marked */
  bool waiting;   /* ENTRY: its value is to be marked in this round; QUEUE: it
                     got something, and nobody was told */
  uint8_t reserved;
  union {
    struct {
      void (*fn)(void *obj, void *arg);
      void *arg; /* a root */
    } fin;       /* FINALIZER, READY */
    struct {
      uint32_t peer; /* WEAK: number of its HANDLE; HANDLE: of its WEAK */
    } weak;
    struct {
      uint32_t number;     /* of this record */
      uint32_t generation; /* differs from that of every other map */
      uint32_t entries;
    } map;
    struct {
      void *value;              /* marked when key and map are */
      uint32_t map, generation; /* number and generation of the map */
    } entry;
    struct {
      uint32_t number;     /* of this record */
      uint32_t generation; /* differs from that of every other queue */
    } queue;
    struct {
      void *node;                 /* a root; carries it in the queue */
      uint32_t queue, generation; /* number and generation of the queue */
    } cleanup;
    struct {
      uint32_t site; /* where it was allocated (profile.c) */
      float objects; /* that it stands for; 0: it is one's growth */
      double bytes;  /* likewise */
    } profile;
  };
};
_Static_assert(sizeof(struct mpgi_special) == 40, "small");

/* What a weak reference (struct mpg_weak) is: pointer-free memory. */
struct mpgi_weak {
  _Atomic(void *) target; /* NULL once cleared; see weak.c */
};

#define MPGI_SPECIAL_CHUNK 1024u /* records in a row; a job of marking */

MPGI_HIDDEN void mpgi_special_lock(void);
MPGI_HIDDEN void mpgi_special_unlock(void);
/* The record with this number (below mpgi_special_made). */
MPGI_HIDDEN struct mpgi_special *mpgi_special_at(uint32_t n);
/* Records that exist, free ones among them. */
MPGI_HIDDEN uint32_t mpgi_special_made(void);
/* Records of a kind.  Without the lock: about. */
MPGI_HIDDEN uint32_t mpgi_special_count(enum mpgi_special_kind kind);
/* The object's record of a kind; NULL: it has none. */
MPGI_HIDDEN struct mpgi_special *mpgi_special_find_locked(
    uintptr_t base, enum mpgi_special_kind kind);
/* The records about the object, one after the other. */
MPGI_HIDDEN struct mpgi_special *mpgi_special_first(uintptr_t base);
MPGI_HIDDEN struct mpgi_special *mpgi_special_next(struct mpgi_special *s,
                                                   uintptr_t base);
/* The entry of a map for a key; NULL: there is none. */
MPGI_HIDDEN struct mpgi_special *mpgi_special_entry_locked(uintptr_t key,
                                                           uint32_t map,
                                                           uint32_t generation);
/* A new record about the object in cell, in the table; *number, unless NULL,
 * gets its number.  NULL: no memory. */
MPGI_HIDDEN struct mpgi_special *mpgi_special_add_locked(
    const struct mpgi_cell *cell, enum mpgi_special_kind kind,
    uint32_t *number);
/* Out of the table, onto the free list. */
MPGI_HIDDEN void mpgi_special_remove_locked(struct mpgi_special *s);
/* A finalizer's record goes from the table to the end of the queue; and from
 * its head to the free list, false: it is empty. */
MPGI_HIDDEN void mpgi_special_queue_locked(struct mpgi_special *s);
/* A CLEANUP becomes DELIVERED. */
MPGI_HIDDEN void mpgi_special_deliver_locked(struct mpgi_special *s);
MPGI_HIDDEN bool mpgi_special_unqueue_locked(struct mpgi_special *out);

/* The object in cell is freed by its owner: whatever is known about it ends,
 * its finalizer doesn't run, references to it are cleared. */
MPGI_HIDDEN void mpgi_special_drop(const struct mpgi_cell *cell);
/* The object has moved (mpg_realloc): records follow, the old cell has none.
 * Never fails. */
MPGI_HIDDEN void mpgi_special_move(const struct mpgi_cell *from,
                                   const struct mpgi_cell *to);
/* May the object have records?  By whoever holds it. */
static inline bool mpgi_special_maybe(const struct mpgi_cell *cell) {
  return atomic_load_explicit(&cell->span->specials, memory_order_relaxed) != 0;
}
MPGI_HIDDEN bool mpgi_special_is_valid(void);

/* ---- cleanup queues (cleanup.c) ---- */

/* The registration's queue; NULL: it is gone. */
MPGI_HIDDEN struct mpgi_special *mpgi_cleanup_queue_of(
    const struct mpgi_special *s);
/* The world runs again: what was delivered goes to its queues. */
MPGI_HIDDEN void mpgi_cleanup_deliver(void);

/* ---- the heap profile (profile.c) ---- */

/* The sampled object is freed: count that, and remove the record. */
MPGI_HIDDEN void mpgi_profile_freed_locked(struct mpgi_special *s);
/* The object at base keeps that part of its bytes only. */
MPGI_HIDDEN void mpgi_profile_shrunk(uintptr_t base, double kept);

/* ---- weak references (weak.c) ---- */

/* One of a pair of records goes: the reference is cleared, both are freed. */
MPGI_HIDDEN void mpgi_weak_break_locked(struct mpgi_special *s);

/* ---- weak maps (weakmap.c) ---- */

/* The entry's map; NULL: it is gone. */
MPGI_HIDDEN struct mpgi_special *mpgi_weakmap_of(const struct mpgi_special *e);
MPGI_HIDDEN void mpgi_weakmap_entry_remove_locked(struct mpgi_special *e);

/* ---- marking (special_mark.c): with the world stopped ---- */

/* The values of weak maps, which are no roots.  With the world stopped. */
MPGI_HIDDEN void mpgi_special_values(mpgi_visit *visit, void *arg);
/* With the world stopped: what somebody may come to have though nothing keeps
 * it: referents of weak references, values of weak maps, and cleanup queues
 * into which something may be put. */
MPGI_HIDDEN void mpgi_special_unkept_stw(mpgi_visit *visit, void *arg);
/* Root jobs: root objects, arguments of finalizers, objects whose finalizer is
 * to run. */
MPGI_HIDDEN size_t mpgi_special_jobs_stw(void);
MPGI_HIDDEN void mpgi_special_job(size_t i, mpgi_visit *visit, void *arg);
/* The roots are marked: decide who dies, mark what finalizers need.  Adds to
 * *marked. */
MPGI_HIDDEN void mpgi_special_mark_stw(unsigned markers,
                                       struct mpgi_mark_result *marked);
/* The world runs again: fill cleanup queues; say which finalizers can't run
 * (MPG_DEBUG's finalizercycles). */
MPGI_HIDDEN void mpgi_special_report(void);
/* The same decision, by a second marker that has marked from the roots:
 * seen(base) tells, scan(cell) marks what the object reaches but not itself,
 * reach(base) marks it and what it reaches.  Returns differences. */
struct mpgi_special_marker {
  bool (*seen)(uintptr_t base);
  void (*words)(void *arg, const void *lo, const void *hi);
  void (*drain)(void);
  void (*reach)(uintptr_t base);
  uint64_t (*reached)(void); /* objects so far */
};
MPGI_HIDDEN uint64_t
mpgi_special_verify_stw(const struct mpgi_special_marker *m);
/* The words of an object that are scanned, without those that point into it:
 * an object doesn't wait for itself. */
MPGI_HIDDEN void mpgi_special_contents(const struct mpgi_cell *cell,
                                       mpgi_visit *visit, void *arg);

MPGI_HIDDEN bool mpgi_special_is_marked(uintptr_t base);
/* Run the jobs, one a chunk of records, and mark what they visit. */
MPGI_HIDDEN void mpgi_special_mark_jobs(mpgi_mark_job *job, unsigned markers,
                                        struct mpgi_mark_result *marked);

/* ---- marking through weak maps (ephemeron.c): with the world stopped ---- */

/* Mark the values of entries whose map and key are marked, and what they
 * reach, until there are no more. */
MPGI_HIDDEN void mpgi_ephemeron_mark_stw(unsigned markers,
                                         struct mpgi_mark_result *marked);
MPGI_HIDDEN void mpgi_ephemeron_verify_stw(const struct mpgi_special_marker *m);

#endif /* MPGI_SPECIAL_H */

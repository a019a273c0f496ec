/* mutex.h - the runtime's own locks: futex mutexes with ranks, and notes.
 *
 * Held only on g0 or on threads without a goroutine, so a holder is never
 * preempted or frozen.  Ranks: arch/common/lockrank.def; checked at
 * MPG_CHECK >= 2.  Signal handlers take none.
 */
#ifndef MPGI_MUTEX_H
#define MPGI_MUTEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <arch/arch.h>
#include <arch/common/check.h>

enum mpgi_lockrank {
#define MPGI_LOCKRANK(name, doc, under) MPGI_RANK_##name,
#include <arch/common/lockrank.def>
#undef MPGI_LOCKRANK
  MPGI_RANK_LEAF, /* unranked: nothing may be locked under it */
  MPGI_RANK_COUNT
};

struct mpgi_mutex {
  _Atomic uint32_t state; /* 0 free, 1 held, 2 held with waiters */
  uint16_t rank;          /* enum mpgi_lockrank */
  uint16_t reserved;
};
#define MPGI_MUTEX_INIT(r) \
  { 0, (r), 0 }

MPGI_HIDDEN void mpgi_mutex_init(struct mpgi_mutex *m, enum mpgi_lockrank r);
MPGI_HIDDEN void mpgi_mutex_lock_slow(struct mpgi_mutex *m);
MPGI_HIDDEN void mpgi_mutex_wake(struct mpgi_mutex *m);
MPGI_HIDDEN void mpgi_spin_lock_slow(struct mpgi_mutex *m);
/* The ranks, called through the functions below at MPG_CHECK >= 2: before a
 * lock, after a successful trylock, before an unlock. */
MPGI_HIDDEN void mpgi_lockrank_acquire(const struct mpgi_mutex *m);
MPGI_HIDDEN void mpgi_lockrank_record(const struct mpgi_mutex *m);
MPGI_HIDDEN void mpgi_lockrank_release(const struct mpgi_mutex *m);
/* Locks the calling thread holds; always 0 when ranks are not checked. */
MPGI_HIDDEN int mpgi_lockrank_held(void);
/* Fatal unless the calling thread holds m (checked builds only). */
MPGI_HIDDEN void mpgi_mutex_assert_held(const struct mpgi_mutex *m);

/* May be out of order, because it doesn't wait. */
static inline bool mpgi_mutex_trylock(struct mpgi_mutex *m) {
  uint32_t zero = 0;
  bool ok = atomic_compare_exchange_strong_explicit(
      &m->state, &zero, 1, memory_order_acquire, memory_order_relaxed);
  if (MPG_CHECK >= 2 && ok) mpgi_lockrank_record(m);
  return ok;
}
static inline void mpgi_mutex_lock(struct mpgi_mutex *m) {
  uint32_t zero = 0;
  if (MPG_CHECK >= 2) mpgi_lockrank_acquire(m);
  if (!atomic_compare_exchange_strong_explicit(
          &m->state, &zero, 1, memory_order_acquire, memory_order_relaxed))
    mpgi_mutex_lock_slow(m);
}
static inline void mpgi_mutex_unlock(struct mpgi_mutex *m) {
  if (MPG_CHECK >= 2) mpgi_lockrank_release(m);
  if (atomic_exchange_explicit(&m->state, 0, memory_order_release) == 2)
    mpgi_mutex_wake(m);
}

/* Spinning: for locks that are held for some ten nanoseconds, millions of times
 * a second, where the atomic exchange of an unlock counts.  Unlocking is a
 * store.  Nobody sleeps; who waits long yields its CPU, because the holder may
 * have lost its own.  One lock is used in one way only. */
static inline void mpgi_spin_take(struct mpgi_mutex *m) {
  uint32_t zero = 0;
  if (MPGI_UNLIKELY(!atomic_compare_exchange_strong_explicit(
          &m->state, &zero, 1, memory_order_acquire, memory_order_relaxed)))
    mpgi_spin_lock_slow(m);
}
static inline void mpgi_spin_lock(struct mpgi_mutex *m) {
  if (MPG_CHECK >= 2) mpgi_lockrank_acquire(m);
  mpgi_spin_take(m);
}
static inline void mpgi_spin_unlock(struct mpgi_mutex *m) {
  if (MPG_CHECK >= 2) mpgi_lockrank_release(m);
  atomic_store_explicit(&m->state, 0, memory_order_release);
}
/* For entry stubs, which take no other lock meanwhile: without ranks. */
static inline __attribute__((always_inline)) bool mpgi_spin_trylock(
    struct mpgi_mutex *m) {
  uint32_t zero = 0;
  return atomic_compare_exchange_strong_explicit(
      &m->state, &zero, 1, memory_order_acquire, memory_order_relaxed);
}
static inline __attribute__((always_inline)) void mpgi_spin_untrylock(
    struct mpgi_mutex *m) {
  atomic_store_explicit(&m->state, 0, memory_order_release);
}
/* Many of one rank at once, by ascending address: the first as above, the
 * others by these.  Ranks know the first only, and that stands for all: what
 * may be locked under it may be under the others. */
static inline void mpgi_spin_lock_more(struct mpgi_mutex *m,
                                       const struct mpgi_mutex *before) {
  MPG_ASSERT_INTERNAL(before < m && before->rank == m->rank);
  mpgi_spin_take(m);
}
static inline void mpgi_spin_unlock_more(struct mpgi_mutex *m) {
  atomic_store_explicit(&m->state, 0, memory_order_release);
}

/* One-shot event.  One sleeper; wake before sleep is kept. */
struct mpgi_note {
  _Atomic uint32_t state; /* 0 clear, 1 sleeping, 2 set */
};
MPGI_HIDDEN void mpgi_note_clear(struct mpgi_note *n);
MPGI_HIDDEN void mpgi_note_wake(struct mpgi_note *n); /* signal-safe */
MPGI_HIDDEN void mpgi_note_sleep(struct mpgi_note *n);
/* True when woken, false on timeout (the note is then still usable). */
MPGI_HIDDEN bool mpgi_note_sleep_timed(struct mpgi_note *n, int64_t ns);

#endif /* MPGI_MUTEX_H */

/* mutex.c - futex locks, lock ranks and notes.
 *
 * Lock: the three-state futex lock.  0 free, 1 held, 2 held and somebody may
 * sleep.  A thread that fails to take it spins briefly (holders run short
 * critical sections and are never preempted), then writes 2 and sleeps until
 * its exchange returns 0.  Whoever acquires after sleeping holds it as 2,
 * which may cost one needless wake-up and never loses one.
 *
 * Ranks (MPG_CHECK >= 2): each thread keeps the list of locks it holds.  A
 * lock may be taken only when every held one has a lower rank, or the same
 * rank and a lower address where lockrank.def allows it.  The check comes
 * before the wait, so that a deadlock is reported instead of entered.  A
 * trylock can't deadlock by itself: it is recorded but not checked.
 *
 * Invariants
 *   [arch.mutex.held]  held.lock[0..n) are exactly the locks the thread owns
 *                      (mpgi_lockrank_release)
 *
 * Concurrency: the held list is thread-local and used only on g0 or on
 * threads without a goroutine.
 */
#include <arch/common/chaos.h>
#include <arch/common/check.h>
#include <arch/common/mutex.h>
#include <arch/os.h>

#define SPIN_ROUNDS 4
#define SPIN_RELAXES 32
/* A look takes the line from the holder.  Who looks seldom lets him do many
 * operations in a row, at the speed of one CPU's cache. */
#define SPIN_LOOK_RELAXES 16
#define SPIN_YIELD_AFTER 16 /* looks: some microseconds */
#define HELD_MAX 16

/* ---- ranks ---- */

struct rank_row {
  const char *name;
  const char *twice; /* "no" or "by address" */
};
static const struct rank_row ranks[MPGI_RANK_COUNT] = {
#define MPGI_LOCKRANK(name, doc, twice) {#name, twice},
#include <arch/common/lockrank.def>
#undef MPGI_LOCKRANK
    {"LEAF", "no"},
};

static _Thread_local struct {
  const struct mpgi_mutex *lock[HELD_MAX];
  int n;
} held;

static bool order_ok(const struct mpgi_mutex *older,
                     const struct mpgi_mutex *newer) {
  if (older->rank != newer->rank) return older->rank < newer->rank;
  return ranks[newer->rank].twice[0] == 'b' && older < newer;
}

static void held_push(const struct mpgi_mutex *m) {
  MPG_VERIFY(held.n < HELD_MAX);
  held.lock[held.n++] = m;
}

static int held_find(const struct mpgi_mutex *m) {
  int i = held.n;
  while (--i >= 0 && held.lock[i] != m) continue;
  return i;
}

void mpgi_lockrank_acquire(const struct mpgi_mutex *m) {
  MPG_VERIFY(m->rank < MPGI_RANK_COUNT);
  if (held_find(m) >= 0)
    mpgi_fatal("lock order: %s (%p) is held already", ranks[m->rank].name,
               (const void *) m);
  for (int i = 0; i < held.n; i++) {
    const struct mpgi_mutex *h = held.lock[i];
    if (!order_ok(h, m))
      mpgi_fatal("lock order: %s (%p) taken while holding %s (%p)",
                 ranks[m->rank].name, (const void *) m, ranks[h->rank].name,
                 (const void *) h);
  }
  held_push(m);
}

void mpgi_lockrank_record(const struct mpgi_mutex *m) {
  MPG_VERIFY(m->rank < MPGI_RANK_COUNT);
  MPG_VERIFY(held_find(m) < 0);
  held_push(m);
}

void mpgi_lockrank_release(const struct mpgi_mutex *m) {
  int i = held_find(m);
  if (i < 0)
    mpgi_fatal("unlock of %s (%p), which this thread doesn't hold",
               ranks[m->rank].name, (const void *) m);
  held.n--;
  for (; i < held.n; i++) held.lock[i] = held.lock[i + 1];
}

int mpgi_lockrank_held(void) { return held.n; }

void mpgi_mutex_assert_held(const struct mpgi_mutex *m) {
  if (MPG_CHECK < 2) return;
  if (held_find(m) < 0)
    mpgi_fatal("%s (%p) must be held here", ranks[m->rank].name,
               (const void *) m);
  MPG_ASSERT(atomic_load_explicit(&m->state, memory_order_relaxed) != 0);
}

/* ---- locks ---- */

void mpgi_mutex_init(struct mpgi_mutex *m, enum mpgi_lockrank r) {
  MPG_ASSERT(r < MPGI_RANK_COUNT);
  atomic_init(&m->state, 0);
  m->rank = (uint16_t) r;
  m->reserved = 0;
}

static void relax(int n) {
  while (n--) mpgi_arch_relax();
}

static bool take(struct mpgi_mutex *m, uint32_t as) {
  uint32_t zero = 0;
  return atomic_load_explicit(&m->state, memory_order_relaxed) == 0 &&
         atomic_compare_exchange_strong_explicit(
             &m->state, &zero, as, memory_order_acquire, memory_order_relaxed);
}

void mpgi_mutex_lock_slow(struct mpgi_mutex *m) {
  for (int round = 0; round < SPIN_ROUNDS; round++) {
    relax(SPIN_RELAXES);
    if (take(m, 1)) return;
  }
  while (atomic_exchange_explicit(&m->state, 2, memory_order_acquire) != 0)
    mpgi_os_futex_wait(&m->state, 2, -1);
  MPG_ASSERT_INTERNAL(m->rank < MPGI_RANK_COUNT);
  MPGI_CHAOS();
}

void mpgi_mutex_wake(struct mpgi_mutex *m) { mpgi_os_futex_wake(&m->state, 1); }

/* A store by the holder ends the wait: nobody is woken, so none is forgotten.
 */
void mpgi_spin_lock_slow(struct mpgi_mutex *m) {
  for (int i = 1; !take(m, 1); i++)
    if (i % SPIN_YIELD_AFTER)
      relax(SPIN_LOOK_RELAXES);
    else
      mpgi_os_yield();
}

/* ---- notes ---- */

enum { NOTE_CLEAR, NOTE_SLEEPING, NOTE_SET };

void mpgi_note_clear(struct mpgi_note *n) {
  uint32_t old = atomic_exchange(&n->state, NOTE_CLEAR);
  MPG_ASSERT(old != NOTE_SLEEPING); /* cleared under its sleeper */
}

void mpgi_note_wake(struct mpgi_note *n) {
  uint32_t old = atomic_exchange(&n->state, NOTE_SET);
  MPG_ASSERT(old <= NOTE_SET);
  /* The sleeper may be gone by now; the word is only an address then. */
  if (old == NOTE_SLEEPING) mpgi_os_futex_wake(&n->state, 1);
}

/* Announce a sleeper; false when the note is set already. */
static bool note_enter(struct mpgi_note *n) {
  uint32_t s = NOTE_CLEAR;
  if (atomic_compare_exchange_strong(&n->state, &s, NOTE_SLEEPING)) return true;
  MPG_ASSERT(s == NOTE_SET); /* else: a second sleeper */
  return false;
}

void mpgi_note_sleep(struct mpgi_note *n) {
  if (!note_enter(n)) return;
  while (atomic_load(&n->state) == NOTE_SLEEPING)
    mpgi_os_futex_wait(&n->state, NOTE_SLEEPING, -1);
  MPG_ASSERT(atomic_load(&n->state) == NOTE_SET);
}

bool mpgi_note_sleep_timed(struct mpgi_note *n, int64_t ns) {
  if (!note_enter(n)) return true;
  int64_t now = mpgi_os_now();
  int64_t end = ns > INT64_MAX - now ? INT64_MAX : now + ns;
  while (atomic_load(&n->state) == NOTE_SLEEPING) {
    int64_t left = end - mpgi_os_now();
    if (left <= 0) break;
    mpgi_os_futex_wait(&n->state, NOTE_SLEEPING, left);
  }
  uint32_t s = NOTE_SLEEPING;
  bool timed_out = atomic_compare_exchange_strong(&n->state, &s, NOTE_CLEAR);
  MPG_ASSERT(timed_out || s == NOTE_SET);
  return !timed_out;
}

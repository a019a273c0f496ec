/* runq.c - run queues.
 *
 * Local queue: a ring of 256 slots.  The owner puts at the tail; the owner
 * and thieves take from the head by CAS; the owner takes newborns from the tail
 * [fair.family].
 *   put    slot store, then tail store(release)       [runq.pub]
 *   take   tail load(acquire) sees the slot           pairs with [runq.pub]
 *          slot load, then head CAS(release)          [runq.take]
 *   put    head load(acquire): slots before it are
 *          free to overwrite                          pairs with [runq.take]
 * The indices run freely (uint32 wrap-around); tail - head <= 256
 * [runq.inv.size], checked in mpgi_runq_size.
 *
 * [runq.tag] A thief reads head, then tail, and takes a batch between them by a
 * CAS of head alone.  So a take from the tail changes the word of head, too,
 * whose upper half counts them:
 *   take from tail   tail = last           thief   head load(acquire)
 *                    head CAS(release),            tail load(acquire)
 *                      tag + 1                     slots; head CAS, + n
 * A thief that read head before the owner's CAS fails in its own; one that read
 * it after sees the new tail.  When the owner's fails, a thief took some, and
 * if last was one of them, nothing is left: the owner sets tail back.  Until
 * then tail is one before head for others, which means empty.  (A thief that
 * sleeps through exactly 2^32 takes with head where it was would be fooled, as
 * one that sleeps through 2^32 takes from head is.)
 *
 * [fair.family] Newborns are taken last in, first out by the P where they were
 * started, and go on with the slice, as who is in runnext does: so a tree of
 * goroutines is run in depth, with a stack for each level instead of each node,
 * and thieves, at the other end, get the largest of its parts.  Young are those
 * at the tail that mpg_go put there (runnext first, and the next one kicked
 * them out) since anybody else was, in a slice that isn't over.  Everybody else
 * has the order of a queue, among themselves and before newborns who are young
 * no more.  Nobody starves: young ones wait for the end of the slice at most
 * (sysmon), when they become like all others; and those have a turn sooner, as
 * beside runnext (proc.c, ring_has_turn).
 *
 * runnext is a slot of its own: put and taken by exchanges, because thieves
 * may take it too (in their last round, [steal.next]).
 *
 * [runq.solo] The only P's queue is its owner's alone, who needs no locked
 * instruction then.  (An attached thread's P takes from no queue.)  When the
 * owner's thread is stuck, sysmon opens the queue before another P makes up for
 * that one (compensate.c):
 *   owner    tls.g = NULL, entering g0       sysmon   solo = 0
 *            solo load: 1                             barrier in every thread
 *            head, runnext: load, store               tls.g, tls.libc load
 *            tls.g = gp, leaving g0                    one is set: shut = 0
 * The owner's load after the barrier sees 0, and so do all later ones.  One
 * before it has tls.g = NULL before it, too, which sysmon then sees, unless it
 * sees what the owner stored when it was through.  Others take when shut is 0,
 * which they look at before they do; sysmon under sched.lock, as whoever sets
 * both again does, with the world stopped (p.c).  Until then it stays open.
 *
 * sysmon, which has no queue of its own, takes as a thief does, one by one:
 * what waits behind a stuck thread, and what one busy P has too many of
 * (sysmon.c).
 *
 * Global queue: two lists under sched.lock.  In runq wait those that were
 * woken, started, or moved on from a local ring; in spent those that were
 * preempted, because they used up a slice or, after a fair while, because
 * somebody waited.  Otherwise a goroutine that the network wakes would wait for
 * a slice of each of them.  [runq.spent] runq goes first, but
 *   - the end of a whole slice takes from spent (TURN);
 *   - other looks (BATCH, and LOOK at the 61st slice) take from spent when none
 *     has for SPENT_AFTER_NS, or when there is nothing else to run;
 *   - none of them does twice while others wait: spent_passed.  There may be no
 *     other look that is sooner.
 * So neither starves, and whoever is woken is passed by one of spent.  (By the
 * clock, because a look may stand for one short goroutine or for a hundred;
 * whoever is in spent runs a fair while.)  Of spent one is taken at a time: in
 * a local ring it would be before whoever is woken there.
 *
 * [fair.turn] Of the global queue and the local one, the other has its turn
 * when whoever came from one has run a whole slice (sysmon says so: turn).  A
 * local queue whose goroutines wake each other never runs empty, and in
 * runnext's inherited slice nobody counts.
 *
 * [fair.woken] In favour of those that were woken sysmon ends slices after a
 * fair while: runnext when woken is set, and in the ring those before
 * woken_tail (some of which may not have been: they profit).
 *
 * Model-checked by tests/model/runq_model.c.  Source: Go proc.go (runqput,
 * runqgrab).
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/hot.h>

#define SLOT(i) MPGI_RUNQ_SLOT(i)
#ifndef NEXT_LOOKS /* models have fewer */
#define NEXT_LOOKS 8
#define NEXT_RELAXES 16
#define SHORT 4
#define WAKER_RELAXES 1024
#endif

void mpgi_gqueue_push(struct mpgi_gqueue *q, struct mpg_g *gp) {
  gp->link = NULL;
  if (q->tail)
    q->tail->link = gp;
  else
    q->head = gp;
  q->tail = gp;
  q->n++;
}

struct mpg_g *mpgi_gqueue_pop(struct mpgi_gqueue *q) {
  struct mpg_g *gp = q->head;
  if (!gp) return NULL;
  q->head = gp->link;
  if (!q->head) q->tail = NULL;
  gp->link = NULL;
  q->n--;
  return gp;
}

#define SPENT_AFTER_NS (MPGI_SLICE_NS / 2)

static void globq_size_publish(void) {
  atomic_store_explicit(&mpgi_sched.runq_size, mpgi_globq_n_locked(),
                        memory_order_relaxed);
}

void mpgi_globq_put_spent_locked(struct mpg_g *gp) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  mpgi_gqueue_push(&mpgi_sched.spent, gp);
  globq_size_publish();
}

static int64_t coarse_now(void) {
  return atomic_load_explicit(&mpgi_sched.coarse_now, memory_order_relaxed);
}

void mpgi_globq_put_locked(struct mpg_g *gp) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  mpgi_gqueue_push(&mpgi_sched.runq, gp);
  globq_size_publish();
}

static void globq_put_batch_locked(struct mpgi_gqueue *q) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  struct mpgi_gqueue *g = &mpgi_sched.runq;
  if (!q->head) return;
  if (g->tail)
    g->tail->link = q->head;
  else
    g->head = q->head;
  g->tail = q->tail;
  g->n += q->n;
  *q = (struct mpgi_gqueue){0};
  globq_size_publish();
}

void mpgi_globq_put_woken_locked(struct mpgi_gqueue *q) {
  for (struct mpg_g *gp = q->head; gp; gp = gp->link) gp->woken_globally = true;
  atomic_fetch_add_explicit(&mpgi_sched.runq_woken, q->n, memory_order_relaxed);
  mpgi_want(MPGI_WANT_WOKEN);
  globq_put_batch_locked(q);
}

bool mpgi_runq_has_woken(struct mpg_p *pp) {
  uint32_t tail = atomic_load_explicit(&pp->woken_tail, memory_order_relaxed);
  uint32_t head = mpgi_hot_runq_head(pp, memory_order_relaxed);
  return tail - head - 1 < MPGI_RUNQ_SLOTS ||
         (atomic_load_explicit(&pp->woken, memory_order_relaxed) &&
          atomic_load_explicit(&pp->runnext, memory_order_relaxed));
}

static struct mpg_g *globq_pop_locked(bool *woken) {
  struct mpg_g *gp = mpgi_gqueue_pop(&mpgi_sched.runq);
  if (MPGI_UNLIKELY(gp->woken_globally)) {
    *woken = true;
    gp->woken_globally = false;
    if (atomic_fetch_sub_explicit(&mpgi_sched.runq_woken, 1,
                                  memory_order_relaxed) == 1)
      mpgi_want_no_more(MPGI_WANT_WOKEN);
  }
  return gp;
}

/* Slots that are free in the queue of the caller's P; thieves only add some. */
static uint32_t room_in(const struct mpg_p *pp) {
  uint32_t head = mpgi_hot_runq_head(pp, memory_order_acquire);
  uint32_t tail = atomic_load_explicit(&pp->runq_tail, memory_order_relaxed);
  return MPGI_RUNQ_SLOTS - (tail - head);
}

static struct mpg_g *get_spent_locked(struct mpg_p *pp) {
  struct mpg_g *gp = mpgi_gqueue_pop(&mpgi_sched.spent);
  mpgi_sched.spent_at = coarse_now();
  mpgi_sched.spent_passed = mpgi_sched.runq.n != 0;
  globq_size_publish();
  pp->global_ran = true;
  return gp;
}

/* Some of runq, not empty: one is returned, up to max - 1 go to pp's queue
 * (max 0: a fair share). */
static struct mpg_g *get_runq_locked(struct mpg_p *pp, uint32_t max) {
  struct mpgi_gqueue *q = &mpgi_sched.runq;
  pp->global_ran = true;
  mpgi_sched.spent_passed = false;
  uint32_t procs =
      (uint32_t) atomic_load_explicit(&mpgi_sched.procs, memory_order_relaxed);
  uint32_t n = q->n / procs + 1;
  if (n > q->n) n = q->n;
  if (max && n > max) n = max;
  if (n > MPGI_RUNQ_SLOTS / 2) n = MPGI_RUNQ_SLOTS / 2;
  /* One that doesn't fit would be put back under the lock that we hold. */
  uint32_t room = room_in(pp);
  if (n > room + 1) n = room + 1;
  bool woken = false;
  struct mpg_g *first = globq_pop_locked(&woken);
  while (--n) mpgi_runq_put(pp, globq_pop_locked(&woken), false);
  if (woken) mpgi_hot_runq_mark_woken(pp); /* still [fair.woken] */
  globq_size_publish();
  return first;
}

/* Is it spent's turn [runq.spent]?  Not twice while others wait. */
static bool takes_spent_locked(enum mpgi_globq_rule rule) {
  const struct mpgi_sched *s = &mpgi_sched;
  bool others = s->runq.n != 0;
  if (!s->spent.n || (others && s->spent_passed)) return false;
  if (rule == MPGI_GLOBQ_TURN || (rule == MPGI_GLOBQ_BATCH && !others))
    return true;
  return coarse_now() - s->spent_at >= SPENT_AFTER_NS;
}

struct mpg_g *mpgi_globq_get_locked(struct mpg_p *pp,
                                    enum mpgi_globq_rule rule) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  if (takes_spent_locked(rule)) return get_spent_locked(pp);
  if (!mpgi_sched.runq.n) return NULL;
  return get_runq_locked(pp, rule == MPGI_GLOBQ_BATCH ? 0 : 1);
}

/* The queue is full, unless thieves were faster: move half of it to the global
 * queue. */
static void make_room(struct mpg_p *pp) {
  struct mpgi_gqueue batch = {0};
  struct mpg_g *taken[MPGI_RUNQ_SLOTS / 2];
  uint64_t head = atomic_load_explicit(&pp->runq_head, memory_order_acquire);
  if (room_in(pp)) return;
  for (uint32_t i = 0; i < MPGI_RUNQ_SLOTS / 2; i++)
    taken[i] =
        atomic_load_explicit(&pp->runq[SLOT(head + i)], memory_order_relaxed);
  MPGI_CHAOS();
  if (!atomic_compare_exchange_strong_explicit(
          &pp->runq_head, &head, head + MPGI_RUNQ_SLOTS / 2,
          memory_order_release, memory_order_relaxed))
    return;
  MPGI_CHAOS();
  for (uint32_t i = 0; i < MPGI_RUNQ_SLOTS / 2; i++)
    mpgi_gqueue_push(&batch, taken[i]);
  mpgi_mutex_lock(&mpgi_sched.lock);
  globq_put_batch_locked(&batch);
  mpgi_mutex_unlock(&mpgi_sched.lock);
}

void mpgi_runq_append_full(struct mpg_p *pp, struct mpg_g *gp) {
  make_room(pp);
  mpgi_hot_runq_append(pp, mpgi_hot_ring(pp), gp);
}

void mpgi_runq_put(struct mpg_p *pp, struct mpg_g *gp, bool next) {
  MPG_ASSERT(mpgi_g_status(gp) == MPGI_G_RUNNABLE);
  if (next)
    mpgi_hot_runq_put_next(pp, gp, false);
  else
    mpgi_hot_runq_put_tail(pp, gp);
}

struct mpg_g *mpgi_runq_get(struct mpg_p *pp, bool *inherit) {
  struct mpg_g *gp = mpgi_hot_runq_take_next(pp);
  if (!gp && pp->young) gp = mpgi_hot_runq_take_young(pp);
  *inherit = gp != NULL;
  return gp ? gp : mpgi_hot_runq_take_head(pp, true);
}

static bool is_lazy(struct mpg_p *pp) {
  return MPGI_UNLIKELY(atomic_load_explicit(&pp->lazy, memory_order_relaxed) !=
                       0);
}

static bool is_shut(const struct mpg_p *pp) {
  return MPGI_UNLIKELY(atomic_load_explicit(&pp->shut, memory_order_acquire));
}

bool mpgi_runq_closed(struct mpg_p *pp) {
  return is_lazy(pp) || is_shut(pp) || mpgi_runq_empty(pp);
}

/* Who became the owner since the barrier sees 0 as well. */
bool mpgi_runq_open_locked(struct mpg_p *pp) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  if (!is_shut(pp)) return true;
  if (mpgi_stw_waiting()) return false; /* its stopper may shut it again */
  atomic_store_explicit(&pp->solo, false, memory_order_relaxed);
  MPGI_CHAOS();
  if (mpgi_os_barrier_all() != 0) return false; /* [runq.solo] */
  MPGI_CHAOS();
  struct mpg_m *mp = pp->m;
  if (!mp || !mpgi_m_is_abroad(mp)) return false;
  atomic_store_explicit(&pp->shut, false, memory_order_release);
  return true;
}

bool mpgi_runq_empty(struct mpg_p *pp) {
  /* runnext may be kicked to the tail between the reads: read it twice around
   * a stable tail.  (A take from the tail may bring it back, but only while
   * runnext is empty: then all of it was.) */
  for (;;) {
    uint32_t head = mpgi_hot_runq_head(pp, memory_order_acquire);
    uint32_t tail = atomic_load_explicit(&pp->runq_tail, memory_order_acquire);
    bool next =
        atomic_load_explicit(&pp->runnext, memory_order_acquire) != NULL;
    if (tail == atomic_load_explicit(&pp->runq_tail, memory_order_acquire))
      return (int32_t) (tail - head) <= 0 && !next;
  }
}

uint32_t mpgi_runq_size(struct mpg_p *pp) {
  uint32_t head = mpgi_hot_runq_head(pp, memory_order_acquire);
  uint32_t tail = atomic_load_explicit(&pp->runq_tail, memory_order_acquire);
  uint32_t n = tail - head;
  /* not of one time, or negative for a moment [runq.tag] */
  return n > MPGI_RUNQ_SLOTS ? 0 : n;
}

/* Move half of from's queue, oldest first, to pp's tail without publishing;
 * returns how many. */
static uint32_t grab(struct mpg_p *pp, struct mpg_p *from, uint32_t at) {
  for (;;) {
    uint64_t head =
        atomic_load_explicit(&from->runq_head, memory_order_acquire);
    uint32_t tail =
        atomic_load_explicit(&from->runq_tail, memory_order_acquire);
    uint32_t n = tail - (uint32_t) head;
    if ((int32_t) n <= 0) return 0;
    n -= n / 2;
    if (n > MPGI_RUNQ_SLOTS / 2) continue; /* head and tail not of one time */
    for (uint32_t i = 0; i < n; i++) {
      struct mpg_g *gp = atomic_load_explicit(&from->runq[SLOT(head + i)],
                                              memory_order_relaxed);
      atomic_store_explicit(&pp->runq[SLOT(at + i)], gp, memory_order_relaxed);
    }
    MPGI_CHAOS();
    if (atomic_compare_exchange_strong_explicit(&from->runq_head, &head,
                                                head + n, memory_order_release,
                                                memory_order_relaxed))
      return n;
  }
}

/* While it wakes another thread an owner runs nobody. */
static void await_waker(struct mpg_p *from) {
  for (int i = 0; i < WAKER_RELAXES; i++) {
    if (!atomic_load_explicit(&from->waking, memory_order_relaxed)) return;
    mpgi_arch_relax();
  }
}

static bool owner_runs(struct mpg_p *from) {
  return atomic_load_explicit(&from->status, memory_order_relaxed) ==
         MPGI_P_RUNNING;
}

/* [steal.next] Whoever is in runnext mostly has a P very soon: its waker waits,
 * too, when a buffer is full or an answer is awaited.  Taken away at once it
 * runs beside its waker, over the same cache lines, for an element or two, and
 * then its thread is here again.  So the owner of a P that runs has some
 * microseconds first.  Nobody is forgotten: a thief that gives up here looks
 * again or goes idle as proc.c says, and who stays in runnext is taken.
 * True: next still waits there. */
static bool still_next(struct mpg_p *from, const struct mpg_g *next) {
  uint32_t taken =
      atomic_load_explicit(&from->next_taken, memory_order_relaxed);
  if (!owner_runs(from)) return true;
  await_waker(from);
  for (int look = 0; look < NEXT_LOOKS; look++) {
    for (int i = 0; i < NEXT_RELAXES; i++) mpgi_arch_relax();
    if (atomic_load_explicit(&from->runnext, memory_order_relaxed) != next ||
        atomic_load_explicit(&from->next_taken, memory_order_relaxed) != taken)
      return false;
  }
  return true;
}

static struct mpg_g *take_next_of(struct mpg_p *from) {
  struct mpg_g *next =
      atomic_load_explicit(&from->runnext, memory_order_relaxed);
  if (!next || !still_next(from, next) ||
      !atomic_compare_exchange_strong_explicit(&from->runnext, &next, NULL,
                                               memory_order_acquire,
                                               memory_order_relaxed))
    return NULL;
  MPGI_CHAOS();
  atomic_store_explicit(&from->late, 1, memory_order_relaxed);
  return next;
}

/* [steal.short] A short ring that moves on is empty before its goroutines
 * would have come to run here.  The thief leaves it, in its last look, and the
 * P lazy [wake.lazy], so that it doesn't look again for them.  True: none moved
 * on. */
static bool short_stays(struct mpg_p *from) {
  uint64_t head = atomic_load_explicit(&from->runq_head, memory_order_relaxed);
  await_waker(from);
  for (int look = 0; look < NEXT_LOOKS; look++) {
    for (int i = 0; i < NEXT_RELAXES; i++) mpgi_arch_relax();
    if (atomic_load_explicit(&from->runq_head, memory_order_relaxed) != head)
      return false;
  }
  return true;
}

static bool may_grab(struct mpg_p *from, bool last) {
  uint32_t n = mpgi_runq_size(from);
  if (n == 0 || n > SHORT || !owner_runs(from)) return n != 0;
  if (!last || short_stays(from)) return last;
  atomic_store_explicit(&from->lazy, 1, memory_order_relaxed);
  mpgi_sysmon_lazy();
  return false;
}

struct mpg_g *mpgi_runq_steal(struct mpg_p *pp, struct mpg_p *from, bool last) {
  MPG_ASSERT(pp != from);
  if (is_lazy(from) || is_shut(from)) return NULL;
  uint32_t tail = atomic_load_explicit(&pp->runq_tail, memory_order_relaxed);
  uint32_t n = may_grab(from, last) ? grab(pp, from, tail) : 0;
  if (n == 0) return last && !is_lazy(from) ? take_next_of(from) : NULL;
  MPGI_CHAOS();
  atomic_store_explicit(&from->late, 1, memory_order_relaxed);
  n--;
  struct mpg_g *gp =
      atomic_load_explicit(&pp->runq[SLOT(tail + n)], memory_order_relaxed);
  pp->young = 0; /* those are nobody's here */
  if (n) atomic_store_explicit(&pp->runq_tail, tail + n, memory_order_release);
  return gp;
}

void mpgi_runq_drain_locked(struct mpg_p *pp) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  struct mpgi_gqueue batch = {0};
  struct mpg_g *gp;
  while ((gp = mpgi_hot_runq_take_next(pp)) ||
         (gp = mpgi_hot_runq_take_head(pp, false)))
    mpgi_gqueue_push(&batch, gp);
  globq_put_batch_locked(&batch);
}

void mpgi_runq_shed_locked(struct mpg_p *pp, uint32_t n) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  struct mpgi_gqueue batch = {0};
  for (struct mpg_g *gp; n && (gp = mpgi_hot_runq_take_head(pp, false)); n--)
    mpgi_gqueue_push(&batch, gp);
  globq_put_batch_locked(&batch);
}

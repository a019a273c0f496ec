/* select.c - waiting for one of several channel operations.
 *
 * Steps
 *   1. Without locks: choose at random among the cases that look ready, lock
 *      that channel and try.  Most selects end here.
 *   2. Lock every channel, by ascending address, each once; choose again.  The
 *      state is that of one moment, so that "none is ready" is the truth.
 *   3. Park with a waiter in each channel's queue, and a timer for a deadline,
 *      all set before the locks are released.
 *   4. One channel operation, or the timer, claims the goroutine (chan.h:
 *      select.claim, timer.c: timer.claim).  When it resumes it takes the
 *      timer and the other waiters away, one lock at a time: nobody can claim
 *      it any more.
 *
 * The choice is uniform: of k cases found ready so far the next replaces the
 * choice with probability 1/(k+1).
 *
 * Waiters come from blocks of SMALL on the P, larger ones from fixmem, before
 * anything is locked.
 *
 * Source: Go select.go.  Different: step 1; no shuffled order; the goroutine
 * locks one channel at a time to clean up.
 */
#include <sched/sched.h>

#include <errno.h>

#include <sched/gmp.h>

#include <sched/chan.h>
#include <sched/hot.h>

#ifndef SMALL /* models have fewer */
#define SMALL 8
#endif
#define FREE_MAX 32

/* ---- blocks ---- */

static size_t block_bytes(uint32_t cap) {
  return sizeof(struct mpgi_select) +
         cap * (sizeof(struct mpgi_waiter) + sizeof(struct mpg_chan *));
}

static inline struct mpgi_select *block_get(struct mpg_p *pp, uint32_t n) {
  struct mpgi_select *s = pp->selects;
  if (n <= SMALL && s) {
    pp->selects = s->next;
    pp->nselects--;
    return s;
  }
  uint32_t cap = n <= SMALL ? SMALL : n;
  s = mpgi_fixmem_alloc(block_bytes(cap), MPGI_CACHE_LINE_BYTES);
  if (!s) return NULL;
  s->cap = cap;
  s->order = (struct mpg_chan **) (s->waiter + cap);
  for (uint32_t i = 0; i < cap; i++) {
    s->waiter[i].select = true;
    s->waiter[i].index = i;
  }
  return s;
}

void mpgi_select_free(struct mpg_p *pp, struct mpgi_select *s) {
  s->cases = NULL;
  if (s->cap == SMALL && pp->nselects < FREE_MAX) {
    s->next = pp->selects;
    pp->selects = s;
    pp->nselects++;
  } else {
    mpgi_fixmem_free(s, block_bytes(s->cap), MPGI_CACHE_LINE_BYTES);
  }
}

void mpgi_select_words(const struct mpgi_select *s,
                       void (*visit)(void *arg, const void *lo, const void *hi),
                       void *arg) {
  visit(arg, &s->cases, &s->cases + 1);
  for (uint32_t i = 0; i < s->n; i++)
    visit(arg, &s->waiter[i].elem, &s->waiter[i].since);
}

/* ---- choosing and trying ---- */

enum { NONE = -1 };
_Static_assert(MPG_SEND == 0 && MPG_RECV == 1, "look");

static uint32_t below(struct mpg_m *mp, uint32_t n) {
  return (uint32_t) ((uint64_t) mpgi_xorshift(&mp->rand) * n >> 32);
}

static inline bool looks_ready(const struct mpg_select_case *k) {
  if (!k->chan) return false;
  return k->dir == MPG_SEND ? mpgi_chan_may_send(k->chan)
                            : mpgi_chan_may_recv(k->chan);
}

/* One of the cases that look ready; NONE; -EINVAL when they can't be. */
MPGI_HOT int look(struct mpg_m *mp, const struct mpg_select_case *cases,
                  int n) {
  const struct mpg_select_case *k = cases, *chosen = NULL;
  uint32_t ready = 0;
  if (MPGI_UNLIKELY(n <= 0 || !cases)) return n ? -EINVAL : NONE;
  for (const struct mpg_select_case *end = cases + n; k != end; k++) {
    if (MPGI_UNLIKELY((unsigned) k->dir > MPG_RECV)) return -EINVAL;
    if (looks_ready(k) && (!ready++ || below(mp, ready) == 0)) chosen = k;
  }
  return chosen ? (int) (chosen - cases) : NONE;
}

/* Under the channel's lock.  False: it wasn't ready after all.  A send to a
 * closed channel is left to the caller, who holds the locks. */
MPGI_HOT bool try_locked(struct mpg_select_case *k, struct mpg_g **wake) {
  struct mpg_chan *c = k->chan;
  if (k->dir == MPG_SEND) return mpgi_chan_send_locked(c, k->elem, wake);
  k->ok = true;
  if (mpgi_chan_recv_locked(c, k->elem, wake)) return true;
  if (!mpgi_chan_closed(c)) return false;
  mpgi_chan_zero(c, k->elem);
  k->ok = false;
  return true;
}

static bool sends_to_closed(const struct mpg_select_case *k) {
  return k->dir == MPG_SEND && mpgi_chan_closed(k->chan);
}

/* Step 1.  False: it wasn't ready after all. */
MPGI_HOT bool try_one(struct mpg_m *mp, struct mpg_select_case *k) {
  struct mpg_g *wake = NULL;
  mpgi_spin_lock(&k->chan->lock);
  mpgi_chan_renew_locked(k->chan);
  bool closed = sends_to_closed(k);
  bool done = !closed && try_locked(k, &wake);
  mpgi_spin_unlock(&k->chan->lock);
  if (closed) mpgi_fatal("send on closed channel");
  if (wake) mpgi_hot_ready(mp, wake);
  return done;
}

/* ---- every channel locked ---- */

#define FEW 16

/* Ascending, each once. */
MPGI_HOT void sort_few(struct mpgi_select *s,
                       const struct mpg_select_case *cases, uint32_t n) {
  struct mpg_chan **order = s->order, **end = order;
  for (uint32_t i = 0; i < n; i++) {
    struct mpg_chan *c = cases[i].chan, **at = end;
    if (!c) continue;
    for (; at != order && at[-1] > c; at--) *at = at[-1];
    if (at != order && at[-1] == c) { /* again: undo */
      for (; at != end; at++) *at = at[1];
      continue;
    }
    *at = c;
    end++;
  }
  s->norder = (uint32_t) (end - order);
}

/* The same by Shell's sort. */
static __attribute__((noinline)) void sort_many(struct mpgi_select *s) {
  uint32_t n = 0, kept = 0;
  struct mpg_chan **o = s->order;
  for (uint32_t i = 0; i < s->n; i++)
    if (s->cases[i].chan) o[n++] = s->cases[i].chan;
  for (uint32_t gap = n / 2; gap > 0; gap /= 2)
    for (uint32_t i = gap; i < n; i++) {
      struct mpg_chan *c = o[i];
      uint32_t k = i;
      for (; k >= gap && o[k - gap] > c; k -= gap) o[k] = o[k - gap];
      o[k] = c;
    }
  for (uint32_t i = 0; i < n; i++)
    if (kept == 0 || o[kept - 1] != o[i]) o[kept++] = o[i];
  s->norder = kept;
}

MPGI_HOT void lock_all(struct mpgi_select *s) {
  struct mpg_chan **at = s->order, **end = at + s->norder;
  if (at == end) return;
  mpgi_spin_lock(&(*at)->lock);
  mpgi_chan_renew_locked(*at);
  while (++at != end) {
    mpgi_spin_lock_more(&(*at)->lock, &at[-1]->lock);
    mpgi_chan_renew_locked(*at);
  }
}

/* s isn't touched after the last unlock. */
MPGI_HOT void unlock_all(struct mpgi_select *s) {
  struct mpg_chan **first = s->order, **at = first + s->norder;
  if (at == first) return;
  while (--at != first) mpgi_spin_unlock_more(&(*at)->lock);
  mpgi_spin_unlock(&(*at)->lock);
}

MPGI_HOT bool some_look_ready(const struct mpg_select_case *cases, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    if (looks_ready(&cases[i])) return true;
  return false;
}

/* Step 2.  A try that fails has taken a served waiter out of a queue, so the
 * loop ends. */
static __attribute__((noinline)) int try_all_locked(struct mpg_m *mp,
                                                    struct mpgi_select *s,
                                                    struct mpg_g **wake) {
  for (;;) {
    int i = look(mp, s->cases, (int) s->n);
    if (i < 0) return i;
    if (sends_to_closed(&s->cases[i])) {
      unlock_all(s);
      mpgi_fatal("send on closed channel");
    }
    if (try_locked(&s->cases[i], wake)) return i;
  }
}

/* ---- waiting ---- */

MPGI_HOT void enqueue_all(struct mpg_g *gp, struct mpgi_select *s,
                          const struct mpg_select_case *cases, uint32_t n) {
  struct mpgi_waiter *w = s->waiter;
  for (uint32_t i = 0; i < n; i++, w++) {
    const struct mpg_select_case *k = &cases[i];
    struct mpg_chan *c = k->chan;
    w->elem = k->elem;
    w->object = c;
    w->g = gp;
    if (c)
      mpgi_chanq_push(k->dir == MPG_SEND ? &c->sendq : &c->recvq, w);
    else /* still true in a block of an earlier run */
      atomic_store_explicit(&w->queued, false, memory_order_relaxed);
  }
}

static inline void dequeue(struct mpgi_select *s, struct mpgi_waiter *w) {
  struct mpg_chan *c = (struct mpg_chan *) (uintptr_t) w->object;
  MPG_ASSERT(c != NULL); /* a served waiter isn't queued */
  MPGI_CHAOS();
  mpgi_spin_lock(&c->lock);
  if (atomic_load_explicit(&w->queued, memory_order_relaxed)) {
    bool sends = s->cases[w - s->waiter].dir == MPG_SEND;
    mpgi_chanq_unlink(sends ? &c->sendq : &c->recvq, w);
  }
  mpgi_spin_unlock(&c->lock);
}

/* Step 4, on g0 of the M that resumes gp. */
MPGI_HOT void end_wait(struct mpg_g *gp) {
  struct mpgi_select *s = gp->select;
  if (MPGI_UNLIKELY(s->timed)) mpgi_timer_del(&gp->timer);
  for (struct mpgi_waiter *w = s->waiter, *end = w + s->n; w != end; w++)
    if (atomic_load_explicit(&w->queued, memory_order_acquire)) dequeue(s, w);
  gp->ctx.ret = (uintptr_t) (intptr_t) s->chosen;
  if (s->chosen >= 0) {
    struct mpg_select_case *k = &s->cases[s->chosen];
    if (k->dir == MPG_RECV)
      k->ok = s->ok;
    else if (!s->ok)
      mpgi_fatal("send on closed channel");
  }
  gp->select = NULL;
  mpgi_select_free(gp->m->p, s);
}

void mpgi_select_resumed(struct mpg_g *gp) { end_wait(gp); }

MPGI_HOT_END void mpgi_select_go_on(struct mpg_g *gp) {
  end_wait(gp);
  mpgi_arch_resume(&gp->ctx);
}

/* Step 3.  Everything that may wake gp is set up under the locks.  As long as
 * one is held gp can't finish cleaning up, so s is there; without any (NULL
 * channels and a deadline) it may be gone as soon as the timer is armed. */
MPGI_HOT _Noreturn void wait_locked(struct mpg_m *mp, struct mpg_g *gp,
                                    struct mpgi_select *s,
                                    const struct mpg_select_case *cases,
                                    uint32_t n, int64_t deadline) {
  bool locked = s->norder > 0, timed = deadline >= 0;
  s->chosen = -ETIMEDOUT;
  s->timed = timed;
  gp->select = s;
  mpgi_g_on_resume(gp, mpgi_select_resumed);
  atomic_store_explicit(&gp->claimed, 0, memory_order_relaxed);
  enqueue_all(gp, s, cases, n);
  bool for_ever = n == 0 && !timed;
  mpgi_hot_park_begin(mp, gp,
                      for_ever ? MPGI_WAIT_SELECT_NONE : MPGI_WAIT_SELECT);
  if (timed) mpgi_timer_arm(mp->p, gp, deadline, mpgi_select_claim);
  if (locked) unlock_all(s);
  MPGI_CHAOS();
  if (timed) mpgi_timer_announce(deadline);
  mpgi_schedule(mp);
}

/* ---- the calls ---- */

enum { POLL, WAIT };

/* Steps 2 and 3. */
MPGI_HOT int select_all(struct mpg_m *mp, struct mpg_g *gp,
                        struct mpg_select_case *cases, uint32_t n, int how,
                        int64_t deadline) {
  struct mpgi_select *s = block_get(mp->p, n);
  if (!s) return -ENOMEM;
  struct mpg_g *wake = NULL;
  int i = NONE;
  s->cases = cases;
  s->n = n;
  if (MPGI_LIKELY(n <= FEW))
    sort_few(s, cases, n);
  else
    sort_many(s);
  lock_all(s);
  if (MPGI_UNLIKELY(some_look_ready(cases, n)))
    i = try_all_locked(mp, s, &wake);
  if (i < 0 && how == WAIT) wait_locked(mp, gp, s, cases, n, deadline);
  unlock_all(s);
  mpgi_select_free(mp->p, s);
  if (wake) mpgi_ready(wake);
  return i >= 0 ? i : -EAGAIN;
}

/* deadline < 0: none. */
static int select_cases(struct mpg_g *gp, struct mpg_select_case *cases, int n,
                        int how, int64_t deadline) {
  struct mpg_m *mp = gp->m;
  int i = look(mp, cases, n);
  for (int tries = 0; i >= 0 && tries < 2; tries++) {
    if (try_one(mp, &cases[i])) return i;
    i = look(mp, cases, n);
  }
  if (i == -EINVAL) return i;
  if (deadline >= 0 && deadline <= mpgi_os_now()) how = POLL;
  /* One channel that isn't ready: at one moment none is. */
  if (how == POLL && i == NONE && n <= 1) return -EAGAIN;
  if (deadline == INT64_MAX) deadline--;
  return select_all(mp, gp, cases, (uint32_t) n, how, deadline);
}

/* Mostly one is ready, or none: nothing is tried twice. */
MPGI_HOT_END int mpgi_select_g0(struct mpg_select_case *cases, int n) {
  struct mpg_g *gp = mpgi_current_g("mpg_select");
  struct mpg_m *mp = gp->m;
  int i = look(mp, cases, n);
  if (i == NONE) return select_all(mp, gp, cases, (uint32_t) n, WAIT, -1);
  if (MPGI_LIKELY(i >= 0 && try_one(mp, &cases[i]))) return i;
  return select_cases(gp, cases, n, WAIT, -1);
}

int mpgi_select_try_g0(struct mpg_select_case *cases, int n) {
  return select_cases(mpgi_current_g("mpg_select_try"), cases, n, POLL, -1);
}

int mpgi_select_until_g0(struct mpg_select_case *cases, int n,
                         int64_t deadline_ns) {
  struct mpg_g *gp = mpgi_current_g("mpg_select_until");
  int i = select_cases(gp, cases, n, WAIT, deadline_ns);
  return i == -EAGAIN ? -ETIMEDOUT : i;
}

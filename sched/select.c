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

#ifndef SMALL /* models have fewer */
#define SMALL 8
#endif
#define FREE_MAX 32

/* ---- blocks ---- */

static size_t block_bytes(uint32_t cap) {
  return sizeof(struct mpgi_select) +
         cap * (sizeof(struct mpgi_waiter) + sizeof(struct mpg_chan *));
}

static struct mpgi_select *block_get(struct mpg_p *pp, uint32_t n) {
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

static uint32_t below(struct mpg_m *mp, uint32_t n) {
  return (uint32_t) ((uint64_t) mpgi_xorshift(&mp->rand) * n >> 32);
}

static bool looks_ready(const struct mpg_select_case *k) {
  if (!k->chan) return false;
  return k->dir == MPG_SEND ? mpgi_chan_may_send(k->chan)
                            : mpgi_chan_may_recv(k->chan);
}

/* One of the cases that look ready, -1 for none. */
static int choose(struct mpg_m *mp, const struct mpg_select_case *cases,
                  int n) {
  int chosen = -1;
  uint32_t ready = 0;
  for (int i = 0; i < n; i++)
    if (looks_ready(&cases[i]) && (!ready++ || below(mp, ready) == 0))
      chosen = i;
  return chosen;
}

/* Under the channel's lock.  False: it wasn't ready after all.  A send to a
 * closed channel is left to the caller, who holds the locks. */
static bool try_locked(struct mpg_select_case *k, struct mpg_g **wake) {
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

static bool try_one(struct mpg_select_case *k) {
  struct mpg_g *wake = NULL;
  mpgi_spin_lock(&k->chan->lock);
  mpgi_chan_renew_locked(k->chan);
  bool closed = sends_to_closed(k);
  bool done = !closed && try_locked(k, &wake);
  mpgi_spin_unlock(&k->chan->lock);
  if (closed) mpgi_fatal("send on closed channel");
  if (wake) mpgi_ready(wake);
  return done;
}

/* Step 1.  *none: nothing was ready at one moment, because there is only one
 * channel to look at. */
static int try_unlocked(struct mpg_m *mp, struct mpg_select_case *cases, int n,
                        bool *none) {
  *none = false;
  for (int round = 0; round < 2; round++) {
    int i = choose(mp, cases, n);
    if (i < 0) {
      *none = n <= 1;
      return -1;
    }
    if (try_one(&cases[i])) return i;
  }
  return -1;
}

/* ---- every channel locked ---- */

/* Ascending, each once: by insertion when they are few, by Shell's sort. */
static void sort_channels(struct mpgi_select *s) {
  uint32_t n = 0, kept = 0;
  struct mpg_chan **o = s->order;
  for (uint32_t i = 0; i < s->n; i++)
    if (s->cases[i].chan) o[n++] = s->cases[i].chan;
  for (uint32_t gap = n > 16 ? n / 2 : 1; gap > 0; gap /= 2)
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

static void lock_all(struct mpgi_select *s) {
  for (uint32_t i = 0; i < s->norder; i++) {
    struct mpg_chan *c = s->order[i];
    if (i == 0)
      mpgi_spin_lock(&c->lock);
    else
      mpgi_spin_lock_more(&c->lock, &s->order[i - 1]->lock);
    mpgi_chan_renew_locked(c);
  }
}

/* s isn't touched after the last unlock. */
static void unlock_all(struct mpgi_select *s) {
  for (uint32_t i = s->norder; i-- > 1;)
    mpgi_spin_unlock_more(&s->order[i]->lock);
  if (s->norder) mpgi_spin_unlock(&s->order[0]->lock);
}

/* Step 2.  A try that fails has taken a served waiter out of a queue, so the
 * loop ends. */
static int try_all_locked(struct mpg_m *mp, struct mpgi_select *s,
                          struct mpg_g **wake) {
  for (;;) {
    int i = choose(mp, s->cases, (int) s->n);
    if (i < 0) return i;
    if (sends_to_closed(&s->cases[i])) {
      unlock_all(s);
      mpgi_fatal("send on closed channel");
    }
    if (try_locked(&s->cases[i], wake)) return i;
  }
}

/* ---- waiting ---- */

static void enqueue_all(struct mpg_g *gp, struct mpgi_select *s) {
  for (uint32_t i = 0; i < s->n; i++) {
    const struct mpg_select_case *k = &s->cases[i];
    struct mpgi_waiter *w = &s->waiter[i];
    w->elem = k->elem;
    w->object = k->chan;
    if (!k->chan) continue; /* queued is false: see block_get, dequeue */
    w->g = gp;
    w->select = true;
    w->index = i;
    mpgi_chanq_push(k->dir == MPG_SEND ? &k->chan->sendq : &k->chan->recvq, w);
  }
}

static void dequeue(struct mpgi_select *s, uint32_t i) {
  struct mpgi_waiter *w = &s->waiter[i];
  if (!atomic_load_explicit(&w->queued, memory_order_acquire)) return;
  struct mpg_chan *c = (struct mpg_chan *) (uintptr_t) w->object;
  MPG_ASSERT(c != NULL); /* a served waiter isn't queued */
  mpgi_spin_lock(&c->lock);
  if (atomic_load_explicit(&w->queued, memory_order_relaxed))
    mpgi_chanq_unlink(s->cases[i].dir == MPG_SEND ? &c->sendq : &c->recvq, w);
  mpgi_spin_unlock(&c->lock);
}

/* Step 4, on g0 of the M that resumes gp. */
static void select_resumed(struct mpg_g *gp) {
  struct mpgi_select *s = gp->select;
  mpgi_timer_del(&gp->timer);
  for (uint32_t i = 0; i < s->n; i++) dequeue(s, i);
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

/* Step 3.  Everything that may wake gp is set up under the locks.  As long as
 * one is held gp can't finish cleaning up, so s is there; without any (NULL
 * channels and a deadline) it may be gone as soon as the timer is armed. */
static _Noreturn void wait_locked(struct mpg_m *mp, struct mpg_g *gp,
                                  struct mpgi_select *s, int64_t deadline) {
  bool locked = s->norder > 0;
  s->chosen = -ETIMEDOUT;
  gp->select = s;
  gp->on_resume = select_resumed;
  atomic_store_explicit(&gp->claimed, 0, memory_order_relaxed);
  enqueue_all(gp, s);
  bool for_ever = s->n == 0 && deadline < 0;
  mpgi_park_begin(mp, gp, for_ever ? MPGI_WAIT_SELECT_NONE : MPGI_WAIT_SELECT);
  if (deadline >= 0) mpgi_timer_arm(mp->p, gp, deadline, mpgi_select_claim);
  if (locked) unlock_all(s);
  if (deadline >= 0) mpgi_timer_announce(deadline);
  mpgi_schedule(mp);
}

/* ---- the calls ---- */

static int check_cases(const struct mpg_select_case *cases, int n) {
  if (n < 0 || (n > 0 && !cases)) return -EINVAL;
  for (int i = 0; i < n; i++)
    if (cases[i].dir != MPG_SEND && cases[i].dir != MPG_RECV) return -EINVAL;
  return 0;
}

enum { POLL, WAIT };

/* deadline < 0: none. */
static int select_cases(struct mpg_g *gp, struct mpg_select_case *cases, int n,
                        int how, int64_t deadline) {
  struct mpg_m *mp = gp->m;
  int err = check_cases(cases, n);
  if (err) return err;
  bool none;
  int i = try_unlocked(mp, cases, n, &none);
  if (i >= 0) return i;
  if (deadline >= 0 && deadline <= mpgi_os_now()) how = POLL;
  if (how == POLL && none) return -EAGAIN;
  struct mpgi_select *s = block_get(mp->p, (uint32_t) n);
  if (!s) return -ENOMEM;
  struct mpg_g *wake = NULL;
  s->cases = cases;
  s->n = (uint32_t) n;
  sort_channels(s);
  lock_all(s);
  i = try_all_locked(mp, s, &wake);
  if (i < 0 && how == WAIT)
    wait_locked(mp, gp, s, deadline < INT64_MAX ? deadline : INT64_MAX - 1);
  unlock_all(s);
  mpgi_select_free(mp->p, s);
  if (wake) mpgi_ready(wake);
  return i >= 0 ? i : -EAGAIN;
}

int mpgi_select_g0(struct mpg_select_case *cases, int n) {
  return select_cases(mpgi_current_g("mpg_select"), cases, n, WAIT, -1);
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

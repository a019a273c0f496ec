/* chan.h - a channel and what may be done to it under its lock.  Private to
 * sched/: chan.c (one channel) and select.c (several).
 *
 * Waiters of a select hang in several queues at once.  Who takes one out of a
 * queue to serve it must first win its goroutine [select.claim]: claimed goes
 * from 0 to 1 once in a wait, by compare-and-swap, and only the winner (a
 * channel operation or the deadline) gives a result and makes it ready.  The
 * loser drops the waiter from its queue and looks at the next.
 *   server      1. claim  2. queued = false (release)   under the queue's lock
 *   goroutine   on waking: queued (acquire) false: nobody touches that waiter
 *               any more; true: take the lock, look again, unlink it
 * The claim comes first, so that a goroutine that finds none of its waiters
 * queued may use the same words for its next wait: no claim is still to come.
 */
#ifndef MPGI_CHAN_H
#define MPGI_CHAN_H

#ifndef MPGI_GMP_H
#error "include sched/gmp.h first; chan.h is private to sched/"
#endif

#include <string.h>

struct mpgi_chan_queue {
  _Atomic(struct mpgi_waiter *) head; /* lock; read without as a hint */
  struct mpgi_waiter *tail;           /* lock */
};

struct mpg_chan {
  struct mpgi_mutex lock;
  uint32_t generation;     /* lock: the mpg_run its waiters belong to */
  _Atomic uint32_t closed; /* lock; read without for the fast paths */
  size_t elem_bytes, cap;  /* constant */
  _Atomic size_t count;    /* lock; read without for len and fast paths */
  size_t send_at, recv_at; /* lock: indices into buf */
  struct mpgi_chan_queue recvq, sendq;
  _Alignas(16) unsigned char buf[];
};

/* The waiters of a goroutine in a select, and its result.  Fixmem.  Of a waiter
 * select and index are constant. */
struct mpgi_select {
  struct mpgi_select *next;      /* the P's free list */
  struct mpg_select_case *cases; /* the caller's; a root */
  struct mpg_chan **order;       /* behind the waiters: whom to lock */
  uint32_t n, norder, cap;
  int32_t chosen; /* who claimed it: the case; -ETIMEDOUT before */
  bool ok;        /* who claimed it: a value was transferred */
  bool timed;     /* its goroutine's timer was armed */
  struct mpgi_waiter waiter[];
};

/* ---- queues ---- */

static inline struct mpgi_waiter *mpgi_chanq_head(
    const struct mpgi_chan_queue *q) {
  return atomic_load_explicit(&q->head, memory_order_acquire);
}

static inline void mpgi_chanq_push(struct mpgi_chan_queue *q,
                                   struct mpgi_waiter *w) {
  w->next = NULL;
  w->prev = q->tail;
  atomic_store_explicit(&w->queued, true, memory_order_relaxed);
  if (q->tail)
    q->tail->next = w;
  else
    atomic_store_explicit(&q->head, w, memory_order_relaxed);
  q->tail = w;
}

static inline void mpgi_chanq_unlink(struct mpgi_chan_queue *q,
                                     struct mpgi_waiter *w) {
  if (w->prev)
    w->prev->next = w->next;
  else
    atomic_store_explicit(&q->head, w->next, memory_order_relaxed);
  if (w->next)
    w->next->prev = w->prev;
  else
    q->tail = w->prev;
  w->next = w->prev = NULL;
  atomic_store_explicit(&w->queued, false, memory_order_release);
}

static inline bool mpgi_select_claim(struct mpg_g *gp) {
  uint32_t zero = 0;
  return atomic_compare_exchange_strong_explicit(
      &gp->claimed, &zero, 1, memory_order_acq_rel, memory_order_relaxed);
}

/* The first waiter that is still to be had. */
static inline struct mpgi_waiter *mpgi_chanq_pop(struct mpgi_chan_queue *q) {
  struct mpgi_waiter *w;
  while ((w = mpgi_chanq_head(q))) {
    bool ours = !w->select || mpgi_select_claim(w->g); /* [select.claim] */
    mpgi_chanq_unlink(q, w);
    if (ours) return w;
  }
  return NULL;
}

/* ---- the channel ---- */

static inline size_t mpgi_chan_count(const struct mpg_chan *c) {
  return atomic_load_explicit(&c->count, memory_order_acquire);
}
static inline bool mpgi_chan_closed(const struct mpg_chan *c) {
  return atomic_load_explicit(&c->closed, memory_order_relaxed);
}

/* May an operation go on at once?  "Yes" is a hint, also under the lock: a
 * waiter at the head may belong to a select that somebody else served.  "No"
 * is the truth for the moment when count (buffered) or the head (unbuffered)
 * was read: closed is read after it, and what is open now was open then. */
static inline bool mpgi_chan_may_send(const struct mpg_chan *c) {
  return mpgi_chan_count(c) < c->cap || mpgi_chanq_head(&c->recvq) ||
         mpgi_chan_closed(c);
}
static inline bool mpgi_chan_may_recv(const struct mpg_chan *c) {
  return mpgi_chan_count(c) > 0 || mpgi_chanq_head(&c->sendq) ||
         mpgi_chan_closed(c);
}

/* Most elements are a pointer or a number: no call for these. */
static inline void mpgi_chan_zero(const struct mpg_chan *c, void *elem) {
  if (!elem) return;
  if (c->elem_bytes == 8)
    memset(elem, 0, 8);
  else if (c->elem_bytes)
    memset(elem, 0, c->elem_bytes);
}
static inline void mpgi_chan_copy(const struct mpg_chan *c, void *to,
                                  const void *from) {
  if (!to) return;
  if (c->elem_bytes == 8)
    memcpy(to, from, 8);
  else if (c->elem_bytes)
    memcpy(to, from, c->elem_bytes);
}

/* ---- the buffer, under the lock ---- */

static inline void *mpgi_chan_slot(struct mpg_chan *c, size_t i) {
  return c->buf + i * c->elem_bytes;
}
static inline size_t mpgi_chan_after(const struct mpg_chan *c, size_t i) {
  return i + 1 == c->cap ? 0 : i + 1;
}
static inline void mpgi_chan_count_set(struct mpg_chan *c, size_t n) {
  atomic_store_explicit(&c->count, n, memory_order_relaxed);
}
static inline void mpgi_chan_put(struct mpg_chan *c, const void *elem) {
  mpgi_chan_copy(c, mpgi_chan_slot(c, c->send_at), elem);
  c->send_at = mpgi_chan_after(c, c->send_at);
  mpgi_chan_count_set(c, mpgi_chan_count(c) + 1);
}

/* ---- without g0 [chan.stub] ----
 *
 * What needs nobody but the buffer.  False: nothing was done. */

#define MPGI_CHAN_INLINE static inline __attribute__((always_inline))

/* Copied without a call. */
MPGI_CHAN_INLINE bool mpgi_chan_is_small(const struct mpg_chan *c) {
  return c->elem_bytes == 8 || c->elem_bytes == 4 || c->elem_bytes == 16 ||
         c->elem_bytes <= 1;
}
MPGI_CHAN_INLINE void mpgi_chan_copy_small(const struct mpg_chan *c, void *to,
                                           const void *from) {
  if (MPGI_LIKELY(c->elem_bytes == 8))
    __builtin_memcpy(to, from, 8);
  else if (c->elem_bytes == 4)
    __builtin_memcpy(to, from, 4);
  else if (c->elem_bytes == 16)
    __builtin_memcpy(to, from, 16);
  else if (c->elem_bytes)
    __builtin_memcpy(to, from, 1);
}
MPGI_CHAN_INLINE void mpgi_chan_zero_small(const struct mpg_chan *c, void *at) {
  static const uint64_t zero[2];
  mpgi_chan_copy_small(c, at, zero);
}

MPGI_CHAN_INLINE bool mpgi_chan_stub_send(struct mpg_chan *c,
                                          const void *elem) {
  if (!mpgi_chan_is_small(c) || !mpgi_spin_trylock(&c->lock)) return false;
  size_t n = mpgi_chan_count(c);
  bool can = n < c->cap && !mpgi_chanq_head(&c->recvq) && !mpgi_chan_closed(c);
  if (MPGI_LIKELY(can)) {
    mpgi_chan_copy_small(c, mpgi_chan_slot(c, c->send_at), elem);
    c->send_at = mpgi_chan_after(c, c->send_at);
    mpgi_chan_count_set(c, n + 1);
  }
  mpgi_spin_untrylock(&c->lock);
  return can;
}

MPGI_CHAN_INLINE bool mpgi_chan_stub_recv(struct mpg_chan *c, void *elem) {
  if (!mpgi_chan_is_small(c) || !mpgi_spin_trylock(&c->lock)) return false;
  size_t n = mpgi_chan_count(c);
  bool can = n > 0 && !mpgi_chanq_head(&c->sendq);
  if (MPGI_LIKELY(can)) {
    void *first = mpgi_chan_slot(c, c->recv_at);
    if (elem) mpgi_chan_copy_small(c, elem, first);
    mpgi_chan_zero_small(c, first);
    c->recv_at = mpgi_chan_after(c, c->recv_at);
    mpgi_chan_count_set(c, n - 1);
  }
  mpgi_spin_untrylock(&c->lock);
  return can;
}

/* ---- with others ---- */

/* Under the lock: forget waiters of an earlier run; check. */
MPGI_HIDDEN void mpgi_chan_renew_slow(struct mpg_chan *c);
static inline void mpgi_chan_renew_locked(struct mpg_chan *c) {
  if (MPGI_UNLIKELY(MPG_CHECK >= 2 ||
                    c->generation != mpgi_sched.run_generation))
    mpgi_chan_renew_slow(c);
}
/* Hand the result to a dequeued waiter; the caller unlocks, then readies. */
static inline struct mpg_g *mpgi_chan_grant(struct mpgi_waiter *w, bool ok) {
  struct mpg_g *gp = w->g;
  if (w->select) {
    gp->select->chosen = (int32_t) w->index;
    gp->select->ok = ok;
  } else {
    gp->ctx.ret = ok;
  }
  w->elem = NULL;
  w->object = NULL;
  return gp;
}

/* The first element, into elem; the first waiting sender's, if there is one,
 * takes its place: count doesn't change then, not even for a moment, because
 * it is read without the lock.  The slot is cleared otherwise, so that it
 * keeps nothing alive. */
static inline struct mpgi_waiter *mpgi_chan_buffer_get(struct mpg_chan *c,
                                                       void *elem) {
  void *first = mpgi_chan_slot(c, c->recv_at);
  struct mpgi_waiter *w = mpgi_chanq_pop(&c->sendq);
  mpgi_chan_copy(c, elem, first);
  c->recv_at = mpgi_chan_after(c, c->recv_at);
  if (w) {
    mpgi_chan_copy(c, first, w->elem);
    c->send_at = c->recv_at;
  } else {
    mpgi_chan_zero(c, first);
    mpgi_chan_count_set(c, mpgi_chan_count(c) - 1);
  }
  return w;
}

/* Under the lock.  True when the element went; *wake is the partner to make
 * ready after the unlock.  send: c is open. */
MPGI_CHAN_INLINE bool mpgi_chan_send_locked(struct mpg_chan *c,
                                            const void *elem,
                                            struct mpg_g **wake) {
  struct mpgi_waiter *w = mpgi_chanq_pop(&c->recvq);
  if (w) {
    mpgi_chan_copy(c, w->elem, elem);
    *wake = mpgi_chan_grant(w, true);
    return true;
  }
  if (mpgi_chan_count(c) == c->cap) return false;
  mpgi_chan_put(c, elem);
  return true;
}
MPGI_CHAN_INLINE bool mpgi_chan_recv_locked(struct mpg_chan *c, void *elem,
                                            struct mpg_g **wake) {
  bool buffered = mpgi_chan_count(c) > 0;
  struct mpgi_waiter *w =
      buffered ? mpgi_chan_buffer_get(c, elem) : mpgi_chanq_pop(&c->sendq);
  if (w) {
    if (!buffered) mpgi_chan_copy(c, elem, w->elem);
    *wake = mpgi_chan_grant(w, true);
  }
  return buffered || w;
}

#endif /* MPGI_CHAN_H */

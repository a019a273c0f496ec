/* chan.c - channels.
 *
 * A channel is one conservatively scanned object: this record, then the
 * buffer.  Values go directly between a parked goroutine and its partner; a
 * parked goroutine's element pointer is a root while it waits (sched/roots.c).
 *
 * [chan.inv.queues] Under the lock: receivers wait only while the buffer is
 * empty, senders only while it is full, and not both wait, except in one
 * select on both.  Waiters are FIFO.  Checked in chan_is_valid.
 *
 * Every function runs on g0, so the lock's holder is never preempted (the fast
 * paths: chan_stub.c).  A waiter is parked before the lock is released and
 * readied after it.
 *
 * A channel may outlive mpg_run: its waiters may not.  generation tells.
 *
 * Source: Go chan.go.
 */
#include <sched/sched.h>

#include <errno.h>

#include <sched/gmp.h>

#include <sched/chan.h>
#include <sched/hot.h>

static bool chan_is_valid(const struct mpg_chan *c) {
  size_t n = mpgi_chan_count(c);
  const struct mpgi_waiter *r = mpgi_chanq_head(&c->recvq);
  const struct mpgi_waiter *s = mpgi_chanq_head(&c->sendq);
  return n <= c->cap && !(r && s && !r->select && !s->select) &&
         (!r || n == 0) && (!s || n == c->cap);
}

void mpgi_chan_renew_slow(struct mpg_chan *c) {
  if (c->generation != mpgi_sched.run_generation) {
    c->generation = mpgi_sched.run_generation;
    atomic_store_explicit(&c->recvq.head, NULL, memory_order_relaxed);
    atomic_store_explicit(&c->sendq.head, NULL, memory_order_relaxed);
    c->recvq.tail = c->sendq.tail = NULL;
  }
  MPG_ASSERT_INTERNAL(chan_is_valid(c));
}

static inline void chan_lock(struct mpg_chan *c) {
  mpgi_spin_lock(&c->lock);
  mpgi_chan_renew_locked(c);
}

/* ---- waiting and waking ---- */

MPGI_HOT _Noreturn void wait_on(struct mpg_chan *c, struct mpg_g *gp,
                                struct mpgi_chan_queue *q, const void *elem,
                                enum mpgi_wait_reason why) {
  struct mpg_m *mp = gp->m;
  gp->wait.g = gp;
  gp->wait.elem = (void *) (uintptr_t) elem;
  gp->wait.object = c;
  gp->wait.select = false;
  mpgi_chanq_push(q, &gp->wait);
  mpgi_hot_park_begin(mp, gp, why);
  mpgi_spin_unlock(&c->lock);
  mpgi_schedule(mp);
}

static _Noreturn void wait_for_ever(struct mpg_g *gp,
                                    enum mpgi_wait_reason why) {
  struct mpg_m *mp = gp->m;
  mpgi_park_begin(mp, gp, why);
  mpgi_schedule(mp);
}

static void sender_of_closed(struct mpg_g *gp) {
  (void) gp;
  mpgi_fatal("send on closed channel");
}

/* ---- sending ---- */

static inline void unlock_and_ready(struct mpg_chan *c, struct mpg_g *wake) {
  mpgi_spin_unlock(&c->lock);
  MPGI_CHAOS();
  if (wake) mpgi_ready(wake);
}

MPGI_HOT_END uintptr_t mpgi_chan_send_g0(mpg_chan *c, const void *elem) {
  struct mpg_g *gp = mpgi_current_g("mpg_chan_send"), *wake = NULL;
  if (!c) wait_for_ever(gp, MPGI_WAIT_CHAN_SEND_NIL);
  chan_lock(c);
  if (mpgi_chan_closed(c)) {
    mpgi_spin_unlock(&c->lock);
    mpgi_fatal("send on closed channel");
  }
  if (!mpgi_chan_send_locked(c, elem, &wake))
    wait_on(c, gp, &c->sendq, elem, MPGI_WAIT_CHAN_SEND);
  mpgi_spin_unlock(&c->lock);
  if (wake) mpgi_hot_ready(gp->m, wake);
  return 0;
}

int mpgi_chan_try_send_g0(mpg_chan *c, const void *elem) {
  mpgi_current_g("mpg_chan_try_send");
  if (!c || !mpgi_chan_may_send(c)) return -EAGAIN;
  struct mpg_g *wake = NULL;
  int err = 0;
  chan_lock(c);
  if (mpgi_chan_closed(c))
    err = -EPIPE;
  else if (!mpgi_chan_send_locked(c, elem, &wake))
    err = -EAGAIN;
  unlock_and_ready(c, wake);
  return err;
}

void mpgi_chan_offer(mpg_chan *c, const void *elem) {
  struct mpg_g *wake = NULL;
  chan_lock(c);
  if (!atomic_load_explicit(&c->closed, memory_order_relaxed))
    mpgi_chan_send_locked(c, elem, &wake);
  unlock_and_ready(c, wake);
}

/* ---- receiving ---- */

MPGI_HOT_END uintptr_t mpgi_chan_recv_g0(mpg_chan *c, void *elem) {
  struct mpg_g *gp = mpgi_current_g("mpg_chan_recv"), *wake = NULL;
  if (!c) wait_for_ever(gp, MPGI_WAIT_CHAN_RECV_NIL);
  chan_lock(c);
  bool ok = mpgi_chan_recv_locked(c, elem, &wake);
  if (!ok && !mpgi_chan_closed(c))
    wait_on(c, gp, &c->recvq, elem, MPGI_WAIT_CHAN_RECV);
  if (!ok) mpgi_chan_zero(c, elem);
  mpgi_spin_unlock(&c->lock);
  if (wake) mpgi_hot_ready(gp->m, wake);
  return ok;
}

int mpgi_chan_try_recv_g0(mpg_chan *c, void *elem) {
  mpgi_current_g("mpg_chan_try_recv");
  if (!c || !mpgi_chan_may_recv(c)) return -EAGAIN;
  struct mpg_g *wake = NULL;
  int err = 0;
  chan_lock(c);
  if (!mpgi_chan_recv_locked(c, elem, &wake)) {
    err = -EAGAIN;
    if (mpgi_chan_closed(c)) {
      mpgi_chan_zero(c, elem);
      err = -EPIPE;
    }
  }
  unlock_and_ready(c, wake);
  return err;
}

/* ---- closing, making, asking ---- */

void mpgi_chan_close_g0(mpg_chan *c) {
  mpgi_current_g("mpg_chan_close");
  if (!c) mpgi_fatal("close of nil channel");
  struct mpgi_gqueue wake = {0};
  struct mpgi_waiter *w;
  chan_lock(c);
  if (atomic_exchange_explicit(&c->closed, 1, memory_order_relaxed)) {
    mpgi_spin_unlock(&c->lock);
    mpgi_fatal("close of closed channel");
  }
  while ((w = mpgi_chanq_pop(&c->recvq))) {
    mpgi_chan_zero(c, w->elem);
    mpgi_gqueue_push(&wake, mpgi_chan_grant(w, false));
  }
  while ((w = mpgi_chanq_pop(&c->sendq))) {
    bool one = !w->select; /* otherwise select.c sees it */
    struct mpg_g *gp = mpgi_chan_grant(w, false);
    if (one) mpgi_g_on_resume(gp, sender_of_closed);
    mpgi_gqueue_push(&wake, gp);
  }
  MPGI_CHAOS();
  mpgi_spin_unlock(&c->lock);
  MPGI_CHAOS();
  for (struct mpg_g *gp; (gp = mpgi_gqueue_pop(&wake));) mpgi_ready(gp);
}

/* No element is as large as the address space: nobody could send it. */
#define ELEM_BYTES_MAX ((size_t) 1 << 46)

mpg_chan *mpgi_chan_new_g0(size_t elem_bytes, size_t capacity) {
  size_t buffer, bytes;
  if (elem_bytes > ELEM_BYTES_MAX ||
      __builtin_mul_overflow(elem_bytes, capacity, &buffer) ||
      __builtin_add_overflow(buffer, sizeof(struct mpg_chan), &bytes))
    return NULL;
  mpg_chan *c = mpgi_gc_alloc(bytes, MPGI_KIND_SCAN);
  if (!c) return NULL;
  mpgi_mutex_init(&c->lock, MPGI_RANK_CHAN);
  c->generation = mpgi_sched.run_generation;
  c->elem_bytes = elem_bytes;
  c->cap = capacity;
  return c;
}

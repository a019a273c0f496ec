/* chan.c - channels.
 *
 * A channel is one conservatively scanned object: this record, then the
 * buffer.  Values go directly between a parked goroutine and its partner; a
 * parked goroutine's element pointer is a root while it waits (sched/roots.c).
 *
 * [chan.inv.queues] Under the lock: not both queues are non-empty (select
 * aside); receivers wait only while the buffer is empty, senders only while
 * it is full.  Waiters are FIFO.  Checked in chan_is_valid.
 *
 * Every function runs on g0, so the lock's holder is never preempted.  A
 * waiter is parked before the lock is released and readied after it.
 *
 * A channel may outlive mpg_run: its waiters may not.  generation tells.
 *
 * Source: Go chan.go.
 */
#include <sched/sched.h>

#include <errno.h>
#include <string.h>

#include <sched/gmp.h>

struct wait_queue {
  struct mpgi_waiter *head, *tail;
};

struct mpg_chan {
  struct mpgi_mutex lock;
  uint32_t generation;     /* lock: the mpg_run its waiters belong to */
  _Atomic uint32_t closed; /* lock; read without for the fast paths */
  size_t elem_bytes, cap;  /* constant */
  _Atomic size_t count;    /* lock; read without for len and fast paths */
  size_t send_at, recv_at; /* lock: indices into buf */
  struct wait_queue recvq, sendq; /* lock */
  _Alignas(16) unsigned char buf[];
};

/* ---- queues and the buffer ---- */

static void enqueue(struct wait_queue *q, struct mpgi_waiter *w) {
  w->next = NULL;
  w->prev = q->tail;
  if (q->tail)
    q->tail->next = w;
  else
    q->head = w;
  q->tail = w;
}

static struct mpgi_waiter *dequeue(struct wait_queue *q) {
  struct mpgi_waiter *w = q->head;
  if (!w) return NULL;
  q->head = w->next;
  if (q->head)
    q->head->prev = NULL;
  else
    q->tail = NULL;
  w->next = NULL;
  return w;
}

static bool chan_is_valid(const struct mpg_chan *c) {
  size_t n = atomic_load_explicit(&c->count, memory_order_relaxed);
  return n <= c->cap && !(c->recvq.head && c->sendq.head) &&
         (!c->recvq.head || n == 0) && (!c->sendq.head || n == c->cap);
}

static void chan_lock(struct mpg_chan *c) {
  mpgi_mutex_lock(&c->lock);
  if (MPGI_UNLIKELY(c->generation != mpgi_sched.run_generation)) {
    c->generation = mpgi_sched.run_generation;
    c->recvq = c->sendq = (struct wait_queue){0};
  }
  MPG_ASSERT_INTERNAL(chan_is_valid(c));
}

static void *slot(struct mpg_chan *c, size_t i) {
  return c->buf + i * c->elem_bytes;
}

static size_t after(const struct mpg_chan *c, size_t i) {
  return i + 1 == c->cap ? 0 : i + 1;
}

static void copy(const struct mpg_chan *c, void *to, const void *from) {
  if (to && c->elem_bytes) memcpy(to, from, c->elem_bytes);
}

static void buffer_put(struct mpg_chan *c, const void *elem) {
  copy(c, slot(c, c->send_at), elem);
  c->send_at = after(c, c->send_at);
  atomic_fetch_add_explicit(&c->count, 1, memory_order_relaxed);
}

/* The taken slot is cleared, so that it keeps nothing alive. */
static void buffer_get(struct mpg_chan *c, void *elem) {
  void *from = slot(c, c->recv_at);
  copy(c, elem, from);
  if (c->elem_bytes) memset(from, 0, c->elem_bytes);
  c->recv_at = after(c, c->recv_at);
  atomic_fetch_sub_explicit(&c->count, 1, memory_order_relaxed);
}

/* ---- waiting and waking ---- */

static void wait_done(struct mpgi_waiter *w) {
  w->elem = NULL;
  w->object = NULL;
}

/* Hand the result to a dequeued waiter; the caller unlocks, then readies. */
static struct mpg_g *grant(struct mpgi_waiter *w, bool ok) {
  struct mpg_g *gp = w->g;
  gp->ctx.ret = ok;
  wait_done(w);
  return gp;
}

static _Noreturn void wait_on(struct mpg_chan *c, struct wait_queue *q,
                              const void *elem, enum mpgi_wait_reason why) {
  struct mpg_m *mp = mpgi_tls_m();
  struct mpg_g *gp = mp->curg;
  gp->wait.g = gp;
  gp->wait.elem = (void *) (uintptr_t) elem;
  gp->wait.object = c;
  enqueue(q, &gp->wait);
  mpgi_park_begin(mp, gp, why);
  mpgi_mutex_unlock(&c->lock);
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

/* Under the lock.  True when it went; *wake is the partner to ready. */
static bool send_now(struct mpg_chan *c, const void *elem,
                     struct mpg_g **wake) {
  struct mpgi_waiter *w = dequeue(&c->recvq);
  if (w) {
    copy(c, w->elem, elem);
    *wake = grant(w, true);
    return true;
  }
  if (atomic_load_explicit(&c->count, memory_order_relaxed) == c->cap)
    return false;
  buffer_put(c, elem);
  return true;
}

static void unlock_and_ready(struct mpg_chan *c, struct mpg_g *wake) {
  mpgi_mutex_unlock(&c->lock);
  if (wake) mpgi_ready(wake);
}

uintptr_t mpgi_chan_send_g0(mpg_chan *c, const void *elem) {
  struct mpg_g *gp = mpgi_current_g("mpg_chan_send"), *wake = NULL;
  if (!c) wait_for_ever(gp, MPGI_WAIT_CHAN_SEND_NIL);
  chan_lock(c);
  if (atomic_load_explicit(&c->closed, memory_order_relaxed)) {
    mpgi_mutex_unlock(&c->lock);
    mpgi_fatal("send on closed channel");
  }
  if (!send_now(c, elem, &wake))
    wait_on(c, &c->sendq, elem, MPGI_WAIT_CHAN_SEND);
  unlock_and_ready(c, wake);
  return 0;
}

int mpgi_chan_try_send_g0(mpg_chan *c, const void *elem) {
  mpgi_current_g("mpg_chan_try_send");
  if (!c) return -EAGAIN;
  struct mpg_g *wake = NULL;
  int err = 0;
  chan_lock(c);
  if (atomic_load_explicit(&c->closed, memory_order_relaxed))
    err = -EPIPE;
  else if (!send_now(c, elem, &wake))
    err = -EAGAIN;
  unlock_and_ready(c, wake);
  return err;
}

void mpgi_chan_offer(mpg_chan *c, const void *elem) {
  struct mpg_g *wake = NULL;
  chan_lock(c);
  if (!atomic_load_explicit(&c->closed, memory_order_relaxed))
    send_now(c, elem, &wake);
  unlock_and_ready(c, wake);
}

/* ---- receiving ---- */

static bool recv_now(struct mpg_chan *c, void *elem, struct mpg_g **wake) {
  struct mpgi_waiter *w;
  if (atomic_load_explicit(&c->count, memory_order_relaxed)) {
    buffer_get(c, elem);
    if ((w = dequeue(&c->sendq))) {
      buffer_put(c, w->elem);
      *wake = grant(w, true);
    }
    return true;
  }
  if ((w = dequeue(&c->sendq))) {
    copy(c, elem, w->elem);
    *wake = grant(w, true);
    return true;
  }
  return false;
}

static void zero(const struct mpg_chan *c, void *elem) {
  if (elem && c->elem_bytes) memset(elem, 0, c->elem_bytes);
}

uintptr_t mpgi_chan_recv_g0(mpg_chan *c, void *elem) {
  struct mpg_g *gp = mpgi_current_g("mpg_chan_recv"), *wake = NULL;
  if (!c) wait_for_ever(gp, MPGI_WAIT_CHAN_RECV_NIL);
  chan_lock(c);
  bool ok = recv_now(c, elem, &wake);
  if (!ok && !atomic_load_explicit(&c->closed, memory_order_relaxed))
    wait_on(c, &c->recvq, elem, MPGI_WAIT_CHAN_RECV);
  if (!ok) zero(c, elem);
  unlock_and_ready(c, wake);
  return ok;
}

int mpgi_chan_try_recv_g0(mpg_chan *c, void *elem) {
  mpgi_current_g("mpg_chan_try_recv");
  if (!c) return -EAGAIN;
  struct mpg_g *wake = NULL;
  int err = 0;
  chan_lock(c);
  if (!recv_now(c, elem, &wake)) {
    err = -EAGAIN;
    if (atomic_load_explicit(&c->closed, memory_order_relaxed)) {
      zero(c, elem);
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
    mpgi_mutex_unlock(&c->lock);
    mpgi_fatal("close of closed channel");
  }
  while ((w = dequeue(&c->recvq))) {
    zero(c, w->elem);
    mpgi_gqueue_push(&wake, grant(w, false));
  }
  while ((w = dequeue(&c->sendq))) {
    struct mpg_g *gp = grant(w, false);
    gp->on_resume = sender_of_closed;
    mpgi_gqueue_push(&wake, gp);
  }
  mpgi_mutex_unlock(&c->lock);
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

MPGI_RT_TEXT size_t mpg_chan_len(const mpg_chan *c) {
  return c ? atomic_load_explicit(&c->count, memory_order_relaxed) : 0;
}

MPGI_RT_TEXT size_t mpg_chan_cap(const mpg_chan *c) { return c ? c->cap : 0; }

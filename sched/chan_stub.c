/* chan_stub.c - the calls on channels: entry stubs.
 *
 * Most operations on a buffered channel need nobody but the buffer, and are
 * done here, on the goroutine's stack; the rest goes to g0 (chan.c).
 *
 * [chan.stub] A stub isn't preempted, frozen or stopped, so it may hold the
 * channel's lock as g0 may, as long as it calls nothing.  It does nothing when
 * something is wanted of the goroutine: the request is met at the end of the
 * thunk.
 *
 * Waiters of an earlier mpg_run, which may still hang in a channel's queues,
 * only make this give up.
 */
#include <sched/sched.h>

#include <errno.h>

#include <sched/gmp.h>

#include <sched/chan.h>

/* Is this a goroutine of which nothing is wanted? */
static inline __attribute__((always_inline)) bool undisturbed(void) {
  const struct mpg_g *gp = mpgi_tls_g();
  return MPGI_LIKELY(
      gp && atomic_load_explicit(&gp->ctx.preempt, memory_order_relaxed) == 0);
}
static inline __attribute__((always_inline)) bool has_room(const mpg_chan *c) {
  return c && mpgi_chan_count(c) < c->cap;
}
static inline __attribute__((always_inline)) bool has_some(const mpg_chan *c) {
  return c && mpgi_chan_count(c) > 0;
}

MPGI_RT_TEXT void mpg_chan_send(mpg_chan *c, const void *elem) {
  if (has_room(c) && undisturbed() && mpgi_chan_stub_send(c, elem)) return;
  mpgi_thunk_chan_send(c, elem);
}

MPGI_RT_TEXT bool mpg_chan_recv(mpg_chan *c, void *elem) {
  if (has_some(c) && undisturbed() && mpgi_chan_stub_recv(c, elem)) return true;
  return mpgi_thunk_chan_recv(c, elem);
}

MPGI_RT_TEXT int mpg_chan_try_send(mpg_chan *c, const void *elem) {
  if (c && undisturbed()) {
    if (!mpgi_chan_may_send(c)) return -EAGAIN;
    if (mpgi_chan_stub_send(c, elem)) return 0;
  }
  return mpgi_thunk_chan_try_send(c, elem);
}

MPGI_RT_TEXT int mpg_chan_try_recv(mpg_chan *c, void *elem) {
  if (c && undisturbed()) {
    if (!mpgi_chan_may_recv(c)) return -EAGAIN;
    if (mpgi_chan_stub_recv(c, elem)) return 0;
  }
  return mpgi_thunk_chan_try_recv(c, elem);
}

MPGI_RT_TEXT size_t mpg_chan_len(const mpg_chan *c) {
  return c ? atomic_load_explicit(&c->count, memory_order_relaxed) : 0;
}

MPGI_RT_TEXT size_t mpg_chan_cap(const mpg_chan *c) { return c ? c->cap : 0; }

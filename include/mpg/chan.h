/* mpg/chan.h - channels and select: typed by size, with Go's semantics.
 *
 * A channel is a queue of capacity elements, or, with capacity 0, a meeting
 * of a sender and a receiver.  Elements are copied.  A channel is garbage
 * collected, and what its elements point to is kept while they are queued or
 * wait in a blocked sender.
 *
 * Context of every function, unless it says otherwise: goroutine.
 */
#ifndef MPG_CHAN_H
#define MPG_CHAN_H

#include <mpg/base.h>

MPG_BEGIN_DECLS

typedef struct mpg_chan mpg_chan;

/* Make a channel.
 *
 * elem_bytes  size of an element, from 0 (a mere signal)
 * capacity    elements that are queued before a sender waits, from 0
 *
 * Returns: the channel; NULL when its buffer is too large for memory.
 * Owner: the collector; goroutines that wait on it keep it.
 * Context: goroutine.  Allocates, may run a collection; doesn't park.
 * Since: 0.1.  Source: Go chan.go (makechan).
 */
MPG_API mpg_chan *mpg_chan_new(size_t elem_bytes, size_t capacity);

/* Send an element; park while the channel is full.
 *
 * c     the channel; NULL blocks for ever, as in Go
 * elem  elem_bytes bytes to copy; not read when elem_bytes is 0
 *
 * Closed, before or while it waits: fatal, "send on closed channel".
 * Owner: elem stays the caller's; what it points to is kept until received.
 * Context: goroutine.  Parks.
 * Since: 0.1.  Source: Go chan.go (chansend).
 */
MPG_API void mpg_chan_send(mpg_chan *c, const void *elem);

/* Receive an element; park while the channel is empty and open.
 *
 * c     the channel; NULL blocks for ever
 * elem  elem_bytes bytes to fill; NULL discards the element
 *
 * Returns: true; false when closed and drained, *elem is zeroed then.
 * Context: goroutine.  Parks.
 * Since: 0.1.  Source: Go chan.go (chanrecv).
 */
MPG_API bool mpg_chan_recv(mpg_chan *c, void *elem);

/* Send, or receive, only if that is possible at once.  Arguments as above;
 * on a NULL channel it never is.
 *
 * Returns: 0 done; -EAGAIN would have to wait, *elem is untouched; -EPIPE
 *   closed (receive: and drained, *elem is zeroed).
 * Context: goroutine.  Doesn't park.
 * Since: 0.1.  Source: Go chan.go (selectnbsend, selectnbrecv).
 */
MPG_API int mpg_chan_try_send(mpg_chan *c, const void *elem);
MPG_API int mpg_chan_try_recv(mpg_chan *c, void *elem);

/* Close: receivers get what is queued and then false; waiting receivers wake,
 * waiting senders die.
 *
 * Fatal: "close of closed channel"; "close of nil channel" for NULL.
 * Context: goroutine.  Doesn't park.
 * Since: 0.1.  Source: Go chan.go (closechan).
 */
MPG_API void mpg_chan_close(mpg_chan *c);

/* The number of elements queued now, and the capacity.
 *
 * Returns: elements; 0 for NULL.
 * Context: any thread, also one that mpg doesn't know.
 * Since: 0.1.
 */
MPG_API size_t mpg_chan_len(const mpg_chan *c);
MPG_API size_t mpg_chan_cap(const mpg_chan *c);

/* ---- select ---- */

enum mpg_select_dir { MPG_SEND, MPG_RECV };

struct mpg_select_case {
  mpg_chan *chan;          /* NULL: never ready */
  enum mpg_select_dir dir; /* what to do with it */
  void *elem; /* as in mpg_chan_send and mpg_chan_recv: read, or filled; NULL on
                 receive discards */
  bool ok;    /* out, of a chosen receive: false when closed and drained */
};

/* Do one of several operations: the one that is possible first, and when
 * several are possible one of them, uniformly at random.  Park while none is.
 *
 * cases  n cases, in any order; a channel may occur in several, in both
 *        directions too (a goroutine never meets itself).  They must stay
 *        valid and unchanged until the call returns.
 * n      from 0; 0 blocks for ever, as do cases on NULL channels only
 *
 * Returns: the index of the case that was done; -EINVAL n is negative, cases
 *   is NULL with n > 0, or a dir is none; -ENOMEM no memory to wait for so
 *   many.
 * Closed, and a send to it is chosen: fatal, "send on closed channel".
 * Owner: what elem of a send points to is kept until received.
 * Context: goroutine.  Parks.
 * Since: 0.1.  Source: Go select.go (selectgo).
 */
MPG_API int mpg_select(struct mpg_select_case *cases, int n);

/* The same, if one of the operations is possible at once.
 *
 * Returns: as mpg_select; -EAGAIN none is possible, all channels looked at in
 *   one moment.
 * Context: goroutine.  Doesn't park.
 * Since: 0.1.  Source: Go select.go (selectgo with default).
 */
MPG_API int mpg_select_try(struct mpg_select_case *cases, int n);

/* The same, waiting until a deadline.
 *
 * deadline_ns  absolute, in mpg_now's clock; < 0: none, as mpg_select; in the
 *              past: looks once, and a case that is ready wins
 *
 * Returns: as mpg_select; -ETIMEDOUT nothing was done by then.  With n == 0 it
 *   waits for the deadline.
 * Context: goroutine.  Parks.
 * Since: 0.1.
 */
MPG_API int mpg_select_until(struct mpg_select_case *cases, int n,
                             int64_t deadline_ns);

MPG_END_DECLS

#endif /* MPG_CHAN_H */

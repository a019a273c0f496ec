/* mpg/chan.h - channels: typed by size, with Go's semantics.
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

MPG_END_DECLS

#endif /* MPG_CHAN_H */

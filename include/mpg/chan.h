/* mpg/chan.h - typed-by-size channels with Go's semantics. */
#ifndef MPG_CHAN_H
#define MPG_CHAN_H

#include <mpg/base.h>

MPG_BEGIN_DECLS

typedef struct mpg_chan mpg_chan;

/* A garbage-collected channel of capacity elements of elem_bytes each.
 * Returns: NULL when the buffer is too large for memory. */
MPG_API mpg_chan *mpg_chan_new(size_t elem_bytes, size_t capacity);

/* Send *elem; parks while full.  c NULL blocks for ever.  A closed channel
 * is fatal: "send on closed channel". */
MPG_API void mpg_chan_send(mpg_chan *c, const void *elem);

/* Receive into *elem (NULL discards); parks while empty.
 * Returns: false when closed and drained; *elem is zeroed then. */
MPG_API bool mpg_chan_recv(mpg_chan *c, void *elem);

/* Returns: 0; -EAGAIN; -EPIPE when closed (recv: and drained). */
MPG_API int mpg_chan_try_send(mpg_chan *c, const void *elem);
MPG_API int mpg_chan_try_recv(mpg_chan *c, void *elem);

/* Closing a closed or NULL channel is fatal. */
MPG_API void mpg_chan_close(mpg_chan *c);

/* Elements queued, and capacity; 0 for NULL.  Any thread. */
MPG_API size_t mpg_chan_len(const mpg_chan *c);
MPG_API size_t mpg_chan_cap(const mpg_chan *c);

MPG_END_DECLS

#endif /* MPG_CHAN_H */

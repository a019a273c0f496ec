/* mpg/io.h - input and output that park the goroutine, not the thread.
 *
 * Descriptors are ordinary numbers, opened by whatever call opens them; the
 * first mpg_read, mpg_write, mpg_accept or mpg_connect on one makes it
 * non-blocking (O_NONBLOCK, which is shared with everybody who has the same
 * open file, other processes too).  Files that can't be waited for, regular
 * ones above all, are read and written in a blocking call while other
 * goroutines run.
 *
 * Several goroutines may use a descriptor at the same time, in the same
 * direction too; each call is one or more system calls, so bytes of two long
 * writes may mix.  Close a descriptor that goroutines may be using with
 * mpg_close, not with close(2).
 *
 * Results are negative errno values of the system call; EINTR and EAGAIN never
 * come out, SIGPIPE is never raised.  Memory may be collected, on the stack,
 * or anything else.
 *
 * Context of every function, unless it says otherwise: goroutine.
 */
#ifndef MPG_IO_H
#define MPG_IO_H

#include <mpg/base.h>

/* Not <sys/socket.h>: it takes names like send and connect from programs. */
#ifndef __socklen_t_defined
typedef __socklen_t socklen_t;
#define __socklen_t_defined
#endif
struct sockaddr;

MPG_BEGIN_DECLS

/* Read what is there, at least one byte; park until there is some.
 *
 * fd   a descriptor
 * buf  n bytes of memory
 * n    bytes, from 0; on streams and pipes one call reads at most 256 KiB
 *
 * Returns: the number of bytes; 0 at the end of the file, or for n = 0; -EBADF;
 *   -ECANCELED (mpg_close while it was parked); -ENOMEM; what read(2) gives.
 * Context: goroutine.  Parks; or blocks its thread with the P handed off.
 * Since: 0.1.  Source: read(2), Go fd_unix.go (Read).
 */
MPG_API ssize_t mpg_read(int fd, void *buf, size_t n);

/* Write all n bytes; park while there is no room.
 *
 * fd   a descriptor
 * buf  n bytes of memory, which must not change meanwhile
 * n    bytes, from 0
 *
 * Returns: n; after an error the bytes written before it, if any; -EBADF;
 *   -EPIPE (nobody will read it); -ECANCELED (mpg_close while it was parked);
 *   -ENOMEM; what write(2) gives.
 * Context: goroutine.  Parks; or blocks its thread with the P handed off.
 * Since: 0.1.  Source: write(2), Go fd_unix.go (Write).
 */
MPG_API ssize_t mpg_write(int fd, const void *buf, size_t n);

/* Accept a connection; park until there is one.
 *
 * fd   a listening socket
 * sa   filled with the peer's address; NULL: not wanted
 * len  bytes at sa, replaced by the address's length; NULL when sa is
 *
 * Returns: a new descriptor, non-blocking and close-on-exec; -EBADF;
 *   -ECANCELED (mpg_close while it was parked); -EMFILE, -ENFILE, -ENOMEM; what
 *   accept(2) gives, but not ECONNABORTED.
 * Owner: the descriptor is the caller's to close.
 * Context: goroutine.  Parks.
 * Since: 0.1.  Source: accept4(2), Go fd_unix.go (Accept).
 */
MPG_API int mpg_accept(int fd, struct sockaddr *sa, socklen_t *len);

/* Connect a socket; park until it is connected, or can't be.
 *
 * fd   a socket
 * sa   the address, len bytes
 *
 * Returns: 0; -EBADF; -ECANCELED (mpg_close while it was parked); -ENOMEM; what
 *   connect(2) gives, for example -ECONNREFUSED, -ETIMEDOUT, -EISCONN.
 * Context: goroutine.  Parks.
 * Since: 0.1.  Source: connect(2), Go fd_unix.go (connect).
 */
MPG_API int mpg_connect(int fd, const struct sockaddr *sa, socklen_t len);

/* Park until a descriptor is ready, as poll(2) says.  It doesn't make the
 * descriptor non-blocking.
 *
 * fd           a descriptor
 * poll_events  POLLIN, POLLOUT, POLLPRI, POLLRDHUP; 0: errors and hang-ups
 * deadline_ns  absolute, in mpg_now's clock; in the past: look once; < 0: none
 *
 * Returns: > 0: the events that are, with POLLERR and POLLHUP; -ETIMEDOUT;
 *   -EBADF; -ECANCELED (mpg_close while it was parked); -EPERM (such files
 *   can't be waited for, and it isn't ready); -ENOMEM, -ENOSPC.
 * Context: goroutine.  Parks.
 * Since: 0.1.  Source: poll(2), Go netpoll.go.
 */
MPG_API int mpg_wait_fd(int fd, int poll_events, int64_t deadline_ns);

/* Close a descriptor.  Calls that are parked on it return -ECANCELED (mpg_write
 * what it has written so far, if any); it is closed when they are out, and
 * when mpg_close returns.  Calls that begin meanwhile find the number closed,
 * or what it was opened for next.
 *
 * fd  a descriptor, one that mpg hasn't seen too
 *
 * Returns: 0; -EBADF (it is not open); what close(2) gives: it is closed then
 *   too.
 * Context: goroutine.  May park until calls in progress are out; may block its
 *   thread, with the P handed off, as close(2) does.
 * Since: 0.1.  Source: close(2), Go fd_mutex.go.
 */
MPG_API int mpg_close(int fd);

/* ---- names ---- */

struct addrinfo; /* <netdb.h> */

/* Look a name up, as getaddrinfo does, without holding a P.  At most 16
 * look-ups run at a time; further ones wait for their turn.
 *
 * host, service, hints  as for getaddrinfo(3); each may be NULL, but not host
 *                       and service both
 * list                  set to a list of addresses when 0 is returned
 *
 * Returns: 0; -ENOENT (no such host or service, or no address of the wanted
 *   sort); -EAGAIN (a server didn't answer: try later); -EINVAL (hints);
 *   -ENOMEM; -EIO (the look-up failed for good); or why a system call failed.
 * Owner: the list is the caller's, to be given to mpg_resolve_free.  It is
 *   malloc memory: keep no references to collected objects in it.
 * Context: goroutine.  Parks while too many look names up; blocks its thread
 *   with the P handed off.
 * Since: 0.1.  Source: getaddrinfo(3), Go cgo_unix.go.
 */
MPG_API int mpg_resolve(const char *host, const char *service,
                        const struct addrinfo *hints, struct addrinfo **list);
/* Give a list back.
 *
 * list  from mpg_resolve; NULL does nothing
 *
 * Context: goroutine.  May block its thread, with the P handed off.
 * Since: 0.1.
 */
MPG_API void mpg_resolve_free(struct addrinfo *list);

MPG_END_DECLS

#endif /* MPG_IO_H */

/* io_private.h - poll descriptors: netpoll.c makes them, io.c uses them.
 *
 * One descriptor record (pd) a descriptor number, made at the number's first
 * use and never freed.
 */
#ifndef MPGI_IO_PRIVATE_H
#define MPGI_IO_PRIVATE_H

#ifndef MPGI_GMP_H
#error "include sched/gmp.h first; io_private.h is private to sched/"
#endif

#include <sys/socket.h>

/* What a goroutine waits for; bits of io_dirs. */
enum {
  MPGI_IO_IN = 1,
  MPGI_IO_OUT = 2,
  MPGI_IO_TRUST = 4, /* to mpgi_pd_park, with IN: it has not tried */
};

/* How a wait ended; io_over.  Who moves it away from 0 owns the goroutine. */
enum mpgi_io_over {
  MPGI_IO_WAITS = 0,
  MPGI_IO_READY,
  MPGI_IO_TIMEOUT,
  MPGI_IO_CLOSED,
};

enum mpgi_pd_kind {
  MPGI_PD_NEW,    /* not looked at since it was opened */
  MPGI_PD_SOCKET, /* non-blocking; operations by recv and send */
  MPGI_PD_STREAM, /* the same, of sort SOCK_STREAM */
  MPGI_PD_TCP,    /* the same, and TCP */
  MPGI_PD_POLLED, /* non-blocking, no socket: pipes, terminals, eventfds */
  MPGI_PD_FILE,   /* epoll refuses it */
};

#define MPGI_PD_CLOSING 0x80000000u

struct mpgi_pd {
  struct mpgi_mutex lock;
  _Atomic uint32_t users;   /* operations inside, and MPGI_PD_CLOSING */
  _Atomic uint32_t edge[2]; /* lock: +1 for each report, in and out; read
                               without */
  uint32_t seq;             /* lock: +1 for each close; in the event's data */
  _Atomic uint8_t kind;     /* enum mpgi_pd_kind: hint, checked when used */
  _Atomic bool registered;  /* with epoll, as far as we know */
  _Atomic bool telling;     /* lock, read without: it was reported that more
                               than bytes came; [netpoll.trust] */
  bool trusted;             /* lock: somebody waits who has not tried */
  bool listed;              /* lock: on the list of trusted ones */
  _Atomic uint8_t refuses;  /* MPGI_IO_IN, _OUT: hint, [io.nowait] */
  _Atomic uint32_t dry;     /* 1 + the edge in after which a read came to the
                               end of what there was; 0: none */
  uint32_t trusts;          /* lock: such waits */
  int32_t fd;               /* constant */
  _Atomic(struct mpgi_waiter *) first; /* lock: who waits, FIFO; read without
                                          to fetch it ahead */
  struct mpgi_waiter *last;            /* lock */
  /* -- second line: rarely */
  struct mpg_g *closer;         /* lock: waits for users to leave */
  struct mpgi_pd *next_trusted; /* of the list it is on */
  uint32_t trusts_seen;         /* lock: trusts at the last look */
} __attribute__((aligned(MPGI_CACHE_LINE_BYTES)));
_Static_assert(offsetof(struct mpgi_pd, closer) == MPGI_CACHE_LINE_BYTES,
               "an operation touches one line");

/* The record of fd.  find: NULL when nobody used it; get: makes it, NULL
 * sets *err. */
MPGI_HIDDEN struct mpgi_pd *mpgi_pd_find(int fd);
MPGI_HIDDEN struct mpgi_pd *mpgi_pd_get(int fd, int *err);

/* An operation begins and ends.  enter: false while pd is being closed. */
MPGI_HIDDEN bool mpgi_pd_enter(struct mpgi_pd *pd);
MPGI_HIDDEN void mpgi_pd_leave(struct mpgi_pd *pd);

/* Let epoll report the file behind pd.  0; -EPERM: it can't; -EBADF; -ENOMEM,
 * -ENOSPC. */
MPGI_HIDDEN int mpgi_pd_register(struct mpgi_pd *pd);

/* Count the edges before trying an operation. */
MPGI_HIDDEN void mpgi_pd_edges(const struct mpgi_pd *pd, uint32_t seen[2]);

/* [netpoll.trust] A read after seen got less than it asked for.  And: a read
 * now would find nothing. */
MPGI_HIDDEN void mpgi_pd_ran_dry(struct mpgi_pd *pd, const uint32_t seen[2]);
MPGI_HIDDEN bool mpgi_pd_is_dry(const struct mpgi_pd *pd,
                                const uint32_t seen[2]);

/* Park the calling goroutine until there is an edge in dirs after the seen
 * ones, the deadline (< 0: none), or a close.  WAITS: it is parked, with
 * resume as its on_resume, and the caller must schedule; READY or CLOSED: it
 * isn't. */
MPGI_HIDDEN enum mpgi_io_over mpgi_pd_park(struct mpgi_pd *pd, struct mpg_g *gp,
                                           uint8_t dirs, const uint32_t seen[2],
                                           int64_t deadline,
                                           void (*resume)(struct mpg_g *gp));
/* The resumed goroutine: how it ended.  Afterwards nothing refers to it.
 * timed: it parked with a deadline. */
MPGI_HIDDEN enum mpgi_io_over mpgi_pd_unpark(struct mpgi_pd *pd,
                                             struct mpg_g *gp, bool timed);
/* The world is stopped, and gp is parked for an edge of pd: keep it parked
 * until let_go.  False: somebody is about to make it runnable. */
MPGI_HIDDEN bool mpgi_pd_hold(struct mpgi_pd *pd, const struct mpg_g *gp);
MPGI_HIDDEN void mpgi_pd_let_go(struct mpgi_pd *pd);
/* Park until pd is closed.  False: it is. */
MPGI_HIDDEN bool mpgi_pd_park_closing(struct mpgi_pd *pd, struct mpg_g *gp,
                                      void (*resume)(struct mpg_g *gp));

/* Closing.  begin: no operation enters any more, waiters are woken; true when
 * the operations are out, false when gp was parked until then, with resume.
 * -EAGAIN: somebody closes it already.  end: after close(2). */
MPGI_HIDDEN int mpgi_pd_close_begin(struct mpgi_pd *pd, struct mpg_g *gp,
                                    void (*resume)(struct mpg_g *gp));
MPGI_HIDDEN void mpgi_pd_close_end(struct mpgi_pd *pd);
/* A descriptor that mpg_accept has just made. */
MPGI_HIDDEN void mpgi_pd_accepted(int fd, enum mpgi_pd_kind kind);

/* An operation, on the stack of the goroutine that performs it; it is
 * wait.elem while the goroutine is parked. */
enum mpgi_io_op {
  MPGI_IO_READ,
  MPGI_IO_WRITE,
  MPGI_IO_ACCEPT,
  MPGI_IO_CONNECT,
  MPGI_IO_POLL,
  MPGI_IO_CLOSE,
};

struct mpgi_io {
  uint8_t op;   /* enum mpgi_io_op */
  uint8_t dirs; /* to wait for */
  bool begun;   /* connect: it is under way */
  bool trust;   /* read: wait without having tried */
  int32_t fd;
  struct mpgi_pd *pd;
  void *buf; /* read, write: memory; accept, connect: struct sockaddr */
  size_t n;  /* read, write: bytes; connect: of the address */
  union {
    size_t done;    /* write, read */
    socklen_t *len; /* accept */
    int events;     /* wait_fd */
  };
  int64_t deadline; /* < 0: none */
  ssize_t result;
  uint32_t seen[2];
};

MPGI_HIDDEN void mpgi_io_g0(struct mpgi_io *io);
MPGI_HIDDEN void mpgi_thunk_io(struct mpgi_io *io);

#endif /* MPGI_IO_PRIVATE_H */

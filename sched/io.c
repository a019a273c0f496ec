/* io.c - reading, writing, accepting, connecting, waiting, closing.
 *
 * An operation is a record on its goroutine's stack (struct mpgi_io).  It runs
 * on g0: try the system call, and when it would wait, park (netpoll.c) and try
 * again when resumed, still on g0 (on_resume).  So the user's stack is needed
 * only for the entry stubs below, and a wake-up costs one switch.
 *
 * What a number refers to is looked at on first use (set_up): sockets go by
 * recv and send, which can be told not to wait and not to raise SIGPIPE;
 * pipes, terminals, eventfds by read and write on a non-blocking descriptor;
 * what epoll refuses (regular files) by read and write with the P handed off.
 * The program may close(2) the number and open another file under it without
 * telling us.  Therefore what was found counts as a hint: a socket operation
 * on something else fails with ENOTSOCK, a descriptor that isn't non-blocking
 * is looked at again before it could block us, a file is offered to epoll each
 * time, and registration is repeated before parking.
 *
 * [io.nowait] A read or write of a pipe or file says with the call that it must
 * not wait, where the kernel can do that: then it matters no more what the
 * number refers to, and files that are in memory are read without handing the P
 * off.  Who refuses it (refuses, by direction) is asked only once.
 *
 * The collector finds the memory to read into through the record.
 *
 * A call that blocks on g0 without a P sets m->in_call: when mpg_run ends, its
 * thread can be frozen although it is on g0.
 *
 * Source: Go internal/poll/fd_unix.go.
 */
#include <sched/sched.h>

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <sched/gmp.h>

#include <sched/hot.h>
#include <sched/io_private.h>

/* One transfer on a descriptor that doesn't wait: the copy delays a stop.  Not
 * for sockets that keep messages apart. */
#define TRANSFER_BYTES ((size_t) 256 << 10)
/* A full queue of a listening local socket can't be waited for. */
#define CONNECT_AGAIN_NS (1000 * 1000)

/* What became of an attempt. */
enum attempt {
  DONE,  /* result is set */
  WAIT,  /* it would block: for an edge in dirs, or until the deadline */
  AGAIN, /* try again at once */
  BLOCK, /* only with the P handed off */
};

static enum attempt done(struct mpgi_io *io, long result) {
  io->result = result;
  return DONE;
}

static void kind_set(struct mpgi_pd *pd, enum mpgi_pd_kind kind) {
  atomic_store_explicit(&pd->kind, (uint8_t) kind, memory_order_relaxed);
}

static enum mpgi_pd_kind kind_of(const struct mpgi_pd *pd) {
  return atomic_load_explicit(&pd->kind, memory_order_relaxed);
}

/* ---- what a number refers to ---- */

/* Several at a time may do this: they come to the same result. */
static enum attempt set_up(struct mpgi_io *io) {
  struct mpgi_pd *pd = io->pd;
  int type = mpgi_os_socket_type(io->fd);
  if (type < 0) {
    int err = mpgi_pd_register(pd);
    if (err == -EPERM) {
      kind_set(pd, MPGI_PD_FILE);
      return BLOCK;
    }
    if (err) return done(io, err);
  }
  MPGI_CHAOS();
  atomic_store_explicit(&pd->refuses, 0, memory_order_relaxed);
  int err = mpgi_os_fd_set_nonblocking(io->fd);
  if (err) return done(io, err);
  if (type < 0)
    kind_set(pd, MPGI_PD_POLLED);
  else if (type != SOCK_STREAM)
    kind_set(pd, MPGI_PD_SOCKET);
  else
    kind_set(pd, mpgi_os_socket_is_tcp(io->fd) ? MPGI_PD_TCP : MPGI_PD_STREAM);
  return AGAIN;
}

/* The number refers to what we think, and an operation on it won't wait.
 * WAIT stands for "go on". */
static enum attempt check(struct mpgi_io *io, bool by_flags) {
  switch (kind_of(io->pd)) {
  case MPGI_PD_NEW: return set_up(io);
  case MPGI_PD_FILE:
    if (mpgi_pd_register(io->pd) == -EPERM) return BLOCK;
    return set_up(io);
  case MPGI_PD_SOCKET:
  case MPGI_PD_STREAM:
  case MPGI_PD_TCP:
    if (!by_flags) return WAIT;
    break;
  default: break;
  }
  return mpgi_os_fd_is_nonblocking(io->fd) ? WAIT : set_up(io);
}

/* ---- attempts ---- */

static bool is_socket(const struct mpgi_pd *pd) {
  enum mpgi_pd_kind kind = kind_of(pd);
  return kind == MPGI_PD_SOCKET || kind == MPGI_PD_STREAM ||
         kind == MPGI_PD_TCP;
}

static size_t transfer(const struct mpgi_pd *pd, size_t n) {
  return kind_of(pd) == MPGI_PD_SOCKET || n < TRANSFER_BYTES ? n
                                                             : TRANSFER_BYTES;
}

/* A result of recv or send: another sort of file under this number? */
static enum attempt judge(struct mpgi_io *io, long r) {
  if (r == -EAGAIN) return WAIT;
  if (r != -ENOTSOCK) return done(io, r);
  kind_set(io->pd, MPGI_PD_NEW);
  return AGAIN;
}

/* Linux says EAGAIN, too, when a signal comes as a read stands at the mark of
 * urgent data, whatever is behind it. */
static bool at_urgent_mark(const struct mpgi_io *io) {
  return atomic_load_explicit(&io->pd->telling, memory_order_relaxed) &&
         mpgi_os_poll_now(io->fd, POLLIN) > 0;
}

/* Is that call worth trying? */
static bool nowait(const struct mpgi_pd *pd, uint8_t dir, size_t n) {
  enum mpgi_pd_kind kind = kind_of(pd);
  bool refuses = atomic_load_explicit(&pd->refuses, memory_order_relaxed) & dir;
  return !refuses && n > 0 &&
         (kind == MPGI_PD_POLLED ||
          (kind == MPGI_PD_FILE && n <= TRANSFER_BYTES));
}

/* What it returned.  BLOCK: nothing. */
static enum attempt judge_nowait(struct mpgi_io *io, uint8_t dir, long r) {
  io->dirs = dir;
  if (r == -EOPNOTSUPP)
    atomic_fetch_or_explicit(&io->pd->refuses, dir, memory_order_relaxed);
  else if (r != -EAGAIN)
    return done(io, r);
  else if (kind_of(io->pd) == MPGI_PD_POLLED)
    return WAIT;
  return BLOCK;
}

/* BLOCK: in another way; with done set, the rest of a file, which may be out of
 * memory. */
static enum attempt read_nowait(struct mpgi_io *io) {
  if (!nowait(io->pd, MPGI_IO_IN, io->n)) return BLOCK;
  long r = mpgi_os_fd_read_nowait(io->fd, io->buf, transfer(io->pd, io->n));
  if (r <= 0 || (size_t) r == io->n || kind_of(io->pd) != MPGI_PD_FILE)
    return judge_nowait(io, MPGI_IO_IN, r);
  io->done = (size_t) r;
  return BLOCK;
}

static enum attempt try_read(struct mpgi_io *io) {
  enum attempt a = read_nowait(io);
  if (a != BLOCK) return a;
  a = check(io, false);
  if (io->done && a != BLOCK) return done(io, (long) io->done);
  if (a != WAIT) return a;
  size_t n = transfer(io->pd, io->n);
  io->dirs = MPGI_IO_IN;
  bool recv = is_socket(io->pd) && n > 0; /* of nothing: recv might wait */
  bool tcp = recv && kind_of(io->pd) == MPGI_PD_TCP;
  io->trust = tcp && mpgi_pd_is_dry(io->pd, io->seen);
  if (io->trust) return WAIT;
  __builtin_prefetch(io->buf, 1); /* the kernel comes to it a while later */
  long r = recv ? mpgi_os_recv(io->fd, io->buf, n)
                : mpgi_os_fd_read(io->fd, io->buf, n);
  if (tcp && r > 0 && (size_t) r < n) mpgi_pd_ran_dry(io->pd, io->seen);
  if (tcp && r == -EAGAIN && at_urgent_mark(io)) return AGAIN;
  return judge(io, r);
}

static enum attempt write_result(struct mpgi_io *io, long r) {
  return done(io, io->done ? (long) io->done : r);
}

/* What is left of the buffer; it may be NULL. */
static char *rest(const struct mpgi_io *io) {
  return io->done > 0 ? (char *) io->buf + io->done : io->buf;
}

static enum attempt wrote(struct mpgi_io *io, long r) {
  if (r <= 0) return write_result(io, r);
  io->done += (size_t) r;
  return io->done == io->n ? done(io, (long) io->done) : AGAIN;
}

static enum attempt try_write(struct mpgi_io *io) {
  size_t n = transfer(io->pd, io->n - io->done);
  const char *from = rest(io);
  if (nowait(io->pd, MPGI_IO_OUT, n)) {
    long r = mpgi_os_fd_write_nowait(io->fd, from, n);
    enum attempt a = judge_nowait(io, MPGI_IO_OUT, r);
    if (a != BLOCK) return a == DONE ? wrote(io, r) : a;
  }
  enum attempt a = check(io, false);
  if (a == DONE) return write_result(io, io->result);
  if (a != WAIT) return a;
  io->dirs = MPGI_IO_OUT;
  long r = is_socket(io->pd) ? mpgi_os_send(io->fd, from, n)
                             : mpgi_os_fd_write(io->fd, from, n);
  if (r < 0 && (a = judge(io, r)) != DONE) return a;
  return wrote(io, r);
}

static enum attempt try_accept(struct mpgi_io *io) {
  enum attempt a = check(io, true);
  if (a == BLOCK) return done(io, -ENOTSOCK);
  if (a != WAIT) return a;
  io->dirs = MPGI_IO_IN;
  int fd = mpgi_os_accept(io->fd, io->buf, io->len);
  if (fd == -EAGAIN) return WAIT;
  if (fd == -ECONNABORTED) return AGAIN; /* it left before we came */
  if (fd >= 0) mpgi_pd_accepted(fd, kind_of(io->pd));
  return done(io, fd);
}

/* It was begun, and something happened.  The second call tells the kernel that
 * we know: until then a further mpg_connect would succeed. */
static enum attempt connect_result(struct mpgi_io *io) {
  int r = mpgi_os_socket_error(io->fd);
  if (r == 0) r = mpgi_os_connect(io->fd, io->buf, (unsigned) io->n);
  if (r == -EALREADY || r == -EINPROGRESS) return WAIT;
  return done(io, r == -EISCONN ? 0 : r);
}

static enum attempt try_connect(struct mpgi_io *io) {
  enum attempt a = check(io, true);
  if (a == BLOCK) return done(io, -ENOTSOCK);
  if (a != WAIT) return a;
  io->deadline = -1;
  io->dirs = MPGI_IO_OUT;
  if (io->begun) {
    int events = mpgi_os_poll_now(io->fd, POLLOUT);
    if (events < 0) return done(io, events);
    return events ? connect_result(io) : WAIT;
  }
  int r = mpgi_os_connect(io->fd, io->buf, (unsigned) io->n);
  if (r != -EAGAIN && r != -EINPROGRESS) return done(io, r);
  io->begun = r == -EINPROGRESS;
  if (r == -EAGAIN) {
    io->dirs = 0;
    io->deadline = mpgi_os_now() + CONNECT_AGAIN_NS;
  }
  return WAIT;
}

static enum attempt try_poll(struct mpgi_io *io) {
  int events = mpgi_os_poll_now(io->fd, io->events);
  if (events) return done(io, events);
  if (io->deadline >= 0 && io->deadline <= mpgi_os_now())
    return done(io, -ETIMEDOUT);
  io->dirs = 0;
  if (io->events & (POLLIN | POLLRDNORM | POLLPRI | POLLRDHUP | POLLRDBAND))
    io->dirs |= MPGI_IO_IN;
  if (io->events & (POLLOUT | POLLWRNORM | POLLWRBAND)) io->dirs |= MPGI_IO_OUT;
  if (!io->dirs) io->dirs = MPGI_IO_IN; /* errors and hang-ups come there too */
  return WAIT;
}

static enum attempt attempt(struct mpgi_io *io) {
  switch (io->op) {
  case MPGI_IO_READ: return try_read(io);
  case MPGI_IO_WRITE: return try_write(io);
  case MPGI_IO_ACCEPT: return try_accept(io);
  case MPGI_IO_CONNECT: return try_connect(io);
  default: return try_poll(io);
  }
}

/* ---- with the P handed off ---- */

/* Of nothing, too: whether fd can be written the kernel knows. */
static long write_all(struct mpgi_io *io) {
  long r;
  do {
    r = mpgi_os_fd_write(io->fd, rest(io), io->n - io->done);
    if (r < 0) return io->done ? (long) io->done : r;
    io->done += (size_t) r;
  } while (r > 0 && io->done < io->n);
  return (long) io->done;
}

/* All of it, or what is left of it. */
static long read_rest(struct mpgi_io *io) {
  long r = mpgi_os_fd_read(io->fd, rest(io), io->n - io->done);
  return !io->done ? r : (long) io->done + (r > 0 ? r : 0);
}

static void block(struct mpg_m *mp, struct mpgi_io *io) {
  mpgi_pd_leave(io->pd);
  MPGI_CHAOS();
  mpgi_call_begin(mp);
  io->result = io->op == MPGI_IO_WRITE ? write_all(io) : read_rest(io);
  mpgi_call_end(mp);
}

/* ---- the loop ---- */

static void finish(struct mpgi_io *io) { mpgi_pd_leave(io->pd); }

/* While it was parked, or about to be. */
static void closed(struct mpgi_io *io) {
  bool some = io->op == MPGI_IO_WRITE && io->done > 0;
  io->result = some ? (ssize_t) io->done : -ECANCELED;
  finish(io);
}

static void resumed(struct mpg_g *gp);
static void rescheduled(struct mpg_g *gp);

/* Between two attempts of a long write. */
static void make_way(struct mpg_m *mp, struct mpg_g *gp, struct mpgi_io *io) {
  while (mpgi_stw_waiting()) mpgi_stop_here(mp);
  if (!(atomic_load_explicit(&gp->ctx.preempt, memory_order_relaxed) &
        MPGI_PREEMPT_SLICE))
    return;
  gp->ctx.pc = (uintptr_t) mpgi_resume_thunk;
  gp->wait.elem = io;
  mpgi_g_on_resume(gp, rescheduled);
  mpgi_requeue(mp, gp, true);
}

enum waited { PARKED, RETRY, OVER };

static enum waited wait(struct mpg_g *gp, struct mpgi_io *io) {
  int err = io->dirs && !io->trust ? mpgi_pd_register(io->pd) : 0;
  if (err == -EPERM && io->op != MPGI_IO_POLL) {
    kind_set(io->pd, MPGI_PD_NEW); /* another file since */
    return RETRY;
  }
  if (err) {
    io->result = io->op == MPGI_IO_WRITE && io->done ? (ssize_t) io->done : err;
    finish(io);
    return OVER;
  }
  uint8_t dirs = io->trust ? io->dirs | MPGI_IO_TRUST : io->dirs;
  gp->wait.elem = io;
  switch (mpgi_pd_park(io->pd, gp, dirs, io->seen, io->deadline, resumed)) {
  case MPGI_IO_WAITS: return PARKED;
  case MPGI_IO_CLOSED: closed(io); return OVER;
  default: return RETRY;
  }
}

/* Inside pd.  Returns when the operation is over. */
static void run(struct mpg_g *gp, struct mpgi_io *io) {
  struct mpg_m *mp = gp->m;
  for (;;) {
    mpgi_pd_edges(io->pd, io->seen);
    io->trust = false;
    switch (attempt(io)) {
    case DONE: finish(io); return;
    case BLOCK: block(mp, io); return;
    case AGAIN: make_way(mp, gp, io); continue;
    case WAIT: break;
    }
    switch (wait(gp, io)) {
    case PARKED: mpgi_schedule(mp);
    case OVER: return;
    case RETRY: break;
    }
  }
}

static void resumed(struct mpg_g *gp) {
  struct mpgi_io *io = gp->wait.elem;
  MPGI_CHAOS();
  mpgi_hot_runq_prefetch_io(gp->m->p);
  if (mpgi_pd_unpark(io->pd, gp, io->deadline >= 0) == MPGI_IO_CLOSED)
    closed(io);
  else
    run(gp, io);
}

static void rescheduled(struct mpg_g *gp) {
  struct mpgi_io *io = gp->wait.elem;
  gp->wait.elem = NULL;
  run(gp, io);
}

static void enter(struct mpg_g *gp, struct mpgi_io *io);

static void entered_again(struct mpg_g *gp) {
  struct mpgi_io *io = gp->wait.elem;
  gp->wait.elem = NULL;
  enter(gp, io);
}

/* While the number is being closed, wait for what it means then. */
static void enter(struct mpg_g *gp, struct mpgi_io *io) {
  struct mpg_m *mp = gp->m;
  while (!mpgi_pd_enter(io->pd)) {
    MPGI_CHAOS();
    gp->wait.elem = io;
    if (mpgi_pd_park_closing(io->pd, gp, entered_again)) mpgi_schedule(mp);
  }
  run(gp, io);
}

/* ---- closing ---- */

/* A socket that doesn't linger: about as long as sending. */
static bool closes_at_once(const struct mpgi_io *io) {
  return io->pd && is_socket(io->pd) && !mpgi_os_socket_lingers(io->fd);
}

static void close_now(struct mpg_g *gp) {
  struct mpgi_io *io = gp->wait.elem;
  struct mpg_m *mp = gp->m;
  gp->wait.elem = NULL;
  if (io->pd && atomic_load(&io->pd->registered)) mpgi_os_poll_del(io->fd);
  MPGI_CHAOS();
  if (closes_at_once(io)) {
    io->result = mpgi_os_close(io->fd);
    mpgi_pd_close_end(io->pd);
    return;
  }
  mpgi_call_begin(mp);
  io->result = mpgi_os_close(io->fd);
  MPGI_CHAOS();
  mp->in_call = false; /* it takes locks now */
  if (io->pd) mpgi_pd_close_end(io->pd);
  mpgi_call_end(mp);
}

static void close_again(struct mpg_g *gp);

/* A close under way may be of the file before: the kernel gives a number out
 * again before close(2) returns. */
static void close_fd(struct mpg_g *gp, struct mpgi_io *io) {
  struct mpg_m *mp = gp->m;
  io->pd = mpgi_pd_find(io->fd);
  gp->wait.elem = io;
  int out = io->pd ? mpgi_pd_close_begin(io->pd, gp, close_now) : 1;
  while (out == -EAGAIN) {
    if (mpgi_pd_park_closing(io->pd, gp, close_again)) mpgi_schedule(mp);
    out = mpgi_pd_close_begin(io->pd, gp, close_now);
  }
  if (out)
    close_now(gp);
  else
    mpgi_schedule(mp);
}

static void close_again(struct mpg_g *gp) { close_fd(gp, gp->wait.elem); }

/* ---- entry ---- */

static const char *const op_names[] = {
    [MPGI_IO_READ] = "mpg_read",     [MPGI_IO_WRITE] = "mpg_write",
    [MPGI_IO_ACCEPT] = "mpg_accept", [MPGI_IO_CONNECT] = "mpg_connect",
    [MPGI_IO_POLL] = "mpg_wait_fd",  [MPGI_IO_CLOSE] = "mpg_close",
};

void mpgi_io_g0(struct mpgi_io *io) {
  struct mpg_g *gp = mpgi_current_g(op_names[io->op]);
  int err;
  if (io->op == MPGI_IO_CLOSE) {
    close_fd(gp, io);
    return;
  }
  io->pd = mpgi_pd_get(io->fd, &err);
  if (io->pd)
    enter(gp, io);
  else
    io->result = err;
}

/* On the goroutine's stack. */

MPGI_RT_TEXT ssize_t mpg_read(int fd, void *buf, size_t n) {
  struct mpgi_io io;
  io.op = MPGI_IO_READ;
  io.fd = fd;
  io.buf = buf;
  io.n = n;
  io.done = 0;
  io.deadline = -1;
  mpgi_thunk_io(&io);
  return io.result;
}

MPGI_RT_TEXT ssize_t mpg_write(int fd, const void *buf, size_t n) {
  struct mpgi_io io;
  io.op = MPGI_IO_WRITE;
  io.fd = fd;
  io.buf = (void *) (uintptr_t) buf;
  io.n = n;
  io.done = 0;
  io.deadline = -1;
  mpgi_thunk_io(&io);
  return io.result;
}

MPGI_RT_TEXT int mpg_accept(int fd, struct sockaddr *sa, socklen_t *len) {
  struct mpgi_io io;
  io.op = MPGI_IO_ACCEPT;
  io.fd = fd;
  io.buf = sa;
  io.len = len;
  io.deadline = -1;
  mpgi_thunk_io(&io);
  return (int) io.result;
}

MPGI_RT_TEXT int mpg_connect(int fd, const struct sockaddr *sa, socklen_t len) {
  struct mpgi_io io;
  io.op = MPGI_IO_CONNECT;
  io.fd = fd;
  io.begun = false;
  io.buf = (void *) (uintptr_t) sa;
  io.n = len;
  io.deadline = -1;
  mpgi_thunk_io(&io);
  return (int) io.result;
}

MPGI_RT_TEXT int mpg_wait_fd(int fd, int poll_events, int64_t deadline_ns) {
  struct mpgi_io io;
  io.op = MPGI_IO_POLL;
  io.fd = fd;
  io.events = poll_events;
  io.deadline = deadline_ns;
  mpgi_thunk_io(&io);
  return (int) io.result;
}

MPGI_RT_TEXT int mpg_close(int fd) {
  struct mpgi_io io;
  io.op = MPGI_IO_CLOSE;
  io.fd = fd;
  mpgi_thunk_io(&io);
  return (int) io.result;
}

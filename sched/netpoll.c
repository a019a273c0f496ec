/* netpoll.c - waiting for descriptors: epoll, and who waits for which.
 *
 * What a goroutine does (io.c): it counts the edges, tries its system call,
 * gets EAGAIN, and parks.  What a poller does: it takes events from epoll,
 * counts an edge each, and wakes whoever waits in that direction: all of them,
 * because one edge may announce many bytes or connections, and each tries
 * again.
 *
 * [netpoll.edge] No edge is lost:
 *   goroutine  1. edge -> seen        (acquire)
 *              2. system call: EAGAIN
 *              3. under pd->lock: edge != seen: try again; else queue
 *   poller     1. epoll_wait: the kernel has made it ready
 *              2. under pd->lock: edge += 1, wake the queue
 * The descriptor becomes ready after 2 (it was not at 2); so the poller's 2 is
 * either after the goroutine's 3, and finds it queued, or before, and then
 * after 1 too, and 3 sees it.  A count, not a flag: several goroutines may be
 * between 1 and 3, and each must see the edge.
 *
 * [netpoll.claim] An edge, the deadline and a close may all want to wake a
 * goroutine; who changes io_over from WAITS does.  An edge and a close hold
 * pd->lock and take it off the queue; the deadline holds its heap's lock
 * (timer.c) and leaves it there, and the resumed goroutine takes itself off.
 * Threads without a P claim for an edge also while the world is stopped
 * (sysmon, a poller that lost its P), and make runnable what they claimed, then
 * or later: who changes a waiting goroutine there holds pd->lock and finds it
 * unclaimed (mpgi_pd_hold).
 *
 * [netpoll.close] users counts operations between enter and leave, parked ones
 * too.  A close sets CLOSING: nobody enters any more, the parked are woken,
 * and the last to leave wakes the closer, who alone uses the number then and
 * gives it back to the kernel.  So no operation runs on a number that has been
 * used again, and who enters meanwhile waits until the close is over and
 * starts with whatever the number means then.
 *   leave   users -= 1 leaves only CLOSING: takes pd->lock, wakes closer
 *   closer  under pd->lock: users |= CLOSING; users > 0: closer = itself, park
 * seq in an event's data tells reports from before the close.  A number that
 * was closed behind our back (close(2)) and used again is noticed when a
 * goroutine is about to park: its file isn't registered.
 *
 * [netpoll.trust] A read from a TCP socket that gets less than it asked for has
 * found all there was: what comes later makes an edge.  So the next read, if
 * there was no edge since the count before, parks without trying, and without
 * asking whether the number is still registered: two system calls less for each
 * message.  Not so after a report of more than bytes (the peer's end, an error,
 * urgent data): a short read may have stopped before those.
 *   goroutine  1. edge -> seen; 2. recv: short; dry = seen + 1
 *              3. next read: edge -> seen; dry == seen + 1 and not telling:
 *              4. under pd->lock: edge != seen: try; else queue
 *   poller     under pd->lock: telling if so, then edge += 1, wake
 * Whatever reached the socket after 2 is reported after 2: an edge that 1 did
 * not count.  What reached it before 2 and wasn't read by it was reported with
 * telling before 1, or is reported after 1.
 * Trust may be wrong where the number was closed behind our back or a layer
 * over TCP ends reads early.  So sysmon wakes who has waited on trust for
 * MPGI_TRUST_NS to twice that; it then tries, and registers.
 *
 * Who polls: an M without work, without waiting (find_runnable); one idle M,
 * until the first timer (proc.c, poll_idle), unless [netpoll.lazy]; sysmon,
 * when nobody has for a while.  [netpoll.break] The idle one is told to look
 * again by a break: breaking is set before, so that of many callers one makes a
 * system call; the poller ends the break first and clears breaking then, and
 * looks again at what they had published after that.
 *
 * [netpoll.lazy] Whoever polls, has nothing else to run and finds one goroutine
 * runs that, and wakes nobody who would wait for descriptors meanwhile: when it
 * waits some microseconds later, the same M polls again.  So two that talk
 * through descriptors stay on one CPU, and a server that has a message at a
 * time wakes one thread for it instead of two.  Nobody sleeps in epoll then
 * although a P is idle, and sysmon watches how long that lasts:
 *   finder   1. if it slept in epoll: poller = NULL
 *            2. does sysmon wake within LONE_NS?  If not, it wakes somebody
 *   sysmon   1. sysmon_until = when it will wake
 *            2. a P is idle, somebody waits, no poller?  Then within LONE_NS
 *   awake    the same, and nobody has polled for LONE_LATE_NS: it wakes
 *            somebody, who polls at once and then sleeps in epoll
 * all sequentially consistent: either the finder sees the later time, or sysmon
 * that there is no poller.  So an event is late by the sum of the two, 0.6 ms,
 * at most (or by what sysmon waits for a CPU); and so that this is rare, nobody
 * is lazy after that for 10 ms, or for up to 320 ms when it comes again soon.
 * Nor when a timer is due within LONE_NS.  Sysmon wakes that often as long as
 * many are found so.  tests/model/poll_model.c.
 *
 * Model-checked by tests/model/netpoll_model.c.
 * Source: Go netpoll.go, netpoll_epoll.go, fd_mutex.go; there one goroutine
 * waits in each direction, here a list.
 */
#include <sched/sched.h>

#include <errno.h>

#include <sched/gmp.h>

#include <sched/hot.h>
#include <sched/io_private.h>

#ifndef CHUNK_PDS /* models have fewer */
#define CHUNK_PDS 1024
#define CHUNKS (16 << 10)
#endif
#define AHEAD 4

static struct mpgi_mutex table_lock = MPGI_MUTEX_INIT(MPGI_RANK_LEAF);
static _Atomic(struct mpgi_pd *) *_Atomic table; /* table_lock; CHUNKS */
static _Atomic bool on;                          /* epoll is open */
static _Atomic int32_t waiting;           /* goroutines parked for an edge */
static _Atomic uint32_t breaking;         /* [netpoll.break] */
static _Atomic int64_t last_poll;         /* ns */
static _Atomic(struct mpgi_pd *) trusted; /* list; [netpoll.trust] */

bool mpgi_netpoll_on(void) { return atomic_load(&on); }
bool mpgi_netpoll_waiting(void) {
  return atomic_load(&waiting) > 0 && mpgi_netpoll_on();
}
int64_t mpgi_netpoll_last(void) {
  return atomic_load_explicit(&last_poll, memory_order_relaxed);
}

/* ---- the table ---- */

struct mpgi_pd *mpgi_pd_find(int fd) {
  _Atomic(struct mpgi_pd *) *t = atomic_load(&table);
  if (fd < 0 || fd / CHUNK_PDS >= CHUNKS || !t) return NULL;
  struct mpgi_pd *chunk = atomic_load(&t[fd / CHUNK_PDS]);
  return chunk ? &chunk[fd % CHUNK_PDS] : NULL;
}

static struct mpgi_pd *chunk_make(int first) {
  struct mpgi_pd *chunk =
      mpgi_fixmem_alloc(CHUNK_PDS * sizeof *chunk, MPGI_CACHE_LINE_BYTES);
  for (int i = 0; chunk && i < CHUNK_PDS; i++) {
    mpgi_mutex_init(&chunk[i].lock, MPGI_RANK_NETPOLL);
    chunk[i].fd = first + i;
  }
  return chunk;
}

static void chunk_add_locked(int i) {
  _Atomic(struct mpgi_pd *) *t = atomic_load(&table);
  if (!t) {
    t = mpgi_fixmem_alloc(CHUNKS * sizeof *t, 0);
    if (!t) return;
    atomic_store(&table, t);
  }
  if (!atomic_load(&t[i])) atomic_store(&t[i], chunk_make(i * CHUNK_PDS));
}

struct mpgi_pd *mpgi_pd_get(int fd, int *err) {
  struct mpgi_pd *pd = mpgi_pd_find(fd);
  if (pd) return pd;
  *err = fd < 0 ? -EBADF : mpgi_os_fd_flags(fd);
  if (*err < 0) return NULL;
  *err = -ENOMEM;
  if (fd / CHUNK_PDS >= CHUNKS) return NULL;
  mpgi_mutex_lock(&table_lock);
  chunk_add_locked(fd / CHUNK_PDS);
  mpgi_mutex_unlock(&table_lock);
  return mpgi_pd_find(fd);
}

/* ---- epoll ---- */

static int open_once(void) {
  int err = 0;
  mpgi_mutex_lock(&table_lock);
  if (!atomic_load(&on)) {
    err = mpgi_os_poll_open();
    if (err == 0) atomic_store(&on, true);
  }
  mpgi_mutex_unlock(&table_lock);
  /* An idle M that sleeps for timers must sleep in epoll from now on: it
   * publishes that it is the poller, then looks at on. */
  struct mpg_m *mp = atomic_load(&mpgi_sched.poller);
  if (!err && mp) mpgi_note_wake(&mp->park);
  return err;
}

/* Whoever waits would wait for ever; when the run is over nobody does. */
static void check_ours(int result) {
  if (result < 0 && !atomic_load(&mpgi_sched.exiting))
    mpgi_fatal("a descriptor of mpg's was closed: epoll says %d", result);
}

static uint64_t data_of(const struct mpgi_pd *pd) {
  return (uint64_t) (pd->seq & INT32_MAX) << 32 | (uint32_t) pd->fd;
}

int mpgi_pd_register(struct mpgi_pd *pd) {
  int err = atomic_load(&on) ? 0 : open_once();
  if (err) return err;
  mpgi_mutex_lock(&pd->lock); /* seq */
  uint64_t data = data_of(pd);
  mpgi_mutex_unlock(&pd->lock);
  err = mpgi_os_poll_add(pd->fd, data);
  if (err && err != -EEXIST) {
    if (err != -EPERM && !mpgi_os_poll_is_open()) check_ours(err);
    return err;
  }
  MPGI_CHAOS();
  atomic_store_explicit(&pd->registered, true, memory_order_relaxed);
  return 0;
}

static bool win(struct mpg_g *gp, enum mpgi_io_over how) {
  uint8_t waits = MPGI_IO_WAITS;
  return atomic_compare_exchange_strong(&gp->io_over, &waits, (uint8_t) how);
}

static bool claim_timeout(struct mpg_g *gp) { return win(gp, MPGI_IO_TIMEOUT); }

/* ---- the queue of a descriptor ---- */

static struct mpgi_waiter *first_of(const struct mpgi_pd *pd) {
  return atomic_load_explicit(&pd->first, memory_order_relaxed);
}

static void first_set(struct mpgi_pd *pd, struct mpgi_waiter *w) {
  atomic_store_explicit(&pd->first, w, memory_order_relaxed);
}

static void queue_put_locked(struct mpgi_pd *pd, struct mpgi_waiter *w) {
  w->next = NULL;
  w->prev = pd->last;
  if (pd->last)
    pd->last->next = w;
  else
    first_set(pd, w);
  pd->last = w;
  w->object = pd; /* queued */
}

static void queue_cut_locked(struct mpgi_pd *pd, struct mpgi_waiter *w) {
  if (w->prev)
    w->prev->next = w->next;
  else
    first_set(pd, w->next);
  if (w->next)
    w->next->prev = w->prev;
  else
    pd->last = w->prev;
  w->object = NULL;
}

/* Off the queue those who wait for dirs (0: for the end of a close); who is
 * still to be woken goes to ready. */
static void queue_wake_locked(struct mpgi_pd *pd, uint8_t dirs,
                              enum mpgi_io_over how,
                              struct mpgi_gqueue *ready) {
  for (struct mpgi_waiter *w = first_of(pd), *next; w; w = next) {
    next = w->next;
    struct mpg_g *gp = w->g;
    if (dirs ? !(gp->io_dirs & dirs) : gp->io_dirs != 0) continue;
    queue_cut_locked(pd, w);
    if (win(gp, how)) mpgi_gqueue_push(ready, gp);
  }
}

/* Everybody but those who wait for the end of a close. */
#define DIRS_ALL 0x7f
#define DIRS_TIMED 0x40 /* for the deadline only */

static void report_locked(struct mpgi_pd *pd, uint8_t dirs,
                          struct mpgi_gqueue *ready) {
  for (int i = 0; i < 2; i++)
    if (dirs >> i & 1)
      atomic_fetch_add_explicit(&pd->edge[i], 1, memory_order_release);
  if (dirs & MPGI_IO_IN) pd->trusted = false;
  queue_wake_locked(pd, dirs, MPGI_IO_READY, ready);
}

static uint8_t dirs_of(uint32_t events) {
  uint8_t dirs = 0;
  if (events & (MPGI_OS_POLL_IN | MPGI_OS_POLL_PRI | MPGI_OS_POLL_RDHUP))
    dirs |= MPGI_IO_IN;
  if (events & MPGI_OS_POLL_OUT) dirs |= MPGI_IO_OUT;
  if (events & (MPGI_OS_POLL_ERR | MPGI_OS_POLL_HUP))
    dirs |= MPGI_IO_IN | MPGI_IO_OUT;
  return dirs;
}

static void report(struct mpgi_pd *pd, uint32_t seq, uint32_t events,
                   struct mpgi_gqueue *ready) {
  MPGI_CHAOS();
  mpgi_mutex_lock(&pd->lock);
  if ((pd->seq & INT32_MAX) == seq) {
    if (events & ~(uint32_t) (MPGI_OS_POLL_IN | MPGI_OS_POLL_OUT))
      atomic_store_explicit(&pd->telling, true, memory_order_relaxed);
    report_locked(pd, dirs_of(events), ready);
  }
  mpgi_mutex_unlock(&pd->lock);
}

/* ---- trust ---- */

void mpgi_pd_ran_dry(struct mpgi_pd *pd, const uint32_t seen[2]) {
  atomic_store_explicit(&pd->dry, seen[0] + 1, memory_order_relaxed);
}

/* seen was loaded before, with acquire: telling is at least as new. */
bool mpgi_pd_is_dry(const struct mpgi_pd *pd, const uint32_t seen[2]) {
  return seen[0] + 1 != 0 &&
         atomic_load_explicit(&pd->dry, memory_order_relaxed) == seen[0] + 1 &&
         !atomic_load_explicit(&pd->telling, memory_order_relaxed) &&
         atomic_load_explicit(&pd->registered, memory_order_relaxed);
}

static void trusted_push(struct mpgi_pd *pd) {
  struct mpgi_pd *first = atomic_load(&trusted);
  do pd->next_trusted = first;
  while (!atomic_compare_exchange_weak(&trusted, &first, pd));
}

static void trust_locked(struct mpgi_pd *pd) {
  pd->trusted = true;
  pd->trusts++;
  if (pd->listed) return;
  pd->listed = true;
  trusted_push(pd);
  mpgi_sysmon_wake(); /* it may sleep deeply beside an attached thread; pairs
                         with its look at the list after it said so */
}

static void doubt(struct mpgi_pd *pd, struct mpgi_gqueue *ready) {
  MPGI_CHAOS();
  mpgi_mutex_lock(&pd->lock);
  if (pd->trusted && pd->trusts == pd->trusts_seen)
    report_locked(pd, MPGI_IO_IN, ready);
  pd->trusts_seen = pd->trusts;
  pd->listed = pd->trusted;
  if (pd->listed) trusted_push(pd);
  mpgi_mutex_unlock(&pd->lock);
}

bool mpgi_netpoll_trusts(void) { return atomic_load(&trusted) != NULL; }

/* The list is taken off as a whole: who pushes can't meet a record that has
 * been away meanwhile. */
void mpgi_netpoll_doubt(struct mpgi_gqueue *ready) {
  struct mpgi_pd *next, *pd = atomic_exchange(&trusted, NULL);
  for (; pd; pd = next) {
    next = pd->next_trusted;
    doubt(pd, ready);
  }
}

static void trust_forget(struct mpgi_pd *pd) {
  atomic_store_explicit(&pd->dry, 0, memory_order_relaxed);
  atomic_store_explicit(&pd->telling, false, memory_order_relaxed);
}

/* ---- a goroutine's side ---- */

void mpgi_pd_edges(const struct mpgi_pd *pd, uint32_t seen[2]) {
  for (int i = 0; i < 2; i++)
    seen[i] = atomic_load_explicit(&pd->edge[i], memory_order_acquire);
}

static bool moved_locked(const struct mpgi_pd *pd, uint8_t dirs,
                         const uint32_t seen[2]) {
  uint32_t now[2];
  mpgi_pd_edges(pd, now);
  return ((dirs & MPGI_IO_IN) && now[0] != seen[0]) ||
         ((dirs & MPGI_IO_OUT) && now[1] != seen[1]);
}

/* Unlocks pd. */
static void park_locked(struct mpgi_pd *pd, struct mpg_g *gp, uint8_t dirs,
                        int64_t deadline, void (*resume)(struct mpg_g *gp)) {
  struct mpg_m *mp = gp->m;
  atomic_store_explicit(&gp->io_over, MPGI_IO_WAITS, memory_order_relaxed);
  gp->io_dirs = dirs;
  gp->pd = pd;
  gp->woken_globally = false;
  gp->wait.g = gp;
  mpgi_g_on_resume(gp, resume);
  if (dirs) atomic_fetch_add(&waiting, 1);
  queue_put_locked(pd, &gp->wait);
  mpgi_park_begin(mp, gp, MPGI_WAIT_IO);
  MPGI_CHAOS();
  if (deadline >= 0) {
    gp->timer.when = deadline > 0 ? deadline : 1;
    gp->timer.period = 0;
    gp->timer.g = gp;
    gp->timer.claim = claim_timeout;
    if (mpgi_timer_add(mp->p, &gp->timer) != 0)
      mpgi_fatal("out of memory: no room for a timer");
  }
  mpgi_mutex_unlock(&pd->lock);
  MPGI_CHAOS();
  if (deadline >= 0) mpgi_timer_announce(deadline);
  if (!mpgi_runq_empty(mp->p)) mpgi_poller_want();
}

enum mpgi_io_over mpgi_pd_park(struct mpgi_pd *pd, struct mpg_g *gp,
                               uint8_t dirs, const uint32_t seen[2],
                               int64_t deadline,
                               void (*resume)(struct mpg_g *gp)) {
  enum mpgi_io_over how = MPGI_IO_WAITS;
  MPGI_CHAOS();
  mpgi_mutex_lock(&pd->lock);
  if (atomic_load(&pd->users) & MPGI_PD_CLOSING)
    how = MPGI_IO_CLOSED;
  else if (moved_locked(pd, dirs, seen))
    how = MPGI_IO_READY;
  if (how != MPGI_IO_WAITS) {
    mpgi_mutex_unlock(&pd->lock);
    return how;
  }
  if (dirs & MPGI_IO_TRUST) trust_locked(pd);
  dirs &= (uint8_t) ~MPGI_IO_TRUST;
  park_locked(pd, gp, dirs ? dirs : DIRS_TIMED, deadline, resume);
  return how;
}

enum mpgi_io_over mpgi_pd_unpark(struct mpgi_pd *pd, struct mpg_g *gp,
                                 bool timed) {
  enum mpgi_io_over how = atomic_load(&gp->io_over);
  MPG_ASSERT(how != MPGI_IO_WAITS);
  MPGI_CHAOS();
  atomic_fetch_sub(&waiting, 1);
  if (how == MPGI_IO_TIMEOUT) {
    mpgi_mutex_lock(&pd->lock);
    if (gp->wait.object) queue_cut_locked(pd, &gp->wait);
    mpgi_mutex_unlock(&pd->lock);
  } else if (timed) {
    mpgi_timer_del(&gp->timer);
  }
  gp->wait.elem = NULL;
  return how;
}

bool mpgi_pd_hold(struct mpgi_pd *pd, const struct mpg_g *gp) {
  mpgi_mutex_lock(&pd->lock);
  if (atomic_load(&gp->io_over) == MPGI_IO_WAITS) return true;
  mpgi_mutex_unlock(&pd->lock);
  return false;
}

void mpgi_pd_let_go(struct mpgi_pd *pd) { mpgi_mutex_unlock(&pd->lock); }

/* ---- entering, leaving, closing ---- */

bool mpgi_pd_enter(struct mpgi_pd *pd) {
  if (!(atomic_fetch_add(&pd->users, 1) & MPGI_PD_CLOSING)) return true;
  mpgi_pd_leave(pd);
  return false;
}

void mpgi_pd_leave(struct mpgi_pd *pd) {
  uint32_t old = atomic_fetch_sub(&pd->users, 1);
  MPG_ASSERT(old & ~MPGI_PD_CLOSING);
  if (MPGI_LIKELY(old != (MPGI_PD_CLOSING | 1))) return;
  MPGI_CHAOS();
  mpgi_mutex_lock(&pd->lock);
  struct mpg_g *closer = pd->closer;
  if (atomic_load(&pd->users) != MPGI_PD_CLOSING) closer = NULL;
  if (closer) pd->closer = NULL;
  mpgi_mutex_unlock(&pd->lock);
  MPGI_CHAOS();
  if (closer) mpgi_ready(closer);
}

bool mpgi_pd_park_closing(struct mpgi_pd *pd, struct mpg_g *gp,
                          void (*resume)(struct mpg_g *gp)) {
  mpgi_mutex_lock(&pd->lock);
  bool closing = atomic_load(&pd->users) & MPGI_PD_CLOSING;
  if (closing)
    park_locked(pd, gp, 0, -1, resume);
  else
    mpgi_mutex_unlock(&pd->lock);
  return closing;
}

int mpgi_pd_close_begin(struct mpgi_pd *pd, struct mpg_g *gp,
                        void (*resume)(struct mpg_g *gp)) {
  struct mpgi_gqueue ready = {0};
  mpgi_mutex_lock(&pd->lock);
  uint32_t users = atomic_fetch_or(&pd->users, MPGI_PD_CLOSING);
  if (users & MPGI_PD_CLOSING) {
    mpgi_mutex_unlock(&pd->lock);
    return -EAGAIN;
  }
  pd->seq++;
  pd->trusted = false;
  queue_wake_locked(pd, DIRS_ALL, MPGI_IO_CLOSED, &ready);
  /* Who leaves later finds the lock held until closer is set. */
  bool wait = atomic_load(&pd->users) != MPGI_PD_CLOSING;
  if (wait) {
    pd->closer = gp;
    mpgi_g_on_resume(gp, resume);
    mpgi_park_begin(gp->m, gp, MPGI_WAIT_IO_CLOSE);
  }
  mpgi_mutex_unlock(&pd->lock);
  mpgi_ready_batch(&ready);
  return !wait;
}

void mpgi_pd_close_end(struct mpgi_pd *pd) {
  struct mpgi_gqueue ready = {0};
  mpgi_mutex_lock(&pd->lock);
  atomic_store_explicit(&pd->kind, MPGI_PD_NEW, memory_order_relaxed);
  atomic_store_explicit(&pd->registered, false, memory_order_relaxed);
  trust_forget(pd);
  atomic_fetch_and(&pd->users, ~MPGI_PD_CLOSING);
  queue_wake_locked(pd, 0, MPGI_IO_READY, &ready);
  mpgi_mutex_unlock(&pd->lock);
  mpgi_ready_batch(&ready);
}

void mpgi_pd_accepted(int fd, enum mpgi_pd_kind kind) {
  struct mpgi_pd *pd = mpgi_pd_find(fd);
  if (!pd) return;
  atomic_store_explicit(&pd->registered, false, memory_order_relaxed);
  trust_forget(pd);
  atomic_store_explicit(&pd->kind, (uint8_t) kind, memory_order_relaxed);
}

/* ---- polling ---- */

void mpgi_netpoll_break(void) {
  if (!atomic_load(&on) || atomic_exchange(&breaking, 1) != 0) return;
  MPGI_CHAOS();
  check_ours(mpgi_os_poll_break());
}

/* Nothing is read of it, so it may be anybody's by now. */
static void prefetch_waiter(const struct mpgi_pd *pd) {
  uintptr_t w = (uintptr_t) first_of(pd);
  if (w) mpgi_hot_prefetch_parked((void *) (w - offsetof(struct mpg_g, wait)));
}

static struct mpgi_pd *pd_of(const struct mpgi_os_poll_event *ev) {
  return mpgi_pd_find((int) (uint32_t) ev->data);
}

/* Hardly anything of theirs is in a cache, with a thousand connections: what
 * each needs is fetched while those before it are dealt with. */
static void report_all(const struct mpgi_os_poll_event *ev, int n,
                       struct mpgi_gqueue *ready) {
  for (int i = 0; i < n; i++) __builtin_prefetch(pd_of(&ev[i]), 1);
  for (int i = 0; i < n; i++) {
    if (i + AHEAD < n) prefetch_waiter(pd_of(&ev[i + AHEAD]));
    report(pd_of(&ev[i]), (uint32_t) (ev[i].data >> 32), ev[i].events, ready);
  }
}

void mpgi_netpoll(int64_t timeout_ns, struct mpgi_gqueue *ready) {
  struct mpgi_os_poll_event ev[MPGI_OS_POLL_EVENTS];
  bool broken = false;
  int n = mpgi_os_poll_wait(ev, MPGI_OS_POLL_EVENTS, timeout_ns, &broken);
  check_ours(n);
  if (broken && timeout_ns != 0) { /* [netpoll.break] */
    check_ours(mpgi_os_poll_unbreak());
    MPGI_CHAOS();
    atomic_store(&breaking, 0);
  }
  MPGI_CHAOS();
  report_all(ev, n, ready);
  atomic_store_explicit(&last_poll, mpgi_os_now(), memory_order_relaxed);
}

/* ---- a new run ---- */

void mpgi_netpoll_close(void) {
  if (atomic_exchange(&on, false)) mpgi_os_poll_close();
}

static void chunk_reset(struct mpgi_pd *chunk) {
  for (int i = 0; i < CHUNK_PDS; i++) {
    struct mpgi_pd *pd = &chunk[i];
    if (atomic_load(&pd->users) & MPGI_PD_CLOSING)
      atomic_store(&pd->kind, MPGI_PD_NEW);
    atomic_store(&pd->users, 0);
    first_set(pd, NULL);
    pd->last = NULL;
    pd->closer = NULL;
    pd->trusted = pd->listed = false;
    if (!atomic_load(&on)) atomic_store(&pd->registered, false);
  }
}

void mpgi_netpoll_reset(void) {
  _Atomic(struct mpgi_pd *) *t = atomic_load(&table);
  if (atomic_load(&on) && mpgi_os_poll_unbreak() != 0) mpgi_netpoll_close();
  for (int i = 0; t && i < CHUNKS; i++) {
    struct mpgi_pd *chunk = atomic_load(&t[i]);
    if (chunk) chunk_reset(chunk);
  }
  atomic_store(&waiting, 0);
  atomic_store(&trusted, NULL);
  atomic_store(&last_poll, mpgi_os_now());
  atomic_store(&breaking, 0);
}

/* netpoll_model.c - nobody waits for ever for a descriptor that is ready, and
 * nobody uses a number that means something else.
 *
 * The real io.c, netpoll.c and timer.c.  The kernel is a few words: a file
 * that is open under number 0, with bytes to read; epoll, which reports an
 * edge when bytes come, or when a file is registered that has some.  A system
 * call is one step.  Goroutines (model_park.h) read, wait and close; the
 * poller, sysmon's kin, takes events and wakes; others write, or fire timers.
 * At the end nobody is queued, counted or parked.
 */
#include "model_park.h"

#define CHUNK_PDS 1 /* one number */
#define CHUNKS 1
#include <sched/io.c>
#include <sched/netpoll.c>
#include <sched/runq.c>
#include <sched/timer.c>

static struct {
  int opened;      /* which file is open: 1, 2, ...; 0: none */
  int bytes;       /* to be read from it */
  bool ended;      /* nothing comes after those */
  bool reports;    /* it is registered */
  bool edge;       /* and there is an event */
  uint64_t data;   /* of the event */
  uint64_t broken; /* a wait ends */
} kernel;
static int opens; /* so many files were opened */

struct mpgi_stw mpgi_stw;
struct mpgi_options mpgi_opt;
static struct mpg_p p;
static struct mpgi_timer_slot heap[4];
static struct mpgi_pd chunk[1];
static _Atomic(struct mpgi_pd *) chunks[1];
static int got;         /* bytes read, of any file */
static int got_from[4]; /* of file i */
static int over;        /* goroutines that are through */
static int results[THREADS];
static int64_t now;
static int seen_published;

/* ---- the kernel ---- */

static long take_bytes(char *buf, size_t n) {
  size_t i = 0;
  if (!kernel.opened) return -EBADF;
  if (!kernel.bytes) return kernel.ended ? 0 : -EAGAIN;
  for (; kernel.bytes && i < n; kernel.bytes--) buf[i++] = (char) kernel.opened;
  return (long) i;
}

ssize_t mpgi_os_recv(int fd, void *buf, size_t n) {
  (void) fd;
  explore_step("recv");
  return take_bytes(buf, n);
}

int mpgi_os_poll_now(int fd, int events) {
  (void) fd;
  explore_step("poll");
  if (!kernel.opened) return -EBADF;
  return kernel.bytes ? events & POLLIN : 0;
}

int mpgi_os_poll_add(int fd, uint64_t data) {
  (void) fd;
  explore_step("epoll_ctl");
  if (!kernel.opened) return -EBADF;
  if (kernel.reports) return -EEXIST;
  kernel.reports = true;
  kernel.data = data;
  kernel.edge = kernel.bytes > 0 || kernel.ended;
  return 0;
}

void mpgi_os_poll_del(int fd) {
  (void) fd;
  explore_step("epoll_ctl");
  kernel.reports = kernel.edge = false;
}

int mpgi_os_poll_open(void) { return 0; }
bool mpgi_os_poll_is_open(void) { return true; }

static bool has_event(const void *arg) {
  (void) arg;
  return kernel.edge || kernel.broken;
}

int mpgi_os_poll_wait(struct mpgi_os_poll_event *ev, int max, int64_t ns,
                      bool *broken) {
  (void) max;
  if (ns)
    explore_await(has_event, NULL);
  else
    explore_step("epoll_wait");
  *broken = kernel.broken != 0;
  if (!kernel.edge) return 0;
  kernel.edge = false;
  uint32_t events = MPGI_OS_POLL_IN | (kernel.ended ? MPGI_OS_POLL_RDHUP : 0);
  ev[0] = (struct mpgi_os_poll_event){kernel.data, events};
  return 1;
}

int mpgi_os_poll_break(void) {
  explore_step("break");
  kernel.broken = 1;
  return 0;
}
int mpgi_os_poll_unbreak(void) {
  explore_step("unbreak");
  kernel.broken = 0;
  return 0;
}

bool mpgi_os_socket_lingers(int n) { return (void) n, explore_choose(2); }
int mpgi_os_close(int fd) {
  (void) fd;
  explore_step("close");
  if (!kernel.opened) return -EBADF;
  kernel.opened = kernel.bytes = 0;
  kernel.reports = kernel.edge = false;
  return 0;
}

static void open_file(void) {
  explore_step("open");
  explore_require(!kernel.opened);
  kernel.opened = ++opens;
}

static void write_bytes(int n) {
  explore_step("write");
  if (!kernel.opened) return;
  kernel.bytes += n;
  kernel.edge = kernel.reports;
}

static void end_bytes(void) {
  explore_step("shutdown");
  kernel.ended = true;
  kernel.edge = kernel.reports;
}

bool mpgi_os_socket_is_tcp(int fd) {
  (void) fd;
  return true;
}
int mpgi_os_socket_type(int fd) {
  (void) fd;
  return kernel.opened ? SOCK_STREAM : -EBADF;
}
int mpgi_os_fd_set_nonblocking(int fd) {
  (void) fd;
  return kernel.opened ? 0 : -EBADF;
}

/* ---- what is left of the runtime ---- */

int64_t mpgi_os_now(void) { return now; }
void mpgi_sysmon_due(int64_t when) { (void) when; }
void mpgi_sysmon_wake(void) {}
void mpgi_wakep(void) {}
bool mpgi_work_anywhere(void) { return false; }
void mpgi_call_begin(struct mpg_m *mp) { (void) mp; }
void mpgi_call_end(struct mpg_m *mp) { (void) mp; }
void mpgi_note_wake(struct mpgi_note *n) { (void) n; }
void mpgi_ready_batch(struct mpgi_gqueue *q) {
  for (struct mpg_g *gp; (gp = mpgi_gqueue_pop(q));) mpgi_ready(gp);
}
void mpgi_thunk_io(struct mpgi_io *io) { PARKS(mpgi_io_g0(io)); }

/* ---- goroutines ---- */

static void count(char c) {
  got++;
  got_from[(int) c]++;
}

static void reads(int bytes) {
  char c;
  while (bytes--) {
    explore_require(mpg_read(0, &c, 1) == 1);
    count(c);
  }
  over++;
}

/* Two at a time where there are two, until the end. */
static void reads_two_at_a_time(int arg) {
  char c[2];
  ssize_t r;
  (void) arg;
  while ((r = mpg_read(0, c, 2)) > 0)
    while (r--) count(c[r]);
  explore_require(r == 0);
  over++;
}

/* Until it is closed. */
static void reads_to_the_end(int arg) {
  char c;
  ssize_t r;
  (void) arg;
  while ((r = mpg_read(0, &c, 1)) == 1) count(c);
  explore_require(r == -ECANCELED || r == -EBADF);
  over++;
}

static void waits_until(int deadline) {
  char c;
  int r = mpg_wait_fd(0, POLLIN, deadline);
  explore_require(r == POLLIN || r == -ETIMEDOUT);
  if (r == -ETIMEDOUT) {
    explore_require(mpg_read(0, &c, 1) == 1);
    count(c);
  }
  over++;
}

static void waits_or_is_canceled(int deadline) {
  int r = mpg_wait_fd(0, POLLIN, deadline);
  explore_require(r == -ETIMEDOUT || r == -ECANCELED || r == -EBADF);
  over++;
}

static void waits_again(int deadline) {
  waits_until(deadline);
  waits_until(1000); /* doesn't come */
}

static void closes(int arg) {
  (void) arg;
  results[explore_self()] = mpg_close(0);
  over++;
}

/* Another file under the number, with a byte for itself. */
static void closes_and_opens(int arg) {
  char c;
  (void) arg;
  explore_require(mpg_close(0) == 0);
  open_file();
  write_bytes(1);
  explore_require(mpg_read(0, &c, 1) == 1);
  count(c);
  explore_require(mpg_close(0) == 0);
  over++;
}

static bool is_closed(const void *arg) {
  (void) arg;
  return kernel.opened == 0;
}

/* The number is free for the kernel before the first close is through. */
static void opens_and_closes(int arg) {
  (void) arg;
  explore_await(is_closed, NULL);
  open_file();
  explore_require(mpg_close(0) == 0);
  over++;
}

/* ---- threads without a goroutine ---- */

static void writes(int times) {
  while (times--) write_bytes(1);
}
static void writes_two_at_once(int arg) {
  (void) arg;
  write_bytes(2);
}

static void writes_and_ends(int times) {
  writes(times);
  end_bytes();
}

/* Closed and opened again with nobody told, while somebody waits on trust. */
static bool is_trusted(const void *arg) {
  (void) arg;
  return got == 1 && chunk[0].trusted;
}
static void is_replaced(int arg) {
  (void) arg;
  explore_await(is_trusted, NULL);
  kernel.reports = kernel.edge = false;
  kernel.opened = ++opens;
  write_bytes(1);
  end_bytes();
}
static bool somebody_is_wrong(const void *arg) {
  (void) arg;
  return opens == 2 && trusted != NULL;
}
static void doubts(int arg) {
  (void) arg;
  for (;;) {
    struct mpgi_gqueue ready = {0};
    explore_await(somebody_is_wrong, NULL);
    mpgi_netpoll_doubt(&ready);
    mpgi_ready_batch(&ready);
  }
}

static void polls(int arg) {
  (void) arg;
  for (;;) {
    struct mpgi_gqueue ready = {0};
    explore_await(has_event, NULL);
    mpgi_netpoll(0, &ready);
    mpgi_ready_batch(&ready);
  }
}

static bool has_timer(const void *arg) {
  (void) arg;
  return p.timer_first == 10;
}
static void fires(int arg) {
  (void) arg;
  for (;;) {
    explore_await(has_timer, NULL);
    now = 10;
    mpgi_timers_run(&p, 10);
  }
}

/* [netpoll.break] The idle M sees what was published before a break. */
static _Atomic int notice;
static void publishes(int arg) {
  (void) arg;
  atomic_fetch_add(&notice, 1);
  mpgi_netpoll_break();
}
static void sleeps_in_epoll(int wanted) {
  while ((seen_published = atomic_load(&notice)) < wanted) {
    struct mpgi_gqueue ready = {0};
    mpgi_netpoll(-1, &ready);
  }
}

/* ---- setup ---- */

static void name_all(void) {
  static const char *const names[] = {"G0", "G1", "G2", "G3"};
  explore_name(&chunk[0].lock, 4, "lock");
  explore_name(&chunk[0].users, 4, "users");
  explore_name(&chunk[0].edge[0], 4, "edge.in");
  explore_name(&chunk[0].edge[1], 4, "edge.out");
  explore_name(&chunk[0].kind, 1, "kind");
  explore_name(&chunk[0].registered, 1, "registered");
  explore_name(&waiting, 4, "waiting");
  explore_name(&breaking, 4, "breaking");
  explore_name(&p.timer_first, 8, "timer_first");
  explore_name(&p.timer_lock, 4, "timer_lock");
  for (int t = 0; t < THREADS; t++) {
    explore_name(&gs[t], sizeof gs[t], names[t]);
    explore_name(&gs[t].io_over, 1, "over");
  }
}

static void setup(void) {
  setup_goroutines();
  for (int t = 0; t < THREADS; t++) ms[t].p = &p;
  atomic_store(&chunks[0], chunk);
  atomic_store(&table, chunks);
  atomic_store(&on, true);
  p.timers = heap;
  p.timers_cap = 4;
  atomic_store(&p.timer_first, INT64_MAX);
  mpgi_sched.allp[0] = &p;
  mpgi_sched.nallp = 1;
  kernel.opened = opens = 1;
  now = 1;
  explore_constant(&mpgi_stw, sizeof mpgi_stw);
  explore_constant(&mpgi_opt, sizeof mpgi_opt);
  explore_constant(&on, sizeof on);
  explore_constant(&table, sizeof table);
  explore_constant(chunks, sizeof chunks);
  explore_constant(p.runq, sizeof p.runq);
  explore_constant(&p.runq_head, 24);
  name_all();
}

static void setup_known(void) {
  setup();
  atomic_store(&chunk[0].kind, MPGI_PD_STREAM);
}

static void setup_old_file(void) { /* somebody registered it before */
  setup_known();
  kernel.reports = true;
  kernel.data = data_of(&chunk[0]);
  atomic_store(&chunk[0].registered, true);
}

static void setup_tcp(void) {
  setup_old_file();
  atomic_store(&chunk[0].kind, MPGI_PD_TCP);
}

static void setup_tcp_with_a_byte(void) { /* which was reported before */
  setup_tcp();
  kernel.bytes = 1;
}

static void setup_with_a_byte(void) {
  setup_old_file();
  kernel.bytes = 1;
  kernel.edge = true;
}

static void nothing_left(void) {
  explore_require(waiting == 0 && chunk[0].users == 0);
  explore_require(!chunk[0].first && !chunk[0].last && !chunk[0].closer);
  explore_require(p.ntimers == 0);
  for (int t = 0; t < THREADS; t++) explore_require(!readied[t]);
}

static void all_read(void) {
  nothing_left();
  explore_require(got == 2 && kernel.bytes == 0);
}

static void one_closed(void) {
  nothing_left();
  explore_require(!kernel.opened);
  explore_require(results[0] + results[1] == -EBADF);
}

static void both_closed(void) {
  nothing_left();
  explore_require(opens == 2 && !kernel.opened && results[0] == 0);
}

static void second_file_read(void) {
  nothing_left();
  explore_require(opens == 2 && !kernel.opened && got_from[2] >= 1);
}

/* ---- configurations ---- */

static const struct explore_config configs[] = {
    {.name = "netpoll.one_edge_serves_two_readers",
     .setup = setup_old_file,
     .thread = {{"reader", reads, 1, false},
                {"reader2", reads, 1, false},
                {"writer", writes_two_at_once, 0, false},
                {"poller", polls, 0, true}},
     .at_end = all_read},
    {.name = "netpoll.two_edges_one_reader",
     .setup = setup,
     .thread = {{"reader", reads, 2, false},
                {"writer", writes, 2, false},
                {"poller", polls, 0, true}},
     .at_end = all_read},
    {.name = "netpoll.two_pollers",
     .setup = setup_old_file,
     .thread = {{"reader", reads, 2, false},
                {"writer", writes, 2, false},
                {"poller", polls, 0, true},
                {"poller2", polls, 0, true}},
     .at_end = all_read},
    {.name = "netpoll.a_deadline_and_an_edge",
     .setup = setup_old_file,
     .thread = {{"waiter", waits_until, 10, false},
                {"writer", writes, 1, false},
                {"poller", polls, 0, true},
                {"timers", fires, 0, true}},
     .at_end = nothing_left},
    {.name = "netpoll.a_wait_after_a_wait",
     .setup = setup_old_file,
     .thread = {{"waiter", waits_again, 10, false},
                {"writer", writes, 2, false},
                {"poller", polls, 0, true},
                {"timers", fires, 0, true}},
     .at_end = nothing_left},
    {.name = "netpoll.a_close_wakes_readers",
     .setup = setup_old_file,
     .thread = {{"closer", closes, 0, false},
                {"reader", reads_to_the_end, 0, false},
                {"writer", writes, 1, false},
                {"poller", polls, 0, true}},
     .at_end = nothing_left},
    {.name = "netpoll.one_of_two_closes",
     .setup = setup_known,
     .thread = {{"closer", closes, 0, false},
                {"closer2", closes, 0, false},
                {"reader", reads_to_the_end, 0, false},
                {"poller", polls, 0, true}},
     .at_end = one_closed},
    {.name = "netpoll.a_number_used_again",
     .setup = setup_old_file,
     .thread = {{"closer", closes_and_opens, 0, false},
                {"writer", writes, 1, false},
                {"poller", polls, 0, true}},
     .at_end = second_file_read},
    {.name = "netpoll.a_number_opened_before_its_close_ends",
     .setup = setup_old_file,
     .thread = {{"closer", closes, 0, false},
                {"opener", opens_and_closes, 0, false},
                {"poller", polls, 0, true}},
     .at_end = both_closed},
    {.name = "netpoll.the_idle_one_sees_what_was_published",
     .setup = setup,
     .thread = {{"poller", sleeps_in_epoll, 2, false},
                {"publisher", publishes, 0, false},
                {"publisher2", publishes, 0, false}}},
    {.name = "netpoll.two_look_at_it_at_once",
     .setup = setup,
     .thread = {{"reader", reads, 1, false},
                {"reader2", reads, 1, false},
                {"writer", writes, 2, false},
                {"poller", polls, 0, true}},
     .at_end = all_read},
    {.name = "netpoll.a_close_wakes_all",
     .setup = setup_with_a_byte,
     .thread = {{"closer", closes, 0, false},
                {"reader", reads_to_the_end, 0, false},
                {"reader2", reads_to_the_end, 0, false},
                {"poller", polls, 0, true}},
     .at_end = nothing_left},
    {.name = "netpoll.a_deadline_and_a_close",
     .setup = setup_old_file,
     .thread = {{"waiter", waits_or_is_canceled, 10, false},
                {"closer", closes, 0, false},
                {"timers", fires, 0, true}},
     .at_end = nothing_left},
    {.name = "netpoll.bytes_and_the_end_reach_who_trusts",
     .setup = setup_tcp,
     .thread = {{"reader", reads_two_at_a_time, 0, false},
                {"writer", writes_and_ends, 2, false},
                {"poller", polls, 0, true}},
     .at_end = all_read},
    {.name = "netpoll.a_wrong_trust_is_doubted",
     .setup = setup_tcp_with_a_byte,
     .thread = {{"reader", reads_two_at_a_time, 0, false},
                {"replacer", is_replaced, 0, false},
                {"poller", polls, 0, true},
                {"doubter", doubts, 0, true}},
     .at_end = all_read},
};

static const struct {
  int config;
  struct explore_mutant mutant;
} wrong[] = {
    {0, {"report_locked", EXPLORE_RMW, EXPLORE_SKIP, NULL}},
    {3, {"win", EXPLORE_CAS, EXPLORE_TEAR, NULL}},
    {5, {"mpgi_pd_leave", EXPLORE_RMW, EXPLORE_TEAR, NULL}},
    {5, {"mpgi_pd_enter", EXPLORE_RMW, EXPLORE_TEAR, NULL}},
    {6, {"mpgi_pd_close_begin", EXPLORE_RMW, EXPLORE_TEAR, NULL}},
    {9, {"mpgi_netpoll", EXPLORE_STORE, EXPLORE_SKIP, &breaking}},
    {9, {"mpgi_netpoll", EXPLORE_STORE, EXPLORE_RELAX, &breaking}},
    {13, {"report", EXPLORE_STORE, EXPLORE_SKIP, &chunk[0].telling}},
};

MODEL_MAIN_TSO("")

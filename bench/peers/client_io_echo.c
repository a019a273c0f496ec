/* client_io_echo.c - the client of the echo servers.
 *
 *   echo  conns connections, n messages altogether.  Without rate each
 *         connection has one under way all the time; with it, rate messages a
 *         second are sent, to each connection in turn, when they are due,
 *         whether earlier ones have come back or not.
 *
 * Every byte that comes back is compared.  Printed: CPU of the server (process
 * pid) a message, and latencies, from when a message was due.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "../work.h"

#define MESSAGE_WORDS 8
#define MESSAGE_BYTES (MESSAGE_WORDS * sizeof(uint64_t))
#define UNDER_WAY 1024 /* most messages of a connection */

struct connection {
  int fd;
  uint64_t out, in;    /* states of the contents' generator */
  uint32_t sent, back; /* messages; their difference is under way */
  int64_t *due;        /* ring of UNDER_WAY, by message */
  size_t have;         /* bytes of a message not complete */
  char part[MESSAGE_BYTES];
};

static struct connection *connections;
static long conns, messages, sent, back;
static int poll_fd;
static uint64_t sum;
static struct work_samples latency;

/* ---- messages ---- */

static void make_message(uint64_t *state, uint64_t words[MESSAGE_WORDS]) {
  for (int i = 0; i < MESSAGE_WORDS; i++)
    words[i] = (uint64_t) work_random(state) << 32 | work_random(state);
}

static void send_message(struct connection *c, int64_t due) {
  uint64_t words[MESSAGE_WORDS];
  if (c->sent - c->back == UNDER_WAY) work_fail("the server doesn't answer");
  make_message(&c->out, words);
  c->due[c->sent++ % UNDER_WAY] = due;
  sent++;
  if (send(c->fd, words, MESSAGE_BYTES, MSG_NOSIGNAL) != MESSAGE_BYTES)
    work_fail("send failed");
}

/* part is complete. */
static void got_message(struct connection *c, int64_t now) {
  uint64_t words[MESSAGE_WORDS];
  make_message(&c->in, words);
  if (memcmp(words, c->part, MESSAGE_BYTES) != 0)
    work_fail("another message came back");
  sum += words[0] & UINT32_MAX;
  work_add(&latency, (double) (now - c->due[c->back++ % UNDER_WAY]));
  back++;
  c->have = 0;
}

static void receive(struct connection *c) {
  char buf[16 * MESSAGE_BYTES];
  ssize_t n = recv(c->fd, buf, sizeof buf, 0);
  if (n <= 0) work_fail("the server hung up");
  int64_t now = work_now();
  for (ssize_t at = 0; at < n;) {
    size_t more = MESSAGE_BYTES - c->have;
    if (more > (size_t) (n - at)) more = (size_t) (n - at);
    memcpy(c->part + c->have, buf + at, more);
    c->have += more;
    at += (ssize_t) more;
    if (c->have == MESSAGE_BYTES) got_message(c, now);
  }
}

/* ---- connections ---- */

static void open_connection(struct connection *c, uint64_t seed, int port) {
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_port = htons((uint16_t) port),
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct epoll_event e = {EPOLLIN, {.ptr = c}};
  int one = 1;
  c->out = c->in = seed;
  c->due = calloc(UNDER_WAY, sizeof *c->due);
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (!c->due || c->fd < 0 ||
      connect(c->fd, (struct sockaddr *) &a, sizeof a) != 0 ||
      epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e) != 0)
    work_fail("connect failed");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void open_connections(void) {
  conns = work_arg("conns", 1000);
  poll_fd = epoll_create1(EPOLL_CLOEXEC);
  connections = calloc((size_t) conns, sizeof *connections);
  if (!connections || poll_fd < 0) work_fail("out of memory");
  for (long i = 0; i < conns; i++)
    open_connection(&connections[i], (uint64_t) i + 1,
                    (int) work_arg("port", 0));
}

/* ---- the traffic ---- */

/* Receives what there is until the time comes (< 0: until something has). */
static void receive_some(int64_t until) {
  struct epoll_event events[128];
  struct timespec t = {0, 0};
  int64_t now = work_now();
  if (until > now) t.tv_sec = (until - now) / 1000000000;
  if (until > now) t.tv_nsec = (until - now) % 1000000000;
  int n = epoll_pwait2(poll_fd, events, 128, until < 0 ? NULL : &t, NULL);
  if (n < 0 && errno != EINTR) work_fail("epoll failed");
  for (int i = 0; i < n; i++) receive(events[i].data.ptr);
}

/* One message a connection under way, until each has sent rounds. */
static void send_by_turns(uint32_t rounds) {
  messages = conns * (long) rounds;
  for (long i = 0; i < conns; i++) send_message(&connections[i], work_now());
  while (back < messages) {
    struct epoll_event events[128];
    int n = epoll_wait(poll_fd, events, 128, -1);
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      receive(c);
      if (c->back == c->sent && c->sent < rounds) send_message(c, work_now());
    }
  }
}

static void send_at_rate(uint32_t rounds, long rate) {
  messages = conns * (long) rounds;
  int64_t start = work_now();
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  while (back < messages) {
    int64_t due = start + sent * 1000000000 / rate;
    if (sent == messages)
      receive_some(-1);
    else if (due > work_now())
      receive_some(due);
    else
      send_message(&connections[sent % conns], due);
  }
}

/* Time from before a connection is served doesn't count. */
static void warm_up(void) {
  send_by_turns(1);
  for (long i = 0; i < conns; i++)
    connections[i].sent = connections[i].back = 0;
  sent = back = 0;
  sum = 0;
  latency.n = 0;
}

/* CPU time of the server, user and system. */
static double server_us(void) {
  clockid_t clock;
  struct timespec t;
  if (clock_getcpuclockid((pid_t) work_arg("pid", 0), &clock) != 0 ||
      clock_gettime(clock, &t) != 0)
    work_fail("no server");
  return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static void echo_work(void) {
  long rate = work_arg("rate", 0);
  open_connections();
  uint32_t rounds = (uint32_t) (work_arg("n", 100000) / conns);
  warm_up();
  double before = server_us();
  int64_t start = work_now();
  if (rate > 0)
    send_at_rate(rounds, rate);
  else
    send_by_turns(rounds);
  double seconds = (double) (work_now() - start) / 1e9;
  work_print("cpu_us", (server_us() - before) / (double) messages);
  work_print("kmsg_s", (double) messages / seconds / 1e3);
  work_print_samples("latency", &latency, 1e6);
  work_check(sum);
}

static const struct work works[] = {{"echo", echo_work}};

WORK_MAIN(works)

/* io_echo_stress.c - many connections that echo, sockets and pipes, with
 * collections and stops as often as can be; no byte may be lost or changed.
 *
 * Each client sends a stream of its own in pieces of random length and checks
 * what comes back, now and then with a deadline first.  Some connections are
 * shut down in the middle.  Then it begins anew, so that descriptor numbers are
 * used again and again.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "../support/listener.h"
#include "../support/stress.h"

#define CLIENTS 40
#define PIECE_MAX 20000

static mpg_waitgroup done, echoes;
static _Atomic uint64_t bytes, connections;

/* ---- the server's side ---- */

/* Under MPG_DEBUG=stackmove=1 they are swapped out at every park. */
static const struct mpg_go_options movable = {.size = sizeof(movable),
                                              .flags = MPG_GO_MOVABLE};

struct echo_ends {
  int in, out;
};

static void echo(void *arg) {
  struct echo_ends *e = arg;
  unsigned char *buf = mpg_alloc_noscan(4096);
  ssize_t n;
  while ((n = mpg_read(e->in, buf, 4096)) > 0)
    if (mpg_write(e->out, buf, (size_t) n) != n) break;
  CHECK(n >= 0 || n == -ECONNRESET || n == -EPIPE);
  CHECK_EQ(mpg_close(e->in), 0);
  if (e->out != e->in) CHECK_EQ(mpg_close(e->out), 0);
  mpg_waitgroup_done(&echoes);
}

static void start_echo(int in, int out) {
  struct echo_ends *e = mpg_alloc(sizeof(*e));
  *e = (struct echo_ends){in, out};
  mpg_waitgroup_add(&echoes, 1);
  CHECK_EQ(mpg_go_with(&movable, echo, e), 0);
}

static void serve(void *arg) {
  (void) arg;
  int fd;
  while ((fd = mpg_accept(listener, NULL, NULL)) >= 0) start_echo(fd, fd);
  CHECK_EQ(fd, -ECANCELED);
  mpg_waitgroup_done(&echoes);
}

/* ---- the client's side ---- */

struct stream {
  int out, in; /* to and from the echo; one number for sockets */
  uint64_t sent_rng, back_rng;
  size_t sent, back, piece; /* bytes */
  _Atomic bool gone;        /* shut down by somebody else */
  mpg_waitgroup others;     /* goroutines that use it, but the client */
};

static void connect_stream(struct stream *s, uint64_t *rng) {
  int a[2], b[2];
  switch (stress_below(rng, 3)) {
  case 0:
    CHECK_EQ(pipe2(a, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(b, O_CLOEXEC), 0);
    s->out = a[1], s->in = b[0];
    start_echo(a[0], b[1]);
    return;
  case 1:
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a), 0);
    s->out = s->in = a[0];
    start_echo(a[1], a[1]);
    return;
  default:
    s->out = s->in = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_GE(s->in, 0);
    CHECK_EQ(mpg_connect(s->in, (struct sockaddr *) &at, sizeof(at)), 0);
  }
}

static void fill(unsigned char *buf, size_t n, uint64_t *rng) {
  for (size_t i = 0; i < n; i++) buf[i] = (unsigned char) stress_random(rng);
}

static void send_pieces(void *arg) {
  struct stream *s = arg;
  unsigned char *buf = mpg_alloc_noscan(PIECE_MAX);
  for (size_t at_byte = 0; at_byte < s->sent;) {
    size_t n = s->sent - at_byte < s->piece ? s->sent - at_byte : s->piece;
    fill(buf, n, &s->sent_rng);
    ssize_t r = mpg_write(s->out, buf, n);
    if (r != (ssize_t) n && atomic_load(&s->gone)) break;
    CHECK_EQ(r, n);
    at_byte += n;
  }
  mpg_waitgroup_done(&s->others);
}

/* What came back is what was sent. */
static void check_back(struct stream *s, unsigned char *buf, size_t n) {
  for (size_t i = 0; i < n; i++)
    CHECK_EQ(buf[i], (unsigned char) stress_random(&s->back_rng));
  s->back += n;
  atomic_fetch_add(&bytes, n);
}

static void receive(struct stream *s, uint64_t *rng) {
  unsigned char *buf = mpg_alloc_noscan(PIECE_MAX);
  while (s->back < s->sent) {
    if (stress_below(rng, 4) == 0) {
      int64_t deadline = mpg_now() + (int64_t) stress_below(rng, 100000);
      int r = mpg_wait_fd(s->in, POLLIN, deadline);
      CHECK(r > 0 || r == -ETIMEDOUT);
    }
    ssize_t n = mpg_read(s->in, buf, 1 + stress_below(rng, PIECE_MAX - 1));
    if (n <= 0 && atomic_load(&s->gone)) break;
    CHECK_GT(n, 0);
    check_back(s, buf, (size_t) n);
  }
}

static void shut_down_soon(void *arg) {
  struct stream *s = arg;
  mpg_sleep((int64_t) (s->sent % 500000));
  atomic_store(&s->gone, true);
  shutdown(s->in, SHUT_RDWR); /* it may be over already */
  mpg_waitgroup_done(&s->others);
}

static void client(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  while (!stress_over()) {
    struct stream *s = mpg_alloc(sizeof(*s));
    connect_stream(s, &rng);
    s->sent = 1 + stress_below(&rng, 200000);
    s->piece = 1 + stress_below(&rng, PIECE_MAX - 1);
    s->sent_rng = s->back_rng = stress_random(&rng);
    bool cut_off = s->in == s->out && stress_below(&rng, 8) == 0;
    mpg_waitgroup_add(&s->others, 1 + cut_off);
    CHECK_GO(send_pieces, s);
    if (cut_off) CHECK_GO(shut_down_soon, s);
    receive(s, &rng);
    mpg_waitgroup_wait(&s->others);
    if (!cut_off) CHECK_EQ(s->back, s->sent);
    if (s->out != s->in) CHECK_EQ(mpg_close(s->out), 0);
    CHECK_EQ(mpg_close(s->in), 0);
    atomic_fetch_add(&connections, 1);
  }
  mpg_waitgroup_done(&done);
}

/* ---- everything at once ---- */

static void stop_often(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  while (!stress_over()) {
    if (stress_below(&rng, 4) == 0)
      stress_procs(&rng, 8);
    else
      mpg_gc();
    mpg_sleep((int64_t) stress_below(&rng, 3000000));
  }
  mpg_waitgroup_done(&done);
}

static void start(void *arg) {
  (void) arg;
  mpg_gomaxprocs(stress.procs ? (int) stress.procs : 4);
  open_listener(1000);
  mpg_waitgroup_add(&done, CLIENTS + 1);
  mpg_waitgroup_add(&echoes, 1);
  CHECK_GO(serve, NULL);
  for (uintptr_t i = 0; i < CLIENTS; i++) CHECK_GO(client, (void *) i);
  CHECK_GO(stop_often, (void *) (uintptr_t) 1000);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(mpg_close(listener), 0);
  mpg_waitgroup_wait(&echoes);
  CHECK_GT(atomic_load(&bytes), 0);
  CHECK_GT(atomic_load(&connections), 0);
}

int main(int argc, char **argv) { return stress_main(argc, argv, start); }

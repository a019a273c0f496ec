/* io_connections_stress.c - 10,000 connections, or as many as descriptors
 * allow, each sending and getting back, with the world stopped every 100 ms on
 * both sides, which are processes of their own.  Every byte is checked.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "../support/listener.h"
#include "../support/stress.h"

#define MESSAGE_BYTES 100
#define STOP_NS (100 * 1000 * 1000)

static mpg_waitgroup clients, servers;
static _Atomic uint64_t messages;
static uint64_t stops; /* of this process, by collections */
static pid_t client_process;

static void echo(void *arg) {
  int fd = (int) (intptr_t) arg;
  char buf[MESSAGE_BYTES];
  ssize_t n;
  while ((n = mpg_read(fd, buf, sizeof(buf))) > 0)
    CHECK_EQ(mpg_write(fd, buf, (size_t) n), n);
  CHECK_EQ(n, 0);
  CHECK_EQ(mpg_close(fd), 0);
  mpg_waitgroup_done(&servers);
}

static void serve(void *arg) {
  (void) arg;
  int fd;
  while ((fd = mpg_accept(listener, NULL, NULL)) >= 0) {
    mpg_waitgroup_add(&servers, 1);
    CHECK_GO(echo, (void *) (intptr_t) fd);
  }
  CHECK_EQ(fd, -ECANCELED);
  mpg_waitgroup_done(&servers);
}

/* One message there and back. */
static void exchange(int fd, uint64_t *rng) {
  unsigned char out[MESSAGE_BYTES], in[MESSAGE_BYTES];
  size_t n = 1 + stress_below(rng, MESSAGE_BYTES), got = 0;
  for (size_t i = 0; i < n; i++) out[i] = (unsigned char) stress_random(rng);
  CHECK_EQ(mpg_write(fd, out, n), n);
  while (got < n) {
    ssize_t r = mpg_read(fd, in + got, n - got);
    CHECK_GT(r, 0);
    got += (size_t) r;
  }
  CHECK(memcmp(out, in, n) == 0);
  atomic_fetch_add_explicit(&messages, 1, memory_order_relaxed);
}

static void client(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_GE(fd, 0);
  CHECK_EQ(mpg_connect(fd, (struct sockaddr *) &at, sizeof(at)), 0);
  do exchange(fd, &rng);
  while (!stress_over());
  CHECK_EQ(mpg_close(fd), 0);
  mpg_waitgroup_done(&clients);
}

static uint64_t connections(void) {
  struct rlimit limit;
  CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  uint64_t n = limit.rlim_cur > 10100 ? 10000 : limit.rlim_cur - 100;
  return stress.seconds < 10 && n > 2000 ? 2000 : n;
}

/* One begins STOP_NS after the last one began, however long that took. */
static void stop_the_world(void) {
  static int64_t next;
  int64_t now = mpg_now();
  if (next == 0) next = now;
  next = next + STOP_NS > now ? next + STOP_NS : now;
  mpg_sleep(next - now);
  mpg_gc();
  stops++;
}

static void run_clients(void *arg) {
  (void) arg;
  uint64_t n = connections();
  if (stress.procs) mpg_gomaxprocs((int) stress.procs);
  mpg_waitgroup_add(&clients, (int) n);
  for (uint64_t i = 0; i < n; i++) CHECK_GO(client, (void *) i);
  while (!stress_over()) stop_the_world();
  mpg_waitgroup_wait(&clients);
  printf("%llu connections, %llu messages, %llu stops\n",
         (unsigned long long) n, (unsigned long long) atomic_load(&messages),
         (unsigned long long) stops);
  CHECK_GE(atomic_load(&messages), n);
}

/* Until the clients' process has ended. */
static void run_server(void *arg) {
  int status = -1;
  (void) arg;
  connections();
  if (stress.procs) mpg_gomaxprocs((int) stress.procs);
  mpg_waitgroup_add(&servers, 1);
  CHECK_GO(serve, NULL);
  while (waitpid(client_process, &status, WNOHANG) == 0) stop_the_world();
  CHECK_EQ(status, 0);
  CHECK_EQ(mpg_close(listener), 0);
  mpg_waitgroup_wait(&servers);
  printf("server: %llu stops\n", (unsigned long long) stops);
}

int main(int argc, char **argv) {
  open_listener(4096);
  fflush(stdout);
  client_process = fork();
  CHECK_GE(client_process, 0);
  return stress_main(argc, argv, client_process ? run_server : run_clients);
}

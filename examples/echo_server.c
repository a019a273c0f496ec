/* echo_server.c - sends back what it gets, a goroutine for each connection.
 *
 *   echo_server --port 7007
 *
 * With --loops goroutines that never call anything run beside the connections:
 * messages go through all the same.
 */
#include "cli.h"
#include "loops.h"
#include "server.h"

static long buffer_bytes = 4096, loops;
static struct server server;

static void echo(int fd) {
  char *buf = mpg_alloc_noscan((size_t) buffer_bytes);
  if (!buf) return;
  for (;;) {
    ssize_t n = mpg_read(fd, buf, (size_t) buffer_bytes);
    if (n <= 0 || mpg_write(fd, buf, (size_t) n) != n) return;
    atomic_fetch_add_explicit(&server.requests, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&server.bytes, (uint64_t) n,
                              memory_order_relaxed);
  }
}

static void start_loops(void) {
  for (long i = 0; i < loops; i++)
    if (mpg_go(loop_empty, NULL) != 0) fprintf(stderr, "no loop started\n");
}

static const struct cli_option options[] = {
    SERVER_PORT(server),
    SERVER_PROCS(server),
    SERVER_SECONDS(server),
    SERVER_QUIET(server),
    SERVER_TRACE(server),
    {"buffer", CLI_NUMBER, &buffer_bytes, 1, 1 << 20,
     "bytes read at a time, for each connection"},
    {"loops", CLI_NUMBER, &loops, 0, 1024,
     "goroutines that do nothing but hold their P"},
};

int main(int argc, char **argv) {
  struct cli cli = {.program = "echo_server",
                    .usage = "",
                    .options = options,
                    .n = sizeof(options) / sizeof(*options)};
  server = (struct server){.name = "echo_server",
                           .connection = echo,
                           .start = start_loops,
                           .port = 7007};
  int go_on = cli_parse(&cli, argc, argv);
  if (go_on <= 0) return go_on < 0 ? 2 : 0;
  return server_run(&server);
}

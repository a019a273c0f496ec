/* http_hello.c - a small HTTP/1.1 server that says hello.
 *
 * A goroutine for each connection, kept alive as HTTP/1.1 has it; pipelined
 * requests are answered in order.  GET and HEAD of "/"; requests with a body
 * are refused.
 *
 *   http_hello --port 8080 &
 *   wrk -c 100 http://127.0.0.1:8080/
 */
#include <strings.h>

#include "cli.h"
#include "server.h"

#define HEAD_BYTES 8192

static struct server server;

/* Up to and including the empty line; 0: it isn't there yet. */
static size_t head_bytes(const char *buf, size_t n) {
  const char *end = memmem(buf, n, "\r\n\r\n", 4);
  return end ? (size_t) (end - buf) + 4 : 0;
}

/* The value of a header in the lines after the first; NULL: none. */
static const char *header(const char *head, size_t n, const char *name,
                          size_t *bytes) {
  size_t len = strlen(name);
  const char *end = head + n - 2, *line = memchr(head, '\n', n);
  while (line && ++line < end) {
    const char *next = memchr(line, '\r', (size_t) (end - line));
    if (!next) next = end;
    if ((size_t) (next - line) > len && line[len] == ':' &&
        strncasecmp(line, name, len) == 0) {
      const char *value = line + len + 1;
      while (value < next && (*value == ' ' || *value == '\t')) value++;
      *bytes = (size_t) (next - value);
      return value;
    }
    line = memchr(line, '\n', (size_t) (end - line));
  }
  return NULL;
}

static bool header_is(const char *head, size_t n, const char *name,
                      const char *wanted) {
  size_t bytes;
  const char *value = header(head, n, name, &bytes);
  return value && bytes == strlen(wanted) &&
         strncasecmp(value, wanted, bytes) == 0;
}

static bool has_body(const char *head, size_t n) {
  size_t bytes;
  return header(head, n, "Transfer-Encoding", &bytes) ||
         (header(head, n, "Content-Length", &bytes) &&
          !header_is(head, n, "Content-Length", "0"));
}

struct answer {
  const char *status, *text;
  bool keep, no_text;
};

static bool starts(const char *head, const char *with) {
  return strncmp(head, with, strlen(with)) == 0;
}

/* head is a complete one, of n bytes. */
static struct answer answer_to(const char *head, size_t n) {
  struct answer a = {"400 Bad Request", "bad request\n", false, false};
  const char *line_end = memchr(head, '\r', n);
  const char *path = memchr(head, ' ', (size_t) (line_end - head));
  if (!path) return a;
  path++;
  const char *version = memchr(path, ' ', (size_t) (line_end - path));
  if (!version || !starts(version + 1, "HTTP/1.")) return a;
  bool old = version[8] == '0';
  a.keep = old ? header_is(head, n, "Connection", "keep-alive")
               : !header_is(head, n, "Connection", "close");
  a.no_text = starts(head, "HEAD ");
  if (has_body(head, n))
    return (struct answer){"413 Content Too Large", "no bodies\n", false,
                           a.no_text};
  if (!a.no_text && !starts(head, "GET ")) {
    a.status = "405 Method Not Allowed";
    a.text = "GET or HEAD\n";
  } else if (version - path != 1 || *path != '/') {
    a.status = "404 Not Found";
    a.text = "not here\n";
  } else {
    a.status = "200 OK";
    a.text = "hello, world\n";
  }
  return a;
}

/* False: the connection is over. */
static bool send_answer(int fd, const struct answer *a) {
  char out[256];
  int n = snprintf(out, sizeof(out),
                   "HTTP/1.1 %s\r\nContent-Type: text/plain\r\n"
                   "Content-Length: %zu\r\n%s\r\n%s",
                   a->status, strlen(a->text),
                   a->keep ? "" : "Connection: close\r\n",
                   a->no_text ? "" : a->text);
  atomic_fetch_add_explicit(&server.requests, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&server.bytes, (uint64_t) n, memory_order_relaxed);
  return mpg_write(fd, out, (size_t) n) == n && a->keep;
}

/* The last answer must not be lost because the client goes on sending: closing
 * with something unread would reset the connection. */
static void end_gently(int fd, char *buf) {
  int64_t deadline = mpg_now() + 1000 * 1000 * 1000;
  shutdown(fd, SHUT_WR);
  while (mpg_wait_fd(fd, POLLIN, deadline) > 0 &&
         mpg_read(fd, buf, HEAD_BYTES) > 0)
    continue;
}

static void serve(int fd) {
  static const struct answer too_long = {"431 Request Header Fields Too Large",
                                         "too long\n", false, false};
  char *buf = mpg_alloc_noscan(HEAD_BYTES);
  size_t n = 0;
  if (!buf) return;
  for (;;) {
    size_t head = head_bytes(buf, n);
    if (head) {
      struct answer a = answer_to(buf, head);
      if (!send_answer(fd, &a)) {
        end_gently(fd, buf);
        return;
      }
      n -= head;
      memmove(buf, buf + head, n);
      continue;
    }
    if (n == HEAD_BYTES) {
      send_answer(fd, &too_long);
      end_gently(fd, buf);
      return;
    }
    ssize_t r = mpg_read(fd, buf + n, HEAD_BYTES - n);
    if (r <= 0) return;
    n += (size_t) r;
  }
}

static const struct cli_option options[] = {
    SERVER_PORT(server), SERVER_PROCS(server), SERVER_SECONDS(server),
    SERVER_QUIET(server), SERVER_TRACE(server)};

int main(int argc, char **argv) {
  struct cli cli = {.program = "http_hello",
                    .usage = "",
                    .options = options,
                    .n = sizeof(options) / sizeof(*options)};
  server =
      (struct server){.name = "http_hello", .connection = serve, .port = 8080};
  int go_on = cli_parse(&cli, argc, argv);
  if (go_on <= 0) return go_on < 0 ? 2 : 0;
  return server_run(&server);
}

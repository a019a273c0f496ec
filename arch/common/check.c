/* check.c - formatted output, failed checks and fatal errors.
 *
 * Everything here works in a signal handler, with the world stopped and with
 * any lock held: no allocation, no lock, no stdio, no errno.  Output goes to
 * the descriptor through mpgi_os_write.
 *
 * Dying: the first thread to die prints, calls the hook (tracebacks) and
 * leaves.  A second thread prints its message too, then gives the first one
 * time to finish its tracebacks.  A death inside the hook, on the same
 * thread, leaves at once.
 *
 *   dying_tid   0, or the thread that died first; written once, by CAS
 */
#include <arch/common/check.h>
#include <arch/common/options.h>
#include <arch/os.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 1024
#define EXIT_STATUS 2
#define TRACEBACK_CRASH 4 /* of MPG_TRACEBACK */
/* How long a second dying thread waits for the first one's tracebacks. */
#define DYING_WAIT_NS ((int64_t) 5000000000)

void (*mpgi_fatal_hook)(int fd);
void (*mpgi_fatal_intercept)(const char *message);

/* ---- formatting ---- */

/* Where characters go: a buffer, emptied to fd when full if fd >= 0. */
struct sink {
  char *buf;
  size_t cap, len;
  int fd;
};

static void sink_put(struct sink *s, char c) {
  if (s->len == s->cap) {
    if (s->fd < 0) return;
    mpgi_os_write(s->fd, s->buf, s->len);
    s->len = 0;
  }
  s->buf[s->len++] = c;
}

static void sink_pad(struct sink *s, char c, int n) {
  while (n-- > 0) sink_put(s, c);
}

/* One conversion specification. */
struct spec {
  bool left, zero;
  int width;     /* minimum characters */
  int precision; /* of %s: maximum characters; -1: none */
  int longs;     /* l: 1, ll: 2, z: 3 */
};

static void put_string(struct sink *s, const struct spec *sp, const char *str) {
  int len = 0;
  if (!str) str = "(null)";
  while (str[len] && (sp->precision < 0 || len < sp->precision)) len++;
  if (!sp->left) sink_pad(s, ' ', sp->width - len);
  for (int i = 0; i < len; i++) sink_put(s, str[i]);
  if (sp->left) sink_pad(s, ' ', sp->width - len);
}

static void put_number(struct sink *s, const struct spec *sp, uint64_t v,
                       unsigned base, const char *sign) {
  char digits[24];
  int n = 0;
  do {
    digits[n++] = "0123456789abcdef"[v % base];
    v /= base;
  } while (v);
  int fill = sp->width - n - (int) strlen(sign);
  if (!sp->left && !sp->zero) sink_pad(s, ' ', fill);
  for (; *sign; sign++) sink_put(s, *sign);
  if (!sp->left && sp->zero) sink_pad(s, '0', fill);
  while (n) sink_put(s, digits[--n]);
  if (sp->left) sink_pad(s, ' ', fill);
}

/* A number or '*' at *fmt; *fmt moves beyond it. */
static int parse_count(const char **fmt, va_list *ap) {
  int n = 0;
  if (**fmt == '*') {
    ++*fmt;
    return va_arg(*ap, int);
  }
  while (**fmt >= '0' && **fmt <= '9') {
    if (n < INT_MAX / 16) n = n * 10 + (**fmt - '0');
    ++*fmt;
  }
  return n;
}

static struct spec parse_spec(const char **fmt, va_list *ap) {
  struct spec sp = {.precision = -1};
  for (; **fmt == '-' || **fmt == '0'; ++*fmt) {
    if (**fmt == '-')
      sp.left = true;
    else
      sp.zero = true;
  }
  sp.width = parse_count(fmt, ap);
  if (sp.width < 0) {
    sp.left = true;
    sp.width = sp.width == INT_MIN ? INT_MAX : -sp.width;
  }
  if (**fmt == '.') {
    ++*fmt;
    sp.precision = parse_count(fmt, ap);
  }
  for (; **fmt == 'l'; ++*fmt) sp.longs++;
  if (**fmt == 'z') {
    sp.longs = 3;
    ++*fmt;
  }
  return sp;
}

static int64_t arg_signed(const struct spec *sp, va_list *ap) {
  return sp->longs ? va_arg(*ap, int64_t) : va_arg(*ap, int);
}

static uint64_t arg_unsigned(const struct spec *sp, va_list *ap) {
  return sp->longs ? va_arg(*ap, uint64_t) : va_arg(*ap, unsigned);
}

/* l, ll and z are all 64 bits wide here. */
_Static_assert(sizeof(long) == 8 && sizeof(size_t) == 8, "LP64");

static void put_conversion(struct sink *s, const struct spec *sp, char c,
                           va_list *ap) {
  int64_t d;
  switch (c) {
  case 's': put_string(s, sp, va_arg(*ap, const char *)); break;
  case 'c': sink_put(s, (char) va_arg(*ap, int)); break;
  case 'd':
  case 'i':
    d = arg_signed(sp, ap);
    put_number(s, sp, d < 0 ? 0 - (uint64_t) d : (uint64_t) d, 10,
               d < 0 ? "-" : "");
    break;
  case 'u': put_number(s, sp, arg_unsigned(sp, ap), 10, ""); break;
  case 'x': put_number(s, sp, arg_unsigned(sp, ap), 16, ""); break;
  case 'p':
    put_number(s, sp, (uint64_t) (uintptr_t) va_arg(*ap, void *), 16, "0x");
    break;
  case '%': sink_put(s, '%'); break;
  default: /* unknown: show it rather than guess */
    sink_put(s, '%');
    sink_put(s, c);
  }
}

static void format(struct sink *s, const char *fmt, va_list ap) {
  va_list args;
  va_copy(args, ap);
  while (*fmt) {
    if (*fmt != '%') {
      sink_put(s, *fmt++);
      continue;
    }
    fmt++;
    struct spec sp = parse_spec(&fmt, &args);
    if (!*fmt) break;
    put_conversion(s, &sp, *fmt++, &args);
  }
  va_end(args);
}

int mpgi_vformat(char *buf, size_t bytes, const char *fmt, va_list ap) {
  MPG_ASSERT(bytes > 0 && bytes <= INT_MAX);
  struct sink s = {buf, bytes - 1, 0, -1};
  format(&s, fmt, ap);
  buf[s.len] = 0;
  MPG_ASSERT_INTERNAL(s.len < bytes);
  return (int) s.len;
}

int mpgi_format(char *buf, size_t bytes, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  int n = mpgi_vformat(buf, bytes, fmt, ap);
  va_end(ap);
  return n;
}

static void print(int fd, const char *fmt, va_list ap) {
  char line[LINE_BYTES];
  struct sink s = {line, sizeof line, 0, fd};
  format(&s, fmt, ap);
  mpgi_os_write(fd, line, s.len);
}

void mpgi_print(int fd, const char *fmt, ...) {
  MPG_ASSERT(fd >= 0);
  va_list ap;
  va_start(ap, fmt);
  print(fd, fmt, ap);
  va_end(ap);
}

/* ---- dying ---- */

static _Atomic int dying_tid;

bool mpgi_die_first(void) {
  int none = 0, self = mpgi_os_tid();
  if (atomic_compare_exchange_strong(&dying_tid, &none, self)) return true;
  if (none != self) {
    int64_t end = mpgi_os_now() + DYING_WAIT_NS;
    while (mpgi_os_now() < end) mpgi_os_sleep(DYING_WAIT_NS / 100);
  }
  return false;
}

static void hook_call(void) {
  if (mpgi_fatal_hook) mpgi_fatal_hook(STDERR_FILENO);
}

static void report(const char *message) {
  if (mpgi_fatal_intercept) mpgi_fatal_intercept(message);
  mpgi_print(STDERR_FILENO, "fatal: %s\n", message);
}

void mpgi_check_failed(const char *cond, const char *file, int line,
                       const char *func) {
  char message[LINE_BYTES];
  mpgi_format(message, sizeof message, "check failed: %s (%s:%d, %s)", cond,
              file, line, func);
  report(message);
  if (mpgi_die_first()) hook_call();
  abort();
}

void mpgi_fatal(const char *fmt, ...) {
  char message[LINE_BYTES];
  va_list ap;
  va_start(ap, fmt);
  mpgi_vformat(message, sizeof message, fmt, ap);
  va_end(ap);
  report(message);
  if (mpgi_die_first()) hook_call();
  if (mpgi_opt.traceback >= TRACEBACK_CRASH) abort();
  mpgi_os_exit(EXIT_STATUS);
}

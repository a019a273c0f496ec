/* trace_writer.c - from the rings to the file, on a thread of its own.
 *
 * Format: Trace Event JSON, {"traceEvents":[...],...}, which chrome://tracing
 * and Perfetto open.  A row (tid) for each P, and one each for the world's
 * stops, the collector, its sweeper and threads without a P.  A slice is a
 * pair B, E: in a row they come in the order of time and nest.  A wake-up is a
 * flow: "s" in the slice of whoever wakes, "f" where the goroutine starts.
 * ts is mpg_now's clock in microseconds.
 *
 * The thread empties the rings every few milliseconds, at once while one of
 * them fills fast.  It runs at a low priority: with every CPU busy it takes a
 * tenth of one at most, and events get lost rather than the program slow.
 * After every write the file is whole JSON: the end is written too, and the
 * next write begins where it stands.  (What can't seek gets one end.)  A fatal
 * signal in the middle of a write cuts it where a page of the file ends; events
 * are lines, so all but the last can be read.
 *
 * Rings are emptied one after the other, so a row of a ring is in order, and
 * a goroutine's start may stand before its wake-up.  Lost events (LOST) close
 * the row's slices.
 *
 * Ticks become nanoseconds by lines through readings of both clocks, one made
 * at each round, and only records older than the last reading are taken: so
 * order in ticks is order in nanoseconds, in all rows.  Some older lines are
 * kept for records of threads that the kernel suspended within a recording.
 */
#include <sched/sched.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <sched/gmp.h>

#include <sched/dump.h>

#define STACK_BYTES ((size_t) 128 << 10)
#define ROUND_NS (5 * 1000 * 1000)
#define BATCH 1024
#define BUFFER_BYTES ((size_t) 256 << 10)
#define EVENT_BYTES 1024 /* more than one record becomes */
#define DEPTH 8
#define NAMES 512
#define NAME_BYTES 56
#define HEAD_BYTES 56
#define NS_PER_S 1000000000u

/* Rows that are no P's. */
enum { ROW_STW = MPGI_PROCS_MAX, ROW_GC, ROW_SWEEPER, ROW_OTHER, ROWS };

enum slice {
  SLICE_G,
  SLICE_SYSCALL,
  SLICE_STOP,
  SLICE_STW,
  SLICE_STOPPING,
  SLICE_STOPPED,
  SLICE_GC,
  SLICE_SWEEP,
  SLICE_MARK,
  SLICE_SWEEPER,
  SLICE_WAKES,
};

struct row {
  uint64_t last_ns; /* nothing in the row is later */
  uint64_t g;       /* of its SLICE_G */
  uint64_t woke_ns; /* the last wake-up in its SLICE_WAKES */
  uint8_t depth;
  uint8_t slice[DEPTH]; /* enum slice: open ones, outermost first */
  bool named;
  uint8_t head_n;
  char head[HEAD_BYTES]; /* what its events have in common */
};

/* The line from this reading to the next. */
struct clock {
  uint64_t ticks, ns;
  double ns_per_tick;
};
#define CLOCKS 16

struct name {
  uint64_t fn;
  char text[NAME_BYTES];
};

struct writer {
  char path[4096];
  int fd;
  bool seekable, first;
  int error;
  int64_t at;     /* where the next write begins */
  uint64_t since; /* ticks: older records are of an earlier trace */
  uint64_t lost, events;
  int pid;
  struct clock clock[CLOCKS]; /* a ring; the newest reading is at now */
  unsigned now;
  uint64_t second; /* the digits in front of the last six of a whole ts */
  uint8_t second_n;
  char second_text[20];
  struct row row[ROWS];
  struct name name[NAMES];
  struct mpgi_symtab symtab;
  struct mpgi_trace_record batch[BATCH];
  size_t n; /* bytes in text */
  char text[BUFFER_BYTES];
};

/* ---- text ---- */

static inline __attribute__((always_inline)) void put(struct writer *w,
                                                      const char *s, size_t n) {
  MPG_ASSERT_INTERNAL(w->n + n <= BUFFER_BYTES);
  memcpy(w->text + w->n, s, n);
  w->n += n;
}

static void put_str(struct writer *w, const char *s) { put(w, s, strlen(s)); }

/* String literals. */
#define PUT(w, s) put((w), "" s, sizeof(s) - 1)

/* Two digits at a time: half of a trace is numbers. */
static const char pairs[] =
    "0001020304050607080910111213141516171819"
    "2021222324252627282930313233343536373839"
    "4041424344454647484950515253545556575859"
    "6061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

static void put_u64(struct writer *w, uint64_t v) {
  char digits[20];
  size_t n = sizeof digits;
  for (; v >= 10; v /= 100) {
    n -= 2;
    memcpy(digits + n, pairs + v % 100 * 2, 2);
  }
  if (v || n == sizeof digits) digits[--n] = (char) ('0' + v);
  put(w, digits + n, sizeof digits - n);
}

static void put_second(struct writer *w, uint64_t second) {
  if (w->second_n == 0 || second != w->second) {
    size_t n = w->n;
    put_u64(w, second);
    w->second = second;
    w->second_n = (uint8_t) (w->n - n);
    memcpy(w->second_text, w->text + n, w->second_n);
  } else {
    put(w, w->second_text, w->second_n);
  }
}

/* Microseconds with three places. */
static void put_us(struct writer *w, uint64_t ns) {
  if (ns < NS_PER_S) { /* without zeros in front */
    put_u64(w, ns / 1000);
  } else {
    uint32_t us = ns % NS_PER_S / 1000;
    put_second(w, ns / NS_PER_S);
    put(w, pairs + us / 10000 * 2, 2);
    put(w, pairs + us / 100 % 100 * 2, 2);
    put(w, pairs + us % 100 * 2, 2);
  }
  char places[4] = {'.', (char) ('0' + ns / 100 % 10),
                    (char) ('0' + ns / 10 % 10), (char) ('0' + ns % 10)};
  put(w, places, 4);
}

/* Inside quotes. */
static void put_escaped(struct writer *w, const char *s) {
  for (; *s; s++) {
    if ((unsigned char) *s < 0x20) continue;
    if (*s == '"' || *s == '\\') PUT(w, "\\");
    put(w, s, 1);
  }
}

/* ---- the file ---- */

static void put_end(struct writer *w) {
  PUT(w, "\n],\"displayTimeUnit\":\"ns\",\"otherData\":{\"version\":\"");
  put_str(w, mpg_version());
  PUT(w, "\",\"events\":");
  put_u64(w, w->events);
  PUT(w, ",\"lost\":");
  put_u64(w, w->lost);
  PUT(w, "}}\n");
}

static void write_all(struct writer *w) {
  size_t done = 0;
  while (done < w->n && !w->error) {
    ssize_t n = w->seekable ? pwrite(w->fd, w->text + done, w->n - done,
                                     w->at + (int64_t) done)
                            : write(w->fd, w->text + done, w->n - done);
    if (n > 0)
      done += (size_t) n;
    else if (n == 0 || errno != EINTR)
      w->error = n == 0 ? -EIO : -errno;
  }
}

static void flush(struct writer *w, bool last) {
  size_t body = w->n;
  if (w->seekable || last) put_end(w);
  write_all(w);
  w->at += (int64_t) body;
  w->n = 0;
}

static void make_room(struct writer *w) {
  if (w->n + 2 * EVENT_BYTES > BUFFER_BYTES) flush(w, false);
}

/* ---- events of the file ---- */

/* ","pid":1,"tid":1,"ts": */
static void put_head_rest(struct writer *w, unsigned row) {
  struct row *r = &w->row[row];
  if (r->head_n == 0) {
    size_t n = w->n;
    PUT(w, "\",\"pid\":");
    put_u64(w, (uint64_t) w->pid);
    PUT(w, ",\"tid\":");
    put_u64(w, row + 1); /* tid 0 has a meaning of its own in Perfetto */
    PUT(w, ",\"ts\":");
    r->head_n = (uint8_t) (w->n - n);
    MPG_ASSERT(r->head_n <= HEAD_BYTES);
    memcpy(r->head, w->text + n, r->head_n);
  } else {
    put(w, r->head, r->head_n);
  }
}

/* {"ph":"x","pid":1,"tid":1,"ts":1.000 */
static void put_head(struct writer *w, char phase, unsigned row, uint64_t ns) {
  make_room(w);
  if (!w->first) PUT(w, ",");
  w->first = false;
  PUT(w, "\n{\"ph\":\"");
  put(w, &phase, 1);
  put_head_rest(w, row);
  put_us(w, ns);
}

static void put_row_name(struct writer *w, unsigned row) {
  static const char *const names[] = {"stop the world", "GC", "GC sweeper",
                                      "without a P"};
  put_head(w, 'M', row, 0);
  PUT(w, ",\"name\":\"thread_name\",\"args\":{\"name\":\"");
  if (row < MPGI_PROCS_MAX) {
    PUT(w, "P");
    put_u64(w, row);
  } else {
    put_str(w, names[row - MPGI_PROCS_MAX]);
  }
  PUT(w, "\"}}");
  put_head(w, 'M', row, 0);
  PUT(w, ",\"name\":\"thread_sort_index\",\"args\":{\"sort_index\":");
  put_u64(w, row < MPGI_PROCS_MAX ? row + ROWS : row - MPGI_PROCS_MAX);
  PUT(w, "}}");
}

static struct row *row_of(struct writer *w, unsigned row) {
  struct row *r = &w->row[row];
  if (r->named) return r;
  r->named = true;
  put_row_name(w, row);
  return r;
}

/* ---- names of goroutines' functions ---- */

static void symbol(struct writer *w, uint64_t fn, char *text) {
  struct mpgi_symbol s;
  text[0] = 0;
  if (mpgi_symtab_lookup(&w->symtab, (uintptr_t) fn, &s))
    mpgi_format(text, NAME_BYTES, " %s", s.name);
}

static const char *function_name(struct writer *w, uint64_t fn) {
  struct name *n = &w->name[(fn >> 4) * 2654435761u % NAMES];
  if (n->fn != fn) {
    n->fn = fn;
    symbol(w, fn, n->text);
  }
  return n->text;
}

/* ---- slices ---- */

static void open_slice(struct writer *w, unsigned row, uint64_t ns,
                       enum slice s, const char *name) {
  struct row *r = row_of(w, row);
  MPG_ASSERT(r->depth < DEPTH);
  r->slice[r->depth++] = (uint8_t) s;
  put_head(w, 'B', row, ns);
  PUT(w, ",\"name\":\"");
  put_str(w, name);
  PUT(w, "\"");
}

static void close_slice(struct writer *w, unsigned row, uint64_t ns) {
  struct row *r = row_of(w, row);
  MPG_ASSERT(r->depth > 0);
  bool wakes = r->slice[--r->depth] == SLICE_WAKES;
  put_head(w, 'E', row, wakes ? r->woke_ns : ns);
}

static bool is_open(const struct row *r, enum slice s) {
  for (unsigned i = 0; i < r->depth; i++)
    if (r->slice[i] == s) return true;
  return false;
}

/* Close s and what is inside; the E of s is left unfinished for arguments.
 * False: it isn't open (recording began in the middle, events are lost). */
static bool close_to(struct writer *w, unsigned row, uint64_t ns,
                     enum slice s) {
  struct row *r = row_of(w, row);
  if (!is_open(r, s)) return false;
  while (r->slice[r->depth - 1] != s) {
    close_slice(w, row, ns);
    PUT(w, "}");
  }
  close_slice(w, row, ns);
  return true;
}

static void close_all(struct writer *w, unsigned row, uint64_t ns) {
  while (w->row[row].depth > 0) {
    close_slice(w, row, ns);
    PUT(w, "}");
  }
}

static void instant(struct writer *w, unsigned row, uint64_t ns,
                    const char *name) {
  row_of(w, row);
  put_head(w, 'i', row, ns);
  PUT(w, ",\"s\":\"t\",\"name\":\"");
  put_str(w, name);
  PUT(w, "\"");
}

static void put_arg(struct writer *w, const char *name, uint64_t v) {
  PUT(w, ",\"args\":{\"");
  put_str(w, name);
  PUT(w, "\":");
  put_u64(w, v);
  PUT(w, "}");
}

static void put_flow(struct writer *w, uint64_t id) {
  PUT(w, ",\"cat\":\"wake\",\"name\":\"wake\",\"id\":\"");
  put_u64(w, id);
  PUT(w, "\"");
}

/* ---- records of a P's row ---- */

struct seen { /* one record, with its place and time */
  const struct mpgi_trace_record *r;
  uint64_t id, ns, g;
  unsigned row;
};

/* An attached thread is no goroutine: neither a number nor a function. */
static void on_start(struct writer *w, const struct seen *s, uint64_t fn) {
  bool thread = s->g == 0 && fn == 0;
  make_room(w);
  close_all(w, s->row, s->ns);
  w->row[s->row].g = s->g;
  open_slice(w, s->row, s->ns, SLICE_G, thread ? "thread M" : "G");
  w->n--; /* the quote */
  put_u64(w, thread ? mpgi_trace_m_of(s->r->what) : s->g);
  if (fn) put_escaped(w, function_name(w, fn));
  PUT(w, "\",\"args\":{\"g\":");
  put_u64(w, s->g);
  PUT(w, ",\"m\":");
  put_u64(w, mpgi_trace_m_of(s->r->what));
  PUT(w, "}}");
}

static void on_resume(struct writer *w, const struct seen *s) {
  on_start(w, s, s->r->b);
  if (!s->r->a) return;
  put_head(w, 'f', s->row, s->ns);
  put_flow(w, s->r->a);
  PUT(w, ",\"bp\":\"e\"}");
}

static void put_reason(struct writer *w, const char *reason) {
  PUT(w, ",\"args\":{\"why\":\"");
  put_str(w, reason);
  PUT(w, "\"}}");
}

static void on_leave(struct writer *w, const struct seen *s) {
  if (!close_to(w, s->row, s->ns, SLICE_G)) return;
  switch (mpgi_trace_event_of(s->r->what)) {
  case MPGI_TRACE_G_BLOCK:
    put_reason(w, mpgi_wait_reason_name((uint8_t) s->r->a));
    break;
  case MPGI_TRACE_G_YIELD: put_reason(w, "yield"); break;
  case MPGI_TRACE_G_PREEMPT:
    put_reason(w, s->r->a == 1 ? "preempted at a call" : "preempted");
    break;
  default: put_reason(w, "end");
  }
}

static bool wakes_open(const struct row *r) {
  return r->depth > 0 && r->slice[r->depth - 1] == SLICE_WAKES;
}

/* A flow begins in a slice: where none is open, in one that ends with the last
 * wake-up before something else happens in the row. */
static void on_ready(struct writer *w, const struct seen *s, bool created) {
  struct row *r = row_of(w, s->row);
  if (r->depth == 0) {
    open_slice(w, s->row, s->ns, SLICE_WAKES, "wake");
    PUT(w, "}");
  }
  r->woke_ns = s->ns;
  if (created) {
    instant(w, s->row, s->ns, "create");
    put_arg(w, "g", s->g);
    PUT(w, "}");
  }
  put_head(w, 's', s->row, s->ns);
  put_flow(w, s->id);
  PUT(w, ",\"args\":{\"g\":");
  put_u64(w, s->g);
  PUT(w, ",\"by\":");
  put_u64(w, s->r->b);
  PUT(w, "}}");
}

static void wakes_end(struct writer *w, const struct seen *s) {
  if (!wakes_open(&w->row[s->row])) return;
  close_slice(w, s->row, s->ns);
  PUT(w, "}");
}

static void on_syscall_enter(struct writer *w, const struct seen *s) {
  if (is_open(&w->row[s->row], SLICE_SYSCALL)) return;
  open_slice(w, s->row, s->ns, SLICE_SYSCALL, "system call");
  PUT(w, "}");
}

/* Back on the P it left, or on another. */
static void on_syscall_exit(struct writer *w, const struct seen *s) {
  const struct row *r = &w->row[s->row];
  if (r->g == s->g && is_open(r, SLICE_G)) {
    if (close_to(w, s->row, s->ns, SLICE_SYSCALL)) PUT(w, "}");
    return;
  }
  on_start(w, s, 0);
}

static void on_stop(struct writer *w, const struct seen *s) {
  static const char *const names[] = {"stopped", "frozen", "stops the world"};
  if (is_open(&w->row[s->row], SLICE_STOP)) return;
  open_slice(w, s->row, s->ns, SLICE_STOP, names[s->r->a % 3]);
  PUT(w, "}");
}

static void on_lost(struct writer *w, const struct seen *s) {
  close_all(w, s->row, s->ns);
  w->lost += s->r->a;
  instant(w, s->row, s->ns, "events lost");
  put_arg(w, "events", s->r->a);
  PUT(w, "}");
}

static void on_retake(struct writer *w, const struct seen *s) {
  static const char *const how[] = {"retaken", "taken by a stop", "handed off"};
  close_all(w, s->row, s->ns);
  instant(w, s->row, s->ns, how[s->r->a]);
  PUT(w, "}");
}

static void on_p_record(struct writer *w, const struct seen *s) {
  enum mpgi_trace_event e = mpgi_trace_event_of(s->r->what);
  if (e != MPGI_TRACE_G_CREATE && e != MPGI_TRACE_G_WAKE) wakes_end(w, s);
  switch (e) {
  case MPGI_TRACE_G_START: on_resume(w, s); break;
  case MPGI_TRACE_G_END:
  case MPGI_TRACE_G_BLOCK:
  case MPGI_TRACE_G_YIELD:
  case MPGI_TRACE_G_PREEMPT: on_leave(w, s); break;
  case MPGI_TRACE_G_CREATE: on_ready(w, s, true); break;
  case MPGI_TRACE_G_WAKE: on_ready(w, s, false); break;
  case MPGI_TRACE_SYSCALL_ENTER: on_syscall_enter(w, s); break;
  case MPGI_TRACE_SYSCALL_EXIT: on_syscall_exit(w, s); break;
  case MPGI_TRACE_P_STOP: on_stop(w, s); break;
  case MPGI_TRACE_P_GO:
    if (close_to(w, s->row, s->ns, SLICE_STOP)) PUT(w, "}");
    break;
  case MPGI_TRACE_P_RETAKE: on_retake(w, s); break;
  case MPGI_TRACE_LOST: on_lost(w, s); break;
  default: close_all(w, s->row, s->ns); /* RUN_END */
  }
}

/* ---- records of everybody ---- */

static void begin(struct writer *w, const struct seen *s, enum slice slice,
                  const char *name, const char *detail) {
  if (w->row[s->row].depth == DEPTH) return;
  open_slice(w, s->row, s->ns, slice, name);
  if (detail) {
    PUT(w, ",\"args\":{\"why\":\"");
    put_str(w, detail);
    PUT(w, "\"}");
  }
  PUT(w, "}");
}

static void end(struct writer *w, const struct seen *s, enum slice slice,
                const char *name) {
  if (!close_to(w, s->row, s->ns, slice)) return;
  if (name) put_arg(w, name, s->r->a);
  PUT(w, "}");
}

static void counter(struct writer *w, const struct seen *s, const char *name,
                    const char *first, const char *second) {
  put_head(w, 'C', s->row, s->ns);
  PUT(w, ",\"name\":\"");
  put_str(w, name);
  PUT(w, "\",\"args\":{\"");
  put_str(w, first);
  PUT(w, "\":");
  put_u64(w, s->r->a);
  PUT(w, ",\"");
  put_str(w, second);
  PUT(w, "\":");
  put_u64(w, s->r->b);
  PUT(w, "}}");
}

static const char *stop_reason(uint64_t reason) {
  static const char *const names[MPGI_STOP_REASONS] = {
      [MPGI_STOP_GC] = "collection",
      [MPGI_STOP_GOMAXPROCS] = "gomaxprocs",
      [MPGI_STOP_STATS] = "statistics, tracebacks",
      [MPGI_STOP_EXIT] = "end of mpg_run",
  };
  return reason < MPGI_STOP_REASONS && names[reason] ? names[reason] : "?";
}

static void on_everybodys(struct writer *w, struct seen *s) {
  static const char *const causes[] = {"heap", "forced", "idle"};
  unsigned e = mpgi_trace_event_of(s->r->what);
  s->row = e < MPGI_TRACE_STW_BEGIN                              ? ROW_OTHER
           : e <= MPGI_TRACE_STW_END                             ? ROW_STW
           : e <= MPGI_TRACE_GC_MARK_END || e == MPGI_TRACE_HEAP ? ROW_GC
           : e <= MPGI_TRACE_SWEEPER_END                         ? ROW_SWEEPER
                                                                 : ROW_OTHER;
  switch (e) {
  case MPGI_TRACE_STW_BEGIN:
    begin(w, s, SLICE_STW, "stop the world", stop_reason(s->r->a));
    begin(w, s, SLICE_STOPPING, "stopping", NULL);
    break;
  case MPGI_TRACE_STW_STOPPED:
    end(w, s, SLICE_STOPPING, "ns");
    begin(w, s, SLICE_STOPPED, "stopped", NULL);
    break;
  case MPGI_TRACE_STW_END: end(w, s, SLICE_STW, "pause_ns"); break;
  case MPGI_TRACE_GC_BEGIN:
    begin(w, s, SLICE_GC, "collection", s->r->a < 3 ? causes[s->r->a] : "?");
    break;
  case MPGI_TRACE_GC_END: end(w, s, SLICE_GC, "cycle"); break;
  case MPGI_TRACE_GC_SWEEP_BEGIN:
    begin(w, s, SLICE_SWEEP, "sweep", NULL);
    break;
  case MPGI_TRACE_GC_SWEEP_END: end(w, s, SLICE_SWEEP, NULL); break;
  case MPGI_TRACE_GC_MARK_BEGIN: begin(w, s, SLICE_MARK, "mark", NULL); break;
  case MPGI_TRACE_GC_MARK_END: end(w, s, SLICE_MARK, "objects"); break;
  case MPGI_TRACE_SWEEPER_BEGIN:
    begin(w, s, SLICE_SWEEPER, "sweep", NULL);
    break;
  case MPGI_TRACE_SWEEPER_END: end(w, s, SLICE_SWEEPER, "spans"); break;
  case MPGI_TRACE_HEAP: counter(w, s, "heap", "live", "goal"); break;
  case MPGI_TRACE_RUNNABLE: counter(w, s, "goroutines", "all", "queued"); break;
  case MPGI_TRACE_PREEMPT_ASK:
    wakes_end(w, s);
    instant(w, s->row, s->ns, "ask to give way");
    put_arg(w, "p", s->r->a);
    PUT(w, "}");
    break;
  case MPGI_TRACE_LOST:
    for (unsigned row = ROW_STW; row < ROWS; row++) close_all(w, row, s->ns);
    on_lost(w, s);
    break;
  default: on_p_record(w, s); /* of a thread without a P */
  }
}

/* ---- time ---- */

/* Both clocks at one moment: the pair that took the shortest of a few. */
static void clock_read(struct clock *c) {
  uint64_t best = UINT64_MAX;
  for (int i = 0; i < 5; i++) {
    uint64_t before = mpgi_arch_ticks(), ns = (uint64_t) mpgi_os_now();
    uint64_t took = mpgi_arch_ticks() - before;
    if (took >= best) continue;
    best = took;
    *c = (struct clock){.ticks = before + took / 2, .ns = ns};
  }
}

static void clock_start(struct writer *w) {
  struct clock c;
  clock_read(&c);
  for (unsigned i = 0; i < CLOCKS; i++) w->clock[i] = c;
  w->since = c.ticks;
}

static void clock_advance(struct writer *w) {
  struct clock *last = &w->clock[w->now], c;
  clock_read(&c);
  if (c.ticks <= last->ticks || c.ns <= last->ns) return;
  last->ns_per_tick =
      (double) (c.ns - last->ns) / (double) (c.ticks - last->ticks);
  w->now = (w->now + 1) % CLOCKS;
  w->clock[w->now] = c;
}

static uint64_t ns_of(const struct writer *w, uint64_t ticks) {
  const struct clock *c = &w->clock[w->now];
  for (unsigned i = 1; i < CLOCKS && ticks < c->ticks; i++)
    c = &w->clock[(w->now + CLOCKS - i) % CLOCKS];
  if (ticks <= c->ticks) return c->ns;
  return c->ns + (uint64_t) ((double) (ticks - c->ticks) * c->ns_per_tick);
}

/* ---- the rings ---- */

static void on_record(struct writer *w, const struct mpgi_trace_ring *ring,
                      const struct mpgi_trace_record *r, uint64_t at) {
  if (r->ticks < w->since) return;
  struct seen s = {.r = r, .id = mpgi_trace_record_id(ring, at)};
  s.g = mpgi_trace_g_of(r->what);
  s.ns = ns_of(w, r->ticks);
  s.row = ring->id == MPGI_TRACE_SHARED ? ROW_OTHER : (unsigned) ring->id;
  struct row *row = &w->row[s.row];
  if (s.ns < row->last_ns) s.ns = row->last_ns;
  row->last_ns = s.ns;
  w->events++;
  if (ring->id == MPGI_TRACE_SHARED)
    on_everybodys(w, &s);
  else
    on_p_record(w, &s);
}

/* True when one of them had many. */
static bool empty_rings(struct writer *w) {
  bool busy = false;
  uint64_t until = w->clock[w->now].ticks;
  struct mpgi_trace_ring *r = mpgi_trace_rings();
  for (; r; r = r->next) {
    size_t n, total = 0;
    uint64_t first;
    do {
      n = mpgi_trace_take(r, w->batch, BATCH, until, &first);
      for (size_t i = 0; i < n; i++) on_record(w, r, &w->batch[i], first + i);
      total += n;
    } while (n == BATCH && total < MPGI_TRACE_SLOTS);
    busy = busy || total > MPGI_TRACE_SLOTS / 8;
  }
  return busy;
}

/* ---- the thread ---- */

static void sample(void) {
  if (!atomic_load(&mpgi_sched.running)) return;
  uint64_t queued = atomic_load(&mpgi_sched.runq_size);
  for (int32_t i = 0; i < mpgi_sched.nallp; i++)
    queued += mpgi_runq_size(mpgi_sched.allp[i]);
  MPGI_TRACE_EVERYBODY(RUNNABLE, mpgi_g_count(), queued);
  mpgi_gc_trace_heap();
}

static void end_rows(struct writer *w) {
  uint64_t ns = (uint64_t) mpgi_os_now();
  for (unsigned row = 0; row < ROWS; row++) {
    struct row *r = &w->row[row];
    if (ns < r->last_ns) ns = r->last_ns;
    close_all(w, row, ns);
  }
  /* What the rings didn't say because no event came after it. */
  for (struct mpgi_trace_ring *r = mpgi_trace_rings(); r; r = r->next) {
    w->lost += r->lost;
    r->lost = 0;
  }
}

static bool open_file(struct writer *w) {
  int fd = open(w->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    w->error = -errno;
    return false;
  }
  w->fd = mpgi_os_fd_move_up(fd);
  w->seekable = lseek(w->fd, 0, SEEK_CUR) == 0;
  PUT(w, "{\"traceEvents\":[");
  put_head(w, 'M', 0, 0);
  PUT(w, ",\"name\":\"process_name\",\"args\":{\"name\":\"");
  put_escaped(w, program_invocation_short_name);
  PUT(w, "\"}}");
  return true;
}

static void write_until_stopped(struct writer *w) {
  bool last = false;
  while (!last) {
    uint32_t s = atomic_load(&mpgi_tracing.state);
    last = s == MPGI_TRACING_STOPPING || s == MPGI_TRACING_ABANDONED;
    if (s == MPGI_TRACING_ON) sample();
    MPGI_CHAOS();
    clock_advance(w);
    bool busy = empty_rings(w);
    if (last) end_rows(w);
    if (w->n || last) flush(w, last);
    if (!busy && !last) mpgi_os_futex_wait(&mpgi_tracing.state, s, ROUND_NS);
  }
}

static void writer_main(void *arg) {
  struct writer *w = arg;
  mpgi_fixmem_outside(); /* no stop waits for the writer */
  mpgi_os_thread_nice(10);
  bool ok = open_file(w);
  clock_start(w);
  mpgi_tracing.error = w->error;
  MPGI_CHAOS();
  if (!mpgi_tracing_move(MPGI_TRACING_OPENING, MPGI_TRACING_OPENED)) {
    mpgi_tracing_move(MPGI_TRACING_ABANDONED, MPGI_TRACING_OFF);
    ok = ok && (close(w->fd), false);
  }
  if (ok) {
    write_until_stopped(w);
    if (close(w->fd) != 0 && !w->error) w->error = -errno;
    mpgi_tracing.error = w->error;
  }
  mpgi_symtab_close(&w->symtab);
  mpgi_fixmem_free(w, sizeof *w, 0);
  MPGI_CHAOS();
  if (ok && !mpgi_tracing_move(MPGI_TRACING_STOPPING, MPGI_TRACING_DONE))
    mpgi_tracing_move(MPGI_TRACING_ABANDONED, MPGI_TRACING_OFF);
}

int mpgi_trace_writer_start(const char *path) {
  size_t n = strlen(path);
  if (n >= sizeof((struct writer *) 0)->path) return -ENAMETOOLONG;
  struct writer *w = mpgi_fixmem_alloc(sizeof *w, 0);
  if (!w) return -ENOMEM;
  memcpy(w->path, path, n + 1);
  w->first = true;
  w->pid = mpgi_os_pid();
  int err = mpgi_os_thread_start(writer_main, w, STACK_BYTES, "mpg-trace");
  if (err) mpgi_fixmem_free(w, sizeof *w, 0);
  return err;
}

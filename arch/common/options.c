/* options.c - MPG_DEBUG and the other environment variables.
 *
 * Parsing is strict: what is not wholly understood is reported on stderr,
 * one line each, and the default stays.  No allocation, no locale, no stdio.
 *
 * Syntax
 *   MPG_DEBUG       name[=integer], or name=name for some, separated by
 *                   commas; empty items ignored
 *   MPG_PROCS       1 .. MPGI_PROCS_MAX
 *   MPG_GC          percent, or off
 *   MPG_MEMLIMIT    bytes with an optional B, KiB, MiB, GiB, TiB; or off
 *   MPG_TRACEBACK   none, single, all, system, crash; or 0 to 4
 * An empty variable counts as unset.
 */
#include <arch/common/check.h>
#include <arch/common/fixmem.h>
#include <arch/common/mutex.h>
#include <arch/common/options.h>
#include <arch/os.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GC_PERCENT_MAX 1000000
#define GC_PERCENT_DEFAULT 100
#define TRACEBACK_DEFAULT 1

struct mpgi_options mpgi_opt;

/* ---- words: a piece of text that is not NUL-terminated ---- */

struct word {
  const char *at;
  size_t len;
};

static struct word word_of(const char *s) {
  return (struct word){s, strlen(s)};
}

static bool word_is(struct word w, const char *s) {
  return strlen(s) == w.len && memcmp(w.at, s, w.len) == 0;
}

/* Digits at the start of w; w moves beyond them.  False: none, or too big. */
static bool take_digits(struct word *w, int64_t *out) {
  uint64_t v = 0;
  size_t n = 0;
  for (; n < w->len && w->at[n] >= '0' && w->at[n] <= '9'; n++) {
    unsigned digit = (unsigned) (w->at[n] - '0');
    if (v > ((uint64_t) INT64_MAX - digit) / 10) return false;
    v = v * 10 + digit;
  }
  w->at += n;
  w->len -= n;
  *out = (int64_t) v;
  return n > 0;
}

static bool parse_int(struct word w, int64_t lo, int64_t hi, int64_t *out) {
  bool minus = w.len > 0 && w.at[0] == '-';
  if (minus) w.at++, w.len--;
  int64_t v;
  if (!take_digits(&w, &v) || w.len != 0) return false;
  if (minus) v = -v;
  if (v < lo || v > hi) return false;
  *out = v;
  return true;
}

static bool parse_bytes(struct word w, int64_t *out) {
  static const struct {
    const char *suffix;
    int shift;
  } units[] = {{"", 0},     {"B", 0},    {"KiB", 10},
               {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
  int64_t v;
  if (!take_digits(&w, &v)) return false;
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    if (!word_is(w, units[i].suffix)) continue;
    if (v > INT64_MAX >> units[i].shift) return false;
    *out = v << units[i].shift;
    return true;
  }
  return false;
}

/* ---- MPG_DEBUG ---- */

struct option {
  const char *name;
  size_t offset; /* in struct mpgi_options */
  int64_t dflt, lo, hi;
  bool is_name;
};
static const struct option table[] = {
#define MPGI_OPTION(name, dflt, lo, hi, doc) \
  {#name, offsetof(struct mpgi_options, name), dflt, lo, hi, false},
#define MPGI_OPTION_NAME(name, doc) \
  {#name, offsetof(struct mpgi_options, name), 0, 0, 0, true},
#include <arch/common/options.def>
#undef MPGI_OPTION
#undef MPGI_OPTION_NAME
};
#define OPTIONS (sizeof table / sizeof table[0])

static int64_t *slot(struct mpgi_options *opt, const struct option *o) {
  MPG_ASSERT(o->offset + sizeof(int64_t) <= sizeof *opt);
  return (int64_t *) (void *) ((char *) opt + o->offset);
}

static const struct option *find(struct word name) {
  for (size_t i = 0; i < OPTIONS; i++)
    if (word_is(name, table[i].name)) return &table[i];
  return NULL;
}

int64_t mpgi_options_hash(int64_t hash, const char *text, size_t bytes) {
  uint64_t h = (uint64_t) hash;
  for (size_t i = 0; i < bytes; i++)
    h = (h ^ (unsigned char) text[i]) * UINT64_C(0x100000001b3) + 1;
  return h ? (int64_t) h : 1;
}

static bool parse_value(const struct option *o, struct word w, int64_t *out) {
  if (!o->is_name) return parse_int(w, o->lo, o->hi, out);
  if (w.len == 0) return false;
  *out = mpgi_options_hash(0, w.at, w.len);
  return true;
}

/* One item, "name" or "name=value".  Returns the number of complaints. */
static int parse_item(struct mpgi_options *opt, struct word item, int fd) {
  const char *eq = memchr(item.at, '=', item.len);
  struct word name = {item.at, eq ? (size_t) (eq - item.at) : item.len};
  const struct option *o = find(name);
  if (!o) {
    mpgi_print(fd, "mpg: unknown option '%.*s' in MPG_DEBUG\n", (int) name.len,
               name.at);
    return 1;
  }
  struct word value = {"1", 1};
  if (eq) value = (struct word){eq + 1, item.len - name.len - 1};
  if (parse_value(o, value, slot(opt, o))) return 0;
  mpgi_print(fd, "mpg: ignoring bad value '%.*s' of %s in MPG_DEBUG\n",
             (int) value.len, value.at, o->name);
  return 1;
}

int mpgi_options_parse(struct mpgi_options *opt, const char *list, int fd) {
  MPG_ASSERT(opt && list && fd >= 0);
  int bad = 0;
  while (*list) {
    struct word item = {list, strcspn(list, ",")};
    if (item.len > 0) bad += parse_item(opt, item, fd);
    list += item.len;
    if (*list) list++;
  }
  return bad;
}

/* ---- the other variables ---- */

static bool parse_procs(const char *s, int64_t *out) {
  return parse_int(word_of(s), 1, MPGI_PROCS_MAX, out);
}

static bool parse_gc(const char *s, int64_t *out) {
  if (strcmp(s, "off") == 0) return *out = -1, true;
  return parse_int(word_of(s), 0, GC_PERCENT_MAX, out);
}

static bool parse_memlimit(const char *s, int64_t *out) {
  if (strcmp(s, "off") == 0) return *out = INT64_MAX, true;
  return parse_bytes(word_of(s), out);
}

static bool parse_traceback(const char *s, int64_t *out) {
  static const char *const names[] = {"none", "single", "all", "system",
                                      "crash"};
  for (int i = 0; i < 5; i++)
    if (strcmp(s, names[i]) == 0) return *out = i, true;
  return parse_int(word_of(s), 0, 4, out);
}

static int read_variable(const char *name,
                         bool (*parse)(const char *s, int64_t *out),
                         int64_t *out, int fd) {
  const char *s = getenv(name);
  if (!s || !*s || parse(s, out)) return 0;
  mpgi_print(fd, "mpg: ignoring bad value '%s' of %s\n", s, name);
  return 1;
}

void mpgi_options_default(struct mpgi_options *opt) {
  for (size_t i = 0; i < OPTIONS; i++) {
    MPG_ASSERT(table[i].lo <= table[i].dflt && table[i].dflt <= table[i].hi);
    *slot(opt, &table[i]) = table[i].dflt;
  }
  opt->procs = 0;
  opt->gcpercent = GC_PERCENT_DEFAULT;
  opt->memlimit = INT64_MAX;
  opt->traceback = TRACEBACK_DEFAULT;
}

int mpgi_options_read(struct mpgi_options *opt, int fd) {
  const char *list = getenv("MPG_DEBUG");
  int bad = 0;
  if (list) bad += mpgi_options_parse(opt, list, fd);
  bad += read_variable("MPG_PROCS", parse_procs, &opt->procs, fd);
  bad += read_variable("MPG_GC", parse_gc, &opt->gcpercent, fd);
  bad += read_variable("MPG_MEMLIMIT", parse_memlimit, &opt->memlimit, fd);
  bad += read_variable("MPG_TRACEBACK", parse_traceback, &opt->traceback, fd);
  return bad;
}

static void failpoints_arm(const struct mpgi_options *opt) {
  atomic_store(&mpgi_os_fail_once, opt->failonce != 0);
  if (opt->failmap) atomic_store(&mpgi_os_mem_fail_countdown, opt->failmap);
  if (opt->failrecord)
    atomic_store(&mpgi_fixmem_fail_countdown, opt->failrecord);
  if (opt->failthread)
    atomic_store(&mpgi_os_thread_fail_countdown, opt->failthread);
}

void mpgi_options_init(void) {
  static struct mpgi_mutex lock = MPGI_MUTEX_INIT(MPGI_RANK_OPTIONS);
  static bool done; /* guarded by lock */
  mpgi_mutex_lock(&lock);
  if (!done) {
    mpgi_options_default(&mpgi_opt);
    mpgi_options_read(&mpgi_opt, STDERR_FILENO);
    failpoints_arm(&mpgi_opt);
    done = true;
  }
  mpgi_mutex_unlock(&lock);
}

/* heapprofile.c - mpg_heap_profile: the heap profile as a file for pprof.
 *
 * The format is pprof's profile.proto, not compressed: a protocol buffer,
 * whose fields are (number, wire type) tags followed by varints, or by a
 * length and bytes.  Here it is written front to back: what a sample needs
 * (its stack's locations, their functions, their strings) may stand behind it.
 *
 *   sample_type x 4, period_type, times   once
 *   location, function, string_table      where one is met first
 *   sample                                one a site that was sampled
 *   mapping                               one a loaded object's text
 *
 * Locations are numbered by address, functions by name and file, strings by
 * their text, each through a table of 64-bit hashes; that two of a process's
 * names have the same hash is less likely than a broken memory.
 *
 * The sites are copied while the caller has its P, the file is written as in a
 * system call: libdw allocates, and the descriptor may block.  The tables are
 * a mapping of their own, because fixmem is not for threads without a P.
 *
 * Source: github.com/google/pprof, proto/profile.proto.
 */
#include <sched/sched.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <sched/gmp.h>

#include <mpg/debug.h>
#include <sched/dump.h>

/* Fields of the messages; wire types 0 varint, 2 bytes. */
enum {
  PROFILE_SAMPLE_TYPE = 1,
  PROFILE_SAMPLE = 2,
  PROFILE_MAPPING = 3,
  PROFILE_LOCATION = 4,
  PROFILE_FUNCTION = 5,
  PROFILE_STRING = 6,
  PROFILE_DROP_FRAMES = 7,
  PROFILE_TIME_NANOS = 9,
  PROFILE_PERIOD_TYPE = 11,
  PROFILE_PERIOD = 12,
  PROFILE_DEFAULT_TYPE = 14,
};
#define VARINT_BYTES 10

/* What a message is put together in before its length is known. */
struct message {
  size_t n;
  unsigned char bytes[(2 * VARINT_BYTES) * MPGI_PROFILE_PCS];
};

struct entry {
  uint64_t hash; /* 0: empty */
  uint64_t id;
};

struct table {
  struct entry *entry;
  size_t mask; /* entries - 1 */
  uint64_t n;  /* ids given out */
};

struct writer {
  int fd;
  int err; /* of the first write that failed */
  size_t n;
  unsigned char buffer[16 << 10];
  struct table locations, functions, strings;
  struct mpgi_symbols symbols;
  const struct mpgi_text_table *text;
  /* All of the above and the sites, in one mapping. */
  size_t bytes;
  struct mpgi_profile_site *site;
  size_t sites;
};

/* ---- bytes ---- */

static void flush(struct writer *w) {
  for (size_t at = 0; at < w->n && w->err == 0;) {
    ssize_t n = mpgi_os_fd_write(w->fd, w->buffer + at, w->n - at);
    if (n == -EAGAIN)
      poll(&(struct pollfd){.fd = w->fd, .events = POLLOUT}, 1, -1);
    else if (n < 0)
      w->err = (int) n;
    else
      at += (size_t) n;
  }
  w->n = 0;
}

static void put(struct writer *w, const void *bytes, size_t n) {
  const unsigned char *from = bytes;
  while (n > 0) {
    size_t room = sizeof w->buffer - w->n, now = n < room ? n : room;
    memcpy(w->buffer + w->n, from, now);
    w->n += now;
    from += now;
    n -= now;
    if (w->n == sizeof w->buffer) flush(w);
  }
}

static size_t varint(unsigned char *out, uint64_t v) {
  size_t n = 0;
  for (; v >= 0x80; v >>= 7) out[n++] = (unsigned char) (v | 0x80);
  out[n++] = (unsigned char) v;
  return n;
}

static void put_varint(struct writer *w, uint64_t v) {
  unsigned char b[VARINT_BYTES];
  put(w, b, varint(b, v));
}

static void put_number(struct writer *w, unsigned field, uint64_t v) {
  put_varint(w, field << 3);
  put_varint(w, v);
}

static void put_bytes(struct writer *w, unsigned field, const void *bytes,
                      size_t n) {
  put_varint(w, field << 3 | 2);
  put_varint(w, n);
  put(w, bytes, n);
}

static void add_varint(struct message *m, uint64_t v) {
  MPG_ASSERT(sizeof m->bytes - m->n >= VARINT_BYTES);
  m->n += varint(m->bytes + m->n, v);
}

static void add_number(struct message *m, unsigned field, uint64_t v) {
  add_varint(m, field << 3);
  add_varint(m, v);
}

static void add_message(struct message *m, unsigned field,
                        const struct message *inner) {
  add_varint(m, field << 3 | 2);
  add_varint(m, inner->n);
  MPG_ASSERT(sizeof m->bytes - m->n >= inner->n);
  memcpy(m->bytes + m->n, inner->bytes, inner->n);
  m->n += inner->n;
}

static void put_message(struct writer *w, unsigned field,
                        const struct message *m) {
  put_bytes(w, field, m->bytes, m->n);
}

/* ---- numbers for things ---- */

static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n) {
  const unsigned char *b = bytes;
  for (size_t i = 0; i < n; i++)
    h = (h ^ b[i]) * UINT64_C(0x9e3779b97f4a7c15) ^ h >> 32;
  return h;
}

/* The id of what has this hash; *made: it is a new one. */
static uint64_t id_of(struct table *t, uint64_t hash, bool *made) {
  if (hash == 0) hash = 1;
  size_t i = hash & t->mask;
  while (t->entry[i].hash != 0 && t->entry[i].hash != hash)
    i = (i + 1) & t->mask;
  *made = t->entry[i].hash == 0;
  if (*made) t->entry[i] = (struct entry){hash, ++t->n};
  MPG_ASSERT(t->n < t->mask); /* there stays an empty one */
  return t->entry[i].id;
}

/* Index in the string table; the empty string is 0, so ids fit. */
static uint64_t string_id(struct writer *w, const char *s) {
  bool made;
  size_t n = strlen(s);
  if (n == 0) return 0;
  uint64_t id = id_of(&w->strings, hash_bytes(n, s, n), &made);
  if (made) put_bytes(w, PROFILE_STRING, s, n);
  return id;
}

static uint64_t function_id(struct writer *w, const char *name,
                            const char *file) {
  bool made;
  uint64_t hash =
      hash_bytes(hash_bytes(1, name, strlen(name) + 1), file, strlen(file));
  uint64_t id = id_of(&w->functions, hash, &made);
  if (!made) return id;
  struct message m = {0};
  uint64_t name_id = string_id(w, name);
  add_number(&m, 1, id);
  add_number(&m, 2, name_id);
  add_number(&m, 3, name_id);
  add_number(&m, 4, string_id(w, file));
  put_message(w, PROFILE_FUNCTION, &m);
  return id;
}

/* ---- the parts ---- */

static void put_type(struct writer *w, unsigned field, const char *type,
                     const char *unit) {
  struct message m = {0};
  add_number(&m, 1, string_id(w, type));
  add_number(&m, 2, string_id(w, unit));
  put_message(w, field, &m);
}

static uint64_t location_id(struct writer *w, uintptr_t pc) {
  bool made;
  uint64_t id = id_of(&w->locations, hash_bytes(2, &pc, sizeof pc), &made);
  if (!made) return id;
  struct message m = {0}, line = {0};
  /* A return address: the call is before it. */
  const struct mpgi_symbol *sym = mpgi_symbols_at(&w->symbols, pc - 1);
  add_number(&m, 1, id);
  add_number(&m, 2, mpgi_text_number(w->text, pc - 1));
  add_number(&m, 3, pc - 1);
  if (sym->name[0] != 0) {
    add_number(&line, 1, function_id(w, sym->name, sym->file));
    add_number(&line, 2, (uint64_t) sym->line);
    add_message(&m, 4, &line);
  }
  put_message(w, PROFILE_LOCATION, &m);
  return id;
}

static void put_site(struct writer *w, const struct mpgi_profile_site *s) {
  struct message m = {0}, ids = {0}, values = {0};
  for (uint32_t i = 0; i < s->n; i++)
    add_varint(&ids, location_id(w, s->pc[i]));
  add_varint(&values, s->alloc_objects);
  add_varint(&values, s->alloc_bytes);
  add_varint(&values, s->live_objects);
  add_varint(&values, s->live_bytes);
  add_message(&m, 1, &ids);
  add_message(&m, 2, &values);
  put_message(w, PROFILE_SAMPLE, &m);
}

/* The main program's own path instead of a link to it. */
static const char *path_of(const struct mpgi_text_map *t, char *buffer,
                           size_t bytes) {
  ssize_t n = -1;
  if (strcmp(t->path, "/proc/self/exe") == 0)
    n = readlink(t->path, buffer, bytes - 1);
  if (n < 0) return t->path;
  buffer[n] = 0;
  return buffer;
}

static void put_mapping(struct writer *w, size_t number,
                        const struct mpgi_text_map *t) {
  struct message m = {0};
  char path[512];
  add_number(&m, 1, number);
  add_number(&m, 2, t->lo);
  add_number(&m, 3, t->hi);
  add_number(&m, 4, t->offset);
  add_number(&m, 5, string_id(w, path_of(t, path, sizeof path)));
  add_number(&m, 7, 1); /* functions are known */
  if (w->symbols.dwfl != NULL) {
    add_number(&m, 8, 1);
    add_number(&m, 9, 1);
  }
  put_message(w, PROFILE_MAPPING, &m);
}

static void put_head(struct writer *w) {
  put_bytes(w, PROFILE_STRING, "", 0);
  put_type(w, PROFILE_SAMPLE_TYPE, "alloc_objects", "count");
  put_type(w, PROFILE_SAMPLE_TYPE, "alloc_space", "bytes");
  put_type(w, PROFILE_SAMPLE_TYPE, "inuse_objects", "count");
  put_type(w, PROFILE_SAMPLE_TYPE, "inuse_space", "bytes");
  put_type(w, PROFILE_PERIOD_TYPE, "space", "bytes");
  put_number(w, PROFILE_PERIOD, (uint64_t) mpgi_profile_rate());
  put_number(w, PROFILE_TIME_NANOS, (uint64_t) mpgi_os_wall_now());
  put_number(w, PROFILE_DEFAULT_TYPE, string_id(w, "inuse_space"));
  put_number(w, PROFILE_DROP_FRAMES, string_id(w, "mpgi_.*"));
}

static void put_all(struct writer *w) {
  struct mpgi_text_map map;
  mpgi_symbols_begin(&w->symbols, true);
  put_head(w);
  for (size_t i = 0; i < w->sites; i++) put_site(w, &w->site[i]);
  for (size_t i = 1; mpgi_text_get(w->text, i, &map); i++)
    put_mapping(w, i, &map);
  flush(w);
  mpgi_symbols_end(&w->symbols);
}

/* ---- the call ---- */

/* Twice as many entries as there can be ids, a power of two. */
static size_t entries_for(size_t n) {
  size_t entries = 256;
  while (entries < 2 * n) entries *= 2;
  return entries;
}

static void table_at(struct table *t, char **mem, size_t entries) {
  *t = (struct table){(struct entry *) (void *) *mem, entries - 1, 0};
  *mem += entries * sizeof(struct entry);
}

static struct writer *writer_open(int fd) {
  size_t sites = mpgi_profile_sites();
  size_t places = entries_for(sites * MPGI_PROFILE_PCS);
  /* Two strings a location, and those of types and mappings. */
  size_t strings = entries_for(2 * sites * MPGI_PROFILE_PCS + 4096);
  size_t site_bytes = sites * sizeof(struct mpgi_profile_site);
  size_t head = (sizeof(struct writer) + 63) & ~(size_t) 63;
  size_t bytes =
      head + site_bytes + (2 * places + strings) * sizeof(struct entry);
  bytes = (bytes + mpgi_os_page_bytes - 1) & ~(mpgi_os_page_bytes - 1);
  struct writer *w = mpgi_os_mem_map(bytes, mpgi_os_page_bytes);
  if (w == NULL) return NULL;
  char *mem = (char *) w + head;
  w->fd = fd;
  w->bytes = bytes;
  w->text = mpgi_text_table();
  w->site = (struct mpgi_profile_site *) (void *) mem;
  mem += site_bytes;
  table_at(&w->locations, &mem, places);
  table_at(&w->functions, &mem, places);
  table_at(&w->strings, &mem, strings);
  w->sites = mpgi_profile_copy(w->site, sites);
  return w;
}

/* On g0 without a P: the result waits in the goroutine's record. */
static void resumed(struct mpg_g *gp) {
  gp->ctx.ret = (uintptr_t) (intptr_t) (int32_t) gp->wait.index;
}

int mpgi_heap_profile_g0(int fd) {
  struct mpg_g *gp = mpgi_current_g("mpg_heap_profile");
  if (fd < 0) return -EBADF;
  struct writer *w = writer_open(fd);
  if (w == NULL) return -ENOMEM;
  mpgi_syscall_enter_g0();
  put_all(w);
  int err = w->err;
  mpgi_os_mem_unmap(w, w->bytes);
  gp->wait.index = (uint32_t) err;
  mpgi_g_on_resume(gp, resumed); /* for an exit that doesn't return */
  mpgi_syscall_exit_g0();
  mpgi_g_on_resume(gp, NULL);
  return err;
}

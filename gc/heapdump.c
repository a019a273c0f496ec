/* heapdump.c - mpg_heap_dump: every live object and what refers to it, as text.
 *
 *   mpg heap dump 1
 *   root ADDRESS OBJECT        a root's word at ADDRESS refers to OBJECT
 *   object OBJECT BYTES KIND   kind: scan, noscan, typed
 *   ref ADDRESS OBJECT         a word of the object above does; ADDRESS lies
 *                              in it
 * Addresses are hexadecimal; objects are named by their start.  Roots' words
 * that were copied (registers) have the address of the copy.
 *
 * After a full collection, with the world stopped: written by bare system
 * calls from a buffer of our own.
 */
#define MPGI_GC_INSIDE 1
#include <errno.h>

#include <arch/os.h>
#include <gc/special.h>
#include <mpg/gc.h>

#define BUFFER_BYTES ((size_t) 256 << 10)
#define LINE_BYTES 96

static struct {
  char *text;
  size_t n;
  int fd;
  int err; /* of the first write that failed; none follows it */
} out;     /* guarded by the stopped world */

static void flush(void) {
  if (out.err == 0) out.err = mpgi_os_write(out.fd, out.text, out.n);
  out.n = 0;
}

static void put_text(const char *s) {
  while (*s) out.text[out.n++] = *s++;
}

static void put_hex(uintptr_t v) {
  put_text(" 0x");
  int shift = 60;
  while (shift > 0 && v >> shift == 0) shift -= 4;
  for (; shift >= 0; shift -= 4)
    out.text[out.n++] = "0123456789abcdef"[v >> shift & 15];
}

static void line_begin(const char *what) {
  if (out.n > BUFFER_BYTES - LINE_BYTES) flush();
  put_text(what);
}

/* The live object that the word refers to; false: none. */
static bool object_of(uintptr_t word, uintptr_t *base) {
  struct mpgi_cell c;
  if (!mpgi_cell_find(word, &c) || !mpgi_cell_is_live(&c)) return false;
  *base = c.base;
  return true;
}

static char root[] = "root", ref[] = "ref";

MPGI_NO_SANITIZE static void put_words(void *what, const void *lo,
                                       const void *hi) {
  uintptr_t from = ((uintptr_t) lo + 7) & ~(uintptr_t) 7, base;
  uintptr_t to = (uintptr_t) hi & ~(uintptr_t) 7;
  for (uintptr_t at = from; at < to; at += 8) {
    if (!object_of(*(const volatile uintptr_t *) at, &base)) continue;
    line_begin(what);
    put_hex(at);
    put_hex(base);
    put_text("\n");
  }
}

static void put_object(const struct mpgi_cell *c) {
  static const char *const kinds[] = {" scan\n", " noscan\n", " typed\n"};
  line_begin("object");
  put_hex(c->base);
  put_hex(mpgi_cell_usable(c));
  put_text(kinds[c->span->kind]);
  mpgi_special_contents(c, put_words, ref);
}

static void put_span(void *arg, struct mpgi_span *s) {
  (void) arg;
  for (uint32_t i = 0; i < s->objects; i++) {
    struct mpgi_cell c = {s, i, mpgi_span_cell(s, i)};
    if (mpgi_cell_is_live(&c)) put_object(&c);
  }
}

static void put_roots(void) {
  size_t n = mpgi_gc_world.root_jobs(), pieces = mpgi_roots_pieces_stw();
  for (size_t i = 0; i < n; i++) mpgi_gc_world.root_job(i, put_words, root);
  for (size_t i = 0; i < pieces; i++) mpgi_roots_piece(i, put_words, root);
  n = mpgi_special_jobs_stw();
  for (size_t i = 0; i < n; i++) mpgi_special_job(i, put_words, root);
}

static void put_entry(const struct mpgi_special *e) {
  const struct mpgi_special *map = mpgi_weakmap_of(e);
  uintptr_t value;
  if (map == NULL || !object_of((uintptr_t) e->entry.value, &value)) return;
  line_begin("entry");
  put_hex(e->base);
  put_hex(map->base);
  put_hex(value);
  put_text("\n");
}

static void put_entries(void) {
  uint32_t n = mpgi_special_made();
  for (uint32_t i = 0; i < n; i++) {
    const struct mpgi_special *s = mpgi_special_at(i);
    if (s->kind == MPGI_SPECIAL_ENTRY) put_entry(s);
  }
}

/* Everything is swept, no cache holds cells, and the listed segments are there:
 * again when a library was unloaded in between. */
static void collect_and_stop(void) {
  for (;;) {
    mpgi_gc_collect_fully(MPGI_GC_FORCED);
    mpgi_gc_world.stop(MPGI_STOP_STATS, 0);
    if (mpgi_os_roots_current()) break;
    mpgi_gc_world.start();
    mpgi_gc_world.give_way();
  }
  mpgi_cache_flush_all_stw();
  mpgi_sweep_finish(); /* another cycle may have come first */
}

int mpgi_heap_dump_g0(int fd) {
  mpgi_alloc_cache("mpg_heap_dump"); /* by a goroutine */
  if (fd < 0) return -EBADF;
  char *text = mpgi_os_mem_map(BUFFER_BYTES, mpgi_os_page_bytes);
  if (text == NULL) return -ENOMEM;
  collect_and_stop();
  out.text = text;
  out.n = 0;
  out.fd = fd;
  out.err = 0;
  line_begin("mpg heap dump 1\n");
  put_roots();
  put_entries();
  mpgi_span_each(put_span, NULL);
  flush();
  int err = out.err;
  mpgi_gc_world.start();
  mpgi_os_mem_unmap(text, BUFFER_BYTES);
  return err;
}

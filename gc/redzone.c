/* redzone.c - objects with fences (MPG_DEBUG=redzone=1).
 *
 * Every object gets a zone behind its last byte, and a word that says how many
 * bytes were asked for:
 *
 *   base          base + n                  end - 16   end - 8    end
 *   | the object  | zone, FILL in each byte | n, coded | pad      |
 *
 * The pad is filled, too, unless it is a typed object's type.  Somebody who
 * writes beyond the end of an object is noticed when the object is freed, or
 * swept, or looked at by gcverify; who writes just before its start, too,
 * because there is the pad of the cell before.
 *
 * Freed cells are filled as by clobberfree; what is neither that nor zero when
 * the cell is used again was written after it was freed.
 *
 * All of it is in slow paths: holes have one cell (cache.c), so that every
 * allocation comes to the ladder (alloc.c), which asks for a larger cell and
 * sets the zone.  The collector sees a larger object: neither the fill nor the
 * coded size looks like a heap address.  mpg_alloc_size is what was asked for.
 */
#define MPGI_GC_INSIDE 1
#include <string.h>

#include <gc/gc_private.h>

#define FILL 0xfd
#define CODE UINT64_C(0xfdfdfdfdfdfd0000) /* no address */
#define SIZE_AT 16                        /* before the cell's end */

_Static_assert(MPGI_REDZONE_BYTES == SIZE_AT,
               "a zone of a pad's size at least");

static uintptr_t end_of(const struct mpgi_cell *c) {
  return c->base + mpgi_span_cell_bytes(c->span);
}

static uint64_t *size_slot(const struct mpgi_cell *c) {
  return (uint64_t *) (end_of(c) - SIZE_AT);
}

static size_t room(const struct mpgi_cell *c) {
  return mpgi_span_cell_bytes(c->span) - SIZE_AT;
}

/* A rotation keeps the size's own bits from looking like an address. */
static uint64_t code(uint64_t n) { return (n << 20 | n >> 44) ^ CODE; }
static uint64_t decode(uint64_t v) {
  return (v ^ CODE) >> 20 | (v ^ CODE) << 44;
}

void mpgi_redzone_set(void *p, size_t n) {
  struct mpgi_cell c;
  if (!mpgi_cell_find((uintptr_t) p, &c)) return; /* the handler's memory */
  MPG_ASSERT(c.base == (uintptr_t) p && n <= room(&c));
  memset((char *) p + n, FILL, room(&c) - n);
  *size_slot(&c) = code(n);
  if (c.span->kind != MPGI_KIND_TYPED)
    memset((void *) (end_of(&c) - MPGI_PAD_BYTES), FILL, MPGI_PAD_BYTES);
}

size_t mpgi_redzone_size(const struct mpgi_cell *c) {
  uint64_t n = decode(*size_slot(c));
  return n <= room(c) ? (size_t) n : room(c);
}

/* The first byte of [lo, hi) that isn't FILL; hi: none. */
static uintptr_t spoiled(uintptr_t lo, uintptr_t hi) {
  while (lo < hi && *(const unsigned char *) lo == FILL) lo++;
  return lo;
}

static _Noreturn void report(const struct mpgi_cell *c, size_t n, uintptr_t at,
                             const char *by) {
  mpgi_fatal(
      "redzone: written beyond the end of the object at %p of %zu "
      "bytes: byte %zu is 0x%02x (found by %s)",
      (void *) c->base, n, (size_t) (at - c->base), *(const unsigned char *) at,
      by);
}

void mpgi_redzone_check(const struct mpgi_cell *c, const char *by) {
  uint64_t n = decode(*size_slot(c));
  if (n > room(c))
    mpgi_fatal(
        "redzone: written beyond the end of the object at %p: the last "
        "bytes of its cell of %llu are spoiled (found by %s)",
        (void *) c->base, (unsigned long long) mpgi_span_cell_bytes(c->span),
        by);
  uintptr_t at = spoiled(c->base + n, c->base + room(c));
  if (at < c->base + room(c)) report(c, n, at, by);
  if (c->span->kind == MPGI_KIND_TYPED) return;
  at = spoiled(end_of(c) - MPGI_PAD_BYTES, end_of(c));
  if (at < end_of(c)) report(c, n, at, by);
}

void mpgi_redzone_reuse(uintptr_t base, uint64_t bytes) {
  const uint64_t dead = MPGI_CLOBBER * UINT64_C(0x0101010101010101);
  for (uintptr_t at = base; at < base + bytes; at += sizeof dead) {
    uint64_t word = *(const uint64_t *) at;
    if (word != 0 && word != dead)
      mpgi_fatal(
          "redzone: the object at %p of at most %llu bytes was written "
          "after it was freed: bytes %zu to %zu are 0x%016llx",
          (void *) base, (unsigned long long) bytes, (size_t) (at - base),
          (size_t) (at - base) + 7, (unsigned long long) word);
  }
}

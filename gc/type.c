/* type.c - exact layouts: which words of an object are pointers.
 *
 * A type is made once and lives for ever, in memory that is not collected.
 * A typed cell keeps the address of its type in its pad, its last word, which
 * is never an object's: it costs nothing.  While
 * that word is 0 (the cell was zeroed and not handed out) there is nothing to
 * scan.  Arrays repeat the layout with the type's size as stride.
 */
#define MPGI_GC_INSIDE 1
#include <stdint.h>

#include <arch/common/fixmem.h>
#include <gc/gc_private.h>

static bool offsets_fit(size_t bytes, const size_t *offsets, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (offsets[i] % sizeof(void *) != 0 || bytes < sizeof(void *) ||
        offsets[i] > bytes - sizeof(void *))
      return false;
  return true;
}

void *mpgi_type_new_g0(size_t bytes, const size_t *offsets, size_t n) {
  if (n > 0 && offsets == NULL) return NULL;
  if (!offsets_fit(bytes, offsets, n)) return NULL;
  struct mpgi_type *t =
      mpgi_fixmem_alloc(sizeof *t + n * sizeof t->offset[0], 0);
  if (t == NULL) return NULL;
  t->bytes = bytes;
  t->n = n;
  for (size_t i = 0; i < n; i++) t->offset[i] = offsets[i];
  t->signature = MPGI_TYPE_SIGNATURE;
  return t;
}

void *mpgi_alloc_typed_g0(const void *type, size_t count) {
  const struct mpgi_type *t = type;
  if (t == NULL || t->signature != MPGI_TYPE_SIGNATURE)
    mpgi_fatal("mpg_alloc_typed with something that is not a type");
  size_t bytes;
  if (__builtin_mul_overflow(t->bytes, count, &bytes))
    bytes = SIZE_MAX; /* refused below, after the handler was asked */
  void *p = mpgi_alloc_object(bytes, MPGI_KIND_TYPED);
  if (p != NULL) mpgi_type_set(p, t);
  return p;
}

void mpgi_type_set(void *p, const struct mpgi_type *t) {
  struct mpgi_cell cell;
  if (!mpgi_cell_find((uintptr_t) p, &cell)) return; /* the handler's memory */
  MPG_ASSERT(cell.span->kind == MPGI_KIND_TYPED && cell.base == (uintptr_t) p);
  *mpgi_type_slot(cell.span, cell.base) = t;
}

const struct mpgi_type *mpgi_type_get(const struct mpgi_cell *cell) {
  MPG_ASSERT(cell->span->kind == MPGI_KIND_TYPED);
  return *mpgi_type_slot(cell->span, cell->base);
}

/* api.c - the public functions that look at existing objects.
 *
 * Each is the g0 side of a thunk.  They are called by a thread that holds the
 * object it asks about, so its span cannot go away.
 */
#define MPGI_GC_INSIDE 1
#include <string.h>

#include <gc/gc_private.h>
#include <mpg/gc.h>

/* ---- lookup ---- */

static bool find_live(const void *p, struct mpgi_cell *cell) {
  return mpgi_cell_find((uintptr_t) p, cell) && mpgi_cell_is_live(cell);
}

void *mpgi_base_g0(const void *p) {
  struct mpgi_cell cell;
  return find_live(p, &cell) ? (void *) cell.base : NULL;
}

size_t mpgi_alloc_size_g0(const void *p) {
  struct mpgi_cell cell;
  return mpgi_cell_start(p, &cell) ? mpgi_cell_usable(&cell) : 0;
}

/* ---- the rest ---- */

char *mpgi_strdup_g0(const char *s) {
  if (s == NULL) return NULL;
  size_t bytes = strlen(s) + 1;
  char *p = mpgi_alloc_for_user(bytes, MPGI_KIND_NOSCAN);
  return p != NULL ? memcpy(p, s, bytes) : NULL;
}

void mpgi_gc_g0(void) {
  mpgi_alloc_cache("mpg_gc"); /* a goroutine's, with a P */
  mpgi_gc_collect_fully(MPGI_GC_FORCED);
}

MPGI_RT_TEXT void mpg_keep_alive(const void *p) {
  __asm__ volatile("" : : "r"(p) : "memory");
}

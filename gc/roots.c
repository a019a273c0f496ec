/* roots.c - roots that are plain memory: global segments, registered ranges.
 *
 * The world supplies stacks, registers and thread-local blocks; this file the
 * writable segments of every loaded object (listed by the OS layer before the
 * cycle) and what mpg_root_add registered.  Both are cut into pieces, so that
 * a large array is scanned by several markers.
 *
 * The collector's own words are left out: section mpg_noroot is cut out of
 * the segment it lies in, and jemalloc, which has 2 MiB of data and keeps no
 * reference of the program's in them, is left out altogether.
 *
 * Concurrency: `registered` is sorted by lo and guarded by the lock
 * (GC_ROOTS); with the world stopped nobody holds it.  `global` belongs to the
 * thread that runs the cycle.
 */
#define MPGI_GC_INSIDE 1
#include <errno.h>
#include <string.h>

#include <arch/common/fixmem.h>
#include <arch/os.h>
#include <gc/gc_private.h>

struct root {
  uintptr_t lo, hi;
  size_t first; /* number of its first piece; written with the world stopped */
};
struct root_list {
  struct root *root; /* fixmem */
  size_t n, capacity;
};

static struct mpgi_mutex lock = MPGI_MUTEX_INIT(MPGI_RANK_GC_ROOTS);
static struct root_list registered, global;
static size_t global_pieces;

/* ---- lists ---- */

static int list_reserve(struct root_list *l, size_t n) {
  if (n <= l->capacity) return 0;
  size_t capacity = n + n / 2 + 16;
  struct root *root = mpgi_fixmem_alloc(capacity * sizeof *root, 0);
  if (root == NULL) return -ENOMEM;
  if (l->n > 0) memcpy(root, l->root, l->n * sizeof *root);
  if (l->root != NULL) mpgi_fixmem_free(l->root, l->capacity * sizeof *root, 0);
  l->root = root;
  l->capacity = capacity;
  return 0;
}

/* Index of the first root whose lo is not below `lo`. */
static size_t lower_bound(const struct root_list *l, uintptr_t lo) {
  size_t a = 0, b = l->n;
  while (a < b) {
    size_t mid = a + (b - a) / 2;
    if (l->root[mid].lo < lo)
      a = mid + 1;
    else
      b = mid;
  }
  MPG_ASSERT_INTERNAL(a == l->n || l->root[a].lo >= lo);
  return a;
}

/* ---- registered ranges ---- */

int mpgi_root_add_g0(const void *lo, size_t bytes) {
  uintptr_t at = (uintptr_t) lo;
  if (lo == NULL || bytes == 0 || bytes > UINTPTR_MAX - at) return -EINVAL;
  mpgi_mutex_lock(&lock);
  int rc = list_reserve(&registered, registered.n + 1);
  if (rc == 0) {
    size_t i = lower_bound(&registered, at);
    struct root *r = &registered.root[i];
    memmove(r + 1, r, (registered.n - i) * sizeof *r);
    *r = (struct root){.lo = at, .hi = at + bytes};
    registered.n++;
  }
  mpgi_mutex_unlock(&lock);
  return rc;
}

int mpgi_root_remove_g0(const void *lo) {
  int rc = -ENOENT;
  mpgi_mutex_lock(&lock);
  size_t i = lower_bound(&registered, (uintptr_t) lo);
  if (i < registered.n && registered.root[i].lo == (uintptr_t) lo) {
    struct root *r = &registered.root[i];
    registered.n--;
    memmove(r, r + 1, (registered.n - i) * sizeof *r);
    rc = 0;
  }
  mpgi_mutex_unlock(&lock);
  return rc;
}

/* ---- global segments ---- */

static void global_add(uintptr_t lo, uintptr_t hi) {
  MPG_ASSERT(global.n < global.capacity);
  if (lo < hi) global.root[global.n++] = (struct root){.lo = lo, .hi = hi};
}

struct mpgi_os_objects *mpgi_roots_list(void) {
  if (mpgi_gc_world.abroad != NULL) mpgi_gc_world.abroad(true);
  struct mpgi_os_objects *l = mpgi_os_objects_list();
  if (mpgi_gc_world.abroad != NULL) mpgi_gc_world.abroad(false);
  return l;
}

int mpgi_roots_prepare(struct mpgi_os_objects *l) {
  uintptr_t cut_lo = (uintptr_t) mpgi_noroot_start;
  uintptr_t cut_hi = (uintptr_t) mpgi_noroot_stop;
  size_t n;
  const struct mpgi_range *seg = mpgi_os_objects_ranges(l, &n);
  int rc = list_reserve(&global, n + 1);
  if (rc != 0) { /* an old list may lack a new library */
    mpgi_os_objects_drop(l);
    return rc;
  }
  mpgi_os_objects_adopt(l);
  global.n = 0;
  for (size_t i = 0; i < n; i++)
    if (seg[i].lo < cut_hi && cut_lo < seg[i].hi) {
      global_add(seg[i].lo, cut_lo);
      global_add(cut_hi, seg[i].hi);
    } else {
      global_add(seg[i].lo, seg[i].hi);
    }
  return 0;
}

/* ---- pieces ---- */

static size_t number(struct root_list *l) {
  size_t n = 0;
  for (size_t i = 0; i < l->n; i++) {
    struct root *r = &l->root[i];
    r->first = n;
    n += (r->hi - r->lo + MPGI_ROOT_PIECE_BYTES - 1) / MPGI_ROOT_PIECE_BYTES;
  }
  return n;
}

size_t mpgi_roots_pieces_stw(void) {
  global_pieces = number(&global);
  return global_pieces + number(&registered);
}

void mpgi_roots_piece(size_t i, mpgi_visit *visit, void *arg) {
  const struct root_list *l = &global;
  if (i >= global_pieces) {
    l = &registered;
    i -= global_pieces;
  }
  size_t a = 0, b = l->n;
  while (b - a > 1) {
    size_t mid = a + (b - a) / 2;
    if (l->root[mid].first <= i)
      a = mid;
    else
      b = mid;
  }
  const struct root *r = &l->root[a];
  uintptr_t lo = r->lo + (i - r->first) * MPGI_ROOT_PIECE_BYTES;
  MPG_ASSERT(a < l->n && r->first <= i && lo < r->hi);
  uintptr_t hi =
      r->hi - lo > MPGI_ROOT_PIECE_BYTES ? lo + MPGI_ROOT_PIECE_BYTES : r->hi;
  visit(arg, (const void *) lo, (const void *) hi);
}

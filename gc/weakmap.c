/* weakmap.c - maps with weak keys, whose values live as long as map and key.
 *
 * A map is an object of its own (pointer-free memory) with a record MAP; each
 * of its entries is a record ENTRY about the key (special.c), which names the
 * map by number and generation, so that nothing has to be unlinked when a map
 * goes: the next collection frees entries of maps that are gone.
 *
 * An entry is an ephemeron: its value is reachable only through it if both map
 * and key are reachable otherwise, also when the value leads to the key
 * (ephemeron.c marks accordingly).  It is removed when the key or the map is
 * freed; not before a finalizer of the key has run, because then the key is
 * still in use.
 *
 * Looking up is a hash lookup under the lock of all records.
 */
#define MPGI_GC_INSIDE 1
#include <errno.h>

#include <gc/special.h>
#include <mpg/gc.h>

static _Atomic uint32_t generations;

void *mpgi_weakmap_new_g0(void) {
  struct mpgi_cell cell;
  mpgi_alloc_cache("mpg_weakmap_new"); /* by a goroutine */
  void *map = mpgi_gc_alloc(MPGI_GRANULE_BYTES, MPGI_KIND_NOSCAN);
  /* What the out-of-memory handler gives is no object. */
  if (map == NULL || !mpgi_cell_start(map, &cell)) return NULL;
  uint32_t n;
  mpgi_special_lock();
  struct mpgi_special *s = mpgi_special_add_locked(&cell, MPGI_SPECIAL_MAP, &n);
  if (s != NULL) {
    s->map.number = n;
    s->map.generation = atomic_fetch_add(&generations, 1) + 1;
    s->map.entries = 0;
  }
  mpgi_special_unlock();
  if (s != NULL) return map;
  mpgi_free_g0(map);
  return NULL;
}

static struct mpgi_special *map_locked(const void *map) {
  struct mpgi_special *s =
      mpgi_special_find_locked((uintptr_t) map, MPGI_SPECIAL_MAP);
  if (MPGI_UNLIKELY(s == NULL))
    mpgi_fatal("mpg_weakmap operation on something that is not a weak map");
  return s;
}

static struct mpgi_special *entry_locked(const struct mpgi_special *map,
                                         const void *key) {
  return mpgi_special_entry_locked((uintptr_t) key, map->map.number,
                                   map->map.generation);
}

bool mpgi_weakmap_get_g0(void *map, const void *key, void **value) {
  mpgi_special_lock();
  const struct mpgi_special *e = entry_locked(map_locked(map), key);
  void *v = e != NULL ? e->entry.value : NULL;
  mpgi_special_unlock();
  if (value != NULL) *value = v;
  return e != NULL;
}

static int set_locked(void *map, const struct mpgi_cell *key, void *value) {
  struct mpgi_special *m = map_locked(map), *e;
  e = entry_locked(m, (void *) key->base);
  if (e == NULL) {
    e = mpgi_special_add_locked(key, MPGI_SPECIAL_ENTRY, NULL);
    if (e == NULL) return -ENOMEM;
    e->entry.map = m->map.number;
    e->entry.generation = m->map.generation;
    m->map.entries++;
  }
  e->entry.value = value;
  return 0;
}

int mpgi_weakmap_set_g0(void *map, void *key, void *value) {
  struct mpgi_cell cell;
  mpgi_alloc_cache("mpg_weakmap_set"); /* by a goroutine */
  if (!mpgi_cell_start(key, &cell)) return -EINVAL;
  mpgi_special_lock();
  int rc = set_locked(map, &cell, value);
  mpgi_special_unlock();
  return rc;
}

int mpgi_weakmap_delete_g0(void *map, const void *key) {
  mpgi_special_lock();
  struct mpgi_special *m = map_locked(map), *e = entry_locked(m, key);
  if (e != NULL) mpgi_weakmap_entry_remove_locked(e);
  mpgi_special_unlock();
  return e != NULL ? 0 : -ENOENT;
}

size_t mpgi_weakmap_len_g0(void *map) {
  mpgi_special_lock();
  size_t n = map_locked(map)->map.entries;
  mpgi_special_unlock();
  return n;
}

struct mpgi_special *mpgi_weakmap_of(const struct mpgi_special *e) {
  MPG_ASSERT(e->kind == MPGI_SPECIAL_ENTRY);
  struct mpgi_special *m = mpgi_special_at(e->entry.map);
  return m->kind == MPGI_SPECIAL_MAP && m->map.generation == e->entry.generation
             ? m
             : NULL;
}

void mpgi_weakmap_entry_remove_locked(struct mpgi_special *e) {
  struct mpgi_special *m = mpgi_weakmap_of(e);
  if (m != NULL) m->map.entries--;
  mpgi_special_remove_locked(e);
}

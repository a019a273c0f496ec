/* weak.c - weak references.
 *
 * A reference is an object of its own: a word of pointer-free memory that
 * holds the target's address.  Two records (special.c) belong to it, WEAK
 * about the target and HANDLE about the reference; they name each other, live
 * and die together.  The reference is cleared, and both records are freed,
 * when
 *   - a collection finds the target unreachable from the roots, before it
 *     looks at finalizers (special_mark.c);
 *   - the target is freed explicitly (mpgi_special_drop).
 * The records alone go when the reference itself is freed, in either way.
 *
 * Why mpg_weak_get is one load.  The collector decides and clears with the
 * world stopped [weak.stopped].  Either the load comes before the stop: then
 * the address is in the goroutine's registers or stack, which are roots, and
 * the target lives.  Or it comes after: then it reads NULL, or the address of
 * a target that was found alive.  No third case: mutators don't run while the
 * collector marks.  A marker that runs beside mutators has to make the load
 * mark its target.
 */
#define MPGI_GC_INSIDE 1
#include <gc/special.h>
#include <mpg/gc.h>

static struct mpgi_weak *handle_of(const struct mpgi_special *s) {
  if (s->kind == MPGI_SPECIAL_WEAK) s = mpgi_special_at(s->weak.peer);
  MPG_ASSERT(s->kind == MPGI_SPECIAL_HANDLE);
  return (struct mpgi_weak *) s->base;
}

void mpgi_weak_break_locked(struct mpgi_special *s) {
  struct mpgi_special *peer = mpgi_special_at(s->weak.peer);
  MPG_VERIFY(mpgi_special_at(peer->weak.peer) == s);
  atomic_store(&handle_of(s)->target, NULL);
  mpgi_special_remove_locked(s);
  mpgi_special_remove_locked(peer);
}

static bool link_locked(const struct mpgi_cell *target,
                        const struct mpgi_cell *handle) {
  uint32_t w, h;
  struct mpgi_special *weak =
      mpgi_special_add_locked(target, MPGI_SPECIAL_WEAK, &w);
  if (weak == NULL) return false;
  struct mpgi_special *back =
      mpgi_special_add_locked(handle, MPGI_SPECIAL_HANDLE, &h);
  if (back == NULL) {
    mpgi_special_remove_locked(weak);
    return false;
  }
  weak->weak.peer = h;
  back->weak.peer = w;
  return true;
}

void *mpgi_weak_new_g0(void *obj) {
  struct mpgi_cell target, handle;
  mpgi_alloc_cache("mpg_weak_new"); /* by a goroutine */
  if (!mpgi_cell_start(obj, &target)) return NULL;
  struct mpgi_weak *w = mpgi_gc_alloc(sizeof *w, MPGI_KIND_NOSCAN);
  /* What the out-of-memory handler gives is no object. */
  if (w == NULL || !mpgi_cell_start(w, &handle)) return NULL;
  atomic_store(&w->target, obj); /* obj is used here: it has lived so far */
  MPGI_CHAOS();
  mpgi_special_lock();
  bool ok = link_locked(&target, &handle);
  mpgi_special_unlock();
  if (ok) return w;
  mpgi_free_g0(w);
  return NULL;
}

MPGI_RT_TEXT void *mpg_weak_get(mpg_weak *w) {
  return w != NULL ? atomic_load(&((struct mpgi_weak *) w)->target) : NULL;
}

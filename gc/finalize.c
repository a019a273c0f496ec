/* finalize.c - finalizers: setting, clearing, and the queue of those to run.
 *
 * A finalizer is a record about its object (special.c).  The collection that
 * finds the object unreachable moves the record to the queue
 * (special_mark.c), from where the world's goroutine takes it
 * (sched/finalizer.c): it is cleared then, and what is set anew inside the
 * finalizer is a new one.
 *
 * From the collection to the taking the object is a root because it is on the
 * queue; then the goroutine that runs the finalizer has it on its stack.
 */
#define MPGI_GC_INSIDE 1
#include <errno.h>

#include <gc/special.h>
#include <mpg/gc.h>

static int set_locked(const struct mpgi_cell *cell,
                      void (*fn)(void *obj, void *arg), void *arg) {
  struct mpgi_special *s =
      mpgi_special_find_locked(cell->base, MPGI_SPECIAL_FINALIZER);
  if (fn == NULL) {
    if (s != NULL) mpgi_special_remove_locked(s);
    return 0;
  }
  if (s == NULL)
    s = mpgi_special_add_locked(cell, MPGI_SPECIAL_FINALIZER, NULL);
  if (s == NULL) return -ENOMEM;
  s->fin.fn = fn;
  s->fin.arg = arg;
  return 0;
}

int mpgi_finalizer_set_g0(void *obj, void (*fn)(void *obj, void *arg),
                          void *arg) {
  struct mpgi_cell cell;
  int err = 0;
  mpgi_alloc_cache("mpg_finalizer_set"); /* by a goroutine */
  if (!mpgi_cell_start(obj, &cell)) return -EINVAL;
  if (fn != NULL && mpgi_gc_world.finalizers_wanted != NULL)
    err = mpgi_gc_world.finalizers_wanted();
  if (err != 0) return err;
  mpgi_special_lock();
  err = set_locked(&cell, fn, arg);
  mpgi_special_unlock();
  return err;
}

bool mpgi_finalizer_take(struct mpgi_finalizer *out) {
  struct mpgi_special s;
  mpgi_special_lock();
  bool any = mpgi_special_unqueue_locked(&s);
  mpgi_special_unlock();
  if (any) *out = (struct mpgi_finalizer){s.fin.fn, (void *) s.base, s.fin.arg};
  return any;
}

bool mpgi_finalizer_any(void) {
  return mpgi_special_count(MPGI_SPECIAL_FINALIZER) > 0 ||
         mpgi_special_count(MPGI_SPECIAL_READY) > 0;
}

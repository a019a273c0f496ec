/* once.c - mpg_once_do.
 *
 * The first caller holds the mutex while fn runs, so the others wait for its
 * end.  fn runs on the goroutine's stack, called from an entry stub: it may
 * park, be preempted, grow the stack.  The onces a goroutine is in hang at its
 * G, innermost first, so that mpg_goexit out of fn ends them, too.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/sync.h>

MPGI_RT_TEXT void mpg_once_do(mpg_once *o, mpg_func fn, void *arg) {
  mpgi_stub_check("mpg_once_do");
  if (__atomic_load_n(&o->done, __ATOMIC_ACQUIRE)) return;
  mpgi_mutex_fast_lock(&o->running);
  if (__atomic_load_n(&o->done, __ATOMIC_RELAXED)) {
    mpgi_mutex_fast_unlock(&o->running);
    return;
  }
  mpgi_thunk_once_begin(o);
  mpgi_call_user(fn, arg);
  mpgi_thunk_once_end(o);
}

void mpgi_once_begin_g0(mpg_once *o) {
  struct mpg_g *gp = mpgi_current_g("mpg_once_do");
  o->outer = gp->once;
  gp->once = o;
  gp->leaves = 1;
}

static void once_end(struct mpg_g *gp) {
  mpg_once *o = gp->once;
  gp->once = o->outer;
  o->outer = NULL;
  __atomic_store_n(&o->done, 1, __ATOMIC_RELEASE);
  mpgi_gmutex_unlock(&o->running);
}

void mpgi_once_end_g0(mpg_once *o) {
  struct mpg_g *gp = mpgi_current_g("mpg_once_do");
  MPG_VERIFY(gp->once == o); /* else: longjmp out of an inner one */
  once_end(gp);
}

void mpgi_once_goexit(struct mpg_g *gp) {
  while (gp->once) once_end(gp);
}

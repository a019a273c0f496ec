/* finalizer.c - the goroutine that runs finalizers.
 *
 * One a run, made when a finalizer is first set.  It is nobody's: not counted
 * by mpg_num_goroutines, and while it waits it has no number, so it isn't
 * listed.  Waiting, it is parked, and so no reason against a deadlock;
 * running a finalizer it is a goroutine like every other.
 *
 * Lost wake-ups: it looks at the queue and publishes that it waits
 * (`idle`) on g0, without a point in between at which the world could stop.
 * Queues are filled with the world stopped.  So whoever fills one and looks at
 * `idle` afterwards finds it, or it has seen what is in the queue.
 *
 * Its stack is a fixed one, because a finalizer may be compiled in either way.
 */
#include <sched/sched.h>

#include <errno.h>
#include <string.h>

#include <sched/gmp.h>

#define STACK_BYTES ((size_t) 1 << 20)

static struct {
  _Atomic uint32_t made;        /* there is a goroutine */
  _Atomic(struct mpg_g *) idle; /* it is parked */
  _Atomic int64_t since;        /* ns when the finalizer began; 0: none runs */
  _Atomic(void *) fn;           /* that finalizer */
  int64_t reported;             /* sysmon: `since` of the last report */
  uint64_t goid;                /* its number while it runs one */
} finalizers;

void mpgi_finalizers_reset(void) {
  atomic_store(&finalizers.made, 0);
  atomic_store(&finalizers.idle, NULL);
  atomic_store(&finalizers.since, 0);
}

/* ---- running them ---- */

/* The call's words are on this stack: they keep the object and the argument
 * until the finalizer has returned. */
MPGI_RT_TEXT static void run_finalizers(void *arg) {
  struct mpgi_finalizer f = {NULL, NULL, NULL};
  (void) arg;
  for (;;) {
    mpgi_thunk_finalizer_next(&f);
    if (f.fn) f.fn(f.obj, f.arg);
  }
}

static void begin(struct mpg_g *gp, const struct mpgi_finalizer *f) {
  gp->goid = finalizers.goid;
  atomic_store(&finalizers.fn, (void *) (uintptr_t) f->fn);
  atomic_store(&finalizers.since, mpgi_os_now());
}

static void wait(struct mpg_m *mp, struct mpg_g *gp) {
  gp->goid = 0;
  MPGI_CHAOS();
  mpgi_park_begin(mp, gp, MPGI_WAIT_FINALIZER);
  MPGI_CHAOS();
  atomic_store(&finalizers.idle, gp);
  MPGI_CHAOS();
  mpgi_schedule(mp);
}

void mpgi_finalizer_next_g0(struct mpgi_finalizer *f) {
  struct mpg_m *mp = mpgi_tls_m();
  struct mpg_g *gp = mp->curg;
  memset(f, 0, sizeof *f);
  atomic_store(&finalizers.since, 0);
  if (mpgi_finalizer_take(f))
    begin(gp, f);
  else
    wait(mp, gp);
}

/* ---- having somebody who does ---- */

static int make(struct mpg_m *mp) {
  const struct mpg_go_options opt = {.size = sizeof opt,
                                     .flags = MPG_GO_FIXED_STACK,
                                     .stack_bytes = STACK_BYTES,
                                     .name = "finalizers"};
  int err;
  struct mpg_g *gp = mpgi_g_new(mp->p, run_finalizers, NULL, &opt, true, &err);
  if (!gp) return err;
  gp->finalizers = gp->leaves = 1;
  finalizers.goid = mpgi_goid_new(mp->p);
  mpgi_g_status_set(gp, MPGI_G_DEAD, MPGI_G_RUNNABLE);
  mpgi_runq_put(mp->p, gp, false);
  mpgi_wakep();
  return 0;
}

/* A thread without a P leaves it to the collection, which has one. */
int mpgi_finalizers_wanted(void) {
  struct mpg_m *mp = mpgi_tls_m();
  uint32_t none = 0;
  if (atomic_load_explicit(&finalizers.made, memory_order_relaxed)) return 0;
  if (!mp || !mp->p ||
      !atomic_compare_exchange_strong(&finalizers.made, &none, 1))
    return 0;
  int err = make(mp);
  if (err) atomic_store(&finalizers.made, 0);
  return err;
}

void mpgi_finalizers_ready(void) {
  struct mpg_g *gp = atomic_exchange(&finalizers.idle, NULL);
  if (gp)
    mpgi_ready(gp);
  else
    mpgi_finalizers_wanted(); /* no memory: after the next collection */
}

/* The finalizer counts as returned; there must be another goroutine for the
 * rest.  It takes the stack that was just freed. */
void mpgi_finalizers_goexit(void) {
  mpgi_finalizers_reset();
  mpgi_finalizers_wanted();
}

/* ---- watching ---- */

void mpgi_finalizers_watch(int64_t now) {
  int64_t since = atomic_load(&finalizers.since);
  if (mpgi_opt.slowfinalizer == 0 || since == 0 ||
      since == finalizers.reported ||
      now - since < mpgi_opt.slowfinalizer * 1000000)
    return;
  finalizers.reported = since;
  mpgi_print(2, "mpg: the finalizer %p has been running for %ld ms\n",
             atomic_load(&finalizers.fn), (long) ((now - since) / 1000000));
}

/* usertimer.c - mpg_after, mpg_timer_start, mpg_timer_stop.
 *
 * A user's timer is an object of the collected heap, conservatively scanned,
 * and a root while it is in a P's timer heap (roots.c): so its argument and
 * its channel live as long as it may fire, and the handle is valid for as
 * long as the program can name it, fired or stopped.
 *
 * [timer.stop] A one-shot timer leaves the heap, a periodic one gets its next
 * time, under the heap's lock, before the goroutine is started.  So a stop
 * that takes it out of the heap, under the same lock, has prevented every
 * later firing, and one that doesn't find it there comes too late or again.
 * The goroutine of an earlier tick may still have to run then.
 *
 * No memory for the goroutine: a one-shot timer tries again a little later, a
 * periodic one drops the tick.
 *
 * [timer.waits] A periodic timer drops a tick, too, when the goroutine of the
 * one before has yet to begin: with more ticks than the Ps have time for,
 * goroutines would become ever more.
 *
 * Source: Go time.go (goFunc, sendTime).
 */
#include <sched/sched.h>

#include <errno.h>

#include <sched/gmp.h>

#define RETRY_NS (1000 * 1000)

struct mpg_timer {
  struct mpgi_timer t; /* first */
  mpg_func fn;
  void *arg;
  mpg_chan *chan;     /* mpg_after's */
  bool fixed;         /* fn runs on a fixed stack */
  _Atomic bool waits; /* [timer.waits]: periodic; set by who fires it */
};
_Static_assert(offsetof(struct mpg_timer, t) == 0, "cast from mpgi_timer");

/* ns from now, without overflow. */
static int64_t from_now(int64_t ns) {
  int64_t now = mpgi_os_now(), when;
  if (ns <= 0) return now;
  return __builtin_add_overflow(now, ns, &when) ? INT64_MAX - 1 : when;
}

/* Set up t, of the calling goroutine, to fire in ns.  False: no memory. */
static bool set(struct mpg_timer *t, int64_t ns, const char *what) {
  struct mpg_m *mp = mpgi_current_g(what)->m;
  t->t.when = from_now(ns);
  if (mpgi_timer_add(mp->p, &t->t) != 0) return false;
  mpgi_timer_announce(t->t.when);
  mpgi_poller_want();
  return true;
}

/* ---- mpg_after ---- */

static void send_time(struct mpgi_timer *t, int64_t now) {
  mpgi_chan_offer(((struct mpg_timer *) t)->chan, &now);
}

mpg_chan *mpgi_after_g0(int64_t ns) {
  mpgi_current_g("mpg_after");
  mpg_chan *c = mpgi_chan_new_g0(sizeof(int64_t), 1);
  if (!c) return NULL;
  struct mpg_timer *t = mpgi_gc_alloc(sizeof *t, MPGI_KIND_SCAN);
  if (!t) return NULL;
  t->chan = c;
  t->t.call = send_time;
  return set(t, ns, "mpg_after") ? c : NULL;
}

/* ---- mpg_timer_start, mpg_timer_stop ---- */

static void tick_begun(struct mpg_g *gp) {
  mpg_timer *t = (mpg_timer *) (uintptr_t) gp->wait.object;
  gp->wait.object = NULL;
  atomic_store(&t->waits, false);
}

static void tick(struct mpgi_timer *timer, int64_t now) {
  (void) now;
  struct mpg_timer *t = (struct mpg_timer *) timer;
  if (atomic_exchange(&t->waits, true)) return;
  if (mpgi_go_tick(t->fn, t->arg, t->fixed, tick_begun, t) != 0)
    atomic_store(&t->waits, false);
}

static void start_goroutine(struct mpgi_timer *timer, int64_t now) {
  struct mpg_timer *t = (struct mpg_timer *) timer;
  int err = t->fixed ? mpgi_go_fixed_g0(t->fn, t->arg)
                     : mpgi_go_segmented_g0(t->fn, t->arg);
  if (err == 0) {
    t->arg = NULL; /* or the handle would keep it */
    return;
  }
  t->t.when = now + RETRY_NS;
  if (mpgi_timer_add(mpgi_tls_m()->p, &t->t) != 0)
    mpgi_fatal("out of memory: no room for a timer");
}

static mpg_timer *start(int64_t ns, int64_t period_ns, mpg_func fn, void *arg,
                        bool fixed) {
  mpgi_current_g("mpg_timer_start");
  if (!fn) return NULL;
  struct mpg_timer *t = mpgi_gc_alloc(sizeof *t, MPGI_KIND_SCAN);
  if (!t) return NULL;
  t->t.period = period_ns > 0 ? period_ns : 0;
  t->t.call = t->t.period ? tick : start_goroutine;
  t->fn = fn;
  t->arg = arg;
  t->fixed = fixed;
  return set(t, ns, "mpg_timer_start") ? t : NULL;
}

mpg_timer *mpgi_timer_start_segmented_g0(int64_t ns, int64_t period_ns,
                                         mpg_func fn, void *arg) {
  return start(ns, period_ns, fn, arg, false);
}

mpg_timer *mpgi_timer_start_fixed_g0(int64_t ns, int64_t period_ns, mpg_func fn,
                                     void *arg) {
  return start(ns, period_ns, fn, arg, true);
}

bool mpgi_timer_stop_g0(mpg_timer *t) {
  mpgi_current_g("mpg_timer_stop");
  if (!t || !mpgi_timer_del(&t->t)) return false;
  if (!t->t.period) t->arg = NULL; /* an earlier tick may still have to read */
  return true;
}

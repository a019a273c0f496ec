/* go.c - mpg_go and the small questions a goroutine asks. */
#include <sched/sched.h>

#include <errno.h>

#include <sched/gmp.h>

#include <sched/hot.h>

/* Options as mpg_go_with documents them. */
static int check_options(const struct mpg_go_options *opt) {
  if (!opt) return 0;
  const unsigned known = MPG_GO_MOVABLE | MPG_GO_FIXED_STACK;
  if (opt->size == 0 || opt->size < sizeof *opt) return -EINVAL;
  if (opt->flags & ~known || (opt->flags & known) == known) return -EINVAL;
  return 0;
}

/* The thunk's frame on the caller's stack (thunks.S): return address. */
static uintptr_t caller_pc(const struct mpg_g *gp) {
  return ((const uintptr_t *) gp->ctx.sp)[6];
}

void mpgi_check_linker(void) {
  const char *refused = mpgi_arch_refuses_linker();
  if (refused) mpgi_fatal("%s", refused);
}

/* Code that doesn't look at the guard word is to have a fixed stack, whatever
 * the caller was compiled with. */
MPGI_HOT bool wants_fixed(const struct mpg_go_options *opt, mpg_func fn) {
  return (opt && (opt->flags & MPG_GO_FIXED_STACK)) ||
         MPGI_UNLIKELY(!mpgi_arch_is_split((uintptr_t) fn));
}

/* Mostly one is there, and nothing is to be configured. */
MPGI_HOT struct mpg_g *make(struct mpg_p *pp, mpg_func fn, void *arg,
                            const struct mpg_go_options *opt, bool fixed,
                            int *err) {
  if (opt || fixed || MPGI_UNLIKELY(!pp->gfree)) {
    if (!fixed) mpgi_check_linker();
    return mpgi_g_new(pp, fn, arg, opt, fixed, err);
  }
  struct mpg_g *gp = mpgi_hot_gfree_pop(pp);
  gp->link = NULL;
  gp->stack_limit = 0;
  mpgi_hot_g_begin(gp, fn, arg);
  return gp;
}

/* begun, if not NULL: its on_resume when it begins, with object in reach. */
MPGI_HOT int go_then(const struct mpg_go_options *opt, mpg_func fn, void *arg,
                     bool fixed, void (*begun)(struct mpg_g *gp),
                     const void *object) {
  int err = check_options(opt);
  if (err) return err;
  if (!fn) return -EINVAL;
  struct mpg_m *mp = mpgi_tls_m();
  struct mpg_p *pp = mp ? mp->p : NULL;
  if (!pp) {
    if (atomic_load(&mpgi_sched.running) || mpgi_is_forked())
      mpgi_not_attached("mpg_go");
    return -EPERM;
  }
  if (!fixed) fixed = wants_fixed(opt, fn);
  struct mpg_g *gp = make(pp, fn, arg, opt, fixed, &err);
  if (!gp) return err;
  if (begun) {
    mpgi_g_on_resume(gp, begun);
    gp->wait.object = object;
  }
  const struct mpg_g *by = mp->curg; /* NULL: a timer */
  gp->creator = by ? by->goid : 0;
  gp->creator_pc = by ? caller_pc(by) : 0;
  mpgi_hot_g_count_start(pp, gp);
  mpgi_hot_status_set(gp, MPGI_G_DEAD, MPGI_G_RUNNABLE);
  MPGI_TRACE_READY(mp, G_CREATE, gp);
  if (MPGI_UNLIKELY(mp->attached)) {
    mpgi_mutex_lock(&mpgi_sched.lock);
    mpgi_globq_put_locked(gp);
    mpgi_mutex_unlock(&mpgi_sched.lock);
    mpgi_wakep();
  } else {
    mpgi_hot_put_next_and_wake(pp, gp, false);
  }
  return 0;
}

MPGI_HOT int go(const struct mpg_go_options *opt, mpg_func fn, void *arg,
                bool fixed) {
  return go_then(opt, fn, arg, fixed, NULL, NULL);
}

int mpgi_go_tick(mpg_func fn, void *arg, bool fixed,
                 void (*begun)(struct mpg_g *gp), const void *timer) {
  return go_then(NULL, fn, arg, fixed, begun, timer);
}

int mpgi_go_segmented_g0(mpg_func fn, void *arg) {
  return go(NULL, fn, arg, false);
}
int mpgi_go_fixed_g0(mpg_func fn, void *arg) { return go(NULL, fn, arg, true); }

int mpgi_go_with_segmented_g0(const struct mpg_go_options *opt, mpg_func fn,
                              void *arg) {
  return opt ? go(opt, fn, arg, false) : -EINVAL;
}
int mpgi_go_with_fixed_g0(const struct mpg_go_options *opt, mpg_func fn,
                          void *arg) {
  return opt ? go(opt, fn, arg, true) : -EINVAL;
}

MPGI_RT_TEXT uint64_t mpg_goid(void) {
  struct mpg_g *gp = mpgi_tls_g();
  return gp ? gp->goid : 0;
}

int mpgi_num_goroutines_g0(void) {
  return atomic_load(&mpgi_sched.running) ? (int) mpgi_g_count() : 0;
}

#define STRING(x) #x
#define VERSION(a, b, c) STRING(a) "." STRING(b) "." STRING(c)

MPGI_RT_TEXT const char *mpg_version(void) {
  return VERSION(MPG_VERSION_MAJOR, MPG_VERSION_MINOR,
                 MPG_VERSION_PATCH) " (x86_64-linux)";
}

/* ---- growth (arch.h upcall) ---- */

/* Bytes. */
static size_t stack_limit(const struct mpg_g *gp) {
  if (gp->stack_limit) return gp->stack_limit;
  return mpgi_opt.maxstack ? (size_t) mpgi_opt.maxstack
                           : MPGI_STACK_LIMIT_DEFAULT;
}

void mpgi_stack_overflow(const struct mpg_g *gp) {
  const struct mpgi_segment *seg = gp->ctx.seg;
  unsigned long goid = (unsigned long) gp->goid;
  if (seg->fixed)
    mpgi_fatal(
        "stack overflow: goroutine %lu exceeds its fixed stack of %zu bytes",
        goid, (size_t) (seg->hi - seg->lo));
  mpgi_fatal("stack overflow: goroutine %lu exceeds the limit of %zu bytes",
             goid, stack_limit(gp));
}

void mpgi_morestack_g0(struct mpgi_context *ctx, size_t frame, size_t args,
                       uintptr_t stay) {
  struct mpg_g *gp = (struct mpg_g *) ctx;
  size_t limit = stack_limit(gp);
  if (mpgi_stack_home_open(ctx, stay, limit)) return;
  struct mpg_m *mp = mpgi_tls_m();
  int saved_errno = errno; /* a call must not change it by needing stack */
  gp->growing = stay ? MPGI_GROWING_CALL : MPGI_GROWING_ALLOCA;
  if (mpgi_stack_exceeds_fixed(ctx, frame + args)) mpgi_stack_overflow(gp);
  int err = mpgi_stack_grow(mp && mp->p ? &mp->p->stacks : NULL, ctx,
                            frame + args, limit);
  if (err == -EOVERFLOW) mpgi_stack_overflow(gp);
  if (err)
    mpgi_fatal("out of memory: no stack segment for goroutine %lu",
               (unsigned long) gp->goid);
  gp->growing = 0;
  errno = saved_errno;
}

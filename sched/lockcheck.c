/* lockcheck.c - MPG_DEBUG=lockcheck=1: who is switched out while it holds a
 * lock of the C library?
 *
 * Every goroutine that wants the lock meanwhile blocks a thread; and an
 * ordinary mutex is unlocked by another one than locked it (others keep the
 * goroutine on its thread: arch/linux/lockowner.c).  Counted are the locks
 * taken by calls in the program's own objects (arch/linux/lockcheck.c).  The
 * report names the last one taken and comes once for each time a goroutine took
 * one; the program goes on.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/dump.h>

static bool on_lock(const void *lock, int delta) {
  struct mpg_g *gp = mpgi_tls_user();
  if (!gp || gp->attached) return false;
  if (delta < 0 && gp->pthread_locks == 0) return false; /* somebody else's */
  gp->pthread_locks += (uint32_t) delta;
  if (delta > 0) gp->pthread_lock = lock;
  return true;
}

void mpgi_lockcheck_init(void) {
  if (mpgi_opt.lockcheck) atomic_store(&mpgi_lockcheck_hook, on_lock);
}

static void put_frames(const struct mpg_g *gp) {
  struct mpgi_pcs pcs;
  struct mpgi_symbols syms;
  mpgi_frames_get(gp, &pcs);
  mpgi_symbols_begin(&syms, false);
  for (uint32_t i = 0; i < pcs.n; i++) {
    const struct mpgi_symbol *s = mpgi_symbols_at(&syms, pcs.pc[i]);
    mpgi_print(2, "\t%p %s\n", (void *) pcs.pc[i], s->name);
  }
  mpgi_symbols_end(&syms);
}

void mpgi_lockcheck_leave(struct mpg_g *gp, const char *how) {
  if (gp->pthread_locks == 0 || !gp->pthread_lock) return;
  mpgi_print(2,
             "lockcheck: goroutine %lu %s while it holds a pthread lock "
             "(%u locked, the last at %p)\n",
             (unsigned long) gp->goid, how, (unsigned) gp->pthread_locks,
             gp->pthread_lock);
  put_frames(gp);
  gp->pthread_lock = NULL;
}

void mpgi_lockcheck_end(struct mpg_g *gp) {
  mpgi_lockcheck_leave(gp, "ends");
  gp->pthread_locks = 0;
}

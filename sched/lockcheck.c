/* lockcheck.c - MPG_DEBUG=lockcheck=1: who is switched out while it holds a
 * pthread mutex?
 *
 * Such a goroutine may go on on another thread, which then unlocks what it
 * hasn't locked; and every goroutine that wants the mutex meanwhile blocks a
 * thread.  Counted are the locks taken by calls in the program's own objects
 * (arch/linux/lockcheck.c).  The report names the last one taken and comes
 * once for each time a goroutine took one; the program goes on.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

static void on_lock(const void *lock, int delta) {
  struct mpg_g *gp = mpgi_tls_g();
  if (!gp || gp->attached) return;
  if (delta > 0) {
    gp->pthread_locks++;
    gp->pthread_lock = lock;
  } else if (gp->pthread_locks > 0) {
    gp->pthread_locks--; /* else somebody else's */
  }
}

void mpgi_lockcheck_init(void) {
  if (mpgi_opt.lockcheck) atomic_store(&mpgi_lockcheck_hook, on_lock);
}

void mpgi_lockcheck_leave(struct mpg_g *gp, const char *how) {
  if (gp->pthread_locks == 0 || !gp->pthread_lock) return;
  mpgi_print(2,
             "lockcheck: goroutine %lu %s while it holds a pthread mutex "
             "(%u locked, the last at %p)\n",
             (unsigned long) gp->goid, how, (unsigned) gp->pthread_locks,
             gp->pthread_lock);
  mpgi_goroutine_dump(2, gp);
  gp->pthread_lock = NULL;
}

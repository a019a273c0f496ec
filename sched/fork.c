/* fork.c - the child of a fork.
 *
 * It has one thread, a copy of the one that forked, and none of the
 * runtime's; locks may be held by threads that don't exist there.  While
 * mpg_run runs, the child may therefore use nothing of mpg: it becomes a
 * thread that mpg doesn't know, and every call that needs the runtime is fatal
 * with a message of its own (mpgi_not_attached).  It goes on with its C code,
 * on its goroutine's stack if it had one, which can grow: from mappings of its
 * own, without a lock (stack/cache.c).  So it can exec, or _exit.
 *
 * Its signal mask is already the application's: threads that run goroutines
 * have the mask that the caller of mpg_run had (m.c), so children by
 * posix_spawn, vfork, system and popen inherit that, too.
 *
 * Outside of a run the child may use mpg, mpg_run included: only threads
 * that outlive runs (the collector's, text.c's) have to be made anew, and the
 * epoll instance, which would go on being its parent's, too.
 */
#include <sched/sched.h>

#include <errno.h>
#include <pthread.h>

#include <sched/gmp.h>

static bool forked; /* in the child of a process in which mpg_run ran */

bool mpgi_is_forked(void) { return forked; }

/* On the stack that fork was called on. */
static void in_child(void) {
  mpgi_gc_forked();
  mpgi_text_forked();
  atomic_store(&mpgi_os_threads_own, 0);
  if (!atomic_load(&mpgi_sched.starting)) {
    mpgi_netpoll_close();
    return;
  }
  forked = true;
  atomic_store(&mpgi_sched.running, 0); /* nobody to stop, or to wait for */
  struct mpg_m *mp = mpgi_tls_m();
  if (!mp) return;
  mpgi_tls_m_set(NULL);
  mpgi_tls_cache_set(NULL);
  mp->old_p = NULL; /* amid a system call: its exit gives nothing back */
  struct mpg_g *gp = mp->curg;
  if (!gp) return;
  /* Nobody asks for anything any more. */
  atomic_store(&gp->ctx.preempt, 0);
  mpgi_arch_guard_set(gp->ctx.guard);
  mpgi_stack_forked();
}

int mpgi_fork_init(void) { return -pthread_atfork(NULL, NULL, in_child); }

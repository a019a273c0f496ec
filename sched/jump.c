/* jump.c - longjmp out of signal handlers and of the C library.
 *
 * A jump within a goroutine's stack is arch's and stack's alone (longjmp.S).
 * One that comes from another stack may leave
 *   a handler that interrupted the goroutine     tls.g is set
 *   a function of the C library that runs on g0, tls.libc is set
 *   by a callback or a handler
 *   a handler that interrupted the runtime       neither: fatal, because what
 *                                                g0 was doing is half done
 * A handler that interrupted an entry stub can't be told from the first: what
 * POSIX says of functions that aren't async-signal-safe holds for mpg's.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

struct mpgi_context *mpgi_jump_to(uintptr_t sp) {
  struct mpg_m *mp = mpgi_tls_m();
  if (!mp) return NULL;
  struct mpg_g *gp = mpgi_tls_user();
  bool amid_runtime = !gp;
  if (amid_runtime) gp = mp->curg;
  if (!gp || !mpgi_stack_find(&gp->ctx, sp)) return NULL;
  /* For longjmp, which, unlike siglongjmp, keeps the handler's. */
  mpgi_os_sigmask_set(mpgi_os_sigmask_open(mpgi_os_sigmask_get()));
  if (amid_runtime)
    mpgi_fatal("longjmp out of a signal handler that interrupted the runtime");
  /* An attached thread has one stack, and no guard word. */
  return mp->attached ? NULL : &gp->ctx;
}

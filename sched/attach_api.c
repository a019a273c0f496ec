/* attach_api.c - mpg_thread_attach and mpg_thread_detach.
 *
 * A file of its own, so that a program linked with the archive has it only
 * when it names one of them: deadlock.c wants to know whether threads may
 * attach at all.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

MPGI_HIDDEN extern const char mpgi_threads_may_attach;
const char mpgi_threads_may_attach = 1;

MPGI_RT_TEXT int mpg_thread_attach(void) { return mpgi_thunk_thread_attach(); }

/* The thunk comes back on the thread's own stack, as a thread that has left;
 * or on a goroutine's, which must not call what follows. */
MPGI_RT_TEXT int mpg_thread_detach(void) {
  int err = mpgi_thunk_thread_detach();
  return mpgi_tls_g() ? err : mpgi_thread_detached(err);
}

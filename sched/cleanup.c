/* cleanup.c - waiting at a cleanup queue (gc/cleanup.c).
 *
 * A queue has a channel of one element for those who wait: a token in it says
 * "look again".  Who puts something into the queue offers a token afterwards,
 * and so does who takes something and leaves something; who waits looks first
 * and then takes the token.  So nobody sleeps while there is something.
 */
#include <sched/sched.h>

#include <errno.h>

#include <sched/gmp.h>

#include <mpg/gc.h>

void *mpgi_cleanup_queue_new_g0(void) {
  mpgi_current_g("mpg_cleanup_queue_new");
  mpg_chan *waker = mpgi_chan_new_g0(1, 1);
  return waker ? mpgi_cleanup_queue_make(waker) : NULL;
}

void mpgi_cleanup_wake(void *waker) { mpgi_chan_offer((mpg_chan *) waker, ""); }

MPGI_RT_TEXT int mpg_cleanup_wait(mpg_cleanup_queue *queue,
                                  struct mpg_cleanup *out,
                                  int64_t deadline_ns) {
  bool late = false;
  for (;;) {
    if (mpg_cleanup_poll(queue, out) == 0) return 0;
    if (late) return -ETIMEDOUT;
    struct mpg_select_case token = {
        ((struct mpgi_cleanup_queue *) (void *) queue)->waker, MPG_RECV, NULL,
        false};
    late = mpg_select_until(&token, 1, deadline_ns) < 0;
  }
}

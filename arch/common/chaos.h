/* chaos.h - MPG_DEBUG=chaos=N: threads are delayed where it hurts.
 *
 * MPGI_CHAOS() marks a point between a look and the act that relies on it,
 * between taking a permission and using it, or between two steps that others
 * may come in between.  With the switch on a thread now and then pauses there
 * (chaos.c); off, it is a branch.  So points are where a futex, a lock, a
 * system call or the hand-over of a goroutine or P costs more than that.
 *
 * Allowed on g0, on threads of the runtime's own and in its signal handlers;
 * under locks and in a stopped world, too: it takes no lock, allocates nothing
 * and leaves errno alone.  Not in entry stubs: on a goroutine's stack the
 * thread might be taken for one in foreign code.
 */
#ifndef MPGI_CHAOS_H
#define MPGI_CHAOS_H

#include <stdatomic.h>
#include <stdint.h>

#include <arch/arch.h>
#include <arch/common/options.h>

struct mpgi_chaos_site {
  _Atomic uint32_t number;     /* from 1; 0: it was never passed */
  const char *file, *function; /* chaosat=FILE.FUNCTION, without path and .c */
};

MPGI_HIDDEN void mpgi_chaos_pause(struct mpgi_chaos_site *site);

#ifndef MPGI_CHAOS /* models explore every order anyway */
#define MPGI_CHAOS()                                                    \
  do {                                                                  \
    if (MPGI_UNLIKELY(mpgi_opt.chaos != 0)) {                           \
      static struct mpgi_chaos_site mpgi_site = {.file = __FILE__,      \
                                                 .function = __func__}; \
      mpgi_chaos_pause(&mpgi_site);                                     \
    }                                                                   \
  } while (0)
#endif

#endif /* MPGI_CHAOS_H */

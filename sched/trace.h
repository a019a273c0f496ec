/* trace.h - where the scheduler records events.  Private to sched/.
 *
 * Off, each place costs a load and a branch that is always predicted.
 */
#ifndef MPGI_SCHED_TRACE_H
#define MPGI_SCHED_TRACE_H

#ifndef MPGI_GMP_H
#error "include sched/gmp.h first; trace.h is private to sched/"
#endif

#include <arch/common/trace.h>

/* An event of the M mp (NULL: the calling thread has none), about gp (or
 * NULL): in the ring of its P, or in the shared one. */
#define MPGI_TRACE(mp, event, gp, a, b)                       \
  do {                                                        \
    if (mpgi_trace_is_on())                                   \
      mpgi_trace_m((mp), MPGI_TRACE_##event, (gp), (a), (b)); \
  } while (0)
MPGI_HIDDEN void mpgi_trace_m(struct mpg_m *mp, enum mpgi_trace_event e,
                              const struct mpg_g *gp, uint64_t a, uint64_t b);

/* gp starts on mp's P; quick: without a look for it, so that it has the time of
 * whose leaving mp recorded last (trace_left). */
#define MPGI_TRACE_START(mp, gp, quick)                            \
  do {                                                             \
    if (mpgi_trace_is_on()) mpgi_trace_start((mp), (gp), (quick)); \
  } while (0)
MPGI_HIDDEN void mpgi_trace_start(struct mpg_m *mp, struct mpg_g *gp,
                                  bool quick);

/* An event of the P pp, by whoever owns it just now. */
#define MPGI_TRACE_P(pp, event, a)                                       \
  do {                                                                   \
    if (mpgi_trace_is_on()) mpgi_trace_p((pp), MPGI_TRACE_##event, (a)); \
  } while (0)
MPGI_HIDDEN void mpgi_trace_p(struct mpg_p *pp, enum mpgi_trace_event e,
                              uint64_t a);

/* pp was taken from a system call, by one who may have been descheduled since
 * and read the clock before it did: the goroutine may be back by now, on
 * another P.  when: MPGI_TRACE_NOW then. */
#define MPGI_TRACE_NOW() (mpgi_trace_is_on() ? mpgi_arch_ticks() : 0)
#define MPGI_TRACE_RETAKE(pp, when, by)                            \
  do {                                                             \
    if (mpgi_trace_is_on()) mpgi_trace_retake((pp), (when), (by)); \
  } while (0)
MPGI_HIDDEN void mpgi_trace_retake(struct mpg_p *pp, uint64_t ticks,
                                   uint64_t by);

/* gp is back from a system call.  ticks: MPGI_TRACE_NOW before its M took the
 * P that it had, which another one's call may have left meanwhile: that one's
 * goroutine, too, may be back on another P by now.  Else 0. */
#define MPGI_TRACE_BACK(mp, gp, ticks)                            \
  do {                                                            \
    if (mpgi_trace_is_on()) mpgi_trace_back((mp), (gp), (ticks)); \
  } while (0)
MPGI_HIDDEN void mpgi_trace_back(struct mpg_m *mp, const struct mpg_g *gp,
                                 uint64_t ticks);

/* gp may run; before anybody else can take it: G_WAKE or G_CREATE. */
#define MPGI_TRACE_READY(mp, event, gp)                                     \
  do {                                                                      \
    if (mpgi_trace_is_on()) mpgi_trace_ready((mp), MPGI_TRACE_##event, gp); \
  } while (0)
MPGI_HIDDEN void mpgi_trace_ready(struct mpg_m *mp, enum mpgi_trace_event e,
                                  struct mpg_g *gp);

/* A new P gets its ring when a trace is on. */
MPGI_HIDDEN void mpgi_trace_p_made(struct mpg_p *pp);
/* mpg_run is over, the world stopped: close the rows. */
MPGI_HIDDEN void mpgi_trace_run_end_stw(void);
/* mpg_run is over, no goroutine exists: what its callers left behind. */
MPGI_HIDDEN void mpgi_trace_run_over(void);

/* ---- between trace.c and trace_writer.c ---- */

/* One trace at a time.  Who moves the state on:
 *   OFF -> OPENING        mpg_trace_start
 *   OPENING -> OPENED     the writer: its file is open (or error is set)
 *   OPENED -> ON, OFF     mpg_trace_start
 *   ON -> STOPPING        mpg_trace_stop
 *   STOPPING -> DONE      the writer: everything is in the file
 *   DONE -> OFF           mpg_trace_stop
 *   OPENING, STOPPING -> ABANDONED   the end of the caller's mpg_run
 *   ABANDONED -> OFF      the writer */
enum mpgi_trace_state {
  MPGI_TRACING_OFF,
  MPGI_TRACING_OPENING,
  MPGI_TRACING_OPENED,
  MPGI_TRACING_ON,
  MPGI_TRACING_STOPPING,
  MPGI_TRACING_DONE,
  MPGI_TRACING_ABANDONED,
};
struct mpgi_tracing {
  _Atomic uint32_t state;  /* enum mpgi_trace_state; futex */
  _Atomic uint32_t caller; /* run_generation of whoever moved it, 0: none */
  int error;               /* negative errno of the file, 0; the writer, before
                              OPENED and DONE */
};
MPGI_HIDDEN extern struct mpgi_tracing mpgi_tracing;
/* False: the state isn't from any more. */
MPGI_HIDDEN bool mpgi_tracing_move(enum mpgi_trace_state from,
                                   enum mpgi_trace_state to);
/* Start the writer's thread.  0, -ENOMEM, -EAGAIN. */
MPGI_HIDDEN int mpgi_trace_writer_start(const char *path);

#endif /* MPGI_SCHED_TRACE_H */

/* wants.h - what is wanted of whoever switches: a bit each.  Part of gmp.h. */
#ifndef MPGI_WANTS_H
#define MPGI_WANTS_H

#ifndef MPGI_GMP_H
#error "include sched/gmp.h, which includes this"
#endif

/* [quick] What a switch does beside taking the next goroutine of its P: two
 * words say that there is anything, so that it looks at nothing else
 * (schedule in proc.c).  For it they are hints about when: who sets one and
 * can't wait for the next switch sends a signal, too.  The bit of a stop is
 * also the state that everybody else asks for (mpgi_stw_waiting). */
enum mpgi_wants {
  MPGI_WANT_STOP = 1,   /* the world stops (stw.c): everybody must */
  MPGI_WANT_TIMERS = 2, /* sysmon: some are overdue, look at every heap */
  MPGI_WANT_WOKEN = 4,  /* sched.lock: runq_woken isn't 0 */
  MPGI_WANT_WATCH = 8,  /* a trace, lockcheck or stackmove: only for those who
                           leave of their own accord (mpgi_yield_g0) */
};
enum mpgi_p_wants {
  MPGI_P_WANT_RETIRE = 1, /* stopper, sysmon: beyond gomaxprocs; the owner lets
                             go of it */
  MPGI_P_WANT_TURN = 2,   /* sysmon: a whole slice is over, the global queue has
                             its turn; the owner takes it back then */
  MPGI_P_WANT_TIMERS = 4, /* sysmon: one of its timers is due; who adds the
                             first: look_at is to be earlier.  The owner takes
                             it back before it looks */
};

static inline uint32_t mpgi_wants(void) {
  return atomic_load_explicit(&mpgi_sched.wants, memory_order_relaxed);
}
static inline bool mpgi_stw_waiting(void) {
  return MPGI_UNLIKELY(mpgi_wants() & MPGI_WANT_STOP);
}
static inline bool mpgi_timers_overdue(void) {
  return MPGI_UNLIKELY(mpgi_wants() & MPGI_WANT_TIMERS);
}
static inline uint32_t mpgi_p_wants(const struct mpg_p *pp) {
  return atomic_load_explicit(&pp->wants, memory_order_relaxed);
}
static inline bool mpgi_p_retires(const struct mpg_p *pp) {
  return MPGI_UNLIKELY(mpgi_p_wants(pp) & MPGI_P_WANT_RETIRE);
}
/* Sequentially consistent: a stop begins with it, and ends (stw.c). */
static inline void mpgi_want(enum mpgi_wants what) {
  if (!(mpgi_wants() & what)) atomic_fetch_or(&mpgi_sched.wants, what);
}
static inline void mpgi_want_no_more(enum mpgi_wants what) {
  atomic_fetch_and(&mpgi_sched.wants, ~(uint32_t) what);
}
/* Who takes it back sees what was there for it. */
static inline void mpgi_p_want(struct mpg_p *pp, enum mpgi_p_wants what) {
  atomic_fetch_or_explicit(&pp->wants, what, memory_order_release);
}
/* True: it was wanted. */
static inline bool mpgi_p_want_no_more(struct mpg_p *pp,
                                       enum mpgi_p_wants what) {
  if (!(mpgi_p_wants(pp) & what)) return false;
  atomic_fetch_and_explicit(&pp->wants, ~(uint32_t) what, memory_order_acquire);
  return true;
}

#endif /* MPGI_WANTS_H */

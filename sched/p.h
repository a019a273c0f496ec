/* p.h - P, a processor: the right to run goroutines (p.c).  Part of gmp.h. */
#ifndef MPGI_P_H
#define MPGI_P_H

#ifndef MPGI_GMP_H
#error "include sched/gmp.h, which includes this"
#endif

#include <sched/alarm.h>

enum mpgi_p_status {
  MPGI_P_IDLE = 0,    /* on sched.idle_p */
  MPGI_P_RUNNING = 1, /* owned by m */
  MPGI_P_SYSCALL = 2, /* m is in a system call; anybody may take it by CAS */
  MPGI_P_GCSTOP = 3,  /* stopped for the world; m keeps it in place */
  MPGI_P_DEAD = 4,    /* beyond gomaxprocs */
  MPGI_P_AWAY = 5,    /* of an attached thread in a call that blocks; only the
                         stopper may take it, by CAS [attach.p] */
};

struct mpg_p {
  int32_t id;
  _Atomic uint32_t status;        /* enum mpgi_p_status */
  struct mpg_m *m;                /* owner, or NULL; stale while in a syscall */
  struct mpg_p *link;             /* sched.lock: idle list */
  _Atomic(struct mpg_m *) handed; /* was idle and is woken for it (m.c) */
  _Atomic uint32_t schedtick;     /* owner: +1 at every new slice */
  _Atomic uint32_t syscalltick;   /* owner: +1 at every system call */
  _Atomic uint32_t taken; /* sysmon: +1 when it takes it from a system call;
                             owner: 0 when it gets it back (syscall.c) */
  /* Who waits here was woken [fair.woken]: */
  _Atomic uint32_t woken;      /* owner: runnext's */
  _Atomic uint32_t woken_tail; /* owner: up to there in the ring, some */
  _Atomic uint32_t wants; /* enum mpgi_p_wants; anybody, by read-modify-write */
  uint32_t look_at; /* owner: the slice whose switch isn't quick [quick] */
  /* [wake.lazy]; runs: goroutines that it ran, schedtick + next_taken */
  _Atomic uint32_t next_taken; /* owner: so often it ran who was in runnext */
  uint32_t next_base;    /* owner: next_taken when it began to count anew */
  _Atomic uint32_t lazy; /* owner, sysmon, thieves: it is for the owner only */
  _Atomic uint32_t late; /* thieves, sysmon: somebody wasn't run in time;
                            owner: 0 */
  _Atomic uint32_t waking; /* owner: it is busy with waking somebody */
  bool asked;              /* owner: it did; not judged yet */
  uint32_t asked_at;       /* owner: runs then */
  uint32_t brief;          /* owner: so many runs are not worth waking; 0 */
  int32_t brief_left;      /* owner: of these, since its ring was last empty */
  bool global_ran; /* owner: the last from there has not made up for it */
  bool attached;   /* sched.lock: belongs to an attached thread (attach.c) */
  _Atomic bool solo, shut; /* sched.lock: for owners, for others [runq.solo] */

  /* Run queue: tail written by the owner, head by CAS of anybody (runq.c). */
  _Alignas(MPGI_CACHE_LINE_BYTES) _Atomic uint64_t runq_head; /* [runq.tag] */
  _Atomic uint32_t runq_tail;
  uint32_t young; /* owner: so many at the tail, or all, are its newborns
                     [fair.family] */
  _Atomic(struct mpg_g *) runnext;
  _Atomic(struct mpg_g *) runq[MPGI_RUNQ_SLOTS];

  uint64_t goid, goid_end; /* owner: numbers for goroutines, taken in batches */
  /* owner: user goroutines that it started, and whose end it saw; of this run.
   * mpgi_g_count */
  _Atomic uint64_t started, ended;
  struct mpg_g *gfree; /* owner: dead Gs */
  uint32_t ngfree;
  uint32_t rand;
  struct mpgi_stack_cache stacks;          /* owner */
  struct mpgi_cache *cache;                /* owner, through tls.cache */
  _Atomic(struct mpgi_trace_ring *) trace; /* owner emits; NULL: no trace */
  struct mpgi_select *selects;             /* owner: free ones */
  uint32_t nselects;

  struct mpgi_mutex timer_lock;
  struct mpgi_timer_slot *timers;      /* heap, fixmem */
  uint32_t ntimers, ndead, timers_cap; /* slots; of them without a timer */
  _Atomic int64_t timer_first;         /* timers[0].when; INT64_MAX: none */

  /* [preempt.asked] anybody who asks: whose preemption was asked for, in which
   * slice (schedtick), and since when, ns */
  _Atomic(const struct mpg_g *) preempt_g;
  _Atomic uint32_t preempt_tick;
  _Atomic int64_t preempt_at;

  /* sysmon's observations */
  uint32_t mon_schedtick, mon_syscalltick;
  int64_t mon_schedwhen, mon_syscallwhen;
  int64_t mon_cpu; /* CPU time of the thread at mon_cpuwhen; -1: not read */
  int64_t mon_cpuwhen;
  bool mon_burns;    /* it used the CPU between the last two readings */
  bool mon_stuck;    /* its thread is blocked in the kernel */
  bool mon_fast;     /* its slices are short: sysmon.c, slice_look */
  int64_t mon_asked; /* when it was last asked to yield; 0: not in this slice */
  uint32_t mon_runs; /* runs when that last changed, at mon_runswhen */
  int64_t mon_runswhen;
  /* [lazy.pace]: the pace, and when it is looked at next */
  int64_t mon_lazy_ns, mon_lazy_at;
  struct mpgi_alarm mon_alarm; /* alarm.c */
};

/* p.c */
MPGI_HIDDEN void mpgi_p_acquire(struct mpg_m *mp, struct mpg_p *pp);
MPGI_HIDDEN struct mpg_p *mpgi_p_release(struct mpg_m *mp);
MPGI_HIDDEN void mpgi_p_idle_put_locked(struct mpg_p *pp);
MPGI_HIDDEN struct mpg_p *mpgi_p_idle_get_locked(void);
MPGI_HIDDEN bool mpgi_p_idle_take_locked(struct mpg_p *pp); /* this one */
/* A dead P beyond gomaxprocs, running (in transit); NULL: none left. */
MPGI_HIDDEN struct mpg_p *mpgi_p_revive_locked(void);
MPGI_HIDDEN void mpgi_p_die_locked(struct mpg_p *pp); /* of no owner */
/* Have n Ps at least, new ones dead.  0 or -ENOMEM. */
MPGI_HIDDEN int mpgi_p_resize_prepare(int n);
/* One more dead P.  0; -EAGAIN: as many as there may be; -ENOMEM. */
MPGI_HIDDEN int mpgi_p_make_one(void);
/* With the world stopped, or before it runs: gomaxprocs is n.  Returns how many
 * there are: fewer when attached threads hold the rest. */
MPGI_HIDDEN int mpgi_p_resize_stw(int n);
/* Let go of one P: dead at once when idle, else retiring. */
MPGI_HIDDEN void mpgi_p_shrink_locked(struct mpg_p *pp);
MPGI_HIDDEN void mpgi_p_retire(struct mpg_m *mp); /* mp lets go of its P */

/* compensate.c: sysmon.  So many Ps are stuck in blocking calls. */
MPGI_HIDDEN void mpgi_compensate(int stuck);

#endif /* MPGI_P_H */

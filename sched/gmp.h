/* gmp.h - G, M, P and the scheduler's shared state.  Private to sched/.
 *
 * Field comments name the writer and the guard.  "owner" of a G: the M that
 * runs it while its status is running, syscall or preempted-in-place; the
 * waker or queue holder otherwise (status.c).  "owner" of a P: the M whose
 * m->p it is; idle Ps belong to sched.lock, stopped ones to the stopper.
 */
#ifndef MPGI_GMP_H
#define MPGI_GMP_H

#ifndef MPGI_SCHED_H
#error "include sched/sched.h first; gmp.h is private to sched/"
#endif

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <arch/arch.h>
#include <arch/common/chaos.h>
#include <arch/common/check.h>
#include <arch/common/fixmem.h>
#include <arch/common/histogram.h>
#include <arch/common/mutex.h>
#include <arch/common/options.h>
#include <arch/common/sanitize.h>
#include <arch/os.h>
#include <arch/tls.h>
#include <gc/gc.h>
#include <stack/stack.h>

/* ---- statuses (numbers are Go's: scheddetail prints them) ---- */
enum mpgi_g_status {
  MPGI_G_IDLE = 0,      /* block just made; on no list */
  MPGI_G_RUNNABLE = 1,  /* on a run queue, not running */
  MPGI_G_RUNNING = 2,   /* m->curg of a thread that has a P */
  MPGI_G_SYSCALL = 3,   /* m->curg of a thread that may have lost its P */
  MPGI_G_WAITING = 4,   /* parked; somebody holds a pointer to ready it */
  MPGI_G_DEAD = 6,      /* on a free list */
  MPGI_G_COPYSTACK = 8, /* its stack is being swapped out or in */
  MPGI_G_PREEMPTED = 9, /* stopped at a safe point in place: the world stops */
  MPGI_G_SCAN = 0x1000,
};

enum mpgi_wait_reason {
  MPGI_WAIT_NONE,
  MPGI_WAIT_CHAN_SEND,
  MPGI_WAIT_CHAN_RECV,
  MPGI_WAIT_CHAN_SEND_NIL,
  MPGI_WAIT_CHAN_RECV_NIL,
  MPGI_WAIT_SELECT,
  MPGI_WAIT_SELECT_NONE,
  MPGI_WAIT_MUTEX,
  MPGI_WAIT_RWMUTEX_R,
  MPGI_WAIT_RWMUTEX_W,
  MPGI_WAIT_COND,
  MPGI_WAIT_WAITGROUP,
  MPGI_WAIT_SEM,
  MPGI_WAIT_SLEEP,
  MPGI_WAIT_IO,
  MPGI_WAIT_IO_CLOSE,
  MPGI_WAIT_IDLE_GC,
  MPGI_WAIT_FINALIZER,
  MPGI_WAIT_REASONS
};

/* Bits of ctx.preempt. */
enum {
  MPGI_PREEMPT_STOP = 1,  /* the world is stopping */
  MPGI_PREEMPT_SLICE = 2, /* its time slice is over: yield */
};

#define MPGI_G_SIGNATURE 0x6d70672bu
#define MPGI_RUNQ_SLOTS 256
#define MPGI_SLICE_NS (10 * 1000 * 1000)
#define MPGI_FAIR_NS (1000 * 1000) /* a fair while */
#define MPGI_LAZY_NS (100 * 1000)  /* [wake.lazy] */
#define MPGI_BRIEF_RUNS 64
#define MPGI_EXIT_GRACE_NS ((int64_t) 1000 * 1000 * 1000)
#define MPGI_ALLP_MAX (2 * MPGI_PROCS_MAX) /* and those of attached threads */
/* All signals that come at once are on it: with AMX's registers 11 KiB each. */
#define MPGI_GSIGNAL_BYTES (256 << 10)
/* TSan leaves 130 KiB of these to a thread; libdw wants 170. */
#define MPGI_G0_BYTES (MPGI_TSAN ? 2 << 20 : 512 << 10)
/* Below either; handlers may have large frames. */
#define MPGI_M_GUARD_BYTES (64 << 10)

/* A goroutine waiting in a channel's or semaphore's queue: one in the G for a
 * single object, several in a struct mpgi_select.  Guarded by the queue's
 * lock. */
struct mpgi_waiter {
  struct mpgi_waiter *next, *prev;
  struct mpg_g *g;
  union {
    void *elem; /* where the value comes from or goes to; a root */
    struct mpgi_waiter *right; /* semaphores: sema.c */
  };
  const void *object;  /* the channel or semaphore; a root */
  int64_t since;       /* mutexes: ns when the wait began */
  bool starving;       /* mutexes: waited for more than 1 ms */
  bool handed;         /* mutexes: it is its */
  bool select;         /* one of several: win g first (chan.h) */
  _Atomic bool queued; /* channels: in the queue; read without the lock */
  uint32_t index;      /* of the select's case */
};

/* A timer.  While it is in a P's heap guarded by pp->timer_lock. */
struct mpgi_timer {
  int64_t when;    /* ns; 0 when not in a heap */
  int64_t period;  /* ns; 0: fires once */
  struct mpg_g *g; /* to be made ready; NULL: call is called */
  union {
    /* NULL: always.  Called under the lock when it is due: false when somebody
     * else wakes g, which is then left alone. */
    bool (*claim)(struct mpg_g *g);
    /* After the lock was released, on g0 with a P; must not stop for the
     * world: nothing but its M's registers may know the timer any more. */
    void (*call)(struct mpgi_timer *t, int64_t now);
  };
  _Atomic(struct mpg_p *) pp; /* in whose heap; written under the lock */
  uint32_t index;
};

/* A place in a P's heap of timers: 4-ary, by when. */
struct mpgi_timer_slot {
  int64_t when;
  struct mpgi_timer *t; /* NULL: it was deleted */
};

/* A goroutine's values of mpg_local (local.c); fixmem. */
struct mpgi_locals {
  size_t n;      /* slots */
  void *value[]; /* by key; roots */
};

/* What for; so, what it left at ctx.sp (morestack.S, frames.c). */
enum mpgi_growing { MPGI_GROWING_CALL = 1, MPGI_GROWING_ALLOCA };

/* What its next start has beside what each has [start.extra]: a start that
 * finds none of them looks at nothing that they announce. */
enum mpgi_g_extra {
  MPGI_EXTRA_LATENCY = 1, /* sched latency is sampled for this wake-up */
  MPGI_EXTRA_CXX = 2,     /* amid C++ exceptions [cxx.swap] */
  MPGI_EXTRA_RESUME = 4,  /* on_resume */
  MPGI_EXTRA_ASYNC = 8,   /* ctx.xsave */
  MPGI_EXTRA_WOKEN = 16,  /* trace_wake */
  MPGI_EXTRA_LOCKED = 32, /* locked_m: also at every start after that */
};

/* A thread's C++ exceptions, as the Itanium C++ ABI lays them out (Exception
 * Handling, 2.2.2): those caught, newest first, and how many are in flight.
 * They are the running goroutine's, who takes them along [cxx.swap]. */
struct mpgi_cxx {
  void *caught;
  uint64_t uncaught; /* an unsigned and padding, which is 0 */
};

struct mpg_g {
  struct mpgi_context ctx; /* first: the assembler's view */
  _Atomic uint32_t status; /* enum mpgi_g_status; status.c */
  uint32_t signature;
  uint64_t goid;                       /* set at creation */
  struct mpg_m *m;                     /* owner: the M it runs on, or NULL */
  struct mpg_g *link;                  /* owner: run queue or free list */
  void (*on_resume)(struct mpg_g *gp); /* mpgi_g_on_resume */
  uint32_t preempt_off;                /* itself: nesting of preempt_disable */
  uint8_t wait_reason;                 /* enum mpgi_wait_reason */
  uint8_t fixed;                       /* runs on a fixed stack */
  uint8_t is_main;
  uint8_t finalizers; /* runs them: not counted as a goroutine */
  /* -- third line: every start and every switch ends here */
  uint8_t attached;       /* an attached thread's (attach.c) */
  uint8_t leaves;         /* owner: its end has something to do [end.plain] */
  uint8_t movable;        /* constant: a record without a block (g.c) */
  uint8_t extra;          /* owner: enum mpgi_g_extra */
  uint8_t growing;        /* itself: on g0 for more stack, enum mpgi_growing */
  uint8_t leaked;         /* leak.c: as of the last look, enum mpgi_leaked */
  uint8_t leak_said;      /* leak.c: it was printed */
  uint8_t at_call;        /* itself: being preempted at a call (tier 1) */
  uintptr_t last_tp;      /* owner: thread pointer of the last M; 0 never ran */
  uint64_t trace_wake;    /* whoever made it runnable: that record, or 0 */
  struct mpg_m *locked_m; /* itself: runs on this M only (lock.c) */
  mpg_once *once;         /* itself: whose function it is in, innermost */
  size_t stack_limit;     /* bytes; 0: as most (go.c) */
  uint64_t creator;       /* goid */
  /* -- fourth: beginning, end, waiting */
  uintptr_t creator_pc; /* return address of mpg_go */
  mpg_func fn;
  char *name;                 /* fixmem, or NULL */
  struct mpgi_locals *locals; /* itself; NULL until it sets one (local.c) */
  uint32_t lock_count;        /* itself: nesting of mpg_lock_thread */
  uint32_t owned_locks;       /* itself: locks that its thread owns (lock.c) */
  int64_t wait_since;         /* park: ns, only with tracebacks (approximate) */
  struct mpgi_select *select; /* itself: parked in a select; chan.h */
  _Atomic uint32_t claimed;   /* in a select: somebody gives the result */
  /* A wait for a descriptor (io_private.h): enum mpgi_io_over, and under the
   * descriptor's lock in which directions. */
  _Atomic uint8_t io_over;
  uint8_t io_dirs;
  bool woken_globally; /* sched.lock: counted in runq_woken */
  union {              /* itself: what it waits for */
    mpg_mutex *lock;   /* or competes for */
    struct mpgi_pd *pd;
  };
  /* -- fifth: waiting */
  struct mpgi_waiter wait;
  int32_t saved_errno; /* async preemption: errno is the goroutine's then */
  /* itself: its C++ exceptions while it is switched out [cxx.swap] */
  uint32_t cxx_uncaught;
  void *cxx_caught;
  /* -- sixth: beginning and end */
  struct mpgi_segment seg0; /* record of the first segment */
  int64_t ready_at;         /* MPGI_EXTRA_LATENCY: ns when made runnable */
  const void *pthread_lock; /* the last; NULL: reported */
  uint32_t pthread_locks;   /* itself: libc's, that it holds (lockcheck.c) */
  struct mpgi_timer timer;
};
_Static_assert(sizeof(struct mpg_g) <= 512 + 16 * MPGI_TSAN,
               "G leaves too little stack");

/* A movable goroutine (g.c, move.c). */
struct mpgi_movable {
  struct mpg_g g; /* g.movable is set */
  void *image;    /* parked: its stack is swapped out to here */
  struct mpgi_movable *next, *prev; /* allg_lock: live ones */
  struct mpgi_movable *link;        /* stopper: candidates of a cycle */
  int64_t seen;    /* stopper: g.wait_since at the last cycle */
  uint8_t skip;    /* stopper: cycles left before it is looked at again */
  uint8_t backoff; /* stopper: what skip was at its last pin */
};
static inline struct mpgi_movable *mpgi_movable_of(const struct mpg_g *gp) {
  return gp->movable ? (struct mpgi_movable *) (uintptr_t) gp : NULL;
}
/* owner: fn is run on g0 before it resumes; NULL: nothing is, any more. */
static inline void mpgi_g_on_resume(struct mpg_g *gp,
                                    void (*fn)(struct mpg_g *gp)) {
  gp->on_resume = fn;
  if (fn) gp->extra |= MPGI_EXTRA_RESUME;
}
/* NULL: its stack is where it runs. */
static inline void *mpgi_g_image(const struct mpg_g *gp) {
  return MPGI_UNLIKELY(gp->movable) ? mpgi_movable_of(gp)->image : NULL;
}

#include <sched/p.h>

/* Frames of a goroutine, innermost first (frames.c). */
#define MPGI_PCS_MAX 100
struct mpgi_pcs {
  uint32_t n;
  bool exact; /* pc[0] is where it is; the others are return addresses */
  bool more;  /* than fit */
  uintptr_t pc[MPGI_PCS_MAX];
};

/* What a thread is for the stopper. */
enum mpgi_m_stop {
  MPGI_M_GOING,  /* not stopped */
  MPGI_M_ON_G0,  /* waiting in mpgi_stop_here: can help with marking */
  MPGI_M_PLACED, /* likewise, amid a goroutine (mpgi_stop_in_place) */
  MPGI_M_FROZEN, /* waiting in a signal handler; frozen_uc is valid */
};

/* It stopped on g0: between stop_sp and g0_sp is all that it does there. */
static inline bool mpgi_m_stopped_on_g0(uint32_t stop) {
  return stop == MPGI_M_ON_G0 || stop == MPGI_M_PLACED;
}

/* How an M's thread ended (the run is over). */
enum mpgi_m_gone {
  MPGI_GONE_NOT,
  MPGI_GONE_EXITED,
  MPGI_GONE_FROZEN, /* never runs again */
  MPGI_GONE_LOOSE,  /* an attached thread that goes on without the runtime */
};

/* Where a goroutine entered its system call: its thread goes on running, and
 * only what is on its stack since then may be read.  Written by the thread
 * before the goroutine's status says so. */
enum { MPGI_SAVED_RBP = 5, MPGI_SAVED_PC };
struct mpgi_syscall {
  uintptr_t regs[7]; /* a thunk's frame: callee-saved ones, return address */
  uintptr_t sp;      /* above that: in seg */
  struct mpgi_segment *seg, *dynamic; /* as in ctx */
};

struct mpg_m {
  struct mpgi_xsave *xsave_free; /* itself, signal handler reads */
  struct mpgi_syscall syscall;   /* itself: of curg */
  int64_t id;
  int tid;
  int cpu_clock;
  uintptr_t thread_pointer;
  uintptr_t *guard; /* its guard word, for poisoning by others */
  uintptr_t g0_sp, g0_base, g0_lo, g0_hi;
  char *gsignal;        /* lowest address, above its guard region */
  char *g0_mem;         /* attached threads: as gsignal; NULL otherwise */
  struct mpg_g *curg;   /* itself */
  struct mpgi_cxx *cxx; /* itself: its thread's; NULL without the library */
  struct mpg_p *p;      /* itself; the stopper while it is stopped */
  _Atomic(struct mpg_p *) next_p; /* whoever wakes it: the P to start with */
  struct mpg_p *old_p;            /* itself: P before the system call */
  struct mpg_p *handed_off;       /* itself: that instead, at handed_at ns */
  int64_t handed_at;
  struct mpgi_note park;  /* idle */
  struct mpg_m *link;     /* sched.lock: idle list */
  struct mpg_m *all_link; /* sched.lock: every M */
  struct mpg_g *picked;   /* itself: to be run next (mpgi_schedule) */
  bool inherits;          /* picked: goes on with the slice */
  bool spinning;          /* itself; counted in sched.nmspinning */
  bool blocked;           /* itself: sleeping on park */
  bool trace_left;  /* itself: its last event was somebody's leaving a P */
  bool move_wanted; /* itself: stackmove, a movable goroutine left its stack */
  volatile bool in_call;  /* itself, its handler reads: in a call that may
                             block, on g0, without a P */
  _Atomic uint32_t waits; /* itself: in the runtime (arch/tls.h) */
  volatile bool abroad;   /* likewise: on g0, where it may wait for others'
                             locks, and may be frozen (mpgi_abroad) */
  uint32_t rand;
  uint32_t fastrand;
  struct mpg_g *locked_g; /* itself: runs nobody else (lock.c) */
  bool ended;             /* itself: the thread ends before the run does */
  /* of an attached thread (attach.c); itself */
  bool attached;
  bool calls_by_g0;    /* itself: attached, or chaos is on [syscall.here] */
  bool at_edge;        /* its call is done: it may return when the run ends */
  struct mpg_p *own_p; /* its P, also while it is loose */
  struct mpgi_segment stack; /* the thread's own stack */
  /* attached: the current segment, [0, 0), whose prev is stack: so for the
   * assembler SP is never on one of our segments. */
  struct mpgi_segment nowhere;
  struct mpgi_os_altstack altstack; /* what the application had */
  uint64_t sigmask;                 /* likewise */
  _Atomic uint32_t let_go;          /* the thread and the run that ended */
  _Atomic uint32_t stop;            /* enum mpgi_m_stop */
  void *frozen_uc;                  /* itself, before stop = FROZEN */
  uintptr_t fault_pc, fault_sp, fault_fp; /* itself: where a guard was hit */
  uintptr_t stop_sp; /* itself, before stop = ON_G0: g0 scan from here */
  bool thawed;       /* the stopper, before it lets the P run [stw.thaw] */
  /* Dying (dying.c); itself, before caught. */
  struct mpg_g *caught_g;
  struct mpgi_pcs caught_pcs; /* where caught_g is */
  _Atomic uint32_t caught;
  /* From here on kept when the record is used again [m.pins]. */
  _Atomic uint32_t pins; /* threads about to signal it */
  _Atomic uint32_t gone; /* enum mpgi_m_gone: itself; NOT once it is set up */
};
static inline bool mpgi_m_on_gsignal(const struct mpg_m *mp, uintptr_t sp) {
  return sp - (uintptr_t) mp->gsignal < MPGI_GSIGNAL_BYTES;
}
_Static_assert(offsetof(struct mpg_m, xsave_free) == 0, "M_XSAVE_FREE");
_Static_assert(offsetof(struct mpg_m, syscall.regs) == 8, "M_SYSCALL_REGS");
_Static_assert(offsetof(struct mpg_m, syscall.sp) == 64, "M_SYSCALL_SP");

struct mpgi_gqueue {
  struct mpg_g *head, *tail;
  uint32_t n;
};

/* Every goroutine ever made, dead ones too: chunks of pointers, append only. */
#define MPGI_ALLG_CHUNK 1024
#define MPGI_ALLG_CHUNKS (64 << 10)

struct mpgi_sched {
  /* -- read by every switch, park or wake-up, seldom written */
  _Atomic uint32_t wants;     /* enum mpgi_wants; by read-modify-write */
  _Atomic int32_t npidle;     /* written under lock */
  _Atomic int64_t idle_ns;    /* sysmon: nobody had anything to run */
  _Atomic int64_t coarse_now; /* sysmon: ns, a tick old at most */
  /* -- */
  _Alignas(MPGI_CACHE_LINE_BYTES) struct mpgi_mutex lock;
  struct mpgi_gqueue runq;  /* lock */
  struct mpgi_gqueue spent; /* lock: used up their slices (runq.c) */
  int64_t spent_at;         /* lock: coarse ns when one of them was taken */
  bool spent_passed;        /* lock: the last was one of them, others waited */
  _Atomic uint32_t runq_size; /* of both; written under lock, read without */
  struct mpg_p *idle_p;       /* lock */
  struct mpg_m *idle_m;       /* lock */
  int32_t nmidle;             /* lock */
  int32_t nmidle_locked;      /* lock: wait for a locked goroutine (lock.c) */
  struct mpg_m *free_m;       /* lock: records of threads that ended */
  int32_t nm;                 /* lock: threads that exist as Ms */
  int32_t max_m;              /* lock */
  int32_t nm_ahead;           /* lock: of nm, started ahead, not idle yet */
  int32_t nm_ending;          /* lock: no more of nm, but may have a P */
  int32_t misses;             /* lock: starts that found no idle M, in a row */
  int64_t missed_at;          /* lock: ns, the last of them */
  int64_t next_mid;           /* lock */
  struct mpg_m *all_m;        /* lock; also read with the world stopped */
  _Atomic int32_t nmspinning;
  struct mpg_g *gfree; /* allg_lock: dead Gs */
  uint32_t ngfree;
  struct mpgi_mutex allg_lock;
  struct mpg_g ***allg; /* chunks; allg_lock to append */
  _Atomic size_t nallg; /* release after the slot is written */
  _Atomic uint64_t next_goid;
  /* The counts are raised after the entries are made: who reads one sees what
   * is below it. */
  struct mpg_p *allp[MPGI_ALLP_MAX]; /* resize_lock; stopper: their order */
  _Atomic int32_t nallp;         /* that may be looked at; stopper, or lock */
  _Atomic int32_t nallp_made;    /* resize_lock */
  _Atomic int32_t procs;         /* GOMAXPROCS; stopper */
  _Atomic int32_t procs_wanted;  /* for the next run; 0: default */
  bool may_be_solo;              /* constant while it runs [runq.solo] */
  struct mpgi_mutex resize_lock; /* making Ps */
  _Atomic uint32_t starting;     /* some thread is inside mpg_run */
  _Atomic uint32_t running;      /* goroutines may exist */
  _Atomic uint32_t deadlock_suspected; /* written under lock (deadlock.c) */
  bool attachable;                     /* lock: and threads may attach */
  _Atomic int32_t nattached; /* written under lock: attached threads */
  _Atomic uint32_t exiting;  /* main returned: the world stays stopped */
  uint32_t run_generation;   /* +1 for each mpg_run */
  int64_t start_ns;
  struct mpgi_note exit_note;     /* mpg_run's caller */
  _Atomic int32_t live_threads;   /* Ms, sysmon and the initiator that run */
  uintptr_t caller_sp, caller_hi; /* stack of mpg_run's caller: a root */
  uintptr_t caller_tp;
  uint64_t sigmask;            /* of mpg_run's caller, and of Ms */
  struct mpgi_control control; /* of mpg_run's caller, and of new goroutines */

  /* sysmon */
  _Atomic uint32_t sysmon_wait;
  struct mpgi_note sysmon_note;
  int64_t sysmon_deep_until;      /* sched.lock: then it wakes by itself */
  _Atomic int64_t sysmon_until;   /* when it will look next; INT64_MAX asleep */
  _Atomic uint32_t sysmon_drowsy; /* [sysmon.drowsy] */
  _Atomic int64_t preempt_at; /* sysmon: some slice may be ended from then */
  /* [netpoll.lazy]: */
  _Atomic uint32_t lone_polls; /* pollers: about so often one was found */
  _Atomic int64_t lone_from;   /* sysmon: nobody is lazy before then, ns */
  /* metrics.c; fixmem, so that the collector doesn't scan them */
  struct mpgi_metrics *metrics;
  _Atomic(struct mpg_g *) idle_gc; /* parked until sysmon wakes it */
  /* lock; so many in runq were woken by somebody without a P: whoever has run a
   * fair while makes way (sysmon.c) */
  _Atomic uint32_t runq_woken;
  /* timed idle wait: one M sleeps until the first timer */
  _Atomic(struct mpg_m *) poller;
  _Atomic int64_t poll_until;
};
MPGI_HIDDEN extern struct mpgi_sched mpgi_sched;

/* Stop-the-world state (stw.c). */
struct mpgi_stw {
  /* [stw.turn]: tickets; next != now: an initiator is at work */
  _Atomic uint32_t turn_next, turn_now;
  _Atomic int32_t stopwait; /* Ps that have not stopped yet */
  _Atomic uint32_t thaws;   /* initiator: so often [stw.thaw] */
  _Atomic uint32_t arrived; /* futex: bumped when stopwait reaches 0 */
  _Atomic uint32_t seq;     /* futex: bumped at start and when help is wanted */
  _Atomic int32_t tickets;  /* helpers wanted */
  enum mpgi_stop_reason reason;
  unsigned helpers; /* that may be recruited: threads that stop on g0 */
  int64_t requested_at, stopped_at;
  _Atomic int64_t last_tts;
  _Atomic uint64_t pause_total;
};
MPGI_HIDDEN extern struct mpgi_stw mpgi_stw;

#include <sched/wants.h>

/* ---- helpers ---- */
static inline uint32_t mpgi_p_runs(const struct mpg_p *pp) { /* any thread */
  return atomic_load_explicit(&pp->schedtick, memory_order_relaxed) +
         atomic_load_explicit(&pp->next_taken, memory_order_relaxed);
}
static inline uint32_t mpgi_g_status(const struct mpg_g *gp) {
  return atomic_load_explicit(&gp->status, memory_order_acquire);
}
static inline uint32_t mpgi_xorshift(uint32_t *s) {
  uint32_t x = *s;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return *s = x;
}

/* status.c */
MPGI_HIDDEN void mpgi_g_status_set(struct mpg_g *gp, enum mpgi_g_status from,
                                   enum mpgi_g_status to);
MPGI_HIDDEN const char *mpgi_g_status_name(uint32_t status);
MPGI_HIDDEN const char *mpgi_wait_reason_name(uint8_t reason);

/* runq.c */
MPGI_HIDDEN void mpgi_runq_put(struct mpg_p *pp, struct mpg_g *gp, bool next);
MPGI_HIDDEN struct mpg_g *mpgi_runq_get(struct mpg_p *pp, bool *inherit);
MPGI_HIDDEN struct mpg_g *mpgi_runq_steal(struct mpg_p *pp, struct mpg_p *from,
                                          bool steal_next);
MPGI_HIDDEN bool mpgi_runq_empty(struct mpg_p *pp);
/* Is there nobody that other Ps may take?  [wake.lazy] */
MPGI_HIDDEN bool mpgi_runq_closed(struct mpg_p *pp);
MPGI_HIDDEN uint32_t mpgi_runq_size(struct mpg_p *pp);
MPGI_HIDDEN bool mpgi_runq_has_woken(struct mpg_p *pp); /* any thread */
/* Everything of pp to the global queue; any thread.  What an owner puts at
 * the same time stays. */
MPGI_HIDDEN void mpgi_runq_drain_locked(struct mpg_p *pp);
/* sysmon: may others take from pp, from now on?  [runq.solo] */
MPGI_HIDDEN bool mpgi_runq_open_locked(struct mpg_p *pp);
/* The n oldest of pp's ring to the global queue; any thread. */
MPGI_HIDDEN void mpgi_runq_shed_locked(struct mpg_p *pp, uint32_t n);
MPGI_HIDDEN void mpgi_gqueue_push(struct mpgi_gqueue *q, struct mpg_g *gp);
MPGI_HIDDEN struct mpg_g *mpgi_gqueue_pop(struct mpgi_gqueue *q);
MPGI_HIDDEN void mpgi_globq_put_locked(struct mpg_g *gp);
/* Woken by somebody without a P. */
MPGI_HIDDEN void mpgi_globq_put_woken_locked(struct mpgi_gqueue *q);
MPGI_HIDDEN void mpgi_globq_put_spent_locked(struct mpg_g *gp);
static inline uint32_t mpgi_globq_n_locked(void) {
  return mpgi_sched.runq.n + mpgi_sched.spent.n;
}
/* How the global queue is looked at [runq.spent]. */
enum mpgi_globq_rule {
  MPGI_GLOBQ_BATCH, /* a fair batch into pp's queue; returns one of them */
  MPGI_GLOBQ_TURN,  /* one, at the end of a whole slice: who used up slices has
                       as good a chance as others */
  MPGI_GLOBQ_LOOK,  /* one, though pp's own queue isn't empty */
};
/* NULL: there is none, or it is nobody's turn. */
MPGI_HIDDEN struct mpg_g *mpgi_globq_get_locked(struct mpg_p *pp,
                                                enum mpgi_globq_rule rule);

/* g.c */
MPGI_HIDDEN struct mpg_g *mpgi_g_new(struct mpg_p *pp, mpg_func fn, void *arg,
                                     const struct mpg_go_options *opt,
                                     bool fixed, int *error);
/* Fatal when the program's linker leaves prologues as they are: for who wants
 * a segmented stack. */
MPGI_HIDDEN void mpgi_check_linker(void);
/* Call a function of the user's from a stub, on the goroutine's stack, with
 * room for foreign code if it is that. */
static inline __attribute__((always_inline)) void mpgi_call_user(mpg_func fn,
                                                                 void *arg) {
  if (mpgi_arch_is_split((uintptr_t) fn))
    fn(arg);
  else
    mpg_foreign_call(fn, arg);
}
MPGI_HIDDEN void mpgi_g_free(struct mpg_p *pp, struct mpg_g *gp);
MPGI_HIDDEN uint64_t mpgi_goid_new(struct mpg_p *pp); /* a number nobody has */
/* A user's goroutine is about to run for the first time. */
MPGI_HIDDEN void mpgi_g_count_start(struct mpg_p *pp, struct mpg_g *gp);
/* User goroutines that are not dead; while others start and end, so many as
 * there were at some time lately, or a few more. */
MPGI_HIDDEN uint64_t mpgi_g_count(void);
MPGI_HIDDEN void mpgi_gfree_flush(struct mpg_p *pp);
/* A dead G, on no list, for an attached thread whose mp->nowhere seg
 * is. */
MPGI_HIDDEN struct mpg_g *mpgi_g_attached(struct mpgi_segment *seg);
MPGI_HIDDEN void mpgi_g_give_back(struct mpg_g *gp); /* it was not used */
MPGI_HIDDEN struct mpg_g *mpgi_allg_get(size_t i);

/* migrate.c: gp ran on another thread before. */
MPGI_HIDDEN void mpgi_tls_migrate(struct mpg_g *gp, const struct mpg_m *mp);

/* move.c */
enum mpgi_pin {
  MPGI_PIN_HEAP,
  MPGI_PIN_ROOT,
  MPGI_PIN_STACK,
  MPGI_PIN_THREAD,
};
MPGI_HIDDEN bool mpgi_move_init(void); /* false: no memory */
MPGI_HIDDEN void mpgi_move_register(struct mpgi_movable *mg);
MPGI_HIDDEN void mpgi_move_unregister(struct mpgi_movable *mg);
/* Choose this cycle's candidates; true: there are some. */
MPGI_HIDDEN bool mpgi_move_begin_stw(bool forced);
MPGI_HIDDEN extern bool mpgi_move_looking; /* between begin and end */
/* Words that pin what they point into, but not the owner's own stack. */
MPGI_HIDDEN void mpgi_move_words(enum mpgi_pin why, const struct mpg_g *owner,
                                 const void *lo, const void *hi);
MPGI_HIDDEN void mpgi_move_end_stw(void);
/* gp is about to run: bring its stack back if it is away. */
MPGI_HIDDEN void mpgi_move_in(struct mpgi_movable *mg);

/* proc.c: all on g0 */
MPGI_HIDDEN _Noreturn void mpgi_schedule(struct mpg_m *mp);
/* A trace begins or ends, the world stopped; or a run begins. */
MPGI_HIDDEN void mpgi_watch(void);
MPGI_HIDDEN _Noreturn void mpgi_execute(struct mpg_m *mp, struct mpg_g *gp,
                                        bool inherit);
/* Take the calling goroutine off its M: status waiting, context complete.
 * From here any thread may ready it; the caller unlocks and schedules. */
MPGI_HIDDEN void mpgi_park_begin(struct mpg_m *mp, struct mpg_g *gp,
                                 enum mpgi_wait_reason reason);
/* Make a parked goroutine runnable on the caller's P (or the global queue
 * when the caller has none). */
MPGI_HIDDEN void mpgi_ready(struct mpg_g *gp);
MPGI_HIDDEN void mpgi_ready_batch(struct mpgi_gqueue *q);
MPGI_HIDDEN void mpgi_wakep(void);
/* On pp's M: somebody was put into its runnext, and a full fence came after
 * it; wake another M for that one?  kicked: another went to the ring. */
MPGI_HIDDEN void mpgi_wake_for_next(struct mpg_p *pp, bool kicked);
/* Does some run queue have work (that others may take)? */
MPGI_HIDDEN bool mpgi_work_anywhere(void);
/* wakep when there is such work, or nobody sleeps for the timers and
 * descriptors there are. */
MPGI_HIDDEN void mpgi_wake_if_wanted(void);
/* It was woken by somebody without a P, or came out of a system call: it is
 * runnable, and may not have to wait for slices to end. */
MPGI_HIDDEN void mpgi_ready_globally(struct mpg_g *gp);
/* Put the running gp at the back and schedule. */
MPGI_HIDDEN _Noreturn void mpgi_requeue(struct mpg_m *mp, struct mpg_g *gp,
                                        bool global);
/* The running gp was preempted: put it behind the others, and schedule. */
MPGI_HIDDEN _Noreturn void mpgi_requeue_spent(struct mpg_m *mp,
                                              struct mpg_g *gp);
static inline struct mpg_g *mpgi_current_g(const char *what) {
  struct mpg_m *mp = mpgi_tls_m();
  if (MPGI_UNLIKELY(!mp || !mp->curg)) mpgi_not_attached(what);
  return mp->curg;
}
/* Take gp, whose context is complete, off its M. */
MPGI_HIDDEN void mpgi_drop_g(struct mpg_m *mp, struct mpg_g *gp);

/* m.c */
/* Until somebody wakes it, which may be for nothing. */
MPGI_HIDDEN void mpgi_m_sleep(struct mpg_m *mp);
/* Write what it says of its thread, the calling one. */
MPGI_HIDDEN void mpgi_m_take_thread(struct mpg_m *mp);
MPGI_HIDDEN int mpgi_m_start_first(struct mpg_p *pp);
/* pp is on its way to an M that is not awake yet: take it back, the M sleeps
 * on; or false. */
MPGI_HIDDEN bool mpgi_m_take_back_locked(struct mpg_p *pp);
/* Run some M on pp (NULL: any idle P); pp goes back to idle when no thread
 * can be had. */
MPGI_HIDDEN void mpgi_m_start(struct mpg_p *pp, bool spinning);
/* [m.ahead] Starts one thread if more will be needed before long; false: none.
 * sysmon. */
MPGI_HIDDEN bool mpgi_m_start_ahead(int64_t now);
MPGI_HIDDEN void mpgi_m_stop(struct mpg_m *mp); /* park; returns with a P */
MPGI_HIDDEN _Noreturn void mpgi_m_exit(struct mpg_m *mp);
/* End mp's thread, which has a P but no goroutine, before the run ends. */
MPGI_HIDDEN _Noreturn void mpgi_m_end(struct mpg_m *mp);
/* May mp's thread be looked at and signalled?  True: until unpinned. */
MPGI_HIDDEN bool mpgi_m_pin(struct mpg_m *mp);
/* Is mp's thread on a goroutine's stack, or in the C library for it? */
MPGI_HIDDEN bool mpgi_m_is_abroad(struct mpg_m *mp);
MPGI_HIDDEN void mpgi_m_unpin(struct mpg_m *mp);
MPGI_HIDDEN void mpgi_m_handoff(struct mpg_p *pp);
MPGI_HIDDEN void mpgi_m_xsave_refill(struct mpg_m *mp);
MPGI_HIDDEN void mpgi_m_free(struct mpg_m *mp);
/* What is held of the stacks of all Ms, about. */
MPGI_HIDDEN uint64_t mpgi_m_stack_bytes(void);
/* For a thread that attaches: with a g0 stack.  NULL: no memory. */
MPGI_HIDDEN struct mpg_m *mpgi_m_make_attached(void);
MPGI_HIDDEN void mpgi_m_unlist_locked(struct mpg_m *mp);
MPGI_HIDDEN void mpgi_m_hide(struct mpg_m *mp);    /* before it leaves */
MPGI_HIDDEN void mpgi_m_recycle(struct mpg_m *mp); /* nobody runs on it */
MPGI_HIDDEN void mpgi_thread_gone(void); /* last act of a runtime thread */

/* fork.c */
MPGI_HIDDEN int mpgi_fork_init(void); /* 0 or negative errno */
MPGI_HIDDEN bool mpgi_is_forked(void);

/* go.c: fatal, for whatever stack it is. */
MPGI_HIDDEN _Noreturn void mpgi_stack_overflow(const struct mpg_g *gp);
/* go.c: mpg_go for a tick of a timer, which its goroutine keeps until it begins
 * and begun is called. */
MPGI_HIDDEN int mpgi_go_tick(mpg_func fn, void *arg, bool fixed,
                             void (*begun)(struct mpg_g *gp),
                             const void *timer);

/* lockcheck.c */
MPGI_HIDDEN void mpgi_lockcheck_init(void);
MPGI_HIDDEN void mpgi_lockcheck_leave(struct mpg_g *gp, const char *how);
MPGI_HIDDEN void mpgi_lockcheck_end(struct mpg_g *gp);

/* attach.c */
/* Is a run on, and the calling thread none of its? */
MPGI_HIDDEN bool mpgi_is_stranger(void);
/* Did the calling thread's attachment end with the run? */
MPGI_HIDDEN bool mpgi_is_loose(void);
/* The attached thread's goroutine parked: wait on the thread itself. */
MPGI_HIDDEN _Noreturn void mpgi_attached_run(struct mpg_m *mp);
MPGI_HIDDEN void mpgi_attached_ready(struct mpg_g *gp);
/* Get its own P back from PIDLE or the stopper; false: the run is over. */
MPGI_HIDDEN bool mpgi_attached_take_p(struct mpg_m *mp);
/* The run is over.  Its call is done: return from it, detached. */
MPGI_HIDDEN _Noreturn void mpgi_attached_cut(struct mpg_m *mp,
                                             struct mpgi_context *ctx);
/* In the signal handler, in the application's code: let it go on so. */
MPGI_HIDDEN void mpgi_attached_cut_sig(struct mpg_m *mp);
/* In the middle of a call: never comes back. */
MPGI_HIDDEN _Noreturn void mpgi_attached_block(struct mpg_m *mp);
/* The calling thread, mp's, doesn't end before it is disarmed: an attached one
 * detaches, another M's is fatal.  0 or negative errno. */
MPGI_HIDDEN int mpgi_thread_exit_arm(struct mpg_m *mp);
MPGI_HIDDEN void mpgi_thread_exit_disarm(void);
/* The record's second user lets go of it: free it. */
MPGI_HIDDEN void mpgi_attached_let_go(struct mpg_m *mp);

/* local.c, lock.c */
MPGI_HIDDEN void mpgi_locals_free(struct mpg_g *gp);
/* mp has a locked goroutine: wait for it to be picked, and run it. */
MPGI_HIDDEN _Noreturn void mpgi_lock_run(struct mpg_m *mp);
/* mp picked gp, which is locked to another M: that one gets the P. */
MPGI_HIDDEN void mpgi_lock_give_p(struct mpg_m *mp, struct mpg_g *gp);

/* stw.c */
MPGI_HIDDEN void mpgi_world_stop(enum mpgi_stop_reason reason,
                                 unsigned helpers);
/* From any thread: false, and nothing is stopped, while no run is on. */
MPGI_HIDDEN bool mpgi_world_stop_if_running(enum mpgi_stop_reason reason);
/* No run is on: `held` turns are taken and not given back. */
MPGI_HIDDEN void mpgi_turn_reset(uint32_t held);
MPGI_HIDDEN void mpgi_turn_give(void);
MPGI_HIDDEN void mpgi_world_start(void);
MPGI_HIDDEN void mpgi_world_reserve(void); /* as in gc/world.h */
MPGI_HIDDEN void mpgi_world_unreserve(void);
MPGI_HIDDEN void mpgi_world_give_way(void);
MPGI_HIDDEN void mpgi_abroad(bool yes); /* as in gc/world.h */
/* On g0 with a P while the world stops: wait in place until it runs again. */
MPGI_HIDDEN void mpgi_stop_here(struct mpg_m *mp);
/* The same while the goroutine on whose stack it happens may be in a callback
 * of a library that holds a lock: returns also when it is thawed. */
MPGI_HIDDEN void mpgi_stop_in_place(struct mpg_m *mp);
/* In a signal handler: the same. */
MPGI_HIDDEN void mpgi_freeze_sig(struct mpg_m *mp, void *ucontext);
/* A P in idle or syscall was taken by CAS on behalf of the stopper. */
MPGI_HIDDEN void mpgi_stw_arrive(void);
/* The caller has just made its P loose (syscall, away). */
MPGI_HIDDEN void mpgi_stw_left(struct mpg_p *pp);
MPGI_HIDDEN unsigned mpgi_stw_recruit(unsigned n);
MPGI_HIDDEN void mpgi_preempt_one(struct mpg_p *pp, uint32_t why);
MPGI_HIDDEN void mpgi_preempt_asked(struct mpg_p *pp, const struct mpg_g *gp);

/* run.c */
MPGI_HIDDEN int mpgi_procs_want(int n);
/* In a signal handler while exiting: this thread runs no more. */
MPGI_HIDDEN _Noreturn void mpgi_freeze_for_ever_sig(struct mpg_m *mp);
MPGI_HIDDEN void mpgi_idle_gc_g0(void);
MPGI_HIDDEN void mpgi_thunk_idle_gc(void);
MPGI_HIDDEN void mpgi_idle_gc_wake(void); /* sysmon */
MPGI_HIDDEN void mpgi_main_done_g0(void);
MPGI_HIDDEN void mpgi_thunk_main_done(void);

/* roots.c */
MPGI_HIDDEN extern const struct mpgi_world mpgi_world;
/* The same roots in two parts: everything but goroutines, and one of them. */
MPGI_HIDDEN void mpgi_roots_threads(mpgi_visit *fn, void *arg);
MPGI_HIDDEN void mpgi_roots_tls(mpgi_visit *fn, void *arg); /* of these only */
MPGI_HIDDEN void mpgi_roots_goroutine(const struct mpg_g *gp, mpgi_visit *fn,
                                      void *arg);

enum mpgi_leaked {
  MPGI_LEAKED_NOT,
  MPGI_LEAKED,
  MPGI_LEAKED_KNOWN, /* but somebody may have an address of its stack */
};
/* leak.c: after marking.  Goroutines nobody can ever wake. */
MPGI_HIDDEN void mpgi_leaks_stw(void);

/* cleanup.c: somebody may wait with this channel. */
MPGI_HIDDEN void mpgi_cleanup_wake(void *waker);

/* finalizer.c */
MPGI_HIDDEN void mpgi_finalizers_reset(void);
/* Make the goroutine that runs finalizers unless there is one.  0; -ENOMEM. */
MPGI_HIDDEN int mpgi_finalizers_wanted(void);
MPGI_HIDDEN void mpgi_finalizers_ready(void);
/* sysmon: report one that takes long. */
MPGI_HIDDEN void mpgi_finalizers_watch(int64_t now);
/* It left by mpg_goexit, and has been freed. */
MPGI_HIDDEN void mpgi_finalizers_goexit(void);
MPGI_HIDDEN void mpgi_finalizer_next_g0(struct mpgi_finalizer *f);
MPGI_HIDDEN void mpgi_thunk_finalizer_next(struct mpgi_finalizer *f);

/* sigpreempt.c */
MPGI_HIDDEN void mpgi_sigpreempt_init(void);
MPGI_HIDDEN void mpgi_sigpreempt_restore(void);

/* fault.c */
MPGI_HIDDEN void mpgi_fault_init(void);
MPGI_HIDDEN void mpgi_fault_restore(void);

/* sysmon.c */
MPGI_HIDDEN void mpgi_sysmon_main(void *arg);
MPGI_HIDDEN void mpgi_sysmon_wake(void);
/* A P was taken off the idle list: unless it wakes soon by itself
 * [sysmon.soon]. */
MPGI_HIDDEN void mpgi_sysmon_wake_locked(void);
/* Something is due at when: sysmon must not sleep longer. */
MPGI_HIDDEN void mpgi_sysmon_due(int64_t when);
/* [netpoll.lazy] The caller has just found one goroutine by a poll, and runs
 * it.  True: meanwhile nobody need wait for descriptors. */
MPGI_HIDDEN bool mpgi_sysmon_polls_soon(void);
/* Some P is lazy from now on [wake.lazy]. */
MPGI_HIDDEN void mpgi_sysmon_lazy(void);
/* [sysmon.drowsy] A P with work is in a system call now. */
MPGI_HIDDEN void mpgi_sysmon_rouse(void);
/* Somebody was woken, and every P is busy: it shall look as soon as some slice
 * may be ended for that. */
MPGI_HIDDEN void mpgi_sysmon_preempt(void);

/* timer.c */
MPGI_HIDDEN int mpgi_timer_add(struct mpg_p *pp, struct mpgi_timer *t);
/* Take t out of its heap.  False: it isn't in one (any more), and nobody
 * touches it. */
MPGI_HIDDEN bool mpgi_timer_del(struct mpgi_timer *t);
/* A parked goroutine's own timer. */
MPGI_HIDDEN void mpgi_timer_arm(struct mpg_p *pp, struct mpg_g *gp,
                                int64_t when, bool (*claim)(struct mpg_g *gp));
/* Tell those who sleep until the first timer of one that was added. */
MPGI_HIDDEN void mpgi_timer_announce(int64_t when);
/* The caller goes on running: if an M is idle, one should wait for timers. */
MPGI_HIDDEN void mpgi_poller_want(void);
MPGI_HIDDEN void mpgi_poller_doubt(void); /* [deadlock.poller] */
/* Fire pp's due timers, on an M with a P; returns the next when, INT64_MAX
 * when none.  now 0: read the clock if needed. */
MPGI_HIDDEN int64_t mpgi_timers_run(struct mpg_p *pp, int64_t now);
MPGI_HIDDEN int64_t mpgi_timers_first(void); /* of every P */
/* Those of every P, when sysmon found some overdue. */
MPGI_HIDDEN void mpgi_timers_run_overdue(void);
/* The run is over: forget pp's. */
MPGI_HIDDEN void mpgi_timers_clear(struct mpg_p *pp);

/* chan.c: send, if that needs no waiting, from the scheduler. */
MPGI_HIDDEN void mpgi_chan_offer(mpg_chan *c, const void *elem);

/* syscall.c: a call on g0 that may block, for the calling goroutine.  Between
 * the two: no lock of the runtime, no heap.  end may not return: then the
 * goroutine resumes behind its entry thunk. */
MPGI_HIDDEN void mpgi_call_begin(struct mpg_m *mp);
MPGI_HIDDEN void mpgi_call_end(struct mpg_m *mp);

/* resolve.c */
MPGI_HIDDEN void mpgi_resolve_reset(void);

/* netpoll.c */
MPGI_HIDDEN bool mpgi_netpoll_on(void);
/* Is some goroutine parked on a descriptor? */
MPGI_HIDDEN bool mpgi_netpoll_waiting(void);
MPGI_HIDDEN int64_t mpgi_netpoll_last(void); /* ns: when somebody polled */
/* Take events, waiting at most so long (0: not at all; < 0: for ever); whom
 * they wake is still waiting, and the caller's to make ready. */
MPGI_HIDDEN void mpgi_netpoll(int64_t timeout_ns, struct mpgi_gqueue *ready);
MPGI_HIDDEN void mpgi_netpoll_break(void); /* who waits there must look */
MPGI_HIDDEN void mpgi_netpoll_reset(void);
/* Outside of a run: the next one that waits for descriptors begins anew. */
MPGI_HIDDEN void mpgi_netpoll_close(void);
/* [netpoll.trust] somebody waits on trust; who has for long is woken */
#define MPGI_TRUST_NS ((int64_t) 50 * 1000 * 1000)
MPGI_HIDDEN bool mpgi_netpoll_trusts(void);
MPGI_HIDDEN void mpgi_netpoll_doubt(struct mpgi_gqueue *ready);

/* sema.c */
MPGI_HIDDEN void mpgi_sema_reset(void);
/* Take one from *count; true when it could at once.  Otherwise the calling
 * goroutine is parked (front: before the other waiters) with resume as its
 * on_resume, and the caller must schedule: it has one when it resumes. */
MPGI_HIDDEN bool mpgi_sema_acquire(struct mpg_m *mp, _Atomic uint32_t *count,
                                   enum mpgi_wait_reason reason, bool front,
                                   void (*resume)(struct mpg_g *gp));
/* The same for a word of another meaning: unless go_on, called under the lock
 * of all that wait for it, says that the caller need not be parked. */
MPGI_HIDDEN bool mpgi_sema_park_unless(struct mpg_m *mp, _Atomic uint32_t *word,
                                       enum mpgi_wait_reason reason, bool front,
                                       void (*resume)(struct mpg_g *gp),
                                       bool (*go_on)(_Atomic uint32_t *word));
/* Wake the first that waits for the word if may, called under that lock, says
 * so.  The word itself isn't touched, which may be gone when nobody waits
 * (first is NULL). */
MPGI_HIDDEN void mpgi_sema_wake_if(_Atomic uint32_t *word,
                                   bool (*may)(_Atomic uint32_t *word,
                                               struct mpgi_waiter *first));
/* Add one and, when somebody waits, give it to the first. */
MPGI_HIDDEN void mpgi_sema_release(_Atomic uint32_t *count);
/* Does anybody wait on a semaphore of count's bucket?  After a full fence. */
MPGI_HIDDEN bool mpgi_sema_has_waiters(const _Atomic uint32_t *count);
/* Park the calling goroutine behind those that wait for the same word, which
 * counts them; the caller must schedule. */
MPGI_HIDDEN void mpgi_sema_park(struct mpg_m *mp, _Atomic uint32_t *waiting,
                                enum mpgi_wait_reason reason,
                                void (*resume)(struct mpg_g *gp));
/* The first ones, to be made ready. */
MPGI_HIDDEN void mpgi_sema_unpark(_Atomic uint32_t *waiting, uint32_t most,
                                  struct mpgi_gqueue *woken);

/* once.c: gp ends, perhaps inside the function of an mpg_once_do. */
MPGI_HIDDEN void mpgi_once_goexit(struct mpg_g *gp);

/* select.c: on_resume of a select, which doesn't park; and the same, after
 * which gp goes on. */
MPGI_HIDDEN void mpgi_select_resumed(struct mpg_g *gp);
MPGI_HIDDEN _Noreturn void mpgi_select_go_on(struct mpg_g *gp);
MPGI_HIDDEN void mpgi_select_free(struct mpg_p *pp, struct mpgi_select *s);
/* Words of a parked goroutine's select that point to elements and cases. */
MPGI_HIDDEN void mpgi_select_words(const struct mpgi_select *s,
                                   void (*visit)(void *arg, const void *lo,
                                                 const void *hi),
                                   void *arg);

/* deadlock.c: under sched.lock, when an M goes idle or into a lost syscall */
MPGI_HIDDEN void mpgi_checkdead_locked(void);
MPGI_HIDDEN void mpgi_checkdead_again(void); /* sysmon */

/* metrics.c */
MPGI_HIDDEN int mpgi_metrics_init(void);
MPGI_HIDDEN void mpgi_metric_record(enum mpg_metric m, int64_t ns);
MPGI_HIDDEN void mpgi_metric_record_stop(enum mpgi_stop_reason r, int64_t tts,
                                         int64_t pause);

/* schedtrace.c, dying.c */
MPGI_HIDDEN void mpgi_schedtrace(bool detail);
MPGI_HIDDEN void mpgi_fatal_dump(int fd);

#include <sched/frames.h>
#include <sched/trace.h>

#endif /* MPGI_GMP_H */

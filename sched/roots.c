/* roots.c - what the collector may ask of the stopped world.
 *
 * Root jobs, each independent: the thread in mpg_run; every M; timers;
 * goroutines in groups of ROOT_GROUP.  A goroutine is scanned from
 *   its saved SP          parked, runnable, stopped on g0
 *   the interrupted SP    less the red zone, with the interrupted registers,
 *                         when its M is frozen in a handler
 *   its saved SP, and     frozen in a C library function that runs on g0
 *   g0's part, from the   (libc_call.S): arguments and locals of libc's are
 *   interrupted SP        there
 *   the SP at enter       in a system call: its thread goes on running
 * What a blocked sender sends is scanned where it lies, in malloc memory even:
 * the receiver will have it.
 * A thread frozen on g0 because it was abroad (mpgi_abroad) is scanned as one
 * that stopped there.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/chan.h>
#include <sched/dump.h>

#define ROOT_GROUP 64
#define ELEMENT_WORDS 64

struct visit {
  mpgi_visit *fn;
  void *arg;
  const struct mpg_g *owner; /* whose saved stack this is; NULL: nobody's */
  enum mpgi_pin where;       /* the words are, for move.c */
};

static void visit_words(void *arg, const void *lo, const void *hi) {
  struct visit *v = arg;
  v->fn(v->arg, lo, hi);
  if (MPGI_UNLIKELY(mpgi_move_looking))
    mpgi_move_words(v->where, v->owner, lo, hi);
}

/* ---- goroutines ---- */

/* An attached thread's own stack.  With SP elsewhere (a handler on another
 * stack, a coroutine of the application's) all of it, as far as it exists. */
static void scan_thread_stack(const struct mpg_g *gp, uintptr_t sp,
                              struct visit *v) {
  const struct mpgi_segment *s = gp->ctx.seg->prev; /* mp->nowhere */
  if (sp < s->lo || sp > s->hi) sp = mpgi_os_mem_mapped_below(s->lo, s->hi);
  sp &= ~(uintptr_t) 7;
  visit_words(v, (const void *) sp, (const void *) s->hi);
}

static void scan_frozen(const struct mpg_g *gp, const struct mpg_m *mp,
                        struct visit *v) {
  struct mpgi_sigregs r;
  mpgi_arch_sigregs(mp->frozen_uc, &r);
  mpgi_arch_sigregs_words(mp->frozen_uc, visit_words, v);
  if (gp->attached) {
    scan_thread_stack(gp, r.sp - MPGI_RED_ZONE_BYTES, v);
    return;
  }
  uintptr_t sp = r.sp - MPGI_RED_ZONE_BYTES;
  if (r.sp >= mp->g0_lo && r.sp < mp->g0_hi) {
    visit_words(v, (const void *) (sp & ~(uintptr_t) 7),
                (const void *) mp->g0_sp);
    sp = gp->ctx.sp;
  } else if (r.sp <= gp->ctx.seg->lo || r.sp > gp->ctx.seg->hi ||
             sp < gp->ctx.seg->lo) {
    /* On another stack (a handler of the application's): all of ours, and
     * what that handler interrupted. */
    if (mpgi_m_on_gsignal(mp, r.sp))
      visit_words(v, (const void *) (sp & ~(uintptr_t) 7),
                  mp->gsignal + MPGI_GSIGNAL_BYTES);
    sp = gp->ctx.seg->lo;
  }
  mpgi_stack_ranges(&gp->ctx, sp, visit_words, v);
}

static void scan_syscall(const struct mpg_g *gp, const struct mpg_m *mp,
                         struct visit *v) {
  /* Its thread runs: only what was fixed at mpg_syscall_enter may be read. */
  const struct mpgi_syscall *s = &mp->syscall;
  struct mpgi_context at = {.seg = s->seg, .dynamic = s->dynamic};
  visit_words(v, s->regs, s->regs + MPGI_SAVED_PC);
  if (gp->attached) {
    scan_thread_stack(gp, s->sp, v);
    return;
  }
  mpgi_stack_ranges(&at, s->sp, visit_words, v);
}

/* Swapped out: the image instead of the stack. */
static void scan_stack(const struct mpg_g *gp, struct visit *v) {
  const char *image = mpgi_g_image(gp);
  if (image)
    visit_words(v, image, image + (gp->ctx.seg->hi - gp->ctx.sp));
  else
    mpgi_stack_ranges(&gp->ctx, gp->ctx.sp, visit_words, v);
}

/* The element may be unaligned; in the channel its words won't be.  They don't
 * move with a stack: whoever receives one may look at once. */
MPGI_NO_SANITIZE static void scan_element(const struct mpgi_waiter *w,
                                          struct visit *v) {
  struct __attribute__((packed, may_alias)) unaligned {
    uintptr_t word;
  };
  const struct mpg_chan *c = w->object;
  const volatile struct unaligned *at = w->elem;
  if (!c || !at) return;
  for (size_t left = c->elem_bytes / sizeof *at; left > 0;) {
    uintptr_t word[ELEMENT_WORDS];
    size_t n = left < ELEMENT_WORDS ? left : ELEMENT_WORDS;
    for (size_t i = 0; i < n; i++) word[i] = at++->word;
    visit_words(v, word, word + n);
    left -= n;
  }
}

static void scan_sent(const struct mpg_g *gp, struct visit *v) {
  const struct mpgi_select *s = gp->select;
  if (mpgi_g_status(gp) != MPGI_G_WAITING) return;
  if (gp->wait_reason == MPGI_WAIT_CHAN_SEND)
    scan_element(&gp->wait, v);
  else if (s)
    for (uint32_t i = 0; i < s->n; i++)
      if (s->cases[i].dir == MPG_SEND) scan_element(&s->waiter[i], v);
}

/* What moves with its stack (move.inv.words) is visited as the owner's. */
static void scan_saved(const struct mpg_g *gp, struct visit *v) {
  v->owner = gp;
  visit_words(v, &gp->ctx.ret, &gp->ctx.ret + 1);
  visit_words(v, &gp->wait.elem, &gp->wait.since);
  if (gp->select) mpgi_select_words(gp->select, visit_words, v);
  const struct mpgi_xsave *x = gp->ctx.xsave;
  if (x) visit_words(v, x->state, x->state + (x->bytes & ~(size_t) 7));
  if (gp->attached)
    scan_thread_stack(gp, gp->ctx.sp, v);
  else
    scan_stack(gp, v);
  v->owner = NULL;
  scan_sent(gp, v);
}

static void scan_locals(const struct mpgi_locals *t, struct visit *v) {
  if (t) visit_words(v, t->value, t->value + t->n);
}

static void scan_g(const struct mpg_g *gp, struct visit *v) {
  MPG_VERIFY(gp->signature == MPGI_G_SIGNATURE);
  const struct mpg_m *mp = gp->m;
  atomic_thread_fence(memory_order_acquire); /* [syscall.m] */
  if (mpgi_g_status(gp) != MPGI_G_DEAD) scan_locals(gp->locals, v);
  switch (mpgi_g_status(gp)) {
  case MPGI_G_IDLE:
  case MPGI_G_DEAD: return;
  case MPGI_G_SYSCALL: scan_syscall(gp, mp, v); return;
  case MPGI_G_RUNNING:
    if (mp && atomic_load(&mp->stop) == MPGI_M_FROZEN && !mp->abroad) {
      scan_frozen(gp, mp, v);
      return;
    }
    break;
  default: break;
  }
  scan_saved(gp, v);
}

/* ---- threads ---- */

static void scan_abroad(const struct mpg_m *mp, struct visit *v) {
  struct mpgi_sigregs r;
  mpgi_arch_sigregs(mp->frozen_uc, &r);
  mpgi_arch_sigregs_words(mp->frozen_uc, v->fn, v->arg);
  MPG_ASSERT(r.sp >= mp->g0_lo && r.sp < mp->g0_sp);
  uintptr_t sp = (r.sp - MPGI_RED_ZONE_BYTES) & ~(uintptr_t) 7;
  v->fn(v->arg, (const void *) sp, (const void *) mp->g0_sp);
}

/* On g0 nobody stops while it uses a parked goroutine's stack; what is left
 * of such uses in old frames would pin it for nothing. */
static void scan_m_g0(const struct mpg_m *mp, struct visit *v) {
  uint32_t stop = atomic_load(&mp->stop);
  if (mpgi_m_stopped_on_g0(stop))
    v->fn(v->arg, (const void *) mp->stop_sp, (const void *) mp->g0_sp);
  if (stop == MPGI_M_FROZEN && mp->abroad) scan_abroad(mp, v);
}

static void scan_m_tls(const struct mpg_m *mp, struct visit *v) {
  if (mp->thread_pointer) mpgi_os_tls_words(mp->thread_pointer, visit_words, v);
}

static void scan_caller(struct visit *v) {
  if (mpgi_sched.caller_sp < mpgi_sched.caller_hi)
    visit_words(v, (const void *) mpgi_sched.caller_sp,
                (const void *) mpgi_sched.caller_hi);
  if (mpgi_sched.caller_tp)
    mpgi_os_tls_words(mpgi_sched.caller_tp, visit_words, v);
}

/* The user's timers are objects of the heap; goroutines' are no pointers into
 * it.  Locks don't matter: their holders don't stop. */
static void scan_timers(struct visit *v) {
  for (int i = 0; i < mpgi_sched.nallp_made; i++) {
    const struct mpg_p *pp = mpgi_sched.allp[i];
    for (uint32_t k = 0; k < pp->ntimers; k++)
      visit_words(v, &pp->timers[k].t, &pp->timers[k].t + 1);
  }
}

/* ---- jobs ---- */

#define FIXED_JOBS 3

static size_t ngroups(void) {
  return (atomic_load(&mpgi_sched.nallg) + ROOT_GROUP - 1) / ROOT_GROUP;
}

static size_t root_jobs(void) { return FIXED_JOBS + ngroups(); }

static void root_job(size_t i, mpgi_visit *fn, void *arg) {
  struct visit v = {fn, arg, NULL, MPGI_PIN_THREAD};
  if (i == 0) {
    scan_caller(&v);
    return;
  }
  if (i == 1) {
    for (struct mpg_m *mp = mpgi_sched.all_m; mp; mp = mp->all_link) {
      scan_m_g0(mp, &v);
      scan_m_tls(mp, &v);
    }
    return;
  }
  if (i == 2) {
    scan_timers(&v);
    return;
  }
  size_t n = atomic_load(&mpgi_sched.nallg), k = (i - FIXED_JOBS) * ROOT_GROUP;
  v.where = MPGI_PIN_STACK;
  for (size_t end = k + ROOT_GROUP; k < n && k < end; k++) {
    struct mpg_g *gp = mpgi_allg_get(k);
    scan_g(gp, &v);
    if (mpgi_g_status(gp) == MPGI_G_WAITING) mpgi_stack_age(&gp->ctx);
  }
}

void mpgi_roots_threads(mpgi_visit *fn, void *arg) {
  for (size_t i = 0; i < FIXED_JOBS; i++) root_job(i, fn, arg);
}

void mpgi_roots_tls(mpgi_visit *fn, void *arg) {
  struct visit v = {fn, arg, NULL, MPGI_PIN_THREAD};
  for (struct mpg_m *mp = mpgi_sched.all_m; mp; mp = mp->all_link)
    scan_m_tls(mp, &v);
}

void mpgi_roots_goroutine(const struct mpg_g *gp, mpgi_visit *fn, void *arg) {
  struct visit v = {fn, arg, NULL, MPGI_PIN_THREAD};
  scan_g(gp, &v);
}

static unsigned parallelism(void) {
  if (mpgi_opt.gcworkers) return (unsigned) mpgi_opt.gcworkers;
  int n = atomic_load(&mpgi_sched.procs), cpus = mpgi_os_ncpu();
  return (unsigned) (n < cpus ? n : cpus);
}

static uint64_t pause_total_ns(void) {
  return atomic_load(&mpgi_stw.pause_total);
}

static int64_t last_time_to_stop_ns(void) {
  return atomic_load(&mpgi_stw.last_tts);
}

static int64_t idle_ns(void) { return atomic_load(&mpgi_sched.idle_ns); }

static int procs(void) { return atomic_load(&mpgi_sched.procs); }

static void move_words(enum mpgi_outside where, const void *lo,
                       const void *hi) {
  mpgi_move_words(where == MPGI_OUTSIDE_HEAP ? MPGI_PIN_HEAP : MPGI_PIN_ROOT,
                  NULL, lo, hi);
}

const struct mpgi_world mpgi_world = {
    .stop = mpgi_world_stop,
    .start = mpgi_world_start,
    .reserve = mpgi_world_reserve,
    .unreserve = mpgi_world_unreserve,
    .give_way = mpgi_world_give_way,
    .abroad = mpgi_abroad,
    .root_jobs = root_jobs,
    .root_job = root_job,
    .recruit = mpgi_stw_recruit,
    .parallelism = parallelism,
    .stack_bytes = mpgi_stack_bytes,
    .offheap_bytes = mpgi_m_stack_bytes,
    .stack_release = mpgi_stack_release,
    .marked_stw = mpgi_leaks_stw,
    .pause_total_ns = pause_total_ns,
    .last_time_to_stop_ns = last_time_to_stop_ns,
    .idle_ns = idle_ns,
    .procs = procs,
    .outside_begin = mpgi_move_begin_stw,
    .outside_words = move_words,
    .outside_end = mpgi_move_end_stw,
    .finalizers_wanted = mpgi_finalizers_wanted,
    .finalizers_ready = mpgi_finalizers_ready,
    .cleanup_wake = mpgi_cleanup_wake,
    .callers = mpgi_callers,
    .not_attached = mpgi_not_attached,
    .is_stranger = mpgi_is_stranger,
};

/* run.c - mpg_run: starting the runtime and ending it.
 *
 * The calling thread waits; goroutines run on Ms, main included, so that the
 * end doesn't depend on what the caller's thread is stuck in.
 *
 * End: the M on which main returned stops the world for good.  Threads on g0
 * leave by themselves.  Threads in user code, and threads blocked in the
 * kernel, freeze in the signal handler and never return from it; attached
 * threads go on (attach.c, attach.end).  A thread
 * running foreign code (it may hold libc's locks) is given EXIT_GRACE_NS to
 * come back to user code before it is frozen too.  What a frozen thread holds
 * (its M, its goroutine's stack) is left alone.
 */
#include <sched/sched.h>

#include <errno.h>
#include <signal.h>
#include <string.h>

#include <sched/gmp.h>

#include <sched/dump.h>

/* ---- once per process ---- */

static struct mpgi_mutex init_lock = MPGI_MUTEX_INIT(MPGI_RANK_INIT);
static bool init_done;

static int init_once_locked(void) {
  if (init_done) return 0;
  mpgi_options_init();
  mpgi_arch_init();
  int err = mpgi_os_roots_refresh();
  mpgi_os_stacks_init();
  if (!err) err = mpgi_stack_init();
  if (!err) err = mpgi_gc_init(&mpgi_world);
  if (err) return err;
  if ((err = mpgi_metrics_init())) return err;
  if ((err = mpgi_fork_init())) return err;
  mpgi_lockcheck_init();
  mpgi_fatal_hook = mpgi_fatal_dump;
  mpgi_text_init();
  init_done = true;
  return 0;
}

static int init_once(void) {
  mpgi_mutex_lock(&init_lock);
  int err = init_once_locked();
  mpgi_mutex_unlock(&init_lock);
  return err;
}

/* The stubs' archive comes behind this one in the link, and some linkers look
 * into each archive once: the part that the stubs need must be there already.
 */
__attribute__((used)) static void (*const stubs_need)(void) = mpg_abi_libc_call;

/* ---- number of Ps ---- */

static int procs_default(void) {
  int n = mpgi_opt.procs ? (int) mpgi_opt.procs : mpgi_os_ncpu();
  return n > MPGI_PROCS_MAX ? MPGI_PROCS_MAX : n;
}

int mpgi_procs_want(int n) {
  mpgi_options_init();
  int old = atomic_load(&mpgi_sched.procs_wanted);
  if (n >= 1) atomic_store(&mpgi_sched.procs_wanted, n);
  return old ? old : procs_default();
}

/* ---- the main goroutine ---- */

struct main_call {
  mpg_func fn;
  void *arg;
};

/* Runs on the main goroutine's stack; mpgi_thunk_main_done is a thunk. */
MPGI_RT_TEXT static void run_main(void *arg) {
  struct main_call call = *(struct main_call *) arg;
  call.fn(call.arg);
  mpgi_thunk_main_done();
}

/* ---- the goroutine that collects when sysmon says so ----
 *
 * sysmon has no P and must not wait for the world; so it only wakes this one.
 * It is not the user's: not counted, not listed, without a number. */

MPGI_RT_TEXT static void run_idle_gc(void *arg) {
  (void) arg;
  for (;;) mpgi_thunk_idle_gc();
}

static void idle_gc_resumed(struct mpg_g *gp) {
  (void) gp;
  mpgi_gc_collect(MPGI_GC_IDLE);
  mpgi_stack_release();
}

void mpgi_idle_gc_g0(void) {
  struct mpg_m *mp = mpgi_tls_m();
  struct mpg_g *gp = mp->curg;
  mpgi_g_on_resume(gp, idle_gc_resumed);
  mpgi_park_begin(mp, gp, MPGI_WAIT_IDLE_GC);
  MPGI_CHAOS();
  atomic_store(&mpgi_sched.idle_gc, gp);
  MPGI_CHAOS();
  mpgi_schedule(mp);
}

void mpgi_idle_gc_wake(void) {
  struct mpg_g *gp = atomic_exchange(&mpgi_sched.idle_gc, NULL);
  if (gp) mpgi_ready(gp);
}

static int make_idle_gc(struct mpg_p *pp) {
  int err;
  struct mpg_g *gp = mpgi_g_new(pp, run_idle_gc, NULL, NULL, false, &err);
  if (!gp) return err;
  mpgi_g_status_set(gp, MPGI_G_DEAD, MPGI_G_RUNNABLE);
  mpgi_runq_put(pp, gp, false);
  return 0;
}

/* ---- starting ---- */

static void reset_state(void) {
  struct mpgi_sched *s = &mpgi_sched;
  s->runq = s->spent = (struct mpgi_gqueue){0};
  atomic_store(&s->runq_size, 0);
  atomic_store(&s->runq_woken, 0);
  s->idle_p = NULL;
  s->idle_m = s->all_m = NULL;
  atomic_store(&s->npidle, 0);
  s->nmidle = s->nm = 0;
  s->nmidle_locked = s->nm_ahead = s->nm_ending = s->misses = 0;
  atomic_store(&s->deadlock_suspected, 0);
  atomic_store(&s->nattached, 0);
  s->nallp = 0;
  atomic_store(&s->nmspinning, 0);
  for (int i = 0; i < s->nallp_made; i++) {
    struct mpg_p *pp = s->allp[i];
    pp->goid = pp->goid_end = 0;
    atomic_store(&pp->started, 0);
    atomic_store(&pp->ended, 0);
  }
  atomic_store(&s->poller, NULL);
  atomic_store(&s->idle_gc, NULL);
  atomic_store(&s->poll_until, INT64_MAX);
  atomic_store(&s->wants, 0);
  mpgi_watch();
  atomic_store(&s->exiting, 0);
  atomic_store(&s->sysmon_wait, 0);
  atomic_store(&s->sysmon_until, 0);
  atomic_store(&s->sysmon_drowsy, 0);
  atomic_store(&s->preempt_at, 0);
  atomic_store(&mpgi_stw.stopwait, 0);
  mpgi_turn_reset(0);
  mpgi_note_clear(&s->exit_note);
  mpgi_note_clear(&s->sysmon_note);
  mpgi_sema_reset();
  mpgi_gc_run_begin();
  mpgi_finalizers_reset();
  mpgi_netpoll_reset();
  mpgi_resolve_reset();
  atomic_store(&s->next_goid, 0);
  s->run_generation++;
  s->start_ns = mpgi_os_now();
  atomic_store(&s->coarse_now, s->start_ns);
}

static void attachable_set(bool on) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_sched.attachable = on;
  mpgi_mutex_unlock(&mpgi_sched.lock);
}

/* Ps and the main goroutine, before any thread runs. */
static int make_main(struct main_call *call, bool fixed) {
  int n = mpgi_procs_want(0), err;
  if ((err = mpgi_p_resize_prepare(n))) return err;
  mpgi_sched.may_be_solo = n == 1 && mpgi_os_barrier_join() == 0;
  mpgi_p_resize_stw(n);
  mpgi_mutex_lock(&mpgi_sched.lock);
  struct mpg_p *pp = mpgi_p_idle_get_locked();
  mpgi_mutex_unlock(&mpgi_sched.lock);
  if ((err = make_idle_gc(pp))) return err;
  struct mpg_g *gp = mpgi_g_new(pp, run_main, call, NULL, fixed, &err);
  if (!gp) return err;
  gp->is_main = gp->leaves = 1;
  gp->fn = call->fn;
  mpgi_g_count_start(pp, gp);
  mpgi_g_status_set(gp, MPGI_G_DEAD, MPGI_G_RUNNABLE);
  mpgi_runq_put(pp, gp, true);
  atomic_store(&mpgi_sched.live_threads, 1);
  err =
      mpgi_os_thread_start(mpgi_sysmon_main, NULL, MPGI_G0_BYTES, "mpg-sysmon");
  if (err) return err;
  err = mpgi_m_start_first(pp);
  if (!err) {
    attachable_set(true);
    return 0;
  }
  /* End sysmon, the only thread so far. */
  atomic_store(&mpgi_sched.exiting, 1);
  mpgi_sysmon_wake();
  mpgi_note_wake(&mpgi_sched.sysmon_note);
  mpgi_note_sleep(&mpgi_sched.exit_note);
  return err;
}

/* ---- ending ---- */

void mpgi_freeze_for_ever_sig(struct mpg_m *mp) {
  static _Atomic uint32_t never;
  MPGI_CHAOS();
  atomic_store(&mp->gone, MPGI_GONE_FROZEN);
  MPGI_CHAOS();
  mpgi_thread_gone();
  for (;;) mpgi_os_futex_wait(&never, 0, -1);
}

/* The main goroutine returned: stop everything for good. */
static _Noreturn void run_finish(struct mpg_m *mp) {
  mpgi_world_stop(MPGI_STOP_EXIT, 0);
  mpgi_trace_run_end_stw();
  mpgi_fixmem_forbid(-1);
  mpgi_metric_record_stop(MPGI_STOP_EXIT, atomic_load(&mpgi_stw.last_tts),
                          mpgi_os_now() - mpgi_stw.requested_at);
  MPGI_CHAOS();
  atomic_store(&mpgi_sched.exiting, 1);
  MPGI_CHAOS();
  atomic_fetch_add(&mpgi_stw.seq, 1);
  mpgi_os_futex_wake(&mpgi_stw.seq, INT32_MAX);
  mpgi_mutex_lock(&mpgi_sched.lock);
  for (struct mpg_m *m = mpgi_sched.all_m; m; m = m->all_link)
    if (m != mp) mpgi_note_wake(&m->park);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  MPGI_CHAOS();
  mpgi_netpoll_break();
  mpgi_note_wake(&mpgi_sched.sysmon_note);
  mpgi_note_wake(&mpgi_sched.exit_note);
  MPGI_CHAOS();
  mpgi_m_exit(mp);
}

void mpgi_main_done_g0(void) {
  struct mpg_m *mp = mpgi_tls_m();
  if (!mp || !mp->p) /* in a child; in a system call */
    mpgi_not_attached("return from mpg_run's function");
  run_finish(mp);
}

static void wait_end(void) {
  while (!atomic_load(&mpgi_sched.exiting)) {
    mpgi_note_sleep(&mpgi_sched.exit_note);
    mpgi_note_clear(&mpgi_sched.exit_note);
  }
}

/* Threads in system calls (without a P) are still out: freeze them where they
 * are.  Asked again and again, because a signal may find one in the runtime,
 * from where it leaves by itself. */
static void wait_threads(void) {
  while (atomic_load(&mpgi_sched.live_threads)) {
    if (mpgi_note_sleep_timed(&mpgi_sched.exit_note, 1000 * 1000)) {
      mpgi_note_clear(&mpgi_sched.exit_note);
      continue;
    }
    mpgi_mutex_lock(&mpgi_sched.lock);
    for (struct mpg_m *m = mpgi_sched.all_m; m; m = m->all_link)
      if (m->tid && mpgi_m_pin(m)) {
        mpgi_os_tgkill(m->tid, SIGURG);
        mpgi_m_unpin(m);
      }
    mpgi_mutex_unlock(&mpgi_sched.lock);
  }
}

/* Every goroutine is dead from now on. */
static void bury_goroutines(struct mpg_p *pp) {
  size_t n = atomic_load(&mpgi_sched.nallg);
  for (size_t i = 0; i < n; i++) {
    struct mpg_g *gp = mpgi_allg_get(i);
    if (mpgi_g_status(gp) == MPGI_G_DEAD) continue;
    if (gp->m && atomic_load(&gp->m->gone) == MPGI_GONE_FROZEN)
      continue; /* its stack is a frozen thread's */
    atomic_store(&gp->status, MPGI_G_DEAD);
    if (gp->select) mpgi_select_free(pp, gp->select);
    gp->select = NULL;
    gp->once = NULL;
    if (gp->ctx.xsave) {
      mpgi_fixmem_free(gp->ctx.xsave, mpgi_arch_xsave_bytes(), 64);
      gp->ctx.xsave = NULL;
    }
    mpgi_g_free(pp, gp);
  }
}

static void clear_ps(void) {
  for (int i = 0; i < mpgi_sched.nallp_made; i++) {
    struct mpg_p *pp = mpgi_sched.allp[i];
    bool inherit;
    while (mpgi_runq_get(pp, &inherit)) continue;
    mpgi_timers_clear(pp);
    mpgi_gfree_flush(pp);
    mpgi_stack_cache_flush(&pp->stacks);
    pp->m = NULL;
    pp->link = NULL;
    pp->attached = false;
    atomic_store(&pp->wants, 0);
    atomic_store(&pp->status, MPGI_P_DEAD);
  }
}

static void clean_up(void) {
  if (mpgi_sched.nallp_made) bury_goroutines(mpgi_sched.allp[0]);
  clear_ps();
  for (struct mpg_m *m = mpgi_sched.all_m, *next; m; m = next) {
    next = m->all_link;
    uint32_t gone = atomic_load(&m->gone);
    if (gone == MPGI_GONE_LOOSE)
      mpgi_attached_let_go(m);
    else if (gone != MPGI_GONE_FROZEN)
      mpgi_m_free(m);
  }
  mpgi_sched.all_m = NULL;
  for (struct mpg_m *m; (m = mpgi_sched.free_m);) {
    mpgi_sched.free_m = m->link;
    mpgi_m_free(m);
  }
}

static int caller_roots(void) {
  uintptr_t lo;
  mpgi_sched.caller_sp = mpgi_arch_sp();
  mpgi_sched.caller_tp = mpgi_os_thread_pointer();
  return mpgi_os_stack_bounds(&lo, &mpgi_sched.caller_hi);
}

static int run(mpg_func fn, void *arg, bool fixed) {
  if (!fn) return -EINVAL;
  if (mpgi_tls_m()) return -EALREADY;
  if (mpgi_is_forked()) mpgi_not_attached("mpg_run");
  uint32_t idle = 0;
  if (!atomic_compare_exchange_strong(&mpgi_sched.starting, &idle, 1))
    return -EALREADY;
  struct main_call call = {fn, arg};
  int err = init_once();
  if (!err) {
    reset_state();
    __builtin_unwind_init();
    err = caller_roots();
  }
  if (!err) {
    mpgi_sched.sigmask = mpgi_os_sigmask_get();
    mpgi_arch_control_save(&mpgi_sched.control);
    mpgi_arch_control_clear(&mpgi_sched.control);
    mpgi_sigpreempt_init();
    mpgi_fault_init();
    mpgi_quit_init();
    mpgi_turn_reset(1); /* nobody stops a world half made */
    atomic_store(&mpgi_sched.running, 1);
    err = make_main(&call, fixed);
    if (!err) {
      mpgi_turn_give();
      wait_end();
      wait_threads();
    }
    attachable_set(false);
    atomic_store(&mpgi_sched.running, 0);
    mpgi_trace_run_over();
    clean_up();
    mpgi_quit_restore();
    mpgi_fault_restore();
    mpgi_sigpreempt_restore();
  }
  atomic_store(&mpgi_sched.starting, 0);
  return err;
}

static __attribute__((destructor)) void end(void) {
  if (!atomic_load(&mpgi_sched.running)) mpgi_valgrind_end();
}

int mpgi_run_fixed_g0(mpg_func fn, void *arg) { return run(fn, arg, true); }

int mpgi_run_segmented_g0(mpg_func fn, void *arg) {
  bool fixed = fn && !mpgi_arch_is_split((uintptr_t) fn);
  if (!fixed) mpgi_check_linker();
  return run(fn, arg, fixed);
}

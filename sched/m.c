/* m.c - threads: starting, parking, ending.
 *
 * An M's thread runs schedule() on its own stack (g0).  An M without work or
 * without a P sleeps on its note, on the idle list; whoever wakes it gives it
 * a P first (next_p).  Threads end when mpg_run ends, or when a goroutine
 * locked to one ends (lock.c).
 *
 * [m.pins] Others may be about to signal a thread, and to poison its guard
 * word, long after they read whose P it was.  So a record is never freed
 * while the runtime runs but used again, and
 *   they       pins += 1, then read gone; done: pins -= 1
 *   the thread gone = EXITED, then waits until pins is 0, then ends
 * both sequentially consistent: either they see that it is gone, or it waits
 * for them.
 *
 * [m.ahead] When many goroutines block in the kernel one after the other, each
 * new M would start the next one while its P waits: a chain of thread starts,
 * each with a first use of malloc in it.  So after AHEAD_AFTER starts in a row
 * that found no idle M, AHEAD_NS apart at most, sysmon starts threads before
 * they are needed, on another CPU and with malloc's caches warm, until as many
 * are idle as starts have missed one.  They go to the idle list by themselves.
 */
#include <sched/sched.h>

#include <errno.h>
#include <string.h>

#include <sched/gmp.h>

#define AHEAD_NS (2 * 1000 * 1000)
#define AHEAD_AFTER 2
#define AHEAD_MAX 16
/* What a thread's two stacks count for in the statistics: what it touches of
 * them, not their mostly untouched addresses. */
#define STACKS_CHARGE_BYTES ((uint64_t) 24 << 10)

/* ---- resources of an M ---- */

/* A stack above a region whose access faults. */
static char *stack_map(size_t bytes) {
  size_t guard = MPGI_M_GUARD_BYTES;
  char *mem = mpgi_os_stack_map(guard + bytes, mpgi_os_page_bytes);
  if (!mem) return NULL;
  if (mpgi_os_mem_guard(mem, guard) == 0) return mem + guard;
  mpgi_os_mem_unmap(mem, guard + bytes);
  return NULL;
}

static void stack_unmap(char *stack, size_t bytes) {
  size_t guard = MPGI_M_GUARD_BYTES;
  if (stack) mpgi_os_mem_unmap(stack - guard, guard + bytes);
}

/* Ms that have stacks, or had: a record keeps them for its next thread. */
static _Atomic uint64_t with_stacks;

uint64_t mpgi_m_stack_bytes(void) {
  return atomic_load(&with_stacks) * STACKS_CHARGE_BYTES;
}

static bool m_resources(struct mpg_m *mp) {
  mp->gsignal = stack_map(MPGI_GSIGNAL_BYTES);
  if (!mp->gsignal) return false;
  atomic_fetch_add(&with_stacks, 1);
  mpgi_m_xsave_refill(mp);
  return mp->xsave_free != NULL;
}

void mpgi_m_xsave_refill(struct mpg_m *mp) {
  if (mp->xsave_free) return;
  void *mem = mpgi_fixmem_alloc(mpgi_arch_xsave_bytes(), 64);
  /* Without one this thread's goroutine is not preempted asynchronously until
   * some preempted goroutine resumes here and leaves its buffer. */
  if (mem) mp->xsave_free = mpgi_arch_xsave_init(mem);
}

void mpgi_m_free(struct mpg_m *mp) {
  for (struct mpgi_xsave *x; (x = mp->xsave_free);) {
    mp->xsave_free = x->next;
    mpgi_fixmem_free(x, mpgi_arch_xsave_bytes(), 64);
  }
  if (mp->gsignal) atomic_fetch_sub(&with_stacks, 1);
  stack_unmap(mp->gsignal, MPGI_GSIGNAL_BYTES);
  stack_unmap(mp->g0_mem, MPGI_G0_BYTES);
  mpgi_fixmem_free(mp, sizeof *mp, MPGI_CACHE_LINE_BYTES);
}

/* The record of a thread that ended, with its resources; or NULL. */
static struct mpg_m *m_reuse(void) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  struct mpg_m *mp = mpgi_sched.free_m;
  if (mp) mpgi_sched.free_m = mp->link;
  mpgi_mutex_unlock(&mpgi_sched.lock);
  if (!mp) return NULL;
  struct mpgi_xsave *xsave = mp->xsave_free;
  char *gsignal = mp->gsignal, *g0_mem = mp->g0_mem;
  memset((void *) mp, 0, offsetof(struct mpg_m, pins));
  mp->xsave_free = xsave;
  mp->gsignal = gsignal;
  mp->g0_mem = g0_mem;
  return mp;
}

void mpgi_m_recycle(struct mpg_m *mp) {
  atomic_store(&mp->gone, MPGI_GONE_EXITED);
  mpgi_mutex_lock(&mpgi_sched.lock);
  mp->link = mpgi_sched.free_m;
  mpgi_sched.free_m = mp;
  mpgi_mutex_unlock(&mpgi_sched.lock);
}

static struct mpg_m *m_make(void) {
  struct mpg_m *mp = m_reuse();
  if (!mp) {
    mp = mpgi_fixmem_alloc(sizeof *mp, MPGI_CACHE_LINE_BYTES);
    if (!mp) return NULL;
    if (!m_resources(mp)) {
      mpgi_m_free(mp);
      return NULL;
    }
  }
  mp->rand = (uint32_t) (uintptr_t) mp >> 6 | 1;
  mp->calls_by_g0 = mpgi_opt.chaos != 0;
  return mp;
}

struct mpg_m *mpgi_m_make_attached(void) {
  struct mpg_m *mp = m_make();
  if (!mp) return NULL;
  if (!mp->g0_mem) mp->g0_mem = stack_map(MPGI_G0_BYTES);
  if (!mp->g0_mem) {
    mpgi_m_recycle(mp);
    return NULL;
  }
  mp->g0_lo = (uintptr_t) mp->g0_mem;
  mp->g0_hi = mp->g0_lo + MPGI_G0_BYTES;
  mp->g0_sp = mp->g0_hi - MPGI_CACHE_LINE_BYTES;
  return mp;
}

/* ---- the thread ---- */

/* The C++ library's, in programs that are linked with one. */
extern struct mpgi_cxx *__cxa_get_globals(void) __attribute__((weak));

void mpgi_m_take_thread(struct mpg_m *mp) {
  mp->tid = mpgi_os_tid();
  mp->cpu_clock = mpgi_os_thread_clock();
  mp->thread_pointer = mpgi_os_thread_pointer();
  mp->guard = mpgi_arch_guard_addr();
}

static void m_thread_init(struct mpg_m *mp) {
  mpgi_fixmem_thread_begin();
  mpgi_m_take_thread(mp);
  atomic_store(&mp->waits, 0);
  mpgi_tls.waits = &mp->waits;
  int err = mpgi_os_stack_bounds(&mp->g0_lo, &mp->g0_hi);
  MPG_VERIFY(err == 0);
  mpgi_san_thread(mp->g0_lo, mp->g0_hi);
  mpgi_valgrind_thread(mp->g0_lo, mp->g0_hi, true);
  err = mpgi_os_sigaltstack(mp->gsignal, MPGI_GSIGNAL_BYTES);
  MPG_VERIFY(err == 0);
  if (mpgi_opt.timerslack) mpgi_os_timer_slack_lower();
  mpgi_thread_exit_arm(mp); /* without it such an end is not told */
  mpgi_arch_guard_set(0);
  if (__cxa_get_globals) mp->cxx = __cxa_get_globals();
  /* As the caller of mpg_run has it: what goroutines start inherits it. */
  mpgi_os_sigmask_set(mpgi_os_sigmask_open(mpgi_sched.sigmask));
  atomic_store(&mp->gone, MPGI_GONE_NOT); /* [m.pins] */
}

/* [m.ahead] */
static void begin_idle(struct mpg_m *mp) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_sched.nm_ahead--;
  mpgi_mutex_unlock(&mpgi_sched.lock);
  mpgi_m_stop(mp);
}

static void m_on_g0(void *arg) {
  struct mpg_m *mp = arg;
  mpgi_tls.g0_sp = mp->g0_sp;
  mpgi_tls_m_set(mp);
  MPGI_CHAOS();
  struct mpg_p *pp = atomic_exchange(&mp->next_p, NULL);
  if (pp)
    mpgi_p_acquire(mp, pp);
  else
    begin_idle(mp);
  mpgi_schedule(mp);
}

bool mpgi_m_pin(struct mpg_m *mp) {
  atomic_fetch_add(&mp->pins, 1); /* [m.pins] */
  if (atomic_load(&mp->gone) == MPGI_GONE_NOT) return true;
  mpgi_m_unpin(mp);
  return false;
}

void mpgi_m_unpin(struct mpg_m *mp) { atomic_fetch_sub(&mp->pins, 1); }

/* mpgi_tls_user of mp's thread. */
static bool has_user(const struct mpg_m *mp) {
  uintptr_t offset = (uintptr_t) &mpgi_tls - mpgi_os_thread_pointer();
  const struct mpgi_tls *tls =
      (const struct mpgi_tls *) (mp->thread_pointer + offset);
  return __atomic_load_n(&tls->g, __ATOMIC_ACQUIRE) != NULL ||
         __atomic_load_n(&tls->libc, __ATOMIC_ACQUIRE) != NULL;
}

bool mpgi_m_is_abroad(struct mpg_m *mp) {
  if (!mpgi_m_pin(mp)) return false;
  bool abroad = has_user(mp);
  mpgi_m_unpin(mp);
  return abroad;
}

/* The calling thread leaves: nobody looks at it or signals it after this. */
void mpgi_m_hide(struct mpg_m *mp) {
  atomic_store(&mp->gone, MPGI_GONE_EXITED); /* [m.pins] */
  while (atomic_load(&mp->pins)) mpgi_os_yield();
  mpgi_os_yield(); /* signals sent so far are delivered now, to an M */
}

static void m_main(void *arg) {
  struct mpg_m *mp = arg;
  MPGI_CHAOS();
  m_thread_init(mp);
  mpgi_arch_g0_enter(m_on_g0, mp, &mp->g0_sp, &mp->g0_base);
  /* mpgi_m_exit or mpgi_m_end brought us here. */
  MPGI_CHAOS();
  mpgi_m_hide(mp);
  mpgi_tls_m_set(NULL);
  mpgi_thread_exit_disarm();
  mpgi_tls.waits = NULL;
  mpgi_arch_guard_set(0);
  mpgi_os_sigmask_set(MPGI_OS_SIGMASK_ALL);
  mpgi_os_sigaltstack(NULL, 0);
  mpgi_valgrind_thread(mp->g0_lo, mp->g0_hi, false);
  if (mp->ended) mpgi_m_recycle(mp);
  MPGI_CHAOS();
  mpgi_thread_gone();
}

void mpgi_thread_gone(void) {
  if (atomic_fetch_sub(&mpgi_sched.live_threads, 1) == 1)
    mpgi_note_wake(&mpgi_sched.exit_note);
}

void mpgi_m_exit(struct mpg_m *mp) {
  MPG_ASSERT(atomic_load(&mpgi_sched.exiting));
  if (mp->attached) mpgi_attached_block(mp);
  mpgi_san_leave();
  mpgi_tls_cache_set(NULL);
  mpgi_arch_g0_leave(mp->g0_base);
}

void mpgi_m_unlist_locked(struct mpg_m *mp) {
  struct mpg_m **at = &mpgi_sched.all_m;
  while (*at != mp) at = &(*at)->all_link;
  *at = mp->all_link;
}

void mpgi_m_end(struct mpg_m *mp) {
  MPG_ASSERT(mp->p && !mp->curg && !mp->spinning);
  mp->ended = true;
  mp->locked_g = NULL;
  /* While the P is in our hands the world can't have stopped: after this no
   * collector looks at the thread's TLS blocks, which go with it. */
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_m_unlist_locked(mp);
  mpgi_sched.nm--;
  mpgi_sched.nm_ending++; /* until another has the P */
  mpgi_mutex_unlock(&mpgi_sched.lock);
  MPGI_CHAOS();
  mpgi_m_handoff(mpgi_p_release(mp));
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_sched.nm_ending--;
  mpgi_checkdead_locked();
  mpgi_mutex_unlock(&mpgi_sched.lock);
  mpgi_arch_g0_leave(mp->g0_base);
}

static int m_new(struct mpg_p *pp, bool spinning) {
  struct mpg_m *mp = m_make();
  if (!mp) return -ENOMEM;
  atomic_store(&mp->next_p, pp);
  mp->spinning = spinning;
  mpgi_mutex_lock(&mpgi_sched.lock);
  mp->id = mpgi_sched.next_mid++;
  mp->all_link = mpgi_sched.all_m;
  mpgi_sched.all_m = mp;
  mpgi_mutex_unlock(&mpgi_sched.lock);
  atomic_fetch_add(&mpgi_sched.live_threads, 1);
  MPGI_CHAOS();
  int err = mpgi_os_thread_start(m_main, mp, MPGI_G0_BYTES, "mpg-m");
  if (err == 0) return 0;
  atomic_fetch_sub(&mpgi_sched.live_threads, 1);
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_m_unlist_locked(mp);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  mpgi_m_free(mp);
  return err;
}

int mpgi_m_start_first(struct mpg_p *pp) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_sched.nm++;
  mpgi_mutex_unlock(&mpgi_sched.lock);
  int err = m_new(pp, false);
  if (err) mpgi_sched.nm--;
  return err;
}

/* ---- waking and parking ---- */

static void idle_m_push_locked(struct mpg_m *mp) {
  mp->link = mpgi_sched.idle_m;
  mpgi_sched.idle_m = mp;
  mpgi_sched.nmidle++;
}

static struct mpg_m *idle_m_pop_locked(void) {
  struct mpg_m *mp = mpgi_sched.idle_m;
  if (!mp) return NULL;
  mpgi_sched.idle_m = mp->link;
  mpgi_sched.nmidle--;
  mp->link = NULL;
  return mp;
}

/* [m.handed] next_p of an M that left the idle list holds the P until one
 * takes it out: the M, once it is awake, or a stopper, which puts the M back on
 * the list.  Waking up takes a thread longer than everything else in a stop. */
static void hand(struct mpg_p *pp, struct mpg_m *mp) {
  MPG_ASSERT(!atomic_load(&mp->next_p));
  atomic_store_explicit(&pp->handed, mp, memory_order_relaxed);
  MPGI_CHAOS();
  atomic_store(&mp->next_p, pp);
  MPGI_CHAOS();
  mpgi_note_wake(&mp->park);
}

/* Before its M has acquired pp it can't have been handed on: a handed that is
 * read here belongs to this transit, or next_p is empty. */
bool mpgi_m_take_back_locked(struct mpg_p *pp) {
  mpgi_mutex_assert_held(&mpgi_sched.lock);
  struct mpg_m *mp = atomic_load_explicit(&pp->handed, memory_order_relaxed);
  struct mpg_p *there = pp;
  if (!mp || !atomic_compare_exchange_strong(&mp->next_p, &there, NULL))
    return false;
  atomic_store_explicit(&pp->handed, NULL, memory_order_relaxed);
  if (mp->spinning) {
    mp->spinning = false;
    atomic_fetch_sub(&mpgi_sched.nmspinning, 1);
  }
  idle_m_push_locked(mp);
  return true;
}

static void start_undo(struct mpg_p *pp, bool spinning) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_sched.nm--;
  if (spinning) atomic_fetch_sub(&mpgi_sched.nmspinning, 1);
  /* Its work must stay visible: an idle P is not looked at. */
  mpgi_runq_drain_locked(pp);
  mpgi_p_idle_put_locked(pp);
  mpgi_mutex_unlock(&mpgi_sched.lock);
}

/* [m.ahead] Returns whether sysmon should know. */
static bool missed_locked(int64_t now) {
  struct mpgi_sched *s = &mpgi_sched;
  s->misses = now - s->missed_at <= AHEAD_NS ? s->misses + 1 : 1;
  s->missed_at = now;
  return s->misses >= AHEAD_AFTER;
}

/* Never so many that somebody could miss one for the limit. */
static bool want_ahead_locked(int64_t now) {
  const struct mpgi_sched *s = &mpgi_sched;
  int32_t want = s->misses < AHEAD_MAX ? s->misses : AHEAD_MAX;
  return s->misses >= AHEAD_AFTER && now - s->missed_at <= AHEAD_NS &&
         s->nmidle + s->nm_ahead < want && s->nm < s->max_m / 2;
}

bool mpgi_m_start_ahead(int64_t now) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  bool want = want_ahead_locked(now);
  mpgi_sched.nm += want;
  mpgi_sched.nm_ahead += want;
  mpgi_mutex_unlock(&mpgi_sched.lock);
  if (!want) return false;
  MPGI_CHAOS();
  if (m_new(NULL, false) == 0) return true;
  mpgi_mutex_lock(&mpgi_sched.lock);
  mpgi_sched.nm--;
  mpgi_sched.nm_ahead--;
  mpgi_sched.misses = 0;
  mpgi_checkdead_locked(); /* it counted as somebody who may run */
  mpgi_mutex_unlock(&mpgi_sched.lock);
  return false;
}

void mpgi_m_start(struct mpg_p *pp, bool spinning) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  if (!pp) pp = mpgi_p_idle_get_locked();
  if (!pp) {
    if (spinning) atomic_fetch_sub(&mpgi_sched.nmspinning, 1);
    mpgi_mutex_unlock(&mpgi_sched.lock);
    return;
  }
  struct mpg_m *mp = idle_m_pop_locked();
  if (!mp) {
    if (mpgi_sched.nm >= mpgi_sched.max_m)
      mpgi_fatal(
          "thread exhaustion: %d threads, the limit; raise it with "
          "mpg_set_max_threads, or look for goroutines stuck in "
          "system calls",
          (int) mpgi_sched.nm);
    mpgi_sched.nm++;
    int64_t now = mpgi_os_now();
    bool ahead = missed_locked(now);
    mpgi_mutex_unlock(&mpgi_sched.lock);
    if (ahead) mpgi_sysmon_due(now);
    /* No thread to be had now: the work waits for the threads that run, and
     * sysmon tries again. */
    if (m_new(pp, spinning) != 0) start_undo(pp, spinning);
    return;
  }
  mpgi_mutex_unlock(&mpgi_sched.lock);
  MPGI_CHAOS();
  MPG_ASSERT(!mp->spinning);
  mp->spinning = spinning;
  hand(pp, mp);
}

void mpgi_m_sleep(struct mpg_m *mp) {
  mp->blocked = true;
  mpgi_note_sleep(&mp->park);
  mp->blocked = false;
  mpgi_note_clear(&mp->park);
}

/* A stray wake-up (proc.c, poll_idle) comes without a P; so does one whose P a
 * stopper took back. */
static struct mpg_p *await_p(struct mpg_m *mp) {
  struct mpg_p *pp;
  while (!(pp = atomic_exchange(&mp->next_p, NULL))) { /* [m.handed] */
    if (atomic_load(&mpgi_sched.exiting)) mpgi_m_exit(mp);
    mpgi_m_sleep(mp);
    MPGI_CHAOS();
  }
  MPGI_CHAOS();
  return pp;
}

void mpgi_m_stop(struct mpg_m *mp) {
  MPG_ASSERT(!mp->p && !mp->spinning && !mp->curg);
  MPGI_CHAOS();
  mpgi_note_clear(&mp->park);
  mpgi_mutex_lock(&mpgi_sched.lock);
  idle_m_push_locked(mp);
  mpgi_checkdead_locked();
  mpgi_mutex_unlock(&mpgi_sched.lock);
  mpgi_p_acquire(mp, await_p(mp));
}

/* pp has no owner any more (system call): somebody else must run its work. */
void mpgi_m_handoff(struct mpg_p *pp) {
  MPGI_CHAOS();
  if (!mpgi_runq_empty(pp) ||
      atomic_load_explicit(&mpgi_sched.runq_size, memory_order_relaxed) ||
      atomic_load_explicit(&pp->timer_first, memory_order_relaxed) !=
          INT64_MAX) {
    mpgi_m_start(pp, false);
    return;
  }
  int32_t none = 0;
  if (atomic_load(&mpgi_sched.nmspinning) + atomic_load(&mpgi_sched.npidle) ==
          0 &&
      atomic_compare_exchange_strong(&mpgi_sched.nmspinning, &none, 1)) {
    MPGI_CHAOS();
    mpgi_m_start(pp, true);
    return;
  }
  mpgi_mutex_lock(&mpgi_sched.lock);
  MPGI_CHAOS();
  bool work = mpgi_globq_n_locked() != 0;
  if (!work) mpgi_p_idle_put_locked(pp);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  MPGI_CHAOS();
  if (work)
    mpgi_m_start(pp, false);
  else /* as every M that goes idle: proc.c */
    mpgi_wake_if_wanted();
}

int mpgi_set_max_threads_g0(int n) {
  mpgi_mutex_lock(&mpgi_sched.lock);
  int old = mpgi_sched.max_m;
  if (n > 0) mpgi_sched.max_m = n;
  if (n > 0 && mpgi_sched.nm > n)
    mpgi_fatal("mpg_set_max_threads(%d) with %d threads", n,
               (int) mpgi_sched.nm);
  mpgi_mutex_unlock(&mpgi_sched.lock);
  return old;
}

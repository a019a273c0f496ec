/* leak.c - goroutines that nobody can ever wake.
 *
 * A goroutine that is parked on an object which only itself, or others like
 * it, can reach waits for ever, and its stack keeps alive what it holds.  The
 * collector takes every stack for a root, so this is a marking of its own,
 * after a collection's, with the world still stopped:
 *   1. mark from every root but the stacks of candidates: goroutines parked on
 *      something without a timer
 *   2. a candidate whose object is marked may be woken: mark from its stack
 *   3. again, until nothing changes; who is left is leaked
 * An object on a candidate's stack, its own or another's, can't be reached as
 * long as that one can't be woken, unless somebody has its address:
 * leak_stack.c.
 * Finalizers that are to run are among the roots, so what they would wake is
 * not leaked; so are referents of weak references, values of weak maps, and
 * cleanup queues that something may come into.  Objects elsewhere outside the
 * heap (globals, malloc's) count as reachable.  A diagnostic: slow and simple,
 * and the collector knows nothing of it.  Source: the idea is that of "partial
 * deadlocks" in Go research.
 */
#include <sched/sched.h>

#include <unistd.h>

#include <sched/gmp.h>

#include <sched/chan.h>
#include <sched/dump.h>
#include <sched/leak.h>

static _Atomic uint32_t asked; /* callers of mpg_leaked_goroutines */
static _Atomic int found;      /* by the last look */

static bool reason_is_an_object(uint8_t reason) {
  switch (reason) {
  case MPGI_WAIT_CHAN_SEND:
  case MPGI_WAIT_CHAN_RECV:
  case MPGI_WAIT_CHAN_SEND_NIL:
  case MPGI_WAIT_CHAN_RECV_NIL:
  case MPGI_WAIT_SELECT:
  case MPGI_WAIT_SELECT_NONE:
  case MPGI_WAIT_MUTEX:
  case MPGI_WAIT_RWMUTEX_R:
  case MPGI_WAIT_RWMUTEX_W:
  case MPGI_WAIT_COND:
  case MPGI_WAIT_WAITGROUP:
  case MPGI_WAIT_SEM: return true;
  default: return false;
  }
}

static bool is_candidate(const struct mpg_g *gp) {
  return mpgi_g_status(gp) == MPGI_G_WAITING && gp->goid != 0 &&
         !gp->finalizers && !atomic_load(&gp->timer.pp) &&
         reason_is_an_object(gp->wait_reason);
}

/* Is one of the objects that gp waits for so? */
static bool waits_for(const struct mpg_g *gp, bool (*is_so)(const void *p)) {
  const struct mpgi_select *s = gp->select;
  if (!s) return gp->wait.object && is_so(gp->wait.object);
  for (uint32_t i = 0; i < s->n; i++)
    if (s->waiter[i].object && is_so(s->waiter[i].object)) return true;
  return false;
}

/* On a stack that nobody is known to have an address of. */
static bool is_hidden(const void *p) {
  const struct mpg_g *home = mpgi_leak_stack_of(p);
  return home && home->leaked == MPGI_LEAKED;
}

static bool is_reached(const void *p) {
  return !is_hidden(p) && mpgi_gc_reached(p);
}

static void mark_goroutine(const struct mpg_g *gp) {
  mpgi_roots_goroutine(gp, mpgi_gc_reach_words, NULL);
}

static void mark_others(size_t n) {
  mpgi_roots_threads(mpgi_gc_reach_words, NULL);
  for (size_t i = 0; i < n; i++) {
    struct mpg_g *gp = mpgi_allg_get(i);
    gp->leaked = is_candidate(gp) ? MPGI_LEAKED : MPGI_LEAKED_NOT;
    if (!gp->leaked) mark_goroutine(gp);
  }
}

/* True when one was found that may be woken. */
static bool mark_woken(size_t n) {
  bool any = false;
  for (size_t i = 0; i < n; i++) {
    struct mpg_g *gp = mpgi_allg_get(i);
    if (!gp->leaked || !waits_for(gp, is_reached)) continue;
    gp->leaked = MPGI_LEAKED_NOT;
    mark_goroutine(gp);
    any = true;
  }
  return any;
}

static bool any_waits_hidden(size_t n) {
  for (size_t i = 0; i < n; i++) {
    const struct mpg_g *gp = mpgi_allg_get(i);
    if (gp->leaked && waits_for(gp, is_hidden)) return true;
  }
  return false;
}

static void mark_all(size_t n) {
  mark_others(n);
  mpgi_leak_stacks_begin_stw(n);
  do {
    while (mark_woken(n)) continue;
  } while (any_waits_hidden(n) && mpgi_leak_stacks_look_stw(n));
  mpgi_leak_stacks_end_stw();
}

static void report(size_t n) {
  int count = 0;
  for (size_t i = 0; i < n; i++) {
    struct mpg_g *gp = mpgi_allg_get(i);
    count += gp->leaked != MPGI_LEAKED_NOT;
    if (!mpgi_opt.leak || !gp->leaked || gp->leak_said) continue;
    gp->leak_said = 1;
    mpgi_print(STDERR_FILENO, "leak: nobody can wake goroutine %lu\n",
               (unsigned long) gp->goid);
    mpgi_dump_names(STDERR_FILENO, gp);
  }
  atomic_store(&found, count);
}

void mpgi_leaks_stw(void) {
  if (!mpgi_opt.leak && !atomic_load(&asked)) return;
  size_t n = atomic_load(&mpgi_sched.nallg);
  if (!mpgi_gc_reach_begin_stw()) {
    mpgi_print(STDERR_FILENO, "mpg: no memory to look for leaks\n");
    return;
  }
  mark_all(n);
  report(n);
  mpgi_gc_reach_end_stw();
}

static bool is_leaked(const struct mpg_g *gp) {
  return gp->leaked != MPGI_LEAKED_NOT;
}

static void resumed(struct mpg_g *gp) {
  gp->ctx.ret = (uintptr_t) atomic_load(&found);
}

int mpgi_leaked_goroutines_g0(int fd) {
  mpgi_current_g("mpg_leaked_goroutines");
  atomic_fetch_add(&asked, 1);
  mpgi_gc_g0();
  atomic_fetch_sub(&asked, 1);
  int n = atomic_load(&found);
  if (fd < 0 || n == 0) return n;
  struct mpg_g *gp = mpgi_tls_m()->curg;
  mpgi_g_on_resume(gp, resumed); /* if printing ends on another thread */
  mpgi_dump_picked(fd, is_leaked);
  mpgi_g_on_resume(gp, NULL);
  return n;
}

/* move.c - when a movable goroutine's stack is swapped out, and the proof.
 *
 * A goroutine started with MPG_GO_MOVABLE has promised that addresses of its
 * stack are kept in no memory that the collector doesn't scan.  What it can't
 * promise is that nobody else holds one, and would use it while the stack is
 * away.  That is looked at in the marking phase of a collection, when every
 * word there is is read anyway.
 *
 * In a cycle, with the world stopped
 *   1. candidates are chosen among the movable goroutines that are parked:
 *      those that were at the last cycle, too (with MPG_DEBUG=stackmove=1 all,
 *      and those that are runnable); their homes are noted
 *   2. while roots are visited, and then for the words of live heap objects,
 *      a word that points into a noted home pins it; words of the owner's own
 *      stack don't
 *   3. candidates that aren't pinned are swapped out (stack/home.c), in status
 *      copystack; references of the runtime then point into the image
 * Whoever resumes such a goroutine swaps its stack in, without a proof: nobody
 * could get one of its addresses while it was parked.  It is in status
 * copystack then, too: on no queue, curg of an M with a P, which is on g0 and
 * stops for nobody until it is over.  So the stopped world never has one; those
 * who look without a stop (scheddetail, last words, gdb) see the status, and
 * that its frames can't be had.
 *
 * A pinned goroutine is left alone for 1, 2, 4 ... cycles.
 *
 * [move.inv.owner] A candidate's status is waiting, so the stopper owns it;
 * queues it is on are not looked at while the world is stopped.  But those of
 * descriptors are, by sysmon and by pollers without a P: such a candidate is
 * held in its queue, or left alone when it has been claimed.
 *
 * [move.inv.runnable] One that is runnable is owned by whoever takes it off a
 * run queue (or has picked it): an M with a P, which is stopped.  sysmon, and
 * threads that come back from a system call without a P, put it on a queue or
 * from one on another meanwhile: that touches g.link.  Whoever made it
 * runnable has done with its stack before: elements are copied, results
 * written.  From there on the first to look at the stack, the saved registers
 * in it, ctx.xsave or what wait.elem and the select point to is mpgi_execute,
 * and it swaps in before it looks for thread-local addresses (migrate.c) and
 * calls on_resume.  Others read in a stop, and know images: the collector,
 * tracebacks.  ctx.xsave is apart from the stack, and stays with the G.
 *
 * Not at a stop in place (status preempted, frozen threads): the thread goes
 * on with the stack at once, from a frame of g0 or of its signal handler that
 * has its address; nor in a system call, whose thread goes on running.
 *
 * [move.inv.words] What may point into a stack that is swapped out: itself,
 * and what is redirected: wait.elem (an element, or the struct mpgi_io of a
 * wait for a descriptor), the select's cases and elements.  Any other word of
 * the G that does (a mutex it waits for, say) pins it: RUNTIME. Waits whose
 * other references nobody knows are not on the list wait_is_known.
 *
 * Source: Go stack.go (copystack, shrinkstack), which knows every pointer and
 * so may move a stack to another address; home.c says why C can't.
 */
#include <sched/sched.h>

#include <errno.h>

#include <sched/gmp.h>

#include <sched/chan.h>
#include <sched/io_private.h>

#define CANDIDATES_MAX 4096 /* in a cycle that nobody asked for */
#define SKIP_MAX 64

enum note { NOTE_NONE, NOTE_TAKEN, NOTE_PINNED /* + enum mpgi_pin */ };

static struct {
  uintptr_t lo; /* where homes are; 0: not set up */
  size_t bytes;
  _Atomic uint8_t *note;        /* one a home; a mapping of its own */
  struct mpgi_movable *all;     /* allg_lock: every live one */
  struct mpgi_movable *first;   /* candidates of this cycle, by link */
  struct mpg_stack_stats stats; /* stopper */
  _Atomic uint64_t swapped_in;
} move MPGI_NOROOT;

bool mpgi_move_looking;

/* ---- movable goroutines come and go ---- */

static bool set_up_locked(void) {
  if (move.lo) return true;
  if (!mpgi_stack_home_init()) return false;
  uintptr_t lo;
  size_t page = mpgi_os_page_bytes;
  mpgi_stack_home_range(&lo, &move.bytes);
  size_t notes = move.bytes / MPGI_STACK_HOME_BYTES;
  move.note = mpgi_os_mem_map((notes + page - 1) & ~(page - 1), page);
  if (!move.note) return false;
  move.lo = lo;
  return true;
}

bool mpgi_move_init(void) {
  mpgi_mutex_lock(&mpgi_sched.allg_lock);
  bool ok = set_up_locked();
  mpgi_mutex_unlock(&mpgi_sched.allg_lock);
  return ok;
}

void mpgi_move_register(struct mpgi_movable *mg) {
  mg->skip = mg->backoff = 0;
  mg->seen = 0;
  mg->prev = NULL;
  mpgi_mutex_lock(&mpgi_sched.allg_lock);
  mg->next = move.all;
  if (move.all) move.all->prev = mg;
  move.all = mg;
  mpgi_mutex_unlock(&mpgi_sched.allg_lock);
}

void mpgi_move_unregister(struct mpgi_movable *mg) {
  mpgi_mutex_lock(&mpgi_sched.allg_lock);
  if (mg->next) mg->next->prev = mg->prev;
  if (mg->prev)
    mg->prev->next = mg->next;
  else
    move.all = mg->next;
  mpgi_mutex_unlock(&mpgi_sched.allg_lock);
}

/* ---- noting and pinning ---- */

static _Atomic uint8_t *note_of(uintptr_t w) {
  return &move.note[(w - move.lo) / MPGI_STACK_HOME_BYTES];
}

static bool is_own(const struct mpg_g *gp, uintptr_t w) {
  return gp && w >= gp->seg0.lo && w < gp->seg0.hi;
}

/* x is an address that somebody has. */
static inline void look_at(enum mpgi_pin why, const struct mpg_g *owner,
                           uintptr_t x) {
  if (x - move.lo >= move.bytes || is_own(owner, x)) return;
  _Atomic uint8_t *note = note_of(x);
  if (atomic_load_explicit(note, memory_order_relaxed) == NOTE_TAKEN)
    atomic_store_explicit(note, (uint8_t) (NOTE_PINNED + why),
                          memory_order_relaxed);
}

/* Concurrent: markers visit different ranges.  One that lies in a home, a
 * registered root, is read there in each cycle. */
MPGI_NO_SANITIZE void mpgi_move_words(enum mpgi_pin why,
                                      const struct mpg_g *owner, const void *lo,
                                      const void *hi) {
  const uintptr_t *w =
      (const uintptr_t *) (((uintptr_t) lo + 7) & ~(uintptr_t) 7);
  look_at(why, owner, (uintptr_t) lo);
  for (; w + 1 <= (const uintptr_t *) hi; w++)
    look_at(why, owner, *(const volatile uintptr_t *) w);
}

/* ---- candidates ---- */

/* Waits whose references to the stack [move.inv.words] names. */
static bool wait_is_known(uint8_t reason) {
  return reason >= MPGI_WAIT_CHAN_SEND && reason <= MPGI_WAIT_IO_CLOSE;
}

static bool is_off(const struct mpgi_movable *mg) {
  const struct mpg_g *gp = &mg->g;
  if (mg->image) return false;
  if (mpgi_g_status(gp) == MPGI_G_RUNNABLE)
    return mpgi_opt.stackmove; /* [move.inv.runnable] */
  return mpgi_g_status(gp) == MPGI_G_WAITING && !gp->ctx.xsave &&
         wait_is_known(gp->wait_reason) &&
         gp->ctx.pc == (uintptr_t) mpgi_resume_thunk;
}

/* Since the last cycle at least. */
static bool stays_parked(struct mpgi_movable *mg) {
  bool seen = mg->seen == mg->g.wait_since;
  mg->seen = mg->g.wait_since;
  return seen || mpgi_opt.stackmove;
}

static bool is_skipped(struct mpgi_movable *mg) {
  if (mg->skip == 0 || mpgi_opt.stackmove) return false;
  mg->skip--;
  return true;
}

/* What it doesn't use of its home (stack/home.c). */
static bool ages(struct mpgi_movable *mg) {
  return mpgi_g_status(&mg->g) == MPGI_G_WAITING && !mg->image &&
         mpgi_stack_home_age(&mg->g.ctx);
}

static void pinned(struct mpgi_movable *mg, uint64_t *counter) {
  ++*counter;
  mg->backoff = mg->backoff ? (uint8_t) (mg->backoff * 2) : 1;
  if (mg->backoff > SKIP_MAX) mg->backoff = SKIP_MAX;
  mg->skip = mg->backoff;
  ages(mg);
}

static void candidate(struct mpgi_movable *mg) {
  const struct mpgi_context *ctx = &mg->g.ctx;
  if (!mpgi_stack_can_swap(ctx)) {
    pinned(mg, &move.stats.pinned_size);
    return;
  }
  atomic_store_explicit(note_of(ctx->seg->lo), NOTE_TAKEN,
                        memory_order_relaxed);
  mg->link = move.first;
  move.first = mg;
}

bool mpgi_move_begin_stw(bool forced) {
  size_t left = forced ? SIZE_MAX : CANDIDATES_MAX;
  MPG_ASSERT(!move.first && !mpgi_move_looking);
  for (struct mpgi_movable *mg = move.all; mg && left; mg = mg->next) {
    if (is_off(mg) && stays_parked(mg) && !is_skipped(mg)) {
      candidate(mg);
      left--;
    } else if (ages(mg)) {
      left--;
    }
  }
  return mpgi_move_looking = move.first != NULL;
}

/* ---- moving ---- */

/* [move.inv.words] */
static bool record_points_in(const struct mpg_g *gp) {
  const uintptr_t *w = (const uintptr_t *) (&gp->ctx + 1);
  const uintptr_t *end = (const uintptr_t *) &gp->seg0;
  for (; w < end; w++)
    if ((const void *) w != &gp->wait.elem && is_own(gp, *w)) return true;
  return false;
}

static void redirect(void *pointer, uintptr_t lo, size_t bytes, uintptr_t to) {
  uintptr_t *w = pointer;
  if (*w - lo < bytes) *w += to - lo;
}

/* Those that point into [lo, lo + bytes) follow it to `to`. */
static void redirect_all(struct mpg_g *gp, uintptr_t lo, size_t bytes,
                         uintptr_t to) {
  redirect(&gp->wait.elem, lo, bytes, to);
  struct mpgi_select *s = gp->select;
  if (!s) return;
  redirect(&s->cases, lo, bytes, to);
  for (uint32_t i = 0; i < s->n; i++)
    redirect(&s->waiter[i].elem, lo, bytes, to);
}

static void swap_out(struct mpgi_movable *mg, enum mpgi_g_status from) {
  struct mpg_g *gp = &mg->g;
  mpgi_g_status_set(gp, from, MPGI_G_COPYSTACK);
  mg->image = mpgi_stack_swap_out(&gp->ctx);
  if (mg->image) {
    redirect_all(gp, gp->ctx.sp, gp->ctx.seg->hi - gp->ctx.sp,
                 (uintptr_t) mg->image);
    move.stats.swapped_out++;
  }
  mpgi_g_status_set(gp, MPGI_G_COPYSTACK, from);
}

static void swap_out_if_owned(struct mpgi_movable *mg) {
  const struct mpg_g *gp = &mg->g;
  enum mpgi_g_status status = mpgi_g_status(gp);
  if (status == MPGI_G_RUNNABLE || gp->wait_reason != MPGI_WAIT_IO) {
    swap_out(mg, status);
    return;
  }
  struct mpgi_pd *pd = ((const struct mpgi_io *) gp->wait.elem)->pd;
  if (!mpgi_pd_hold(pd, gp)) return; /* [netpoll.claim] */
  swap_out(mg, status);
  mpgi_pd_let_go(pd);
}

static void settle(struct mpgi_movable *mg) {
  uint64_t *counters[] = {
      [MPGI_PIN_HEAP] = &move.stats.pinned_heap,
      [MPGI_PIN_ROOT] = &move.stats.pinned_root,
      [MPGI_PIN_STACK] = &move.stats.pinned_stack,
      [MPGI_PIN_THREAD] = &move.stats.pinned_thread,
  };
  _Atomic uint8_t *note = note_of(mg->g.ctx.seg->lo);
  uint8_t n = atomic_load_explicit(note, memory_order_relaxed);
  atomic_store_explicit(note, NOTE_NONE, memory_order_relaxed);
  if (n >= NOTE_PINNED)
    pinned(mg, counters[n - NOTE_PINNED]);
  else if (record_points_in(&mg->g))
    pinned(mg, &move.stats.pinned_runtime);
  else
    swap_out_if_owned(mg);
}

void mpgi_move_end_stw(void) {
  mpgi_move_looking = false;
  for (struct mpgi_movable *mg; (mg = move.first);) {
    move.first = mg->link;
    mg->link = NULL;
    settle(mg);
  }
}

void mpgi_move_in(struct mpgi_movable *mg) {
  struct mpg_g *gp = &mg->g;
  if (!mg->image) return;
  mpgi_g_status_set(gp, MPGI_G_RUNNING, MPGI_G_COPYSTACK);
  MPGI_CHAOS();
  redirect_all(gp, (uintptr_t) mg->image, gp->ctx.seg->hi - gp->ctx.sp,
               gp->ctx.sp);
  mpgi_stack_swap_in(&gp->ctx, mg->image);
  mg->image = NULL;
  mpgi_g_status_set(gp, MPGI_G_COPYSTACK, MPGI_G_RUNNING);
  atomic_fetch_add_explicit(&move.swapped_in, 1, memory_order_relaxed);
}

/* ---- asking ---- */

int mpgi_stack_stats_read_g0(struct mpg_stack_stats *s) {
  if (!s || s->size < sizeof *s) return -EINVAL;
  size_t size = s->size;
  *s = move.stats; /* counters, each written with the world stopped */
  s->size = size;
  s->stack_bytes = mpgi_stack_bytes();
  s->swapped_in = atomic_load_explicit(&move.swapped_in, memory_order_relaxed);
  return 0;
}

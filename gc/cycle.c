/* cycle.c - one collection, from its cause to its trace line.
 *
 * Steps, but for the first by the one thread that was elected
 *   0  list the loaded objects
 *   1  finish sweeping the last cycle; take over the global segments of the
 *      list; have the worker threads that will be wanted
 *   2  world->stop; if the list is out of date, start the world, and give the
 *      election up: begin anew
 *   3  flush every allocation cache: allocation bits are exact now
 *   4  mark from the world's jobs and the pieces of roots; then decide about
 *      weak references and finalizers (special_mark.c)
 *   5  every span becomes unswept (constant time a class); the pacer sets the
 *      next goal
 *   6  world->start
 *   7  wake the background sweeper, whoever runs finalizers; print
 *
 * From step 1 on nobody else stops the world (world->reserve): sweeping takes
 * its time, and he would have stopped everybody else meanwhile.
 *
 * [cycle.list] Step 0 takes the dynamic linker's lock.  Its holder may be a
 * callback or a constructor of the program's that collects, too, or stops the
 * world for another reason.  So whoever waits for that lock holds nothing up:
 * it has not been elected, has no turn to stop the world, no lock of the
 * runtime's, and can be stopped where it is (world->abroad).  The holder lists
 * without waiting and goes first.
 *
 * Election.  Steps 1 to 7 are one thread's at a time.  A thread that finds
 * somebody elected (or at step 0, for an allocation) either goes on without (an
 * allocation that passed the goal: it will be stopped soon; once the goal is
 * far exceeded it yields until it is) or waits by stopping and starting the
 * world itself: while it waits for its turn it counts as stopped, so the
 * elected one is not held up.  It must not wait on a lock: it would never stop.
 *
 * A caller that wants a whole cycle is content with one that began after its
 * call: cycle n began after `begun` was n.
 *
 * Steps 3 to 5 take no lock that a stopped thread can hold: those of gc are
 * held on g0 only, by threads that aren't frozen there.
 */
#define MPGI_GC_INSIDE 1
#include <errno.h>
#include <string.h>

#include <arch/common/fixmem.h>
#include <arch/common/options.h>
#include <arch/common/sanitize.h>
#include <arch/common/trace.h>
#include <arch/os.h>
#include <gc/gc.h>
#include <gc/special.h>

/* Below this the collector starts no threads of its own. */
#define PARALLEL_MIN_BYTES ((uint64_t) 1 << 20)
/* Of stopping while objects are loaded: the linker's state may be stuck. */
#define TRIES_MAX 1000
#define RELEASE_PERIOD_NS (INT64_C(1) * 1000000000)
#define RELEASE_MIN_BYTES ((uint64_t) 1 << 20)
#define MARGIN 10 /* 1 / MARGIN of the goal stays at hand */
#define HOLD_BACK_MAX_NS (20 * 1000000)
#define HOLD_BACK_PART 8 /* of the goal: what may be allocated between two */

struct mpgi_world mpgi_gc_world;
_Atomic bool mpgi_gc_marking;

static struct {
  _Atomic bool elected;
  _Atomic bool listing;       /* somebody does who allocates: to be elected */
  _Atomic uint64_t begun;     /* cycles that have stopped the world */
  _Atomic uint64_t completed; /* and are over */
  _Atomic int64_t ended_at;   /* when the last one was over */
  _Atomic uint64_t mark_cpu_ns;
  /* As of the last cycle; see mpgi_gc_live_bytes. */
  _Atomic uint64_t survivors, alloc_then, free_then;
  int64_t init_at;
  _Atomic int64_t released_at;
} gc;

struct cycle {
  enum mpgi_gc_cause cause;
  uint64_t number;
  unsigned tries, markers_wanted;
  bool limits; /* only the memory limit asked for it */
  struct mpgi_mark_result marked;
  uint64_t bytes_before; /* live by count when the world stopped */
  uint64_t bytes_at_mark, goal;
  int64_t time_to_stop;
  int64_t asked, stopped, mark_end, resumed; /* clock */
  int64_t pacer_asked;                       /* [pacer.clock] */
};

/* ---- initialisation ---- */

static int roots_init(void) {
  mpgi_os_roots_skip(mpgi_fixmem_library());
  struct mpgi_os_objects *objects = mpgi_roots_list();
  return objects != NULL ? mpgi_roots_prepare(objects) : -ENOMEM;
}

int mpgi_gc_init(const struct mpgi_world *world) {
  MPG_ASSERT(world != NULL && world->stop != NULL && world->start != NULL);
  mpgi_gc_world = *world;
  gc.init_at = mpgi_os_now();
  atomic_store(&gc.ended_at, gc.init_at);
  mpgi_sizeclass_init();
  mpgi_central_init();
  int rc = mpgi_heap_init();
  if (rc == 0) rc = mpgi_mark_init(mpgi_heap.limit - mpgi_heap.lo);
  if (rc == 0) rc = roots_init();
  if (rc == 0) mpgi_pacer_init();
  return rc;
}

/* ---- numbers ---- */

uint64_t mpgi_gc_cycles(void) { return mpgi_load(&gc.completed); }
uint64_t mpgi_gc_mark_cpu_ns(void) { return mpgi_load(&gc.mark_cpu_ns); }

uint64_t mpgi_gc_live_bytes(void) {
  uint64_t alloc, objects;
  mpgi_cache_totals(&alloc, &objects);
  uint64_t gained = alloc - mpgi_load(&gc.alloc_then);
  uint64_t freed = mpgi_sweep_free_bytes() - mpgi_load(&gc.free_then);
  uint64_t have = mpgi_load(&gc.survivors) + gained;
  return have > freed ? have - freed : 0;
}

static void survivors_set(uint64_t live) {
  uint64_t alloc, objects;
  mpgi_cache_totals(&alloc, &objects);
  mpgi_store(&gc.survivors, live);
  mpgi_store(&gc.alloc_then, alloc);
  mpgi_store(&gc.free_then, mpgi_sweep_free_bytes());
}

/* ---- the trace line ---- */

/* Hundredths of the time since the start that markers and pauses took. */
static uint64_t gc_percent(void) {
  int64_t total = (mpgi_os_now() - gc.init_at) * mpgi_gc_world.procs();
  uint64_t used = mpgi_load(&gc.mark_cpu_ns);
  return total > 0 ? used * 100 / (uint64_t) total : 0;
}

static uint64_t mib(uint64_t bytes) { return bytes >> 20; }

/* Millionths as a decimal with three places: "%llu.%03llu". */
#define MS(ns)                           \
  (unsigned long long) ((ns) / 1000000), \
      (unsigned long long) ((ns) / 1000 % 1000)

static void trace(const struct cycle *c) {
  uint64_t since = (uint64_t) (c->asked - gc.init_at);
  uint64_t a = (uint64_t) (c->stopped - c->asked);
  uint64_t b = (uint64_t) (c->mark_end - c->stopped);
  uint64_t d = (uint64_t) (c->resumed - c->mark_end);
  uint64_t rate = b > 0 ? c->marked.objects * 100000 / b : 0; /* 10 k/s */
  mpgi_print(
      2,
      "gc %llu @%llu.%03llus %llu%%: %llu.%03llu+%llu.%03llu+%llu.%03llu ms "
      "clock, %llu.%03llu+0/%llu.%03llu/0+%llu.%03llu ms cpu, "
      "%llu->%llu->%llu MB, %llu MB goal, %d P%s stop %llu us, pause %llu us, "
      "mark %llu.%02llu Mobj/s\n",
      (unsigned long long) c->number, (unsigned long long) (since / 1000000000),
      (unsigned long long) (since / 1000000 % 1000),
      (unsigned long long) gc_percent(), MS(a), MS(b), MS(d), MS(a),
      MS(c->marked.cpu_ns), MS(d), (unsigned long long) mib(c->bytes_before),
      (unsigned long long) mib(c->bytes_at_mark),
      (unsigned long long) mib(c->marked.bytes),
      (unsigned long long) mib(c->goal), mpgi_gc_world.procs(),
      c->cause == MPGI_GC_FORCED ? " (forced)" : "",
      (unsigned long long) (c->time_to_stop / 1000),
      (unsigned long long) ((c->resumed - c->asked) / 1000),
      (unsigned long long) (rate / 100), (unsigned long long) (rate % 100));
}

/* ---- the steps ---- */

static unsigned markers_wanted(void) {
  if (mpgi_opt.gcworkers > 0)
    return mpgi_opt.gcworkers < MPGI_MARKERS_MAX ? (unsigned) mpgi_opt.gcworkers
                                                 : MPGI_MARKERS_MAX;
  uint64_t work = mpgi_pacer_live() + mpgi_gc_world.stack_bytes();
  if (work < PARALLEL_MIN_BYTES) return 1;
  unsigned n = mpgi_gc_world.parallelism();
  return n < 1 ? 1 : n < MPGI_MARKERS_MAX ? n : MPGI_MARKERS_MAX;
}

/* false: no list of global segments, so marking would not be safe. */
static bool prepare(struct cycle *c, struct mpgi_os_objects *objects) {
  MPGI_TRACE_EVERYBODY(GC_SWEEP_BEGIN, 0, 0);
  mpgi_sweep_finish();
  MPGI_TRACE_EVERYBODY(GC_SWEEP_END, 0, 0);
  if (mpgi_roots_prepare(objects) != 0) return false;
  c->markers_wanted = markers_wanted();
  if (c->markers_wanted > 1) mpgi_workers_prepare(c->markers_wanted - 1);
  c->goal = mpgi_pacer_goal();
  c->limits = c->cause == MPGI_GC_HEAP && mpgi_pacer_is_limits();
  return true;
}

static size_t world_jobs, pieces; /* of the cycle that is on */

static bool outside; /* the world wants to see them, too (world.h) */

struct both {
  mpgi_visit *fn;
  void *arg;
};

static void visit_outside(void *arg, const void *lo, const void *hi) {
  struct both *b = arg;
  b->fn(b->arg, lo, hi);
  mpgi_gc_world.outside_words(MPGI_OUTSIDE_ROOT, lo, hi);
}

/* What is beyond the world's is shown to who wants to see it. */
static void root_job(size_t i, mpgi_visit *visit, void *arg) {
  struct both b = {visit, arg};
  if (i < world_jobs) {
    mpgi_gc_world.root_job(i, visit, arg);
    return;
  }
  if (outside) {
    visit = visit_outside;
    arg = &b;
  }
  if (i - world_jobs < pieces)
    mpgi_roots_piece(i - world_jobs, visit, arg);
  else
    mpgi_special_job(i - world_jobs - pieces, visit, arg);
}

/* Live objects that may hold pointers. */
static void show_span(void *arg, struct mpgi_span *s) {
  (void) arg;
  if (s->kind == MPGI_KIND_NOSCAN) return;
  const struct mpgi_pair *pair = mpgi_span_pairs(s);
  uint64_t bytes = mpgi_span_cell_bytes(s);
  for (unsigned w = 0; w < mpgi_span_words(s); w++)
    for (uint64_t m = mpgi_load(&pair[w].mark); m; m &= m - 1) {
      uint32_t i = w * 64 + (uint32_t) __builtin_ctzll(m);
      uintptr_t lo = mpgi_span_cell(s, i);
      mpgi_gc_world.outside_words(MPGI_OUTSIDE_HEAP, (const void *) lo,
                                  (const void *) (lo + bytes));
    }
}

static void show_words(void *arg, const void *lo, const void *hi) {
  (void) arg;
  mpgi_gc_world.outside_words(MPGI_OUTSIDE_ROOT, lo, hi);
}

static void outside_end(void) {
  if (!outside) return;
  mpgi_span_each(show_span, NULL);
  mpgi_special_values(show_words, NULL);
  outside = false;
  mpgi_gc_world.outside_end();
}

static void mark_stw(struct cycle *c) {
  outside = mpgi_gc_world.outside_begin &&
            mpgi_gc_world.outside_begin(c->cause == MPGI_GC_FORCED);
  world_jobs = mpgi_gc_world.root_jobs();
  pieces = mpgi_roots_pieces_stw();
  size_t n = world_jobs + pieces + mpgi_special_jobs_stw(), kept = SIZE_MAX;
  if (mpgi_opt.gcverify != 0) kept = mpgi_verify_begin_stw(root_job, n);
  atomic_store(&mpgi_gc_marking, true);
  if (kept == SIZE_MAX)
    mpgi_mark_run(root_job, n, c->markers_wanted, &c->marked);
  else
    mpgi_mark_run(mpgi_verify_root, kept, c->markers_wanted, &c->marked);
  mpgi_special_mark_stw(c->markers_wanted, &c->marked);
  atomic_store(&mpgi_gc_marking, false);
  if (kept != SIZE_MAX) mpgi_verify_end_stw();
  if (mpgi_gc_world.marked_stw != NULL) mpgi_gc_world.marked_stw();
  outside_end();
}

static void stopped_world(struct cycle *c) {
  c->number = atomic_fetch_add(&gc.begun, 1) + 1;
  mpgi_cache_flush_all_stw();
  c->bytes_before = c->bytes_at_mark = mpgi_gc_live_bytes();
  MPGI_TRACE_EVERYBODY(GC_MARK_BEGIN, 0, 0);
  mpgi_valgrind_mute(1); /* what is scanned may be anything */
  mark_stw(c);
  mpgi_valgrind_mute(-1);
  MPGI_TRACE_EVERYBODY(GC_MARK_END, c->marked.objects, c->marked.bytes);
  mpgi_add(&gc.mark_cpu_ns, c->marked.cpu_ns);
  survivors_set(c->marked.bytes);
  mpgi_pacer_cycle_end(c->marked.bytes, c->marked.root_bytes);
  mpgi_sweep_begin_stw(mpgi_central_flip_stw());
  MPG_ASSERT(c->marked.objects == 0 || c->marked.bytes > 0);
  atomic_store(&gc.completed, c->number);
}

/* Above the limit free pages go back at once. */
static void release_above_limit(void) {
  int64_t limit = mpgi_pacer_limit();
  uint64_t have = mpgi_heap_mapped_bytes() + mpgi_heap_table_bytes();
  if (limit < INT64_MAX && have > (uint64_t) limit)
    mpgi_heap_release(have - (uint64_t) limit);
}

enum attempt {
  OVER,  /* collected; or can't for want of memory */
  LOST,  /* somebody else was elected */
  STALE, /* an object was loaded or unloaded since they were listed */
};

/* Steps 1 and 2.  With OVER the world is stopped, or there is no memory. */
static enum attempt prepare_and_stop(struct cycle *c, bool *stopped,
                                     struct mpgi_os_objects *objects) {
  if (mpgi_gc_world.reserve != NULL) mpgi_gc_world.reserve();
  if (!prepare(c, objects)) {
    if (mpgi_gc_world.unreserve != NULL) mpgi_gc_world.unreserve();
    return OVER;
  }
  MPGI_CHAOS();
  c->pacer_asked = mpgi_pacer_cycle_begins(c->limits);
  c->asked = mpgi_os_now();
  mpgi_gc_world.stop(MPGI_STOP_GC, c->markers_wanted - 1);
  *stopped = mpgi_os_roots_current() || c->tries == TRIES_MAX;
  if (*stopped) return OVER;
  mpgi_gc_world.start();
  return STALE;
}

/* What the limit is charged for: the time of a CPU, of the one thread or of
 * each marker, but not what they waited for one. */
static int64_t limits_cost(const struct cycle *c, int64_t own_cpu) {
  int64_t took = c->resumed - c->asked, cpu = own_cpu;
  if (!c->limits) return 0;
  if ((int64_t) c->marked.cpu_ns > cpu) cpu = (int64_t) c->marked.cpu_ns;
  return cpu < took ? cpu : took;
}

static enum attempt run_cycle(enum mpgi_gc_cause cause, unsigned tries,
                              struct mpgi_os_objects *objects) {
  struct cycle c = {.cause = cause, .tries = tries};
  int clock = mpgi_os_thread_clock();
  int64_t cpu = mpgi_os_clock_read(clock);
  bool stopped = false;
  enum attempt done = prepare_and_stop(&c, &stopped, objects);
  if (!stopped) return done;
  c.stopped = mpgi_os_now();
  c.time_to_stop = mpgi_gc_world.last_time_to_stop_ns();
  stopped_world(&c);
  c.mark_end = mpgi_os_now();
  mpgi_gc_world.start();
  MPGI_CHAOS();
  c.resumed = mpgi_os_now();
  atomic_store(&gc.ended_at, c.resumed);
  cpu = mpgi_os_clock_read(clock) - cpu;
  mpgi_pacer_cycle_took(c.pacer_asked, limits_cost(&c, cpu));
  mpgi_sweep_background();
  if (mpgi_special_count(MPGI_SPECIAL_READY) > 0 &&
      mpgi_gc_world.finalizers_ready != NULL)
    mpgi_gc_world.finalizers_ready();
  mpgi_special_report();
  mpgi_mark_trim();
  release_above_limit();
  if (mpgi_opt.gctrace != 0) trace(&c);
  return OVER;
}

/* The stack of who collects is scanned from within: what other calls left in
 * the slots that the frames of a cycle don't write would keep objects. */
static __attribute__((noinline)) void stack_scrub(void) {
  char below[2048];
  memset(below, 0, sizeof below);
  __asm__ volatile("" : : "r"(below) : "memory");
}

static __attribute__((noinline)) enum attempt cycle(
    enum mpgi_gc_cause cause, unsigned tries, struct mpgi_os_objects *objects) {
  MPGI_TRACE_EVERYBODY(GC_BEGIN, (uint64_t) cause, 0);
  mpgi_gc_trace_heap();
  enum attempt done = run_cycle(cause, tries, objects);
  mpgi_gc_trace_heap();
  MPGI_TRACE_EVERYBODY(GC_END, mpgi_load(&gc.completed), 0);
  return done;
}

/* ---- causes ---- */

/* Whoever was elected may have left while it waited to stop the world: the run
 * was over. */
void mpgi_gc_run_begin(void) {
  atomic_store(&gc.elected, false);
  atomic_store(&gc.listing, false);
}

static bool elect(void) {
  return !atomic_exchange_explicit(&gc.elected, true, memory_order_acquire);
}

static bool is_on(const _Atomic bool *flag) {
  return atomic_load_explicit(flag, memory_order_relaxed);
}

static bool is_wanted(enum mpgi_gc_cause cause, bool fully) {
  return fully || cause != MPGI_GC_HEAP || mpgi_pacer_due();
}

/* [cycle.list] */
static enum attempt attempt(enum mpgi_gc_cause cause, bool fully,
                            unsigned tries) {
  if (is_on(&gc.elected)) return LOST;
  struct mpgi_os_objects *objects = mpgi_roots_list();
  if (objects == NULL) return OVER;
  MPGI_CHAOS();
  if (!elect()) {
    mpgi_os_objects_drop(objects);
    return LOST;
  }
  MPGI_CHAOS();
  enum attempt done = OVER;
  if (is_wanted(cause, fully)) {
    stack_scrub();
    done = cycle(cause, tries, objects);
  } else {
    mpgi_os_objects_drop(objects);
  }
  atomic_store_explicit(&gc.elected, false, memory_order_release);
  return done;
}

/* One is on its way.  Its thread may be waiting for a CPU that we keep busy:
 * without this a heap with a goal of 4 MB was seen to grow to 38.  Or for the
 * dynamic linker's lock, which we may hold, or whose holder may be waiting for
 * us: so not for ever.  A thread that waited in vain waits again when the heap
 * has grown further. */
static void hold_back(void) {
  static _Thread_local struct {
    uint64_t cycle, live;
  } in_vain; /* g0 keeps its thread */
  uint64_t begun = mpgi_load(&gc.begun), live = mpgi_pacer_live();
  if (in_vain.cycle == begun + 1 && live < in_vain.live) return;
  int64_t until = mpgi_os_now() + HOLD_BACK_MAX_NS;
  while (mpgi_pacer_far_above() && mpgi_load(&gc.begun) == begun &&
         (is_on(&gc.elected) || is_on(&gc.listing)) && mpgi_os_now() < until)
    mpgi_gc_world.give_way();
  if (mpgi_os_now() < until) return;
  in_vain.cycle = begun + 1;
  in_vain.live = live + mpgi_pacer_goal() / HOLD_BACK_PART;
}

void mpgi_gc_collect(enum mpgi_gc_cause cause) {
  if (atomic_exchange(&gc.listing, true)) {
    hold_back();
    return;
  }
  enum attempt done;
  for (unsigned tries = 0; (done = attempt(cause, false, tries)) == STALE;
       tries++)
    mpgi_gc_world.give_way();
  atomic_store(&gc.listing, false);
  if (done == LOST) hold_back();
}

void mpgi_gc_collect_fully(enum mpgi_gc_cause cause) {
  uint64_t begun = mpgi_load(&gc.begun);
  for (unsigned tries = 0; mpgi_load(&gc.completed) <= begun;) {
    enum attempt done = attempt(cause, true, tries);
    if (done == OVER) break;
    tries += done == STALE;
    MPGI_CHAOS();
    mpgi_gc_world.give_way();
  }
  mpgi_sweep_finish();
}

void mpgi_gc_help(void) {
  MPGI_CHAOS();
  mpgi_valgrind_mute(1);
  mpgi_mark_join();
  mpgi_valgrind_mute(-1);
}

/* ---- giving memory back ---- */

uint64_t mpgi_gc_idle_margin(void) {
  uint64_t goal = mpgi_pacer_goal();
  return goal == UINT64_MAX ? 0 : goal / MARGIN;
}

bool mpgi_gc_scavenge(int64_t now) {
  uint64_t idle = mpgi_heap_idle_bytes(), keep = mpgi_gc_idle_margin();
  int64_t last = atomic_load(&gc.released_at);
  if (idle <= keep) return false;
  if (now - last >= RELEASE_PERIOD_NS &&
      atomic_compare_exchange_strong(&gc.released_at, &last, now)) {
    uint64_t half = (idle - keep) / 2;
    if (half < RELEASE_MIN_BYTES) half = idle - keep;
    if (mpgi_heap_release(half) == 0) return false;
  }
  return mpgi_heap_idle_bytes() > keep;
}

bool mpgi_gc_tick(int64_t now) {
  mpgi_gc_scavenge(now);
  return mpgi_pacer_goal() != UINT64_MAX &&
         now - atomic_load(&gc.ended_at) >= mpgi_opt.gcperiod * 1000000;
}

/* gc_world_fake.h - a world of plain threads for tests of the collector.
 *
 * Mutators are threads that call world_poll() often; stop() waits until every
 * one has arrived there (or is itself waiting to stop the world).  A stopped
 * mutator helps marking when recruited.  Roots are what tests put in
 * world.root[], each thread's `local` array, and the stack of each stopped
 * thread only if `world.scan_stacks` says so: without it, what is reachable
 * is exactly known.
 *
 * Also the thunk for tests that don't link the assembler's: none is needed on
 * a thread without a goroutine.
 */
#ifndef MPG_TESTS_GC_WORLD_FAKE_H
#define MPG_TESTS_GC_WORLD_FAKE_H

#define MPGI_GC_INSIDE 1
#include <tests/support/unit.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <arch/common/fixmem.h>
#include <arch/common/options.h>
#include <arch/os.h>
#include <arch/tls.h>
#include <gc/gc_private.h>
#include <gc/mark_private.h>
#include <mpg/gc.h>

#define WORLD_ROOTS 65536
#define WORLD_LOCALS 64

struct mutator {
  struct mutator *next;
  void *local[WORLD_LOCALS]; /* roots of this thread */
};

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  pthread_mutex_t initiator; /* one stop at a time */
  struct mutator *list;
  int running;           /* mutators not stopped */
  _Atomic bool stopping; /* polled */
  unsigned helpers;      /* recruits wanted and not yet come */
  unsigned lend;         /* most threads recruit may lend */
  unsigned parallelism;
  unsigned stopped_polls; /* mutators waiting in world_poll */
  unsigned long stops;
  int64_t stop_time, time_to_stop, pause_total;
  void **root;
  unsigned recruits; /* times that helpers were asked for */
} world = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .changed = PTHREAD_COND_INITIALIZER,
           .initiator = PTHREAD_MUTEX_INITIALIZER,
           .parallelism = 1};

static __thread struct mutator *self UNIT_UNUSED;

/* Stopped until the world runs again; lock held. */
static void world_wait_locked(void) {
  world.running--;
  world.stopped_polls++;
  pthread_cond_broadcast(&world.changed);
  while (atomic_load(&world.stopping)) {
    if (world.helpers > 0) {
      world.helpers--;
      pthread_mutex_unlock(&world.lock);
      mpgi_gc_help();
      pthread_mutex_lock(&world.lock);
      continue;
    }
    pthread_cond_wait(&world.changed, &world.lock);
  }
  world.stopped_polls--;
  world.running++;
}

UNIT_UNUSED static void world_poll(void) {
  if (!atomic_load_explicit(&world.stopping, memory_order_acquire)) return;
  pthread_mutex_lock(&world.lock);
  if (atomic_load(&world.stopping)) world_wait_locked();
  pthread_mutex_unlock(&world.lock);
}

static void world_stop(enum mpgi_stop_reason reason, unsigned helpers) {
  (void) helpers;
  (void) reason;
  while (pthread_mutex_trylock(&world.initiator) != 0) {
    if (self != NULL) world_poll();
    sched_yield();
  }
  int64_t t = mpgi_os_now();
  pthread_mutex_lock(&world.lock);
  atomic_store(&world.stopping, true);
  if (self != NULL) world.running--;
  while (world.running > 0) pthread_cond_wait(&world.changed, &world.lock);
  world.stops++;
  pthread_mutex_unlock(&world.lock);
  world.stop_time = t;
  world.time_to_stop = mpgi_os_now() - t;
}

static void world_start(void) {
  pthread_mutex_lock(&world.lock);
  atomic_store(&world.stopping, false);
  world.helpers = 0;
  if (self != NULL) world.running++;
  world.pause_total += mpgi_os_now() - world.stop_time;
  pthread_cond_broadcast(&world.changed);
  pthread_mutex_unlock(&world.lock);
  pthread_mutex_unlock(&world.initiator);
}

static void world_give_way(void) {
  if (self != NULL) world_poll();
  sched_yield();
}

static size_t world_root_jobs(void) {
  size_t n = 1;
  for (struct mutator *m = world.list; m != NULL; m = m->next) n++;
  return n;
}

static void world_root_job(size_t i, mpgi_visit *visit, void *arg) {
  if (i == 0) {
    visit(arg, world.root, world.root + WORLD_ROOTS);
    return;
  }
  struct mutator *m = world.list;
  while (--i > 0) m = m->next;
  visit(arg, m->local, m->local + WORLD_LOCALS);
}

static unsigned world_recruit(unsigned n) {
  pthread_mutex_lock(&world.lock);
  unsigned max =
      world.lend < world.stopped_polls ? world.lend : world.stopped_polls;
  world.recruits++;
  world.helpers = n < max ? n : max;
  n = world.helpers;
  pthread_cond_broadcast(&world.changed);
  pthread_mutex_unlock(&world.lock);
  return n;
}

static unsigned world_parallelism(void) { return world.parallelism; }
static uint64_t world_stack_bytes(void) { return 0; }
static uint64_t world_pause_total_ns(void) {
  return (uint64_t) world.pause_total;
}
static int64_t world_last_time_to_stop(void) { return world.time_to_stop; }
static int world_procs(void) { return (int) world.parallelism; }

static const struct mpgi_world world_table = {
    .stop = world_stop,
    .start = world_start,
    .give_way = world_give_way,
    .root_jobs = world_root_jobs,
    .root_job = world_root_job,
    .recruit = world_recruit,
    .parallelism = world_parallelism,
    .stack_bytes = world_stack_bytes,
    .pause_total_ns = world_pause_total_ns,
    .last_time_to_stop_ns = world_last_time_to_stop,
    .procs = world_procs,
};

/* The calling thread becomes a mutator, with a cache. */
static struct mutator *mutator_begin(void) {
  struct mpgi_cache *c = mpgi_gc_cache_new();
  struct mutator *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_non_null(c);
  assert_true(m != MAP_FAILED);
  pthread_mutex_lock(&world.lock);
  while (atomic_load(&world.stopping))
    pthread_cond_wait(&world.changed, &world.lock);
  m->next = world.list;
  world.list = m;
  world.running++;
  self = m;
  mpgi_tls_cache_set(c);
  pthread_mutex_unlock(&world.lock);
  return m;
}

UNIT_UNUSED static void mutator_end(void) {
  struct mpgi_cache *c = mpgi_tls_cache();
  mpgi_gc_cache_free(c);
  mpgi_tls_cache_set(NULL);
  pthread_mutex_lock(&world.lock);
  if (atomic_load(&world.stopping)) world_wait_locked();
  struct mutator **at = &world.list;
  while (*at != self) at = &(*at)->next;
  *at = self->next;
  world.running--;
  pthread_cond_broadcast(&world.changed);
  pthread_mutex_unlock(&world.lock);
  munmap(self, 4096);
  self = NULL;
}

/* Around a blocking call of a mutator: it counts as stopped. */
UNIT_UNUSED static void world_leave(void) {
  pthread_mutex_lock(&world.lock);
  world.running--;
  pthread_cond_broadcast(&world.changed);
  pthread_mutex_unlock(&world.lock);
}

UNIT_UNUSED static void world_return(void) {
  pthread_mutex_lock(&world.lock);
  while (atomic_load(&world.stopping))
    pthread_cond_wait(&world.changed, &world.lock);
  world.running++;
  pthread_mutex_unlock(&world.lock);
}

/* Once per process (or child): the collector, and the main thread in it. */
UNIT_UNUSED static void world_begin(void) {
  world.root = mmap(NULL, WORLD_ROOTS * sizeof(void *), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(world.root != MAP_FAILED);
  mpgi_options_init();
  assert_int_equal(mpgi_gc_init(&world_table), 0);
  mutator_begin();
}

/* For cmocka, of the group. */
UNIT_UNUSED static int world_setup(void **state) {
  (void) state;
  world_begin();
  return 0;
}

/* The same of each test: nothing is left over from others. */
UNIT_UNUSED static int world_clear(void **state) {
  (void) state;
  memset(world.root, 0, 4096 * sizeof *world.root);
  mpgi_gc_g0();
  return 0;
}

#endif /* MPG_TESTS_GC_WORLD_FAKE_H */

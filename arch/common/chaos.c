/* chaos.c - what a thread does at a point of MPG_DEBUG=chaos=N.
 *
 * Delays everywhere make everything slow alike, and change little: who holds a
 * stale permission must be late when all the others are as quick as ever.  So
 * turns of 50 ms say who is late:
 *   a point    drawn from those that have been passed at all: every thread
 *   a thread   one of a few, by number: at every point
 * Who is late sleeps every second time: for less than N, N/2, N/4 or N/8
 * microseconds, or until somebody comes by another point that the turn names,
 * N at most; and who comes by there may sleep a moment, so that the two go on
 * at the same time.
 * All others yield the CPU or spin for some hundred nanoseconds now and then.
 * With chaosat=NAME there are no turns: whoever comes by the points of that
 * function sleeps every second time, and all others do nothing.
 *
 * Random numbers are each thread's own, from the seed (chaosseed) and the
 * order in which threads came to their first point; turns are the seed's, by
 * the clock and the order in which points were first passed.  So choices are
 * the same again only as far as the threads' timing is.
 *
 * A signal that ends a sleep doesn't end the pause: whoever stops the world
 * signals again and again, and those delays matter most.
 */
#include <arch/common/chaos.h>
#include <arch/common/check.h>
#include <arch/common/rand.h>
#include <arch/os.h>
#include <string.h>

#define TURN_NS INT64_C(50000000)
#define GROUPS 8 /* of threads, at most */
#define SCALES 4
#define MEET_NS 100000
#define SPINS_MAX 64

/* A handler of a signal may interrupt another use: then a number is used
 * twice. */
static _Thread_local struct {
  struct mpgi_rand rand;
  uint32_t number; /* of the thread, from 1 */
  bool inside;     /* futexes have points, too */
} self __attribute__((tls_model("initial-exec")));

static struct {
  _Atomic uint32_t threads, sites;
  _Atomic int64_t began; /* clock at the first pause */
  _Atomic uint32_t met;  /* futex: bumped at a turn's second point */
  _Atomic uint32_t waiting;
} chaos;

static struct mpgi_rand *rand_of_thread(void) {
  if (self.number == 0) {
    self.number = atomic_fetch_add(&chaos.threads, 1) + 1;
    self.rand.state = (uint64_t) mpgi_opt.chaosseed << 32 | self.number;
    mpgi_rand_next(&self.rand);
  }
  return &self.rand;
}

static uint32_t number_of_site(struct mpgi_chaos_site *site) {
  uint32_t n = atomic_load_explicit(&site->number, memory_order_relaxed), none;
  if (n != 0) return n;
  n = atomic_fetch_add(&chaos.sites, 1) + 1;
  none = 0; /* two at once: one number is nobody's */
  return atomic_compare_exchange_strong(&site->number, &none, n) ? n : none;
}

/* Who is late, and what is waited for.  Numbers of points, and threads whose
 * number is `thread` modulo `threads`. */
struct turn {
  uint32_t late, meet; /* late 0: a thread is */
  uint32_t thread, threads;
};
static struct turn turn_now(void) {
  int64_t now = mpgi_os_now(), none = 0, since = 0;
  if (!atomic_compare_exchange_strong(&chaos.began, &none, now))
    since = now - none;
  struct mpgi_rand r = {(uint64_t) (since / TURN_NS) << 32 |
                        (uint64_t) mpgi_opt.chaosseed};
  mpgi_rand_next(&r);
  uint32_t sites = atomic_load_explicit(&chaos.sites, memory_order_relaxed);
  uint32_t threads = atomic_load_explicit(&chaos.threads, memory_order_relaxed);
  struct turn turn = {.threads = threads < GROUPS ? threads : GROUPS};
  if (mpgi_rand_below(&r, 2) == 0) turn.late = mpgi_rand_below(&r, sites) + 1;
  turn.meet = mpgi_rand_below(&r, sites) + 1;
  turn.thread = mpgi_rand_below(&r, turn.threads);
  return turn;
}

static bool is_late(const struct turn *turn, uint32_t site) {
  if (turn->late != 0) return turn->late == site;
  return self.number % turn->threads == turn->thread;
}

static void wait_for_meeting(int64_t ns) {
  uint32_t seen = atomic_load(&chaos.met);
  int64_t end = mpgi_os_now() + ns, left = ns;
  atomic_fetch_add(&chaos.waiting, 1);
  for (; atomic_load(&chaos.met) == seen && left > 0;
       left = end - mpgi_os_now())
    mpgi_os_futex_wait(&chaos.met, seen, left);
  atomic_fetch_sub(&chaos.waiting, 1);
}

static void meet(struct mpgi_rand *r) {
  if (atomic_load_explicit(&chaos.waiting, memory_order_relaxed) == 0) return;
  atomic_fetch_add(&chaos.met, 1);
  mpgi_os_futex_wake(&chaos.met, 1);
  if (mpgi_rand_below(r, 2) == 0) mpgi_os_sleep(mpgi_rand_below(r, MEET_NS));
}

static void be_late(struct mpgi_rand *r) {
  int64_t ns = mpgi_opt.chaos * 1000;
  switch (mpgi_rand_below(r, 4)) {
  case 0:
    ns = (ns >> mpgi_rand_below(r, SCALES)) + 1;
    mpgi_os_sleep((int64_t) (mpgi_rand_next(r) % (uint64_t) ns));
    break;
  case 1: wait_for_meeting(ns); break;
  default: break;
  }
}

static bool is_named(const struct mpgi_chaos_site *site) {
  const char *slash = strrchr(site->file, '/');
  const char *file = slash ? slash + 1 : site->file;
  int64_t h = mpgi_options_hash(0, file, strcspn(file, "."));
  h = mpgi_options_hash(h, ".", 1);
  return mpgi_options_hash(h, site->function, strlen(site->function)) ==
         mpgi_opt.chaosat;
}

static void be_late_if_named(const struct mpgi_chaos_site *site,
                             struct mpgi_rand *r) {
  if (!is_named(site) || mpgi_rand_below(r, 2) == 0) return;
  mpgi_os_sleep(
      (int64_t) (mpgi_rand_next(r) % ((uint64_t) mpgi_opt.chaos * 1000)));
}

static void stumble(struct mpgi_rand *r) {
  uint32_t choice = mpgi_rand_below(r, 16);
  if (choice == 0)
    mpgi_os_yield();
  else if (choice == 1)
    for (uint32_t n = mpgi_rand_below(r, SPINS_MAX); n > 0; n--)
      mpgi_arch_relax();
}

static void take_turns(struct mpgi_chaos_site *site, struct mpgi_rand *r) {
  uint32_t number = number_of_site(site);
  struct turn turn = turn_now();
  if (number == turn.meet) meet(r);
  if (is_late(&turn, number))
    be_late(r);
  else
    stumble(r);
}

__attribute__((cold, noinline)) void mpgi_chaos_pause(
    struct mpgi_chaos_site *site) {
  struct mpgi_rand *r = rand_of_thread();
  MPG_ASSERT(mpgi_opt.chaos > 0);
  if (self.inside) return;
  self.inside = true;
  if (mpgi_opt.chaosat != 0)
    be_late_if_named(site, r);
  else
    take_turns(site, r);
  self.inside = false;
}

/* mutex_model.c - the runtime's own locks and notes (arch/common/mutex.c).
 *
 * The real code, its fast paths (mutex.h) included; futexes are the
 * explorer's, which check the word and go to sleep in one step, as the kernel
 * does.  With and without wake-ups for no reason.
 */
/* Lock ranks keep a list for each thread; here all threads are one. */
#undef MPG_CHECK
#define MPG_CHECK 1

#include "model.h"

/* The real ones again. */
#undef mpgi_mutex_lock
#undef mpgi_mutex_unlock
#undef mpgi_mutex_trylock
#undef mpgi_mutex_assert_held
#include <arch/common/mutex.c>

int64_t mpgi_os_now(void) { return explore_now(); }

static struct mpgi_mutex mutex = MPGI_MUTEX_INIT(MPGI_RANK_LEAF);
static struct mpgi_note note, reply;
static int inside, told;

static struct mpg_m *model_m(void) { return NULL; }

/* ---- locks ---- */

static void locker(int times) {
  while (times--) {
    mpgi_mutex_lock(&mutex);
    explore_require(inside++ == 0);
    explore_step("inside");
    inside--;
    mpgi_mutex_unlock(&mutex);
  }
}

static void trier(int times) {
  while (times--) {
    if (!mpgi_mutex_trylock(&mutex)) continue;
    explore_require(inside++ == 0);
    explore_step("inside");
    inside--;
    mpgi_mutex_unlock(&mutex);
  }
}

/* ---- notes ---- */

static void sleeper(int times) {
  while (times--) {
    mpgi_note_sleep(&note);
    explore_require(told > 0);
    told--;
    mpgi_note_clear(&note);
    mpgi_note_wake(&reply);
  }
}

static void waker(int times) {
  while (times--) {
    told++;
    mpgi_note_wake(&note);
    mpgi_note_sleep(&reply);
    mpgi_note_clear(&reply);
  }
}

/* As an idle M: clear, look, sleep; wake-ups may be stray. */
static _Atomic uint32_t work;
static void idler(int arg) {
  (void) arg;
  mpgi_note_clear(&note);
  while (!atomic_load(&work)) {
    mpgi_note_sleep(&note);
    mpgi_note_clear(&note);
  }
}
static void employer(int arg) {
  (void) arg;
  atomic_store(&work, 1);
  mpgi_note_wake(&note);
}
static void disturber(int arg) {
  (void) arg;
  mpgi_note_wake(&note);
}

/* In time, or else at the deadline; usable again in both cases. */
static void timed(int arg) {
  (void) arg;
  bool woken = mpgi_note_sleep_timed(&note, 100);
  explore_require(explore_now() == (woken ? 0 : 100));
  if (woken) return;
  mpgi_note_clear(&note);
  employer(0);
  mpgi_note_sleep(&note);
}
static void late_waker(int arg) {
  (void) arg;
  if (explore_choose(2)) mpgi_note_wake(&note);
}

/* ---- configurations ---- */

static void setup(void) {
  explore_name(&mutex, 4, "mutex");
  explore_name(&note, 4, "note");
  explore_name(&reply, 4, "reply");
  explore_name(&work, 4, "work");
}
static void at_end(void) {
  explore_require(memory_word(&mutex.state) == 0 && inside == 0);
}

static const struct explore_config configs[] = {
    {.name = "mutex.two_lock_twice",
     .thread = {{"locker", locker, 2, false}, {"locker2", locker, 2, false}}},
    {.name = "mutex.two_lock_one_tries",
     .thread = {{"locker", locker, 1, false},
                {"locker2", locker, 1, false},
                {"trier", trier, 1, false}}},
    {.name = "mutex.notes_in_turn",
     .thread = {{"sleeper", sleeper, 2, false}, {"waker", waker, 2, false}}},
    {.name = "mutex.stray_wakeups_hide_none",
     .thread = {{"idler", idler, 0, false},
                {"employer", employer, 0, false},
                {"disturber", disturber, 0, false}}},
    {.name = "mutex.a_note_with_a_deadline",
     .thread = {{"timed", timed, 0, false}, {"waker", late_waker, 0, false}}},
};

static const struct {
  int config;
  struct explore_mutant mutant;
} wrong[] = {
    {0, {"take", EXPLORE_CAS, EXPLORE_TEAR, NULL}},
    {0, {"mpgi_mutex_lock", EXPLORE_CAS, EXPLORE_TEAR, NULL}},
    {0, {"mpgi_mutex_lock_slow", EXPLORE_RMW, EXPLORE_TEAR, NULL}},
    {0, {"mpgi_mutex_wake", EXPLORE_WAKE, EXPLORE_SKIP, NULL}},
    {2, {"mpgi_note_wake", EXPLORE_RMW, EXPLORE_TEAR, NULL}},
    {2, {"note_enter", EXPLORE_CAS, EXPLORE_TEAR, NULL}},
    {3, {"mpgi_note_wake", EXPLORE_WAKE, EXPLORE_SKIP, NULL}},
};

int main(void) {
  struct explore_config c;
  for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
    c = configs[i];
    c.setup = setup;
    c.at_end = at_end;
    c.memory = EXPLORE_TSO;
    explore_pass(&c);
    c.spurious = true;
    explore_pass(&c);
  }
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    c = configs[wrong[i].config];
    c.setup = setup;
    c.at_end = at_end;
    c.memory = EXPLORE_TSO;
    c.mutant = &wrong[i].mutant;
    explore_fail_with(&c, "");
  }
  return explore_status();
}

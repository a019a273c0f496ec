/* sema_model.c - semaphores, mutexes, wait groups, condition variables: nobody
 * sleeps for ever.
 *
 * The real sema.c, sync.c, rwmutex.c and cond.c.  A thread is a goroutine
 * together with whatever M runs it: parked, it waits until somebody readies it;
 * then it does what mpgi_execute would (on_resume) and goes on behind the call
 * that parked. Mutexes let one in at a time; at the end nothing is held,
 * counted or queued.
 *
 * A waiter's clock either hasn't moved or has passed the starvation limit.
 */
#include "model_park.h"

#include <sched/cond.c>
#include <sched/runq.c>
#include <sched/rwmutex.c>
#include <sched/sema.c>
#include <sched/sync.c>

static mpg_mutex mutex;
static mpg_sem sem;
static mpg_waitgroup group;
static mpg_rwmutex rw;
static mpg_cond cond;
/* Two words that share a bucket. */
static uint64_t words[513];
#define WORD_A ((_Atomic uint32_t *) &words[0])
#define WORD_B ((_Atomic uint32_t *) &words[512])
static int inside, reading, dones, tokens;
static bool may_starve;

void mpgi_thunk_mutex_lock_slow(mpg_mutex *mu) {
  PARKS(mpgi_mutex_lock_slow_g0(mu));
}
void mpgi_thunk_mutex_unlock_slow(mpg_mutex *mu, uint32_t was) {
  mpgi_mutex_unlock_slow_g0(mu, was);
}
void mpgi_thunk_rwmutex_rdlock_slow(mpg_rwmutex *r) {
  PARKS(mpgi_rwmutex_rdlock_slow_g0(r));
}
void mpgi_thunk_rwmutex_rdunlock_slow(mpg_rwmutex *r, int32_t n) {
  mpgi_rwmutex_rdunlock_slow_g0(r, n);
}
void mpgi_thunk_rwmutex_lock_slow(mpg_rwmutex *r, int32_t n) {
  PARKS(mpgi_rwmutex_lock_slow_g0(r, n));
}
void mpgi_thunk_rwmutex_unlock_slow(mpg_rwmutex *r, int32_t n) {
  mpgi_rwmutex_unlock_slow_g0(r, n);
}
void mpgi_thunk_cond_signal_slow(mpg_cond *c) { mpgi_cond_signal_slow_g0(c); }
void mpgi_thunk_cond_broadcast_slow(mpg_cond *c) {
  mpgi_cond_broadcast_slow_g0(c);
}
void mpgi_thunk_sem_acquire_slow(mpg_sem *s) {
  PARKS(mpgi_sem_acquire_slow_g0(s));
}
void mpgi_thunk_waitgroup_add_slow(mpg_waitgroup *wg, int n, uint64_t now) {
  mpgi_waitgroup_add_slow_g0(wg, n, now);
}
void mpgi_thunk_sem_wake(mpg_sem *s) { mpgi_sem_wake_g0(s); }

int64_t mpgi_os_now(void) {
  bool begins = self()->wait.since == 0;
  return 1 + (!begins && may_starve && explore_choose(2) ? 2 * STARVE_NS : 0);
}

/* ---- threads ---- */

static void locks(int times) {
  while (times--) {
    mpg_mutex_lock(&mutex);
    explore_require(inside++ == 0);
    explore_step("inside");
    inside--;
    mpg_mutex_unlock(&mutex);
  }
}

/* Whoever has it last frees it [mutex.late].  What is there then looks like a
 * mutex that somebody waits for. */
#define GONE (2 * WAITER)
static int users;
static void locks_and_leaves(int arg) {
  (void) arg;
  mpg_mutex_lock(&mutex);
  explore_require(inside++ == 0);
  bool last = --users == 0;
  inside--;
  mpg_mutex_unlock(&mutex);
  if (last) atomic_store(state_of(&mutex), GONE);
}

static void tries(int times) {
  while (times--) {
    if (!mpg_mutex_trylock(&mutex)) continue;
    explore_require(inside++ == 0);
    explore_step("inside");
    inside--;
    mpg_mutex_unlock(&mutex);
  }
}

static void acquires(int times) {
  while (times--) mpg_sem_acquire(&sem);
}
static void releases_sem(int times) {
  while (times--) mpg_sem_release(&sem);
}

static void waits(int arg) {
  (void) arg;
  PARKS(mpgi_waitgroup_wait_g0(&group));
  explore_require(dones == 2);
}
static void done(int arg) {
  (void) arg;
  dones++;
  mpg_waitgroup_done(&group);
}

static void reads(int times) {
  while (times--) {
    mpg_rwmutex_rdlock(&rw);
    reading++;
    explore_require(inside == 0);
    explore_step("reading");
    reading--;
    mpg_rwmutex_rdunlock(&rw);
  }
}

static void writes(int times) {
  while (times--) {
    mpg_rwmutex_lock(&rw);
    explore_require(inside++ == 0 && reading == 0);
    explore_step("writing");
    inside--;
    mpg_rwmutex_unlock(&rw);
  }
}

static void takes_token(int arg) {
  (void) arg;
  mpg_mutex_lock(&mutex);
  while (tokens == 0) PARKS(mpgi_cond_wait_g0(&cond, &mutex));
  explore_require(inside++ == 0);
  tokens--;
  explore_step("inside");
  inside--;
  mpg_mutex_unlock(&mutex);
}
/* The signal while it has the lock, or after. */
static void gives_tokens(int n) {
  bool after = explore_choose(2);
  mpg_mutex_lock(&mutex);
  tokens += n;
  if (after) mpg_mutex_unlock(&mutex);
  if (n == 1)
    mpg_cond_signal(&cond);
  else
    mpg_cond_broadcast(&cond);
  if (!after) mpg_mutex_unlock(&mutex);
}

static void acquire_word(int which) {
  _Atomic uint32_t *word = which ? WORD_B : WORD_A;
  if (setjmp(behind[explore_self()])) return;
  if (!mpgi_sema_acquire(model_m(), word, MPGI_WAIT_SEM, false, NULL))
    mpgi_schedule(model_m());
}
static void release_words(int arg) {
  (void) arg;
  mpgi_sema_release(WORD_B);
  mpgi_sema_release(WORD_A);
}

/* ---- setup ---- */

/* All but the bucket of this word is constant. */
static void one_bucket(const void *word) {
  struct bucket *b = bucket_of((const _Atomic uint32_t *) word);
  explore_constant(table, (size_t) ((char *) b - (char *) table));
  explore_constant(b + 1,
                   (size_t) ((char *) (table + BUCKETS) - (char *) (b + 1)));
  explore_name(&b->lock, 4, "bucket.lock");
  explore_name(&b->nwait, 4, "bucket.nwait");
}

static void setup(void) {
  setup_goroutines();
  for (int t = 0; t < THREADS; t++) {
    explore_constant(&gs[t].ctx, sizeof gs[t].ctx);
    explore_constant(&gs[t].timer,
                     (size_t) ((char *) (&gs[t] + 1) - (char *) &gs[t].timer));
  }
  explore_constant(&mpgi_sched, sizeof mpgi_sched);
  explore_constant(&words[1], sizeof words - 2 * sizeof words[0]);
  explore_name(&mutex.state, 4, "mutex.state");
  explore_name(&mutex.sema, 4, "mutex.sema");
  explore_name(&sem.count, 4, "sem.count");
  explore_name(&group.state, 8, "group.state");
  explore_name(&group.sema, 4, "group.sema");
  explore_name(words, sizeof words, "words");
}
static void setup_mutex(void) {
  setup();
  one_bucket(&mutex.sema);
}
static void setup_starving(void) {
  setup_mutex();
  may_starve = true;
}
static void setup_last(void) {
  setup_starving();
  users = 3;
}
static void setup_sem(void) {
  setup();
  one_bucket(&sem.count);
}
static void setup_group(void) {
  setup();
  one_bucket(&group.sema);
  group.state = (uint64_t) 2 << 32; /* mpg_waitgroup_add is for goroutines */
}
/* The words of a rwmutex have buckets of their own. */
static void setup_rw(void) {
  setup();
  explore_name(&rw.readers, 4, "rw.readers");
  explore_name(&rw.leaving, 4, "rw.leaving");
}
/* And so have a mutex and a condition. */
static void setup_cond(void) {
  setup();
  explore_name(&cond.waiting, 4, "cond.waiting");
}
static void setup_words(void) {
  setup();
  explore_require(bucket_of(WORD_A) == bucket_of(WORD_B));
  one_bucket(WORD_A);
}

static void nothing_left(void) {
  explore_require(mutex.state == 0 && mutex.sema == 0 && sem.count == 0);
  explore_require(group.state == 0 && group.sema == 0);
  explore_require(rw.writers.state == 0 && rw.readers == 0);
  explore_require(rw.leaving == 0 && cond.waiting == 0 && tokens == 0);
  explore_require(words[0] == 0 && words[512] == 0);
  for (int i = 0; i < BUCKETS; i++)
    explore_require(table[i].nwait == 0 && !table[i].root);
}

static void all_is_gone(void) {
  explore_require(mutex.state == GONE);
  mutex.state = 0;
  nothing_left();
}

/* ---- configurations ---- */

static const struct explore_config configs[] = {
    {.name = "sema.as_many_acquired_as_released",
     .setup = setup_sem,
     .thread = {{"acquirer", acquires, 1, false},
                {"acquirer2", acquires, 1, false},
                {"releaser", releases_sem, 2, false}}},
    {.name = "sema.two_words_in_a_bucket",
     .setup = setup_words,
     .thread = {{"acquirer", acquire_word, 0, false},
                {"acquirer2", acquire_word, 1, false},
                {"releaser", release_words, 0, false}}},
    {.name = "sema.mutex_lets_one_in",
     .setup = setup_mutex,
     .thread = {{"locker", locks, 2, false}, {"locker2", locks, 2, false}}},
    {.name = "sema.mutex_of_three",
     .setup = setup_mutex,
     .thread = {{"locker", locks, 1, false},
                {"locker2", locks, 1, false},
                {"trier", tries, 1, false}}},
    {.name = "sema.mutex_starves_nobody",
     .setup = setup_starving,
     .thread = {{"locker", locks, 2, false},
                {"locker2", locks, 1, false},
                {"locker3", locks, 1, false}}},
    {.name = "sema.mutex_goes_with_its_last_user",
     .setup = setup_last,
     .at_end = all_is_gone,
     .thread = {{"user", locks_and_leaves, 0, false},
                {"user2", locks_and_leaves, 0, false},
                {"user3", locks_and_leaves, 0, false}}},
    {.name = "sema.wait_group_wakes_all",
     .setup = setup_group,
     .thread = {{"waiter", waits, 0, false},
                {"waiter2", waits, 0, false},
                {"done", done, 0, false},
                {"done2", done, 0, false}}},
    {.name = "sema.readers_and_a_writer",
     .setup = setup_rw,
     .thread = {{"reader", reads, 1, false},
                {"reader2", reads, 1, false},
                {"writer", writes, 1, false}}},
    {.name = "sema.readers_and_writers",
     .setup = setup_rw,
     .thread = {{"reader", reads, 1, false},
                {"writer", writes, 1, false},
                {"writer2", writes, 1, false}}},
    {.name = "sema.a_signal_for_each",
     .setup = setup_cond,
     .thread = {{"waiter", takes_token, 0, false},
                {"giver", gives_tokens, 1, false}}},
    {.name = "sema.a_broadcast_for_two",
     .setup = setup_cond,
     .thread = {{"waiter", takes_token, 0, false},
                {"waiter2", takes_token, 0, false},
                {"giver", gives_tokens, 2, false}}},
};

static const struct {
  int config;
  struct explore_mutant mutant;
  const char *message;
} wrong[] = {
    {0, {"park_unless", EXPLORE_RMW, EXPLORE_TEAR, NULL}, ""},
    {0, {"mpgi_sema_release", EXPLORE_RMW, EXPLORE_TEAR, NULL}, ""},
    {0, {"try_take", EXPLORE_CAS, EXPLORE_TEAR, NULL}, ""},
    {2, {"mpgi_mutex_fast_lock", EXPLORE_RMW, EXPLORE_TEAR, NULL}, ""},
    {2, {"mpgi_mutex_let_go", EXPLORE_RMW, EXPLORE_TEAR, NULL}, ""},
    {2, {"lock_compete", EXPLORE_CAS, EXPLORE_TEAR, NULL}, ""},
    {4, {"take_late", EXPLORE_CAS, EXPLORE_TEAR, NULL}, ""},
    {4, {"pass_on", EXPLORE_CAS, EXPLORE_TEAR, NULL}, ""},
    {4, {"hand_over", EXPLORE_CAS, EXPLORE_TEAR, NULL}, ""},
    {4, {"hand_over", EXPLORE_RMW, EXPLORE_SKIP, NULL}, ""},
    {6, {"mpg_waitgroup_done", EXPLORE_RMW, EXPLORE_TEAR, NULL}, ""},
    {7, {"mpg_rwmutex_rdlock", EXPLORE_RMW, EXPLORE_TEAR, NULL}, ""},
    {7, {"mpg_rwmutex_rdunlock", EXPLORE_RMW, EXPLORE_TEAR, NULL}, ""},
    {7, {"mpg_rwmutex_lock", EXPLORE_RMW, EXPLORE_TEAR, NULL}, ""},
    {7, {"mpgi_rwmutex_lock_slow_g0", EXPLORE_RMW, EXPLORE_TEAR, NULL}, ""},
    {9, {"mpgi_sema_park", EXPLORE_RMW, EXPLORE_SKIP, NULL}, ""},
};

int main(void) {
  struct explore_config c;
  for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
    c = configs[i];
    if (!c.at_end) c.at_end = nothing_left;
    c.memory = EXPLORE_TSO;
    explore_pass(&c);
  }
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    c = configs[wrong[i].config];
    c.at_end = nothing_left;
    c.memory = EXPLORE_TSO;
    c.mutant = &wrong[i].mutant;
    explore_fail_with(&c, wrong[i].message);
  }
  return explore_status();
}

// EXPECT-EXIT: 0
// EXPECT-STDERR: ^lockcheck: goroutine [0-9]+ parks while it holds a pthread lock \(8 locked
// EXPECT-STDERR: ^lockcheck: goroutine [0-9]+ parks while it holds a pthread lock \(6 locked
// EXPECT-STDERR: ^lockcheck: goroutine [0-9]+ parks while it holds a pthread lock \(2 locked
// EXPECT-STDERR: ^lockcheck: goroutine [0-9]+ parks while it holds a pthread lock \(3 locked
// EXPECT-STDERR: ^lockcheck: goroutine [0-9]+ parks while it holds a pthread lock \(4 locked
// REJECT-STDERR: parks while it holds a pthread lock \(([^123468]|.[0-9]+) locked
/* What was not counted, or not taken off, shows in the numbers. */
#include <errno.h>
#include <mpg.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <threads.h>

static const struct timespec never = {0, 0};
static _Atomic int done;

static void must(bool ok) {
  if (!ok) abort();
}

/* n locks, one park, nothing left. */
static void park_with(int n) {
  mtx_t m;
  must(mtx_init(&m, mtx_plain | mtx_recursive) == thrd_success);
  for (int i = 0; i < n; i++) must(mtx_lock(&m) == thrd_success);
  mpg_sleep(1000);
  for (int i = 0; i < n; i++) must(mtx_unlock(&m) == thrd_success);
  mtx_destroy(&m);
}

/* Owners are threads, so these goroutines stay on theirs. */
static void end(void) {
  park_with(1);
  mpg_unlock_thread();
  atomic_fetch_add(&done, 1);
}

static void rwlocks(void *arg) {
  static pthread_rwlock_t r = PTHREAD_RWLOCK_INITIALIZER;
  static pthread_rwlock_t w[4] = {
      PTHREAD_RWLOCK_INITIALIZER, PTHREAD_RWLOCK_INITIALIZER,
      PTHREAD_RWLOCK_INITIALIZER, PTHREAD_RWLOCK_INITIALIZER};
  (void) arg;
  mpg_lock_thread();
  must(pthread_rwlock_rdlock(&r) == 0 && pthread_rwlock_tryrdlock(&r) == 0 &&
       pthread_rwlock_timedrdlock(&r, &never) == 0 &&
       pthread_rwlock_clockrdlock(&r, CLOCK_MONOTONIC, &never) == 0);
  must(pthread_rwlock_wrlock(&w[0]) == 0 &&
       pthread_rwlock_trywrlock(&w[1]) == 0 &&
       pthread_rwlock_timedwrlock(&w[2], &never) == 0 &&
       pthread_rwlock_clockwrlock(&w[3], CLOCK_MONOTONIC, &never) == 0);
  must(pthread_rwlock_tryrdlock(&w[0]) == EBUSY &&
       pthread_rwlock_trywrlock(&r) == EBUSY &&
       pthread_rwlock_timedrdlock(&w[1], &never) != 0 &&
       pthread_rwlock_clockwrlock(&r, CLOCK_MONOTONIC, &never) == ETIMEDOUT);
  mpg_sleep(1000);
  for (int i = 0; i < 4; i++)
    must(pthread_rwlock_unlock(&r) == 0 && pthread_rwlock_unlock(&w[i]) == 0);
  end();
}

static void spins_and_mtx(void *arg) {
  pthread_spinlock_t spin[2];
  mtx_t m[3];
  (void) arg;
  mpg_lock_thread();
  for (int i = 0; i < 2; i++) must(pthread_spin_init(&spin[i], 0) == 0);
  must(mtx_init(&m[0], mtx_plain | mtx_recursive) == thrd_success &&
       mtx_init(&m[1], mtx_plain) == thrd_success &&
       mtx_init(&m[2], mtx_timed) == thrd_success);
  must(pthread_spin_lock(&spin[0]) == 0 &&
       pthread_spin_trylock(&spin[1]) == 0 &&
       pthread_spin_trylock(&spin[0]) == EBUSY);
  must(mtx_lock(&m[0]) == thrd_success && mtx_lock(&m[0]) == thrd_success &&
       mtx_trylock(&m[1]) == thrd_success &&
       mtx_timedlock(&m[2], &never) == thrd_success);
  must(mtx_trylock(&m[1]) == thrd_busy &&
       mtx_timedlock(&m[2], &never) == thrd_timedout);
  mpg_sleep(1000);
  must(mtx_unlock(&m[0]) == thrd_success && mtx_unlock(&m[0]) == thrd_success &&
       mtx_unlock(&m[1]) == thrd_success && mtx_unlock(&m[2]) == thrd_success);
  for (int i = 0; i < 2; i++) must(pthread_spin_unlock(&spin[i]) == 0);
  end();
}

/* Who unlocks for another has none taken off that it doesn't have. */
static pthread_spinlock_t handed[2];

static void unlock_for_another(void *arg) {
  int token;
  mpg_chan_recv(arg, &token);
  must(pthread_spin_unlock(&handed[0]) == 0 &&
       pthread_spin_unlock(&handed[1]) == 0);
  mpg_lock_thread();
  park_with(3);
  end();
}

static void lock_for_another(void *arg) {
  int token = 0;
  for (int i = 0; i < 2; i++)
    must(pthread_spin_init(&handed[i], 0) == 0 &&
         pthread_spin_lock(&handed[i]) == 0);
  mpg_sleep(1000);
  mpg_chan_send(arg, &token);
  atomic_fetch_add(&done, 1);
}

/* Waiting gives the mutex back and takes it again. */
static mtx_t guard;
static cnd_t changed;
static bool set;

static void wait_for_change(void *arg) {
  (void) arg;
  mpg_lock_thread();
  must(mtx_lock(&guard) == thrd_success);
  while (!set) must(cnd_wait(&changed, &guard) == thrd_success);
  must(cnd_timedwait(&changed, &guard, &never) == thrd_timedout);
  must(mtx_unlock(&guard) == thrd_success);
  park_with(4);
  end();
}

static void change(void *arg) {
  (void) arg;
  mpg_lock_thread();
  must(mtx_lock(&guard) == thrd_success);
  set = true;
  must(cnd_signal(&changed) == thrd_success &&
       mtx_unlock(&guard) == thrd_success);
  end();
}

static void start(void *arg) {
  mpg_chan *c = mpg_chan_new(sizeof(int), 0);
  (void) arg;
  must(mtx_init(&guard, mtx_plain) == thrd_success &&
       cnd_init(&changed) == thrd_success);
  must(mpg_go(rwlocks, NULL) == 0 && mpg_go(spins_and_mtx, NULL) == 0 &&
       mpg_go(lock_for_another, c) == 0 && mpg_go(unlock_for_another, c) == 0 &&
       mpg_go(wait_for_change, NULL) == 0 && mpg_go(change, NULL) == 0);
  while (atomic_load(&done) < 6) mpg_sleep(1000000);
}

int main(void) {
  setenv("MPG_DEBUG", "lockcheck=1", 1);
  return mpg_run(start, NULL);
}

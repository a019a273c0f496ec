// EXPECT-EXIT: 0
// EXPECT-STDERR: ^lockcheck: goroutine [0-9]+ parks while it holds a pthread lock \(2 locked
// EXPECT-STDERR: ^lockcheck: goroutine [0-9]+ parks while it holds a pthread lock \(3 locked
// EXPECT-STDERR: ^lockcheck: goroutine [0-9]+ parks while it holds a pthread lock \(4 locked
// EXPECT-STDERR: ^lockcheck: goroutine [0-9]+ is switched out while it holds a pthread lock \(1 locked
#include <errno.h>
#include <mpg.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static pthread_mutex_t lock[3] = {PTHREAD_MUTEX_INITIALIZER,
                                  PTHREAD_MUTEX_INITIALIZER,
                                  PTHREAD_MUTEX_INITIALIZER};
static pthread_mutex_t several = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static _Atomic int done;

static void park_with_two(void *arg) {
  (void) arg;
  pthread_mutex_lock(&lock[0]);
  if (pthread_mutex_trylock(&lock[1]) != 0) abort();
  mpg_sleep(1000000);
  pthread_mutex_unlock(&lock[1]);
  pthread_mutex_unlock(&lock[0]);
  atomic_fetch_add(&done, 1);
}

/* By clocks, and an unlock that fails takes none off: it isn't this
 * thread's. */
static void park_with_three(void *arg) {
  static pthread_mutex_t mine[3] = {PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP,
                                    PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP,
                                    PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP};
  struct timespec never = {0, 0};
  (void) arg;
  if (pthread_mutex_clocklock(&mine[0], CLOCK_MONOTONIC, &never) != 0 ||
      pthread_mutex_timedlock(&mine[1], &never) != 0 ||
      pthread_mutex_lock(&mine[1]) != 0 ||
      pthread_mutex_unlock(&mine[2]) != EPERM ||
      pthread_mutex_trylock(&mine[0]) != EBUSY)
    abort();
  mpg_sleep(1000000);
  pthread_mutex_unlock(&mine[1]);
  pthread_mutex_unlock(&mine[1]);
  pthread_mutex_unlock(&mine[0]);
  if (pthread_mutex_unlock(&mine[2]) != EPERM) abort();
  mpg_sleep(1000); /* not reported */
  atomic_fetch_add(&done, 1);
}

static _Atomic int ran_beside;

static void run_beside(void *arg) {
  (void) arg;
  atomic_store(&ran_beside, 1);
}

static void spin_with_one(void *arg) {
  (void) arg;
  pthread_mutex_lock(&lock[2]);
  if (mpg_go(run_beside, NULL) != 0) abort();
  while (!atomic_load(&ran_beside)) __asm__ volatile("");
  pthread_mutex_unlock(&lock[2]);
  mpg_sleep(1000); /* not reported */
  atomic_fetch_add(&done, 1);
}

/* Waiting gives the mutex back and takes it again. */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void park_after_a_wait(void *arg) {
  static pthread_mutex_t mine = PTHREAD_MUTEX_INITIALIZER;
  struct timespec never = {0, 0};
  (void) arg;
  for (int i = 0; i < 4; i++) {
    pthread_mutex_lock(&mine);
    if (pthread_cond_timedwait(&changed, &mine, &never) != ETIMEDOUT) abort();
    pthread_mutex_unlock(&mine);
  }
  for (int i = 0; i < 4; i++) pthread_mutex_lock(&several);
  mpg_sleep(1000);
  for (int i = 0; i < 4; i++) pthread_mutex_unlock(&several);
  atomic_fetch_add(&done, 1);
}

static void start(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  if (mpg_go(park_with_two, NULL) != 0 || mpg_go(park_with_three, NULL) != 0 ||
      mpg_go(spin_with_one, NULL) != 0 || mpg_go(park_after_a_wait, NULL) != 0)
    abort();
  while (atomic_load(&done) < 4) mpg_sleep(1000000);
}

int main(void) {
  setenv("MPG_DEBUG", "lockcheck=1", 1);
  return mpg_run(start, NULL);
}

/* sched_lock_owner_test.c - who holds a lock of the C library that remembers
 * its thread stays on the thread, parked or preempted in between. */
#include <errno.h>
#include <sys/syscall.h>
#include <threads.h>

#include "../support/check.h"

#define TASKS 4
#define ROUNDS 40

static mpg_waitgroup done;

static pid_t tid(void) { return (pid_t) syscall(SYS_gettid); }

static void leave(int i) {
  switch (i % 3) {
  case 0: mpg_yield(); break;
  case 1: mpg_sleep(20000); break;
  default:
    for (int n = 0; n < 3000000; n++) __asm__ volatile("");
  }
}

static void (*take)(void *lock), (*give)(void *lock);

static void hold(void *lock) {
  for (int i = 0; i < ROUNDS; i++) {
    take(lock);
    pid_t mine = tid();
    leave(i);
    take(lock);
    leave(i + 1);
    give(lock);
    leave(i + 1);
    CHECK_EQ(tid(), mine);
    give(lock);
    leave(i);
  }
  mpg_waitgroup_done(&done);
}

/* Each task with a lock of its own, of so many bytes. */
static void try_each(void (*taking)(void *), void (*giving)(void *),
                     void *locks, size_t bytes) {
  take = taking;
  give = giving;
  mpg_gomaxprocs(2);
  mpg_waitgroup_add(&done, TASKS);
  for (size_t i = 0; i < TASKS; i++) CHECK_GO(hold, (char *) locks + i * bytes);
  mpg_waitgroup_wait(&done);
}

static void take_mutex(void *m) { CHECK_EQ(pthread_mutex_lock(m), 0); }
static void give_mutex(void *m) { CHECK_EQ(pthread_mutex_unlock(m), 0); }

static void try_mutexes(const pthread_mutexattr_t *attr) {
  static pthread_mutex_t m[TASKS];
  for (int i = 0; i < TASKS; i++) CHECK_EQ(pthread_mutex_init(&m[i], attr), 0);
  try_each(take_mutex, give_mutex, m, sizeof m[0]);
}

static void recursive_mutex_stays(void *arg) {
  (void) arg;
  pthread_mutexattr_t attr;
  CHECK_EQ(pthread_mutexattr_init(&attr), 0);
  CHECK_EQ(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE), 0);
  try_mutexes(&attr);
  CHECK_EQ(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST), 0);
  try_mutexes(&attr);
  CHECK_EQ(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT), 0);
  try_mutexes(&attr);
}

/* Locked again by its owner it refuses; so does it when others unlock it. */
static void take_checking(void *m) {
  int err = pthread_mutex_lock(m);
  if (err == EDEADLK) err = pthread_mutex_trylock(m) == EBUSY ? 0 : -1;
  CHECK_EQ(err, 0);
}
static void give_checking(void *m) {
  static __thread int again;
  if (again ^= 1) return;
  CHECK_EQ(pthread_mutex_unlock(m), 0);
  CHECK_EQ(pthread_mutex_unlock(m), EPERM);
}

static void checking_mutex_stays(void *arg) {
  (void) arg;
  static pthread_mutex_t m[TASKS] = {PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP,
                                     PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP,
                                     PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP,
                                     PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP};
  try_each(take_checking, give_checking, m, sizeof m[0]);
}

/* A mutex that has no owner holds nobody: one takes it, another gives it
 * back.  The user's own mpg_lock_thread outlasts the lock. */
static void give_other(void *m) {
  give_mutex(m);
  mpg_waitgroup_done(&done);
}
static void users_lock_outlasts(void *arg) {
  (void) arg;
  static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
  static pthread_mutex_t m = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
  mpg_waitgroup_add(&done, 1);
  take_mutex(&plain);
  CHECK_GO(give_other, &plain);
  mpg_waitgroup_wait(&done);
  mpg_lock_thread();
  take_mutex(&m);
  pid_t mine = tid();
  give_mutex(&m);
  for (int i = 0; i < ROUNDS; i++) leave(i);
  CHECK_EQ(tid(), mine);
  take_mutex(&m);
  mpg_unlock_thread();
  for (int i = 0; i < ROUNDS; i++) leave(i);
  CHECK_EQ(tid(), mine);
  give_mutex(&m);
}

#ifdef MPG_SPLIT_STACK /* through the C library stubs */
static void take_mtx(void *m) { CHECK_EQ(mtx_lock(m), thrd_success); }
static void give_mtx(void *m) { CHECK_EQ(mtx_unlock(m), thrd_success); }

static void mtx_stays(void *arg) {
  (void) arg;
  static mtx_t m[TASKS];
  for (int i = 0; i < TASKS; i++)
    CHECK_EQ(mtx_init(&m[i], mtx_plain | mtx_recursive), thrd_success);
  try_each(take_mtx, give_mtx, m, sizeof m[0]);
}

/* Not recursive: it says so to its owner, and a writer has no reader beside
 * him. */
static void take_rwlock(void *l) {
  int err = pthread_rwlock_wrlock(l);
  if (err == EDEADLK) err = pthread_rwlock_trywrlock(l) == EBUSY ? 0 : -1;
  CHECK_EQ(err, 0);
}
static void give_rwlock(void *l) {
  static __thread int again;
  if (again ^= 1) return;
  CHECK_EQ(pthread_rwlock_tryrdlock(l), EBUSY);
  CHECK_EQ(pthread_rwlock_unlock(l), 0);
  CHECK_EQ(pthread_rwlock_rdlock(l), 0);
  CHECK_EQ(pthread_rwlock_unlock(l), 0);
}

static void rwlock_stays(void *arg) {
  (void) arg;
  static pthread_rwlock_t l[TASKS];
  try_each(take_rwlock, give_rwlock, l, sizeof l[0]);
}

static void take_file(void *at) {
  FILE *f = *(FILE **) at;
  flockfile(f);
  CHECK_EQ(ftrylockfile(f), 0);
  funlockfile(f);
  CHECK(fputs("x", f) >= 0); /* waits for the lock unless it is this thread's */
}
static void give_file(void *at) { funlockfile(*(FILE **) at); }

static void file_stays(void *arg) {
  (void) arg;
  FILE *f[TASKS];
  for (int i = 0; i < TASKS; i++) CHECK((f[i] = fopen("/dev/null", "w")));
  try_each(take_file, give_file, f, sizeof f[0]);
  for (int i = 0; i < TASKS; i++) CHECK_EQ(fclose(f[i]), 0);
}
#endif

static const struct check_case cases[] = {
    INSIDE(recursive_mutex_stays),
    INSIDE(checking_mutex_stays),
    INSIDE(users_lock_outlasts),
#ifdef MPG_SPLIT_STACK
    INSIDE(mtx_stays),
    INSIDE(rwlock_stays),
    INSIDE(file_stays),
#endif
};
CHECK_MAIN(cases, 20)

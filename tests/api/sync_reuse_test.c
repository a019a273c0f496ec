/* sync_reuse_test.c - a semaphore's memory is used again as soon as it may be.
 *
 * Whoever takes from a semaphore without waiting may free it, though the one
 * who gave is still busy waking somebody.  With chaos he is for long.
 */
#include "../support/check.h"

/* The runtime's table of waiters has one place for addresses 4 KiB apart: while
 * somebody waits at the other semaphore, who gives looks for waiters. */
struct places {
  union {
    mpg_sem sem;
    mpg_mutex mutex;
  } used;
  char apart[4096 - sizeof(mpg_mutex)];
  mpg_sem other;
};

static _Alignas(4096) struct places at;
static mpg_waitgroup done;
static _Atomic bool has_it;

static void waits(void *arg) { mpg_sem_acquire(arg); }

static void gives(void *arg) {
  (void) arg;
  mpg_sem_release(&at.used.sem);
  mpg_waitgroup_done(&done);
}

static void locks(void *arg) {
  (void) arg;
  mpg_mutex_lock(&at.used.mutex);
  atomic_store(&has_it, true);
  mpg_mutex_unlock(&at.used.mutex);
  mpg_waitgroup_done(&done);
}

/* It is locked, and somebody waits for it: nobody else may let him in. */
static void use_as_a_mutex(void) {
  at.used.mutex = (mpg_mutex){0};
  atomic_store(&has_it, false);
  mpg_mutex_lock(&at.used.mutex);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(locks, NULL);
  for (int i = 0; i < 1000; i++) {
    CHECK(!atomic_load(&has_it));
    mpg_yield();
  }
  mpg_mutex_unlock(&at.used.mutex);
}

static void who_gave_leaves_the_next_user_alone(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  CHECK_GO(waits, &at.other);
  for (int round = 0; round < 2000; round++) {
    at.used.sem = (mpg_sem){0};
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(gives, NULL);
    while (!mpg_sem_try_acquire(&at.used.sem)) mpg_yield();
    use_as_a_mutex();
    mpg_waitgroup_wait(&done);
  }
}

static const struct check_case cases[] = {
    INSIDE(who_gave_leaves_the_next_user_alone),
};

int main(int argc, char **argv) {
  check_switches("chaos=2000");
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 60);
}

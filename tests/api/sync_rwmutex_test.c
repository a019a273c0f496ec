/* sync_rwmutex_test.c - one writer or many readers. */
#include "../support/check.h"

static mpg_waitgroup done;
static mpg_rwmutex lock; /* zero is unlocked */

/* ---- exclusion ---- */

static _Atomic int readers, writers, most_readers;
static uint64_t a, b; /* equal, except while somebody writes */

static void read_often(void *arg) {
  for (intptr_t i = (intptr_t) arg; i > 0; i--) {
    mpg_rwmutex_rdlock(&lock);
    int now = atomic_fetch_add(&readers, 1) + 1;
    if (now > atomic_load(&most_readers)) atomic_store(&most_readers, now);
    CHECK_EQ(atomic_load(&writers), 0);
    uint64_t x = a;
    if (i % 16 == 0) mpg_yield();
    CHECK_EQ(x, b);
    atomic_fetch_sub(&readers, 1);
    mpg_rwmutex_rdunlock(&lock);
  }
  mpg_waitgroup_done(&done);
}

static void write_often(void *arg) {
  for (intptr_t i = (intptr_t) arg; i > 0; i--) {
    mpg_rwmutex_lock(&lock);
    CHECK_EQ(atomic_fetch_add(&writers, 1), 0);
    CHECK_EQ(atomic_load(&readers), 0);
    a++;
    if (i % 16 == 0) mpg_yield();
    b++;
    atomic_fetch_sub(&writers, 1);
    mpg_rwmutex_unlock(&lock);
  }
  mpg_waitgroup_done(&done);
}

static void writers_exclude_everybody(void *arg) {
  (void) arg;
  enum { READERS = 10, WRITERS = 4, EACH = 3000 };
  for (int procs = 1; procs <= 8; procs *= 2) {
    mpg_gomaxprocs(procs);
    a = b = 0;
    mpg_waitgroup_add(&done, READERS + WRITERS);
    for (int i = 0; i < READERS; i++)
      CHECK_GO(read_often, (void *) (intptr_t) EACH);
    for (int i = 0; i < WRITERS; i++)
      CHECK_GO(write_often, (void *) (intptr_t) EACH);
    mpg_waitgroup_wait(&done);
    CHECK_EQ(a, WRITERS * EACH);
    CHECK(mpg_rwmutex_trylock(&lock)); /* nothing is left */
    mpg_rwmutex_unlock(&lock);
  }
  CHECK_GT(atomic_load(&most_readers), 1);
}

/* ---- try ---- */

static void try_says_whether_it_took_it(void *arg) {
  (void) arg;
  mpg_rwmutex m = {0};
  CHECK(mpg_rwmutex_tryrdlock(&m));
  CHECK(mpg_rwmutex_tryrdlock(&m));
  CHECK(!mpg_rwmutex_trylock(&m));
  mpg_rwmutex_rdunlock(&m);
  CHECK(!mpg_rwmutex_trylock(&m));
  mpg_rwmutex_rdunlock(&m);
  CHECK(mpg_rwmutex_trylock(&m));
  CHECK(!mpg_rwmutex_trylock(&m));
  CHECK(!mpg_rwmutex_tryrdlock(&m));
  mpg_rwmutex_unlock(&m);
  mpg_rwmutex_lock(&m);
  CHECK(!mpg_rwmutex_tryrdlock(&m));
  mpg_rwmutex_unlock(&m);
  mpg_rwmutex_rdlock(&m);
  mpg_rwmutex_rdunlock(&m);
}

/* ---- who gets in next ---- */

static _Atomic int wrote, red;

static void write_once(void *arg) {
  mpg_rwmutex_lock(arg);
  atomic_store(&wrote, 1);
  mpg_rwmutex_unlock(arg);
  mpg_waitgroup_done(&done);
}

static void read_once(void *arg) {
  mpg_rwmutex_rdlock(arg);
  CHECK_EQ(atomic_load(&wrote), 1); /* the writer came first */
  atomic_fetch_add(&red, 1);
  mpg_rwmutex_rdunlock(arg);
  mpg_waitgroup_done(&done);
}

static void a_waiting_writer_keeps_readers_out(void *arg) {
  (void) arg;
  mpg_rwmutex m = {0};
  atomic_store(&wrote, 0);
  atomic_store(&red, 0);
  mpg_rwmutex_rdlock(&m);
  mpg_waitgroup_add(&done, 11);
  CHECK_GO(write_once, &m);
  while (mpg_rwmutex_tryrdlock(&m)) { /* until it waits */
    mpg_rwmutex_rdunlock(&m);
    mpg_yield();
  }
  for (int i = 0; i < 10; i++) CHECK_GO(read_once, &m);
  for (int i = 0; i < 50; i++) mpg_yield();
  CHECK_EQ(atomic_load(&wrote), 0);
  CHECK_EQ(atomic_load(&red), 0);
  mpg_rwmutex_rdunlock(&m);
  mpg_waitgroup_wait(&done);
  CHECK_EQ(atomic_load(&red), 10);
}

static _Atomic bool quit;

static void read_all_the_time(void *arg) {
  while (!atomic_load(&quit)) {
    mpg_rwmutex_rdlock(arg);
    mpg_yield();
    mpg_rwmutex_rdunlock(arg);
  }
  mpg_waitgroup_done(&done);
}

/* There is a reader inside at all times. */
static void writers_do_not_starve(void *arg) {
  (void) arg;
  mpg_rwmutex m = {0};
  atomic_store(&quit, false);
  mpg_waitgroup_add(&done, 6);
  for (int i = 0; i < 6; i++) CHECK_GO(read_all_the_time, &m);
  for (int i = 0; i < 100; i++) {
    mpg_rwmutex_lock(&m);
    mpg_rwmutex_unlock(&m);
    mpg_yield();
  }
  atomic_store(&quit, true);
  mpg_waitgroup_wait(&done);
}

static void unlock_it(void *arg) {
  mpg_rwmutex_unlock(arg);
  mpg_waitgroup_done(&done);
}

static void another_goroutine_may_unlock(void *arg) {
  (void) arg;
  mpg_rwmutex m = {0};
  mpg_rwmutex_lock(&m);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(unlock_it, &m);
  mpg_rwmutex_rdlock(&m);
  mpg_rwmutex_rdunlock(&m);
  mpg_waitgroup_wait(&done);
}

static const struct check_case cases[] = {
    INSIDE(writers_exclude_everybody),
    INSIDE(try_says_whether_it_took_it),
    INSIDE(a_waiting_writer_keeps_readers_out),
    INSIDE(writers_do_not_starve),
    INSIDE(another_goroutine_may_unlock),
};
CHECK_MAIN(cases, 20)

/* [netpoll.lazy] Who waits for descriptors while a P is idle. */
#include <tests/support/unit.h>

#include <fcntl.h>
#include <mpg.h>
#include <unistd.h>

#include <sched/sched.h>

#include <sched/gmp.h>

#define TRIPS 100
#define SPIN_NS (20 * 1000 * 1000)

static int there[2], back[2], aside[2];
static _Atomic int asides;

static void pipe_make(int fd[2]) { assert_int_equal(pipe2(fd, O_CLOEXEC), 0); }

static void pipe_close(int fd[2]) {
  assert_int_equal(mpg_close(fd[1]), 0);
  assert_int_equal(mpg_close(fd[0]), 0);
}

static void answer(void *arg) {
  char c;
  (void) arg;
  while (mpg_read(there[0], &c, 1) == 1)
    assert_int_equal(mpg_write(back[1], &c, 1), 1);
}

static void count_asides(void *arg) {
  char c;
  (void) arg;
  while (mpg_read(aside[0], &c, 1) == 1) atomic_fetch_add(&asides, 1);
}

static void talk(int trips) {
  char c = 'x';
  while (trips--) {
    assert_int_equal(mpg_write(there[1], &c, 1), 1);
    assert_int_equal(mpg_read(back[0], &c, 1), 1);
  }
}

static void with_two(void (*fn)(void)) {
  mpg_gomaxprocs(2);
  pipe_make(there);
  pipe_make(back);
  pipe_make(aside);
  atomic_store(&asides, 0);
  assert_int_equal(mpg_go(answer, NULL), 0);
  assert_int_equal(mpg_go(count_asides, NULL), 0);
  fn();
  pipe_close(there);
  pipe_close(back);
  pipe_close(aside);
}

/* Whoever is lazy spins at last; it says so by lone_from. */
static void spin_until_it_is_seen(void) {
  int64_t from = atomic_load(&mpgi_sched.lone_from);
  while (atomic_load(&mpgi_sched.lone_from) == from) {
    talk(TRIPS);
    int64_t until = mpg_now() + SPIN_NS;
    while (atomic_load(&mpgi_sched.lone_from) == from && mpg_now() < until)
      continue;
  }
}

/* An event for another, while who is lazy spins. */
static void spin_until_another_ran(void) {
  for (int i = 0; i < TRIPS; i++) {
    char c = 'x';
    talk(TRIPS);
    int n = atomic_load(&asides);
    assert_int_equal(mpg_write(aside[1], &c, 1), 1);
    while (atomic_load(&asides) == n) continue;
  }
}

static void main_seen(void *arg) {
  (void) arg;
  with_two(spin_until_it_is_seen);
}
static void main_another(void *arg) {
  (void) arg;
  with_two(spin_until_another_ran);
}

static void sysmon_sees_that_nobody_polls(void **state) {
  (void) state;
  assert_int_equal(mpg_run(main_seen, NULL), 0);
}
static void others_events_come_beside_who_spins(void **state) {
  (void) state;
  assert_int_equal(mpg_run(main_another, NULL), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sysmon_sees_that_nobody_polls),
      cmocka_unit_test(others_events_come_beside_who_spins),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Stopping the world beside other processes that want the CPU. */
#include <tests/support/unit.h>

#include <mpg.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <sched/sched.h>

#include <sched/gmp.h>

#define RIVALS 8
#define LOOPS 2
#define STOPS 20

static _Atomic bool over;
static _Atomic int looping;
static mpg_waitgroup done;

static void loop(void *arg) {
  (void) arg;
  atomic_fetch_add(&looping, 1);
  while (!atomic_load(&over)) continue;
  mpg_waitgroup_done(&done);
}

static void stop_beside_loops(void *arg) {
  (void) arg;
  mpg_gomaxprocs(LOOPS + 1);
  mpg_waitgroup_add(&done, LOOPS);
  for (int i = 0; i < LOOPS; i++) assert_int_equal(mpg_go(loop, NULL), 0);
  while (atomic_load(&looping) < LOOPS) mpg_yield();
  for (int i = 0; i < STOPS; i++) mpg_gc();
  atomic_store(&over, true);
  mpg_waitgroup_wait(&done);
}

static pid_t rival(void) {
  pid_t pid = fork();
  if (pid) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) __asm__ volatile("");
}

/* [stw.thaw.slow] Everybody on one CPU: a stop takes longer than one waits
 * before thawing, but nobody sleeps, so those who stopped must not go on. */
static void who_waits_for_a_cpu_is_not_thawed_for(void **state) {
  (void) state;
  cpu_set_t one;
  pid_t rivals[RIVALS];
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
  for (int i = 0; i < RIVALS; i++) rivals[i] = rival();
  int e = mpg_run(stop_beside_loops, NULL);
  for (int i = 0; i < RIVALS; i++) kill(rivals[i], SIGKILL);
  assert_int_equal(e, 0);
  assert_true(atomic_load(&mpgi_stw.thaws) <= STOPS / 4);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(who_waits_for_a_cpu_is_not_thawed_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

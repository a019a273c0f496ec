/* Starting threads, and facts about them. */
#include <tests/support/refuse.h>
#include <tests/support/unit.h>

#include <arch/common/fixmem.h>
#include <arch/common/mutex.h>
#include <arch/os.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#define STACK ((size_t) 256 << 10)

/* What a started thread found about itself. */
static struct {
  struct mpgi_note done;
  void *arg;
  int tid, clock, detached;
  char name[16];
  sigset_t mask;
  int64_t slice;
  uintptr_t lo, hi, libc_lo, libc_hi, sp;
} seen;

static void look_around(void *arg) {
  pthread_attr_t attr;
  void *base;
  size_t bytes;
  seen.arg = arg;
  seen.tid = mpgi_os_tid();
  seen.clock = mpgi_os_thread_clock();
  pthread_getname_np(pthread_self(), seen.name, sizeof seen.name);
  pthread_sigmask(SIG_BLOCK, NULL, &seen.mask);
  pthread_getattr_np(pthread_self(), &attr);
  pthread_attr_getdetachstate(&attr, &seen.detached);
  pthread_attr_getstack(&attr, &base, &bytes);
  seen.libc_lo = (uintptr_t) base;
  seen.libc_hi = seen.libc_lo + bytes;
  pthread_attr_destroy(&attr);
  seen.slice = mpgi_os_thread_slice(3000000);
  mpgi_os_stack_bounds(&seen.lo, &seen.hi);
  seen.sp = mpgi_arch_sp();
  mpgi_note_wake(&seen.done);
}

static void start_and_wait(const char *name) {
  memset(&seen, 0, sizeof seen);
  assert_int_equal(mpgi_os_thread_start(look_around, &seen, STACK, name), 0);
  mpgi_note_sleep(&seen.done);
}

static void thread_runs_detached_with_its_stack(void **state) {
  (void) state;
  start_and_wait(NULL);
  assert_ptr_equal(seen.arg, &seen);
  assert_int_equal(seen.detached, PTHREAD_CREATE_DETACHED);
  assert_true(seen.tid > 0 && seen.tid != mpgi_os_tid());
  assert_true(seen.lo < seen.sp && seen.sp < seen.hi);
  assert_true(seen.hi - seen.lo >= STACK - 8192);
}

/* What the first one learned holds for the others: libc says the same. */
static void stack_bounds_are_libcs(void **state) {
  (void) state;
  for (int i = 0; i < 3; i++) {
    start_and_wait(NULL);
    assert_true(seen.lo >= seen.libc_lo && seen.hi == seen.libc_hi);
    assert_true(seen.lo - seen.libc_lo <= 8192);
  }
}

static void thread_has_its_name(void **state) {
  (void) state;
  start_and_wait("mpg-m1");
  assert_string_equal(seen.name, "mpg-m1");
  start_and_wait("a name longer than the kernel's");
  assert_string_equal(seen.name, "a name longer t");
}

static void thread_blocks_the_applications_signals(void **state) {
  (void) state;
  static const int open[] = {SIGPROF, SIGSEGV, SIGBUS, SIGFPE,
                             SIGILL,  SIGTRAP, SIGSYS, SIGABRT};
  sigset_t before, after;
  pthread_sigmask(SIG_BLOCK, NULL, &before);
  start_and_wait(NULL);
  for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
    assert_int_equal(sigismember(&seen.mask, open[i]), UNIT_TSAN && i < 1);
  static const int shut[] = {SIGURG,  SIGINT,  SIGTERM,
                             SIGALRM, SIGUSR1, SIGCHLD};
  for (size_t i = 0; i < sizeof shut / sizeof shut[0]; i++)
    assert_int_equal(sigismember(&seen.mask, shut[i]), 1);
  pthread_sigmask(SIG_BLOCK, NULL, &after);
  for (int sig = 1; sig <= 64; sig++)
    assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
}

/* 0 or no change where the kernel is older. */
static void slices_are_a_threads_own(void **state) {
  (void) state;
  int64_t before = mpgi_os_thread_slice(200000);
  int64_t now = mpgi_os_thread_slice(200000);
  assert_true(now == 200000 || now == before);
  start_and_wait(NULL);
  assert_int_equal(seen.slice, before);
  assert_int_equal(mpgi_os_thread_slice(before), now);
}

static void failpoint_fails_the_nth_start_only(void **state) {
  (void) state;
  start_and_wait(NULL);
  uint64_t live = mpgi_fixmem_bytes();
  atomic_store(&mpgi_os_thread_fail_countdown, 2);
  start_and_wait(NULL);
  assert_int_equal(mpgi_os_thread_start(look_around, NULL, STACK, NULL),
                   -EAGAIN);
  start_and_wait(NULL);
  assert_int_equal(mpgi_fixmem_bytes(), live);
}

static void refused_start_is_an_error_and_leaks_nothing(void **state) {
  (void) state;
  uint64_t live = mpgi_fixmem_bytes();
  errno = 77;
  int err = mpgi_os_thread_start(look_around, NULL, (size_t) 1 << 46, NULL);
  assert_true(err == -EAGAIN || err == -ENOMEM);
  assert_int_equal(errno, 77);
  assert_int_equal(mpgi_fixmem_bytes(), live);
}

/* By a sandbox that is older than the system call, for example. */
static void start_without_permission(void *arg) {
  (void) arg;
  child_check(refuse_syscall(SYS_clone3, 0, REFUSE_ANY, EPERM) == 0);
  child_check(refuse_syscall(SYS_clone, 0, REFUSE_ANY, EPERM) == 0);
  child_check(mpgi_os_thread_start(look_around, NULL, STACK, NULL) == -EAGAIN);
}

static void start_without_permission_is_an_error(void **state) {
  (void) state;
  struct child_result r;
  child_run(start_without_permission, NULL, &r);
  assert_child_ok(r);
}

static void start_without_memory(void *arg) {
  (void) arg;
  atomic_store(&mpgi_fixmem_fail_countdown, 1);
  child_check(mpgi_os_thread_start(look_around, NULL, STACK, NULL) == -ENOMEM);
}

static void start_without_memory_is_an_error(void **state) {
  (void) state;
  struct child_result r;
  child_run(start_without_memory, NULL, &r); /* first test: no record yet */
  assert_child_ok(r);
}

/* A thread that comes to run in a stopped world uses no fixmem. */
static void starting_needs_no_memory_later(void **state) {
  (void) state;
  start_and_wait(NULL);
  while (mpgi_os_tgkill(seen.tid, 0) != -ESRCH) mpgi_os_yield();
  mpgi_fixmem_forbid(1);
  start_and_wait("stopped");
  mpgi_fixmem_forbid(-1);
  assert_string_equal(seen.name, "stopped");
}

static void cpu_clock_counts_only_work(void **state) {
  (void) state;
  int clock = mpgi_os_thread_clock();
  int64_t a = mpgi_os_clock_read(clock);
  mpgi_os_sleep(30000000);
  int64_t b = mpgi_os_clock_read(clock);
  assert_true(a > 0 && b - a < 20000000);
  while (mpgi_os_clock_read(clock) - b < 5000000) continue;
}

static void cpu_clock_of_a_dead_thread_is_an_error(void **state) {
  (void) state;
  start_and_wait(NULL);
  while (mpgi_os_tgkill(seen.tid, 0) != -ESRCH) mpgi_os_yield();
  assert_int_equal(mpgi_os_clock_read(seen.clock), -1);
}

static void cpus_are_those_allowed(void *arg) {
  (void) arg;
  cpu_set_t all, one;
  child_check(sched_getaffinity(0, sizeof all, &all) == 0);
  child_check(mpgi_os_ncpu() == CPU_COUNT(&all));
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &all)) {
      CPU_SET(i, &one);
      break;
    }
  child_check(sched_setaffinity(0, sizeof one, &one) == 0);
  child_check(mpgi_os_ncpu() == 1);
}

static void ncpu_respects_the_affinity_mask(void **state) {
  (void) state;
  struct child_result r;
  child_run(cpus_are_those_allowed, NULL, &r);
  assert_child_ok(r);
}

static void stack_bounds_hold_for_the_main_thread(void **state) {
  (void) state;
  uintptr_t lo, hi;
  assert_int_equal(mpgi_os_stack_bounds(&lo, &hi), 0);
  assert_true(lo < mpgi_arch_sp() && mpgi_arch_sp() < hi);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(start_without_memory_is_an_error),
      cmocka_unit_test(thread_runs_detached_with_its_stack),
      cmocka_unit_test(stack_bounds_are_libcs),
      cmocka_unit_test(thread_has_its_name),
      cmocka_unit_test(thread_blocks_the_applications_signals),
      cmocka_unit_test(slices_are_a_threads_own),
      cmocka_unit_test(failpoint_fails_the_nth_start_only),
      cmocka_unit_test(refused_start_is_an_error_and_leaks_nothing),
      cmocka_unit_test(start_without_permission_is_an_error),
      cmocka_unit_test(starting_needs_no_memory_later),
      cmocka_unit_test(cpu_clock_counts_only_work),
      cmocka_unit_test(cpu_clock_of_a_dead_thread_is_an_error),
      cmocka_unit_test(ncpu_respects_the_affinity_mask),
      cmocka_unit_test(stack_bounds_hold_for_the_main_thread),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

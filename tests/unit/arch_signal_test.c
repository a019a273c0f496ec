/* Handlers, sending, alternate stacks. */
#include <tests/support/unit.h>

#include <arch/linux/sigaction.h>
#include <arch/os.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define ALT_BYTES ((size_t) 64 << 10)

static char *alt_stack;

static int setup(void **state) {
  (void) state;
  alt_stack = mpgi_os_mem_map(ALT_BYTES, 4096);
  return alt_stack ? mpgi_os_sigaltstack(alt_stack, ALT_BYTES) : -1;
}

static int teardown(void **state) {
  (void) state;
  int err = mpgi_os_sigaltstack(NULL, 0);
  mpgi_os_mem_unmap(alt_stack, ALT_BYTES);
  return err;
}

/* What our handler saw. */
static volatile struct {
  int calls, signo, blocked;
  uintptr_t sp, pc;
} ours;

static void our_handler(int sig, void *info, void *ucontext) {
  sigset_t mask;
  const ucontext_t *uc = ucontext;
  sigprocmask(SIG_BLOCK, NULL, &mask);
  ours.calls++;
  ours.signo = ((siginfo_t *) info)->si_signo == sig ? sig : -1;
  ours.blocked = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGUSR2);
  ours.sp = mpgi_arch_sp();
  ours.pc = (uintptr_t) uc->uc_mcontext.gregs[REG_RIP];
  errno = 99;
}

static void handler_runs_on_the_alternate_stack(void **state) {
  (void) state;
  assert_int_equal(mpgi_os_signal_install(SIGUSR1, our_handler), 0);
  ours.calls = 0;
  errno = 77;
  raise(SIGUSR1);
  assert_int_equal(errno, 77);
  assert_int_equal(ours.calls, 1);
  assert_int_equal(ours.signo, SIGUSR1);
  assert_true(ours.blocked);
  assert_true(ours.pc != 0);
  assert_true(ours.sp > (uintptr_t) alt_stack &&
              ours.sp < (uintptr_t) alt_stack + ALT_BYTES);
  struct sigaction sa;
  mpgi_os_sigaction(SIGUSR1, NULL, &sa); /* the kernel's, not our stand-in's */
  assert_true(sa.sa_flags & SA_RESTART);
  sigaction(SIGUSR1, NULL, &sa);
  assert_true(sa.sa_handler == SIG_DFL);
  mpgi_os_signal_restore(SIGUSR1);
}

static void second_handler(int sig, void *info, void *ucontext) {
  (void) info, (void) ucontext;
  ours.calls += sig;
}

static void installing_twice_keeps_the_applications(void **state) {
  (void) state;
  signal(SIGUSR1, SIG_IGN);
  assert_int_equal(mpgi_os_signal_install(SIGUSR1, our_handler), 0);
  assert_int_equal(mpgi_os_signal_install(SIGUSR1, second_handler), 0);
  ours.calls = 0;
  raise(SIGUSR1);
  assert_int_equal(ours.calls, SIGUSR1);
  mpgi_os_signal_restore(SIGUSR1);
  struct sigaction sa;
  sigaction(SIGUSR1, NULL, &sa);
  assert_true(sa.sa_handler == SIG_IGN);
  mpgi_os_signal_restore(SIGUSR1); /* twice is harmless */
  signal(SIGUSR1, SIG_DFL);
}

static volatile int app_sig;
static void *volatile app_info;
static void app_plain(int sig) { app_sig = sig; }
static void app_info3(int sig, siginfo_t *info, void *ucontext) {
  app_sig = ucontext ? sig : -1;
  app_info = info;
}
static void chaining(int sig, void *info, void *ucontext) {
  ours.calls++;
  mpgi_os_signal_chain(sig, info, ucontext);
}

static void chain_calls_what_was_there(void **state) {
  (void) state;
  struct sigaction plain = {.sa_handler = app_plain};
  struct sigaction three = {.sa_flags = SA_SIGINFO};
  three.sa_sigaction = app_info3;
  const struct sigaction *before[] = {&plain, &three};
  for (int i = 0; i < 2; i++) {
    assert_int_equal(sigaction(SIGUSR1, before[i], NULL), 0);
    assert_int_equal(mpgi_os_signal_install(SIGUSR1, chaining), 0);
    app_sig = 0;
    app_info = NULL;
    raise(SIGUSR1);
    assert_int_equal(app_sig, SIGUSR1);
    assert_int_equal(app_info != NULL, i == 1);
    mpgi_os_signal_restore(SIGUSR1);
  }
  signal(SIGUSR1, SIG_DFL);
  assert_int_equal(mpgi_os_signal_install(SIGUSR1, chaining), 0);
  ours.calls = 0;
  raise(SIGUSR1); /* default: ignored by the chain, we survive */
  assert_int_equal(ours.calls, 1);
  mpgi_os_signal_restore(SIGUSR1);
}

static void uncatchable_signals_are_refused(void **state) {
  (void) state;
  errno = 77;
  assert_int_equal(mpgi_os_signal_install(SIGKILL, our_handler), -EINVAL);
  assert_int_equal(mpgi_os_signal_install(SIGSTOP, our_handler), -EINVAL);
  assert_int_equal(errno, 77);
  assert_fatal("sig_ok", (void) mpgi_os_signal_install(0, our_handler));
  assert_fatal("sig_ok", (void) mpgi_os_signal_install(65, our_handler));
}

static void too_small_alternate_stack_is_refused(void **state) {
  (void) state;
  assert_int_equal(mpgi_os_sigaltstack(alt_stack, 1024), -ENOMEM);
}

/* ---- handlers of others ---- */

static void *idle_thread(void *arg) { return arg; }

struct raw {
  uintptr_t handler;
  unsigned long flags;
  uintptr_t restorer;
  uint64_t mask;
};

static void others_get_the_alternate_stack(void **state) {
  (void) state;
  if (UNIT_TSAN) skip();
  pthread_t t;
  struct sigaction sa = {.sa_handler = app_plain, .sa_flags = SA_NODEFER};
  sigaddset(&sa.sa_mask, SIGHUP);
  assert_int_equal(mpgi_os_sigaction(SIGUSR2, &sa, NULL), 0);
  /* glibc installs the handler of signal 33 with the first thread. */
  assert_int_equal(pthread_create(&t, NULL, idle_thread, NULL), 0);
  pthread_join(t, NULL);
  struct raw before, after;
  assert_int_equal(syscall(SYS_rt_sigaction, 33, NULL, &before, 8), 0);
  mpgi_os_signal_onstack_all();
  assert_int_equal(syscall(SYS_rt_sigaction, 33, NULL, &after, 8), 0);
  if (before.handler) assert_true(after.flags & SA_ONSTACK);
  assert_true(before.handler == after.handler && before.mask == after.mask);

  assert_int_equal(sigaction(SIGUSR2, NULL, &sa), 0);
  assert_true(sa.sa_flags & SA_ONSTACK);
  assert_true(sa.sa_flags & SA_NODEFER);
  assert_true(sigismember(&sa.sa_mask, SIGHUP));
  app_sig = 0;
  raise(SIGUSR2);
  assert_int_equal(app_sig, SIGUSR2);
  assert_int_equal(sigaction(SIGTERM, NULL, &sa), 0);
  assert_true(sa.sa_handler == SIG_DFL && !(sa.sa_flags & SA_ONSTACK));
  signal(SIGUSR2, SIG_DFL);
}

/* ---- sending ---- */

static void tgkill_reaches_one_thread(void **state) {
  (void) state;
  if (UNIT_TSAN) skip();
  assert_int_equal(mpgi_os_signal_install(SIGURG, our_handler), 0);
  ours.calls = 0;
  assert_int_equal(mpgi_os_tgkill(mpgi_os_tid(), SIGURG), 0);
  assert_int_equal(ours.calls, 1);
  mpgi_os_signal_restore(SIGURG);
  errno = 77;
  assert_int_equal(mpgi_os_tgkill(0x3fffffff, SIGURG), -ESRCH);
  assert_int_equal(errno, 77);
}

static void send_failpoint_fails_once(void **state) {
  (void) state;
  atomic_store(&mpgi_os_signal_fail_countdown, 2);
  assert_int_equal(mpgi_os_tgkill(mpgi_os_tid(), 0), 0);
  assert_int_equal(mpgi_os_tgkill(mpgi_os_tid(), 0), -EAGAIN);
  assert_int_equal(mpgi_os_tgkill(mpgi_os_tid(), 0), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(handler_runs_on_the_alternate_stack),
      cmocka_unit_test(installing_twice_keeps_the_applications),
      cmocka_unit_test(chain_calls_what_was_there),
      cmocka_unit_test(uncatchable_signals_are_refused),
      cmocka_unit_test(too_small_alternate_stack_is_refused),
      cmocka_unit_test(others_get_the_alternate_stack),
      cmocka_unit_test(tgkill_reaches_one_thread),
      cmocka_unit_test(send_failpoint_fails_once),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}

/* sched_signal_test.c - the application's own signals beside mpg's. */
#include <errno.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "../support/check.h"

static _Atomic int got, got_on_stack; /* written by a handler */
static mpg_waitgroup done;
static _Atomic bool stop;

/* Needs more stack than a goroutine has. */
static void handle(int sig) {
  volatile char frame[8000];
  frame[0] = 1;
  uintptr_t here = (uintptr_t) frame;
  stack_t now;
  sigaltstack(NULL, &now);
  uintptr_t lo = (uintptr_t) now.ss_sp;
  got_on_stack = here >= lo && here < lo + now.ss_size;
  got = sig;
}

static void set_handler(int sig, int flags) {
  struct sigaction sa = {.sa_handler = handle, .sa_flags = flags};
  CHECK_EQ(sigaction(sig, &sa, NULL), 0);
}

static void raise_it(int sig) {
  got = got_on_stack = 0;
  CHECK_EQ(raise(sig), 0);
  CHECK_EQ(got, sig);
  CHECK(got_on_stack);
}

static __attribute__((noinline)) int raise_deep(int depth, int sig) {
  volatile char frame[100];
  frame[0] = (char) depth;
  if (depth == 0)
    raise_it(sig);
  else
    raise_deep(depth - 1, sig);
  return frame[0];
}

static void raise_in_goroutine(void *arg) {
  for (int i = 0; i < 20; i++) raise_deep(i, (int) (intptr_t) arg);
  mpg_waitgroup_done(&done);
}

static void raise_everywhere(int sig) {
  raise_it(sig);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(raise_in_goroutine, (void *) (intptr_t) sig);
  mpg_waitgroup_wait(&done);
}

/* Handlers run on another stack, whatever their flags say. */
static void handlers_set_in_a_run(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  set_handler(SIGUSR1, 0);
  raise_everywhere(SIGUSR1);
  CHECK(signal(SIGUSR2, handle) != SIG_ERR);
  raise_everywhere(SIGUSR2);
  CHECK(signal(SIGUSR2, SIG_IGN) == handle);
  CHECK(signal(SIGUSR2, SIG_DFL) == SIG_IGN);
  CHECK(signal(0, SIG_DFL) == SIG_ERR);
}

static void raise_usr1(void *arg) {
  (void) arg;
  raise_everywhere(SIGUSR1);
}

static void handlers_set_before_the_run(void *arg) {
  (void) arg;
  set_handler(SIGUSR1, 0);
  CHECK_EQ(mpg_run(raise_usr1, NULL), 0);
}

/* ---- SIGURG ---- */

static void collect_beside_loops(void) {
  for (int i = 0; i < 20; i++) mpg_gc();
}

static void burn(void *arg) {
  (void) arg;
  while (!atomic_load(&stop)) __asm__ volatile("");
  mpg_waitgroup_done(&done);
}

static void beside_a_loop(void (*fn)(void)) {
  mpg_gomaxprocs(2);
  atomic_store(&stop, false);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(burn, NULL);
  fn();
  atomic_store(&stop, true);
  mpg_waitgroup_wait(&done);
}

/* Its own handler doesn't replace mpg's, and gets what isn't mpg's. */
static void send_sigurg(void) {
  got = 0;
  collect_beside_loops();
  CHECK_EQ(got, 0);
  CHECK_EQ(kill(getpid(), SIGURG), 0);
  CHECK_EVENTUALLY(got == SIGURG);
}

static void own_sigurg_handler_set_in_a_run(void *arg) {
  (void) arg;
  struct sigaction now;
  set_handler(SIGURG, 0);
  CHECK_EQ(sigaction(SIGURG, NULL, &now), 0);
  CHECK(now.sa_handler == handle);
  beside_a_loop(send_sigurg);
}

static void own_sigurg_handler_set_before(void *arg) {
  (void) arg;
  struct sigaction now;
  CHECK_EQ(sigaction(SIGURG, NULL, &now), 0);
  CHECK(now.sa_handler == handle); /* the last run gave it back */
  CHECK_EQ(mpg_run(own_sigurg_handler_set_in_a_run, NULL), 0);
  CHECK(signal(SIGURG, SIG_DFL) == handle);
}

/* The runtime's other threads have small stacks and no other one. */
static _Atomic int on_others;
static void whose_thread(int sig) {
  (void) sig;
  char name[16];
  int error = errno;
  if (prctl(PR_GET_NAME, name) == 0 && strncmp(name, "mpg-", 4) == 0 &&
      strcmp(name, "mpg-m") != 0)
    atomic_fetch_add(&on_others, 1);
  errno = error;
}

static void send_many_to_the_process(void *arg) {
  (void) arg;
  for (int i = 0; i < 1000; i++) {
    CHECK_EQ(kill(getpid(), SIGURG), 0);
    if (i % 100 == 0) mpg_gc(); /* for its threads to be there */
    mpg_yield();
  }
}

static void own_sigurg_handler_runs_on_ms_only(void *arg) {
  (void) arg;
  struct sigaction sa = {.sa_handler = whose_thread}, before;
  CHECK_EQ(sigaction(SIGURG, &sa, &before), 0);
  sigset_t urg, mask;
  sigemptyset(&urg);
  sigaddset(&urg, SIGURG); /* or this thread would have them all */
  CHECK_EQ(pthread_sigmask(SIG_BLOCK, &urg, &mask), 0);
  atomic_store(&on_others, 0);
  CHECK_EQ(mpg_run(send_many_to_the_process, NULL), 0);
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, &mask, NULL), 0);
  CHECK_EQ(sigaction(SIGURG, &before, NULL), 0);
  CHECK_EQ(atomic_load(&on_others), 0);
}

/* Blocking everything in a goroutine doesn't block mpg. */
static void burn_blocked(void *arg) {
  sigset_t all, before;
  sigfillset(&all);
  mpg_lock_thread();
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
  CHECK_EQ(sigismember(&before, SIGTERM), 0);
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &all), 0);
  CHECK_EQ(sigismember(&all, SIGTERM), 1);
  *(_Atomic bool *) arg = true;
  while (!atomic_load(&stop)) __asm__ volatile("");
  CHECK_EQ(sigprocmask(SIG_SETMASK, &before, NULL), 0);
  mpg_unlock_thread();
  mpg_waitgroup_done(&done);
}

static void signals_blocked_in_a_goroutine(void *arg) {
  (void) arg;
  static _Atomic bool blocked;
  mpg_gomaxprocs(2);
  atomic_store(&stop, false);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(burn_blocked, (void *) &blocked);
  CHECK_EVENTUALLY(atomic_load(&blocked));
  collect_beside_loops();
  atomic_store(&stop, true);
  mpg_waitgroup_wait(&done);
}

/* ---- the mask, timers ---- */

static void mask_is_the_callers(void *arg) {
  sigset_t now;
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &now), 0);
  CHECK_EQ(sigismember(&now, SIGUSR2), arg != NULL);
  CHECK_EQ(sigismember(&now, SIGTERM), 0);
  CHECK_EQ(sigismember(&now, SIGURG), 0);
}

static void goroutines_have_the_callers_mask(void *arg) {
  sigset_t set;
  CHECK_EQ(mpg_run(mask_is_the_callers, NULL), 0);
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigaddset(&set, SIGURG);
  CHECK_EQ(sigprocmask(SIG_BLOCK, &set, NULL), 0);
  CHECK_EQ(mpg_run(mask_is_the_callers, &arg), 0);
  CHECK_EQ(sigprocmask(SIG_UNBLOCK, &set, NULL), 0);
}

/* Relaxed: TSan's other atomics lock, and handlers interrupt them. */
static _Atomic int ticks;
static int ticks_now(void) {
  return atomic_load_explicit(&ticks, memory_order_relaxed);
}
static void tick(int sig, siginfo_t *info, void *ucontext) {
  volatile char frame[6000];
  frame[0] = 1;
  (void) sig, (void) info, (void) ucontext, (void) frame[0];
  atomic_fetch_add_explicit(&ticks, 1, memory_order_relaxed);
}

/* A profiler's timer interrupts everything mpg does. */
static void switch_and_collect(void) {
  struct itimerval every = {{0, 500}, {0, 500}}, off = {0};
  CHECK_EQ(setitimer(ITIMER_PROF, &every, NULL), 0);
  while (ticks_now() < 100) {
    for (int i = 0; i < 1000; i++) {
      memset(mpg_alloc(64), 1, 64);
      if (i % 10 == 0) mpg_yield();
    }
    mpg_gc();
  }
  CHECK_EQ(setitimer(ITIMER_PROF, &off, NULL), 0);
}

static void a_profiler_interrupts(void *arg) {
  (void) arg;
  struct sigaction sa = {.sa_sigaction = tick, .sa_flags = SA_SIGINFO};
  CHECK_EQ(sigaction(SIGPROF, &sa, NULL), 0);
  beside_a_loop(switch_and_collect);
}

/* A handler that asks for the time is interrupted by another: that one's frame
 * goes below the first one's. */
static void ask_the_time(int sig) {
  volatile unsigned char mine[2000];
  for (size_t i = 0; i < sizeof mine; i++) mine[i] = (unsigned char) i;
  int until = ticks_now() + 50;
  while (ticks_now() < until) CHECK_GT(mpg_now(), 0);
  for (size_t i = 0; i < sizeof mine; i++) CHECK_EQ(mine[i], (unsigned char) i);
  got = sig;
}

static void handlers_nest(void *arg) {
  (void) arg;
  struct itimerval every = {{0, 500}, {0, 500}}, off = {0};
  struct sigaction sa = {.sa_sigaction = tick, .sa_flags = SA_SIGINFO};
  struct sigaction outer = {.sa_handler = ask_the_time};
  CHECK_EQ(sigaction(SIGPROF, &sa, NULL), 0);
  CHECK_EQ(sigaction(SIGUSR1, &outer, NULL), 0);
  CHECK_EQ(setitimer(ITIMER_PROF, &every, NULL), 0);
  for (int i = 0; i < 3; i++) {
    got = 0;
    CHECK_EQ(raise(SIGUSR1), 0);
    CHECK_EQ(got, SIGUSR1);
  }
  CHECK_EQ(setitimer(ITIMER_PROF, &off, NULL), 0);
}

#define SIGNAL_STACK (256ul << 10)
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif
static _Atomic int burst;

static void count(int sig) {
  (void) sig;
  atomic_fetch_add(&burst, 1);
}

/* The kernel puts the frames of all on the stack before the first handler
 * runs: what it can't put there kills the program without a word. */
static void many_signals_at_once(void *arg) {
  (void) arg;
  sigset_t all, before;
  unsigned long fit = SIGNAL_STACK / getauxval(AT_MINSIGSTKSZ) - 2;
  int last = SIGRTMIN + (fit < 30 ? (int) fit : 30);
  sigemptyset(&all);
  mpg_lock_thread();
  for (int sig = SIGRTMIN; sig < last; sig++) {
    CHECK(signal(sig, count) != SIG_ERR);
    sigaddset(&all, sig);
  }
  CHECK_EQ(pthread_sigmask(SIG_BLOCK, &all, &before), 0);
  for (int sig = SIGRTMIN; sig < last; sig++) CHECK_EQ(raise(sig), 0);
  CHECK_EQ(atomic_load(&burst), 0);
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
  CHECK_EQ(atomic_load(&burst), last - SIGRTMIN);
  mpg_unlock_thread();
}

static const struct check_case cases[] = {
    INSIDE(handlers_set_in_a_run),
    OUTSIDE(handlers_set_before_the_run),
    INSIDE(own_sigurg_handler_set_in_a_run),
    OUTSIDE(own_sigurg_handler_set_before),
    OUTSIDE(own_sigurg_handler_runs_on_ms_only),
    INSIDE(signals_blocked_in_a_goroutine),
    OUTSIDE(goroutines_have_the_callers_mask),
    INSIDE(a_profiler_interrupts),
    INSIDE(handlers_nest),
    INSIDE(many_signals_at_once),
};
CHECK_MAIN(cases, 30)

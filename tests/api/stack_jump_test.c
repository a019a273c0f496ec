/* stack_jump_test.c - longjmp out of signal handlers, out of callbacks of the C
 * library, and within them; afterwards the goroutine is as before the call: it
 * grows, is preempted, and is stopped for collections.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>

#include "../support/check.h"

#define ROUNDS 50
#define NOINLINE __attribute__((noinline))

static mpg_waitgroup done;
static _Atomic bool other_ran;

/* ---- as before? ---- */

static NOINLINE int descend(int n) {
  volatile char frame[1000];
  frame[n] = 1;
  return n == 0 ? 0 : frame[n] + descend(n - 1);
}

static void run_beside(void *arg) {
  (void) arg;
  atomic_store(&other_ran, true);
  mpg_waitgroup_done(&done);
}

/* On one P the other goroutine runs when this one is preempted. */
static void is_preempted(void) {
  atomic_store(&other_ran, false);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(run_beside, NULL);
  while (!atomic_load(&other_ran)) __asm__ volatile("");
  mpg_waitgroup_wait(&done);
}

static void is_as_before(int round) {
  CHECK_EQ(descend(40), 40);
  mpg_yield();
  if (round % 10) return;
  mpg_gc();
  is_preempted();
}

/* ---- ways to leave ---- */

static sigjmp_buf *target; /* one goroutine at a time uses it */

static void leave(int sig) { siglongjmp(*target, sig); }
static void leave_plainly(int sig) { longjmp(*target, sig); }

/* A jump within the handler first. */
static void jump_and_leave(int sig) {
  jmp_buf inner;
  volatile int times = 0;
  if (setjmp(inner) < 5) longjmp(inner, ++times);
  CHECK_EQ(times, 5);
  siglongjmp(*target, sig);
}

static NOINLINE void trap(void) { __asm__ volatile("ud2"); }
static int *volatile nowhere;
static NOINLINE void fault(void) { *nowhere = 1; }

/* In the C library, on g0 when there is little room here. */
static NOINLINE void signal_in_a_call(void) {
  syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
}

static FILE *cookie;
static NOINLINE void write_to_cookie(void) {
  fputs("text", cookie);
  fflush(cookie);
}

static ssize_t cookie_leaves(void *arg, const char *buf, size_t size) {
  (void) arg, (void) buf;
  if (target) longjmp(*target, 1);
  return (ssize_t) size;
}

/* Through several segments: sigsetjmp, foreign code, alone wants 16 KiB. */
static NOINLINE void at_depth(int depth, void (*fn)(void)) {
  volatile char frame[3000];
  frame[depth] = 1;
  if (depth == 0)
    fn();
  else
    at_depth(depth - 1, fn);
  CHECK_EQ(frame[depth], 1);
}

/* The jump goes to this frame, from the same segment or a newer one. */
static NOINLINE int jump_back(int depth, void (*fn)(void)) {
  sigjmp_buf env;
  uint64_t *kept = mpg_alloc(sizeof(*kept));
  *kept = 0x1234;
  target = &env;
  int got = sigsetjmp(env, 1);
  if (got == 0) at_depth(depth, fn);
  CHECK_EQ(*kept, 0x1234);
  return got;
}

static void jump_often(void (*fn)(void)) {
  mpg_gomaxprocs(1);
  for (int i = 0; i < ROUNDS; i++) {
    CHECK_NE(jump_back(i % 25, fn), 0);
    is_as_before(i);
  }
}

static void handle(int sig, void (*handler)(int)) {
  struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
  CHECK_EQ(sigaction(sig, &sa, NULL), 0);
}

static void out_of_a_handler(void *arg) {
  (void) arg;
  handle(SIGILL, leave);
  jump_often(trap);
  handle(SIGSEGV, leave);
  jump_often(fault);
}

/* The handler's signal mask is kept, but for what a goroutine must take. */
static void out_of_a_handler_with_its_mask(void *arg) {
  (void) arg;
  handle(SIGILL, leave_plainly);
  jump_often(trap);
  handle(SIGSEGV, leave_plainly);
  jump_often(fault);
}

static void within_a_handler(void *arg) {
  (void) arg;
  handle(SIGILL, jump_and_leave);
  jump_often(trap);
}

static void out_of_a_handler_in_the_c_library(void *arg) {
  (void) arg;
  handle(SIGUSR1, leave);
  jump_often(signal_in_a_call);
}

static void out_of_a_callback_of_the_c_library(void *arg) {
  (void) arg;
  cookie_io_functions_t io = {.write = cookie_leaves};
  CHECK((cookie = fopencookie(NULL, "w", io)) != NULL);
  jump_often(write_to_cookie);
  target = NULL;
  CHECK_EQ(fclose(cookie), 0);
}

static const struct check_case cases[] = {
    INJECTS(out_of_a_handler),
    INJECTS(out_of_a_handler_with_its_mask),
    INJECTS(within_a_handler),
    INJECTS(out_of_a_handler_in_the_c_library),
    INJECTS(out_of_a_callback_of_the_c_library),
};
CHECK_MAIN(cases, 30)

// EXPECT-EXIT: 0
// REJECT-STDERR: deadlock
// ENV: MPG_DEBUG=chaos=500
// ENV: MPG_PROCS=1
/* A goroutine that is bound gets the P and ends with its thread, while the
 * thread that gave it the P goes to sleep: that is no deadlock.  Here and not
 * in tests/api, whose watchdog is a thread that could attach. */
#include <mpg.h>
#include <stddef.h>

#define BOUND 40

static mpg_waitgroup done;

static void be_bound(void *arg) {
  (void) arg;
  mpg_lock_thread();
  for (int i = 0; i < 40; i++) {
    mpg_yield();
    if (i % 2) mpg_sleep(10000);
    mpg_syscall_enter();
    mpg_syscall_exit();
  }
  mpg_yield();
  mpg_waitgroup_done(&done);
}

static void start(void *arg) {
  (void) arg;
  for (int round = 0; round < 2; round++) {
    mpg_waitgroup_add(&done, BOUND);
    for (int i = 0; i < BOUND; i++) mpg_go(be_bound, NULL);
    mpg_waitgroup_wait(&done);
  }
}

int main(void) { return mpg_run(start, NULL); }

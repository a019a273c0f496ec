// EXPECT-EXIT: 1
// EXPECT-STDERR: AddressSanitizer: stack-buffer-overflow
// EXPECT-STDERR: #[0-9]+ .* overflow_it
// REJECT-STDERR: ignoring requested __asan_handle_no_return

/* An overflow on a goroutine's stack is found, and nothing else is: after
 * goroutines were left, in the middle of functions with arrays, by parking, by
 * mpg_goexit, by preemption and by longjmp, and their stacks used again. */
#include <mpg.h>

#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mpg_chan *c;
static mpg_waitgroup wg;
static _Atomic int spinning;

static __attribute__((noinline)) void fill(char *p, size_t n) {
  memset(p, 1, n);
}

static __attribute__((noinline)) void leave_here(int how, jmp_buf *env) {
  char a[33], b[100];
  fill(a, sizeof(a));
  fill(b, sizeof(b));
  switch (how) {
  case 0: mpg_chan_recv(c, NULL); break;
  case 1: mpg_goexit();
  case 2: longjmp(*env, 1);
  default:
    for (int i = 0; i < 1000 * 1000; i++)
      atomic_fetch_add_explicit(&spinning, 1, memory_order_relaxed);
  }
  fill(a, sizeof(a));
}

static void worker(void *arg) {
  int how = (int) (intptr_t) arg;
  jmp_buf env;
  char room[50];
  fill(room, sizeof(room));
  mpg_waitgroup_done(&wg);
  if (how != 2 || setjmp(env) == 0) leave_here(how, &env);
  fill(room, sizeof(room));
}

static __attribute__((noinline)) void overflow_it(volatile size_t n) {
  char a[40];
  fill(a, n);
}

static void start(void *arg) {
  (void) arg;
  c = mpg_chan_new(1, 0);
  for (int round = 0; round < 20; round++) {
    mpg_waitgroup_add(&wg, 40);
    for (intptr_t i = 0; i < 40; i++)
      if (mpg_go(worker, (void *) (i % 4)) != 0) exit(3);
    mpg_waitgroup_wait(&wg);
    for (int i = 0; i < 10; i++) mpg_chan_send(c, "x");
    mpg_gc();
  }
  overflow_it(41);
}

int main(void) {
  mpg_run(start, NULL);
  return 4;
}

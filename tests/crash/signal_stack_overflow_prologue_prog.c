// The stack ends wherever it likes, in __morestack too, where each call comes
// by when preemption is wanted: it is the function that is named.
// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: signal stack overflow: recurse.* \(.*\) is called by a
// REJECT-STDERR: overflow: [^r]
#include <mpg.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/recurse.h"

#define STEP 16
#define FRAMES 512 /* more than those of recurse and __morestack together */

static size_t lower;

static void handler(int sig) {
  int x = sig;
  volatile char *gap = __builtin_alloca(lower);
  gap[0] = 1;
  __asm__ volatile("movq $-1, %%fs:0x70" : : : "memory"); /* wanted */
  overflow(&x);
}

static void start(void *arg) {
  (void) arg;
  signal(SIGUSR1, handler);
  raise(SIGUSR1);
}

int main(void) {
  int status = 0;
  for (lower = STEP; lower <= FRAMES; lower += STEP) {
    pid_t child = fork();
    if (child == 0) return mpg_run(start, NULL);
    if (child < 0 || waitpid(child, &status, 0) != child) abort();
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 2) abort();
  }
  return WEXITSTATUS(status);
}

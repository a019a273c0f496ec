// EXPECT-EXIT: signal 11
// REJECT-STDERR: stack overflow
#include <mpg.h>

static int *volatile nowhere;

static void start(void *arg) {
  (void) arg;
  *nowhere = 1; /* not a stack's guard: the default action */
}

int main(void) { return mpg_run(start, NULL); }

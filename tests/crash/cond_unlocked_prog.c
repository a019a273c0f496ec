// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: unlock of unlocked mutex
// EXPECT-STDERR: ^goroutine 1 \[running\]:
#include <mpg.h>

static mpg_mutex m;
static mpg_cond c;

static void start(void *arg) {
  (void) arg;
  mpg_cond_wait(&c, &m);
}

int main(void) { return mpg_run(start, NULL); }

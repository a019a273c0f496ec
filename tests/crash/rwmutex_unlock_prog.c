// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: Unlock of unlocked RWMutex
// EXPECT-STDERR: ^goroutine 1 \[running\]:
#include <mpg.h>

static mpg_rwmutex m;

static void start(void *arg) {
  (void) arg;
  mpg_rwmutex_rdlock(&m);
  mpg_rwmutex_unlock(&m);
}

int main(void) { return mpg_run(start, NULL); }

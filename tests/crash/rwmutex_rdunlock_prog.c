// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: RUnlock of unlocked RWMutex
// EXPECT-STDERR: ^goroutine 1 \[running\]:
#include <mpg.h>

static mpg_rwmutex m;

static void start(void *arg) {
  (void) arg;
  mpg_rwmutex_lock(&m);
  mpg_rwmutex_rdunlock(&m);
}

int main(void) { return mpg_run(start, NULL); }

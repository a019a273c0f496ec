// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: .*unlock of unlocked mutex
// EXPECT-STDERR: ^goroutine 1 \[running\]:
#include <mpg.h>

static mpg_mutex m;

static void start(void *arg) {
  (void) arg;
  mpg_mutex_lock(&m);
  mpg_mutex_unlock(&m);
  mpg_mutex_unlock(&m);
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: signal 6
// EXPECT-STDERR: ^fatal: unlock of unlocked mutex
// EXPECT-STDERR: ^goroutine 1 \[running\]:
// EXPECT-STDERR: ^mistake\(\.\.\.\)
// EXPECT-STDERR: ^goroutine 0 \[
// ENV: MPG_TRACEBACK=crash
#include <mpg.h>

static mpg_mutex m;

static __attribute__((noinline)) void mistake(void) {
  mpg_mutex_unlock(&m);
  __asm__ volatile("" : : : "memory");
}

static void start(void *arg) {
  (void) arg;
  mpg_sleep(1000 * 1000);
  mistake();
}

int main(void) { return mpg_run(start, NULL); }

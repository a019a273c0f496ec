// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: return from mpg_run's function inside mpg_syscall_enter or mpg_blocking$
// EXPECT-STDERR: ^goroutine 1 \[syscall\]:
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  mpg_syscall_enter();
}

int main(void) { return mpg_run(start, NULL); }

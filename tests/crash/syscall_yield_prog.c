// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_yield inside mpg_syscall_enter or mpg_blocking$
// EXPECT-STDERR: ^goroutine 1 \[syscall\]:
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  mpg_syscall_enter();
  mpg_yield();
  mpg_syscall_exit();
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: a goroutine waits inside mpg_syscall_enter or mpg_blocking$
// EXPECT-STDERR: ^goroutine 1 \[syscall\]:
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  mpg_syscall_enter();
  mpg_sleep(1000);
  mpg_syscall_exit();
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: .*thread
#include <mpg.h>
#include <unistd.h>

static int fds[2];

static void block(void *arg) {
  char c;
  mpg_syscall_enter();
  while (read(fds[0], &c, 1) < 0) {
  }
  mpg_syscall_exit();
  (void) arg;
}

static void start(void *arg) {
  (void) arg;
  mpg_set_max_threads(20);
  for (int i = 0; i < 100; i++) mpg_go(block, NULL);
  for (;;) mpg_sleep(1000000);
}

int main(void) { return pipe(fds) == 0 ? mpg_run(start, NULL) : 1; }

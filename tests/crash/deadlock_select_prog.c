// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: all goroutines are asleep - deadlock!
// EXPECT-STDERR: ^goroutine 1 \[select \(no cases\)\]:
// EXPECT-STDERR: ^goroutine [0-9]+ \[select\]:
#include <mpg.h>

static void wait_on_null(void *arg) {
  struct mpg_select_case k[2] = {{.dir = MPG_RECV}, {.dir = MPG_SEND}};
  (void) arg;
  mpg_select(k, 2);
}

static void start(void *arg) {
  (void) arg;
  mpg_go(wait_on_null, NULL);
  mpg_select(NULL, 0);
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: .*mpg_run
#include <mpg.h>

int main(void) {
  mpg_yield(); /* no runtime */
  return 0;
}

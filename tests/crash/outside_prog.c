// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_yield on a thread that is not attached
#include <mpg.h>

int main(void) {
  mpg_yield(); /* no runtime */
  return 0;
}

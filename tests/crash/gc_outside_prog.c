// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_gc on a thread that is not attached
#include <mpg.h>

int main(void) {
  mpg_gc(); /* no runtime */
  return 0;
}

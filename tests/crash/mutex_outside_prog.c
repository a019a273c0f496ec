// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_mutex_lock on a thread that is not attached
#include <mpg.h>

int main(void) {
  static mpg_mutex lock;
  mpg_mutex_lock(&lock); /* no runtime */
  return 0;
}

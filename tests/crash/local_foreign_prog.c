// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_local_set on a thread
#include <mpg.h>

int main(void) {
  mpg_local key;
  if (mpg_local_new(&key) != 0) return 1;
  return mpg_local_set(key, &key);
}

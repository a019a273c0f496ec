// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: redzone: written beyond the end of the object at 0x[0-9a-f]+ of 1000000 bytes: byte 1000003 is 0x01 \(found by mpg_realloc\)
// ENV: MPG_DEBUG=redzone=1
#include <mpg.h>
#include <stdlib.h>

static void start(void *arg) {
  (void) arg;
  char *volatile p = mpg_alloc(1000000);
  p[1000003] = 1;
  p = mpg_realloc(p, 2000000);
  abort();
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: redzone: the object at 0x[0-9a-f]+ of at most [0-9]+ bytes was written after it was freed: bytes 16 to 23 are 0xdfdfdfdfdfdf07df
// ENV: MPG_DEBUG=redzone=1
// ENV: MPG_PROCS=1
#include <mpg.h>

static void start(void *arg) {
  (void) arg;
  char *volatile p = mpg_alloc(50);
  mpg_free(p);
  p[17] = 7;
  /* With another P these might come from elsewhere. */
  for (int i = 0; i < 1000; i++)
    if (!mpg_alloc(50)) return;
}

int main(void) { return mpg_run(start, NULL); }

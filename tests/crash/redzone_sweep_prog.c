// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: redzone: written beyond the end of the object at 0x[0-9a-f]+ of 24 bytes: byte 27 is 0x61 \(found by the sweeper\)
// ENV: MPG_DEBUG=redzone=1,gcverify=0
#include <mpg.h>

static __attribute__((noinline)) void overrun(void) {
  for (int i = 0; i < 100; i++) {
    char *volatile p = mpg_alloc_noscan(24);
    p[27] = 'a';
  }
}

static void start(void *arg) {
  (void) arg;
  overrun();
  mpg_gc();
  mpg_gc();
}

int main(void) { return mpg_run(start, NULL); }

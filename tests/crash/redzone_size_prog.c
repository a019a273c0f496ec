// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: redzone: written beyond the end of the object at 0x[0-9a-f]+: the last bytes of its cell of 64 are spoiled \(found by mpg_free\)
// ENV: MPG_DEBUG=redzone=1
#include <mpg.h>
#include <string.h>

static void start(void *arg) {
  (void) arg;
  void *volatile p = mpg_alloc(40), *q = p;
  memset(q, 255, 64); /* hides that something was there at all */
  mpg_free(q);
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: redzone: written beyond the end of the object at 0x[0-9a-f]+ of 64 bytes: byte 64 is 0x2a \(found by gcverify\)
// ENV: MPG_DEBUG=redzone=1,gcverify=1
#include <mpg.h>
#include <stdlib.h>

static char *kept; /* a root: it is never freed */

static void start(void *arg) {
  (void) arg;
  size_t offset = 8;
  kept = mpg_alloc_typed(mpg_type_new(32, &offset, 1), 2);
  if (mpg_alloc_size(kept) != 64) abort();
  mpg_gc();
  *(char *volatile) (kept + 64) = 42;
  mpg_gc();
}

int main(void) { return mpg_run(start, NULL); }

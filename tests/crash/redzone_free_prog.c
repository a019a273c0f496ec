// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: redzone: written beyond the end of the object at 0x[0-9a-f]+ of 100 bytes: byte 100 is 0x00 \(found by mpg_free\)
// EXPECT-STDERR: ^goroutine 1 \[running\]:
// ENV: MPG_DEBUG=redzone=1
#include <mpg.h>
#include <string.h>

static void start(void *arg) {
  (void) arg;
  char *p = mpg_alloc(100);
  strcpy(p, "it fits");
  char *volatile end = p + 100; /* the classical mistake */
  *end = 0;
  mpg_free(p);
}

int main(void) { return mpg_run(start, NULL); }

// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: mpg_yield called from inside the C library, which runs on the system stack
// EXPECT-STDERR: ^goroutine 1 \[running\]:
/* fopencookie's functions run where fflush runs. */
#include <mpg.h>
#include <stdio.h>

static ssize_t cookie_write(void *cookie, const char *buf, size_t size) {
  (void) cookie, (void) buf;
  if (mpg_now() < 0 || mpg_goid() > 1000) return 0; /* these may be called */
  mpg_yield();
  return (ssize_t) size;
}

__attribute__((noinline)) static void flush(FILE *f) {
  fputs("text", f);
  fflush(f);
}

static void start(void *arg) { flush(arg); }

int main(void) {
  cookie_io_functions_t io = {.write = cookie_write};
  FILE *f = fopencookie(NULL, "w", io);
  return f ? mpg_run(start, f) : 1;
}

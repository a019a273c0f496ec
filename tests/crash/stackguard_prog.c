// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: stack guard: goroutine [0-9]+ ran off a stack segment of [0-9]+ bytes in .*libc
// EXPECT-STDERR: ^goroutine [0-9]+ \[running\]:
// ENV: MPG_DEBUG=stackguard=1
/* A call that no linker sees, of a function that wants kilobytes. */
#include <dlfcn.h>
#include <mpg.h>
#include <stddef.h>

static int (*print)(char *, size_t, const char *, ...);
static char text[100];

static void hungry(void *arg) {
  (void) arg;
  print(text, sizeof(text), "%f %d %s\n", 1.5, 7, "many");
}

static void start(void *arg) {
  if (mpg_go(hungry, arg) == 0) mpg_sleep(1000000000);
}

int main(void) {
  *(void **) &print = dlsym(RTLD_DEFAULT, "snprintf");
  return mpg_run(start, NULL);
}

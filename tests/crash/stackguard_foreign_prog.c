// EXPECT-EXIT: 0
// REJECT-STDERR: fatal
// ENV: MPG_DEBUG=stackguard=1
/* stackguard_prog.c as it should be, and much else that grows stacks. */
#include <dlfcn.h>
#include <mpg.h>
#include <stdlib.h>
#include <string.h>

#include "../support/check.h"

static int (*print)(char *, size_t, const char *, ...);
static mpg_waitgroup done;

static void call_print(void *arg) {
  print(arg, 100, "%.1f %d %s", 1.5, 7, "many");
}

static __attribute__((noinline)) int descend(int n) {
  volatile char frame[300];
  frame[n % 300] = 1;
  return n == 0 ? 0 : frame[n % 300] + descend(n - 1);
}

static int compare(const void *a, const void *b) {
  CHECK_EQ(descend(20), 20);
  return *(const int *) a - *(const int *) b;
}

static void worker(void *arg) {
  char text[100];
  int v[] = {3, 1, 2};
  (void) arg;
  mpg_foreign_call(call_print, text);
  CHECK(strcmp(text, "1.5 7 many") == 0);
  qsort(v, 3, sizeof(v[0]), compare);
  CHECK_EQ(v[0], 1);
  CHECK_EQ(descend(3000), 3000);
  mpg_waitgroup_done(&done);
}

static void start(void *arg) {
  mpg_waitgroup_add(&done, 200);
  for (int i = 0; i < 200; i++) CHECK_GO(worker, arg);
  for (int i = 0; i < 5; i++) mpg_gc();
  mpg_waitgroup_wait(&done);
}

int main(void) {
  *(void **) &print = dlsym(RTLD_DEFAULT, "snprintf");
  return mpg_run(start, NULL);
}

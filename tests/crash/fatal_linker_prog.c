// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: .*unlock of unlocked mutex
// EXPECT-STDERR: ^goroutine 1 \[running\]:
/* Whoever dies stops all others, one in a constructor that holds the dynamic
 * linker's lock among them: the program ends all the same. */
#include <dlfcn.h>
#include <limits.h>
#include <mpg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic int begun;
static mpg_mutex m;

static void hook(const char *when, void **local) {
  (void) when, (void) local;
  for (atomic_store(&begun, 1);;) continue;
}

static void load(void *arg) {
  char path[PATH_MAX], text[32];
  ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);
  (void) arg;
  if (n <= 0) _exit(3);
  path[n] = '\0';
  *strrchr(path, '/') = '\0';
  strcpy(strrchr(path, '/'), "/api/hooklib.so");
  snprintf(text, sizeof(text), "%lx", (unsigned long) (uintptr_t) hook);
  if (setenv("HOOKLIB_CALL", text, 1) != 0 || !dlopen(path, RTLD_NOW)) _exit(4);
}

static void start(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  if (mpg_go(load, NULL) != 0) _exit(5);
  while (!atomic_load(&begun)) mpg_sleep(100000);
  mpg_mutex_lock(&m);
  mpg_mutex_unlock(&m);
  mpg_mutex_unlock(&m);
}

int main(void) { return mpg_run(start, NULL); }

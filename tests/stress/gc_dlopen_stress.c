/* gc_dlopen_stress.c - collections beside dlopen and other stops.
 *
 * A collection lists the loaded objects under the dynamic linker's lock before
 * it stops the world.  Whoever holds that lock may be frozen in place by a
 * stop for another reason, which waits for the collecting thread, too: so that
 * one must be frozen as well while it wants the lock.
 */
#include <dlfcn.h>
#include <limits.h>

#include "../support/stress.h"

static mpg_waitgroup done;
static _Atomic uint64_t opened;

static void library_path(char *path) {
  ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 32);
  CHECK_GT(n, 0);
  path[n] = 0;
  *strrchr(path, '/') = 0;
  strcpy(strrchr(path, '/'), "/api/rootlib.so");
}

static void open_and_close(void *arg) {
  char *path = arg;
  while (!stress_over()) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    CHECK(dlsym(library, "rootlib_data") != NULL);
    CHECK_EQ(dlclose(library), 0);
    atomic_fetch_add(&opened, 1);
  }
  mpg_waitgroup_done(&done);
}

static void collect(void *arg) {
  (void) arg;
  while (!stress_over()) {
    mpg_gc();
    mpg_yield();
  }
  mpg_waitgroup_done(&done);
}

static void start(void *arg) {
  static char path[PATH_MAX];
  uint64_t rng = stress_seed(0);
  (void) arg;
  library_path(path);
  mpg_gomaxprocs(4);
  mpg_waitgroup_add(&done, 4);
  for (int i = 0; i < 2; i++) CHECK_GO(open_and_close, path);
  for (int i = 0; i < 2; i++) CHECK_GO(collect, NULL);
  while (!stress_over()) {
    mpg_gomaxprocs(3 + (int) stress_below(&rng, 4));
    mpg_yield();
  }
  mpg_waitgroup_wait(&done);
  CHECK_GT(atomic_load(&opened), 0);
}

int main(int argc, char **argv) { return stress_main(argc, argv, start); }

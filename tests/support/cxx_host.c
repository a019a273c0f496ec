/* cxx_host.c - a C program that uses mpg and opens a C++ library that does, so
 * that the C++ library comes to a process without one.  api/cxx_test.sh builds
 * and runs it.
 */
#include <dlfcn.h>
#include <mpg.h>
#include <stdio.h>

static void nothing(void *arg) { (void) arg; }

int main(int argc, char **argv) {
  int (*run)(void) = NULL;
  if (argc != 2 || mpg_run(nothing, NULL) != 0) return 1;
  void *library = dlopen(argv[1], RTLD_NOW);
  if (library) *(void **) &run = dlsym(library, "cxx_main");
  if (run) return run();
  puts(dlerror());
  return 1;
}

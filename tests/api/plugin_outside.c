/* plugin_outside.c - a program and, with -DPLUGIN, a library that it opens;
 * both were compiled with mpg's flags and linked with libmpg.so, by
 * install_test.sh.  The library's functions grow their stack, park, call the C
 * library, and run a loop that only preemption ends.
 */
#include <mpg.h>
#include <stdio.h>
#include <string.h>

#if defined(PLUGIN)

int plugin_descend(int depth);
void plugin_loop(void *arg);

int plugin_descend(int depth) {
  char text[100];
  snprintf(text, sizeof text, "%d %.2Lf", depth, 2.5L);
  if (depth % 64 == 0) mpg_yield();
  if (depth == 0) return 0;
  return plugin_descend(depth - 1) + (strstr(text, " 2.50") != NULL);
}

void plugin_loop(void *arg) {
  volatile int *go_on = arg;
  while (*go_on) {
  }
}

#else

#include <dlfcn.h>

enum { GOROUTINES = 50, DEPTH = 300 };

static int (*descend)(int depth);
static mpg_func loop;
static mpg_chan *results;
static int go_on = 1, status = 1;

static void worker(void *arg) {
  (void) arg;
  int depth = descend(DEPTH);
  mpg_chan_send(results, &depth);
}

static void start(void *path) {
  void *library = dlopen(path, RTLD_NOW);
  if (!library) {
    puts(dlerror());
    return;
  }
  *(void **) &descend = dlsym(library, "plugin_descend");
  *(void **) &loop = dlsym(library, "plugin_loop");
  if (!descend || !loop || mpg_text_add((void *) descend)) return;
  results = mpg_chan_new(sizeof(int), 0);
  for (int i = 0; i < GOROUTINES; i++) mpg_go(worker, NULL);
  for (int i = 0, depth; i < GOROUTINES; i++) {
    mpg_chan_recv(results, &depth);
    if (depth != DEPTH) return;
  }
  mpg_gomaxprocs(1);
  mpg_go(loop, &go_on);
  mpg_sleep(1000000);
  mpg_gc();
  go_on = 0;
  status = 0;
}

int main(int argc, char **argv) {
  if (argc != 2 || mpg_run(start, argv[1]) != 0) return 1;
  if (status == 0) puts("ok");
  return status;
}

#endif

/* nested_outside.c - built by nested_test.sh, for stacks that are executable:
 * nested functions called through pointers.
 *
 * nested_outside calls|maps: make the calls, print "ok"; or print what access
 * /proc/self/maps gives for the stacks of goroutines of each kind.
 */
#include <mpg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN __attribute__((noinline))

static mpg_waitgroup done;
static long calls, wrong;

/* ---- calls ---- */

static PLAIN int apply(int (*f)(int), int x) {
  volatile char pad[100];
  pad[x & 63] = 1;
  return f(x) + pad[x & 63] - 1;
}

#ifdef NESTED
static PLAIN int nested(int depth) {
  int k = depth + 5, n = 0, v[] = {3, 1, 2};
  int add(int x) {
    n++;
    return x + k;
  }
  int compare(const void *a, const void *b) {
    n++;
    return *(const int *) a - *(const int *) b;
  }
  if (apply(add, 2) != k + 2 || apply(add, 9) != k + 9) wrong++;
  qsort(v, 3, sizeof v[0], compare);
  if (v[0] != 1 || v[1] != 2 || v[2] != 3 || n < 4) wrong++;
  calls++;
  return n;
}
#else
static int nested(int depth) { return depth; }
#endif

/* The frame and the trampoline in it come to lie everywhere. */
static PLAIN int deeper(int depth) {
  volatile char pad[16];
  pad[depth & 15] = (char) depth;
  int n = depth ? deeper(depth - 1) : 0;
  if (depth % 7 == 0) n += nested(depth);
  if (pad[depth & 15] != (char) depth) wrong++;
  return n;
}

static void make_calls(void *arg) {
  nested(0);
  for (int depth = 1; depth < 120; depth++) {
    deeper(depth);
    if (depth % 20 == 0) mpg_yield();
  }
  (void) arg;
  mpg_waitgroup_done(&done);
}

/* ---- maps ---- */

static void print_access(const void *of) {
  char line[512], access[8];
  uintptr_t lo, hi, at = (uintptr_t) of;
  FILE *f = fopen("/proc/self/maps", "r");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "%lx-%lx %7s", &lo, &hi, access) == 3 && at >= lo &&
        at < hi)
      printf("%s\n", access);
  if (f) fclose(f);
}

static PLAIN void large_frame(void) {
  volatile char pad[3000000];
  pad[0] = 1;
  print_access((const char *) pad);
}

static void print_maps(void *arg) {
  char here;
  print_access(&here);
  if (arg) large_frame();
  mpg_waitgroup_done(&done);
}

static void on_each_kind(mpg_func fn) {
  static const unsigned flags[] = {0, MPG_GO_MOVABLE, MPG_GO_FIXED_STACK,
                                   MPG_GO_FIXED_STACK};
  for (int i = 0; i < 4; i++) {
    struct mpg_go_options o = {.size = sizeof o, .flags = flags[i]};
    if (i == 3) o.stack_bytes = 4 << 20;
    mpg_waitgroup_add(&done, 1);
    if (mpg_go_with(&o, fn, i != 2 ? &done : NULL) != 0) abort();
    mpg_waitgroup_wait(&done);
  }
}

static void start(void *arg) {
  const char *what = arg;
  bool maps = strcmp(what, "maps") == 0;
  on_each_kind(maps ? print_maps : make_calls);
  if (!maps) puts(wrong == 0 && calls > 1000 ? "ok" : "wrong");
}

int main(int argc, char **argv) {
  return mpg_run(start, argc > 1 ? argv[1] : "calls");
}

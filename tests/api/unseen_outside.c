/* unseen_outside.c - built by unseen_test.sh: code that takes more of a segment
 * than it was promised, and that neither linker nor prologue sees.
 *
 * unseen_outside plain|typed: the linker sees it.  untyped|chosen|aligned: it
 * doesn't.  foreign: as untyped, by mpg_foreign_call.  Prints "ok".
 */
#include <mpg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

int eat(int n);
int untyped(int n);
int typed(int n);
int chosen(int n);

static mpg_waitgroup done;

static NOINLINE int call_eat(int n) { return eat(n) + 1; }
static NOINLINE int call_typed(int n) { return typed(n) + 1; }
static NOINLINE int call_untyped(int n) { return untyped(n) + 1; }
static NOINLINE int call_chosen(int n) { return chosen(n) + 1; }

static void by_mpg(void *arg) { *(int *) arg = untyped(*(int *) arg); }
static NOINLINE int call_foreign(int n) {
  mpg_foreign_call(by_mpg, &n);
  return n + 1;
}

static NOINLINE int fill(volatile char *p, size_t n) {
  for (size_t i = 0; i < n; i++) p[i] = 1;
  return p[0];
}
static NOINLINE int call_aligned(int n) {
  _Alignas(4096) volatile char b[64];
  return fill(b, sizeof b) + n + 1;
}

static const struct way {
  const char *name;
  int (*fn)(int n);
} ways[] = {
    {"plain", call_eat},       {"typed", call_typed},
    {"untyped", call_untyped}, {"chosen", call_chosen},
    {"foreign", call_foreign}, {"aligned", call_aligned},
};

/* From everywhere in the first segment and in those after it. */
static NOINLINE int deeper(const struct way *w, int depth) {
  volatile char pad[32];
  pad[depth & 31] = 1;
  int n = depth ? deeper(w, depth - 1) : w->fn(5);
  return pad[depth & 31] == 1 ? n : -1;
}

static void task(void *arg) {
  const struct way *w = arg;
  for (int depth = 0; depth < 60; depth++)
    if (deeper(w, depth) != 7) abort();
  mpg_waitgroup_done(&done);
}

static void start(void *arg) {
  mpg_waitgroup_add(&done, 1);
  if (mpg_go(task, arg) != 0) abort();
  mpg_waitgroup_wait(&done);
  puts("ok");
}

int main(int argc, char **argv) {
  for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
    if (argc > 1 && strcmp(argv[1], ways[i].name) == 0)
      return mpg_run(start, (void *) &ways[i]);
  return 3;
}

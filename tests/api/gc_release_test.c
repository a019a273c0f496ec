/* gc_release_test.c - memory that is free goes back to the system, also while
 * every goroutine sleeps.  See gc_alloc_more_test.c too.
 */
#include "../support/check.h"

#define MIB ((size_t) 1 << 20)

static uint64_t mapped(void) {
  struct mpg_gc_stats s = {.size = sizeof(s)};
  CHECK_EQ(mpg_gc_stats_read(&s), 0);
  return s.heap_mapped;
}

/* Touch 64 MiB, small objects and large ones, and drop it all. */
static __attribute__((noinline)) void grow_and_drop(void) {
  void **keep = mpg_alloc(100000 * sizeof(void *));
  for (int i = 0; i < 100000; i++) {
    keep[i] = mpg_alloc(320);
    CHECK(keep[i] != NULL);
    memset(keep[i], 1, 320);
  }
  for (int i = 0; i < 32; i++) {
    char *p = mpg_alloc_noscan(MIB);
    CHECK(p != NULL);
    memset(p, 1, MIB);
    *(void **) p = keep[i];
    keep[i] = p;
  }
  memset(keep, 0, 100000 * sizeof(void *));
}

static void kept_objects_stay_intact(void *arg) {
  (void) arg;
  char **keep = mpg_alloc(1000 * sizeof(char *));
  for (int i = 0; i < 1000; i++) {
    for (int j = 0; j < 20; j++) keep[i] = mpg_alloc(1000);
    memset(keep[i], i, 1000);
  }
  mpg_release_memory();
  for (int i = 0; i < 1000; i++)
    for (int j = 0; j < 1000; j++) CHECK_EQ(keep[i][j], (char) i);
  /* What was given back reads zero when it is used again. */
  for (int i = 0; i < 20000; i++) {
    char *p = mpg_alloc(1000);
    CHECK(p[0] == 0 && p[999] == 0);
  }
}

/* Every goroutine sleeps, and sysmon deeply: nobody looks by chance. */
static void while_everybody_sleeps(void *arg) {
  (void) arg;
  grow_and_drop();
  mpg_gc();
  CHECK(mapped() > 30 * MIB);
  for (int i = 0; i < 12 && mapped() > 12 * MIB; i++)
    mpg_sleep(1100 * 1000 * 1000);
  CHECK(mapped() <= 12 * MIB);
}

static const struct check_case cases[] = {
    INSIDE(kept_objects_stay_intact),
    INSIDE(while_everybody_sleeps),
};

int main(int argc, char **argv) {
  return check_cases(cases, sizeof(cases) / sizeof(cases[0]), argc, argv, 60);
}

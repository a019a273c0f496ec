/* gc_release_test.c - memory that is free goes back to the system, also while
 * every goroutine sleeps.  See gc_alloc_more_test.c too.
 */
#include <fcntl.h>

#include "../support/check.h"
#include "../support/hide.h"

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

/* A list whose last object only the runtime's own old frames may know. */
static __attribute__((noinline)) void list_and_drop(void) {
  void **first = NULL;
  for (int i = 0; i < 20; i++) {
    void **p = mpg_alloc(MIB);
    CHECK(p != NULL);
    p[0] = first;
    first = p;
  }
  mpg_keep_alive(first);
}

static void release(void) { mpg_release_memory(); }

static void dump(void) {
  int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
  CHECK_EQ(mpg_heap_dump(fd), 0);
  CHECK_EQ(close(fd), 0);
}

static void look(void) { mpg_leaked_goroutines(-1); }

static void the_last_large_object_dies(void *arg) {
  (void) arg;
  void (*const collect[])(void) = {mpg_gc, release, dump, look};
  for (int i = 0; i < 4; i++) {
    list_and_drop();
    hide_scrub();
    collect[i]();
    struct mpg_gc_stats s = {.size = sizeof(s)};
    CHECK_EQ(mpg_gc_stats_read(&s), 0);
    CHECK(s.heap_live < MIB);
  }
}

static const struct check_case cases[] = {
    INSIDE(kept_objects_stay_intact),
    INSIDE(while_everybody_sleeps),
    INSIDE(the_last_large_object_dies),
};

int main(int argc, char **argv) {
  return check_cases(cases, sizeof(cases) / sizeof(cases[0]), argc, argv, 60);
}

/* debug_profile_test.c - the heap profile says who allocated what.
 *
 * tests/support/check_profile.py reads the files; pprof does, too, where Go is
 * installed.
 */
#include <errno.h>
#include <fcntl.h>

#include "../support/hide.h"

static char path[] = "/tmp/mpg_profile_test.XXXXXX";

static int write_profile(void) {
  int fd = open(path, O_WRONLY | O_TRUNC);
  CHECK_GE(fd, 0);
  int rc = mpg_heap_profile(fd);
  close(fd);
  return rc;
}

/* wanted: quadruples of check_profile.py. */
static void check_file(const char *wanted) {
  char command[4096];
  snprintf(command, sizeof(command), "%s/support/check_profile.py %s %s",
           TESTS_FOLDER, path, wanted);
  CHECK_EQ(system(command), 0);
}

static void check_profile(const char *wanted) {
  CHECK_EQ(write_profile(), 0);
  check_file(wanted);
}

/* ---- every object ---- */

static void *kept[4096];

__attribute__((noinline)) static void keep_some(size_t n, size_t bytes) {
  for (size_t i = 0; i < n; i++) kept[i] = mpg_alloc(bytes);
  __asm__ volatile("");
}

__attribute__((noinline)) static void drop_some(size_t n, size_t bytes) {
  for (size_t i = 0; i < n; i++) {
    void *p = mpg_alloc_noscan(bytes);
    CHECK_OPAQUE(p);
  }
  __asm__ volatile("");
}

/* 100 has a cell of 112 bytes, with its zone one of 128; 100,000 has one of 13
 * pages. */
static void rate_one_counts_exactly(void *arg) {
  char wanted[512];
  (void) arg;
  mpg_heap_profile_rate(1);
  keep_some(1000, 100);
  drop_some(20, 100000);
  hide_scrub();
  int cells = check_switch("redzone") ? 128000 : 112000;
  snprintf(
      wanted, sizeof wanted,
      "alloc_objects keep_some 1000 1000 alloc_space keep_some %d %d "
      "inuse_objects keep_some 1000 1000 inuse_space keep_some %d %d "
      "alloc_objects drop_some 20 20 alloc_space drop_some 2129920 2129920",
      cells, cells, cells, cells);
  check_profile(wanted);
  memset(kept, 0, sizeof kept);
  mpg_gc();
  mpg_gc();
  check_profile(
      "alloc_objects keep_some 1000 1000 inuse_objects keep_some 0 5 "
      "inuse_objects drop_some 0 2");
}

__attribute__((noinline)) static void free_some(size_t n, size_t bytes) {
  for (size_t i = 0; i < n; i++) kept[i] = mpg_alloc(bytes);
  for (size_t i = 0; i < n; i++) mpg_free(kept[i]);
  memset(kept, 0, sizeof kept);
}

__attribute__((noinline)) static void *grow_one(size_t bytes) {
  void *p = NULL;
  for (size_t n = 16; n <= bytes; n *= 2) p = mpg_realloc(p, n);
  CHECK_OPAQUE(p); /* no jump in place of the last call */
  return p;
}

static void explicit_free_is_seen(void *arg) {
  char wanted[256];
  (void) arg;
  mpg_heap_profile_rate(1);
  free_some(500, 40);
  kept[0] = grow_one(1024);
  int cell = check_switch("redzone") ? 1168 : 1040;
  snprintf(wanted, sizeof wanted,
           "alloc_objects free_some 500 500 inuse_objects free_some 0 0 "
           "inuse_objects grow_one 1 1 inuse_space grow_one %d %d",
           cell, cell);
  check_profile(wanted);
  kept[0] = NULL;
}

__attribute__((noinline)) static void *resize_large(void *p, size_t bytes) {
  p = mpg_realloc(p, bytes);
  CHECK_OPAQUE(p); /* no jump in place of the call */
  return p;
}

/* In its place or not, it is one object of its size. */
static void resized_objects_are_as_large_as_they_are(void *arg) {
  (void) arg;
  mpg_heap_profile_rate(1);
  for (size_t kib = 100; kib <= 1000; kib += 100)
    kept[0] = resize_large(kept[0], kib << 10);
  check_profile(
      "inuse_objects resize_large 1 1 "
      "inuse_space resize_large 1024000 1040384");
  kept[0] = resize_large(kept[0], 96 << 10);
  check_profile(
      "inuse_objects resize_large 1 1 inuse_space resize_large 98304 106496");
  mpg_free(kept[0]);
  kept[0] = NULL;
  check_profile("inuse_objects resize_large 0 0 inuse_space resize_large 0 0");
}

static void zero_stops_sampling(void *arg) {
  (void) arg;
  mpg_heap_profile_rate(1);
  drop_some(10, 50);
  CHECK_EQ(mpg_heap_profile_rate(0), 1);
  CHECK_EQ(mpg_heap_profile_rate(-1), 0);
  keep_some(100, 50);
  check_profile(
      "alloc_objects drop_some 30 30 alloc_objects keep_some "
      "1000 1000");
  mpg_heap_profile_rate(512 << 10);
}

/* ---- samples ---- */

__attribute__((noinline)) static void churn_small(size_t n) {
  for (size_t i = 0; i < n; i++) {
    void *p = mpg_alloc(32 + i % 7 * 100);
    CHECK_OPAQUE(p);
  }
  __asm__ volatile("");
}

__attribute__((noinline)) static void churn_large(size_t n) {
  for (size_t i = 0; i < n; i++) {
    void *p = mpg_alloc_noscan(50000);
    CHECK_OPAQUE(p);
  }
  __asm__ volatile("");
}

/* 280,000 objects of 7 cells: 48, 144, 240, 336, 448, 544, 640 or so; with a
 * sample in 16 KiB the deviation is below 2 %. */
static void estimates_are_unbiased(void *arg) {
  (void) arg;
  mpg_heap_profile_rate(16 << 10);
  struct mpg_gc_stats a = {.size = sizeof a}, b = {.size = sizeof b};
  mpg_gc_stats_read(&a);
  churn_small(280000);
  mpg_gc_stats_read(&b);
  churn_large(4000);
  char wanted[512];
  double bytes = (double) (b.total_alloc_bytes - a.total_alloc_bytes);
  snprintf(wanted, sizeof wanted,
           "alloc_objects churn_small 240000 320000 "
           "alloc_space churn_small %.0f %.0f "
           "alloc_objects churn_large 3700 4300 "
           "alloc_space churn_large 212000000 246000000",
           bytes * 0.92, bytes * 1.08);
  check_profile(wanted);
}

/* The cells are their holes' again. */
__attribute__((noinline)) static void pass_through(void) {
  for (size_t n = 1000; n < 32000; n += 1000) mpg_free(mpg_alloc(n));
}

__attribute__((noinline)) static void large_after_gc(void) {
  void *p = mpg_alloc_noscan(50000);
  CHECK_OPAQUE(p);
  mpg_free(p);
}

/* A collection ends the holes of 500 KB that passed through.  That is nothing
 * to who comes next: 27 MB of large objects, a standard deviation of 2.4. */
static void who_comes_after_a_collection_is_met(void *arg) {
  (void) arg;
  mpg_heap_profile_rate(256 << 10);
  for (size_t i = 0; i < 500; i++) {
    pass_through();
    mpg_gc();
    large_after_gc();
  }
  check_profile("alloc_space large_after_gc 16000000 38000000");
  mpg_heap_profile_rate(512 << 10);
}

/* ---- from everywhere at once ---- */

static mpg_waitgroup done;
static _Atomic bool enough;

/* What an object allocated while it was small, and gave back, is not taken for
 * what it is when it is large: 33 MB are live, 500 passed through.  A standard
 * deviation is 2.8 MB. */
static void growing_objects_are_estimated_right(void *arg) {
  (void) arg;
  mpg_heap_profile_rate(256 << 10);
  for (size_t i = 0; i < 1000; i++)
    for (size_t n = 1000; n <= 32000; n += 1000)
      kept[i] = resize_large(kept[i], n);
  check_profile("inuse_space resize_large 20000000 46000000");
  memset(kept, 0, sizeof kept);
  mpg_heap_profile_rate(512 << 10);
}

__attribute__((noinline)) static void worker(void *arg) {
  void *list = NULL;
  for (int i = 0; !atomic_load(&enough); i++) {
    void **node = mpg_alloc(16 + (size_t) i % 2000);
    node[0] = i % 100 ? list : NULL;
    list = node;
    if (i % 3 == 0) mpg_free(mpg_alloc(48));
  }
  mpg_waitgroup_done(arg);
}

static void many_threads_and_changes(void *arg) {
  (void) arg;
  int before = mpg_gomaxprocs(4);
  atomic_store(&enough, false);
  mpg_waitgroup_add(&done, 4);
  for (int i = 0; i < 4; i++) CHECK_GO(worker, &done);
  for (int i = 0; i < 20; i++) {
    mpg_heap_profile_rate(i % 4 ? 1 << (i % 13) : 0);
    mpg_sleep(5000000);
    CHECK_EQ(write_profile(), 0);
    if (i % 5 == 0) mpg_gc();
  }
  atomic_store(&enough, true);
  mpg_waitgroup_wait(&done);
  check_profile("alloc_objects worker 1000 1000000000000");
  mpg_gomaxprocs(before);
  mpg_heap_profile_rate(512 << 10);
}

static void lines_are_those_of_the_calls(void *arg) {
  char wanted[128];
  (void) arg;
  mpg_heap_profile_rate(1);
  int line = __LINE__ + 1;
  kept[0] = mpg_alloc(777);
  /* Without libdw there are no lines. */
  if (access("/usr/lib/x86_64-linux-gnu/libdw.so.1", R_OK) != 0) line = 0;
  snprintf(wanted, sizeof wanted,
           "inuse_objects lines_are_those_of_the_calls:%d 1 1", line);
  check_profile(wanted);
  mpg_heap_profile_rate(512 << 10);
}

static void pprof_reads_it(void *arg) {
  char command[512], line[512];
  (void) arg;
  mpg_heap_profile_rate(1);
  keep_some(4000, 3000);
  CHECK_EQ(write_profile(), 0);
  if (system("go tool pprof -help >/dev/null 2>&1") == 127 * 256) return;
  snprintf(command, sizeof command,
           "go tool pprof -top -sample_index=inuse_space %s 2>/dev/null", path);
  FILE *f = popen(command, "r");
  CHECK(f != NULL);
  int found = 0, lines = 0;
  while (fgets(line, sizeof line, f)) {
    found += strstr(line, "keep_some") != NULL;
    lines++;
  }
  pclose(f);
  CHECK(found > 0 || lines == 0); /* 0: a go without pprof */
  mpg_heap_profile_rate(512 << 10);
}

/* ---- errors ---- */

static void errors_are_returned(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_heap_profile(-1), -EBADF);
  CHECK_EQ(mpg_heap_profile(999), -EBADF);
  int fd = open("/dev/full", O_WRONLY);
  CHECK_GE(fd, 0);
  CHECK_EQ(mpg_heap_profile(fd), -ENOSPC);
  close(fd);
  int p[2];
  CHECK_EQ(pipe(p), 0);
  close(p[0]);
  CHECK_EQ(mpg_heap_profile(p[1]), -EPIPE);
  close(p[1]);
}

static void remove_file(void) { unlink(path); }

static const struct check_case cases[] = {
    INSIDE(rate_one_counts_exactly),
    INSIDE(explicit_free_is_seen),
    INSIDE(resized_objects_are_as_large_as_they_are),
    INSIDE(growing_objects_are_estimated_right),
    INSIDE(who_comes_after_a_collection_is_met),
    INSIDE(zero_stops_sampling),
    INSIDE(estimates_are_unbiased),
    INSIDE(many_threads_and_changes),
    INSIDE(lines_are_those_of_the_calls),
    INSIDE(pprof_reads_it),
    INSIDE(errors_are_returned),
};

int main(int argc, char **argv) {
  int fd = mkstemp(path);
  CHECK_GE(fd, 0);
  close(fd);
  atexit(remove_file);
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 30);
}

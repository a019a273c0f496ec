/* gc_dump_test.c - the heap dump names what is live, and by whom. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "../support/hide.h"

static void *top; /* global: a root */

/* The number of lines `what [any address] object`. */
static size_t lines(FILE *f, const char *what, bool address, const void *obj) {
  char line[256], want[64];
  size_t n = 0, skip = strlen(what);
  snprintf(want, sizeof want, " %p", obj);
  rewind(f);
  while (fgets(line, sizeof line, f)) {
    if (strncmp(line, what, skip) != 0 || line[skip] != ' ') continue;
    char *at = line + skip;
    if (address && !(at = strchr(at + 1, ' '))) continue;
    size_t length = strlen(want);
    n += strncmp(at, want, length) == 0 &&
         (at[length] == ' ' || at[length] == 10);
  }
  return n;
}

static FILE *dump(void) {
  FILE *f = tmpfile();
  CHECK(f != NULL);
  CHECK_EQ(mpg_heap_dump(fileno(f)), 0);
  char line[64];
  rewind(f);
  CHECK(fgets(line, sizeof line, f) != NULL);
  CHECK(strcmp(line, "mpg heap dump 1\n") == 0);
  return f;
}

static void names_objects_and_referrers(void *arg) {
  (void) arg;
  void **a = mpg_alloc(200), **b = mpg_alloc_noscan(100000), **c;
  size_t offset = 8;
  c = mpg_alloc_typed(mpg_type_new(16, &offset, 1), 1);
  top = a;
  a[3] = c;
  a[4] = (char *) b + 500;
  c[1] = b;
  FILE *f = dump();
  CHECK_EQ(lines(f, "object", false, a), 1);
  CHECK_EQ(lines(f, "object", false, b), 1);
  CHECK_EQ(lines(f, "object", false, c), 1);
  CHECK_GE(lines(f, "root", true, a), 1);
  CHECK_EQ(lines(f, "ref", true, c), 1);
  CHECK_EQ(lines(f, "ref", true, b), 2);
  CHECK_EQ(lines(f, "object", false, &top), 0);
  fclose(f);
}

/* Lines `entry key map value`. */
static size_t entries(FILE *f, void *key, void *map, void *value) {
  char line[256], want[128];
  size_t n = 0;
  snprintf(want, sizeof want, "entry %p %p %p\n", key, map, value);
  rewind(f);
  while (fgets(line, sizeof line, f)) n += strcmp(line, want) == 0;
  return n;
}

static void names_entries_of_weak_maps(void *arg) {
  (void) arg;
  void **all = mpg_alloc(4 * sizeof(void *)), *key = mpg_alloc(16);
  mpg_weakmap *one = mpg_weakmap_new(), *other = mpg_weakmap_new();
  char *value = mpg_alloc(40);
  top = all;
  all[0] = key;
  all[1] = one;
  all[2] = other;
  CHECK_EQ(mpg_weakmap_set(one, key, value + 8), 0);
  CHECK_EQ(mpg_weakmap_set(other, key, (void *) 42), 0); /* no object */
  FILE *f = dump();
  CHECK_EQ(entries(f, key, one, value), 1);
  CHECK_EQ(lines(f, "entry", false, key), 1);
  CHECK_EQ(lines(f, "object", false, value), 1);
  fclose(f);
  CHECK_EQ(mpg_weakmap_delete(one, key), 0);
  f = dump();
  CHECK_EQ(lines(f, "entry", false, key), 0);
  fclose(f);
}

static __attribute__((noinline)) void make_garbage(hidden *h) {
  for (uintptr_t i = 0; i < 100; i++) h[i] = hide_new(i);
}

static void leaves_garbage_out(void *arg) {
  hidden h[100];
  size_t n = 0;
  (void) arg;
  make_garbage(h);
  hide_scrub();
  FILE *f = dump();
  for (int i = 0; i < 100; i++) n += lines(f, "object", false, unhide(h[i]));
  CHECK_LE(n, 5);
  fclose(f);
}

static void goes_on_afterwards(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_heap_dump(-1), -EBADF);
  int fd = open("/dev/null", O_WRONLY);
  CHECK_GE(fd, 0);
  for (int i = 0; i < 20; i++) {
    for (uintptr_t k = 0; k < 2000; k++) top = hide_object(k);
    CHECK_EQ(mpg_heap_dump(fd), 0);
    CHECK(hide_alive(hide(top), 1999));
  }
  close(fd);
}

/* A connection that has ended, as a client's may at any time. */
static void nobody_reads(void *arg) {
  (void) arg;
  int s[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
  CHECK_EQ(close(s[0]), 0);
  CHECK_EQ(mpg_heap_dump(s[1]), -EPIPE);
  mpg_traceback_all(s[1]);
  CHECK_EQ(mpg_write(s[1], "x", 1), -EPIPE);
  CHECK_EQ(close(s[1]), 0);
}

static void says_why_it_is_not_whole(void *arg) {
  (void) arg;
  int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  int not_for_writing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  CHECK(full >= 0 && not_for_writing >= 0);
  CHECK_EQ(mpg_heap_dump(full), -ENOSPC);
  CHECK_EQ(mpg_heap_dump(not_for_writing), -EBADF);
  CHECK_EQ(close(full), 0);
  CHECK_EQ(close(not_for_writing), 0);
}

static void *read_slowly(void *arg) {
  static char text[4096];
  long all = 0, n;
  while ((n = read(*(int *) arg, text, sizeof text)) > 0) {
    all += n;
    nanosleep(&(struct timespec){0, 10000}, NULL);
  }
  return (void *) all;
}

/* It isn't cut off where the pipe is full. */
static void somebody_reads_slowly(void *arg) {
  (void) arg;
  enum { OBJECTS = 20000 };
  pthread_t t;
  void *all, **list = NULL;
  int p[2];
  for (int i = 0; i < OBJECTS; i++) {
    void **more = mpg_alloc(sizeof *more);
    *more = list;
    list = more;
  }
  CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
  CHECK_EQ(fcntl(p[1], F_SETFL, O_NONBLOCK), 0);
  CHECK_EQ(pthread_create(&t, NULL, read_slowly, p), 0);
  CHECK_EQ(mpg_heap_dump(p[1]), 0);
  CHECK_EQ(close(p[1]), 0);
  CHECK_EQ(pthread_join(t, &all), 0);
  CHECK_GT((long) all, OBJECTS * (long) strlen("object 0x 16 scan\n"));
  mpg_keep_alive(list);
}

static const struct check_case cases[] = {
    INSIDE(names_objects_and_referrers),
    INSIDE(names_entries_of_weak_maps),
    INSIDE(leaves_garbage_out),
    INSIDE(goes_on_afterwards),
    INSIDE(nobody_reads),
    INSIDE(says_why_it_is_not_whole),
    INSIDE(somebody_reads_slowly),
};

int main(int argc, char **argv) {
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 30);
}

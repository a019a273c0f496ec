/* valgrind_program.c - run under memcheck by tests/api/valgrind_test.sh.
 *
 * usage: valgrind_program clean|faulty
 *   clean    goroutines that grow, park, are preempted and collected: no error
 *   faulty   and one that reads what it freed, and what it hasn't written
 */
#include <mpg.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN __attribute__((noinline))

static mpg_chan *c;
static mpg_waitgroup wg;
static int faulty;

static PLAIN long descend(int depth, long *below) {
  long here[20];
  memset(here, 0, sizeof(here));
  here[depth % 20] = depth + *below;
  return depth == 0 ? here[0] : 1 + descend(depth - 1, &here[depth % 20]);
}

static PLAIN int read_freed(void) {
  int *volatile p = malloc(4 * sizeof(int));
  p[1] = 7;
  free((void *) p);
  return p[1];
}

static PLAIN void branch_on_unwritten(void) {
  int *volatile p = malloc(4 * sizeof(int));
  if (p[1] == 7) puts("seven");
  free((void *) p);
}

/* ---- what the collector reads need not be initialised ---- */

#define OBJECT_BYTES 800

static PLAIN int leave_pointers(void) {
  void *volatile p[64];
  for (int i = 0; i < 64; i++) p[i] = mpg_alloc(OBJECT_BYTES);
  return p[0] != NULL;
}

static PLAIN int collect_above(void) {
  volatile char room[1024];
  room[0] = 0;
  mpg_gc();
  return room[0];
}

/* Memory comes from between what was found by such words. */
static PLAIN void allocate_after_stale_pointers(void) {
  if (!leave_pointers() || collect_above()) exit(5);
  for (int i = 0; i < 64; i++) {
    char *p = mpg_alloc(OBJECT_BYTES);
    if (!p || *p) exit(5);
  }
}

/* And out of magazines, where it lies cell by cell. */
static PLAIN int leave_pointers_between(char **kept) {
  void *volatile p[64];
  for (int i = 0; i < 64; i++) {
    p[i] = mpg_alloc(24);
    kept[i] = mpg_alloc(24);
  }
  return p[0] != NULL;
}

static PLAIN void allocate_between(void) {
  char **kept = mpg_alloc(64 * sizeof(*kept));
  if (!leave_pointers_between(kept) || collect_above()) exit(5);
  for (int i = 0; i < 64; i++) {
    char *p = mpg_alloc(24);
    if (!p || *p || !kept[i]) exit(5);
  }
}

static void worker(void *arg) {
  long zero = 0, got = descend(200, &zero);
  char **objects = mpg_alloc(100 * sizeof(*objects)), text[40];
  for (int i = 0; i < 100; i++) {
    snprintf(text, sizeof(text), "%ld %d", got, i);
    objects[i] = mpg_strdup(text);
  }
  mpg_chan_send(c, &got);
  for (volatile int i = 0; i < 200000; i = i + 1) continue;
  if (strcmp(objects[7] + strlen(objects[7]) - 1, "7") != 0) exit(3);
  if (faulty && arg) {
    printf("%d\n", read_freed());
    branch_on_unwritten();
  }
  mpg_waitgroup_done(&wg);
}

static void start(void *arg) {
  (void) arg;
  allocate_after_stale_pointers();
  allocate_between();
  c = mpg_chan_new(sizeof(long), 0);
  mpg_waitgroup_add(&wg, 40);
  for (intptr_t i = 0; i < 40; i++) {
    struct mpg_go_options opt = {.size = sizeof(opt),
                                 .flags = i % 3 ? 0 : MPG_GO_MOVABLE};
    if (mpg_go_with(&opt, worker, (void *) (intptr_t) (i == 20)) != 0) exit(3);
  }
  for (int i = 0; i < 40; i++) {
    long got;
    if (!mpg_chan_recv(c, &got) || got < 200) exit(4);
    if (i % 10 == 0) mpg_gc();
  }
  mpg_waitgroup_wait(&wg);
  mpg_gc();
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  faulty = strcmp(argv[1], "faulty") == 0;
  return mpg_run(start, NULL);
}

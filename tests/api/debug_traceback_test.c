/* debug_traceback_test.c - tracebacks: every frame, wherever a goroutine is. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>

#include "../support/check.h"
#include "../support/noinline.h"
#include "../support/traceback.h"

/* The call before isn't the function's last act. */
#define NO_TAIL_CALL CHECK_OPAQUE(gate)

static mpg_chan *gate;
static _Atomic int there;
static _Atomic bool enough;

/* The part of the text about the goroutine that was started with this name. */
static char *about(char *text, const char *name) {
  char head[100];
  snprintf(head, sizeof(head), "]: %s\n", name);
  char *at = strstr(text, head);
  if (!at) fprintf(stderr, "%s", text);
  CHECK(at != NULL);
  char *end = strstr(at, "\n\ngoroutine ");
  if (end) *end = '\0';
  while (at > text && strncmp(at, "goroutine ", 10) != 0) at--;
  return at;
}

/* In this order, from the innermost on. */
static void check_order(const char *text, const char *const *names) {
  const char *at = text;
  for (; *names; names++) {
    at = strstr(at, *names);
    if (!at) fprintf(stderr, "%s\nno %s\n", text, *names);
    CHECK(at != NULL);
  }
}

/* Lines are known when the library that reads them is there. */
static void check_lines(const char *text, int at_least) {
  if (!dlopen("libdw.so.1", RTLD_NOW)) return;
  CHECK_GE(count(text, "debug_traceback_test.c:"), at_least);
}

static NOINLINE void start(mpg_func fn, const char *name) {
  struct mpg_go_options o = {.size = sizeof(o), .name = name};
  CHECK_EQ(mpg_go_with(&o, fn, NULL), 0);
}

static void begin(void) {
  gate = mpg_chan_new(0, 0);
  atomic_store(&there, 0);
  atomic_store(&enough, false);
}

static void end(void) {
  atomic_store(&enough, true);
  mpg_chan_close(gate);
}

/* ---- parked, through segments ---- */

static NOINLINE long descend(int depth) {
  volatile char frame[300];
  frame[0] = (char) depth;
  if (depth == 0) {
    mpg_chan_recv(gate, NULL);
    return frame[0];
  }
  return descend(depth - 1) + frame[0];
}

static void deep(void *arg) {
  (void) arg;
  descend(40);
  NO_TAIL_CALL;
}

static void frames_through_segments(void *arg) {
  (void) arg;
  begin();
  start(deep, "deep");
  char *text = traceback_when(1, "[chan receive"), *it = about(text, "deep");
  CHECK_EQ(count(it, "descend(...)"), 41);
  check_order(
      it, (const char *const[]){"[chan receive", "descend(...)", "deep(...)",
                                "created by start in goroutine 1", NULL});
  check_lines(it, 43);
  free(text);
  end();
}

static void deeper(void *arg) {
  (void) arg;
  descend(300);
  NO_TAIL_CALL;
}

static void many_frames_are_elided(void *arg) {
  (void) arg;
  begin();
  start(deeper, "deeper");
  char *text = traceback_when(1, "[chan receive"), *it = about(text, "deeper");
  CHECK_EQ(count(it, "descend(...)"), 100);
  CHECK_EQ(count(it, "...additional frames elided..."), 1);
  CHECK_EQ(count(it, "created by start in goroutine 1"), 1);
  free(text);
  end();
}

/* ---- running ---- */

static NOINLINE void leaf(void) {
  atomic_fetch_add(&there, 1);
  while (!atomic_load_explicit(&enough, memory_order_relaxed)) continue;
}

static NOINLINE void calls_leaf(void) {
  leaf();
  NO_TAIL_CALL;
}

static void loops(void *arg) {
  (void) arg;
  calls_leaf();
  NO_TAIL_CALL;
}

static void frames_of_one_that_runs(void *arg) {
  (void) arg;
  begin();
  start(loops, "loops");
  CHECK_EVENTUALLY(atomic_load(&there) == 1);
  for (int i = 0; i < 20; i++) {
    char *text = traceback(), *it = about(text, "loops");
    check_order(it, (const char *const[]){"leaf(...)", "calls_leaf(...)",
                                          "loops(...)", "created by", NULL});
    CHECK_EQ(count(it, "leaf(...)"), 2);
    mpg_yield();
    free(text);
  }
  end();
}

static void frames_of_the_preempted(void *arg) {
  mpg_gomaxprocs(1);
  frames_of_one_that_runs(arg);
}

static int compare(const void *a, const void *b) {
  if (!atomic_load(&enough)) {
    atomic_store(&there, 1);
    while (!atomic_load_explicit(&enough, memory_order_relaxed)) continue;
  }
  return *(const int *) a - *(const int *) b;
}

static NOINLINE void sorts(void) {
  int v[4] = {3, 1, 2, 0};
  qsort(v, 4, sizeof(*v), compare);
  CHECK_EQ(v[3], 3);
}

static void sorter(void *arg) {
  (void) arg;
  sorts();
  NO_TAIL_CALL;
}

static void frames_through_foreign_code(void *arg) {
  (void) arg;
  begin();
  start(sorter, "sorter");
  CHECK_EVENTUALLY(atomic_load(&there) == 1);
  char *text = traceback(), *it = about(text, "sorter");
  check_order(it, (const char *const[]){"compare(...)", "qsort", "sorts(...)",
                                        "sorter(...)", NULL});
  free(text);
  end();
}

/* ---- in a system call ---- */

static void block(void *arg) {
  (void) arg;
  atomic_fetch_add(&there, 1);
  while (!atomic_load(&enough)) usleep(1000);
}

static NOINLINE void blocks(void) {
  mpg_blocking(block, NULL);
  NO_TAIL_CALL;
}

static void blocker(void *arg) {
  (void) arg;
  blocks();
  NO_TAIL_CALL;
}

static NOINLINE void enters(void) {
  mpg_syscall_enter();
  block(NULL);
  mpg_syscall_exit();
}

static void enterer(void *arg) {
  (void) arg;
  enters();
  NO_TAIL_CALL;
}

static void frames_in_system_calls(void *arg) {
  (void) arg;
  begin();
  start(blocker, "blocker");
  start(enterer, "enterer");
  CHECK_EVENTUALLY(atomic_load(&there) == 2);
  char *text = traceback(), *it = about(text, "enterer");
  check_order(it, (const char *const[]){"[syscall]", "enters(...)",
                                        "enterer(...)", NULL});
  free(text);
  text = traceback();
  it = about(text, "blocker");
  check_order(it, (const char *const[]){"[syscall]", "mpg_blocking(...)",
                                        "blocks(...)", "blocker(...)", NULL});
  free(text);
  end();
}

/* ---- one that never ran, and oneself ---- */

static void never_ran(void *arg) { (void) arg; }

static void frames_of_the_new_and_of_oneself(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  begin();
  int fd = traceback_file();
  mpg_preempt_disable(); /* or the new one ran already */
  start(never_ran, "new");
  char *text = traceback_by(fd);
  mpg_preempt_enable();
  check_order(text, (const char *const[]){
                        "goroutine 1 [running]:", "traceback_by(...)",
                        "frames_of_the_new_and_of_oneself(...)", NULL});
  check_order(about(text, "new"),
              (const char *const[]){"[runnable]", "never_ran(...)",
                                    "created by start", NULL});
  free(text);
  end();
}

static void more_than_one_pass(void *arg) {
  (void) arg;
  begin();
  for (int i = 0; i < 3000; i++) CHECK_GO(deep, NULL);
  char *text = traceback_when(3000, "[chan receive");
  CHECK_EQ(count(text, "\ngoroutine "), 3001);
  CHECK_EQ(count(text, "deep(...)"), 3000);
  free(text);
  end();
}

static void locked(void *arg) {
  (void) arg;
  mpg_lock_thread();
  mpg_chan_recv(gate, NULL);
  mpg_unlock_thread();
}

static void a_locked_thread_is_said(void *arg) {
  (void) arg;
  begin();
  start(locked, "locked");
  char *text = traceback_when(1, "[chan receive");
  CHECK_EQ(count(about(text, "locked"), "[chan receive, locked to thread]:"),
           1);
  free(text);
  end();
}

/* libdw's own failures are its own. */
static void errno_is_left_alone(void *arg) {
  (void) arg;
  int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
  mpg_lock_thread(); /* it writes without its P */
  for (int i = 0; i < 3; i++) {
    errno = 12345;
    mpg_traceback_all(fd);
    CHECK_EQ(errno, 12345);
  }
  mpg_unlock_thread();
  CHECK_EQ(close(fd), 0);
}

static const struct check_case cases[] = {
    INSIDE(frames_through_segments),
    INSIDE(many_frames_are_elided),
    INSIDE(frames_of_one_that_runs),
    INSIDE(frames_through_foreign_code),
    INSIDE(frames_in_system_calls),
    INSIDE(a_locked_thread_is_said),
    INSIDE(more_than_one_pass),
    INJECTS(frames_of_the_preempted),
    INSIDE(frames_of_the_new_and_of_oneself),
    INSIDE(errno_is_left_alone),
};

int main(int argc, char **argv) {
  mpg_gomaxprocs(2);
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 20);
}

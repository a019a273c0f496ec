/* debug_leak_test.c - goroutines that nobody can ever wake. */
#include <fcntl.h>

#include "../support/check.h"
#include "../support/noinline.h"

static mpg_chan *global;
static mpg_waitgroup there;
static _Atomic int woken;

/* What earlier calls left on the stack must hide nothing. */
static NOINLINE void wipe_stack(void) {
  volatile char junk[2000];
  for (size_t i = 0; i < sizeof(junk); i++) junk[i] = 0;
}

static void receives(void *c) {
  mpg_waitgroup_done(&there);
  mpg_chan_recv(c, NULL);
  atomic_fetch_add(&woken, 1);
}

static void sends(void *c) {
  long x = 1;
  mpg_waitgroup_done(&there);
  mpg_chan_send(c, &x);
}

static void locks(void *m) {
  mpg_waitgroup_done(&there);
  mpg_mutex_lock(m);
}

static void selects(void *arg) {
  mpg_chan **c = arg;
  struct mpg_select_case cases[2] = {{.chan = c[0], .dir = MPG_RECV},
                                     {.chan = c[1], .dir = MPG_RECV}};
  mpg_waitgroup_done(&there);
  mpg_select(cases, 2);
}

static void waits_for_nothing(void *arg) {
  (void) arg;
  mpg_waitgroup_done(&there);
  mpg_chan_recv(NULL, NULL);
}

static void sleeps(void *arg) {
  (void) arg;
  mpg_waitgroup_done(&there);
  mpg_sleep(INT64_C(3600) * 1000 * 1000 * 1000);
}

/* Two that wait for each other, reachable from nowhere else. */
static void waits_with_partner(void *arg) {
  mpg_chan **pair = arg; /* mine, and the partner's */
  mpg_waitgroup_done(&there);
  mpg_chan_recv(pair[0], NULL);
  mpg_chan_close(pair[1]);
}

static void start(mpg_func fn, void *arg) {
  mpg_waitgroup_add(&there, 1);
  CHECK_GO(fn, arg);
}

static NOINLINE void start_leaking(void) {
  start(receives, mpg_chan_new(0, 0));
  start(sends, mpg_chan_new(sizeof(long), 0));
  mpg_mutex *m = mpg_alloc(sizeof(*m));
  mpg_mutex_lock(m);
  start(locks, m);
  mpg_chan **two = mpg_alloc(2 * sizeof(*two));
  two[0] = mpg_chan_new(0, 0);
  two[1] = mpg_chan_new(0, 0);
  start(selects, two);
  mpg_chan **pair = mpg_alloc(2 * sizeof(*pair));
  mpg_chan **riap = mpg_alloc(2 * sizeof(*riap));
  pair[0] = riap[1] = mpg_chan_new(0, 0);
  pair[1] = riap[0] = mpg_chan_new(0, 0);
  start(waits_with_partner, pair);
  start(waits_with_partner, riap);
  start(waits_for_nothing, NULL);
}

/* On a goroutine of its own, whose stack is gone when it is over. */
static void start_leaking_goroutine(void *arg) {
  (void) arg;
  start_leaking();
  mpg_waitgroup_done(&there);
}

static void settle(void) {
  mpg_waitgroup_wait(&there);
  mpg_sleep(5 * 1000 * 1000); /* from done to parked */
  wipe_stack();
}

/* Some may not be parked yet, and a stale word may hide some for a while. */
static void leaks_become(int n) {
  CHECK_EVENTUALLY(mpg_leaked_goroutines(-1) == n);
}

static void leaks_are_counted(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_leaked_goroutines(-1), 0);
  start(start_leaking_goroutine, NULL);
  settle();
  leaks_become(7);
  CHECK_EQ(mpg_num_goroutines(), 8);
}

static void leaks_are_printed(void *arg) {
  (void) arg;
  char file[] = "/tmp/mpg_leak_test.XXXXXX", text[20000];
  start(start_leaking_goroutine, NULL);
  start(sleeps, NULL);
  settle();
  leaks_become(7);
  int fd = mkstemp(file);
  CHECK_GE(fd, 0);
  CHECK_EQ(unlink(file), 0);
  int leaks = mpg_leaked_goroutines(fd);
  CHECK_GE(leaks, 5); /* of the pair both or none */
  ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
  CHECK_GT(n, 0);
  text[n] = '\0';
  int entries = 0;
  for (char *at = text; (at = strstr(at, "\ngoroutine ")); at++) entries++;
  CHECK_EQ(entries, leaks);
  CHECK(strstr(text, "[select]") != NULL);
  CHECK(strstr(text, "[sleep]") == NULL);
  close(fd);
}

static NOINLINE void start_reachable(void) {
  global = mpg_chan_new(0, 0);
  start(receives, global);
  /* Reachable through one that can be woken. */
  mpg_chan **pair = mpg_alloc(2 * sizeof(*pair));
  pair[0] = global;
  pair[1] = mpg_chan_new(0, 0);
  start(waits_with_partner, pair);
  start(receives, pair[1]);
  start(sleeps, NULL);
}

static void start_reachable_goroutine(void *arg) {
  (void) arg;
  start_reachable();
  mpg_waitgroup_done(&there);
}

static void who_can_be_woken_is_not_leaked(void *arg) {
  (void) arg;
  atomic_store(&woken, 0);
  start(start_reachable_goroutine, NULL);
  settle();
  CHECK_EQ(mpg_leaked_goroutines(-1), 0);
  mpg_chan_close(global);
  CHECK_EVENTUALLY(atomic_load(&woken) == 2);
  global = NULL;
}

/* The finalizer closes what the goroutine waits for. */
struct owner {
  mpg_chan *c;
};

static void close_it(void *obj, void *arg) {
  (void) arg;
  mpg_chan_close(((struct owner *) obj)->c);
}

static void start_owned_goroutine(void *arg) {
  (void) arg;
  struct owner *o = mpg_alloc(sizeof(*o));
  o->c = mpg_chan_new(0, 0);
  CHECK_EQ(mpg_finalizer_set(o, close_it, NULL), 0);
  start(receives, o->c);
  mpg_waitgroup_done(&there);
}

static void whom_a_finalizer_wakes_is_not_leaked(void *arg) {
  (void) arg;
  atomic_store(&woken, 0);
  start(start_owned_goroutine, NULL);
  settle();
  CHECK_EQ(mpg_leaked_goroutines(-1), 0);
  CHECK_EVENTUALLY((mpg_gc(), atomic_load(&woken) == 1));
}

static const struct check_case cases[] = {
    INSIDE(leaks_are_counted),
    INSIDE(leaks_are_printed),
    INSIDE(who_can_be_woken_is_not_leaked),
    INSIDE(whom_a_finalizer_wakes_is_not_leaked),
};
CHECK_MAIN(cases, 20)

/* sched_run_test.c - mpg_run, mpg_goid, mpg_num_goroutines, mpg_goexit. */
#include <errno.h>
#include <sys/wait.h>

#include "../support/check.h"

static void nothing(void *arg) { (void) arg; }

static void store_arg(void *arg) { *(int *) arg = 42; }

static void run_passes_its_argument(void *arg) {
  (void) arg;
  int x = 0;
  CHECK_EQ(mpg_run(store_arg, &x), 0);
  CHECK_EQ(x, 42);
}

static void run_refuses_null(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_run(NULL, NULL), -EINVAL);
  CHECK_EQ((mpg_run) (NULL, NULL), -EINVAL);
}

static void run_as_a_function_pointer(void *arg) {
  (void) arg;
  int (*run)(mpg_func, void *) = mpg_run;
  int x = 0;
  CHECK_EQ(run(store_arg, &x), 0);
  CHECK_EQ(x, 42);
}

static void run_inside_is_refused(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_run(nothing, NULL), -EALREADY);
  CHECK_EQ(mpg_run(nothing, NULL), -EALREADY);
}

static void *run_on_this_thread(void *result) {
  *(_Atomic int *) result = mpg_run(nothing, NULL);
  return NULL;
}

static void run_beside_is_refused(void *arg) {
  (void) arg;
  _Atomic int result = 1;
  pthread_t t;
  CHECK_EQ(pthread_create(&t, NULL, run_on_this_thread, &result), 0);
  CHECK_EVENTUALLY(atomic_load(&result) != 1);
  CHECK_EQ(pthread_join(t, NULL), 0);
  CHECK_EQ(atomic_load(&result), -EALREADY);
}

static void run_works_again_and_again(void *arg) {
  (void) arg;
  for (int i = 0; i < 50; i++) {
    int x = 0;
    CHECK_EQ(mpg_run(store_arg, &x), 0);
    CHECK_EQ(x, 42);
  }
}

static void run_works_on_another_thread(void *arg) {
  (void) arg;
  _Atomic int result = 1;
  pthread_t t;
  CHECK_EQ(pthread_create(&t, NULL, run_on_this_thread, &result), 0);
  CHECK_EQ(pthread_join(t, NULL), 0);
  CHECK_EQ(atomic_load(&result), 0);
}

/* ---- after mpg_run ---- */

static _Atomic uint64_t ticks;
static int **kept; /* global: a root */

static void tick_for_ever(void *arg) {
  bool yields = check_switch("asyncpreemptoff");
  (void) arg;
  for (;; atomic_fetch_add(&ticks, 1))
    if (yields) mpg_yield();
}

static void leave_things_behind(void *arg) {
  (void) arg;
  kept = mpg_alloc(8 * sizeof(*kept));
  for (int i = 0; i < 8; i++) {
    kept[i] = mpg_alloc(sizeof(int));
    *kept[i] = i * i;
  }
  for (int i = 0; i < 4; i++) CHECK_GO(tick_for_ever, NULL);
  CHECK_EVENTUALLY(atomic_load(&ticks) > 0);
}

static void goroutines_stop_when_main_returns(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_run(leave_things_behind, NULL), 0);
  uint64_t before = atomic_load(&ticks);
  struct timespec t = {0, 30000000};
  nanosleep(&t, NULL);
  CHECK_EQ(atomic_load(&ticks), before);
  for (int i = 0; i < 8; i++) CHECK_EQ(*kept[i], i * i);
}

static void the_heap_survives_to_the_next_run(void *arg) {
  (void) arg;
  if (!kept) return; /* this case alone was asked for */
  mpg_gc();
  for (int i = 0; i < 8; i++) CHECK_EQ(*kept[i], i * i);
}

/* ---- goexit from main ---- */

static void exit_process(void *arg) {
  (void) arg;
  mpg_sleep(1000000);
  _exit(7);
}

static void leave_main(void *arg) {
  (void) arg;
  CHECK_GO(exit_process, NULL);
  mpg_goexit();
}

static void goexit_of_main_lets_others_go_on(void *arg) {
  (void) arg;
  pid_t pid = fork();
  CHECK_GE(pid, 0);
  if (pid == 0) {
    mpg_run(leave_main, NULL);
    _exit(1); /* mpg_run returned */
  }
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 7);
}

/* ---- numbers ---- */

static void legal_before_the_first_run(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_goid(), 0);
  CHECK_GT(mpg_now(), 0);
  CHECK(mpg_version() != NULL);
  CHECK_EQ(mpg_set_max_threads(10000), 10000);
  CHECK_EQ(mpg_num_goroutines(), 0);
  CHECK_EQ(mpg_go(nothing, NULL), -EPERM);
}

#define IDS 100
static uint64_t ids[IDS];
static mpg_waitgroup done;

static void store_id(void *arg) {
  *(uint64_t *) arg = mpg_goid();
  mpg_waitgroup_done(&done);
}

static void goid_is_unique_and_constant(void *arg) {
  (void) arg;
  uint64_t mine = mpg_goid();
  CHECK_GE(mine, 1);
  mpg_waitgroup_add(&done, IDS);
  for (int i = 0; i < IDS; i++) CHECK_GO(store_id, &ids[i]);
  mpg_waitgroup_wait(&done);
  for (int i = 0; i < IDS; i++) {
    CHECK_GE(ids[i], 1);
    CHECK_NE(ids[i], mine);
    for (int j = 0; j < i; j++) CHECK_NE(ids[i], ids[j]);
  }
  CHECK_EQ(mpg_goid(), mine);
}

static mpg_chan *gate;

static void wait_at_gate(void *arg) {
  (void) arg;
  mpg_chan_recv(gate, NULL);
}

static void num_goroutines_counts_main_and_parked(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_num_goroutines(), 1);
  gate = mpg_chan_new(0, 0);
  for (int i = 0; i < 20; i++) CHECK_GO(wait_at_gate, NULL);
  CHECK_EQ(mpg_num_goroutines(), 21);
  mpg_chan_close(gate);
  CHECK_EVENTUALLY(mpg_num_goroutines() == 1);
}

static void nothing_runs_outside(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_goid(), 0);
  CHECK_EQ(mpg_num_goroutines(), 0);
  CHECK_EQ(mpg_go(nothing, NULL), -EPERM);
}

/* A collection that the end of a run interrupts isn't missed in the next. */
static void collect_for_ever(void *arg) {
  (void) arg;
  for (;;) mpg_gc();
}

static void leave_collections_behind(void *arg) {
  (void) arg;
  mpg_gc();
  mpg_gomaxprocs(3);
  for (int i = 0; i < 2; i++) CHECK_GO(collect_for_ever, NULL);
  mpg_sleep(2000000);
}

static void ends_beside_collections(void *arg) {
  (void) arg;
  for (int i = 0; i < 60; i++)
    CHECK_EQ(mpg_run(leave_collections_behind, NULL), 0);
}

static const struct check_case cases[] = {
    OUTSIDE(goexit_of_main_lets_others_go_on), /* forks: first of all */
    OUTSIDE(legal_before_the_first_run),
    OUTSIDE(run_passes_its_argument),
    OUTSIDE(run_refuses_null),
    OUTSIDE(run_as_a_function_pointer),
    INSIDE(run_inside_is_refused),
    INSIDE(run_beside_is_refused),
    OUTSIDE(run_works_again_and_again),
    OUTSIDE(run_works_on_another_thread),
    OUTSIDE(goroutines_stop_when_main_returns),
    OUTSIDE(ends_beside_collections),
    INSIDE(the_heap_survives_to_the_next_run),
    INSIDE(goid_is_unique_and_constant),
    INSIDE(num_goroutines_counts_main_and_parked),
    OUTSIDE(nothing_runs_outside),
};
CHECK_MAIN(cases, 20)

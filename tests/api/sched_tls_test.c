/* sched_tls_test.c - addresses of thread-local variables across migrations.
 *
 * support/tls_user.c, compiled with and without optimisation, for static and
 * position-independent code, by GCC and Clang, as far as there are; the list
 * of ways is made by CMake.  With libmpg.so also in libraries.
 */
#include "../support/check.h"

#ifdef TLS_WAYS_HEADER
#include TLS_WAYS_HEADER
#else
#define TLS_WAYS(X) /* X(name) for each */
#endif

/* In a library of its own; its text is declared below. */
#ifdef TLS_WAYS_SO
#define TLS_WAYS_OF_LIBRARIES(X) X(so_O0) X(so_O2)
#else
#define TLS_WAYS_OF_LIBRARIES(X)
#endif

#define X(way)                                                      \
  int tls_leave_##way(void (*leave)(void), int rounds, int *moved); \
  int tls_spin_##way(int rounds, int *moved);                       \
  int tls_vector_##way(int rounds, int *moved);
TLS_WAYS(X)
TLS_WAYS_OF_LIBRARIES(X)
#undef X

struct way {
  const char *name;
  int (*leave)(void (*leave)(void), int rounds, int *moved);
  int (*spin)(int rounds, int *moved);
  int (*vector)(int rounds, int *moved);
};
static const struct way ways[] = {
#define X(way) {#way, tls_leave_##way, tls_spin_##way, tls_vector_##way},
    TLS_WAYS(X) TLS_WAYS_OF_LIBRARIES(X)
#undef X
        {NULL, NULL, NULL, NULL},
};

static mpg_waitgroup done;
static _Atomic int moves;
static void (*leave_by)(void);

static void by_yield(void) { mpg_yield(); }
static void by_sleep(void) { mpg_sleep(20000); }
static void by_syscall(void) {
  struct timespec t = {0, 20000};
  mpg_syscall_enter();
  nanosleep(&t, NULL);
  mpg_syscall_exit();
}

static void leave(void *arg) {
  const struct way *w = arg;
  int moved = 0, bad = w->leave(leave_by, 200, &moved);
  if (bad) fprintf(stderr, "%s\n", w->name);
  CHECK_EQ(bad, 0);
  atomic_fetch_add(&moves, moved);
  mpg_waitgroup_done(&done);
}

static void spin(void *arg) {
  const struct way *w = arg;
  int moved = 0, bad = w->spin(30, &moved);
  if (bad) fprintf(stderr, "%s\n", w->name);
  CHECK_EQ(bad, 0);
  atomic_fetch_add(&moves, moved);
  mpg_waitgroup_done(&done);
}

static void vector(void *arg) {
  const struct way *w = arg;
  int moved = 0, bad = w->vector(30, &moved);
  if (bad) fprintf(stderr, "%s\n", w->name);
  CHECK_EQ(bad, 0);
  atomic_fetch_add(&moves, moved);
  mpg_waitgroup_done(&done);
}

/* Several of each at a time, until some have changed threads. */
static void run_all(mpg_func fn) {
  mpg_gomaxprocs(4);
  for (const struct way *w = ways; w->name; w++) {
    atomic_store(&moves, 0);
    do {
      mpg_waitgroup_add(&done, 6);
      for (int i = 0; i < 6; i++) CHECK_GO(fn, (void *) (uintptr_t) w);
      mpg_waitgroup_wait(&done);
    } while (atomic_load(&moves) == 0);
  }
}

static void addresses_move_with_yields(void *arg) {
  (void) arg;
  leave_by = by_yield;
  run_all(leave);
}

static void addresses_move_with_parks(void *arg) {
  (void) arg;
  leave_by = by_sleep;
  run_all(leave);
}

static void addresses_move_with_system_calls(void *arg) {
  (void) arg;
  leave_by = by_syscall;
  run_all(leave);
}

static void addresses_move_with_preemptions(void *arg) {
  (void) arg;
#define X(way) CHECK_EQ(mpg_text_add((const void *) tls_spin_##way), 0);
  TLS_WAYS_OF_LIBRARIES(X)
#undef X
  run_all(spin);
}

static void addresses_move_in_vector_registers(void *arg) {
  (void) arg;
#define X(way) CHECK_EQ(mpg_text_add((const void *) tls_vector_##way), 0);
  TLS_WAYS_OF_LIBRARIES(X)
#undef X
  run_all(vector);
}

static const struct check_case cases[] = {
    STEALS(addresses_move_with_yields),
    INSIDE(addresses_move_with_parks),
    INSIDE(addresses_move_with_system_calls),
    INSIDE(addresses_move_with_preemptions),
    INSIDE(addresses_move_in_vector_registers),
};

int main(int argc, char **argv) {
  check_switches("preemptall=1");
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 60);
}

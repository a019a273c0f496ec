/* sched_tls_test.c - addresses of thread-local variables across migrations.
 *
 * support/tls_user.c, compiled with and without optimisation, for static and
 * position-independent code, by GCC and Clang, as far as there are; the list
 * of ways is made by CMake.  With libmpg.so also in libraries.
 */
#include <link.h>
#include <string.h>

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

/* ---- words that only look like one ---- */

enum { WORDS = 256, ROUNDS = 200 };
static uintptr_t allocators; /* its block, below the thread pointer */

static uintptr_t thread_pointer(void) {
  uintptr_t tp;
  __asm__ volatile("mov %%fs:0, %0" : "=r"(tp));
  return tp;
}

static int find_allocator(struct dl_phdr_info *info, size_t size, void *arg) {
  (void) size, (void) arg;
  if (strstr(info->dlpi_name, "libjemalloc.so") && info->dlpi_tls_data)
    allocators = thread_pointer() - (uintptr_t) info->dlpi_tls_data;
  return 0;
}

/* Somewhere in the allocator's block, as its code may have left them, and in
 * part a program's own bytes. */
static __attribute__((noinline)) int changed_words(void) {
  uintptr_t word[WORDS], check = 0;
  uintptr_t lo = thread_pointer() - allocators;
  for (int i = 0; i < WORDS; i++) word[i] = lo + (uintptr_t) i * 9;
  for (int i = 0; i < WORDS; i++) check = check * 3 + ~word[i];
  __asm__ volatile("" : : "r"(word) : "memory");
  leave_by();
  __asm__ volatile("" : : "r"(word) : "memory");
  uintptr_t now = 0;
  for (int i = 0; i < WORDS; i++) now = now * 3 + ~word[i];
  return now != check;
}

static void keep_words(void *arg) {
  (void) arg;
  for (int i = 0; i < ROUNDS; i++) {
    uintptr_t was = ~thread_pointer();
    __asm__ volatile("" : "+r"(was)); /* isn't moved */
    CHECK_EQ(changed_words(), 0);
    atomic_fetch_add(&moves, ~thread_pointer() != was);
  }
  mpg_waitgroup_done(&done);
}

static void words_that_are_no_variables_stay(void *arg) {
  (void) arg;
  dl_iterate_phdr(find_allocator, NULL);
  CHECK(allocators != 0);
  leave_by = by_yield;
  mpg_gomaxprocs(4);
  atomic_store(&moves, 0);
  do {
    mpg_waitgroup_add(&done, 6);
    for (int i = 0; i < 6; i++) CHECK_GO(keep_words, NULL);
    mpg_waitgroup_wait(&done);
  } while (atomic_load(&moves) == 0);
}

static const struct check_case cases[] = {
    STEALS(addresses_move_with_yields),
    INSIDE(addresses_move_with_parks),
    INSIDE(addresses_move_with_system_calls),
    INSIDE(addresses_move_with_preemptions),
    INSIDE(addresses_move_in_vector_registers),
    STEALS(words_that_are_no_variables_stay),
};

int main(int argc, char **argv) {
  check_switches("preemptall=1");
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 60);
}

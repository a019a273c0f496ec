/* sched_stw_test.c - a collection finishes while any sort of loop runs.
 *
 * No timing is asserted: the watchdog ends a collection that never does.
 */
#include <link.h>

#include "../../examples/loops.h"
#include "../support/check.h"

#define ROUNDS 20

static void collect_beside(const char *name, int procs, int loops) {
  const struct loop_kind *kind = loops_find(name);
  CHECK(kind != NULL);
  if (!loops_usable(kind)) return;
  struct mpg_gc_stats before = {.size = sizeof(before)}, after = before;
  mpg_gomaxprocs(procs);
  CHECK_EQ(loops_open(), 0);
  for (int i = 0; i < loops; i++) CHECK_GO(kind->fn, NULL);
  CHECK_EVENTUALLY(atomic_load(&loops_started) == loops);
  CHECK_EQ(mpg_gc_stats_read(&before), 0);
  for (int i = 0; i < ROUNDS; i++) {
    mpg_gc();
    mpg_yield();
  }
  CHECK_EQ(mpg_gc_stats_read(&after), 0);
  CHECK_GE(after.cycles, before.cycles + ROUNDS);
  loops_close(loops);
  if (strcmp(name, "empty") != 0) CHECK_EVENTUALLY(mpg_num_goroutines() == 1);
}

static void beside_an_empty_loop(void *arg) {
  (void) arg, collect_beside("empty", 2, 1);
}
static void beside_a_frameless_leaf(void *arg) {
  (void) arg, collect_beside("leaf", 2, 1);
}
static void beside_a_loop_that_calls(void *arg) {
  (void) arg, collect_beside("calls", 2, 1);
}
static void beside_an_avx512_loop(void *arg) {
  (void) arg, collect_beside("avx512", 2, 1);
}
static void beside_memset(void *arg) {
  (void) arg, collect_beside("memset", 2, 1);
}
static void beside_qsort(void *arg) {
  (void) arg, collect_beside("qsort", 2, 1);
}
static void beside_a_raw_read(void *arg) {
  (void) arg, collect_beside("read", 2, 1);
}
static void beside_a_syscall(void *arg) {
  (void) arg, collect_beside("syscall", 2, 1);
}
static void beside_several_of_each(void *arg) {
  (void) arg;
  for (int i = 0; i < LOOP_KINDS; i++)
    if (loop_kinds[i].fn != loop_empty)
      collect_beside(loop_kinds[i].name, 4, 3);
}

/* Two initiators: one waits for its turn as a stopped thread. */
static mpg_waitgroup done;

static void collect_often(void *arg) {
  (void) arg;
  for (int i = 0; i < ROUNDS; i++) mpg_gc();
  mpg_waitgroup_done(&done);
}

static void several_collect_at_once(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  CHECK_EQ(loops_open(), 0);
  CHECK_GO(loop_empty, NULL);
  mpg_waitgroup_add(&done, 3);
  for (int i = 0; i < 3; i++) CHECK_GO(collect_often, NULL);
  for (int i = 0; i < ROUNDS; i++) mpg_gomaxprocs(2 + i % 3);
  mpg_waitgroup_wait(&done);
}

/* A thread frozen with the dynamic linker's lock, and a collection that waits
 * for that lock before it can stop: neither may hold up the other. */
static _Atomic int has_lock, wants_lock;

static int with_the_lock(struct dl_phdr_info *info, size_t bytes, void *arg) {
  (void) info, (void) bytes, (void) arg;
  int64_t until = check_now() + 50 * INT64_C(1000000);
  atomic_store(&has_lock, 1);
  while (check_now() < until) continue;
  return 1;
}

static void hold_the_lock(void *arg) {
  (void) arg;
  dl_iterate_phdr(with_the_lock, NULL);
  mpg_waitgroup_done(&done);
}

static void need_the_lock(void *arg) {
  (void) arg;
  atomic_store(&wants_lock, 1);
  mpg_gc();
  mpg_waitgroup_done(&done);
}

static void a_frozen_thread_may_have_a_lock(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  mpg_waitgroup_add(&done, 2);
  CHECK_GO(hold_the_lock, NULL);
  CHECK_EVENTUALLY(atomic_load(&has_lock));
  CHECK_GO(need_the_lock, NULL);
  CHECK_EVENTUALLY(atomic_load(&wants_lock));
  mpg_sleep(5000000); /* most likely it waits for the lock now */
  mpg_gomaxprocs(3);
  mpg_waitgroup_wait(&done);
}

/* The callback stops by itself, at a call; another thread is on its way to a
 * stop when it wants the lock (mpg_text_add, on g0). */
static int step_of_ours(int n) { return n + 1; }
static int step_of_mpg(int n) { return n + mpg_gomaxprocs(0); }

static int steps_with_the_lock(struct dl_phdr_info *info, size_t bytes,
                               void *arg) {
  (void) info, (void) bytes;
  int64_t until = check_now() + 30 * INT64_C(1000000);
  atomic_store(&has_lock, 1);
  int (*fn)(int) = *(int (**)(int)) arg, n = 0;
  while (check_now() < until)
    for (int i = 0; i < 1000; i++) n = fn(n);
  return n != 0;
}

static void step_with_the_lock(void *arg) {
  dl_iterate_phdr(steps_with_the_lock, arg);
  mpg_waitgroup_done(&done);
}

static void look_for_text(void *arg) {
  atomic_store(&wants_lock, 1);
  CHECK_EQ(mpg_text_add(arg), -EINVAL);
  mpg_waitgroup_done(&done);
}

static void stops_beside_a_callback(int (*fn)(int)) {
  int data = 0;
  for (int i = 0; i < 3; i++) {
    atomic_store(&has_lock, 0);
    atomic_store(&wants_lock, 0);
    mpg_waitgroup_add(&done, 2);
    CHECK_GO(step_with_the_lock, &fn);
    CHECK_EVENTUALLY(atomic_load(&has_lock));
    CHECK_GO(look_for_text, &data);
    CHECK_EVENTUALLY(atomic_load(&wants_lock));
    mpg_sleep(2000000); /* most likely it waits for the lock now */
    mpg_gomaxprocs(3 + i % 2);
    mpg_waitgroup_wait(&done);
  }
}

static void a_callback_in_calls_may_have_a_lock(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  stops_beside_a_callback(step_of_ours);
}

static void a_callback_in_stubs_may_have_a_lock(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  stops_beside_a_callback(step_of_mpg);
}

/* With that lock it allocates more than the heap's goal allows, while a
 * collection waits for the lock. */
static int allocate_with_the_lock(struct dl_phdr_info *info, size_t bytes,
                                  void *arg) {
  (void) info, (void) bytes, (void) arg;
  atomic_store(&has_lock, 1);
  for (int i = 0; i < 3000; i++) CHECK(mpg_alloc(4096) != NULL);
  return 1;
}

static void allocate_in_a_callback(void *arg) {
  (void) arg;
  for (int i = 0; i < 3; i++) dl_iterate_phdr(allocate_with_the_lock, NULL);
  mpg_waitgroup_done(&done);
}

static void allocates_with_the_linkers_lock(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  mpg_waitgroup_add(&done, 3);
  atomic_store(&has_lock, 0);
  CHECK_GO(allocate_in_a_callback, NULL);
  CHECK_EVENTUALLY(atomic_load(&has_lock));
  for (int i = 0; i < 2; i++) CHECK_GO(collect_often, NULL);
  mpg_waitgroup_wait(&done);
}

/* On one P the loop is switched out; the collector finds it on a queue. */
static void on_one_p(void *arg) {
  (void) arg;
  static const char *const names[] = {"leaf", "calls", "avx512", "memset"};
  for (int i = 0; i < 4; i++) collect_beside(names[i], 1, 1);
}

static const struct check_case cases[] = {
    INSIDE(beside_an_empty_loop),
    INSIDE(beside_a_frameless_leaf),
    INSIDE(beside_a_loop_that_calls),
    INSIDE(beside_an_avx512_loop),
    INSIDE(beside_memset),
    INSIDE(beside_qsort),
    INSIDE(beside_a_raw_read),
    INSIDE(beside_a_syscall),
    INSIDE(several_collect_at_once),
    INSIDE(a_frozen_thread_may_have_a_lock),
    INSIDE(a_callback_in_calls_may_have_a_lock),
    INSIDE(a_callback_in_stubs_may_have_a_lock),
    INSIDE(allocates_with_the_linkers_lock),
    INJECTS(on_one_p),
    STEALS(beside_several_of_each),
};
CHECK_MAIN(cases, 30)

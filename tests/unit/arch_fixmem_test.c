/* Memory outside the collected heap. */
#include <tests/support/unit.h>

#include <arch/common/fixmem.h>
#include <arch/os.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>

static void memory_is_zeroed_aligned_and_counted(void **state) {
  (void) state;
  uint64_t live = mpgi_fixmem_bytes();
  for (size_t align = 16; align <= 65536; align *= 2) {
    char *p = mpgi_fixmem_alloc(1000, align);
    assert_non_null(p);
    assert_int_equal((uintptr_t) p & (align - 1), 0);
    for (int i = 0; i < 1000; i++) assert_int_equal(p[i], 0);
    memset(p, 1, 1000);
    assert_int_equal(mpgi_fixmem_bytes(), live + 1000);
    mpgi_fixmem_free(p, 1000, align);
  }
  assert_int_equal(mpgi_fixmem_bytes(), live);
}

static void reused_memory_is_zeroed_again(void **state) {
  (void) state;
  for (int round = 0; round < 100; round++) {
    uint64_t *p = mpgi_fixmem_alloc(64, 0);
    assert_non_null(p);
    assert_int_equal((uintptr_t) p & 15, 0);
    for (int i = 0; i < 8; i++) assert_int_equal(p[i], 0);
    memset(p, 0xff, 64);
    mpgi_fixmem_free(p, 64, 0);
  }
}

static void absurd_sizes_give_null(void **state) {
  (void) state;
  uint64_t live = mpgi_fixmem_bytes();
  errno = 77;
  assert_null(mpgi_fixmem_alloc(SIZE_MAX, 0));
  assert_null(mpgi_fixmem_alloc(SIZE_MAX / 4, 64));
  assert_int_equal(errno, 77);
  assert_int_equal(mpgi_fixmem_bytes(), live);
  mpgi_fixmem_free(NULL, 100, 0);
  assert_int_equal(mpgi_fixmem_bytes(), live);
}

static void failpoint_is_sticky(void **state) {
  (void) state;
  atomic_store(&mpgi_fixmem_fail_countdown, 2);
  void *p = mpgi_fixmem_alloc(32, 0);
  assert_non_null(p);
  assert_null(mpgi_fixmem_alloc(32, 0));
  assert_null(mpgi_fixmem_alloc(32, 0));
  atomic_store(&mpgi_fixmem_fail_countdown, 0);
  mpgi_fixmem_free(p, 32, 0);
}

static void use_in_a_stopped_world_is_caught(void **state) {
  (void) state;
  void *p = mpgi_fixmem_alloc(32, 0);
  mpgi_fixmem_forbid(1);
  assert_fatal("stopped == 0", (void) mpgi_fixmem_alloc(32, 0));
  assert_fatal("stopped == 0", mpgi_fixmem_free(p, 32, 0));
  assert_fatal("stopped == 0", mpgi_fixmem_release());
  assert_fatal("stopped == 0", (void) mpgi_fixmem_thread_coming());
  mpgi_fixmem_forbid(1);
  mpgi_fixmem_forbid(-1);
  assert_fatal("stopped == 0", (void) mpgi_fixmem_alloc(32, 0));
  mpgi_fixmem_forbid(-1);
  mpgi_fixmem_free(p, 32, 0);
  assert_fatal("delta", mpgi_fixmem_forbid(-1));
  mpgi_fixmem_forbid(1); /* undo: the count was taken before the check */
}

static void *use_outside(void *arg) {
  (void) arg;
  mpgi_fixmem_outside();
  void *p = mpgi_fixmem_alloc(32, 0);
  if (p) mpgi_fixmem_free(p, 32, 0);
  return p;
}

static void a_thread_outside_the_world_may_use_it(void **state) {
  (void) state;
  pthread_t t;
  void *p = NULL;
  mpgi_fixmem_forbid(1);
  assert_int_equal(pthread_create(&t, NULL, use_outside, NULL), 0);
  pthread_join(t, &p);
  assert_fatal("stopped == 0", (void) mpgi_fixmem_alloc(32, 0));
  mpgi_fixmem_forbid(-1);
  assert_non_null(p);
}

/* A new thread's first use when there is no address space left. */
static void *first_use_of_a_thread(void *arg) {
  void **p = arg;
  child_check(mpgi_fixmem_alloc(100, 0) == NULL);
  mpgi_fixmem_free(*p, 100, 0); /* leaked, not torn */
  return NULL;
}

static void exhausted_process(void *arg) {
  pthread_t t[8];
  static void *p;
  (void) arg;
  p = mpgi_fixmem_alloc(100, 0);
  struct rlimit lim = {(size_t) 128 << 20, (size_t) 128 << 20};
  child_check(setrlimit(RLIMIT_AS, &lim) == 0);
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 65536);
  while (mpgi_os_mem_available((size_t) 4 << 20))
    child_check(mpgi_os_mem_map((size_t) 2 << 20, 4096));
  for (int i = 0; i < 8; i++) {
    child_check(pthread_create(&t[i], &attr, first_use_of_a_thread, &p) == 0);
    pthread_join(t[i], NULL);
  }
  void *q = mpgi_fixmem_alloc(100, 0); /* this thread is known */
  child_check(q && q != p);
}

/* Threads that were announced while there was memory, by themselves or by who
 * started them, call malloc without. */
static pthread_barrier_t begun, used_up;

static void *malloc_of_a_thread(void *by_starter) {
  if (!by_starter) mpgi_fixmem_thread_begin();
  pthread_barrier_wait(&begun);
  pthread_barrier_wait(&used_up);
  for (size_t n = 16; n <= 65536; n *= 4) {
    void *volatile p = malloc(n);
    free(p);
  }
  return NULL;
}

static void exhausted_program(void *by_starter) {
  enum { N = 16 }; /* arenas of two CPUs, twice */
  pthread_t t[N];
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 65536);
  pthread_barrier_init(&begun, NULL, N + 1);
  pthread_barrier_init(&used_up, NULL, N + 1);
  for (int i = 0; i < N; i++) {
    if (by_starter) child_check(mpgi_fixmem_thread_coming());
    child_check(pthread_create(&t[i], &attr, malloc_of_a_thread, by_starter) ==
                0);
  }
  pthread_barrier_wait(&begun);
  struct rlimit lim = {(size_t) 256 << 20, (size_t) 256 << 20};
  child_check(setrlimit(RLIMIT_AS, &lim) == 0);
  while (mpgi_os_mem_map((size_t) 64 << 10, 4096)) continue;
  pthread_barrier_wait(&used_up);
  for (int i = 0; i < N; i++) pthread_join(t[i], NULL);
}

static void malloc_without_memory_is_ready_on_new_threads(void **state) {
  (void) state;
  if (UNIT_ASAN || UNIT_TSAN) skip();
  struct child_result r;
  for (int by_starter = 0; by_starter <= 1; by_starter++) {
    child_run(exhausted_program, by_starter ? &r : NULL, &r);
    assert_child_ok(r);
  }
}

static void first_use_without_memory_is_an_error(void **state) {
  (void) state;
  if (UNIT_ASAN || UNIT_TSAN) skip();
  struct child_result r;
  child_run(exhausted_process, NULL, &r);
  assert_child_ok(r);
}

static void bad_arguments_are_caught(void **state) {
  (void) state;
  assert_fatal("bytes", (void) mpgi_fixmem_alloc(0, 0));
  assert_fatal("align", (void) mpgi_fixmem_alloc(8, 24));
  void *p = mpgi_fixmem_alloc(32, 0);
  assert_fatal("sallocx", mpgi_fixmem_free(p, 4096, 0));
  mpgi_fixmem_free(p, 32, 0);
}

/* First use from several threads at once makes one arena. */
static void *first_use(void *arg) {
  atomic_fetch_sub((_Atomic int *) arg, 1);
  while (atomic_load((_Atomic int *) arg) > 0) continue;
  for (int i = 1; i < 2000; i++) {
    char *p = mpgi_fixmem_alloc((size_t) i, 0);
    child_check(p && p[0] == 0 && p[i - 1] == 0);
    p[0] = p[i - 1] = 1;
    mpgi_fixmem_free(p, (size_t) i, 0);
  }
  return NULL;
}

static void race_for_first_use(void *arg) {
  pthread_t t[4];
  _Atomic int waiting = 4;
  (void) arg;
  for (int i = 0; i < 4; i++)
    child_check(pthread_create(&t[i], NULL, first_use, &waiting) == 0);
  for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
  child_check(mpgi_fixmem_bytes() == 0);
}

static void concurrent_first_use_works(void **state) {
  (void) state;
  if (UNIT_TSAN) skip(); /* jemalloc's hand-over is invisible to it */
  struct child_result r;
  for (int i = 0; i < 5; i++) {
    child_run(race_for_first_use, NULL, &r);
    assert_child_ok(r);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(concurrent_first_use_works), /* before any use here */
      cmocka_unit_test(memory_is_zeroed_aligned_and_counted),
      cmocka_unit_test(reused_memory_is_zeroed_again),
      cmocka_unit_test(absurd_sizes_give_null),
      cmocka_unit_test(failpoint_is_sticky),
      cmocka_unit_test(use_in_a_stopped_world_is_caught),
      cmocka_unit_test(a_thread_outside_the_world_may_use_it),
      cmocka_unit_test(first_use_without_memory_is_an_error),
      cmocka_unit_test(malloc_without_memory_is_ready_on_new_threads),
      cmocka_unit_test(bad_arguments_are_caught),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Writable segments, thread-local blocks and text of loaded objects. */
#include <tests/support/unit.h>

#include <arch/common/mutex.h>
#include <arch/os.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* TLS_DYNAMIC_LIBRARY and TLS_STATIC_LIBRARY: paths, from the build. */

static int data_word = 1;
static int bss_word[4096];
static const int rodata_word = 7;
static int *const relro_word = &data_word;
static _Thread_local int tls_word = 5;
static _Thread_local int tls_zero[1000];

static int refresh(void **state) {
  (void) state;
  return mpgi_os_roots_refresh();
}

static bool is_root(const volatile void *p) {
  size_t n;
  const struct mpgi_range *r = mpgi_os_roots(&n);
  for (size_t i = 0; i < n; i++)
    if ((uintptr_t) p >= r[i].lo && (uintptr_t) p < r[i].hi) return true;
  return false;
}

static void writable_data_is_a_root(void **state) {
  (void) state;
  assert_true(is_root(&data_word));
  assert_true(is_root(&bss_word[0]) && is_root(&bss_word[4095]));
  assert_true(is_root(&stdin)); /* a copy here or libc's own */
  assert_true(is_root(dlsym(RTLD_DEFAULT, "environ")));
}

static void constant_and_other_memory_is_not(void **state) {
  (void) state;
  int local = 0;
  int *heap = malloc(sizeof *heap);
  assert_false(is_root(&rodata_word));
  assert_false(is_root(&relro_word));
  assert_false(is_root(&local));
  assert_false(is_root(heap));
  assert_false(is_root(&tls_word));
  assert_false(is_root((void *) (uintptr_t) writable_data_is_a_root));
  free(heap);
}

/* Between variables too, where asan would object. */
__attribute__((no_sanitize_address)) static unsigned peek(uintptr_t p) {
  return *(volatile unsigned char *) p;
}

static void every_root_is_readable(void **state) {
  (void) state;
  size_t n;
  const struct mpgi_range *r = mpgi_os_roots(&n);
  unsigned sum = 0;
  for (size_t i = 0; i < n; i++) {
    assert_true(r[i].lo < r[i].hi);
    for (uintptr_t p = r[i].lo; p < r[i].hi; p += 4096) sum += peek(p);
  }
  assert_true(n >= 2 && sum < UINT32_MAX);
}

/* ---- thread-local storage ---- */

struct search {
  const void *wanted;
  int found;
};

static void look(void *arg, const void *lo, const void *hi) {
  struct search *s = arg;
  assert_true(lo < hi);
  for (const char *p = lo; p < (const char *) hi; p++)
    s->found += p == s->wanted;
}

static int times_in_tls(uintptr_t tp, const void *p) {
  struct search s = {p, 0};
  mpgi_os_tls_words(tp, look, &s);
  return s.found;
}

static void own_tls_is_found(void **state) {
  (void) state;
  uintptr_t tp = mpgi_os_thread_pointer(), lo, hi;
  assert_int_equal(times_in_tls(tp, &tls_word), 1);
  assert_int_equal(times_in_tls(tp, &tls_zero[0]), 1);
  assert_int_equal(times_in_tls(tp, &tls_zero[999]), 1);
  assert_int_equal(times_in_tls(tp, &errno), 1);
  assert_int_equal(times_in_tls(tp, &data_word), 0);
  mpgi_os_tls_static(tp, &lo, &hi);
  assert_true(hi == tp);
  assert_true(lo <= (uintptr_t) &tls_word && (uintptr_t) &tls_word < hi);
  assert_true(lo <= (uintptr_t) &errno && (uintptr_t) &errno < hi);
}

/* A second thread that shows where its variables are and waits. */
struct other {
  struct mpgi_note ready, leave;
  uintptr_t tp;
  void *word, *err, *library;
  int *(*library_word)(void); /* called when not NULL */
};

static void *other_main(void *arg) {
  struct other *o = arg;
  o->tp = mpgi_os_thread_pointer();
  o->word = &tls_word;
  o->err = &errno;
  if (o->library_word) o->library = o->library_word();
  mpgi_note_wake(&o->ready);
  mpgi_note_sleep(&o->leave);
  return NULL;
}

static pthread_t other_start(struct other *o) {
  pthread_t t;
  assert_int_equal(pthread_create(&t, NULL, other_main, o), 0);
  mpgi_note_sleep(&o->ready);
  return t;
}

static void other_end(struct other *o, pthread_t t) {
  mpgi_note_wake(&o->leave);
  pthread_join(t, NULL);
}

static void another_threads_tls_is_found(void **state) {
  (void) state;
  struct other o = {0};
  pthread_t t = other_start(&o);
  uintptr_t lo, hi;
  assert_int_equal(times_in_tls(o.tp, o.word), 1);
  assert_int_equal(times_in_tls(o.tp, o.err), 1);
  assert_int_equal(times_in_tls(o.tp, &tls_word), 0);
  assert_int_equal(times_in_tls(mpgi_os_thread_pointer(), o.word), 0);
  mpgi_os_tls_static(o.tp, &lo, &hi);
  assert_true(lo <= (uintptr_t) o.word && (uintptr_t) o.word < hi);
  /* One layout: the same distance from the thread pointer. */
  assert_int_equal(o.tp - (uintptr_t) o.word,
                   mpgi_os_thread_pointer() - (uintptr_t) &tls_word);
  other_end(&o, t);
}

static void library_case(const char *path, bool is_static) {
  struct other before = {0}, user = {0};
  pthread_t t1 = other_start(&before);
  void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!lib) fail_msg("%s", dlerror());
  int *(*word)(void) = (int *(*) (void) ) dlsym(lib, "tls_library_word");
  assert_non_null(word);
  user.library_word = word;
  pthread_t t2 = other_start(&user);

  /* Used by one thread only, and not by the one that refreshes. */
  assert_int_equal(mpgi_os_roots_refresh(), 0);
  assert_true(is_root(dlsym(lib, "tls_library_word")) == false);
  assert_int_equal(times_in_tls(user.tp, user.library), 1);
  uintptr_t tp = mpgi_os_thread_pointer();
  assert_int_equal(times_in_tls(tp, user.library), 0);
  assert_int_equal(times_in_tls(before.tp, user.library), 0);

  /* And by this thread: after the next refresh at the latest. */
  int *mine = word();
  assert_ptr_not_equal(mine, user.library);
  assert_int_equal(mpgi_os_roots_refresh(), 0);
  assert_int_equal(times_in_tls(tp, mine), 1);
  uintptr_t lo, hi;
  mpgi_os_tls_static(tp, &lo, &hi);
  assert_int_equal((uintptr_t) mine >= lo && (uintptr_t) mine < hi, is_static);

  /* The first thread has a static block without having touched it. */
  if (is_static)
    assert_int_equal(
        times_in_tls(before.tp, (char *) before.tp - (tp - (uintptr_t) mine)),
        1);
  other_end(&before, t1);
  other_end(&user, t2);
  dlclose(lib);
  assert_int_equal(mpgi_os_roots_refresh(), 0);
}

static void dynamic_tls_of_a_library_is_found(void **state) {
  (void) state;
  library_case(TLS_DYNAMIC_LIBRARY, false);
}

static void static_tls_of_a_loaded_library_is_found(void **state) {
  (void) state;
  library_case(TLS_STATIC_LIBRARY, true);
}

/* ---- lists and memory ---- */

static void list_is_stable_until_the_next_refresh(void **state) {
  (void) state;
  size_t n, m;
  const struct mpgi_range *r = mpgi_os_roots(&n);
  struct mpgi_range *copy = malloc(n * sizeof *copy);
  memcpy(copy, r, n * sizeof *r);
  assert_int_equal(mpgi_os_roots_refresh(), 0);
  assert_memory_equal(copy, r, n * sizeof *r); /* the old one, untouched */
  assert_int_equal(mpgi_os_roots_refresh(), 0);
  assert_ptr_equal(mpgi_os_roots(&m), r);
  assert_int_equal(m, n);
  free(copy);
}

static void usual_sizes_need_no_memory(void **state) {
  (void) state;
  atomic_store(&mpgi_os_mem_fail_countdown, 1);
  int first = mpgi_os_roots_refresh(), second = mpgi_os_roots_refresh();
  atomic_store(&mpgi_os_mem_fail_countdown, 0);
  assert_int_equal(first, 0);
  assert_int_equal(second, 0);
}

static void no_memory(void *arg) {
  (void) arg;
  mpgi_os_roots_static_rows = 1;
  atomic_store(&mpgi_os_mem_fail_countdown, 1);
  errno = 77;
  child_check(mpgi_os_roots_refresh() == -ENOMEM);
  child_check(errno == 77);
  atomic_store(&mpgi_os_mem_fail_countdown, 0);
  child_check(mpgi_os_roots_refresh() == 0);
  atomic_store(&mpgi_os_mem_fail_countdown, 1);
  child_check(mpgi_os_roots_refresh() == -ENOMEM); /* the second table */
  child_check(is_root(&data_word));                /* the old list stays */
}

static void running_out_of_memory_keeps_the_old_list(void **state) {
  (void) state;
  struct child_result r;
  child_run(no_memory, NULL, &r); /* first test: no table exists yet */
  assert_child_ok(r);
}

static void reading_before_a_refresh_is_caught(void **state) {
  (void) state;
  size_t n;
  assert_fatal("check failed", (void) mpgi_os_roots(&n));
}

/* ---- text ---- */

static bool in_text(const void *of, uintptr_t pc) {
  struct mpgi_range r[8];
  int n = mpgi_os_text_of(of, r, 8);
  assert_true(n >= 1);
  for (int i = 0; i < n; i++)
    if (pc >= r[i].lo && pc < r[i].hi) return true;
  return false;
}

static void text_of_program_and_libraries(void **state) {
  (void) state;
  uintptr_t here = (uintptr_t) text_of_program_and_libraries;
  void *libc = dlsym(RTLD_DEFAULT, "qsort");
  assert_true(in_text(NULL, here));
  assert_true(in_text(&data_word, here)); /* by any address of the object */
  assert_false(in_text(NULL, (uintptr_t) libc));
  assert_true(in_text(libc, (uintptr_t) libc));
  assert_false(in_text(libc, here));
  assert_false(in_text(NULL, (uintptr_t) &data_word));
}

static void text_of_nothing_is_empty(void **state) {
  (void) state;
  struct mpgi_range r;
  int local = 0;
  assert_int_equal(mpgi_os_text_of(&local, &r, 1), 0);
  assert_int_equal(mpgi_os_text_of(NULL, &r, 1), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reading_before_a_refresh_is_caught),
      cmocka_unit_test(running_out_of_memory_keeps_the_old_list),
      cmocka_unit_test(usual_sizes_need_no_memory),
      cmocka_unit_test_setup(writable_data_is_a_root, refresh),
      cmocka_unit_test(constant_and_other_memory_is_not),
      cmocka_unit_test(every_root_is_readable),
      cmocka_unit_test(own_tls_is_found),
      cmocka_unit_test(another_threads_tls_is_found),
      cmocka_unit_test(dynamic_tls_of_a_library_is_found),
      cmocka_unit_test(static_tls_of_a_loaded_library_is_found),
      cmocka_unit_test(list_is_stable_until_the_next_refresh),
      cmocka_unit_test(text_of_program_and_libraries),
      cmocka_unit_test(text_of_nothing_is_empty),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

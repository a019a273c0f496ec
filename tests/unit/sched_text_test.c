/* Whose code is it: user, foreign, runtime; libraries that come and go. */
#include <tests/support/unit.h>

#include <dlfcn.h>
#include <errno.h>
#include <link.h>

#include <tests/support/unit_sched.h>

static int init(void **state) {
  (void) state;
  mpgi_text_init();
  return 0;
}

static uintptr_t in_libc(const char *name) {
  void *p = dlsym(RTLD_DEFAULT, name);
  assert_non_null(p);
  return (uintptr_t) p;
}

static void the_program_is_user_code(void **state) {
  (void) state;
  assert_true(mpgi_text_is_user((uintptr_t) in_libc));
  assert_true(mpgi_text_is_user((uintptr_t) in_libc + 1));
  assert_false(mpgi_text_is_foreign((uintptr_t) in_libc));
}

static void libraries_are_foreign(void **state) {
  (void) state;
  static const char *const names[] = {"getpid", "qsort", "mallocx", "printf"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    uintptr_t pc = in_libc(names[i]);
    assert_true(mpgi_text_is_foreign(pc));
    assert_false(mpgi_text_is_user(pc));
  }
}

/* Whatever surrounds it. */
static void entry_stubs_count_as_user_code(void **state) {
  (void) state;
  assert_true(mpgi_arch_pc_in_rt((uintptr_t) mpg_goid));
  assert_true(mpgi_text_is_user((uintptr_t) mpg_goid));
  assert_false(mpgi_text_is_foreign((uintptr_t) mpg_goid));
}

static void data_and_nothing_are_neither(void **state) {
  (void) state;
  static int data = 1;
  int on_stack = 0;
  const uintptr_t no_code[] = {0,
                               1,
                               (uintptr_t) &data,
                               (uintptr_t) &on_stack,
                               UINTPTR_MAX,
                               (uintptr_t) 1 << 47};
  for (size_t i = 0; i < sizeof no_code / sizeof *no_code; i++) {
    assert_false(mpgi_text_is_user(no_code[i]));
    assert_false(mpgi_text_is_foreign(no_code[i]));
    assert_null(mpgi_text_eh_hdr(no_code[i]));
  }
}

/* The ends of every executable segment, against the loader's own list. */
static int check_object(struct dl_phdr_info *info, size_t size, void *arg) {
  (void) size;
  int *objects = arg;
  bool program = (*objects)++ == 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
    if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X)) continue;
    uintptr_t lo = info->dlpi_addr + ph->p_vaddr, hi = lo + ph->p_memsz;
    assert_int_equal(mpgi_text_is_user(lo), program);
    assert_int_equal(mpgi_text_is_user(hi - 1), program);
    assert_int_equal(mpgi_text_is_foreign(lo), !program);
    assert_int_equal(mpgi_text_is_foreign(hi - 1), !program);
    assert_false(mpgi_text_is_user(hi) || mpgi_text_is_foreign(hi));
    assert_false(mpgi_text_is_user(lo - 1) || mpgi_text_is_foreign(lo - 1));
  }
  return 0;
}

static void ranges_are_those_of_the_loader(void **state) {
  (void) state;
  int objects = 0;
  dl_iterate_phdr(check_object, &objects);
  assert_true(objects > 3);
}

/* A library that nothing here needs. */
static void *open_library(void) {
  static const char *const names[] = {"libanl.so.1", "libutil.so.1",
                                      "libresolv.so.2", "libnsl.so.1"};
  void *h = NULL;
  for (size_t i = 0; !h && i < sizeof names / sizeof *names; i++)
    if (!dlopen(names[i], RTLD_NOW | RTLD_NOLOAD))
      h = dlopen(names[i], RTLD_NOW);
  assert_non_null(h);
  return h;
}

static uintptr_t text_of(void *library) {
  struct link_map *map = NULL;
  assert_int_equal(dlinfo(library, RTLD_DI_LINKMAP, &map), 0);
  struct mpgi_range r[8];
  int n = mpgi_os_text_of(map->l_ld, r, 8);
  assert_true(n >= 1);
  return r[0].lo;
}

static void new_libraries_are_noticed(void **state) {
  (void) state;
  void *library = open_library();
  uintptr_t pc = text_of(library);
  assert_false(mpgi_text_is_foreign(pc)); /* not known yet */
  mpgi_text_refresh();
  assert_true(mpgi_text_is_foreign(pc));
  assert_non_null(mpgi_text_eh_hdr(pc));
  /* declared as the application's, it is user code */
  assert_int_equal(mpgi_text_add_g0((const void *) pc), 0);
  assert_true(mpgi_text_is_user(pc));
  assert_int_equal(mpgi_text_add_g0((const void *) pc), 0); /* twice is fine */
  assert_true(mpgi_text_is_user(pc));
  assert_int_equal(dlclose(library), 0);
  mpgi_text_refresh();
  assert_false(mpgi_text_is_user(pc));
}

static void only_addresses_of_loaded_objects_can_be_declared(void **state) {
  (void) state;
  int on_stack = 0;
  assert_int_equal(mpgi_text_add_g0(NULL), -EINVAL);
  assert_int_equal(mpgi_text_add_g0(&on_stack), -EINVAL);
  assert_int_equal(mpgi_text_add_g0((const void *) 4096), -EINVAL);
}

static void no_memory_keeps_the_old_table(void **state) {
  (void) state;
  atomic_store(&mpgi_fixmem_fail_countdown, 1);
  int err = mpgi_text_add_g0((const void *) in_libc("getpid"));
  atomic_store(&mpgi_fixmem_fail_countdown, 0);
  assert_int_equal(err, -ENOMEM);
  assert_true(mpgi_text_is_user((uintptr_t) in_libc));
  assert_true(mpgi_text_is_foreign(in_libc("getpid")));
}

/* ---- leaves of libc's ---- */

static void memory_functions_are_leaves(void **state) {
  (void) state;
  uintptr_t set = in_libc("memset"), copy = in_libc("memcpy");
  assert_true(mpgi_text_is_leaf(set));
  assert_true(mpgi_text_is_leaf(copy));
  assert_false(mpgi_text_is_leaf(in_libc("qsort")));
  assert_false(mpgi_text_is_leaf(in_libc("printf")));
  assert_false(mpgi_text_is_leaf((uintptr_t) in_libc));
  assert_false(mpgi_text_is_leaf(0));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_program_is_user_code),
      cmocka_unit_test(libraries_are_foreign),
      cmocka_unit_test(entry_stubs_count_as_user_code),
      cmocka_unit_test(data_and_nothing_are_neither),
      cmocka_unit_test(ranges_are_those_of_the_loader),
      cmocka_unit_test(new_libraries_are_noticed),
      cmocka_unit_test(only_addresses_of_loaded_objects_can_be_declared),
      cmocka_unit_test(memory_functions_are_leaves),
      cmocka_unit_test(no_memory_keeps_the_old_table),
  };
  return cmocka_run_group_tests(tests, init, NULL);
}

/* Address space: every state of a page, every refusal. */
#include <tests/support/refuse.h>
#include <tests/support/unit.h>

#include <arch/os.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define PAGE ((size_t) 4096)
#define MIB ((size_t) 1 << 20)
#define MADV_LOCKED 24 /* MADV_DONTNEED_LOCKED, from Linux 5.18 on */

static void touch(void *p) { *(volatile char *) p = 1; }

static void assert_faults(void *p) {
  struct child_result r;
  child_run(touch, p, &r);
  assert_int_equal(r.signal, SIGSEGV);
}

static bool all_zero(const char *p, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (p[i]) return false;
  return true;
}

static void page_size_is_the_kernels(void **state) {
  (void) state;
  assert_int_equal(mpgi_os_page_bytes, sysconf(_SC_PAGESIZE));
}

static void reserved_memory_has_no_access(void **state) {
  (void) state;
  void *p = mpgi_os_mem_reserve(MIB, PAGE);
  assert_non_null(p);
  assert_faults(p);
  mpgi_os_mem_unmap(p, MIB);
}

static void reservation_is_aligned(void **state) {
  (void) state;
  for (size_t align = PAGE; align <= 64 * MIB; align *= 2) {
    char *p = mpgi_os_mem_reserve(3 * PAGE, align);
    assert_non_null(p);
    assert_int_equal((uintptr_t) p & (align - 1), 0);
    assert_int_equal(mpgi_os_mem_commit(p, 3 * PAGE), 0);
    memset(p, 1, 3 * PAGE);
    mpgi_os_mem_unmap(p, 3 * PAGE);
  }
}

static void a_tebibyte_can_be_reserved(void **state) {
  (void) state;
  size_t tib = (size_t) 1 << 40;
  char *p = mpgi_os_mem_reserve(tib, 2 * MIB);
  assert_non_null(p);
  assert_int_equal(mpgi_os_mem_commit(p + tib / 2, PAGE), 0);
  touch(p + tib / 2);
  mpgi_os_mem_unmap(p, tib);
}

/* Does /proc/self/smaps say of p's mapping that core files leave it out? */
static bool is_left_out(const void *p) {
  char line[512];
  uintptr_t lo, hi;
  bool here = false, out = false;
  FILE *f = fopen("/proc/self/smaps", "r");
  assert_non_null(f);
  while (fgets(line, sizeof line, f)) {
    if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2)
      here = (uintptr_t) p >= lo && (uintptr_t) p < hi;
    else if (here && strncmp(line, "VmFlags:", 8) == 0)
      out = strstr(line, " dd") != NULL;
  }
  fclose(f);
  return out;
}

static void core_files_have_what_is_committed(void **state) {
  (void) state;
  char *p = mpgi_os_mem_reserve(3 * PAGE, PAGE);
  assert_non_null(p);
  assert_true(is_left_out(p));
  assert_int_equal(mpgi_os_mem_commit(p + PAGE, PAGE), 0);
  assert_true(is_left_out(p));
  assert_false(is_left_out(p + PAGE));
  assert_true(is_left_out(p + 2 * PAGE));
  mpgi_os_mem_unmap(p, 3 * PAGE);
}

static void absurd_sizes_are_refused(void **state) {
  (void) state;
  assert_null(mpgi_os_mem_reserve((size_t) 1 << 62, PAGE));
  assert_null(mpgi_os_mem_reserve(SIZE_MAX & ~(PAGE - 1), 2 * MIB));
  assert_null(mpgi_os_mem_map((size_t) 1 << 62, PAGE));
}

static void commit_and_release(void **state) {
  (void) state;
  char *p = mpgi_os_mem_reserve(MIB, PAGE);
  assert_non_null(p);
  assert_int_equal(mpgi_os_mem_commit(p, 2 * PAGE), 0);
  assert_true(all_zero(p, 2 * PAGE));
  memset(p, 0x55, 2 * PAGE);
  assert_faults(p + 2 * PAGE);

  assert_true(mpgi_os_mem_release(p, PAGE));
  assert_true(all_zero(p, PAGE));
  assert_int_equal(p[PAGE], 0x55);
  touch(p);
  mpgi_os_mem_unmap(p, MIB);
}

/* Memory can be had to read zero, and a guard guards, where the kernel has the
 * program's memory locked; also one that won't take locked memory. */
static void locked_memory_is_released(void *refuse) {
  child_check(mlockall(MCL_FUTURE) == 0);
  char *p = mpgi_os_mem_map(3 * PAGE, PAGE);
  child_check(p);
  if (refuse)
    child_check(refuse_syscall(SYS_madvise, 2, MADV_LOCKED, EINVAL) == 0);
  memset(p, 0x55, 3 * PAGE);
  child_check(mpgi_os_mem_release(p, PAGE) == !refuse);
  child_check(refuse ? p[0] == 0x55 : all_zero(p, PAGE));
  mpgi_os_mem_zero(p, PAGE);
  child_check(all_zero(p, PAGE));
  child_check(p[PAGE] == 0x55);
  child_check(mpgi_os_mem_guard(p + PAGE, PAGE) == 0);
  child_check(mpgi_os_mem_unguard(p + PAGE, PAGE) == 0);
  p[PAGE] = 1;
}

static void memory_may_be_locked(void **state) {
  (void) state;
  struct child_result r;
  child_run(locked_memory_is_released, NULL, &r);
  assert_child_ok(r);
  child_run(locked_memory_is_released, &r, &r);
  assert_child_ok(r);
}

static void map_gives_zeroed_memory(void **state) {
  (void) state;
  char *p = mpgi_os_mem_map(4 * MIB, 2 * MIB);
  assert_non_null(p);
  assert_int_equal((uintptr_t) p % (2 * MIB), 0);
  mpgi_os_mem_huge(p, 4 * MIB);
  assert_true(all_zero(p, 4 * MIB));
  mpgi_os_mem_unmap(p, 4 * MIB);
}

static void unmapped_memory_faults(void **state) {
  (void) state;
  char *p = mpgi_os_mem_map(PAGE, PAGE);
  assert_non_null(p);
  mpgi_os_mem_unmap(p, PAGE);
  assert_faults(p);
}

/* ---- guards ---- */

static int mappings(void) {
  FILE *f = fopen("/proc/self/maps", "r");
  int n = 0, c;
  assert_non_null(f);
  while ((c = getc(f)) != EOF) n += c == '\n';
  fclose(f);
  return n;
}

static void guard_and_unguard(void) {
  char *p = mpgi_os_mem_map(4 * PAGE, PAGE);
  assert_non_null(p);
  assert_int_equal(mpgi_os_mem_guard(p, PAGE), 0);
  touch(p + PAGE);
  assert_faults(p);
  assert_faults(p + PAGE - 1);
  mpgi_os_mem_unguard(p, PAGE);
  touch(p);
  assert_int_equal(mpgi_os_mem_guard(p, PAGE), 0);
  mpgi_os_mem_unmap(p, 4 * PAGE);
}

static void guards_fault_and_can_be_lifted(void **state) {
  (void) state;
  guard_and_unguard();
}

static void old_kernel(void *arg) {
  (void) arg;
  child_check(refuse_syscall(SYS_madvise, 2, 102, EINVAL) == 0);
  char *p = mpgi_os_mem_map(4 * PAGE, PAGE);
  child_check(p && mpgi_os_mem_guard(p, PAGE) == 0);
  p[PAGE] = 1;
  mpgi_os_mem_unguard(p, PAGE);
  p[0] = 1;
  child_check(mpgi_os_mem_guard(p, PAGE) == 0);
  mpgi_print(2, "guarded\n");
  touch(p);
}

static void guards_work_without_the_new_advice(void **state) {
  (void) state;
  struct child_result r;
  child_run(old_kernel, NULL, &r);
  assert_string_equal(r.err, "guarded\n");
  assert_int_equal(r.signal, SIGSEGV);
}

/* On kernels that have the advice, a guard doesn't split the mapping. */
static void guards_cost_no_mapping(void **state) {
  (void) state;
  char *p = mpgi_os_mem_map(64 * PAGE, PAGE);
  assert_non_null(p);
  int before = mappings();
  for (size_t i = 1; i < 64; i += 2)
    assert_int_equal(mpgi_os_mem_guard(p + i * PAGE, PAGE), 0);
  int after = mappings();
  bool has_advice = madvise(mpgi_os_mem_map(PAGE, PAGE), PAGE, 102) == 0;
  if (has_advice)
    assert_true(after <= before + 2); /* stdio's own buffer */
  else
    assert_true(after >= before + 60);
  mpgi_os_mem_unmap(p, 64 * PAGE);
}

/* ---- refusals ---- */

static void failpoint_is_sticky(void **state) {
  (void) state;
  char *p = mpgi_os_mem_reserve(4 * PAGE, PAGE);
  assert_non_null(p);
  atomic_store(&mpgi_os_mem_fail_countdown, 3); /* it is two calls */
  assert_int_equal(mpgi_os_mem_commit(p, PAGE), 0);
  assert_int_equal(mpgi_os_mem_commit(p + PAGE, PAGE), -ENOMEM);
  assert_null(mpgi_os_mem_map(PAGE, PAGE));
  assert_null(mpgi_os_mem_reserve(PAGE, PAGE));
  assert_int_equal(mpgi_os_mem_guard(p, PAGE), -ENOMEM);
  atomic_store(&mpgi_os_mem_fail_countdown, 0);
  assert_int_equal(mpgi_os_mem_commit(p + PAGE, PAGE), 0);
  mpgi_os_mem_unmap(p, 4 * PAGE);
}

static void fail_once(int64_t n) {
  atomic_store(&mpgi_os_fail_once, true);
  atomic_store(&mpgi_os_mem_fail_countdown, n);
}

/* Each call of the kernel that gives memory back, too, may be refused; what was
 * there is there still, and the next one is granted. */
static void what_gives_back_may_be_refused(void **state) {
  (void) state;
  char *p = mpgi_os_mem_map(4 * PAGE, PAGE);
  assert_non_null(p);
  memset(p, 0x55, 4 * PAGE);
  fail_once(1); /* it asks in two ways */
  assert_true(mpgi_os_mem_release(p, PAGE) || p[0] == 0x55);
  atomic_store(&mpgi_os_fail_once, false);
  atomic_store(&mpgi_os_mem_fail_countdown, 1);
  assert_false(mpgi_os_mem_release(p + PAGE, PAGE));
  assert_int_equal(p[PAGE], 0x55);
  mpgi_os_mem_zero(p + 2 * PAGE, PAGE);
  assert_true(all_zero(p + 2 * PAGE, PAGE));
  mpgi_os_mem_unmap(p + 3 * PAGE, PAGE);
  atomic_store(&mpgi_os_mem_fail_countdown, 0);
  assert_int_equal(p[3 * PAGE], 0x55); /* neither unmapped nor given back */
  mpgi_os_mem_unmap(p, 4 * PAGE);
}

static void guards_may_be_refused(void **state) {
  (void) state;
  char *p = mpgi_os_mem_map(4 * PAGE, PAGE);
  assert_non_null(p);
  int refused = 0;
  for (int64_t n = 1; n <= 3; n++) {
    bool madvise_refused = n == 1 && !mpgi_os_mem_guard_maps();
    fail_once(n);
    int err = mpgi_os_mem_guard(p, PAGE);
    assert_true(err == 0 || (err == -ENOMEM && !madvise_refused));
    if (err == 0) assert_faults(p);
    fail_once(n);
    err = mpgi_os_mem_unguard(p, PAGE);
    assert_true(err == 0 || err == -ENOMEM);
    refused += err != 0;
    if (err == 0) touch(p);
    atomic_store(&mpgi_os_mem_fail_countdown, 0);
    assert_int_equal(mpgi_os_mem_unguard(p, PAGE), 0);
    touch(p);
  }
  assert_true(refused > 0);
  atomic_store(&mpgi_os_fail_once, false);
  mpgi_os_mem_unmap(p, 4 * PAGE);
}

static void no_address_space(void *arg) {
  (void) arg;
  struct rlimit lim = {256 * MIB, 256 * MIB};
  child_check(setrlimit(RLIMIT_AS, &lim) == 0);
  errno = 77;
  child_check(mpgi_os_mem_reserve((size_t) 1 << 40, PAGE) == NULL);
  child_check(mpgi_os_mem_map(512 * MIB, PAGE) == NULL);
  child_check(errno == 77);
  child_check(mpgi_os_mem_map(16 * MIB, PAGE) != NULL);
}

static void address_space_limit_is_an_error(void **state) {
  (void) state;
  /* The sanitizer's own shadow is above the limit. */
  if (UNIT_ASAN || UNIT_TSAN) skip();
  struct child_result r;
  child_run(no_address_space, NULL, &r);
  assert_child_ok(r);
}

/* Without spare mappings nothing is torn: calls that must split one either
 * report it or keep the addresses. */
static void no_mappings(void *arg) {
  (void) arg;
  enum { N = 70000 };
  char *p = mpgi_os_mem_map(N * 2 * PAGE, PAGE);
  child_check(p);
  child_check(refuse_syscall(SYS_madvise, 2, 102, EINVAL) == 0);
  int err = 0;
  size_t i = 0;
  for (; i < N && err == 0; i++)
    err = mpgi_os_mem_guard(p + 2 * i * PAGE, PAGE);
  child_check(err == -ENOMEM);
  child_check(i > 1000);
  char *tail = p + (2 * N - 5) * PAGE;
  memset(tail, 1, 3 * PAGE);
  mpgi_os_mem_unmap(tail + PAGE, PAGE); /* would need one more */
  child_check(all_zero(tail + PAGE, PAGE) && tail[0] == 1);
  child_check(mpgi_os_mem_reserve(PAGE, 2 * MIB) == NULL ||
              mpgi_os_mem_reserve(PAGE, 2 * MIB) == NULL);
}

static void running_out_of_mappings_is_an_error(void **state) {
  (void) state;
  struct child_result r;
  child_run(no_mappings, NULL, &r);
  assert_child_ok(r);
}

static void misaligned_use_is_caught(void **state) {
  (void) state;
  char *p = mpgi_os_mem_map(2 * PAGE, PAGE);
  assert_non_null(p);
  assert_fatal("page_aligned", mpgi_os_mem_release(p + 1, PAGE));
  assert_fatal("align", (void) mpgi_os_mem_reserve(PAGE, 3 * PAGE));
  mpgi_os_mem_unmap(p, 2 * PAGE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(page_size_is_the_kernels),
      cmocka_unit_test(reserved_memory_has_no_access),
      cmocka_unit_test(reservation_is_aligned),
      cmocka_unit_test(a_tebibyte_can_be_reserved),
      cmocka_unit_test(core_files_have_what_is_committed),
      cmocka_unit_test(absurd_sizes_are_refused),
      cmocka_unit_test(commit_and_release),
      cmocka_unit_test(memory_may_be_locked),
      cmocka_unit_test(map_gives_zeroed_memory),
      cmocka_unit_test(unmapped_memory_faults),
      cmocka_unit_test(guards_fault_and_can_be_lifted),
      cmocka_unit_test(guards_work_without_the_new_advice),
      cmocka_unit_test(guards_cost_no_mapping),
      cmocka_unit_test(failpoint_is_sticky),
      cmocka_unit_test(what_gives_back_may_be_refused),
      cmocka_unit_test(guards_may_be_refused),
      cmocka_unit_test(address_space_limit_is_an_error),
      cmocka_unit_test(running_out_of_mappings_is_an_error),
      cmocka_unit_test(misaligned_use_is_caught),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

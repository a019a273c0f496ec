/* MPG_DEBUG and the other environment variables. */
#include <tests/support/unit.h>

#include <arch/common/fixmem.h>
#include <arch/common/options.h>
#include <arch/os.h>
#include <stdlib.h>

/* Parse list over the defaults; complaints go into said. */
static char said[4096];
static int parse(struct mpgi_options *opt, const char *list) {
  int fds[2];
  assert_int_equal(pipe(fds), 0);
  mpgi_options_default(opt);
  int bad = mpgi_options_parse(opt, list, fds[1]);
  close(fds[1]);
  ssize_t n = read(fds[0], said, sizeof said - 1);
  said[n > 0 ? n : 0] = 0;
  close(fds[0]);
  return bad;
}

static void defaults_are_the_tables(void **state) {
  (void) state;
  struct mpgi_options opt;
  memset(&opt, 0xff, sizeof opt);
  mpgi_options_default(&opt);
#define MPGI_OPTION(name, dflt, lo, hi, doc) \
  assert_int_equal(opt.name, dflt);          \
  assert_true((lo) <= (dflt) && (dflt) <= (hi) && *(doc) != 0);
#define MPGI_OPTION_NAME(name, doc)
#include <arch/common/options.def>
#undef MPGI_OPTION
#undef MPGI_OPTION_NAME
  assert_int_equal(opt.procs, 0);
  assert_int_equal(opt.gcpercent, 100);
  assert_int_equal(opt.memlimit, INT64_MAX);
  assert_int_equal(opt.traceback, 1);
}

static void every_option_takes_its_bounds(void **state) {
  (void) state;
  struct mpgi_options opt;
  char list[128];
#define MPGI_OPTION(name, dflt, lo, hi, doc)                              \
  mpgi_format(list, sizeof list, "%s=%lld", #name, (long long) (hi));     \
  assert_int_equal(parse(&opt, list), 0);                                 \
  assert_int_equal(opt.name, hi);                                         \
  mpgi_format(list, sizeof list, "%s=%lld", #name, (long long) (hi) + 1); \
  assert_int_equal(parse(&opt, list), 1);                                 \
  assert_int_equal(opt.name, dflt);                                       \
  mpgi_format(list, sizeof list, "%s=%lld", #name, (long long) (lo) -1);  \
  assert_int_equal(parse(&opt, list), 1);                                 \
  assert_int_equal(opt.name, dflt);
#define MPGI_OPTION_NAME(name, doc)
#include <arch/common/options.def>
#undef MPGI_OPTION
#undef MPGI_OPTION_NAME
}

static void names_are_values_of_some(void **state) {
  (void) state;
  struct mpgi_options opt;
  assert_int_equal(parse(&opt, "chaosat=a.b,gctrace"), 0);
  assert_int_equal(opt.gctrace, 1);
  int64_t hash = mpgi_options_hash(mpgi_options_hash(0, "a.", 2), "b", 1);
  assert_true(hash != 0 && opt.chaosat == hash);
  assert_int_equal(parse(&opt, "chaosat=a.c"), 0);
  assert_true(opt.chaosat != hash);
  assert_int_equal(parse(&opt, "chaosat="), 1);
  assert_int_equal(opt.chaosat, 0);
}

static void lists_are_read_in_order(void **state) {
  (void) state;
  struct mpgi_options opt;
  assert_int_equal(parse(&opt, "schedtrace=1000,scheddetail=1,gctrace"), 0);
  assert_int_equal(opt.schedtrace, 1000);
  assert_int_equal(opt.scheddetail, 1);
  assert_int_equal(opt.gctrace, 1);
  assert_int_equal(parse(&opt, "gcstress=1,gcstress=7"), 0);
  assert_int_equal(opt.gcstress, 7);
  assert_int_equal(parse(&opt, ""), 0);
  assert_int_equal(parse(&opt, ",,gctrace=0,"), 0);
  assert_string_equal(said, "");
}

static void unknown_options_are_reported(void **state) {
  (void) state;
  struct mpgi_options opt;
  assert_int_equal(parse(&opt, "gctrac=1,gctrace,gctracex"), 2);
  assert_int_equal(opt.gctrace, 1);
  assert_string_equal(said,
                      "mpg: unknown option 'gctrac' in MPG_DEBUG\n"
                      "mpg: unknown option 'gctracex' in MPG_DEBUG\n");
  assert_int_equal(parse(&opt, "=1"), 1);
  assert_string_equal(said, "mpg: unknown option '' in MPG_DEBUG\n");
}

static void bad_values_are_reported(void **state) {
  (void) state;
  struct mpgi_options opt;
  static const char *const bad[] = {
      "",   "x",   "1x",  " 1",  "1 ",
      "+1", "--1", "0x1", "1e3", "99999999999999999999"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    char list[64], want[128];
    mpgi_format(list, sizeof list, "schedtrace=%s", bad[i]);
    mpgi_format(want, sizeof want,
                "mpg: ignoring bad value '%s' of schedtrace in MPG_DEBUG\n",
                bad[i]);
    assert_int_equal(parse(&opt, list), 1);
    assert_string_equal(said, want);
    assert_int_equal(opt.schedtrace, 0);
  }
}

/* ---- the environment ---- */

struct variable {
  const char *name, *value;
  int64_t want;
  bool ok;
};

static int64_t read_back(const struct mpgi_options *opt, const char *name) {
  if (strcmp(name, "MPG_PROCS") == 0) return opt->procs;
  if (strcmp(name, "MPG_GC") == 0) return opt->gcpercent;
  if (strcmp(name, "MPG_MEMLIMIT") == 0) return opt->memlimit;
  return opt->traceback;
}

static void variables_are_read(void **state) {
  (void) state;
  static const struct variable cases[] = {
      {"MPG_PROCS", "1", 1, true},
      {"MPG_PROCS", "64", 64, true},
      {"MPG_PROCS", "1024", 1024, true},
      {"MPG_PROCS", "1025", 0, false},
      {"MPG_PROCS", "", 0, true},
      {"MPG_PROCS", "0", 0, false},
      {"MPG_PROCS", "-3", 0, false},
      {"MPG_PROCS", "two", 0, false},
      {"MPG_PROCS", "100000", 0, false},
      {"MPG_GC", "0", 0, true},
      {"MPG_GC", "250", 250, true},
      {"MPG_GC", "off", -1, true},
      {"MPG_GC", "OFF", 100, false},
      {"MPG_GC", "-1", 100, false},
      {"MPG_GC", "50%", 100, false},
      {"MPG_MEMLIMIT", "12345", 12345, true},
      {"MPG_MEMLIMIT", "12345B", 12345, true},
      {"MPG_MEMLIMIT", "64KiB", 65536, true},
      {"MPG_MEMLIMIT", "3MiB", 3 << 20, true},
      {"MPG_MEMLIMIT", "5GiB", (int64_t) 5 << 30, true},
      {"MPG_MEMLIMIT", "7TiB", (int64_t) 7 << 40, true},
      {"MPG_MEMLIMIT", "off", INT64_MAX, true},
      {"MPG_MEMLIMIT", "9223372036854775807", INT64_MAX, true},
      {"MPG_MEMLIMIT", "9223372036854775808", INT64_MAX, false},
      {"MPG_MEMLIMIT", "8388608TiB", INT64_MAX, false},
      {"MPG_MEMLIMIT", "1KB", INT64_MAX, false},
      {"MPG_MEMLIMIT", "KiB", INT64_MAX, false},
      {"MPG_MEMLIMIT", "-1", INT64_MAX, false},
      {"MPG_TRACEBACK", "none", 0, true},
      {"MPG_TRACEBACK", "single", 1, true},
      {"MPG_TRACEBACK", "all", 2, true},
      {"MPG_TRACEBACK", "2", 2, true},
      {"MPG_TRACEBACK", "system", 3, true},
      {"MPG_TRACEBACK", "crash", 4, true},
      {"MPG_TRACEBACK", "5", 1, false},
      {"MPG_TRACEBACK", "loud", 1, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const struct variable *c = &cases[i];
    struct mpgi_options opt;
    int fds[2];
    char want[128] = "";
    assert_int_equal(pipe(fds), 0);
    mpgi_options_default(&opt);
    setenv(c->name, c->value, 1);
    assert_int_equal(mpgi_options_read(&opt, fds[1]), !c->ok);
    unsetenv(c->name);
    close(fds[1]);
    ssize_t n = read(fds[0], said, sizeof said - 1);
    said[n > 0 ? n : 0] = 0;
    close(fds[0]);
    if (!c->ok)
      mpgi_format(want, sizeof want, "mpg: ignoring bad value '%s' of %s\n",
                  c->value, c->name);
    assert_string_equal(said, want);
    assert_true(read_back(&opt, c->name) == c->want);
  }
}

static void init_reads_once(void *arg) {
  (void) arg;
  setenv("MPG_DEBUG",
         "gctrace=1,failmap=3,failthread=2,failrecord=4,failonce,nonsense", 1);
  setenv("MPG_PROCS", "3", 1);
  setenv("MPG_GC", "many", 1);
  mpgi_options_init();
  setenv("MPG_PROCS", "4", 1);
  mpgi_options_init();
  child_check(mpgi_opt.procs == 3);
  child_check(mpgi_opt.gctrace == 1);
  child_check(mpgi_opt.gcpercent == 100);
  child_check(atomic_load(&mpgi_os_mem_fail_countdown) == 3);
  child_check(atomic_load(&mpgi_os_thread_fail_countdown) == 2);
  child_check(atomic_load(&mpgi_fixmem_fail_countdown) == 4);
  child_check(atomic_load(&mpgi_os_fail_once));
}

static void init_reads_the_environment_once(void **state) {
  (void) state;
  struct child_result r;
  child_run(init_reads_once, NULL, &r);
  assert_int_equal(r.status, 0);
  assert_string_equal(r.err,
                      "mpg: unknown option 'nonsense' in MPG_DEBUG\n"
                      "mpg: ignoring bad value 'many' of MPG_GC\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults_are_the_tables),
      cmocka_unit_test(every_option_takes_its_bounds),
      cmocka_unit_test(names_are_values_of_some),
      cmocka_unit_test(lists_are_read_in_order),
      cmocka_unit_test(unknown_options_are_reported),
      cmocka_unit_test(bad_values_are_reported),
      cmocka_unit_test(variables_are_read),
      cmocka_unit_test(init_reads_the_environment_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

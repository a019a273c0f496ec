/* The states of a goroutine: which may follow which, and their names. */
#include <tests/support/unit.h>

#include <tests/support/unit_sched.h>

static const enum mpgi_g_status all[] = {
    MPGI_G_IDLE,    MPGI_G_RUNNABLE, MPGI_G_RUNNING,   MPGI_G_SYSCALL,
    MPGI_G_WAITING, MPGI_G_DEAD,     MPGI_G_COPYSTACK, MPGI_G_PREEMPTED};
#define N ((int) (sizeof all / sizeof *all))

/* Who leaves a state says to what; the design's words, not status.c's. */
static const struct {
  enum mpgi_g_status from, to;
} legal[] = {
    {MPGI_G_IDLE, MPGI_G_DEAD},          /* made, to the free list */
    {MPGI_G_DEAD, MPGI_G_RUNNABLE},      /* mpg_go */
    {MPGI_G_RUNNABLE, MPGI_G_RUNNING},   /* an M takes it */
    {MPGI_G_RUNNABLE, MPGI_G_DEAD},      /* the run ends */
    {MPGI_G_RUNNING, MPGI_G_RUNNABLE},   /* yield, preemption */
    {MPGI_G_RUNNING, MPGI_G_SYSCALL},    /* mpg_syscall_enter */
    {MPGI_G_RUNNING, MPGI_G_WAITING},    /* parks */
    {MPGI_G_RUNNING, MPGI_G_DEAD},       /* returns */
    {MPGI_G_RUNNING, MPGI_G_PREEMPTED},  /* the world stops */
    {MPGI_G_SYSCALL, MPGI_G_RUNNING},    /* got a P */
    {MPGI_G_SYSCALL, MPGI_G_RUNNABLE},   /* got none */
    {MPGI_G_SYSCALL, MPGI_G_DEAD},       /* the run ends */
    {MPGI_G_WAITING, MPGI_G_RUNNABLE},   /* readied */
    {MPGI_G_WAITING, MPGI_G_DEAD},       /* the run ends */
    {MPGI_G_WAITING, MPGI_G_COPYSTACK},  /* its stack goes */
    {MPGI_G_RUNNABLE, MPGI_G_COPYSTACK}, /* with stackmove, too */
    {MPGI_G_COPYSTACK, MPGI_G_WAITING},  /* it is gone */
    {MPGI_G_COPYSTACK, MPGI_G_RUNNABLE},
    {MPGI_G_RUNNING, MPGI_G_COPYSTACK},  /* it comes back */
    {MPGI_G_COPYSTACK, MPGI_G_RUNNING},  /* it is back */
    {MPGI_G_PREEMPTED, MPGI_G_RUNNING},  /* the world goes on */
    {MPGI_G_PREEMPTED, MPGI_G_RUNNABLE}, /* and it was preempted meanwhile */
    {MPGI_G_PREEMPTED, MPGI_G_DEAD},     /* the run ends */
};

static bool is_legal(enum mpgi_g_status from, enum mpgi_g_status to) {
  for (size_t i = 0; i < sizeof legal / sizeof *legal; i++)
    if (legal[i].from == from && legal[i].to == to) return true;
  return false;
}

static void only_legal_transitions(void **state) {
  (void) state;
  static struct mpg_g g;
  for (volatile int i = 0; i < N; i++)
    for (volatile int k = 0; k < N; k++) {
      atomic_store(&g.status, all[i]);
      if (is_legal(all[i], all[k])) {
        mpgi_g_status_set(&g, all[i], all[k]);
        assert_int_equal(mpgi_g_status(&g), all[k]);
      } else {
        assert_fatal("check failed", mpgi_g_status_set(&g, all[i], all[k]));
        assert_int_equal(mpgi_g_status(&g), all[i]);
      }
    }
}

static void the_old_state_must_be_as_expected(void **state) {
  (void) state;
  static struct mpg_g g;
  for (volatile int i = 0; i < N; i++) {
    if (all[i] == MPGI_G_RUNNING) continue;
    atomic_store(&g.status, all[i]);
    assert_fatal("check failed",
                 mpgi_g_status_set(&g, MPGI_G_RUNNING, MPGI_G_WAITING));
  }
}

static void wake_a_running_one(void *arg) {
  static struct mpg_g g;
  (void) arg;
  atomic_store(&g.status, MPGI_G_RUNNING);
  mpgi_g_status_set(&g, MPGI_G_WAITING, MPGI_G_RUNNABLE);
}

static void a_wrong_one_ends_the_process(void **state) {
  (void) state;
  struct child_result r;
  child_run(wake_a_running_one, NULL, &r);
  assert_int_equal(r.signal, SIGABRT);
  assert_non_null(strstr(r.err, "check failed: now == from"));
  assert_non_null(strstr(r.err, "status_wrong"));
}

static void names_are_gos(void **state) {
  (void) state;
  static const char *const names[] = {"idle",      "runnable", "running",
                                      "syscall",   "waiting",  "dead",
                                      "copystack", "preempted"};
  static const int numbers[] = {0, 1, 2, 3, 4, 6, 8, 9};
  for (int i = 0; i < N; i++) {
    assert_int_equal(all[i], numbers[i]);
    assert_string_equal(mpgi_g_status_name(all[i]), names[i]);
    assert_string_equal(mpgi_g_status_name(all[i] | MPGI_G_SCAN), names[i]);
  }
  assert_string_equal(mpgi_g_status_name(5), "???");
  assert_string_equal(mpgi_g_status_name(15), "???");
  assert_string_equal(mpgi_g_status_name(0xfff), "???");
}

static void every_wait_reason_has_a_name(void **state) {
  (void) state;
  assert_string_equal(mpgi_wait_reason_name(MPGI_WAIT_NONE), "");
  for (int i = 1; i < MPGI_WAIT_REASONS; i++) {
    const char *name = mpgi_wait_reason_name((uint8_t) i);
    assert_non_null(name);
    assert_true(strlen(name) > 0 && strcmp(name, "???") != 0);
    for (int k = 1; k < i; k++)
      assert_string_not_equal(name, mpgi_wait_reason_name((uint8_t) k));
  }
  assert_string_equal(mpgi_wait_reason_name(MPGI_WAIT_REASONS), "???");
  assert_string_equal(mpgi_wait_reason_name(255), "???");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_legal_transitions),
      cmocka_unit_test(the_old_state_must_be_as_expected),
      cmocka_unit_test(a_wrong_one_ends_the_process),
      cmocka_unit_test(names_are_gos),
      cmocka_unit_test(every_wait_reason_has_a_name),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

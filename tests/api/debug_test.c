/* debug_test.c - version, tracebacks, declaring user text. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>

#include "../support/check.h"
#include "../support/traceback.h"

static mpg_waitgroup done;
static mpg_chan *gate;

static void version_is_that_of_the_header(void *arg) {
  (void) arg;
  char want[32];
  snprintf(want, sizeof(want), "%d.%d.%d", MPG_VERSION_MAJOR, MPG_VERSION_MINOR,
           MPG_VERSION_PATCH);
  CHECK(strncmp(mpg_version(), want, strlen(want)) == 0);
  CHECK(strstr(mpg_version(), "linux") != NULL);
}

static void wait_at_gate(void *arg) {
  (void) arg;
  mpg_waitgroup_done(&done);
  mpg_chan_recv(gate, NULL);
}

static void traceback_names_every_goroutine(void *arg) {
  (void) arg;
  gate = mpg_chan_new(0, 0);
  struct mpg_go_options o = {.size = sizeof(o), .name = "the named one"};
  mpg_waitgroup_add(&done, 5);
  for (int i = 0; i < 4; i++) CHECK_GO(wait_at_gate, NULL);
  CHECK_EQ(mpg_go_with(&o, wait_at_gate, NULL), 0);
  mpg_waitgroup_wait(&done);
  char *text = traceback_when(5, "[chan receive");
  char mine[64];
  snprintf(mine, sizeof(mine), "goroutine %d [running]:", (int) mpg_goid());
  CHECK(strstr(text, mine) != NULL);
  CHECK_GE(count(text, "goroutine "), 6);
  CHECK(strstr(text, "the named one") != NULL);
  free(text);
  mpg_chan_close(gate);
}

static void traceback_outside_a_run(void *arg) {
  (void) arg;
  int fds[2];
  CHECK_EQ(pipe(fds), 0);
  mpg_traceback_all(fds[1]); /* there are none */
  close(fds[1]);
  char text[2000];
  ssize_t n = read(fds[0], text, sizeof(text) - 1);
  CHECK_GE(n, 0);
  text[n] = '\0';
  CHECK_EQ(count(text, "goroutine "), 0);
  close(fds[0]);
}

static void a_bad_descriptor_is_harmless(void *arg) {
  (void) arg;
  mpg_traceback_all(-1);
  mpg_traceback_all(9999);
}

static void text_of_unknown_places_is_refused(void *arg) {
  (void) arg;
  int local = 0;
  void *m = malloc(10);
  CHECK_EQ(mpg_text_add(NULL), -EINVAL);
  CHECK_EQ(mpg_text_add((void *) 1), -EINVAL);
  CHECK_EQ(mpg_text_add(m), -EINVAL);
  CHECK_EQ(mpg_text_add(&local), -EINVAL);
  free(m);
}

static void text_of_a_library_is_accepted(void *arg) {
  (void) arg;
  void *cos_of_libm = dlsym(RTLD_DEFAULT, "cos");
  CHECK(cos_of_libm != NULL);
  CHECK_EQ(mpg_text_add(cos_of_libm), 0);
  CHECK_EQ(mpg_text_add(cos_of_libm), 0); /* again: nothing changes */
}

static const struct check_case cases[] = {
    OUTSIDE(version_is_that_of_the_header),
    OUTSIDE(traceback_outside_a_run),
    INSIDE(traceback_names_every_goroutine),
    INSIDE(a_bad_descriptor_is_harmless),
    INSIDE(text_of_unknown_places_is_refused),
    INSIDE(text_of_a_library_is_accepted),
    OUTSIDE(traceback_outside_a_run),
};
CHECK_MAIN(cases, 20)

/* debug_trace_test.c - traces: the calls, and the files.
 *
 * tests/support/check_trace.py reads the files with a JSON parser.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "../support/check.h"

static char path[] = "/tmp/mpg_trace_test.XXXXXX";

static void check_file(const char *wanted) {
  char command[4096];
  snprintf(command, sizeof(command), "%s/support/check_trace.py %s %s",
           TESTS_FOLDER, path, wanted);
  CHECK_EQ(system(command), 0);
}

/* With asyncpreemptoff nobody is preempted who doesn't call. */
static void check_everything(const char *wanted) {
  char all[512];
  snprintf(all, sizeof(all), "%s %s", wanted,
           check_switch("asyncpreemptoff") ? "" : "WHY=preempted");
  check_file(all);
}

/* ---- something of everything ---- */

static mpg_waitgroup done;
static mpg_chan *ball;

static void player(void *arg) {
  (void) arg;
  long v;
  while (mpg_chan_recv(ball, &v) && v > 0) {
    v--;
    mpg_chan_send(ball, &v);
  }
  mpg_chan_close(ball);
}

static void second_player(void *arg) {
  (void) arg;
  long v;
  while (mpg_chan_recv(ball, &v) && v > 0) {
    v--;
    mpg_chan_send(ball, &v);
  }
  mpg_waitgroup_done(&done);
}

/* As many loops as processors, and somebody who ends them: without preemption
 * he would not come to run. */
static _Atomic int looping;
static _Atomic bool enough;

static void loop_without_calls(void *arg) {
  (void) arg;
  atomic_fetch_add(&looping, 1);
  while (!atomic_load_explicit(&enough, memory_order_relaxed)) continue;
  mpg_waitgroup_done(&done);
}

static void end_loops(void *arg) {
  int *n = arg;
  while (atomic_load(&looping) < *n) mpg_sleep(1000 * 1000);
  mpg_sleep(2 * 1000 * 1000);
  atomic_store(&enough, true);
  mpg_waitgroup_done(&done);
}

static void in_system_calls(void *arg) {
  (void) arg;
  for (int i = 0; i < 5; i++) {
    mpg_syscall_enter();
    usleep(3000);
    mpg_syscall_exit();
  }
  mpg_waitgroup_done(&done);
}

static void sleeps(void *arg) {
  (void) arg;
  for (int i = 0; i < 3; i++) mpg_sleep(2 * 1000 * 1000);
  mpg_waitgroup_done(&done);
}

static void yields(void *arg) {
  (void) arg;
  for (int i = 0; i < 200; i++) mpg_yield();
  mpg_waitgroup_done(&done);
}

static void everything(void *arg) {
  (void) arg;
  static int loops;
  loops = check_switch("asyncpreemptoff") ? 0 : mpg_gomaxprocs(0);
  atomic_store(&looping, 0);
  atomic_store(&enough, false);
  ball = mpg_chan_new(sizeof(long), 0);
  mpg_waitgroup_add(&done, 7 + loops);
  CHECK_GO(second_player, NULL);
  CHECK_GO(player, NULL);
  CHECK_GO(end_loops, &loops);
  for (int i = 0; i < loops; i++) CHECK_GO(loop_without_calls, NULL);
  CHECK_GO(in_system_calls, NULL);
  CHECK_GO(in_system_calls, NULL);
  CHECK_GO(sleeps, NULL);
  CHECK_GO(yields, NULL);
  CHECK_GO(yields, NULL);
  long v = 1000;
  mpg_chan_send(ball, &v);
  for (int i = 0; i < 1000; i++) CHECK(mpg_alloc(1000) != NULL);
  mpg_gc();
  mpg_waitgroup_wait(&done);
}

#define EVERYTHING                                                         \
  "'stop the world' stopping stopped collection mark sweep 'system call' " \
  "create 'counter heap' 'counter goroutines' WHY=chan "                   \
  "WHY=sleep WHY=yield WHY=end WHY=forced LOST=no"

static void starts_and_stops_in_a_run(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_trace_start(path), 0);
  everything(NULL);
  CHECK_EQ(mpg_trace_stop(), 0);
}

static void a_file_of_a_part_of_a_run(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  CHECK_EQ(mpg_run(starts_and_stops_in_a_run, NULL), 0);
  check_everything("4 " EVERYTHING);
}

static void a_file_on_one_processor(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  CHECK_EQ(mpg_run(starts_and_stops_in_a_run, NULL), 0);
  check_everything("3 " EVERYTHING);
}

static void a_file_of_several_runs(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  CHECK_EQ(mpg_trace_start(path), 0);
  CHECK_EQ(mpg_run(everything, NULL), 0);
  CHECK_EQ(mpg_run(everything, NULL), 0);
  CHECK_EQ(mpg_trace_stop(), 0);
  check_everything("4 'WHY=end of mpg_run' " EVERYTHING);
}

/* ---- attached threads ---- */

static mpg_chan *questions, *answers;

static void answer(void *arg) {
  (void) arg;
  long v;
  while (mpg_chan_recv(questions, &v)) mpg_chan_send(answers, &v);
}

static void *attached_thread(void *arg) {
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(mpg_thread_attach(), 0);
    for (long v = 0; v < 100; v++) {
      mpg_chan_send(questions, &v);
      CHECK(mpg_chan_recv(answers, NULL));
    }
    mpg_sleep(1000 * 1000);
    in_system_calls(arg);
    CHECK_EQ(mpg_thread_detach(), 0);
  }
  return NULL;
}

static void join(void *thread) { pthread_join(*(pthread_t *) thread, NULL); }

static void starts_and_stops_beside_threads(void *arg) {
  (void) arg;
  pthread_t thread[2];
  CHECK_EQ(mpg_trace_start(path), 0);
  questions = mpg_chan_new(sizeof(long), 0);
  answers = mpg_chan_new(sizeof(long), 0);
  mpg_waitgroup_add(&done, 4);
  CHECK_GO(answer, NULL);
  for (int i = 0; i < 2; i++)
    CHECK_EQ(pthread_create(&thread[i], NULL, attached_thread, NULL), 0);
  for (int i = 0; i < 2; i++) mpg_blocking(join, &thread[i]);
  mpg_chan_close(questions);
  CHECK_EQ(mpg_trace_stop(), 0);
}

static void attached_threads_are_in_it(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  CHECK_EQ(mpg_run(starts_and_stops_beside_threads, NULL), 0);
  check_file("4 LOST=no 'thread M' 'arrow to a thread' 'system call' WHY=end");
}

/* ---- more processors while it is on ---- */

static void grow_and_shrink(void *arg) {
  (void) arg;
  mpg_gomaxprocs(6);
  everything(NULL);
  mpg_gomaxprocs(1);
  everything(NULL);
  mpg_gomaxprocs(4);
  everything(NULL);
}

static void processors_come_and_go(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  CHECK_EQ(mpg_trace_start(path), 0);
  CHECK_EQ(mpg_run(grow_and_shrink, NULL), 0);
  CHECK_EQ(mpg_trace_stop(), 0);
  check_everything("8 WHY=gomaxprocs " EVERYTHING);
}

/* ---- too much for the writer ---- */

static void yield_for_long(void *arg) {
  (void) arg;
  for (int i = 0; i < 30 * 1000; i++) mpg_yield();
  mpg_waitgroup_done(&done);
}

static void more_than_fits(void *arg) {
  (void) arg;
  mpg_waitgroup_add(&done, 8);
  for (int i = 0; i < 8; i++) CHECK_GO(yield_for_long, NULL);
  mpg_waitgroup_wait(&done);
}

/* Whether something is lost depends on the machine. */
static void what_is_lost_is_said(void *arg) {
  (void) arg;
  mpg_gomaxprocs(2);
  CHECK_EQ(mpg_trace_start(path), 0);
  CHECK_EQ(mpg_run(more_than_fits, NULL), 0);
  CHECK_EQ(mpg_trace_stop(), 0);
  check_file("4 WHY=yield");
}

/* ---- killed ---- */

static void look_for(void *found) {
  static char line[65536];
  FILE *f = fopen(path, "r");
  CHECK(f != NULL);
  while (fgets(line, sizeof(line), f))
    if (strstr(line, "\"why\":\"yield\"")) *(bool *) found = true;
  fclose(f);
}

/* Not raw: a P more than procs might stand in for one that waits for the
 * writer, which has the file. */
static bool file_says_yield(void) {
  bool found = false;
  mpg_blocking(look_for, &found);
  return found;
}

/* When the writer, whose thread has a low priority, has got so far. */
static void be_killed(void *arg) {
  (void) arg;
  everything(NULL);
  CHECK_EVENTUALLY(file_says_yield());
  kill(getpid(), SIGKILL);
}

static void the_file_of_a_killed_program_can_be_read(void *arg) {
  (void) arg;
  pid_t child = fork();
  CHECK_GE(child, 0);
  if (child == 0) {
    CHECK_EQ(mpg_trace_start(path), 0);
    mpg_run(be_killed, NULL);
    _exit(1);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  check_file("8 UNFINISHED create WHY=yield");
}

/* ---- a run that ends in the middle of it ---- */

static void stop_for_main(void *arg) {
  (void) arg;
  mpg_trace_stop();
  mpg_chan_recv(NULL, NULL);
}

static void end_while_stopping(void *arg) {
  (void) arg;
  CHECK_GO(stop_for_main, NULL);
  for (int i = 0; i < 1000; i++) mpg_yield();
}

static void the_run_may_end_meanwhile(void *arg) {
  (void) arg;
  for (int i = 0; i < 12; i++) {
    mpg_gomaxprocs(1 + i % 3);
    CHECK_EQ(mpg_trace_start(path), 0);
    CHECK_EQ(mpg_run(end_while_stopping, NULL), 0);
    int err = mpg_trace_stop();
    CHECK(err == 0 || err == -EALREADY);
    /* The writer may still be at the file of the goroutine that is gone. */
    while ((err = mpg_trace_start(path)) == -EALREADY) usleep(1000);
    CHECK_EQ(err, 0);
    CHECK_EQ(mpg_trace_stop(), 0);
  }
  check_file("3");
}

/* ---- errors ---- */

static void errors(void *arg) {
  (void) arg;
  char deep[6000];
  memset(deep, 'x', sizeof(deep));
  deep[sizeof(deep) - 1] = '\0';
  CHECK_EQ(mpg_trace_stop(), -EALREADY);
  CHECK_EQ(mpg_trace_start(NULL), -EINVAL);
  CHECK_EQ(mpg_trace_start(""), -EINVAL);
  CHECK_EQ(mpg_trace_start("/nowhere/at/all"), -ENOENT);
  CHECK_EQ(mpg_trace_start("/"), -EISDIR);
  CHECK_EQ(mpg_trace_start(deep), -ENAMETOOLONG);
  CHECK_EQ(mpg_trace_stop(), -EALREADY);
  CHECK_EQ(mpg_trace_start(path), 0);
  CHECK_EQ(mpg_trace_start(path), -EALREADY);
  CHECK_EQ(mpg_trace_stop(), 0);
  CHECK_EQ(mpg_trace_stop(), -EALREADY);
  CHECK_EQ(mpg_trace_start("/dev/full"), 0);
  CHECK_EQ(mpg_trace_stop(), -ENOSPC);
}

static void errors_outside(void *arg) { errors(arg); }
static void errors_inside(void *arg) { errors(arg); }

static const struct check_case cases[] = {
    OUTSIDE(the_file_of_a_killed_program_can_be_read), /* forks: first */
    OUTSIDE(errors_outside),
    INSIDE(errors_inside),
    OUTSIDE(a_file_of_a_part_of_a_run),
    OUTSIDE(a_file_on_one_processor),
    OUTSIDE(a_file_of_several_runs),
    OUTSIDE(attached_threads_are_in_it),
    OUTSIDE(processors_come_and_go),
    OUTSIDE(what_is_lost_is_said),
    OUTSIDE(the_run_may_end_meanwhile),
};

int main(int argc, char **argv) {
  int fd = mkstemp(path);
  CHECK_GE(fd, 0);
  close(fd);
  int status =
      check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 40);
  CHECK_EQ(unlink(path), 0);
  return status;
}

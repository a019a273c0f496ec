/* sched_fork_test.c - fork, vfork, posix_spawn, system, popen in goroutines. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include "../support/check.h"

extern char **environ;

static int status_of(pid_t child) {
  int status;
  CHECK_GT(child, 0);
  mpg_syscall_enter();
  pid_t r;
  do r = waitpid(child, &status, 0);
  while (r < 0 && errno == EINTR);
  mpg_syscall_exit();
  CHECK_EQ(r, child);
  return status;
}

static int exit_of(pid_t child) {
  int status = status_of(child);
  CHECK(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void a_child_execs(void *arg) {
  (void) arg;
  for (int i = 0; i < 20; i++) {
    pid_t child = fork();
    if (child == 0) {
      execl("/bin/sh", "sh", "-c", "exit 7", (char *) NULL);
      _exit(1);
    }
    CHECK_EQ(exit_of(child), 7);
  }
}

/* Its stack grows in the child, also when others held the locks. */
static __attribute__((noinline)) int deep(int depth) {
  volatile char frame[600];
  frame[depth % 600] = (char) depth;
  return depth == 0 ? 0
                    : deep(depth - 1) + (frame[depth % 600] == (char) depth);
}

static _Atomic bool stop;
static mpg_waitgroup done;

static void grow_and_allocate(void *arg) {
  (void) arg;
  while (!atomic_load(&stop)) {
    CHECK_EQ(deep(50), 50);
    CHECK(mpg_alloc(100) != NULL);
    mpg_yield();
  }
  mpg_waitgroup_done(&done);
}

static void the_stack_grows_in_the_child(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  atomic_store(&stop, false);
  mpg_waitgroup_add(&done, 3);
  for (int i = 0; i < 3; i++) CHECK_GO(grow_and_allocate, NULL);
  for (int i = 0; i < 30; i++) {
    pid_t child = fork();
    if (child == 0) _exit(deep(100) == 100 ? 5 : 1);
    CHECK_EQ(exit_of(child), 5);
  }
  atomic_store(&stop, true);
  mpg_waitgroup_wait(&done);
}

/* Everything that needs the runtime ends the child, with a message. */
static char *message_of(void (*fn)(void)) {
  static char text[4096];
  int fd[2];
  size_t n = 0;
  CHECK_EQ(pipe(fd), 0);
  pid_t child = fork();
  if (child == 0) {
    dup2(fd[1], 2);
    fn();
    _exit(0);
  }
  close(fd[1]);
  for (ssize_t r; (r = read(fd[0], text + n, sizeof(text) - 1 - n)) != 0;)
    if (r > 0) n += (size_t) r;
  text[n] = 0;
  close(fd[0]);
  CHECK_EQ(exit_of(child), 2);
  return text;
}

static void in_child_alloc(void) { CHECK(mpg_alloc(10000)); }
static void in_child_yield(void) { mpg_yield(); }
static void in_child_nothing(void *arg) { (void) arg; }
static void in_child_go(void) { mpg_go(in_child_nothing, NULL); }
static void in_child_run(void) { mpg_run(in_child_nothing, NULL); }
static void in_child_gc(void) { mpg_gc(); }
static void in_child_attach(void) { mpg_thread_attach(); }
static void in_child_recv(void) { mpg_chan_recv(NULL, NULL); }
static void in_child_goexit(void) { mpg_goexit(); }
static void in_child_enter(void) { mpg_syscall_enter(); }
static void in_child_block(void) { mpg_blocking(in_child_nothing, NULL); }

static void in_child_trace(void) { mpg_trace_start("/dev/null"); }
static void in_child_trace_stop(void) { mpg_trace_stop(); }
static void in_child_procs(void) { mpg_gomaxprocs(3); }

/* A child that forgets to _exit. */
static void fork_and_return(void *arg) {
  int *fd = arg;
  pid_t child = fork();
  if (child == 0) {
    dup2(fd[1], 2);
    return;
  }
  CHECK_EQ(exit_of(child), 2);
}

static void returning_is_fatal_there(void *arg) {
  (void) arg;
  char text[1000] = "";
  int fd[2];
  CHECK_EQ(pipe(fd), 0);
  CHECK_EQ(mpg_run(fork_and_return, fd), 0);
  CHECK_GT(read(fd[0], text, sizeof text - 1), 0);
  CHECK(strstr(text, "in the child of a fork"));
  close(fd[0]);
  close(fd[1]);
}

static void mpg_is_fatal_there(void *arg) {
  (void) arg;
  static void (*const fn[])(void) = {
      in_child_alloc,      in_child_yield,  in_child_go,    in_child_run,
      in_child_gc,         in_child_attach, in_child_recv,  in_child_goexit,
      in_child_enter,      in_child_block,  in_child_procs, in_child_trace,
      in_child_trace_stop,
  };
  for (size_t i = 0; i < sizeof(fn) / sizeof(*fn); i++)
    CHECK(strstr(message_of(fn[i]), "in the child of a fork"));
  CHECK_EQ(mpg_trace_start("/dev/null"), 0); /* the child has no writer */
  CHECK(strstr(message_of(in_child_trace_stop), "in the child of a fork"));
  CHECK_EQ(mpg_trace_stop(), 0);
}

/* A child may leave the call that its parent forked in, and has nothing from
 * that. */
static void nothing_comes_back_with_an_exit(void *arg) {
  (void) arg;
  char text[1000] = "";
  int fd[2];
  CHECK_EQ(pipe(fd), 0);
  CHECK(mpg_alloc(100) != NULL);
  mpg_syscall_enter();
  pid_t child = fork();
  mpg_syscall_exit();
  if (child == 0) {
    dup2(fd[1], 2);
    _exit(mpg_alloc(100) ? 6 : 1);
  }
  CHECK_EQ(exit_of(child), 2);
  CHECK_GT(read(fd[0], text, sizeof text - 1), 0);
  CHECK(strstr(text, "mpg_alloc in the child of a fork"));
  close(fd[0]);
  close(fd[1]);
}

/* ---- children that others start ---- */

static void they_start_others(void *arg) {
  (void) arg;
  char *argv[] = {"sh", "-c", "exit 9", NULL};
  pid_t child;
  CHECK_EQ(WEXITSTATUS(system("exit 3")), 3);
  CHECK_EQ(posix_spawn(&child, "/bin/sh", NULL, NULL, argv, environ), 0);
  CHECK_EQ(exit_of(child), 9);
  child = vfork();
  if (child == 0) {
    execv("/bin/sh", argv);
    _exit(1);
  }
  CHECK_EQ(exit_of(child), 9);
  FILE *f = popen("echo hello", "r");
  char line[20];
  CHECK(f && fgets(line, sizeof(line), f));
  CHECK_EQ(strcmp(line, "hello\n"), 0);
  CHECK_EQ(pclose(f), 0);
}

/* The mask of the threads that run goroutines is not passed on. */
static void children_take_signals(void *arg) {
  (void) arg;
  char *argv[] = {"sleep", "100", NULL};
  pid_t child;
  CHECK_EQ(posix_spawnp(&child, "sleep", NULL, NULL, argv, environ), 0);
  CHECK_EQ(kill(child, SIGTERM), 0);
  int status = status_of(child);
  CHECK(WIFSIGNALED(status));
  CHECK_EQ(WTERMSIG(status), SIGTERM);
  child = fork();
  if (child == 0) {
    execvp("sleep", argv);
    _exit(1);
  }
  CHECK_EQ(kill(child, SIGINT), 0);
  status = status_of(child);
  CHECK(WIFSIGNALED(status));
}

static void run_again(void *arg) {
  for (int i = 0; i < 1000; i++) CHECK(mpg_alloc(1000) != NULL);
  mpg_gc();
  *(int *) arg = 1;
}

/* ASan's allocator of GCC 12 doesn't take its locks around a fork, as those of
 * libc and jemalloc do: another thread (the watchdog's, one that ends) may hold
 * one just then, for which the child's first malloc would wait for ever. */
#if defined(__SANITIZE_ADDRESS__)
enum { CHILD_MAY_ALLOCATE = 0 };
#else
enum { CHILD_MAY_ALLOCATE = 1 };
#endif

/* Outside of a run nothing is in the way. */
static void a_child_may_run_mpg_outside(void *arg) {
  (void) arg;
  if (!CHILD_MAY_ALLOCATE) return;
  pid_t child = fork();
  if (child == 0) {
    int ran = 0;
    _exit(mpg_run(run_again, &ran) == 0 && ran ? 6 : 1);
  }
  int status;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(WEXITSTATUS(status), 6);
}

/* Parent and child wait for descriptors at the same time. */
static int from_child[2];

static void answer(void *arg) {
  int *fd = arg; /* read fd[0], write fd[3] */
  char c;
  while (mpg_read(fd[0], &c, 1) == 1) CHECK_EQ(mpg_write(fd[3], &c, 1), 1);
}

static void talk(void *arg) {
  int fd[4];
  char c = 1;
  (void) arg;
  CHECK_EQ(pipe(fd), 0);
  CHECK_EQ(pipe(fd + 2), 0);
  CHECK_GO(answer, fd);
  for (int i = 0; i < 1000; i++) {
    CHECK_EQ(mpg_write(fd[1], &c, 1), 1);
    CHECK_EQ(mpg_read(fd[2], &c, 1), 1);
  }
  for (int i = 0; i < 4; i++) CHECK_EQ(mpg_close(fd[i]), 0);
}

static void talk_and_tell(void *arg) {
  talk(arg);
  CHECK_EQ(mpg_write(from_child[1], "x", 1), 1);
}

static void hear(void *arg) {
  char c;
  (void) arg;
  CHECK_EQ(mpg_read(from_child[0], &c, 1), 1);
  CHECK_EQ(c, 'x');
}

static void a_child_waits_for_its_own(void *arg) {
  (void) arg;
  int status;
  if (!CHILD_MAY_ALLOCATE) return;
  CHECK_EQ(mpg_run(talk, NULL), 0);
  CHECK_EQ(pipe(from_child), 0);
  pid_t child = fork();
  if (child == 0) _exit(mpg_run(talk_and_tell, NULL) == 0 ? 6 : 1);
  CHECK_EQ(mpg_run(hear, NULL), 0);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(WEXITSTATUS(status), 6);
  CHECK_EQ(close(from_child[0]), 0);
  CHECK_EQ(close(from_child[1]), 0);
}

static const struct check_case cases[] = {
    OUTSIDE(a_child_may_run_mpg_outside),
    INSIDE(a_child_execs),
    INSIDE(the_stack_grows_in_the_child),
    INSIDE(mpg_is_fatal_there),
    INSIDE(nothing_comes_back_with_an_exit),
    OUTSIDE(returning_is_fatal_there),
    INSIDE(they_start_others),
    INSIDE(children_take_signals),
    OUTSIDE(a_child_may_run_mpg_outside),
    OUTSIDE(a_child_waits_for_its_own),
};
CHECK_MAIN(cases, 30)

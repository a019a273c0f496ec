/* sandbox_test.c - where the system is less than usual: system calls that a
 * sandbox refuses, no /proc, locked memory, stacks that are no thread's.
 *
 * What can't be undone is done in a child, which then uses mpg for the first
 * time. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "../support/check.h"
#include "../support/refuse.h"

static void in_a_child(void (*fn)(void)) {
  int status;
  pid_t pid = fork();
  CHECK_GE(pid, 0);
  if (pid == 0) {
    alarm(20 * CHECK_PATIENCE); /* no watchdog here */
    fn();
    _exit(0);
  }
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), 0);
}

/* ---- system calls ---- */

static int fds[2];

static void write_later(void *arg) {
  (void) arg;
  mpg_sleep(3000000); /* somebody waits in epoll meanwhile, with a timeout */
  CHECK_EQ(mpg_write(fds[1], "x", 1), 1);
}

static void wait_for_it(void *arg) {
  char c = 0;
  (void) arg;
  CHECK_EQ(pipe(fds), 0);
  CHECK_GO(write_later, NULL);
  CHECK_EQ(mpg_read(fds[0], &c, 1), 1);
  CHECK_EQ(c, 'x');
}

/* Sandboxes refuse what they don't know with EPERM. */
static void poll_without_pwait2(void) {
  CHECK_EQ(refuse_syscall(SYS_epoll_pwait2, 0, REFUSE_ANY, EPERM), 0);
  CHECK_EQ(mpg_run(wait_for_it, NULL), 0);
}

static void descriptors_are_waited_for_in_old_sandboxes(void *arg) {
  (void) arg;
  in_a_child(poll_without_pwait2);
}

/* Pipes and files, when reads and writes can't say that they must not wait. */
static void talk_and_keep(void *arg) {
  char text[] = "kept", path[] = "/tmp/mpg_sandbox_test.XXXXXX";
  wait_for_it(arg);
  CHECK_EQ(mpg_close(fds[0]), 0);
  CHECK_EQ(mpg_write(fds[1], text, sizeof text), -EPIPE);
  CHECK_EQ(mpg_close(fds[1]), 0);
  int fd = mkstemp(path);
  CHECK_GE(fd, 0);
  CHECK_EQ(unlink(path), 0);
  CHECK_EQ(mpg_write(fd, text, sizeof text), sizeof text);
  CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
  memset(text, 0, sizeof text);
  CHECK_EQ(mpg_read(fd, text, sizeof text), sizeof text);
  CHECK(strcmp(text, "kept") == 0);
  CHECK_EQ(mpg_read(fd, text, sizeof text), 0);
  CHECK_EQ(mpg_close(fd), 0);
}

static void talk_without_flags(int err) {
  CHECK_EQ(refuse_syscall(SYS_preadv2, 0, REFUSE_ANY, err), 0);
  CHECK_EQ(refuse_syscall(SYS_pwritev2, 0, REFUSE_ANY, err), 0);
  CHECK_EQ(mpg_run(talk_and_keep, NULL), 0);
}
static void talk_in_an_old_kernel(void) { talk_without_flags(ENOSYS); }
static void talk_in_a_sandbox(void) { talk_without_flags(EPERM); }
static void talk_without_nosignal(void) { talk_without_flags(EOPNOTSUPP); }
static void talk_as_it_is(void) { CHECK_EQ(mpg_run(talk_and_keep, NULL), 0); }

static void reads_and_writes_need_no_flags(void *arg) {
  (void) arg;
  in_a_child(talk_as_it_is);
  in_a_child(talk_in_an_old_kernel);
  in_a_child(talk_in_a_sandbox);
  in_a_child(talk_without_nosignal);
}

/* ---- no /proc ---- */

#define MARK ((uintptr_t) 0x1111)

static void make(void *arg) {
  uintptr_t *p = mpg_alloc(64);
  *p = MARK;
  *(uintptr_t *volatile *) arg = p;
}

static void use_memory_again(void *arg) {
  (void) arg;
  mpg_gc();
  for (int i = 0; i < 50000; i++) *(uintptr_t *) mpg_alloc(64) = 0;
}

/* Where only a local variable of mpg_run's caller keeps an object. */
static void keep_on_callers_stack(void) {
  uintptr_t *volatile kept = NULL;
  CHECK_EQ(refuse_syscall(SYS_openat, 0, REFUSE_ANY, ENOENT), 0);
  CHECK_EQ(mpg_run(make, (void *) &kept), 0);
  CHECK_EQ(mpg_run(use_memory_again, NULL), 0);
  CHECK_EQ(*kept, MARK);
}

static void the_callers_stack_is_a_root_without_proc(void *arg) {
  (void) arg;
  in_a_child(keep_on_callers_stack);
}

/* ---- locked memory ---- */

#define LARGE ((size_t) 8 << 20)

static void release(void *arg) {
  (void) arg;
  for (int i = 0; i < 20; i++) {
    char *p = mpg_alloc(LARGE);
    CHECK(p);
    for (size_t at = 0; at < LARGE; at += 4096) {
      CHECK_EQ(p[at], 0);
      p[at] = 1;
    }
    if (i % 2) mpg_free(p);
    p = NULL;
    mpg_release_memory();
  }
}

static void lock_and_release(void) {
  CHECK_EQ(mlockall(MCL_FUTURE | MCL_ONFAULT), 0);
  int err = mpg_run(release, NULL);
  CHECK(err == 0 || (err == -ENOMEM && geteuid() != 0)); /* RLIMIT_MEMLOCK */
}

static void locked_memory_is_given_back(void *arg) {
  (void) arg;
  in_a_child(lock_and_release);
}

/* ---- other stacks ---- */

static ucontext_t here, there;
static char other_stack[256 << 10];
static int (*_Atomic tried)(void);
static int result;

static void try_it(void) { result = atomic_load(&tried)(); }

static int on_another_stack(int (*fn)(void)) {
  CHECK_EQ(getcontext(&there), 0);
  there.uc_stack.ss_sp = other_stack;
  there.uc_stack.ss_size = sizeof(other_stack);
  there.uc_link = &here;
  atomic_store(&tried, fn);
  makecontext(&there, try_it, 0);
  CHECK_EQ(swapcontext(&here, &there), 0);
  return result;
}

static int run(void) { return mpg_run(wait_for_it, NULL); }

static void a_run_begins_on_the_threads_stack(void *arg) {
  (void) arg;
  CHECK_EQ(on_another_stack(run), -EPERM);
  CHECK_EQ(run(), 0);
}

static void *attach_on_another_stack(void *arg) {
  (void) arg;
  CHECK_EQ(on_another_stack(mpg_thread_attach), -EPERM);
  CHECK_EQ(mpg_thread_attach(), 0);
  CHECK_EQ(mpg_thread_detach(), 0);
  return NULL;
}

static void join(void *thread) {
  CHECK_EQ(pthread_join(*(pthread_t *) thread, NULL), 0);
}

static void threads_attach_on_their_own_stack(void *arg) {
  pthread_t thread;
  (void) arg;
  CHECK_EQ(pthread_create(&thread, NULL, attach_on_another_stack, NULL), 0);
  mpg_blocking(join, &thread);
}

static const struct check_case cases[] = {
    OUTSIDE(descriptors_are_waited_for_in_old_sandboxes),
    OUTSIDE(reads_and_writes_need_no_flags),
    OUTSIDE(the_callers_stack_is_a_root_without_proc),
    OUTSIDE(locked_memory_is_given_back),
    OUTSIDE(a_run_begins_on_the_threads_stack),
    INSIDE(threads_attach_on_their_own_stack),
};
CHECK_MAIN(cases, 30)

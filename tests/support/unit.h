/* unit.h - what unit tests share: cmocka, and ways to watch a death.
 *
 *   assert_fatal(text, stmt)   stmt must end in mpgi_fatal or a failed check
 *                              whose message contains text; it is left by
 *                              longjmp, so locks it took stay taken
 *   child_run(fn, arg, &r)     run fn(arg) in a child process; its stderr and
 *                              how it ended
 */
#ifndef MPG_TESTS_UNIT_H
#define MPG_TESTS_UNIT_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <arch/common/check.h>

#define UNIT_UNUSED __attribute__((unused))

/* What a test can't do under a sanitizer: address space limits and small
 * stacks under either; asynchronous signals, which tsan delays. */
#if defined(__SANITIZE_THREAD__)
#define UNIT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNIT_TSAN 1
#endif
#endif
#ifndef UNIT_TSAN
#define UNIT_TSAN 0
#endif
#if defined(__SANITIZE_ADDRESS__)
#define UNIT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNIT_ASAN 1
#endif
#endif
#ifndef UNIT_ASAN
#define UNIT_ASAN 0
#endif

static jmp_buf unit_jump;
static char unit_message[1024];

UNIT_UNUSED static void unit_caught(const char *message) {
  strncpy(unit_message, message, sizeof unit_message - 1);
  longjmp(unit_jump, 1);
}

#define assert_fatal(text, stmt)                                 \
  do {                                                           \
    unit_message[0] = 0;                                         \
    mpgi_fatal_intercept = unit_caught;                          \
    if (setjmp(unit_jump) == 0) {                                \
      stmt;                                                      \
      mpgi_fatal_intercept = NULL;                               \
      fail_msg("not fatal: %s", #stmt);                          \
    }                                                            \
    mpgi_fatal_intercept = NULL;                                 \
    memset(&unit_jump, 0, sizeof unit_jump); /* it was a root */ \
    if (!strstr(unit_message, (text)))                           \
      fail_msg("message '%s' lacks '%s'", unit_message, (text)); \
  } while (0)

struct child_result {
  int status;      /* exit status; -1 when killed by a signal */
  int signal;      /* that killed it; 0 */
  char err[16384]; /* stderr, truncated, NUL-terminated */
};

UNIT_UNUSED static void child_read(int fd, struct child_result *r) {
  size_t n = 0;
  char spare[512];
  for (;;) {
    size_t room = sizeof r->err - 1 - n;
    ssize_t got = room ? read(fd, r->err + n, room) : read(fd, spare, 512);
    if (got <= 0) break;
    if (room) n += (size_t) got;
  }
  r->err[n] = 0;
}

/* fn's return is exit status 0. */
UNIT_UNUSED static void child_run(void (*fn)(void *), void *arg,
                                  struct child_result *r) {
  int fds[2], status;
  assert_int_equal(pipe(fds), 0);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    dup2(fds[1], STDERR_FILENO);
    close(fds[0]);
    close(fds[1]);
    /* cmocka catches these to fail the test. */
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    signal(SIGILL, SIG_DFL);
    signal(SIGFPE, SIG_DFL);
    alarm(100);
    fn(arg);
    _exit(0);
  }
  close(fds[1]);
  child_read(fds[0], r);
  close(fds[0]);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  r->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  r->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* A check inside a child: cmocka's would unwind the parent's test. */
#define child_check(cond)                                      \
  do {                                                         \
    if (!(cond)) {                                             \
      mpgi_print(2, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
      _exit(99);                                               \
    }                                                          \
  } while (0)

#define assert_child_ok(r)                                                \
  do {                                                                    \
    if ((r).status != 0)                                                  \
      fail_msg("child: status %d, signal %d, %s", (r).status, (r).signal, \
               (r).err);                                                  \
  } while (0)

#endif /* MPG_TESTS_UNIT_H */

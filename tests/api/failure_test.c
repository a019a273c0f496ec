/* failure_test.c - the system refuses threads, mappings or address space.
 *
 * Each case runs this program again as a child that does some honest work,
 * with a failure forced at every possible place in turn.  Allowed endings:
 *   0   the work was done, and done right: the failure was survived
 *   10  mpg_run returned -ENOMEM or -EAGAIN
 *   11  an operation said -ENOMEM, -EAGAIN or NULL
 *   2   the library gave up, with a "fatal: " line that says what is missing
 * Never a crash, a hang, wrong results, or silence.
 */
#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "../support/check.h"

enum ending { RIGHT = 0, FATAL = 2, REFUSED = 10, NO_MEMORY = 11 };

/* ---- the child ---- */

#define GOROUTINES 40
#define LIST 2000
#define SLEEPERS 40

struct cell {
  struct cell *next;
  uint64_t n;
  char payload[200];
};

static mpg_chan *results;
static int pipe_fds[2];

static __attribute__((noinline)) uint64_t deep(int depth) {
  volatile char frame[900];
  frame[depth % 900] = 1;
  return depth == 0 ? 0 : deep(depth - 1) + (uint64_t) frame[depth % 900];
}

static void work(void *arg) {
  struct cell *list = NULL;
  for (uint64_t i = 0; i < LIST; i++) {
    struct cell *c = mpg_alloc(sizeof(*c));
    if (!c) _exit(NO_MEMORY);
    c->next = list;
    c->n = i;
    list = c;
  }
  uint64_t sum = deep((int) (intptr_t) arg);
  for (; list; list = list->next) sum += list->n;
  mpg_chan_send(results, &sum);
}

/* Blocks its thread for a moment, so that another one is needed. */
static void block(void *arg) {
  char c;
  mpg_syscall_enter();
  ssize_t n = read(pipe_fds[0], &c, 1);
  mpg_syscall_exit();
  uint64_t sum = n == 1 ? 1 : 0;
  (void) arg;
  mpg_chan_send(results, &sum);
}

static void sleep_in_kernel(void *arg) {
  struct timespec t = {0, 1000000};
  mpg_syscall_enter();
  nanosleep(&t, NULL);
  mpg_syscall_exit();
  mpg_waitgroup_done(arg);
}

/* One after the other: threads are started ahead. */
static void many_sleep(void) {
  static mpg_waitgroup awake;
  mpg_gomaxprocs(1);
  mpg_waitgroup_add(&awake, SLEEPERS);
  for (int i = 0; i < SLEEPERS; i++)
    if (mpg_go(sleep_in_kernel, &awake) != 0) _exit(NO_MEMORY);
  mpg_waitgroup_wait(&awake);
}

static void child_main(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  results = mpg_chan_new(sizeof(uint64_t), 8);
  if (!results) _exit(NO_MEMORY);
  int blocked = 0, worked = 0;
  for (; blocked < 5; blocked++)
    if (mpg_go(block, NULL) != 0) _exit(NO_MEMORY);
  for (; worked < GOROUTINES; worked++)
    if (mpg_go(work, (void *) (intptr_t) worked) != 0) _exit(NO_MEMORY);
  CHECK_EQ(write(pipe_fds[1], "12345", 5), 5);
  uint64_t total = 0;
  for (int i = 0; i < blocked + worked; i++) {
    uint64_t sum = 0;
    CHECK(mpg_chan_recv(results, &sum));
    total += sum;
  }
  const uint64_t list_sum = (uint64_t) LIST * (LIST - 1) / 2;
  CHECK_EQ(total,
           5 + GOROUTINES * list_sum + GOROUTINES * (GOROUTINES - 1) / 2);
  many_sleep();
}

static int child(void) {
  alarm(20); /* ends a hang; the watchdog would need a thread */
  CHECK_EQ(pipe(pipe_fds), 0);
  int e = mpg_run(child_main, NULL);
  if (e == 0) return RIGHT;
  CHECK(e == -ENOMEM || e == -EAGAIN);
  return REFUSED;
}

/* ---- the parent ---- */

static char child_stderr[4096];

/* Run the child with MPG_DEBUG=debug and a limit on address space (0:
 * none).  Returns: the wait status. */
static int run_child(const char *debug, uint64_t address_space) {
  int err[2], status;
  CHECK_EQ(pipe(err), 0);
  pid_t pid = fork();
  CHECK_GE(pid, 0);
  if (pid == 0) {
    struct rlimit none = {0, 0}, as = {address_space, address_space};
    setrlimit(RLIMIT_CORE, &none);
    if (address_space) setrlimit(RLIMIT_AS, &as);
    setenv("MPG_DEBUG", debug, 1);
    dup2(err[1], 2);
    close(err[0]);
    close(err[1]);
    execl("/proc/self/exe", "failure_test", "--child", (char *) NULL);
    _exit(99);
  }
  close(err[1]);
  size_t n = 0;
  for (ssize_t r;
       (r = read(err[0], child_stderr + n, sizeof(child_stderr) - 1 - n)) > 0;)
    n += (size_t) r;
  child_stderr[n] = '\0';
  close(err[0]);
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  return status;
}

static int ending_of(const char *debug, uint64_t address_space) {
  int status = run_child(debug, address_space);
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  bool ok = code == RIGHT || code == REFUSED || code == NO_MEMORY ||
            (code == FATAL && strncmp(child_stderr, "fatal: ", 7) == 0);
  if (!ok) {
    fprintf(stderr, "MPG_DEBUG=%s, address space %llu: status %#x\n%s\n", debug,
            (unsigned long long) address_space, (unsigned) status,
            child_stderr);
    exit(1);
  }
  return code;
}

/* Fail the nth, for each n until the work is done undisturbed twice. */
static void fail_each(const char *option, int most) {
  int right = 0, failed = 0;
  for (int n = 1; n <= most && right < 2; n += 1 + n / 16) {
    char debug[64];
    snprintf(debug, sizeof(debug), "%s=%d", option, n);
    int ending = ending_of(debug, 0);
    right = ending == RIGHT ? right + 1 : 0;
    failed += ending != RIGHT;
    check_watchdog(50);
  }
  CHECK_GE(right, 2);
  CHECK_GE(failed, 1);
}

static void every_mapping_may_fail(void *arg) {
  (void) arg;
  fail_each("failmap", 2000);
}

static void every_thread_may_fail(void *arg) {
  (void) arg;
  fail_each("failthread", 100);
}

static void the_first_thread_is_needed(void *arg) {
  (void) arg;
  CHECK_EQ(ending_of("failthread=1", 0), REFUSED);
}

static void the_first_mapping_is_needed(void *arg) {
  (void) arg;
  CHECK_EQ(ending_of("failmap=1", 0), REFUSED);
}

/* In a program with UBSan: of that. */
void __sanitizer_print_stack_trace(void) __attribute__((weak));

/* Clang's UBSan calls malloc before main, and the first call of jemalloc's
 * crashes in such a program where the limit is about 26 MiB. */
static uint64_t least_mib(void) {
  return __sanitizer_print_stack_trace ? 32 : 16;
}

/* ulimit -v: a smaller reservation is used while there is any room. */
static void small_address_spaces(void *arg) {
  (void) arg;
  for (uint64_t mib = 1 << 20; mib >= 4096; mib /= 2)
    CHECK_EQ(ending_of("", mib << 20), RIGHT);
  CHECK_EQ(ending_of("", (uint64_t) 2 << 30), RIGHT);
  for (uint64_t mib = 1024; mib >= least_mib(); mib = mib * 2 / 3)
    ending_of("", mib << 20);
  for (uint64_t mib = 384; mib <= 640; mib += 32)
    CHECK_EQ(ending_of("", mib << 20), RIGHT);
}

static const struct check_case cases[] = {
    OUTSIDE(the_first_thread_is_needed), OUTSIDE(the_first_mapping_is_needed),
    OUTSIDE(every_thread_may_fail),      OUTSIDE(every_mapping_may_fail),
    OUTSIDE(small_address_spaces),
};

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--child") == 0) return child();
  return check_cases(cases, sizeof(cases) / sizeof(*cases), argc, argv, 50);
}

/* failpoint_test.c - everything that maps memory or makes records, refused at
 * each place in turn.
 *
 * The parent forks a child for each value of the countdown, which runs the
 * workload below in an mpg_run.  Allowed: an operation says -ENOMEM, -EAGAIN or
 * NULL; mpg_run does; the library gives up with a "fatal: " line (a stack can't
 * grow, say).  Whoever was refused goes on with the rest.  Then memory is to be
 * had again: the workload is done once more, and nothing may be refused or
 * wrong.  Where only that one is refused the collector
 * checks its marks (gcverify).
 *
 * The walk is over when the countdown isn't reached any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "../support/check.h"

/* The library's (arch/os.h, arch/common/fixmem.h); not exported by the shared
 * one: NULL. */
extern _Atomic int64_t mpgi_os_mem_fail_countdown __attribute__((weak));
extern _Atomic bool mpgi_os_fail_once __attribute__((weak));
extern _Atomic int64_t mpgi_fixmem_fail_countdown __attribute__((weak));
extern _Atomic int64_t mpgi_os_thread_fail_countdown __attribute__((weak));

#define MIB ((size_t) 1 << 20)
#define LARGE ((size_t) 600000) /* zeroed by giving it back */
#define WORKERS 4
#define LIST 300
#define IN_ONE 4000
#define LEAVES                                                   \
  (12 * IN_ONE) /* more than the marker has buffers for at first \
                 */

#if defined(MPG_SANITIZED) /* a run takes a second */
#define STEP 9
#else
#define STEP 1
#endif

enum ending { SURVIVED = 0, FATAL = 2, NOT_REACHED = 7 };

static _Atomic int refused;

/* Of what may fail: count it. */
static bool went(int rc) {
  if (rc == 0) return true;
  CHECK(rc == -ENOMEM || rc == -EAGAIN);
  atomic_fetch_add(&refused, 1);
  return false;
}

static void *got(void *p) {
  CHECK_OPAQUE(p);
  if (!p) atomic_fetch_add(&refused, 1);
  return p;
}

/* ---- memory ---- */

static void check_zero(const char *p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 8) CHECK_EQ(*(const long *) (p + i), 0);
}

struct cell {
  struct cell *next;
  uintptr_t n, check;
};

static struct cell *list_make(uintptr_t n, size_t more) {
  struct cell *list = NULL;
  for (uintptr_t i = 0; i < n; i++) {
    size_t bytes = sizeof(*list) + i * 53 % more;
    struct cell *c = got(mpg_alloc(bytes));
    if (!c) break; /* each failure is a collection */
    check_zero((char *) c, bytes & ~(size_t) 7);
    memset(c, 0x11, bytes);
    c->next = list;
    c->n = i;
    c->check = ~i;
    list = c;
  }
  return list;
}

static void list_check(const struct cell *c) {
  for (; c; c = c->next) CHECK_EQ(c->check, ~c->n);
}

static void large(void) {
  for (size_t i = 1; i <= 2; i++) {
    char *p = got(mpg_alloc(i * LARGE));
    if (!p) continue;
    check_zero(p, i * LARGE);
    memset(p, 0x22, i * LARGE);
    char *q = got(mpg_realloc(p, 2 * LARGE + MIB));
    if (q) check_zero(q + i * LARGE, 2 * LARGE + MIB - i * LARGE);
    if (i == 1) mpg_free(q ? q : p);
    got(mpg_alloc_aligned(5000, 65536));
    got(mpg_alloc_noscan(i * 100000));
  }
}

/* A few objects, scanned together, name all leaves, in an order in which no two
 * are neighbours. */
static uintptr_t **leaf_place(uintptr_t ***top, size_t i) {
  i = i * 7919 % LEAVES;
  return &top[i / IN_ONE][i % IN_ONE];
}

static void overflow(void) {
  uintptr_t ***top = got(mpg_alloc(LEAVES / IN_ONE * sizeof(*top)));
  for (size_t i = 0; top && i < LEAVES / IN_ONE; i++)
    if (!(top[i] = got(mpg_alloc(IN_ONE * sizeof(**top))))) return;
  for (size_t i = 0; top && i < LEAVES; i++) {
    uintptr_t *leaf = got(mpg_alloc(24));
    *leaf_place(top, i) = leaf;
    if (!leaf) break;
    *leaf = i;
  }
  mpg_gc();
  for (size_t i = 0; top && i < LEAVES; i++)
    if (*leaf_place(top, i)) CHECK_EQ(**leaf_place(top, i), i);
}

static _Atomic int finalized;
static void finalizer(void *obj, void *arg) {
  (void) arg;
  CHECK_EQ(((struct cell *) obj)->n, 77);
  atomic_fetch_add(&finalized, 1);
}

static __attribute__((noinline)) void hang_on(mpg_weakmap *map,
                                              mpg_cleanup_queue *queue) {
  for (int i = 0; i < 8; i++) {
    struct cell *c = got(mpg_alloc(sizeof(*c)));
    if (!c) continue;
    c->n = 77;
    mpg_weak *w = got(mpg_weak_new(c));
    if (w) CHECK(mpg_weak_get(w) == c);
    void *value = NULL;
    if (map && went(mpg_weakmap_set(map, c, c)))
      CHECK(mpg_weakmap_get(map, c, &value) && value == c);
    if (i % 2 == 0)
      went(mpg_finalizer_set(c, finalizer, NULL));
    else if (queue)
      went(mpg_cleanup_add(queue, c, NULL));
  }
  got(mpg_alloc_root(64));
}

static void records(void) {
  mpg_weakmap *map = got(mpg_weakmap_new());
  mpg_cleanup_queue *queue = got(mpg_cleanup_queue_new());
  hang_on(map, queue);
  mpg_gc();
  struct mpg_cleanup done;
  while (queue && mpg_cleanup_poll(queue, &done) == 1) continue;
  static uintptr_t root[4];
  if (went(mpg_root_add(root, sizeof(root))))
    CHECK_EQ(mpg_root_remove(root), 0);
  mpg_local key;
  if (went(mpg_local_new(&key))) went(mpg_local_set(key, map));
  size_t at = 8;
  mpg_type *type = got(mpg_type_new(24, &at, 1));
  if (type) got(mpg_alloc_typed(type, 10000));
}

/* ---- goroutines and threads ---- */

static mpg_waitgroup working;

static __attribute__((noinline)) uint64_t deep(int depth) {
  volatile char frame[900];
  frame[depth % 900] = 1;
  return depth == 0 ? 0 : deep(depth - 1) + (uint64_t) frame[depth % 900];
}

static void work(void *arg) {
  int depth = (int) (intptr_t) arg;
  struct cell *list = list_make(LIST, 400);
  CHECK_EQ(deep(depth), depth);
  mpg_yield();
  list_check(list);
  mpg_waitgroup_done(&working);
}

static void start(unsigned flags, size_t stack_bytes, int depth) {
  struct mpg_go_options o = {
      .size = sizeof(o), .flags = flags, .stack_bytes = stack_bytes};
  mpg_waitgroup_add(&working, 1);
  if (!went(mpg_go_with(&o, work, (void *) (intptr_t) depth)))
    mpg_waitgroup_done(&working);
}

static void goroutines(void) {
  for (int i = 0; i < WORKERS; i++) {
    start(0, 0, 3 + 20 * i);
    start(MPG_GO_FIXED_STACK, 0, 50);
    start(MPG_GO_MOVABLE, 0, 3 + i);
  }
  start(MPG_GO_FIXED_STACK, MIB, 800);
  start(0, 0, 180);
  mpg_gc();
  mpg_waitgroup_wait(&working);
}

static int pipe_fds[2], parked_fds[2];

static void block(void *arg) {
  char c;
  (void) arg;
  mpg_syscall_enter();
  ssize_t n = read(pipe_fds[0], &c, 1);
  mpg_syscall_exit();
  CHECK_EQ(n, 1);
  mpg_waitgroup_done(&working);
}

static void wait_for_byte(void *arg) {
  char c;
  ssize_t n = mpg_read(parked_fds[0], &c, 1);
  (void) arg;
  if (n != 1) went((int) n);
  mpg_waitgroup_done(&working);
}

/* Everybody is woken in the end: the pipe has an end. */
static void blocking(void) {
  mpg_func fns[] = {block, block, block, block, wait_for_byte};
  CHECK_EQ(pipe(pipe_fds), 0);
  CHECK_EQ(pipe(parked_fds), 0);
  for (int i = 0; i < 5; i++) {
    mpg_waitgroup_add(&working, 1);
    if (!went(mpg_go(fns[i], NULL))) mpg_waitgroup_done(&working);
    mpg_yield();
  }
  CHECK_EQ(write(pipe_fds[1], "1234", 4), 4);
  CHECK_EQ(write(parked_fds[1], "1", 1), 1);
  mpg_waitgroup_wait(&working);
  for (int i = 0; i < 2; i++) {
    mpg_close(parked_fds[i]);
    close(pipe_fds[i]);
  }
}

static void *attach(void *arg) {
  (void) arg;
  if (!went(mpg_thread_attach())) return NULL;
  list_check(list_make(LIST, 400));
  CHECK_EQ(mpg_thread_detach(), 0);
  return NULL;
}

static void join(void *thread) { pthread_join(*(pthread_t *) thread, NULL); }

static void threads(void) {
  pthread_t t;
  if (pthread_create(&t, NULL, attach, NULL) == 0) mpg_blocking(join, &t);
  mpg_gomaxprocs(4);
  mpg_chan *c = got(mpg_after(1000));
  if (c) CHECK(mpg_chan_recv(c, NULL));
  /* Without room for its timer the library gives up. */
  if (atomic_load(&refused) == 0) mpg_sleep(1000);
  mpg_gomaxprocs(2);
}

static void reports(void *arg) {
  (void) arg;
  int fd = open("/dev/null", O_WRONLY);
  CHECK_GE(fd, 0);
  went(mpg_heap_profile(fd));
  went(mpg_heap_dump(fd));
  mpg_traceback_all(fd);
  close(fd);
}

static void all(void *arg) {
  (void) arg;
  bool traced = went(mpg_trace_start("/dev/null"));
  mpg_gomaxprocs(3);
  struct cell *list = list_make(LIST, 5000);
  goroutines();
  large();
  mpg_release_memory();
  large();
  blocking();
  records();
  overflow();
  mpg_release_memory();
  threads();
  list_check(list);
  if (traced) CHECK_EQ(mpg_trace_stop(), 0);
}

/* ---- the child ---- */

struct walk {
  const char *name;
  _Atomic int64_t *countdown;
  mpg_func workload;
  bool once;
  int64_t n;
};

/* Where all is refused for good there are threads already: without one for what
 * is runnable the library gives up after some seconds (failure_test.c). */
static void armed(void *arg) {
  const struct walk *w = arg;
  if (!w->once) {
    blocking();
    CHECK_EQ(atomic_load(&refused), 0);
    atomic_store(w->countdown, w->n);
  }
  w->workload(NULL);
}

static void run_right(mpg_func workload) {
  atomic_store(&refused, 0);
  CHECK_EQ(mpg_run(workload, NULL), 0);
  CHECK_EQ(atomic_load(&refused), 0);
}

static _Noreturn void child(struct walk *w) {
  alarm(20u * CHECK_PATIENCE);
  check_switches(w->once ? "gcverify=1,heapprofile=8192" : "heapprofile=8192");
  mpg_gc_percent(100); /* reads the switches: the countdown is ours */
  atomic_store(&mpgi_os_fail_once, w->once);
  if (w->once) atomic_store(w->countdown, w->n);
  int rc = mpg_run(armed, w);
  CHECK(rc == 0 || rc == -ENOMEM || rc == -EAGAIN);
  bool reached = atomic_exchange(w->countdown, 0) <= 0;
  if (!reached) CHECK(rc == 0 && atomic_load(&refused) == 0);
  run_right(w->workload);
  _exit(reached ? SURVIVED : NOT_REACHED);
}

/* ---- the parent ---- */

static char child_stderr[1 << 18];

static int run_child(struct walk *w) {
  int err[2], status;
  CHECK_EQ(pipe(err), 0);
  pid_t pid = fork();
  CHECK_GE(pid, 0);
  if (pid == 0) {
    dup2(err[1], 2);
    close(err[0]);
    close(err[1]);
    child(w);
  }
  close(err[1]);
  size_t n = 0, room = sizeof(child_stderr) - 1;
  for (ssize_t r; (r = read(err[0], child_stderr + n, room - n)) > 0;)
    n += (size_t) r;
  CHECK_GT(room, n);
  child_stderr[n] = '\0';
  close(err[0]);
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  return status;
}

static bool is_fatal(int status) {
  return WIFEXITED(status) && WEXITSTATUS(status) == FATAL &&
         strstr(child_stderr, "fatal: ");
}

static void walk(struct walk w) {
  int ending = SURVIVED;
  if (!w.countdown) return;
  for (w.n = 1; ending != NOT_REACHED; w.n += STEP) {
    check_watchdog(50);
    int status = run_child(&w);
    ending = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (ending == SURVIVED || ending == NOT_REACHED || is_fatal(status))
      continue;
    fprintf(stderr, "%s %lld%s: status %#x\n%s\n", w.name, (long long) w.n,
            w.once ? " once" : "", (unsigned) status, child_stderr);
    exit(1);
  }
}

#define MAPPING .name = "mapping", .countdown = &mpgi_os_mem_fail_countdown
#define RECORD .name = "record", .countdown = &mpgi_fixmem_fail_countdown
#define THREAD .name = "thread", .countdown = &mpgi_os_thread_fail_countdown
#define WALK(case, ...)               \
  static void case (void *arg) {      \
    (void) arg;                       \
    walk((struct walk){__VA_ARGS__}); \
  }
WALK(every_mapping_from_one_on, MAPPING, .workload = all)
WALK(every_single_mapping, MAPPING, .workload = all, .once = true)
WALK(every_record_from_one_on, RECORD, .workload = all)
WALK(every_single_record, RECORD, .workload = all, .once = true)
WALK(every_mapping_of_reports, MAPPING, .workload = reports)
WALK(every_single_mapping_of_reports, MAPPING, .workload = reports,
     .once = true)
WALK(every_single_record_of_reports, RECORD, .workload = reports, .once = true)
WALK(every_single_thread, THREAD, .workload = all, .once = true)

static const struct check_case cases[] = {
    OUTSIDE(every_mapping_from_one_on),
    OUTSIDE(every_single_mapping),
    OUTSIDE(every_record_from_one_on),
    OUTSIDE(every_single_record),
    OUTSIDE(every_mapping_of_reports),
    OUTSIDE(every_single_mapping_of_reports),
    OUTSIDE(every_single_record_of_reports),
    OUTSIDE(every_single_thread),
};
CHECK_MAIN(cases, 50)

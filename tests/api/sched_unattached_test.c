/* sched_unattached_test.c - threads that mpg doesn't know.
 *
 * Each call is made in a child process of its own, on a thread beside the
 * runtime: those that only read go well, all others are fatal with the
 * function's name, also when there is nothing to wait for.
 */
#include <sys/wait.h>

#include "../support/check.h"

static mpg_mutex mutex;
static mpg_rwmutex rwmutex;
static mpg_cond cond;
static mpg_waitgroup waitgroup;
static mpg_once once;
static mpg_sem sem;
static mpg_chan *chan; /* with room, and something in it */
static char *object;
static mpg_weak *weak;
static struct mpg_select_case select_case;
static struct mpg_gc_stats stats = {.size = sizeof stats};

static void nothing(void *arg) { (void) arg; }

#define CALL(name, call) \
  static void do_##name(void) { call; }
#define EACH_MISUSE(X)                                               \
  X(mpg_mutex_lock, mpg_mutex_lock(&mutex))                          \
  X(mpg_mutex_trylock, mpg_mutex_trylock(&mutex))                    \
  X(mpg_mutex_unlock, mpg_mutex_unlock(&mutex))                      \
  X(mpg_rwmutex_rdlock, mpg_rwmutex_rdlock(&rwmutex))                \
  X(mpg_rwmutex_rdunlock, mpg_rwmutex_rdunlock(&rwmutex))            \
  X(mpg_rwmutex_lock, mpg_rwmutex_lock(&rwmutex))                    \
  X(mpg_rwmutex_unlock, mpg_rwmutex_unlock(&rwmutex))                \
  X(mpg_cond_signal, mpg_cond_signal(&cond))                         \
  X(mpg_cond_broadcast, mpg_cond_broadcast(&cond))                   \
  X(mpg_cond_wait, mpg_cond_wait(&cond, &mutex))                     \
  X(mpg_waitgroup_add, mpg_waitgroup_add(&waitgroup, 1))             \
  X(mpg_waitgroup_done, mpg_waitgroup_done(&waitgroup))              \
  X(mpg_waitgroup_wait, mpg_waitgroup_wait(&waitgroup))              \
  X(mpg_once_do, mpg_once_do(&once, nothing, NULL))                  \
  X(mpg_sem_acquire, mpg_sem_acquire(&sem))                          \
  X(mpg_sem_try_acquire, mpg_sem_try_acquire(&sem))                  \
  X(mpg_sem_release, mpg_sem_release(&sem))                          \
  X(mpg_chan_send, mpg_chan_send(chan, &chan))                       \
  X(mpg_chan_recv, mpg_chan_recv(chan, NULL))                        \
  X(mpg_chan_try_send, mpg_chan_try_send(chan, &chan))               \
  X(mpg_chan_try_recv, mpg_chan_try_recv(chan, NULL))                \
  X(mpg_chan_close, mpg_chan_close(chan))                            \
  X(mpg_select, mpg_select(&select_case, 1))                         \
  X(mpg_select_try, mpg_select_try(&select_case, 1))                 \
  X(mpg_go, mpg_go(nothing, NULL))                                   \
  X(mpg_yield, mpg_yield())                                          \
  X(mpg_sleep, mpg_sleep(1))                                         \
  X(mpg_gomaxprocs, mpg_gomaxprocs(1))                               \
  X(mpg_lock_thread, mpg_lock_thread())                              \
  X(mpg_preempt_disable, mpg_preempt_disable())                      \
  X(mpg_blocking, mpg_blocking(nothing, NULL))                       \
  X(mpg_alloc, object = mpg_alloc(16))                               \
  X(mpg_free, mpg_free(object))                                      \
  X(mpg_realloc, object = mpg_realloc(object, 100))                  \
  X(mpg_strdup, object = mpg_strdup("x"))                            \
  X(mpg_base, object = mpg_base(object))                             \
  X(mpg_alloc_size, (void) mpg_alloc_size(object))                   \
  X(mpg_type_new, (void) mpg_type_new(16, NULL, 0))                  \
  X(mpg_root_add, (void) mpg_root_add(&object, 8))                   \
  X(mpg_root_remove, (void) mpg_root_remove(&object))                \
  X(mpg_finalizer_set, (void) mpg_finalizer_set(object, NULL, NULL)) \
  X(mpg_weak_new, weak = mpg_weak_new(object))                       \
  X(mpg_gc, mpg_gc())                                                \
  X(mpg_gc_percent, mpg_gc_percent(100))                             \
  X(mpg_memory_limit, mpg_memory_limit(INT64_MAX))
EACH_MISUSE(CALL)

static void read_what_may_be_read(void) {
  struct mpg_histogram *h;
  CHECK_EQ(mpg_goid(), 0);
  CHECK_GT(mpg_now(), 0);
  CHECK(mpg_version() != NULL);
  CHECK_EQ(mpg_chan_len(chan), 1);
  CHECK_EQ(mpg_chan_cap(chan), 2);
  CHECK_GT(mpg_gomaxprocs(0), 0);
  CHECK_GT(mpg_memory_limit(-1), 0);
  CHECK_EQ(mpg_num_goroutines(), 1);
  CHECK_EQ(mpg_gc_stats_read(&stats), 0);
  CHECK_EQ(mpg_metric_read(MPG_METRIC_PAUSE, &h), 0);
  mpg_histogram_free(h);
}

/* ---- in the child ---- */

static void *on_a_thread(void *fn) {
  ((void (*)(void)) fn)();
  return NULL;
}

static void beside(void *fn) {
  pthread_t t;
  chan = mpg_chan_new(sizeof chan, 2);
  mpg_chan_send(chan, &chan);
  object = mpg_alloc(16);
  mpg_sem_release(&sem);
  select_case = (struct mpg_select_case){.chan = chan, .dir = MPG_RECV};
  CHECK_EQ(pthread_create(&t, NULL, on_a_thread, fn), 0);
  CHECK_EQ(pthread_join(t, NULL), 0);
}

static int in_child(void (*fn)(void), char *said, size_t bytes) {
  int ends[2], status;
  CHECK_EQ(pipe(ends), 0);
  pid_t child = fork();
  CHECK_GE(child, 0);
  if (child == 0) {
    dup2(ends[1], 2);
    close(ends[0]);
    close(ends[1]);
    setenv("MPG_TRACEBACK", "none", 1); /* quicker */
    mpg_run(beside, (void *) fn);
    _exit(0);
  }
  close(ends[1]);
  size_t n = 0;
  for (ssize_t r; (r = read(ends[0], said + n, bytes - 1 - n)) > 0;)
    n += (size_t) r;
  said[n] = 0;
  close(ends[0]);
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void all_else_is_fatal(void *arg) {
  static char said[1 << 16], want[100];
  (void) arg;
#define TRY(name, call)                                                     \
  CHECK_EQ(in_child(do_##name, said, sizeof said), 2);                      \
  snprintf(want, sizeof want, "fatal: %s on a thread that is not attached", \
           #name);                                                          \
  if (!strstr(said, want)) fprintf(stderr, "%s", said);                     \
  CHECK(strstr(said, want) != NULL);
  EACH_MISUSE(TRY)
}

static void reading_is_allowed(void *arg) {
  static char said[1 << 12];
  (void) arg;
  int status = in_child(read_what_may_be_read, said, sizeof said);
  if (status) fprintf(stderr, "%s", said);
  CHECK_EQ(status, 0);
}

/* They fork: before any case that runs inside. */
static const struct check_case cases[] = {
    OUTSIDE(all_else_is_fatal),
    OUTSIDE(reading_is_allowed),
};
CHECK_MAIN(cases, 30)

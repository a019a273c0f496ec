/* thread.c - starting threads, and facts about them.
 *
 * Threads are made by pthread_create, not clone: the user's code runs on them
 * and expects libc's thread-local state.  pthread_create allocates, so no
 * thread is started while the world is stopped.
 *
 * Signals: a new thread takes the synchronous ones (its own faults), SIGURG
 * (preemption) and SIGPROF (profilers); everything else is blocked before it
 * exists, so that the application's asynchronous signals go to the
 * application's own threads.
 *
 * A thread whose slice was shortened (mpgi_os_thread_slice) passes that on to
 * those it starts, in the kernel's view; they go back to what it had before.
 *
 * Asking libc for the bounds of a thread's stack allocates, which on a new
 * thread makes jemalloc set up its caches: 30 us and six fresh pages, for
 * threads that may never allocate.  So the first of our threads asks, and the
 * others, whose stacks have the same layout, take its answer relative to the
 * thread pointer [linux.thread.layout].
 *
 * Assumptions: libc puts a thread's control block at the same distance from the
 * upper end of its stack in every thread; __libc_stack_end is the main thread's
 * stack pointer at the program's start [linux.thread.main]; the id of a
 * thread's CPU clock is the kernel's encoding, readable by
 * pthread_getcpuclockid [linux.thread.clock];
 * glibc installs its own handler for SIGSETXID at the first pthread_create
 * [linux.thread.setxid], see mpgi_os_signal_onstack_all.
 */
#include <arch/common/chaos.h>
#include <arch/common/check.h>
#include <arch/common/fixmem.h>
#include <arch/linux/sigaction.h>
#include <arch/linux/sys.h>
#include <arch/os.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define NAME_BYTES 16 /* the kernel's limit, NUL included */
#define CPU_MASK_WORDS 1024

_Atomic int64_t mpgi_os_thread_fail_countdown;
_Atomic int mpgi_os_threads_own;

/* What a new thread needs.  Filled by the starter, given back by the thread
 * as soon as it has read it; it must not use fixmem, because it may come to
 * run when the world has just stopped.  Records are kept for the next start:
 * there are as many as threads were ever starting at one time. */
struct start {
  _Atomic bool busy;
  struct start *next; /* constant once in the list */
  void (*fn)(void *); /* the rest: owner is whoever made it busy */
  void *arg;
  uint64_t slice; /* for the new thread; 0: as inherited */
  size_t stack_bytes;
  char name[NAME_BYTES];
};
static struct start *_Atomic starts;

/* ---- slices ----
 *
 * struct sched_attr of linux/sched/types.h, which clashes with some versions of
 * libc's sched.h. */
struct attr {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

static _Thread_local uint64_t slice_before; /* 0: as it was */

/* Returns what it was; 0: nothing was done.  Before Linux 6.12 it has no
 * effect. */
static uint64_t slice_set(uint64_t ns) {
  struct attr attr = {.size = sizeof attr};
  long r = mpgi_sys6(SYS_sched_getattr, 0, (long) &attr, sizeof attr, 0, 0, 0);
  if (r != 0 || attr.policy != SCHED_OTHER) return 0; /* the program's wish */
  uint64_t before = attr.runtime;
  attr.size = sizeof attr;
  attr.runtime = ns;
  return mpgi_sys3(SYS_sched_setattr, 0, (long) &attr, 0) == 0 ? before : 0;
}

int64_t mpgi_os_thread_slice(int64_t ns) {
  uint64_t before = slice_set((uint64_t) ns);
  if (!slice_before) slice_before = before;
  return (int64_t) before;
}

/* ---- starting ---- */

static _Thread_local size_t own_stack_bytes; /* as asked for; 0: not ours */

static struct start *start_get(void) {
  struct start *s = atomic_load_explicit(&starts, memory_order_acquire);
  for (; s; s = s->next) {
    bool idle = false;
    if (atomic_compare_exchange_strong(&s->busy, &idle, true)) return s;
  }
  s = mpgi_fixmem_alloc(sizeof *s, 0);
  if (!s) return NULL;
  atomic_init(&s->busy, true);
  s->next = atomic_load(&starts);
  while (!atomic_compare_exchange_weak(&starts, &s->next, s)) continue;
  return s;
}

static void start_put(struct start *s) {
  bool was = atomic_exchange_explicit(&s->busy, false, memory_order_release);
  MPG_ASSERT(was);
  (void) was;
}

/* libc keeps stacks for other threads: of one that ends it gives back all but
 * the upper 16 KiB (PTHREAD_STACK_MIN).  Addresses that were there would be
 * found by who looks through all memory (words.c). */
static __attribute__((noinline)) void wipe(void) {
  char rest[20 << 10];
  memset(rest, 0, sizeof rest);
  __asm__ volatile("" : : "r"(rest) : "memory");
}

static void *thread_main(void *record) {
  struct start *s = record;
  void (*fn)(void *) = s->fn;
  void *arg = s->arg;
  if (s->slice) slice_set(s->slice);
  own_stack_bytes = s->stack_bytes;
  MPG_ASSERT(fn && s->name[NAME_BYTES - 1] == 0);
  if (s->name[0]) pthread_setname_np(pthread_self(), s->name);
  start_put(s);
  MPGI_CHAOS();
  fn(arg);
  MPGI_CHAOS();
  wipe();
  atomic_fetch_sub(&mpgi_os_threads_own, 1);
  return NULL;
}

static void mask_for_threads(sigset_t *set) {
  uint64_t open = MPGI_SIG_FAULTS;
  /* A profiler sees all threads.  A handler of the application's for SIGURG
   * would find a small stack; Ms, which have another one, open it.  A thread
   * isn't known to TSan at once, and a handler would crash before that. */
  if (!MPGI_TSAN) open |= MPGI_SIG_BIT(SIGPROF);
  sigfillset(set);
  for (int sig = 1; sig < _NSIG; sig++)
    if (open & MPGI_SIG_BIT(sig)) sigdelset(set, sig);
}

/* A program linked in one step calls pthread_create by this name (wrap.c).
 * Where libc is static the linker's own reference is weak, and wouldn't fetch
 * it from the archive. */
extern int __wrap_pthread_create(pthread_t *, const pthread_attr_t *,
                                 void *(*) (void *), void *);
static const void *const fetch_wrap __attribute__((used)) =
    (const void *) __wrap_pthread_create;

/* pthread_create on a detached thread with the stack size; 0 or errno. */
static int create(struct start *s, size_t stack_bytes) {
  pthread_attr_t attr;
  pthread_t thread;
  int err = pthread_attr_init(&attr);
  if (err) return err;
  err = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  MPG_ASSERT(err == 0);
  err = pthread_attr_setstacksize(&attr, stack_bytes);
  MPG_ASSERT(err == 0); /* EINVAL: smaller than PTHREAD_STACK_MIN */
  sigset_t want, old;
  mask_for_threads(&want);
  pthread_sigmask(SIG_SETMASK, &want, &old);
  err = pthread_create(&thread, &attr, thread_main, s);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&attr);
  return err;
}

int mpgi_os_thread_start(void (*fn)(void *), void *arg, size_t stack_bytes,
                         const char *name) {
  MPG_ASSERT(fn && stack_bytes % mpgi_os_page_bytes == 0);
  if (mpgi_os_failpoint(&mpgi_os_thread_fail_countdown, false)) return -EAGAIN;
  /* pthread_create calls malloc, perhaps for the first time here. */
  if (!mpgi_fixmem_thread_coming()) return -ENOMEM;
  struct start *s = start_get();
  if (!s) return -ENOMEM;
  s->fn = fn;
  s->arg = arg;
  s->slice = slice_before;
  s->stack_bytes = stack_bytes;
  memset(s->name, 0, NAME_BYTES);
  if (name) strncpy(s->name, name, NAME_BYTES - 1);
  int saved = errno;
  atomic_fetch_add(&mpgi_os_threads_own, 1);
  int err = create(s, stack_bytes);
  errno = saved;
  if (err == 0) return 0;
  atomic_fetch_sub(&mpgi_os_threads_own, 1);
  start_put(s);
  return err == ENOMEM ? -ENOMEM : -EAGAIN; /* EPERM: a sandbox, say */
}

int mpgi_os_tid(void) {
  static _Thread_local int tid;
  if (!tid) tid = (int) mpgi_sys3(SYS_gettid, 0, 0, 0);
  MPG_ASSERT_INTERNAL(tid > 0);
  return tid;
}

int mpgi_os_thread_clock(void) {
  clockid_t id;
  int err = pthread_getcpuclockid(pthread_self(), &id);
  MPG_ASSERT(err == 0); /* [linux.thread.clock] */
  (void) err;
  return id;
}

/* Source: membarrier(2). */
int mpgi_os_barrier_join(void) {
  return (int) mpgi_sys3(SYS_membarrier,
                         MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}
int mpgi_os_barrier_all(void) {
  return (int) mpgi_sys3(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0,
                         0);
}

_Static_assert(MPGI_OS_PROCESS_CLOCK == CLOCK_PROCESS_CPUTIME_ID, "its name");

int64_t mpgi_os_clock_read(int clock_id) {
  struct timespec ts;
  long r = mpgi_sys3(SYS_clock_gettime, clock_id, (long) &ts, 0);
  if (r != 0) return -1; /* the thread is gone */
  MPG_ASSERT_INTERNAL(ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000);
  return ts.tv_sec * (int64_t) 1000000000 + ts.tv_nsec;
}

void mpgi_os_thread_nice(int nice) {
  mpgi_sys3(SYS_setpriority, PRIO_PROCESS, mpgi_os_tid(), nice);
}

int mpgi_os_ncpu(void) {
  unsigned long mask[CPU_MASK_WORDS];
  long r = mpgi_sys3(SYS_sched_getaffinity, 0, sizeof mask, (long) mask);
  if (r <= 0) return 1;
  int n = 0;
  for (size_t i = 0; i < (size_t) r / sizeof mask[0]; i++)
    n += __builtin_popcountl(mask[i]);
  MPG_ASSERT(n > 0);
  return n;
}

static int stack_bounds_by_libc(uintptr_t *lo, uintptr_t *hi) {
  pthread_attr_t attr;
  void *base;
  size_t bytes;
  int saved = errno;
  int err = pthread_getattr_np(pthread_self(), &attr);
  if (err == 0) {
    err = pthread_attr_getstack(&attr, &base, &bytes);
    pthread_attr_destroy(&attr);
  }
  errno = saved;
  if (err) return -err;
  *lo = (uintptr_t) base;
  *hi = *lo + bytes;
  return 0;
}

/* The main thread's, which libc reads from /proc/self/maps: there may be no
 * /proc, and no descriptor left.  Its first frame is here [linux.thread.main];
 * what is above are strings. */
extern void *__libc_stack_end;

static int stack_bounds_of_main(uintptr_t *lo, uintptr_t *hi) {
  uintptr_t page = mpgi_os_page_bytes, end = (uintptr_t) __libc_stack_end;
  struct rlimit size;
  getrlimit(RLIMIT_STACK, &size);
  *hi = (end + page - 1) & ~(page - 1);
  *lo = *hi - (size.rlim_cur < *hi / 4 ? size.rlim_cur : *hi / 4);
  return 0;
}

static int stack_bounds_ask(uintptr_t *lo, uintptr_t *hi) {
  int err = stack_bounds_by_libc(lo, hi);
  if (!err || mpgi_os_tid() != mpgi_os_pid()) return err;
  return stack_bounds_of_main(lo, hi);
}

/* [linux.thread.layout] Of threads with stacks of asked bytes. */
static _Atomic size_t layout_asked; /* 0: nobody has asked yet */
static _Atomic uintptr_t layout_above, layout_bytes;

/* libc may have reused a larger stack: then this is its upper part. */
static bool stack_bounds_known(uintptr_t *lo, uintptr_t *hi) {
  if (!own_stack_bytes || atomic_load(&layout_asked) != own_stack_bytes)
    return false;
  *hi = mpgi_os_thread_pointer() + atomic_load(&layout_above);
  *lo = *hi - atomic_load(&layout_bytes);
  return true;
}

static void stack_layout_learn(uintptr_t lo, uintptr_t hi) {
  static _Atomic bool learnt;
  size_t bytes = hi - lo;
  if (MPGI_TSAN) return; /* it has libc make larger ones than we asked for */
  if (!own_stack_bytes || atomic_exchange(&learnt, true)) return;
  if (bytes > own_stack_bytes) bytes = own_stack_bytes;
  atomic_store(&layout_above, hi - mpgi_os_thread_pointer());
  atomic_store(&layout_bytes, bytes);
  atomic_store(&layout_asked, own_stack_bytes);
}

int mpgi_os_stack_bounds(uintptr_t *lo, uintptr_t *hi) {
  MPG_ASSERT(lo && hi);
  if (!stack_bounds_known(lo, hi)) {
    int err = stack_bounds_ask(lo, hi);
    if (err) return err;
    stack_layout_learn(*lo, *hi);
  }
  return *lo < mpgi_arch_sp() && mpgi_arch_sp() < *hi ? 0 : -EPERM;
}

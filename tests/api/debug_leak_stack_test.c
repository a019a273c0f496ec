/* debug_leak_stack_test.c - leaked goroutines that wait for a local variable.
 *
 * Only in a process without threads that the runtime doesn't know can it tell
 * (sched/leak_stack.c): no watchdog, then.
 */
#include <errno.h>
#include <sys/mman.h>

#include "../support/check.h"
#include "../support/hide.h"
#include "../support/noinline.h"
#include "../support/traceback.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAN_TELL 0
#else
#define CAN_TELL 1
#endif

static void leaks_become(int n) {
  hide_scrub();
  CHECK_EVENTUALLY(!CAN_TELL || mpg_leaked_goroutines(-1) == n);
}

/* Not now, and not when what is stale has been overwritten. */
static void none_leaks(void) {
  for (int i = 0; i < 3; i++) {
    hide_scrub();
    CHECK_EQ(mpg_leaked_goroutines(-1), 0);
  }
}

static void parked(int n, const char *state) { free(traceback_when(n, state)); }

/* ---- every sort of lock, a local variable of the one who waits ---- */

static void own_sem(void *arg) {
  mpg_sem s = {0};
  (void) arg;
  mpg_sem_acquire(&s);
}

static void own_mutex(void *arg) {
  mpg_mutex m = {0};
  (void) arg;
  mpg_mutex_lock(&m);
  mpg_mutex_lock(&m);
}

static void own_rwmutex_to_read(void *arg) {
  mpg_rwmutex m = {0};
  (void) arg;
  mpg_rwmutex_lock(&m);
  mpg_rwmutex_rdlock(&m);
}

static void own_rwmutex_to_write(void *arg) {
  mpg_rwmutex m = {0};
  (void) arg;
  mpg_rwmutex_rdlock(&m);
  mpg_rwmutex_lock(&m);
}

static void own_rwmutex_behind_writer(void *arg) {
  mpg_rwmutex m = {0};
  (void) arg;
  mpg_rwmutex_lock(&m);
  mpg_rwmutex_lock(&m);
}

static void own_waitgroup(void *arg) {
  mpg_waitgroup w = {0};
  (void) arg;
  mpg_waitgroup_add(&w, 1);
  mpg_waitgroup_wait(&w);
}

static void own_cond(void *arg) {
  mpg_cond c = {0};
  mpg_mutex m = {0};
  (void) arg;
  mpg_mutex_lock(&m);
  mpg_cond_wait(&c, &m);
}

static mpg_func const own[] = {
    own_sem,       own_mutex, own_rwmutex_to_read,       own_rwmutex_to_write,
    own_waitgroup, own_cond,  own_rwmutex_behind_writer,
};

static void own_locks_leak(void *arg) {
  int n = 0;
  (void) arg;
  for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++) {
    CHECK_GO(own[i], NULL);
    leaks_become(++n);
  }
}

static void own_lock_of_movable_leaks(void *arg) {
  struct mpg_go_options opt = {.size = sizeof(opt), .flags = MPG_GO_MOVABLE};
  (void) arg;
  if (mpg_go_with(&opt, own_sem, NULL) == -EINVAL) return;
  leaks_become(1);
}

static void own_lock_of_fixed_leaks(void *arg) {
  struct mpg_go_options opt = {
      .size = sizeof(opt), .flags = MPG_GO_FIXED_STACK, .stack_bytes = 1 << 20};
  (void) arg;
  CHECK_EQ(mpg_go_with(&opt, own_sem, NULL), 0);
  leaks_become(1);
}

/* Across segments, the upper ones of which are mappings of their own. */
static NOINLINE int descends(int depth, mpg_sem *s) {
  volatile char frame[100000];
  frame[0] = (char) depth;
  if (depth == 0)
    mpg_sem_acquire(s);
  else
    frame[1] = (char) descends(depth - 1, s);
  return frame[0] + frame[1];
}

static void own_deep(void *arg) {
  mpg_sem s = {0};
  (void) arg;
  descends(50, &s);
}

static void own_lock_of_deep_leaks(void *arg) {
  struct mpg_go_options opt = {.size = sizeof(opt), .stack_bytes = 16 << 20};
  (void) arg;
  CHECK_EQ(mpg_go_with(&opt, own_deep, NULL), 0);
  leaks_become(1);
}

/* ---- local variables of others ---- */

static NOINLINE void ends_without_done(void *wg) {
  mpg_waitgroup *volatile stale[50];
  for (int i = 0; i < 50; i++) stale[i] = wg;
  (void) stale[0];
}

static void waits_for_workers(void *arg) {
  mpg_waitgroup w = {0};
  (void) arg;
  mpg_waitgroup_add(&w, 1);
  CHECK_GO(ends_without_done, &w);
  mpg_waitgroup_wait(&w);
}

static void forgotten_done_leaks(void *arg) {
  (void) arg;
  CHECK_GO(waits_for_workers, NULL);
  leaks_become(1);
}

static void acquires(void *s) { mpg_sem_acquire(s); }

static void holds_for_child(void *arg) {
  mpg_sem mine = {0}, childs = {0};
  (void) arg;
  CHECK_GO(acquires, &childs);
  mpg_sem_acquire(&mine);
  mpg_sem_release(&childs);
}

static void leaked_parent_leaks_child(void *arg) {
  (void) arg;
  CHECK_GO(holds_for_child, NULL);
  leaks_become(2);
}

static mpg_sem go_on;
static _Atomic int woken;

static void sleeps_for_child(void *arg) {
  mpg_sem childs = {0};
  (void) arg;
  CHECK_GO(acquires, &childs);
  mpg_sem_acquire(&go_on);
  mpg_sem_release(&childs);
}

/* Its parent waits for something reachable, and would wake it. */
static void live_parent_keeps_child(void *arg) {
  (void) arg;
  CHECK_GO(sleeps_for_child, NULL);
  parked(2, "[semacquire");
  none_leaks();
  mpg_sem_release(&go_on);
  CHECK_EVENTUALLY(mpg_num_goroutines() == 1);
}

/* ---- its address is somewhere: then somebody may come ---- */

struct request { /* what is passed on: its start */
  long what[4];
  mpg_sem done;
};

struct place {
  const char *name;
  void (*put)(struct request *r);
  struct request *(*take)(void);
};

static struct request *_Atomic global;
static void put_global(struct request *r) { global = r; }
static struct request *take_global(void) {
  struct request *r = global;
  global = NULL;
  return r;
}

/* A block at an address that is in a global, of some memory. */
static struct request **block;
static void put_block(struct request *r) { block[1] = r; }
static struct request *take_block(void) {
  struct request *r = block[1];
  block[1] = NULL;
  return r;
}

#define BLOCK_BYTES 100
static void put_malloc(struct request *r) {
  block = malloc(BLOCK_BYTES);
  put_block(r);
}
static void put_mmap(struct request *r) {
  block = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(block != MAP_FAILED);
  block += 100000;
  put_block(r);
}
static void put_shared(struct request *r) {
  block = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(block != MAP_FAILED);
  put_block(r);
}
static void put_alloc(struct request *r) {
  block = mpg_alloc(BLOCK_BYTES);
  put_block(r);
}
static void put_noscan(struct request *r) {
  block = mpg_alloc_noscan(BLOCK_BYTES);
  put_block(r);
}

/* Of which the collector knows another word only. */
static void put_typed(struct request *r) {
  static const size_t at[] = {sizeof(void *) * 2};
  mpg_type *type = mpg_type_new(sizeof(void *) * 3, at, 1);
  CHECK(type != NULL);
  block = mpg_alloc_typed(type, 1);
  put_block(r);
}

static mpg_chan *channel;
static void put_buffer(struct request *r) {
  channel = mpg_chan_new(sizeof(r), 1);
  mpg_chan_send(channel, &r);
}
static struct request *take_buffer(void) {
  struct request *r;
  CHECK(mpg_chan_recv(channel, &r));
  return r;
}

static void sends(void *r) { mpg_chan_send(channel, &r); }
static void put_sender(struct request *r) {
  channel = mpg_chan_new(sizeof(r), 0);
  CHECK_GO(sends, r);
}

/* Its timer's argument. */
static void comes_late(void *r) { atomic_store(&global, r); }
static void put_timer(struct request *r) {
  CHECK(mpg_timer_start(200 * 1000 * 1000, 0, comes_late, r) != NULL);
}
static struct request *take_timer(void) {
  CHECK_EVENTUALLY(atomic_load(&global) != NULL);
  return take_global();
}

static const struct place places[] = {
    {"global", put_global, take_global}, {"malloc", put_malloc, take_block},
    {"mmap", put_mmap, take_block},      {"shared", put_shared, take_block},
    {"alloc", put_alloc, take_block},    {"noscan", put_noscan, take_block},
    {"typed", put_typed, take_block},    {"buffer", put_buffer, take_buffer},
    {"sender", put_sender, take_buffer}, {"timer", put_timer, take_timer},
};
#define PLACES ((int) (sizeof(places) / sizeof(*places)))

static void asks(void *place) {
  struct request r = {{0}, {0}};
  ((const struct place *) place)->put(&r);
  mpg_sem_acquire(&r.done);
  atomic_fetch_add(&woken, 1);
}

static NOINLINE void answer(const struct place *p) {
  mpg_sem_release(&p->take()->done);
}

static NOINLINE void forget(const struct place *p) { (void) p->take(); }

static void whose_address_is_somewhere_is_not_leaked(void *arg) {
  (void) arg;
  atomic_store(&woken, 0);
  for (int i = 0; i < PLACES; i++) {
    CHECK_GO(asks, (void *) (uintptr_t) &places[i]);
    parked(1, "[semacquire");
    none_leaks();
    answer(&places[i]);
    CHECK_EVENTUALLY(atomic_load(&woken) == i + 1);
  }
}

static void whose_address_is_forgotten_is_leaked(void *arg) {
  (void) arg;
  for (int i = 0; i < PLACES; i++) {
    CHECK_GO(asks, (void *) (uintptr_t) &places[i]);
    parked(i + 1, "[semacquire");
    forget(&places[i]);
    leaks_become(i + 1);
  }
}

/* What only it can reach has its address, and what it reaches is not kept. */
static void asks_itself(void *arg) {
  struct request r = {{0}, {0}};
  struct request **own_block = mpg_alloc(BLOCK_BYTES);
  (void) arg;
  own_block[1] = &r;
  mpg_sem_acquire(&r.done);
  mpg_keep_alive(own_block);
}

static void own_object_is_nobody(void *arg) {
  (void) arg;
  CHECK_GO(asks_itself, NULL);
  leaks_become(1);
}

/* ---- another thread could have the address in a register ---- */

static void *sleeps(void *wakeful) {
  pthread_barrier_wait(wakeful);
  return NULL;
}

static void with_strangers_none_is_said_to_leak(void *arg) {
  pthread_barrier_t wakeful;
  pthread_t stranger;
  (void) arg;
  CHECK_EQ(pthread_barrier_init(&wakeful, NULL, 2), 0);
  CHECK_EQ(pthread_create(&stranger, NULL, sleeps, &wakeful), 0);
  CHECK_GO(own_sem, NULL);
  parked(1, "[semacquire");
  none_leaks();
  mpg_syscall_enter();
  pthread_barrier_wait(&wakeful);
  pthread_join(stranger, NULL);
  mpg_syscall_exit();
  leaks_become(1);
}

static const struct check_case cases[] = {
    INSIDE(own_locks_leak),
    INSIDE(own_lock_of_movable_leaks),
    INSIDE(own_lock_of_fixed_leaks),
    /* What it adds leaves more behind than is told from the program's. */
    {"own_lock_of_deep_leaks", own_lock_of_deep_leaks, CHECK_INSIDE,
     "stackguard", NULL},
    INSIDE(forgotten_done_leaks),
    INSIDE(leaked_parent_leaks_child),
    INSIDE(live_parent_keeps_child),
    INSIDE(whose_address_is_somewhere_is_not_leaked),
    INSIDE(whose_address_is_forgotten_is_leaked),
    INSIDE(own_object_is_nobody),
    INSIDE(with_strangers_none_is_said_to_leak),
};
CHECK_MAIN(cases, 0)

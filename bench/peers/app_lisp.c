/* app_lisp.c - the Lisp on Boehm's collector; coroutines are kernel threads,
 * channels a mutex and a condition.
 */
#include "../heap_peer.h"

struct task {
  void (*fn)(void *);
  void *arg;
};

static void *task_main(void *arg) {
  const struct task *t = arg;
  t->fn(t->arg);
  return NULL;
}

static void task_start(void (*fn)(void *), void *arg) {
  struct task *t = HEAP_NEW(sizeof *t);
  pthread_attr_t detached;
  pthread_t thread;
  if (!t) work_fail("out of memory");
  *t = (struct task){fn, arg};
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  if (pthread_create(&thread, &detached, task_main, t) != 0)
    work_fail("no thread");
  pthread_attr_destroy(&detached);
}

struct task_chan {
  pthread_mutex_t lock;
  pthread_cond_t moved;
  enum { EMPTY, FULL, TAKEN } state; /* of the value under way */
  void *v;
};

static void *task_chan_new(void) {
  struct task_chan *c = HEAP_NEW(sizeof *c);
  if (!c) work_fail("out of memory");
  pthread_mutex_init(&c->lock, NULL);
  pthread_cond_init(&c->moved, NULL);
  return c;
}

static void chan_await(struct task_chan *c, int state) {
  while ((int) c->state != state) pthread_cond_wait(&c->moved, &c->lock);
}

static void task_chan_send(struct task_chan *c, void *v) {
  pthread_mutex_lock(&c->lock);
  chan_await(c, EMPTY);
  c->v = v;
  c->state = FULL;
  pthread_cond_broadcast(&c->moved);
  chan_await(c, TAKEN);
  c->state = EMPTY;
  pthread_cond_broadcast(&c->moved);
  pthread_mutex_unlock(&c->lock);
}

static void *task_chan_recv(struct task_chan *c) {
  pthread_mutex_lock(&c->lock);
  chan_await(c, FULL);
  void *v = c->v;
  c->v = NULL;
  c->state = TAKEN;
  pthread_cond_broadcast(&c->moved);
  pthread_mutex_unlock(&c->lock);
  return v;
}

#include "../lisp/work.h"

static const struct work works[] = {{"lisp", lisp_work},
                                    {"corout", corout_work}};

HEAP_MAIN(works)

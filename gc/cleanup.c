/* cleanup.c - cleanup queues: dead objects for whoever asks, when he asks.
 *
 * As a finalizer, but nobody is called: what a collection finds dead is put
 * into a queue, from which the program takes it when and where it likes.
 *
 * Concepts
 *   queue         an object of its own, with a record QUEUE
 *   registration  a record CLEANUP about the object: which queue, by the
 *                 number and generation of its record (so nothing has to be
 *                 unlinked when a queue goes), and the node
 *   node          an object that will carry the dead one in the queue's list;
 *                 made at registration, because a collection can't allocate.
 *                 A root until then, and with it the tag.
 *
 * A registered object that has no mark dies as one with a finalizer does
 * (special_mark.c): what it leads to is marked, the others that are dead wait
 * if it leads to them.  Its record becomes DELIVERED then, a root like READY.
 * Once the world runs again, deliver moves the object to its node and the node
 * to the queue: from there on it is kept by the queue alone, and dies with it
 * even if it leads back to the queue.
 *
 * A registration counts only while its queue is reachable from the roots when
 * the collection decides; otherwise it is dropped, and the object dies as if it
 * had never been there.
 *
 * Concurrency: queues, nodes' links and records are guarded by the records'
 * lock; deliver runs in the cycle, before the next one can begin.
 *
 * Source: Guile's guardians (Dybvig, Bruggeman, Eby 1993), Java's
 * ReferenceQueue.  Differences from the latter: the object itself is delivered.
 */
#define MPGI_GC_INSIDE 1
#include <errno.h>

#include <gc/special.h>
#include <mpg/gc.h>

struct node {
  struct node *next;
  void *obj; /* NULL until it is delivered */
  void *tag;
};

struct queue {
  struct mpgi_cleanup_queue q; /* first: sched's view */
  struct node *head, *tail;
  void (*notify)(void *arg);
  void *notify_arg;
};

static _Atomic uint32_t generations;

/* ---- queues ---- */

void *mpgi_cleanup_queue_make(void *waker) {
  struct mpgi_cell cell;
  struct queue *q = mpgi_gc_alloc(sizeof *q, MPGI_KIND_SCAN);
  /* What the out-of-memory handler gives is no object. */
  if (q == NULL || !mpgi_cell_start(q, &cell)) return NULL;
  q->q.waker = waker;
  uint32_t n;
  mpgi_special_lock();
  struct mpgi_special *s =
      mpgi_special_add_locked(&cell, MPGI_SPECIAL_QUEUE, &n);
  if (s != NULL) {
    s->queue.number = n;
    s->queue.generation = atomic_fetch_add(&generations, 1) + 1;
  }
  mpgi_special_unlock();
  if (s != NULL) return q;
  mpgi_free_g0(q);
  return NULL;
}

static struct mpgi_special *queue_locked(const void *q) {
  struct mpgi_special *s =
      mpgi_special_find_locked((uintptr_t) q, MPGI_SPECIAL_QUEUE);
  if (MPGI_UNLIKELY(s == NULL))
    mpgi_fatal("mpg_cleanup operation on something that is not a queue");
  return s;
}

struct mpgi_special *mpgi_cleanup_queue_of(const struct mpgi_special *s) {
  struct mpgi_special *q = mpgi_special_at(s->cleanup.queue);
  return q->kind == MPGI_SPECIAL_QUEUE &&
                 q->queue.generation == s->cleanup.generation
             ? q
             : NULL;
}

/* ---- registering ---- */

static struct mpgi_special *find_locked(const struct mpgi_special *q,
                                        uintptr_t obj) {
  struct mpgi_special *s = mpgi_special_first(obj);
  while (s != NULL &&
         (s->kind != MPGI_SPECIAL_CLEANUP || mpgi_cleanup_queue_of(s) != q))
    s = mpgi_special_next(s, obj);
  return s;
}

static int add_locked(const struct mpgi_special *q,
                      const struct mpgi_cell *cell, struct node *node) {
  struct mpgi_special *s = find_locked(q, cell->base);
  if (s == NULL) s = mpgi_special_add_locked(cell, MPGI_SPECIAL_CLEANUP, NULL);
  if (s == NULL) return -ENOMEM;
  s->cleanup.queue = q->queue.number;
  s->cleanup.generation = q->queue.generation;
  s->cleanup.node = node; /* of an earlier one: garbage */
  return 0;
}

int mpgi_cleanup_add_g0(void *queue, void *obj, void *tag) {
  struct mpgi_cell cell, own;
  mpgi_alloc_cache("mpg_cleanup_add"); /* by a goroutine */
  if (!mpgi_cell_start(obj, &cell)) return -EINVAL;
  struct node *node = mpgi_gc_alloc(sizeof *node, MPGI_KIND_SCAN);
  if (node == NULL || !mpgi_cell_start(node, &own)) return -ENOMEM;
  node->tag = tag;
  mpgi_special_lock();
  int rc = add_locked(queue_locked(queue), &cell, node);
  mpgi_special_unlock();
  return rc;
}

int mpgi_cleanup_remove_g0(void *queue, const void *obj) {
  mpgi_special_lock();
  struct mpgi_special *s = find_locked(queue_locked(queue), (uintptr_t) obj);
  if (s != NULL) mpgi_special_remove_locked(s);
  mpgi_special_unlock();
  return s != NULL ? 0 : -ENOENT;
}

/* ---- delivering ---- */

static void link_locked(struct queue *q, struct node *n) {
  if (q->tail != NULL)
    q->tail->next = n;
  else
    q->head = n;
  q->tail = n;
}

/* To its node, that to its queue, which has news then. */
static void deliver_locked(struct mpgi_special *s) {
  struct mpgi_special *of = mpgi_cleanup_queue_of(s);
  struct node *n = s->cleanup.node;
  if (of != NULL) { /* not freed meanwhile */
    n->obj = (void *) s->base;
    link_locked((struct queue *) of->base, n);
    of->waiting = true;
  }
  mpgi_special_remove_locked(s);
}

static void deliver_chunk(uint32_t from) {
  mpgi_special_lock();
  for (uint32_t i = from; i < from + MPGI_SPECIAL_CHUNK; i++)
    if (mpgi_special_at(i)->kind == MPGI_SPECIAL_DELIVERED)
      deliver_locked(mpgi_special_at(i));
  mpgi_special_unlock();
}

static void wake(const struct queue *q) {
  if (mpgi_gc_world.cleanup_wake != NULL && q->q.waker != NULL)
    mpgi_gc_world.cleanup_wake(q->q.waker);
}

/* The next queue with news from record *i on; false: there is none.  When
 * everything is linked: those who wait would find the first only. */
static bool tell_next(uint32_t *i, uint32_t n) {
  void (*notify)(void *arg) = NULL;
  void *arg = NULL;
  struct queue *q = NULL;
  mpgi_special_lock();
  for (; *i < n && q == NULL; ++*i) {
    struct mpgi_special *s = mpgi_special_at(*i);
    if (s->kind != MPGI_SPECIAL_QUEUE || !s->waiting) continue;
    s->waiting = false;
    q = (struct queue *) s->base;
    notify = q->notify;
    arg = q->notify_arg;
  }
  mpgi_special_unlock();
  if (q != NULL) wake(q);
  if (notify != NULL) notify(arg);
  return q != NULL;
}

void mpgi_cleanup_deliver(void) {
  uint32_t n = mpgi_special_made(), i = 0;
  if (mpgi_special_count(MPGI_SPECIAL_DELIVERED) == 0) return;
  for (uint32_t at = 0; at < n; at += MPGI_SPECIAL_CHUNK) deliver_chunk(at);
  while (tell_next(&i, n)) continue;
}

/* ---- taking ---- */

int mpgi_cleanup_poll_g0(void *queue, struct mpg_cleanup *out) {
  mpgi_alloc_cache("mpg_cleanup_poll"); /* by a goroutine */
  mpgi_special_lock();
  struct queue *q = (struct queue *) queue_locked(queue)->base;
  struct node *n = q->head;
  if (n != NULL && (q->head = n->next) == NULL) q->tail = NULL;
  bool more = q->head != NULL;
  mpgi_special_unlock();
  if (n == NULL) return -EAGAIN;
  *out = (struct mpg_cleanup){n->obj, n->tag};
  n->next = NULL; /* a stale reference to it must not keep the others */
  n->obj = n->tag = NULL;
  if (more) wake(q); /* somebody else may wait */
  return 0;
}

void mpgi_cleanup_notify_g0(void *queue, void (*fn)(void *arg), void *arg) {
  mpgi_special_lock();
  struct queue *q = (struct queue *) queue_locked(queue)->base;
  q->notify = fn;
  q->notify_arg = arg;
  bool now = fn != NULL && q->head != NULL;
  mpgi_special_unlock();
  if (now) fn(arg);
}

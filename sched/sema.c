/* sema.c - counting semaphores keyed by the address of a word.
 *
 * The word is the count.  Waiters hang in a hashed table.  Those for one
 * address are a FIFO, a ring: prev is who is behind me, and behind the last is
 * the first.  The last of each is a node of its bucket's tree, which has the
 * addresses: from the node at depth d it goes on by bit d of their hash, to the
 * left (next) or to the right.  So however many wait, each at an address of its
 * own, a look-up takes few steps, and the tree needs no balance; who takes the
 * place of a node that goes is any leaf below it (Coffman and Eve, 1970).
 *
 *   acquire  take the bucket's lock, nwait += 1, try the count again, queue
 *   release  count += 1, then look at nwait          [sema.fence]
 * nwait is changed before the count is tried, count before nwait is looked
 * at, both sequentially consistent: a release is never lost between.
 *
 * A release gives the count directly to the first waiter (no barging).
 *
 * Mutexes (sync.c) and conditions (cond.c) have words that count otherwise.
 * Source: Go sema.go.
 */
#include <sched/sched.h>

#include <sched/gmp.h>

#include <sched/hot.h>

#define BUCKETS 512

struct bucket {
  _Alignas(MPGI_CACHE_LINE_BYTES) struct mpgi_mutex lock;
  _Atomic uint32_t nwait;
  struct mpgi_waiter *root; /* lock: the last waiters of each address */
};

static struct bucket table[BUCKETS];

static struct bucket *bucket_of(const _Atomic uint32_t *count) {
  return &table[((uintptr_t) count >> 3) * 2654435761u % BUCKETS];
}

/* Differs where addresses do. */
static uint64_t hash_of(const void *word) {
  return (uintptr_t) word * 0x9e3779b97f4a7c15u;
}

void mpgi_sema_reset(void) {
  for (int i = 0; i < BUCKETS; i++) {
    mpgi_mutex_init(&table[i].lock, MPGI_RANK_SEMA);
    atomic_store(&table[i].nwait, 0);
    table[i].root = NULL;
  }
}

bool mpgi_sema_has_waiters(const _Atomic uint32_t *count) {
  return atomic_load(&bucket_of(count)->nwait) != 0;
}

static bool try_take(_Atomic uint32_t *count) {
  uint32_t n = atomic_load(count);
  while (n > 0)
    if (atomic_compare_exchange_weak(count, &n, n - 1)) return true;
  return false;
}

/* The link to the last waiter for count, or where it would be. */
static struct mpgi_waiter **find_locked(struct bucket *b, const void *count) {
  struct mpgi_waiter **at = &b->root;
  for (uint64_t way = hash_of(count); *at && (*at)->object != count; way <<= 1)
    at = way >> 63 ? &(*at)->right : &(*at)->next;
  return at;
}

static void put_locked(struct bucket *b, struct mpgi_waiter *w, bool front) {
  struct mpgi_waiter **at = find_locked(b, w->object), *last = *at;
  w->next = w->right = NULL;
  w->prev = w;
  if (last) { /* behind the last is before the first */
    w->prev = last->prev;
    last->prev = w;
    if (front) return;
    w->next = last->next;
    w->right = last->right;
    last->next = last->right = NULL;
  }
  *at = w;
}

/* A leaf below takes the place of the node at `at`. */
static void node_remove(struct mpgi_waiter **at) {
  struct mpgi_waiter **down = at, *node = *at, *leaf = node;
  while (leaf->next || leaf->right) {
    down = leaf->next ? &leaf->next : &leaf->right;
    leaf = *down;
  }
  *down = NULL;
  if (leaf == node) return;
  leaf->next = node->next;
  leaf->right = node->right;
  *at = leaf;
}

static struct mpgi_waiter *first_locked(struct bucket *b, const void *count) {
  const struct mpgi_waiter *last = *find_locked(b, count);
  return last ? last->prev : NULL;
}

static struct mpgi_waiter *get_locked(struct bucket *b, const void *count) {
  struct mpgi_waiter **at = find_locked(b, count), *last = *at;
  if (!last) return NULL;
  struct mpgi_waiter *w = last->prev;
  if (w == last)
    node_remove(at);
  else
    last->prev = w->prev;
  w->next = w->prev = w->right = NULL;
  return w;
}

/* Under the bucket's lock: the calling goroutine waits for word. */
static void park_locked(struct bucket *b, struct mpg_m *mp,
                        const _Atomic uint32_t *word,
                        enum mpgi_wait_reason reason, bool front,
                        void (*resume)(struct mpg_g *gp)) {
  struct mpg_g *gp = mp->curg;
  gp->wait.g = gp;
  gp->wait.object = (const void *) word;
  mpgi_g_on_resume(gp, resume);
  put_locked(b, &gp->wait, front);
  mpgi_park_begin(mp, gp, reason);
}

/* In line: in most calls go_on is known. */
MPGI_HOT bool park_unless(struct mpg_m *mp, _Atomic uint32_t *word,
                          enum mpgi_wait_reason reason, bool front,
                          void (*resume)(struct mpg_g *gp),
                          bool (*go_on)(_Atomic uint32_t *word)) {
  struct bucket *b = bucket_of(word);
  MPGI_CHAOS();
  mpgi_mutex_lock(&b->lock);
  atomic_fetch_add(&b->nwait, 1); /* [sema.fence] */
  bool goes_on = go_on(word);
  if (goes_on)
    atomic_fetch_sub(&b->nwait, 1);
  else
    park_locked(b, mp, word, reason, front, resume);
  mpgi_mutex_unlock(&b->lock);
  MPGI_CHAOS();
  return goes_on;
}

bool mpgi_sema_acquire(struct mpg_m *mp, _Atomic uint32_t *count,
                       enum mpgi_wait_reason reason, bool front,
                       void (*resume)(struct mpg_g *gp)) {
  return try_take(count) ||
         park_unless(mp, count, reason, front, resume, try_take);
}

bool mpgi_sema_park_unless(struct mpg_m *mp, _Atomic uint32_t *word,
                           enum mpgi_wait_reason reason, bool front,
                           void (*resume)(struct mpg_g *gp),
                           bool (*go_on)(_Atomic uint32_t *word)) {
  return park_unless(mp, word, reason, front, resume, go_on);
}

/* ---- queues without a count to take from: condition variables ---- */

void mpgi_sema_park(struct mpg_m *mp, _Atomic uint32_t *waiting,
                    enum mpgi_wait_reason reason,
                    void (*resume)(struct mpg_g *gp)) {
  struct bucket *b = bucket_of(waiting);
  mpgi_mutex_lock(&b->lock);
  atomic_fetch_add(&b->nwait, 1);
  atomic_fetch_add(waiting, 1);
  park_locked(b, mp, waiting, reason, false, resume);
  mpgi_mutex_unlock(&b->lock);
  MPGI_CHAOS();
}

void mpgi_sema_unpark(_Atomic uint32_t *waiting, uint32_t most,
                      struct mpgi_gqueue *woken) {
  struct bucket *b = bucket_of(waiting);
  struct mpgi_waiter *w = NULL;
  mpgi_mutex_lock(&b->lock);
  while (woken->n < most && (w = get_locked(b, (const void *) waiting))) {
    w->object = NULL;
    atomic_fetch_sub(&b->nwait, 1);
    atomic_fetch_sub(waiting, 1);
    mpgi_gqueue_push(woken, w->g);
  }
  /* Nobody left, whatever it says: they belonged to an earlier mpg_run. */
  if (woken->n < most) atomic_store(waiting, 0);
  mpgi_mutex_unlock(&b->lock);
}

/* ---- release ---- */

MPGI_HOT void wake_if(_Atomic uint32_t *word,
                      bool (*may)(_Atomic uint32_t *word,
                                  struct mpgi_waiter *first)) {
  struct bucket *b = bucket_of(word);
  struct mpgi_waiter *w = NULL;
  MPGI_CHAOS();
  mpgi_mutex_lock(&b->lock);
  if (may(word, first_locked(b, (const void *) word))) {
    w = get_locked(b, (const void *) word);
    atomic_fetch_sub(&b->nwait, 1);
  }
  mpgi_mutex_unlock(&b->lock);
  if (!w) return;
  w->object = NULL;
  MPGI_CHAOS();
  mpgi_ready(w->g);
}

/* By the time that the releaser looks, somebody who didn't wait may have taken
 * the count and freed the memory: a mutex or a condition may be there now,
 * whose word isn't a count.  Its waiters have something to do when they resume;
 * who waits for a count has not. */
static bool may_give(_Atomic uint32_t *count, struct mpgi_waiter *first) {
  return first && !first->g->on_resume && try_take(count);
}

static void give(_Atomic uint32_t *count) { wake_if(count, may_give); }

void mpgi_sema_wake_if(_Atomic uint32_t *word,
                       bool (*may)(_Atomic uint32_t *word,
                                   struct mpgi_waiter *first)) {
  wake_if(word, may);
}

void mpgi_sema_release(_Atomic uint32_t *count) {
  atomic_fetch_add(count, 1); /* [sema.fence] */
  if (mpgi_sema_has_waiters(count)) give(count);
}

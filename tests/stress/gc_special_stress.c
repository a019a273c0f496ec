/* gc_special_stress.c - finalizers, weak references and weak maps, at random.
 *
 * Objects of all kinds of size lead to others, at most DEPTH in a row, and come
 * and go in shared slots.  What is checked:
 *   a finalizer, or who drains the cleanup queue, gets its object once, intact;
 *     what it leads to is intact and not finalized; some bring the object back
 *   a weak reference gives an intact object that has not been finalized
 *   a weak map's value belongs to its key
 *   in the end nearly every object has been finalized
 */
#include "../support/stress.h"

#define SLOTS 256
#define GOROUTINES 6
#define DEPTH 3

struct object {
  struct object *child;
  uint64_t number, check;
  uint32_t depth;
  _Atomic uint32_t finalized;
};

static struct slot {
  mpg_mutex lock;
  struct object *object;
  mpg_weak *weak; /* to some object, not this slot's */
} slots[SLOTS];

static mpg_weakmap *map;
static mpg_cleanup_queue *queue;
static mpg_waitgroup done, drainers;
static _Atomic uint64_t numbers, finalized, seen_weakly, seen_in_map;

static void intact(const struct object *o) {
  CHECK_EQ(o->check, o->number * 0x9e3779b97f4a7c15u);
  CHECK_LE(o->depth, DEPTH);
}

static void put(uint64_t *rng, struct object *o) {
  struct slot *s = &slots[stress_below(rng, SLOTS)];
  mpg_mutex_lock(&s->lock);
  s->object = o;
  mpg_mutex_unlock(&s->lock);
}

static struct object *get(uint64_t *rng) {
  struct slot *s = &slots[stress_below(rng, SLOTS)];
  mpg_mutex_lock(&s->lock);
  struct object *o = s->object;
  mpg_mutex_unlock(&s->lock);
  return o;
}

static void finalize(void *obj, void *arg) {
  struct object *o = obj;
  uint64_t rng = stress_seed(o->number);
  CHECK_EQ((uintptr_t) arg, o->number);
  intact(o);
  CHECK_EQ(atomic_exchange(&o->finalized, 1), 0);
  atomic_fetch_add(&finalized, 1);
  if (o->child) {
    intact(o->child);
    CHECK_EQ(o->child->depth + 1, o->depth);
    /* While o led to it and was unfinalized it could not be finalized. */
    CHECK_EQ(atomic_load(&o->child->finalized), 0);
  }
  if (stress_below(&rng, 8) == 0) put(&rng, o); /* back it is */
}

static struct object *make(uint64_t *rng) {
  size_t extra = stress_below(rng, 50) ? stress_below(rng, 300)
                                       : stress_below(rng, 100000);
  struct object *o = mpg_alloc(sizeof *o + extra), *child = get(rng);
  CHECK(o != NULL);
  o->number = atomic_fetch_add(&numbers, 1) + 1;
  o->check = o->number * 0x9e3779b97f4a7c15u;
  if (child && child->depth < DEPTH && !atomic_load(&child->finalized)) {
    o->child = child;
    o->depth = child->depth + 1;
  }
  void *tag = (void *) (uintptr_t) o->number;
  if (o->number % 4 == 0)
    CHECK_EQ(mpg_cleanup_add(queue, o, tag), 0);
  else
    CHECK_EQ(mpg_finalizer_set(o, finalize, tag), 0);
  return o;
}

static void make_weak(uint64_t *rng) {
  struct object *o = get(rng);
  if (!o || atomic_load(&o->finalized)) return;
  mpg_weak *w = mpg_weak_new(o);
  CHECK(w != NULL);
  CHECK(mpg_weak_get(w) == o);
  struct slot *s = &slots[stress_below(rng, SLOTS)];
  mpg_mutex_lock(&s->lock);
  s->weak = w;
  mpg_mutex_unlock(&s->lock);
}

static void look_weakly(uint64_t *rng) {
  struct slot *s = &slots[stress_below(rng, SLOTS)];
  mpg_mutex_lock(&s->lock);
  mpg_weak *w = s->weak;
  mpg_mutex_unlock(&s->lock);
  struct object *o = mpg_weak_get(w);
  if (!o) return;
  intact(o);
  CHECK_EQ(atomic_load(&o->finalized), 0);
  atomic_fetch_add(&seen_weakly, 1);
  if (stress_below(rng, 4) == 0) put(rng, o); /* a strong reference again */
}

static void use_map(uint64_t *rng) {
  struct object *key = get(rng);
  void *v;
  if (!key) return;
  if (stress_below(rng, 2)) {
    uint64_t *value = mpg_alloc(24);
    value[0] = key->number;
    value[1] = (uintptr_t) key; /* leads to its key */
    CHECK_EQ(mpg_weakmap_set(map, key, value), 0);
  } else if (mpg_weakmap_get(map, key, &v)) {
    CHECK_EQ(*(uint64_t *) v, key->number);
    atomic_fetch_add(&seen_in_map, 1);
    if (stress_below(rng, 8) == 0) mpg_weakmap_delete(map, key);
  }
}

static _Atomic bool drained;
static void drain(void *arg) {
  struct mpg_cleanup c;
  (void) arg;
  while (!atomic_load(&drained)) {
    if (mpg_cleanup_wait(queue, &c, mpg_now() + 10000000) != 0) continue;
    finalize(c.obj, c.tag);
    c.obj = NULL;
  }
  mpg_waitgroup_done(&drainers);
}

static void mutate(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  while (!stress_over()) {
    switch (stress_below(&rng, 8)) {
    case 0:
    case 1:
    case 2: put(&rng, make(&rng)); break;
    case 3: put(&rng, NULL); break;
    case 4: make_weak(&rng); break;
    case 5:
    case 6: look_weakly(&rng); break;
    default: use_map(&rng); break;
    }
    if (stress_below(&rng, 64) == 0) mpg_yield();
  }
  mpg_waitgroup_done(&done);
}

static void drop_all(void) {
  for (int i = 0; i < SLOTS; i++) {
    mpg_mutex_lock(&slots[i].lock);
    slots[i].object = NULL;
    mpg_mutex_unlock(&slots[i].lock);
  }
}

static void start(void *arg) {
  (void) arg;
  uint64_t rng = stress_seed(0);
  mpg_gomaxprocs(stress.procs ? (int) stress.procs : 4);
  map = mpg_weakmap_new();
  queue = mpg_cleanup_queue_new();
  mpg_waitgroup_add(&drainers, 2);
  for (int i = 0; i < 2; i++) CHECK_GO(drain, NULL);
  mpg_waitgroup_add(&done, GOROUTINES);
  for (uintptr_t i = 1; i <= GOROUTINES; i++) CHECK_GO(mutate, (void *) i);
  while (!stress_over()) {
    if (stress_below(&rng, 2) == 0) mpg_gc();
    if (stress_below(&rng, 16) == 0) stress_procs(&rng, 4);
    mpg_sleep(1000000);
  }
  mpg_waitgroup_wait(&done);
  uint64_t made = atomic_load(&numbers);
  for (int i = 0; i < 200 && atomic_load(&finalized) < made - made / 50; i++) {
    drop_all(); /* what finalizers brought back, too */
    mpg_gc();
    mpg_sleep(5000000);
  }
  CHECK_GE(atomic_load(&finalized), made - made / 50);
  atomic_store(&drained, true);
  mpg_waitgroup_wait(&drainers);
  CHECK_GT(atomic_load(&seen_weakly), 0);
  CHECK_GT(atomic_load(&seen_in_map), 0);
}

int main(int argc, char **argv) { return stress_main(argc, argv, start); }

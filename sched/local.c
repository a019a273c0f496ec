/* local.c - goroutine-local storage.
 *
 * A key is an index, handed out once and never again, for the life of the
 * process.  A goroutine has a table of values, made at its first set and
 * freed with it; most goroutines have none.  The values are roots
 * (sched/roots.c scans the tables).
 *
 * [local.owner] A table is written by its goroutine only, in entry stubs and
 * on g0, where nobody is switched out or frozen: no atomics.  The collector
 * reads it in the stopped world.  The table pointer is written after the
 * table is complete.
 *
 * Rejected: a hash table by key (slower get; programs have few keys).
 */
#include <sched/sched.h>

#include <errno.h>
#include <string.h>

#include <sched/gmp.h>

#define SLOTS_MIN 8

static _Atomic uint64_t nkeys = 1; /* key 0 is the zero-initialised one */

static size_t table_bytes(size_t n) {
  return sizeof(struct mpgi_locals) + n * sizeof(void *);
}

void mpgi_locals_free(struct mpg_g *gp) {
  struct mpgi_locals *t = gp->locals;
  if (!t) return;
  gp->locals = NULL;
  mpgi_fixmem_free(t, table_bytes(t->n), 0);
}

static bool key_is_valid(mpg_local key) {
  return key.id != 0 && key.id < atomic_load(&nkeys);
}

/* A table with a slot for id, the old values in it; NULL: no memory. */
static struct mpgi_locals *table_grow(struct mpgi_locals *old, uint64_t id) {
  size_t n = old ? 2 * old->n : SLOTS_MIN;
  while (n <= id) n *= 2;
  struct mpgi_locals *t = mpgi_fixmem_alloc(table_bytes(n), 0);
  if (!t) return NULL;
  t->n = n;
  if (old) memcpy(t->value, old->value, old->n * sizeof(void *));
  return t;
}

int mpgi_local_set_slow_g0(uint64_t id, void *value) {
  struct mpg_g *gp = mpgi_current_g("mpg_local_set");
  mpg_local key = {id};
  if (!key_is_valid(key)) return -EINVAL;
  struct mpgi_locals *old = gp->locals;
  if (!old || id >= old->n) {
    if (!value) return 0; /* it reads NULL anyway */
    struct mpgi_locals *t = table_grow(old, id);
    if (!t) return -ENOMEM;
    gp->locals = t;
    gp->leaves = 1;
    if (old) mpgi_fixmem_free(old, table_bytes(old->n), 0);
  }
  gp->locals->value[id] = value;
  return 0;
}

void *mpgi_local_get_slow_g0(uint64_t id) {
  const struct mpgi_locals *t = mpgi_current_g("mpg_local_get")->locals;
  return t && id < t->n ? t->value[id] : NULL;
}

/* ---- entry stubs ---- */

MPGI_RT_TEXT int mpg_local_new(mpg_local *key) {
  if (!key) return -EINVAL;
  uint64_t n = atomic_load_explicit(&nkeys, memory_order_relaxed);
  do {
    if (n > MPG_LOCALS_MAX) return -EAGAIN;
  } while (!atomic_compare_exchange_weak(&nkeys, &n, n + 1));
  key->id = n;
  return 0;
}

MPGI_RT_TEXT void *mpg_local_get(mpg_local key) {
  const struct mpg_g *gp = mpgi_tls_g();
  if (MPGI_UNLIKELY(!gp)) return mpgi_thunk_local_get_slow(key.id);
  const struct mpgi_locals *t = gp->locals;
  return t && key.id < t->n ? t->value[key.id] : NULL;
}

MPGI_RT_TEXT int mpg_local_set(mpg_local key, void *value) {
  struct mpg_g *gp = mpgi_tls_g();
  struct mpgi_locals *t = gp ? gp->locals : NULL;
  /* A slot below n may belong to a key not made yet: the slow path knows. */
  if (!t || key.id >= t->n || !t->value[key.id])
    return mpgi_thunk_local_set_slow(key.id, value);
  t->value[key.id] = value;
  return 0;
}

/* explore_search.c - depth-first search over every interleaving.
 *
 * State: the program's .data and .bss (less what was declared constant), the
 * live part of each stack, and the threads' records.  It is saved with memcpy
 * and compared by a 64-bit hash: a state that was met before is not explored
 * again, so that loops end and orders that lead to the same state are one.
 * (A collision could hide states: with 10^6 states its chance is 10^-7.)
 *
 * The end: every thread but the daemons is done and their stores are out.
 * After the search the graph is walked backwards from the ends; a state that
 * isn't met has no way out.
 *
 * Rejected: stateless search with partial-order reduction (no saved states;
 * but loops have to be bounded, and the scheduler's loops are what is in
 * doubt); running the threads on kernel threads (a thousand times slower).
 */
#include "explore_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define DEPTH_MAX 20000
#define STATES_MAX (8u << 20)

extern unsigned char data_lo[] __asm__("__data_start");
extern unsigned char data_hi[] __asm__("_end");

/* In words, and every byte: the last ones may be a variable of their own. */
static unsigned char *data_begin(void) {
  return (unsigned char *) ((uintptr_t) data_lo & ~(uintptr_t) 7);
}
static unsigned char *data_end(void) {
  return (unsigned char *) (((uintptr_t) data_hi + 7) & ~(uintptr_t) 7);
}

static void *grow(void *p, size_t bytes) {
  p = realloc(p, bytes);
  if (!p) explorer_broken("out of memory");
  return p;
}

/* ---- states: saved, hashed, found again ---- */

static void save_bytes(const void *p, size_t n) {
  if (ex->arena_used + n > ex->arena_bytes) {
    ex->arena_bytes = 2 * (ex->arena_used + n) + ((size_t) 1 << 20);
    ex->arena = grow(ex->arena, ex->arena_bytes);
  }
  memcpy(ex->arena + ex->arena_used, p, n);
  ex->arena_used += n;
}

static size_t state_save(void) {
  size_t at = ex->arena_used;
  save_bytes(&ex->machine, sizeof ex->machine);
  for (int i = 0; i < ex->nlive; i++)
    save_bytes(ex->live[i].lo, (size_t) (ex->live[i].hi - ex->live[i].lo));
  for (int t = 0; t < ex->nthreads; t++) {
    unsigned char *sp = (unsigned char *) ex->machine.thread[t].sp;
    save_bytes(sp, (size_t) (explorer_stack_top(t) - sp));
  }
  return at;
}

static void state_restore(size_t at) {
  const unsigned char *p = ex->arena + at;
  memcpy(&ex->machine, p, sizeof ex->machine);
  p += sizeof ex->machine;
  for (int i = 0; i < ex->nlive; i++) {
    size_t n = (size_t) (ex->live[i].hi - ex->live[i].lo);
    memcpy(ex->live[i].lo, p, n);
    p += n;
  }
  for (int t = 0; t < ex->nthreads; t++) {
    unsigned char *sp = (unsigned char *) ex->machine.thread[t].sp;
    size_t n = (size_t) (explorer_stack_top(t) - sp);
    memcpy(sp, p, n);
    p += n;
  }
}

/* Four chains that don't wait for each other: this is where the time goes. */
enum { LANES = 4 };
struct hash {
  uint64_t lane[LANES];
};

static inline uint64_t hash_word(uint64_t h, uint64_t w) {
  h = (h ^ w) * UINT64_C(0x9e3779b97f4a7c15);
  return h ^ h >> 29;
}

static void hash_bytes(struct hash *to, const void *p, size_t bytes) {
  struct hash h = *to;
  const uint64_t *w = p;
  size_t n = bytes / 8, i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int k = 0; k < LANES; k++)
      h.lane[k] = hash_word(h.lane[k], w[i + (size_t) k]);
  for (; i < n; i++) h.lane[i % LANES] = hash_word(h.lane[i % LANES], w[i]);
  *to = h;
}

static uint64_t state_hash(void) {
  struct hash h = {{1, 2, 3, 4}};
  hash_bytes(&h, &ex->machine.clock, sizeof ex->machine.clock);
  for (int t = 0; t < ex->nthreads; t++) { /* the other stores are zero */
    const struct thread *th = &ex->machine.thread[t];
    hash_bytes(
        &h, th,
        offsetof(struct thread, store) + th->nstores * sizeof th->store[0]);
  }
  for (int i = 0; i < ex->nlive; i++)
    hash_bytes(&h, ex->live[i].lo, (size_t) (ex->live[i].hi - ex->live[i].lo));
  for (int t = 0; t < ex->nthreads; t++) {
    unsigned char *sp = (unsigned char *) ex->machine.thread[t].sp;
    if (ex->machine.thread[t].at.kind != DONE)
      hash_bytes(&h, sp, (size_t) (explorer_stack_top(t) - sp));
  }
  uint64_t all = 0;
  for (int k = 0; k < LANES; k++) all = hash_word(all, h.lane[k]);
  return all;
}
_Static_assert(sizeof(struct store) % 8 == 0 &&
                   offsetof(struct thread, store) % 8 == 0,
               "hashed in words");

static struct slot *slot_of(uint64_t hash) {
  size_t mask = ((size_t) 1 << ex->table_log2) - 1, i = hash & mask;
  while (ex->table[i].id && ex->table[i].hash != hash) i = (i + 1) & mask;
  return &ex->table[i];
}

static void table_grow(void) {
  struct slot *old = ex->table;
  size_t n = old ? (size_t) 1 << ex->table_log2 : 0;
  ex->table_log2 = old ? ex->table_log2 + 1 : 12;
  size_t cap = (size_t) 1 << ex->table_log2;
  ex->table = calloc(cap, sizeof *ex->table);
  if (!ex->table) explorer_broken("out of memory");
  for (size_t i = 0; i < n; i++)
    if (old[i].id) *slot_of(old[i].hash) = old[i];
  free(old);
  ex->parent = grow(ex->parent, cap * sizeof *ex->parent);
  ex->by = grow(ex->by, cap);
  ex->is_end = grow(ex->is_end, cap);
}

static void edge_add(uint32_t from, uint32_t to) {
  if (ex->nedges == ex->edges_cap) {
    ex->edges_cap = ex->edges_cap ? 2 * ex->edges_cap : 1 << 16;
    ex->edge = grow(ex->edge, ex->edges_cap * 2 * sizeof *ex->edge);
  }
  ex->edge[2 * ex->nedges] = from;
  ex->edge[2 * ex->nedges + 1] = to;
  ex->nedges++;
}

/* The number of the current state; *is_new: met for the first time. */
static uint32_t state_number(uint32_t parent, uint8_t by, bool *is_new) {
  if (!ex->table || 2 * (size_t) ex->nstates >= (size_t) 1 << ex->table_log2)
    table_grow();
  uint64_t h = state_hash();
  struct slot *s = slot_of(h);
  *is_new = s->id == 0;
  if (*is_new) {
    if (ex->nstates == STATES_MAX)
      explorer_broken("too many states: a smaller model");
    s->hash = h;
    s->id = ++ex->nstates;
    ex->parent[s->id - 1] = parent;
    ex->by[s->id - 1] = by;
    ex->is_end[s->id - 1] = false;
  }
  return s->id - 1;
}

/* ---- the search ---- */

/* Look at the current state: done (end, seen, failed), or a frame for it. */
static void arrive(uint32_t from, uint8_t by) {
  bool is_new;
  if (ex->failed) return;
  uint32_t id = state_number(from, by, &is_new);
  if (from != UINT32_MAX) edge_add(from, id);
  if (!is_new) return;
  if (explorer_is_end()) {
    ex->is_end[id] = true;
    if (ex->config->at_end) explorer_callback(ex->config->at_end, NULL, 0);
    return;
  }
  if (++ex->depth == DEPTH_MAX)
    explorer_broken("too deep: does the model end?");
  struct frame *f = &ex->frame[ex->depth];
  f->state = id;
  explorer_find(f);
  if (ex->failed) return;
  if (f->n == 0) {
    explorer_fail("deadlock");
    return;
  }
  f->saved = f->n > 1 ? state_save() : SIZE_MAX;
}

static void search(void) {
  ex->depth = -1;
  arrive(UINT32_MAX, 0);
  while (!ex->failed && ex->depth >= 0) {
    struct frame *f = &ex->frame[ex->depth];
    if (f->next == f->n) {
      if (f->saved != SIZE_MAX) ex->arena_used = f->saved;
      ex->depth--;
      continue;
    }
    if (f->next > 0) state_restore(f->saved);
    f->chosen = f->transition[f->next++];
    explorer_take(f->chosen);
    arrive(f->state, f->chosen);
  }
}

/* ---- is there a way to the end from everywhere? ---- */

/* Mark backwards over the edges, sorted by where they lead. */
static void mark_ways_out(uint8_t *ok) {
  uint32_t n = ex->nstates, top = 0;
  uint32_t *first = calloc((size_t) n + 2, sizeof *first);
  uint32_t *from = grow(NULL, (ex->nedges + 1) * sizeof *from);
  uint32_t *todo = grow(NULL, ((size_t) n + 1) * sizeof *todo);
  if (!first) explorer_broken("out of memory");
  for (size_t e = 0; e < ex->nedges; e++) first[ex->edge[2 * e + 1] + 2]++;
  for (uint32_t s = 0; s < n; s++) first[s + 2] += first[s + 1];
  for (size_t e = 0; e < ex->nedges; e++)
    from[first[ex->edge[2 * e + 1] + 1]++] = ex->edge[2 * e];
  for (uint32_t s = 0; s < n; s++)
    if ((ok[s] = ex->is_end[s])) todo[top++] = s;
  while (top) {
    uint32_t s = todo[--top];
    for (uint32_t i = first[s]; i < first[s + 1]; i++)
      if (!ok[from[i]]) {
        ok[from[i]] = 1;
        todo[top++] = from[i];
      }
  }
  free(first);
  free(from);
  free(todo);
}

/* A state without a way to the end, or UINT32_MAX. */
static uint32_t find_trap(void) {
  uint8_t *ok = calloc(ex->nstates, 1);
  if (!ok) explorer_broken("out of memory");
  mark_ways_out(ok);
  uint32_t s = 0;
  while (s < ex->nstates && ok[s]) s++;
  free(ok);
  return s < ex->nstates ? s : UINT32_MAX;
}

/* ---- telling ---- */

static void replay(const uint8_t *path, int n) {
  ex->failed = false;
  state_restore(ex->start);
  ex->printing = true;
  for (int i = 0; i < n && !ex->failed; i++) explorer_take(path[i]);
  ex->printing = false;
  for (int t = 0; t < ex->nthreads; t++)
    if (ex->machine.thread[t].at.kind != DONE)
      explorer_print(t, &ex->machine.thread[t].at, "  <- is here");
}

static void tell_failure(uint32_t trap) {
  static const char *const model[] = {"SC", "TSO", "PSO"};
  char message[512];
  memcpy(message, ex->message, sizeof message);
  int n = 0, cap = ex->depth + 1;
  for (uint32_t s = trap; s != UINT32_MAX && ex->parent[s] != UINT32_MAX;
       s = ex->parent[s])
    cap++;
  uint8_t *path = grow(NULL, (size_t) cap + 1);
  if (trap == UINT32_MAX) {
    for (int d = 0; d <= ex->depth; d++)
      if (ex->frame[d].next) path[n++] = ex->frame[d].chosen;
  } else {
    for (uint32_t s = trap; ex->parent[s] != UINT32_MAX; s = ex->parent[s]) n++;
    int i = n;
    for (uint32_t s = trap; ex->parent[s] != UINT32_MAX; s = ex->parent[s])
      path[--i] = ex->by[s];
  }
  fprintf(stderr, "%s (%s): %s, after\n", ex->config->name,
          model[ex->config->memory], message);
  replay(path, n);
  fprintf(stderr, "%s: %s\n", ex->config->name, message);
  free(path);
}

/* ---- one exploration ---- */

static void live_ranges(void) {
  unsigned char *at = data_begin();
  ex->nlive = 0;
  while (at < data_end()) {
    unsigned char *stop = data_end(), *after = stop;
    bool inside = false;
    for (int i = 0; i < ex->nconstant; i++) {
      const struct span *c = &ex->constant[i];
      if (at >= c->lo && at < c->hi) inside = true, after = c->hi;
      if (c->lo > at && c->lo < stop) stop = c->lo;
    }
    if (inside) {
      at = after;
      continue;
    }
    ex->live[ex->nlive++] = (struct span){at, stop, NULL};
    if (ex->nlive > RANGES_MAX) explorer_broken("too many ranges");
    at = stop;
  }
}

void explore_constant(const volatile void *p, size_t bytes) {
  uintptr_t lo = ((uintptr_t) p + 7) & ~(uintptr_t) 7;
  uintptr_t hi = ((uintptr_t) p + bytes) & ~(uintptr_t) 7;
  if (ex->nconstant == RANGES_MAX) explorer_broken("too many constants");
  if (lo < hi)
    ex->constant[ex->nconstant++] =
        (struct span){(unsigned char *) lo, (unsigned char *) hi, NULL};
}

void explore_name(const volatile void *p, size_t bytes, const char *name) {
  unsigned char *lo = (unsigned char *) (uintptr_t) p;
  if (ex->nnames == RANGES_MAX) explorer_broken("too many names");
  ex->name[ex->nnames++] = (struct span){lo, lo + bytes, name};
}

static void check_constants(const unsigned char *setup) {
  for (int i = 0; i < ex->nconstant; i++) {
    const struct span *c = &ex->constant[i];
    if (memcmp(c->lo, setup + (c->lo - data_begin()),
               (size_t) (c->hi - c->lo)) != 0)
      explorer_broken("a constant was written");
  }
}

static void prepare(const struct explore_config *c) {
  size_t bytes = (size_t) (data_end() - data_begin());
  if (!ex) {
    struct explorer *made = calloc(1, sizeof *made);
    if (!made) exit(2);
    ex = made;
    ex->stacks =
        mmap(NULL, EXPLORE_THREADS * EXPLORE_STACK_BYTES,
             PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ex->stacks == MAP_FAILED) explorer_broken("out of memory");
    ex->frame = grow(NULL, DEPTH_MAX * sizeof *ex->frame);
    ex->pristine = grow(NULL, bytes);
    memcpy(ex->pristine, data_begin(), bytes);
  }
  ex->copy = *c;
  ex->config = c = &ex->copy;
  memcpy(data_begin(), ex->pristine, bytes);
  memset(&ex->machine, 0, sizeof ex->machine);
  ex->nconstant = ex->nnames = 0;
  ex->failed = ex->mutant_met = false;
  ex->nstates = 0;
  ex->nedges = 0;
  ex->arena_used = 0;
  ex->current = ex->last = -1;
  if (ex->table) memset(ex->table, 0, sizeof *ex->table << ex->table_log2);
  for (ex->nthreads = 0;
       ex->nthreads < EXPLORE_THREADS && c->thread[ex->nthreads].name;
       ex->nthreads++)
    explorer_thread_make(ex->nthreads);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* UINT32_MAX, or the state that has no way out. */
static uint32_t explore(const struct explore_config *c) {
  double begin = seconds();
  uint32_t trap = UINT32_MAX;
  prepare(c);
  c = ex->config;
  if (c->setup) c->setup();
  size_t bytes = (size_t) (data_end() - data_begin());
  unsigned char *setup = grow(NULL, bytes);
  memcpy(setup, data_begin(), bytes);
  live_ranges();
  for (int t = 0; t < ex->nthreads; t++)
    explorer_run_on(t); /* to their first steps */
  ex->start = state_save();
  search();
  if (!ex->failed && (trap = find_trap()) != UINT32_MAX) {
    ex->depth = -1;
    explorer_fail("no way to the end");
  }
  check_constants(setup);
  free(setup);
  if (getenv("EXPLORE_VERBOSE"))
    fprintf(stderr, "%-48s %8u states %9zu transitions %6.2f s%s%s\n", c->name,
            ex->nstates, ex->nedges, seconds() - begin, ex->failed ? ": " : "",
            ex->failed ? ex->message : "");
  return trap;
}

void explore_pass(const struct explore_config *c) {
  uint32_t trap = explore(c);
  if (!ex->failed) return;
  tell_failure(trap);
  ex->status = 1;
}

void explore_fail_with(const struct explore_config *c, const char *text) {
  uint32_t trap = explore(c);
  c = ex->config;
  if (c->mutant && !ex->mutant_met) {
    fprintf(stderr, "%s: no such operation in %s\n", c->name, c->mutant->func);
    ex->status = 1;
  } else if (!ex->failed) {
    fprintf(stderr, "%s: passes, but should fail\n", c->name);
    ex->status = 1;
  } else if (!strstr(ex->message, text)) {
    tell_failure(trap);
    fprintf(stderr, "%s: should fail with '%s'\n", c->name, text);
    ex->status = 1;
  } else if (getenv("EXPLORE_TRACE")) {
    tell_failure(trap);
  }
}

int explore_status(void) { return ex ? ex->status : 0; }

/* explore.c - depth-first search over every interleaving.
 *
 * Threads are coroutines of one OS thread.  A hook (a step) stores what it is
 * about to do in its thread's record and switches to the explorer, which
 * executes it when it is that thread's turn and lets the thread run on to its
 * next hook.  So a transition is one operation and the plain code after it.
 * Taking the oldest store out of a thread's store buffer is a transition too,
 * and so are a sleeper's deadline and a spurious wake-up.
 *
 * State: the program's .data and .bss (less what was declared constant), the
 * live part of each stack, and the threads' records.  It is saved with memcpy
 * and compared by a 64-bit hash: a state that was met before is not explored
 * again, so that loops end and orders that lead to the same state are one.
 * (A collision could hide states: with 10^6 states its chance is 10^-7.)
 * Memory below a stack pointer is cleared before a thread runs, so that
 * leftovers don't make states differ.
 *
 * The end: every thread but the daemons is done and their stores are out.
 * After the search the graph is walked backwards from the ends; a state that
 * isn't met has no way out.
 *
 * Invariant [explore.inv.steps]: when a state is saved or hashed, every thread
 * is at a hook (or done), and x->machine describes which.
 *
 * Rejected: stateless search with partial-order reduction (no saved states;
 * but loops have to be bounded, and the scheduler's loops are what is in
 * doubt); running the threads on kernel threads (a thousand times slower).
 */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define BUFFER_MAX 8
#define CLEAR_BYTES 1536
#define RANGES_MAX 64
#define DEPTH_MAX 20000
#define STATES_MAX (6u << 20)
#define LOCAL_STEPS_MAX 16 /* a loop on an own store must take steps */

/* Transitions: which of its alternatives a thread takes, or ... */
#define TAKE(t, k) ((uint8_t) ((t) *16 + (k)))
#define FLUSH(t, i) ((uint8_t) (128 + (t) *8 + (i)))
#define EXPIRE(t) ((uint8_t) (192 + (t)))
#define SPURIOUS(t) ((uint8_t) (208 + (t)))
#define TRANSITIONS_MAX 96

enum kind {
  AT_START,
  AT_LOAD,
  AT_STORE,
  AT_RMW,
  AT_CAS,
  AT_FENCE,
  AT_STEP,
  AT_CHOOSE,
  AT_AWAIT,
  AT_LOCK,
  AT_SLEEP,
  ASLEEP,
  WOKEN,
  AT_WAKE,
  DONE
};

struct step {
  uint8_t kind, bytes, rmw, ok;
  int8_t order;
  int32_t n;
  volatile void *addr;
  uint64_t value, expected, result;
  int64_t deadline;
  bool (*ready)(const void *arg);
  const char *func;
};

struct store {
  volatile void *addr;
  uint64_t value;
  uint8_t bytes, release;
};

struct thread {
  uintptr_t sp;
  struct step at;
  uint32_t nstores;
  struct store store[BUFFER_MAX];
};

struct machine {
  int64_t clock;
  struct thread thread[EXPLORE_THREADS];
};

struct span {
  unsigned char *lo, *hi;
  const char *name;
};

struct frame {
  size_t saved; /* in the arena; SIZE_MAX: not saved */
  uint32_t state;
  uint8_t n, next, chosen;
  uint8_t transition[TRANSITIONS_MAX];
};

struct slot {
  uint64_t hash;
  uint32_t id; /* + 1; 0: free */
};

struct explorer {
  struct machine machine;
  const struct explore_config *config; /* a copy: data is put back */
  struct explore_config copy;
  int nthreads, current, local_steps;
  uintptr_t own_sp;
  unsigned char *stacks;
  jmp_buf in_callback;
  bool callback, printing, failed, mutant_met;
  char message[512];

  struct span constant[RANGES_MAX], live[RANGES_MAX + 1], name[RANGES_MAX];
  int nconstant, nlive, nnames;
  unsigned char *pristine; /* all of the data, at the start */
  size_t start;            /* the saved initial state */

  unsigned char *arena;
  size_t arena_used, arena_bytes;
  struct frame *frame;
  int depth, last;

  struct slot *table;
  uint32_t table_log2, nstates;
  uint32_t *parent;
  uint8_t *by; /* the transition from the parent */
  uint8_t *is_end;
  uint32_t *edge; /* pairs */
  size_t nedges, edges_cap;
  int status; /* of the program */
};

static struct explorer *x; /* constant after the first explore */

extern unsigned char data_lo[] __asm__("__data_start");
extern unsigned char data_hi[] __asm__("_end");

static unsigned char *data_begin(void) {
  return (unsigned char *) (((uintptr_t) data_lo + 7) & ~(uintptr_t) 7);
}
static unsigned char *data_end(void) {
  return (unsigned char *) ((uintptr_t) data_hi & ~(uintptr_t) 7);
}

static void broken(const char *what) {
  fprintf(stderr, "explore: %s: %s\n", x && x->config ? x->config->name : "?",
          what);
  exit(2);
}

static void *grow(void *p, size_t bytes) {
  p = realloc(p, bytes);
  if (!p) broken("out of memory");
  return p;
}

/* ---- coroutines ---- */

/* Save the callee-saved registers and SP, and take another's. */
void explore_switch(uintptr_t *save, uintptr_t to);
__asm__(
    ".text\n"
    ".type explore_switch, @function\n"
    "explore_switch:\n"
    "  push %rbp\n"
    "  push %rbx\n"
    "  push %r12\n"
    "  push %r13\n"
    "  push %r14\n"
    "  push %r15\n"
    "  mov %rsp, (%rdi)\n"
    "  mov %rsi, %rsp\n"
    "  pop %r15\n"
    "  pop %r14\n"
    "  pop %r13\n"
    "  pop %r12\n"
    "  pop %rbx\n"
    "  pop %rbp\n"
    "  ret\n"
    ".size explore_switch, . - explore_switch\n");

static unsigned char *stack_top(int t) {
  return x->stacks + (size_t) (t + 1) * EXPLORE_STACK_BYTES;
}

static struct thread *self(void) { return &x->machine.thread[x->current]; }

/* Give the explorer the turn, at the step described in at. */
static void leave(void) { explore_switch(&self()->sp, x->own_sp); }

_Noreturn void explore_done(void) {
  memset(&self()->at, 0, sizeof self()->at);
  self()->at.kind = DONE;
  leave();
  abort();
}

static void thread_main(void) {
  const struct explore_thread *c = &x->config->thread[x->current];
  c->run(c->arg);
  explore_done();
}

static void thread_make(int t) {
  uintptr_t *top = (uintptr_t *) (uintptr_t) stack_top(t);
  memset(stack_top(t) - EXPLORE_STACK_BYTES, 0, EXPLORE_STACK_BYTES);
  top[-2] = (uintptr_t) thread_main;
  x->machine.thread[t].sp = (uintptr_t) (top - 8);
  x->machine.thread[t].at.kind = AT_START;
}

static void run_on(int t) {
  struct thread *th = &x->machine.thread[t];
  unsigned char *lo = stack_top(t) - EXPLORE_STACK_BYTES;
  unsigned char *sp = (unsigned char *) th->sp;
  if (sp < lo + CLEAR_BYTES) broken("a thread's stack overflows");
  memset(sp - CLEAR_BYTES, 0, CLEAR_BYTES);
  x->current = t;
  x->local_steps = 0;
  explore_switch(&x->own_sp, th->sp);
  x->current = -1;
}

/* ---- failing, printing ---- */

_Noreturn void explore_failed(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(x->message, sizeof x->message, fmt, ap);
  va_end(ap);
  x->failed = true;
  if (x->current >= 0) leave();
  if (x->callback) longjmp(x->in_callback, 1);
  broken(x->message);
  abort();
}

static void fail_here(const char *text) {
  snprintf(x->message, sizeof x->message, "%s", text);
  x->failed = true;
}

static void name_of(const volatile void *p, char *out, size_t bytes) {
  const unsigned char *a = (const unsigned char *) p;
  for (int i = x->nnames; i-- > 0;) {
    const struct span *s = &x->name[i];
    if (a < s->lo || a >= s->hi) continue;
    if (a == s->lo)
      snprintf(out, bytes, "%s", s->name);
    else
      snprintf(out, bytes, "%s+%ld", s->name, (long) (a - s->lo));
    return;
  }
  snprintf(out, bytes, "%p", (const void *) p);
}

static const char *const kind_name[] = {
    "starts", "load", "store", "rmw",    "cas",   "fence", "at",  "chooses",
    "awaits", "lock", "sleep", "asleep", "wakes", "wake",  "done"};

static void print_step(int t, const struct step *s, const char *note) {
  char at[96] = "";
  if (s->addr) name_of(s->addr, at, sizeof at);
  fprintf(stderr, "    %-10s %-26s %-6s %s", x->config->thread[t].name,
          s->func ? s->func : "", kind_name[s->kind], at);
  switch (s->kind) {
  case AT_LOAD: fprintf(stderr, " -> %#lx", (long) s->result); break;
  case AT_STORE: fprintf(stderr, " = %#lx", (long) s->value); break;
  case AT_RMW:
    fprintf(stderr, " %#lx -> was %#lx", (long) s->value, (long) s->result);
    break;
  case AT_CAS:
    fprintf(stderr, " %#lx to %#lx: %s", (long) s->expected, (long) s->value,
            s->ok ? "done" : "failed");
    break;
  case AT_CHOOSE: fprintf(stderr, " %ld", (long) s->result); break;
  default: break;
  }
  fprintf(stderr, "%s\n", note);
}

/* ---- memory ---- */

static uint64_t memory_get(const volatile void *p, size_t bytes) {
  uint64_t v = 0;
  memcpy(&v, (const void *) p, bytes);
  return v;
}

static void memory_put(volatile void *p, size_t bytes, uint64_t v) {
  memcpy((void *) p, &v, bytes);
}

/* The newest store of th's to p that is still in its buffer. */
static const struct store *buffered(const struct thread *th,
                                    const volatile void *p, size_t bytes) {
  for (uint32_t i = th->nstores; i-- > 0;) {
    const struct store *s = &th->store[i];
    const volatile char *a = s->addr, *b = p;
    if (a == b && s->bytes == bytes) return s;
    if (a < b + bytes && b < a + s->bytes) broken("overlapping accesses");
  }
  return NULL;
}

static uint64_t read_as(const struct thread *th, const volatile void *p,
                        size_t bytes) {
  const struct store *s = buffered(th, p, bytes);
  return s ? s->value : memory_get(p, bytes);
}

static void flush_one(struct thread *th, uint32_t i) {
  memory_put(th->store[i].addr, th->store[i].bytes, th->store[i].value);
  th->nstores--;
  memmove(&th->store[i], &th->store[i + 1],
          (th->nstores - i) * sizeof th->store[0]);
  memset(&th->store[th->nstores], 0, sizeof th->store[0]);
}

static void flush_all(struct thread *th) {
  while (th->nstores) flush_one(th, 0);
}

/* May the i-th store take effect next? */
static bool may_flush(const struct thread *th, uint32_t i) {
  if (i == 0) return true;
  if (x->config->memory != EXPLORE_PSO || th->store[i].release) return false;
  for (uint32_t k = 0; k < i; k++)
    if (th->store[k].addr == th->store[i].addr) return false;
  return true;
}

static bool releases(int order) {
  return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL ||
         order == __ATOMIC_SEQ_CST;
}

/* Does a read-modify-write wait for th's stores? */
static bool rmw_drains(const struct thread *th, const volatile void *p,
                       size_t bytes, int order) {
  return x->config->memory != EXPLORE_PSO || releases(order) ||
         buffered(th, p, bytes);
}

static uint64_t truncated(uint64_t v, size_t bytes) {
  return bytes == 8 ? v : v & (((uint64_t) 1 << 8 * bytes) - 1);
}

static uint64_t rmw_result(const struct step *s, uint64_t old) {
  switch ((enum explore_rmw_op) s->rmw) {
  case EXPLORE_XCHG: return s->value;
  case EXPLORE_ADD: return truncated(old + s->value, s->bytes);
  case EXPLORE_SUB: return truncated(old - s->value, s->bytes);
  case EXPLORE_OR: return old | s->value;
  case EXPLORE_AND: return old & s->value;
  }
  abort();
}

/* ---- hooks: the threads' side ---- */

static bool is_constant(const volatile void *p) {
  const unsigned char *a = (const unsigned char *) p;
  for (int i = 0; i < x->nconstant; i++)
    if (a >= x->constant[i].lo && a < x->constant[i].hi) return true;
  return false;
}

static bool mutated(const char *func, enum explore_op op,
                    const volatile void *p, enum explore_how how) {
  const struct explore_mutant *m = x->config->mutant;
  if (!m || m->op != op || m->how != how || strcmp(m->func, func) != 0 ||
      (m->addr && m->addr != p))
    return false;
  return x->mutant_met = true;
}

/* Outside a thread (setup, at_end): direct. */
static bool direct(void) { return x->current < 0; }

static struct step *step_begin(enum kind kind, volatile void *p, size_t bytes,
                               int order, const char *func) {
  struct step *s = &self()->at;
  memset(s, 0, sizeof *s);
  s->kind = (uint8_t) kind;
  s->addr = p;
  s->bytes = (uint8_t) bytes;
  s->order = (int8_t) order;
  s->func = func;
  return s;
}

uint64_t explore_load(const volatile void *p, size_t bytes, int order,
                      const char *func) {
  if (direct() || is_constant(p)) return memory_get(p, bytes);
  const struct store *own = buffered(self(), p, bytes);
  if (own && ++x->local_steps < LOCAL_STEPS_MAX) return own->value;
  struct step *s =
      step_begin(AT_LOAD, (volatile void *) (uintptr_t) p, bytes, order, func);
  leave();
  return s->result;
}

void explore_store(volatile void *p, size_t bytes, uint64_t value, int order,
                   const char *func) {
  if (direct()) {
    memory_put(p, bytes, value);
    return;
  }
  if (mutated(func, EXPLORE_STORE, p, EXPLORE_SKIP)) return;
  if (mutated(func, EXPLORE_STORE, p, EXPLORE_RELAX)) order = __ATOMIC_RELAXED;
  struct thread *th = self();
  if (x->config->memory == EXPLORE_SC || order == __ATOMIC_SEQ_CST) {
    step_begin(AT_STORE, p, bytes, order, func)->value = value;
    leave();
    return;
  }
  if (th->nstores == BUFFER_MAX) {
    step_begin(AT_FENCE, NULL, 0, __ATOMIC_SEQ_CST, "(buffer full)");
    leave();
  }
  buffered(th, p, bytes); /* complains of an overlap */
  th->store[th->nstores++] = (struct store){.addr = p,
                                            .value = value,
                                            .bytes = (uint8_t) bytes,
                                            .release = releases(order)};
  if (x->printing) {
    struct step s = {.kind = AT_STORE, .addr = p, .value = value, .func = func};
    print_step(x->current, &s, "  (buffered)");
  }
}

static uint64_t torn_rmw(volatile void *p, size_t bytes, struct step s,
                         const char *func) {
  uint64_t old = explore_load(p, bytes, __ATOMIC_RELAXED, func);
  explore_store(p, bytes, rmw_result(&s, old), __ATOMIC_RELAXED, func);
  return old;
}

uint64_t explore_rmw(volatile void *p, size_t bytes, enum explore_rmw_op op,
                     uint64_t operand, int order, const char *func) {
  struct step what = {
      .bytes = (uint8_t) bytes, .rmw = (uint8_t) op, .value = operand};
  if (direct()) {
    uint64_t old = memory_get(p, bytes);
    memory_put(p, bytes, rmw_result(&what, old));
    return old;
  }
  if (mutated(func, EXPLORE_RMW, p, EXPLORE_SKIP)) return memory_get(p, bytes);
  if (mutated(func, EXPLORE_RMW, p, EXPLORE_TEAR))
    return torn_rmw(p, bytes, what, func);
  if (mutated(func, EXPLORE_RMW, p, EXPLORE_RELAX)) order = __ATOMIC_RELAXED;
  struct step *s = step_begin(AT_RMW, p, bytes, order, func);
  s->rmw = what.rmw;
  s->value = operand;
  leave();
  return s->result;
}

bool explore_cas(volatile void *p, size_t bytes, void *expected,
                 uint64_t desired, int order, const char *func) {
  uint64_t want = memory_get(expected, bytes), was;
  bool ok;
  if (direct()) {
    was = memory_get(p, bytes);
    if ((ok = was == want)) memory_put(p, bytes, desired);
  } else if (mutated(func, EXPLORE_CAS, p, EXPLORE_TEAR)) {
    was = explore_load(p, bytes, __ATOMIC_RELAXED, func);
    if ((ok = was == want))
      explore_store(p, bytes, desired, __ATOMIC_RELAXED, func);
  } else {
    if (mutated(func, EXPLORE_CAS, p, EXPLORE_RELAX)) order = __ATOMIC_RELAXED;
    struct step *s = step_begin(AT_CAS, p, bytes, order, func);
    s->expected = want;
    s->value = desired;
    leave();
    ok = s->ok;
    was = s->result;
  }
  if (!ok) memory_put(expected, bytes, was);
  return ok;
}

void explore_fence(int order, const char *func) {
  if (direct() || mutated(func, EXPLORE_FENCE, NULL, EXPLORE_SKIP)) return;
  step_begin(AT_FENCE, NULL, 0, order, func);
  leave();
}

int explore_self(void) { return x->current; }

int64_t explore_now(void) { return x->machine.clock; }

int explore_choose(int n) {
  struct step *s = step_begin(AT_CHOOSE, NULL, 0, 0, "");
  s->n = n;
  leave();
  return (int) s->result;
}

void explore_step(const char *what) {
  step_begin(AT_STEP, NULL, 0, 0, what);
  leave();
}

void explore_await(bool (*ready)(const void *arg), const void *arg) {
  struct step *s = step_begin(AT_AWAIT, (void *) (uintptr_t) arg, 0, 0, "");
  s->ready = ready;
  leave();
}

void explore_lock(_Atomic uint32_t *word) {
  if (direct()) return;
  step_begin(AT_LOCK, word, 4, __ATOMIC_ACQUIRE, "");
  leave();
}

void explore_unlock(_Atomic uint32_t *word) {
  if (direct()) return;
  if (explore_rmw(word, 4, EXPLORE_XCHG, 0, __ATOMIC_RELEASE, "unlock") != 1)
    explore_failed("unlock of an unlocked mutex");
}

bool explore_trylock(_Atomic uint32_t *word) {
  uint32_t zero = 0;
  return explore_cas(word, 4, &zero, 1, __ATOMIC_ACQUIRE, "trylock");
}

bool explore_sleep(_Atomic uint32_t *word, uint32_t expected, int64_t deadline,
                   const char *func) {
  struct step *s = step_begin(AT_SLEEP, word, 4, __ATOMIC_SEQ_CST, func);
  s->expected = expected;
  s->deadline = deadline;
  leave();
  return s->ok;
}

void explore_wake(_Atomic uint32_t *word, int n, const char *func) {
  if (direct()) broken("wake outside a thread");
  if (mutated(func, EXPLORE_WAKE, word, EXPLORE_SKIP)) return;
  step_begin(AT_WAKE, word, 4, __ATOMIC_SEQ_CST, func)->n = n;
  leave();
}

/* ---- the explorer's side: executing a step ---- */

static int sleepers(const volatile void *word) {
  int n = 0;
  for (int t = 0; t < x->nthreads; t++) {
    const struct step *s = &x->machine.thread[t].at;
    n += s->kind == ASLEEP && s->addr == word;
  }
  return n;
}

static void rouse(struct thread *th, bool in_time) {
  th->at.kind = WOKEN;
  th->at.ok = in_time;
}

/* Wake up to n sleepers; alternative: whom, when one of several. */
static void wake(const struct step *s, int alternative) {
  int left = s->n, skip = s->n == 1 ? alternative : 0;
  for (int t = 0; t < x->nthreads && left > 0; t++) {
    struct thread *th = &x->machine.thread[t];
    if (th->at.kind != ASLEEP || th->at.addr != s->addr || skip-- > 0) continue;
    rouse(th, true);
    left--;
  }
}

/* How many ways has the step that th is at?  0: it can't be taken. */
static int ways(const struct thread *th) {
  const struct step *s = &th->at;
  switch ((enum kind) s->kind) {
  case DONE:
  case ASLEEP: return 0;
  case AT_CHOOSE: return s->n;
  case AT_AWAIT: return s->ready((const void *) s->addr);
  case AT_LOCK: return memory_get(s->addr, 4) == 0;
  case AT_WAKE: {
    int n = sleepers(s->addr);
    return s->n == 1 && n > 1 ? n : 1;
  }
  default: return 1;
  }
}

/* Execute it.  False: the thread goes on waiting. */
static bool execute(struct thread *th, int way) {
  struct step *s = &th->at;
  switch ((enum kind) s->kind) {
  case AT_LOAD: s->result = read_as(th, s->addr, s->bytes); break;
  case AT_STORE:
    flush_all(th);
    memory_put(s->addr, s->bytes, s->value);
    break;
  case AT_RMW:
    if (rmw_drains(th, s->addr, s->bytes, s->order)) flush_all(th);
    s->result = memory_get(s->addr, s->bytes);
    memory_put(s->addr, s->bytes, rmw_result(s, s->result));
    break;
  case AT_CAS:
    if (rmw_drains(th, s->addr, s->bytes, s->order)) flush_all(th);
    s->result = memory_get(s->addr, s->bytes);
    s->ok = s->result == s->expected;
    if (s->ok) memory_put(s->addr, s->bytes, s->value);
    break;
  case AT_LOCK:
    if (rmw_drains(th, s->addr, s->bytes, s->order)) flush_all(th);
    memory_put(s->addr, 4, 1);
    break;
  case AT_FENCE:
  case AT_AWAIT: flush_all(th); break;
  case AT_CHOOSE: s->result = (uint64_t) way; break;
  case AT_SLEEP:
    flush_all(th);
    s->ok = true;
    if (memory_get(s->addr, 4) != s->expected) break;
    s->kind = ASLEEP;
    return false;
  case AT_WAKE:
    flush_all(th);
    wake(s, way);
    break;
  default: break;
  }
  return true;
}

static void take(int t, int way) {
  struct thread *th = &x->machine.thread[t];
  x->last = t;
  bool on = execute(th, way);
  if (x->printing) print_step(t, &th->at, on ? "" : " (sleeps)");
  if (on) run_on(t);
}

static void transition(uint8_t tr) {
  struct thread *th = x->machine.thread;
  if (tr < FLUSH(0, 0)) {
    take(tr / 16, tr % 16);
  } else if (tr < EXPIRE(0)) {
    int t = (tr - FLUSH(0, 0)) / 8, i = tr % 8;
    if (x->printing) {
      struct step s = {.kind = AT_STORE,
                       .addr = th[t].store[i].addr,
                       .value = th[t].store[i].value,
                       .func = "(store buffer)"};
      print_step(t, &s, "");
    }
    flush_one(&th[t], (uint32_t) i);
  } else {
    bool expires = tr < SPURIOUS(0);
    int t = tr - (expires ? EXPIRE(0) : SPURIOUS(0));
    if (expires && th[t].at.deadline > x->machine.clock)
      x->machine.clock = th[t].at.deadline;
    rouse(&th[t], !expires);
    if (x->printing)
      print_step(t, &th[t].at, expires ? " (its deadline)" : " (spurious)");
  }
}

/* ---- which transitions are there? ---- */

static void add_thread(struct frame *f, int t) {
  const struct thread *th = &x->machine.thread[t];
  int n = ways(th);
  if (n > 15) broken("too many alternatives");
  for (int k = 0; k < n; k++) f->transition[f->n++] = TAKE(t, k);
}

static void add_flushes(struct frame *f, int t) {
  const struct thread *th = &x->machine.thread[t];
  for (uint32_t i = 0; i < th->nstores; i++)
    if (may_flush(th, i)) f->transition[f->n++] = FLUSH(t, i);
}

static bool is_end(void) {
  for (int t = 0; t < x->nthreads; t++) {
    const struct thread *th = &x->machine.thread[t];
    if (th->nstores) return false;
    if (!x->config->thread[t].daemon && th->at.kind != DONE) return false;
  }
  return true;
}

static void callback(void (*plain)(void), void (*timed)(int64_t), int64_t at) {
  x->callback = true;
  if (setjmp(x->in_callback) == 0) {
    if (plain) plain();
    if (timed) timed(at);
  }
  x->callback = false;
}

/* Nobody can run: the sleepers with the earliest deadline. */
static void add_deadlines(struct frame *f) {
  int64_t first = INT64_MAX;
  for (int t = 0; t < x->nthreads; t++) {
    const struct step *s = &x->machine.thread[t].at;
    if (s->kind == ASLEEP && s->deadline >= 0 && s->deadline < first)
      first = s->deadline;
  }
  if (first == INT64_MAX) return;
  callback(NULL, x->config->when_quiet, first);
  for (int t = 0; t < x->nthreads; t++) {
    const struct step *s = &x->machine.thread[t].at;
    if (s->kind == ASLEEP && s->deadline == first)
      f->transition[f->n++] = EXPIRE(t);
  }
}

/* The thread that ran last comes first: runs with few switches are easier to
 * read. */
static void find_transitions(struct frame *f) {
  f->n = f->next = 0;
  if (x->last >= 0) add_thread(f, x->last);
  for (int t = 0; t < x->nthreads; t++)
    if (t != x->last) add_thread(f, t);
  for (int t = 0; t < x->nthreads; t++) add_flushes(f, t);
  bool quiet = f->n == 0;
  for (int t = 0; x->config->spurious && t < x->nthreads; t++)
    if (x->machine.thread[t].at.kind == ASLEEP)
      f->transition[f->n++] = SPURIOUS(t);
  if (quiet) add_deadlines(f);
  if (f->n > TRANSITIONS_MAX - 16) broken("too many transitions");
}

/* ---- states: saved, hashed, found again ---- */

static void save_bytes(const void *p, size_t n) {
  if (x->arena_used + n > x->arena_bytes) {
    x->arena_bytes = 2 * (x->arena_used + n) + ((size_t) 1 << 20);
    x->arena = grow(x->arena, x->arena_bytes);
  }
  memcpy(x->arena + x->arena_used, p, n);
  x->arena_used += n;
}

static size_t state_save(void) {
  size_t at = x->arena_used;
  save_bytes(&x->machine, sizeof x->machine);
  for (int i = 0; i < x->nlive; i++)
    save_bytes(x->live[i].lo, (size_t) (x->live[i].hi - x->live[i].lo));
  for (int t = 0; t < x->nthreads; t++) {
    unsigned char *sp = (unsigned char *) x->machine.thread[t].sp;
    save_bytes(sp, (size_t) (stack_top(t) - sp));
  }
  return at;
}

static void state_restore(size_t at) {
  const unsigned char *p = x->arena + at;
  memcpy(&x->machine, p, sizeof x->machine);
  p += sizeof x->machine;
  for (int i = 0; i < x->nlive; i++) {
    size_t n = (size_t) (x->live[i].hi - x->live[i].lo);
    memcpy(x->live[i].lo, p, n);
    p += n;
  }
  for (int t = 0; t < x->nthreads; t++) {
    unsigned char *sp = (unsigned char *) x->machine.thread[t].sp;
    size_t n = (size_t) (stack_top(t) - sp);
    memcpy(sp, p, n);
    p += n;
  }
}

static uint64_t hash_bytes(uint64_t h, const void *p, size_t bytes) {
  const uint64_t *w = p;
  for (size_t i = 0; i < bytes / 8; i++) {
    h = (h ^ w[i]) * UINT64_C(0x9e3779b97f4a7c15);
    h ^= h >> 29;
  }
  return h;
}

static uint64_t state_hash(void) {
  uint64_t h = hash_bytes(1, &x->machine, sizeof x->machine);
  for (int i = 0; i < x->nlive; i++)
    h = hash_bytes(h, x->live[i].lo, (size_t) (x->live[i].hi - x->live[i].lo));
  for (int t = 0; t < x->nthreads; t++) {
    unsigned char *sp = (unsigned char *) x->machine.thread[t].sp;
    if (x->machine.thread[t].at.kind != DONE)
      h = hash_bytes(h, sp, (size_t) (stack_top(t) - sp));
  }
  return h;
}
_Static_assert(sizeof(struct machine) % 8 == 0, "hashed in words");

static struct slot *slot_of(uint64_t hash) {
  size_t mask = ((size_t) 1 << x->table_log2) - 1, i = hash & mask;
  while (x->table[i].id && x->table[i].hash != hash) i = (i + 1) & mask;
  return &x->table[i];
}

static void table_grow(void) {
  struct slot *old = x->table;
  size_t n = old ? (size_t) 1 << x->table_log2 : 0;
  x->table_log2 = old ? x->table_log2 + 1 : 12;
  size_t cap = (size_t) 1 << x->table_log2;
  x->table = calloc(cap, sizeof *x->table);
  if (!x->table) broken("out of memory");
  for (size_t i = 0; i < n; i++)
    if (old[i].id) *slot_of(old[i].hash) = old[i];
  free(old);
  x->parent = grow(x->parent, cap * sizeof *x->parent);
  x->by = grow(x->by, cap);
  x->is_end = grow(x->is_end, cap);
}

static void edge_add(uint32_t from, uint32_t to) {
  if (x->nedges == x->edges_cap) {
    x->edges_cap = x->edges_cap ? 2 * x->edges_cap : 1 << 16;
    x->edge = grow(x->edge, x->edges_cap * 2 * sizeof *x->edge);
  }
  x->edge[2 * x->nedges] = from;
  x->edge[2 * x->nedges + 1] = to;
  x->nedges++;
}

/* The number of the current state; *is_new: met for the first time. */
static uint32_t state_number(uint32_t parent, uint8_t by, bool *is_new) {
  if (!x->table || 2 * (size_t) x->nstates >= (size_t) 1 << x->table_log2)
    table_grow();
  uint64_t h = state_hash();
  struct slot *s = slot_of(h);
  *is_new = s->id == 0;
  if (*is_new) {
    if (x->nstates == STATES_MAX) broken("too many states: a smaller model");
    s->hash = h;
    s->id = ++x->nstates;
    x->parent[s->id - 1] = parent;
    x->by[s->id - 1] = by;
    x->is_end[s->id - 1] = false;
  }
  return s->id - 1;
}

/* ---- the search ---- */

/* Look at the current state: done (end, seen, failed), or a frame for it. */
static void arrive(uint32_t from, uint8_t by) {
  bool is_new;
  if (x->failed) return;
  uint32_t id = state_number(from, by, &is_new);
  if (from != UINT32_MAX) edge_add(from, id);
  if (!is_new) return;
  if (is_end()) {
    x->is_end[id] = true;
    if (x->config->at_end) callback(x->config->at_end, NULL, 0);
    return;
  }
  if (++x->depth == DEPTH_MAX) broken("too deep: does the model end?");
  struct frame *f = &x->frame[x->depth];
  f->state = id;
  find_transitions(f);
  if (x->failed) return;
  if (f->n == 0) {
    fail_here("deadlock");
    return;
  }
  f->saved = f->n > 1 ? state_save() : SIZE_MAX;
}

static void search(void) {
  x->depth = -1;
  arrive(UINT32_MAX, 0);
  while (!x->failed && x->depth >= 0) {
    struct frame *f = &x->frame[x->depth];
    if (f->next == f->n) {
      if (f->saved != SIZE_MAX) x->arena_used = f->saved;
      x->depth--;
      continue;
    }
    if (f->next > 0) state_restore(f->saved);
    f->chosen = f->transition[f->next++];
    transition(f->chosen);
    arrive(f->state, f->chosen);
  }
}

/* ---- is there a way to the end from everywhere? ---- */

/* Mark backwards over the edges, sorted by where they lead. */
static void mark_ways_out(uint8_t *ok) {
  uint32_t n = x->nstates, top = 0;
  uint32_t *first = calloc((size_t) n + 2, sizeof *first);
  uint32_t *from = grow(NULL, (x->nedges + 1) * sizeof *from);
  uint32_t *todo = grow(NULL, ((size_t) n + 1) * sizeof *todo);
  if (!first) broken("out of memory");
  for (size_t e = 0; e < x->nedges; e++) first[x->edge[2 * e + 1] + 2]++;
  for (uint32_t s = 0; s < n; s++) first[s + 2] += first[s + 1];
  for (size_t e = 0; e < x->nedges; e++)
    from[first[x->edge[2 * e + 1] + 1]++] = x->edge[2 * e];
  for (uint32_t s = 0; s < n; s++)
    if ((ok[s] = x->is_end[s])) todo[top++] = s;
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
  uint8_t *ok = calloc(x->nstates, 1);
  if (!ok) broken("out of memory");
  mark_ways_out(ok);
  uint32_t s = 0;
  while (s < x->nstates && ok[s]) s++;
  free(ok);
  return s < x->nstates ? s : UINT32_MAX;
}

/* ---- telling ---- */

static void replay(const uint8_t *path, int n) {
  x->failed = false;
  state_restore(x->start);
  x->printing = true;
  for (int i = 0; i < n && !x->failed; i++) transition(path[i]);
  x->printing = false;
  for (int t = 0; t < x->nthreads; t++)
    if (x->machine.thread[t].at.kind != DONE)
      print_step(t, &x->machine.thread[t].at, "  <- is here");
}

static void tell_failure(uint32_t trap) {
  static const char *const model[] = {"SC", "TSO", "PSO"};
  char message[512];
  memcpy(message, x->message, sizeof message);
  int n = 0, cap = x->depth + 1;
  for (uint32_t s = trap; s != UINT32_MAX && x->parent[s] != UINT32_MAX;
       s = x->parent[s])
    cap++;
  uint8_t *path = grow(NULL, (size_t) cap + 1);
  if (trap == UINT32_MAX) {
    for (int d = 0; d <= x->depth; d++)
      if (x->frame[d].next) path[n++] = x->frame[d].chosen;
  } else {
    for (uint32_t s = trap; x->parent[s] != UINT32_MAX; s = x->parent[s]) n++;
    int i = n;
    for (uint32_t s = trap; x->parent[s] != UINT32_MAX; s = x->parent[s])
      path[--i] = x->by[s];
  }
  fprintf(stderr, "%s (%s): %s, after\n", x->config->name,
          model[x->config->memory], message);
  replay(path, n);
  fprintf(stderr, "%s: %s\n", x->config->name, message);
  free(path);
}

/* ---- one exploration ---- */

static void live_ranges(void) {
  unsigned char *at = data_begin();
  x->nlive = 0;
  while (at < data_end()) {
    unsigned char *stop = data_end(), *after = stop;
    bool inside = false;
    for (int i = 0; i < x->nconstant; i++) {
      const struct span *c = &x->constant[i];
      if (at >= c->lo && at < c->hi) inside = true, after = c->hi;
      if (c->lo > at && c->lo < stop) stop = c->lo;
    }
    if (inside) {
      at = after;
      continue;
    }
    x->live[x->nlive++] = (struct span){at, stop, NULL};
    if (x->nlive > RANGES_MAX) broken("too many ranges");
    at = stop;
  }
}

void explore_constant(const volatile void *p, size_t bytes) {
  uintptr_t lo = ((uintptr_t) p + 7) & ~(uintptr_t) 7;
  uintptr_t hi = ((uintptr_t) p + bytes) & ~(uintptr_t) 7;
  if (x->nconstant == RANGES_MAX) broken("too many constants");
  if (lo < hi)
    x->constant[x->nconstant++] =
        (struct span){(unsigned char *) lo, (unsigned char *) hi, NULL};
}

void explore_name(const volatile void *p, size_t bytes, const char *name) {
  unsigned char *lo = (unsigned char *) (uintptr_t) p;
  if (x->nnames == RANGES_MAX) broken("too many names");
  x->name[x->nnames++] = (struct span){lo, lo + bytes, name};
}

static void check_constants(const unsigned char *setup) {
  for (int i = 0; i < x->nconstant; i++) {
    const struct span *c = &x->constant[i];
    if (memcmp(c->lo, setup + (c->lo - data_begin()),
               (size_t) (c->hi - c->lo)) != 0)
      broken("a constant was written");
  }
}

static void prepare(const struct explore_config *c) {
  size_t bytes = (size_t) (data_end() - data_begin());
  if (!x) {
    struct explorer *made = calloc(1, sizeof *made);
    if (!made) exit(2);
    x = made;
    x->stacks =
        mmap(NULL, EXPLORE_THREADS * EXPLORE_STACK_BYTES,
             PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (x->stacks == MAP_FAILED) broken("out of memory");
    x->frame = grow(NULL, DEPTH_MAX * sizeof *x->frame);
    x->pristine = grow(NULL, bytes);
    memcpy(x->pristine, data_begin(), bytes);
  }
  x->copy = *c;
  x->config = c = &x->copy;
  memcpy(data_begin(), x->pristine, bytes);
  memset(&x->machine, 0, sizeof x->machine);
  x->nconstant = x->nnames = 0;
  x->failed = x->mutant_met = false;
  x->nstates = 0;
  x->nedges = 0;
  x->arena_used = 0;
  x->current = x->last = -1;
  if (x->table) memset(x->table, 0, sizeof *x->table << x->table_log2);
  for (x->nthreads = 0;
       x->nthreads < EXPLORE_THREADS && c->thread[x->nthreads].name;
       x->nthreads++)
    thread_make(x->nthreads);
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
  c = x->config;
  if (c->setup) c->setup();
  size_t bytes = (size_t) (data_end() - data_begin());
  unsigned char *setup = grow(NULL, bytes);
  memcpy(setup, data_begin(), bytes);
  live_ranges();
  for (int t = 0; t < x->nthreads; t++) run_on(t); /* to their first steps */
  x->start = state_save();
  search();
  if (!x->failed && (trap = find_trap()) != UINT32_MAX) {
    x->depth = -1;
    fail_here("no way to the end");
  }
  check_constants(setup);
  free(setup);
  if (getenv("EXPLORE_VERBOSE"))
    fprintf(stderr, "%-48s %8u states %9zu transitions %6.2f s%s%s\n", c->name,
            x->nstates, x->nedges, seconds() - begin, x->failed ? ": " : "",
            x->failed ? x->message : "");
  return trap;
}

void explore_pass(const struct explore_config *c) {
  uint32_t trap = explore(c);
  if (!x->failed) return;
  tell_failure(trap);
  x->status = 1;
}

void explore_fail_with(const struct explore_config *c, const char *text) {
  uint32_t trap = explore(c);
  c = x->config;
  if (c->mutant && !x->mutant_met) {
    fprintf(stderr, "%s: no such operation in %s\n", c->name, c->mutant->func);
    x->status = 1;
  } else if (!x->failed) {
    fprintf(stderr, "%s: passes, but should fail\n", c->name);
    x->status = 1;
  } else if (!strstr(x->message, text)) {
    tell_failure(trap);
    fprintf(stderr, "%s: should fail with '%s'\n", c->name, text);
    x->status = 1;
  } else if (getenv("EXPLORE_TRACE")) {
    tell_failure(trap);
  }
}

int explore_status(void) { return x ? x->status : 0; }

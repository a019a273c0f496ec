/* explore.c - threads, memory and steps of the explorer.
 *
 * Threads are coroutines of one OS thread.  A hook (a step) stores what it is
 * about to do in its thread's record and switches to the explorer, which
 * executes it when it is that thread's turn and lets the thread run on to its
 * next hook.  So a transition is one operation and the plain code after it.
 * Taking the oldest store out of a thread's store buffer is a transition too,
 * and so are a sleeper's deadline and a spurious wake-up.
 *
 * Memory below a stack pointer is cleared before a thread runs, so that
 * leftovers don't make states differ.
 *
 * Invariant [explore.inv.steps]: when a state is saved or hashed, every thread
 * is at a hook (or done), and ex->machine describes which.
 */
#include "explore_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLEAR_BYTES 1536
#define LOCAL_STEPS_MAX 16 /* a loop on an own store must take steps */

struct explorer *ex;

_Noreturn void explorer_broken(const char *what) {
  fprintf(stderr, "explore: %s: %s\n",
          ex && ex->config ? ex->config->name : "?", what);
  exit(2);
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

unsigned char *explorer_stack_top(int t) {
  return ex->stacks + (size_t) (t + 1) * EXPLORE_STACK_BYTES;
}

static struct thread *self(void) { return &ex->machine.thread[ex->current]; }

/* Give the explorer the turn, at the step described in at. */
static void leave(void) { explore_switch(&self()->sp, ex->own_sp); }

_Noreturn void explore_done(void) {
  memset(&self()->at, 0, sizeof self()->at);
  self()->at.kind = DONE;
  leave();
  abort();
}

static void thread_main(void) {
  const struct explore_thread *c = &ex->config->thread[ex->current];
  c->run(c->arg);
  explore_done();
}

void explorer_thread_make(int t) {
  uintptr_t *top = (uintptr_t *) (uintptr_t) explorer_stack_top(t);
  memset(explorer_stack_top(t) - EXPLORE_STACK_BYTES, 0, EXPLORE_STACK_BYTES);
  top[-2] = (uintptr_t) thread_main;
  ex->machine.thread[t].sp = (uintptr_t) (top - 8);
  ex->machine.thread[t].at.kind = AT_START;
}

void explorer_run_on(int t) {
  struct thread *th = &ex->machine.thread[t];
  unsigned char *lo = explorer_stack_top(t) - EXPLORE_STACK_BYTES;
  unsigned char *sp = (unsigned char *) th->sp;
  if (sp < lo + CLEAR_BYTES) explorer_broken("a thread's stack overflows");
  memset(sp - CLEAR_BYTES, 0, CLEAR_BYTES);
  ex->current = t;
  ex->local_steps = 0;
  explore_switch(&ex->own_sp, th->sp);
  ex->current = -1;
}

/* ---- failing, printing ---- */

_Noreturn void explore_failed(const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(ex->message, sizeof ex->message, fmt, ap);
  va_end(ap);
  ex->failed = true;
  if (ex->current >= 0) leave();
  if (ex->callback) longjmp(ex->in_callback, 1);
  explorer_broken(ex->message);
  abort();
}

void explorer_fail(const char *text) {
  snprintf(ex->message, sizeof ex->message, "%s", text);
  ex->failed = true;
}

static void name_of(const volatile void *p, char *out, size_t bytes) {
  const unsigned char *a = (const unsigned char *) p;
  for (int i = ex->nnames; i-- > 0;) {
    const struct span *s = &ex->name[i];
    if (a < s->lo || a >= s->hi) continue;
    if (a == s->lo)
      snprintf(out, bytes, "%s", s->name);
    else
      snprintf(out, bytes, "%s+%ld", s->name, (long) (a - s->lo));
    return;
  }
  snprintf(out, bytes, "%p", (const void *) p);
}

static const char *const kind_name[] = {"starts",  "load",   "store",   "rmw",
                                        "cas",     "fence",  "barrier", "at",
                                        "chooses", "awaits", "lock",    "sleep",
                                        "asleep",  "wakes",  "wake",    "done"};

void explorer_print(int t, const struct step *s, const char *note) {
  char at[96] = "";
  if (s->addr) name_of(s->addr, at, sizeof at);
  fprintf(stderr, "    %-10s %-26s %-6s %s", ex->config->thread[t].name,
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
    if (a < b + bytes && b < a + s->bytes)
      explorer_broken("overlapping accesses");
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
  if (ex->config->memory != EXPLORE_PSO || th->store[i].release) return false;
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
  return ex->config->memory != EXPLORE_PSO || releases(order) ||
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
  for (int i = 0; i < ex->nconstant; i++)
    if (a >= ex->constant[i].lo && a < ex->constant[i].hi) return true;
  return false;
}

static bool mutated(const char *func, enum explore_op op,
                    const volatile void *p, enum explore_how how) {
  const struct explore_mutant *m = ex->config->mutant;
  if (!m || m->op != op || m->how != how || strcmp(m->func, func) != 0 ||
      (m->addr && m->addr != p))
    return false;
  return ex->mutant_met = true;
}

/* Outside a thread (setup, at_end): direct. */
static bool direct(void) { return ex->current < 0; }

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
  if (own && ++ex->local_steps < LOCAL_STEPS_MAX) return own->value;
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
  if (ex->config->memory == EXPLORE_SC || order == __ATOMIC_SEQ_CST) {
    step_begin(AT_STORE, p, bytes, order, func)->value = value;
    leave();
    return;
  }
  if (ex->config->barriers) explore_step("a store");
  if (th->nstores == BUFFER_MAX) {
    step_begin(AT_FENCE, NULL, 0, __ATOMIC_SEQ_CST, "(buffer full)");
    leave();
  }
  buffered(th, p, bytes); /* complains of an overlap */
  th->store[th->nstores++] = (struct store){.addr = p,
                                            .value = value,
                                            .bytes = (uint8_t) bytes,
                                            .release = releases(order)};
  if (ex->printing) {
    struct step s = {.kind = AT_STORE, .addr = p, .value = value, .func = func};
    explorer_print(ex->current, &s, "  (buffered)");
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

void explore_barrier(const char *func) {
  if (!ex->config->barriers) explorer_broken("barriers is not set");
  if (direct() || mutated(func, EXPLORE_FENCE, NULL, EXPLORE_SKIP)) return;
  step_begin(AT_BARRIER, NULL, 0, __ATOMIC_SEQ_CST, func);
  leave();
}

int explore_self(void) { return ex->current; }

int64_t explore_now(void) { return ex->machine.clock; }

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
  if (direct()) explorer_broken("wake outside a thread");
  if (mutated(func, EXPLORE_WAKE, word, EXPLORE_SKIP)) return;
  step_begin(AT_WAKE, word, 4, __ATOMIC_SEQ_CST, func)->n = n;
  leave();
}

/* ---- the explorer's side: executing a step ---- */

static int sleepers(const volatile void *word) {
  int n = 0;
  for (int t = 0; t < ex->nthreads; t++) {
    const struct step *s = &ex->machine.thread[t].at;
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
  for (int t = 0; t < ex->nthreads && left > 0; t++) {
    struct thread *th = &ex->machine.thread[t];
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
  case AT_BARRIER:
    for (int t = 0; t < ex->nthreads; t++) flush_all(&ex->machine.thread[t]);
    break;
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
  struct thread *th = &ex->machine.thread[t];
  ex->last = t;
  bool on = execute(th, way);
  if (ex->printing) explorer_print(t, &th->at, on ? "" : " (sleeps)");
  if (on) explorer_run_on(t);
}

void explorer_take(uint8_t tr) {
  struct thread *th = ex->machine.thread;
  if (tr < FLUSH(0, 0)) {
    take(tr / 16, tr % 16);
  } else if (tr < EXPIRE(0)) {
    int t = (tr - FLUSH(0, 0)) / 8, i = tr % 8;
    if (ex->printing) {
      struct step s = {.kind = AT_STORE,
                       .addr = th[t].store[i].addr,
                       .value = th[t].store[i].value,
                       .func = "(store buffer)"};
      explorer_print(t, &s, "");
    }
    flush_one(&th[t], (uint32_t) i);
  } else {
    bool expires = tr < SPURIOUS(0);
    int t = tr - (expires ? EXPIRE(0) : SPURIOUS(0));
    if (expires && th[t].at.deadline > ex->machine.clock)
      ex->machine.clock = th[t].at.deadline;
    rouse(&th[t], !expires);
    if (ex->printing)
      explorer_print(t, &th[t].at, expires ? " (its deadline)" : " (spurious)");
  }
}

/* ---- which transitions are there? ---- */

static void add_thread(struct frame *f, int t) {
  const struct thread *th = &ex->machine.thread[t];
  int n = ways(th);
  if (n > 15) explorer_broken("too many alternatives");
  for (int k = 0; k < n; k++) f->transition[f->n++] = TAKE(t, k);
}

static void add_flushes(struct frame *f, int t) {
  const struct thread *th = &ex->machine.thread[t];
  for (uint32_t i = 0; i < th->nstores; i++)
    if (may_flush(th, i)) f->transition[f->n++] = FLUSH(t, i);
}

bool explorer_is_end(void) {
  for (int t = 0; t < ex->nthreads; t++) {
    const struct thread *th = &ex->machine.thread[t];
    if (th->nstores) return false;
    if (!ex->config->thread[t].daemon && th->at.kind != DONE) return false;
  }
  return true;
}

void explorer_callback(void (*plain)(void), void (*timed)(int64_t),
                       int64_t at) {
  ex->callback = true;
  if (setjmp(ex->in_callback) == 0) {
    if (plain) plain();
    if (timed) timed(at);
  }
  ex->callback = false;
}

/* Nobody can run: the sleepers with the earliest deadline. */
static void add_deadlines(struct frame *f) {
  int64_t first = INT64_MAX;
  for (int t = 0; t < ex->nthreads; t++) {
    const struct step *s = &ex->machine.thread[t].at;
    if (s->kind == ASLEEP && s->deadline >= 0 && s->deadline < first)
      first = s->deadline;
  }
  if (first == INT64_MAX) return;
  explorer_callback(NULL, ex->config->when_quiet, first);
  for (int t = 0; t < ex->nthreads; t++) {
    const struct step *s = &ex->machine.thread[t].at;
    if (s->kind == ASLEEP && s->deadline == first)
      f->transition[f->n++] = EXPIRE(t);
  }
}

/* The thread that ran last comes first: runs with few switches are easier to
 * read. */
void explorer_find(struct frame *f) {
  f->n = f->next = 0;
  if (ex->last >= 0) add_thread(f, ex->last);
  for (int t = 0; t < ex->nthreads; t++)
    if (t != ex->last) add_thread(f, t);
  for (int t = 0; t < ex->nthreads; t++) add_flushes(f, t);
  bool quiet = f->n == 0;
  for (int t = 0; ex->config->spurious && t < ex->nthreads; t++)
    if (ex->machine.thread[t].at.kind == ASLEEP)
      f->transition[f->n++] = SPURIOUS(t);
  if (quiet) add_deadlines(f);
  if (f->n > TRANSITIONS_MAX - 16) explorer_broken("too many transitions");
}

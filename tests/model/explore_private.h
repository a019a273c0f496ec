/* explore_private.h - the explorer's state, shared by its two files.
 *
 * explore.c executes: threads, memory, steps, which transitions there are.
 * explore_search.c searches: states saved and found again, ways to the end.
 */
#ifndef TESTS_MODEL_EXPLORE_PRIVATE_H
#define TESTS_MODEL_EXPLORE_PRIVATE_H

#include "explore.h"

#include <setjmp.h>

#define BUFFER_MAX 8
#define RANGES_MAX 64

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
  AT_BARRIER,
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

extern struct explorer *ex; /* constant after the first explore */

/* ---- explore.c ---- */
_Noreturn void explorer_broken(const char *what); /* the model, not the code */
unsigned char *explorer_stack_top(int t);
void explorer_thread_make(int t);
void explorer_run_on(int t); /* until its next step */
void explorer_fail(const char *text);
void explorer_print(int t, const struct step *s, const char *note);
void explorer_callback(void (*plain)(void), void (*timed)(int64_t), int64_t at);
bool explorer_is_end(void);
void explorer_find(struct frame *f); /* the current state's transitions */
void explorer_take(uint8_t transition);

#endif /* TESTS_MODEL_EXPLORE_PRIVATE_H */

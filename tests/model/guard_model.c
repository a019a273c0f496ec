/* guard_model.c - a request to preempt is seen at a function prologue.
 *
 * The owner of a thread writes its guard word when it enters a goroutine or
 * goes on with one; anybody may set the goroutine's preempt flag, poison the
 * word and send a signal.  The owner then calls functions for ever; if it
 * never looks at the flag the explorer finds no way to the end.
 *
 * Restated, because it is assembler or writes %fs:0x70:
 *   resume      arch/x86_64/switch.S, mpgi_arch_resume
 *   grow        arch/x86_64/morestack.S, slow path to write_guard
 *   switch      the same, hot path and its return
 *   leave_stub  sched/proc.c, mpgi_thunk_preempted
 *   execute     sched/proc.c, mpgi_execute, then resume
 *   request     sched/stw.c, mpgi_preempt_one
 *   handler     sched/sigpreempt.c, sig_running
 *
 * Each writes the word and then reads the flag; the requester does it the
 * other way round.  On x86 that is not enough (the read may overtake the
 * write), which is why the handler poisons again: an interrupt empties the
 * store buffer.  Both halves are shown to be needed.
 */
#include "model.h"

#define REAL 0x1000u
#define POISON 0x7fffu

/* As the compiler and the assembler leave them: plain moves. */
#define PUT(word, v) atomic_store_explicit(&(word), v, memory_order_relaxed)
#define GET(word) atomic_load_explicit(&(word), memory_order_relaxed)

static _Atomic uint32_t guard, preempt, waiting, curg;
static bool signalled;         /* on its way */
static bool in_runtime = true; /* g0, or a PC in mpg_rt_text */
static bool no_signals, deaf_runtime, flag_first, stopping;
static bool noticed; /* the owner looked, or was frozen */

static struct mpg_m *model_m(void) { return NULL; }

/* ---- the handler, between any two steps of the owner ---- */

static void handler(void) {
  signalled = false;
  atomic_thread_fence(memory_order_seq_cst); /* the kernel was entered */
  bool stops = GET(waiting);
  if (!GET(curg) || (!stops && !GET(preempt))) return;
  if (in_runtime && deaf_runtime) return;
  if (in_runtime && stops) atomic_fetch_or(&preempt, MPGI_PREEMPT_STOP);
  PUT(guard, POISON);
  if (!in_runtime && stops) noticed = true; /* injected or frozen */
}

static void maybe_signal(void) {
  explore_step("next instruction");
  if (signalled && explore_choose(2)) handler();
}

/* ---- the owner ---- */

/* The word, then the flag. */
static void write_guard(void) {
  PUT(guard, REAL);
  maybe_signal();
  uint32_t flag = GET(preempt);
  maybe_signal();
  if (flag) PUT(guard, POISON);
  maybe_signal();
}

static void resume(int arg) {
  (void) arg;
  write_guard();
}

/* take_preempt: what was asked before is done now. */
static void look(void) {
  if (atomic_exchange(&preempt, 0)) noticed = true;
  maybe_signal();
}

static void grow(int arg) {
  (void) arg;
  look();
  write_guard();
}

static void leave_stub(int arg) {
  (void) arg;
  if (!flag_first) {
    grow(0);
    return;
  }
  look();
  uint32_t flag = GET(preempt);
  maybe_signal();
  PUT(guard, flag ? POISON : REAL);
  maybe_signal();
}

/* To the next segment and back. */
static void switch_segments(int arg) {
  (void) arg;
  write_guard();
  in_runtime = false;
  uint32_t g = GET(guard);
  maybe_signal();
  in_runtime = true;
  if (g == REAL) write_guard();
}

static void execute(int arg) {
  (void) arg;
  PUT(curg, 1);
  maybe_signal();
  PUT(preempt, 0);
  maybe_signal();
  bool stops = GET(waiting);
  maybe_signal();
  if (stops) noticed = true;
  write_guard();
}

/* Calls functions: each prologue looks at the word. */
static void run(void) {
  while (!noticed) {
    in_runtime = false;
    maybe_signal();
    if (GET(guard) != POISON) continue;
    in_runtime = true;
    maybe_signal();
    look();
    write_guard();
  }
}

static void (*before)(int arg); /* what the owner does before it calls */
static void owner(int arg) {
  before(arg);
  run();
}
/* ---- the requester ---- */

static void request(int arg) {
  (void) arg;
  if (stopping) atomic_store(&waiting, 1);
  bool found = GET(curg);
  if (found)
    atomic_fetch_or(&preempt,
                    stopping ? MPGI_PREEMPT_STOP : MPGI_PREEMPT_SLICE);
  PUT(guard, POISON);
  atomic_thread_fence(memory_order_seq_cst); /* tgkill: a system call */
  signalled = !no_signals;
}

/* ---- configurations ---- */

static void setup(void) {
  atomic_store(&guard, REAL);
  atomic_store(&curg, 1);
  explore_name(&guard, 4, "guard");
  explore_name(&preempt, 4, "preempt");
  explore_name(&waiting, 4, "waiting");
  explore_name(&curg, 4, "curg");
}
static void setup_resume(void) {
  setup();
  before = resume;
}
static void setup_grow(void) {
  setup();
  before = grow;
}
static void setup_stub(void) {
  setup();
  before = leave_stub;
}
static void setup_switch(void) {
  setup();
  before = switch_segments;
}
static void setup_execute(void) {
  setup();
  atomic_store(&curg, 0);
  stopping = true;
  before = execute;
}
static void without_signals(void) {
  setup_resume();
  no_signals = true;
}
static void without_signals_stub(void) {
  setup_stub();
  no_signals = true;
}
static void deaf(void) {
  setup_resume();
  deaf_runtime = true;
}
static void deaf_execute(void) {
  setup_execute();
  deaf_runtime = true;
}
static void stub_flag_first(void) {
  setup_stub();
  flag_first = true;
}

#define OWNER \
  { "owner", owner, 0, false }
#define REQUESTER \
  { "requester", request, 0, false }

static void pass(const char *name, void (*set)(void), enum explore_memory m) {
  struct explore_config c = {
      .name = name, .memory = m, .setup = set, .thread = {OWNER, REQUESTER}};
  explore_pass(&c);
}

static void lost(const char *name, void (*set)(void), enum explore_memory m) {
  struct explore_config c = {
      .name = name, .memory = m, .setup = set, .thread = {OWNER, REQUESTER}};
  explore_fail_with(&c, "no way to the end");
}

int main(void) {
  pass("guard.resume", setup_resume, EXPLORE_TSO);
  pass("guard.grow", setup_grow, EXPLORE_TSO);
  pass("guard.switch_segments", setup_switch, EXPLORE_TSO);
  pass("guard.leave_a_stub", setup_stub, EXPLORE_TSO);
  pass("guard.execute_while_the_world_stops", setup_execute, EXPLORE_TSO);
  /* Without store buffers no signal is needed. */
  pass("guard.resume_in_order", without_signals, EXPLORE_SC);
  pass("guard.leave_a_stub_in_order", without_signals_stub, EXPLORE_SC);
  lost("guard.no_signal", without_signals, EXPLORE_TSO);
  lost("guard.handler_trusts_the_runtime", deaf, EXPLORE_TSO);
  lost("guard.handler_trusts_execute", deaf_execute, EXPLORE_TSO);
  lost("guard.flag_before_word", stub_flag_first, EXPLORE_TSO);
  lost("guard.flag_before_word_in_order", stub_flag_first, EXPLORE_SC);
  return explore_status();
}

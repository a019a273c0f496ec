/* Are all frames user code?  Stacks made by hand, for the frame-pointer chain
 * of segmented stacks; real ones for the unwind tables (cfi.c).
 *
 * A hand-made stack is interrupted at a function's first instruction: the
 * tables then say that the return address is at SP, and rbp is the caller's.
 */
#include <tests/support/unit.h>

#include <dlfcn.h>
#include <stdlib.h>

#include <tests/support/unit_sched.h>

extern void __morestack(void);

#define WORDS 512
static uintptr_t newer[WORDS], older[WORDS];
static struct mpgi_segment segment[2];
static struct mpg_g g;
static uintptr_t user, foreign, grown;

static __attribute__((noinline)) int a_user_function(int x) {
  __asm__ volatile("");
  return x + 1;
}

static int init(void **state) {
  (void) state;
  mpgi_text_init();
  user = (uintptr_t) a_user_function + 1;
  foreign = (uintptr_t) dlsym(RTLD_DEFAULT, "qsort") + 1;
  grown = (uintptr_t) __morestack + 1;
  return foreign == 1;
}

static void segment_set(struct mpgi_segment *s, uintptr_t *mem,
                        struct mpgi_segment *prev, uintptr_t prev_sp) {
  *s = (struct mpgi_segment){.lo = (uintptr_t) mem,
                             .hi = (uintptr_t) (mem + WORDS),
                             .prev = prev,
                             .prev_sp = prev_sp};
}

/* One segment, everything zero. */
static int fresh(void **state) {
  (void) state;
  memset(newer, 0, sizeof newer);
  memset(older, 0, sizeof older);
  memset(&g, 0, sizeof g);
  segment_set(&segment[0], newer, NULL, 0);
  g.ctx.seg = &segment[0];
  return 0;
}

/* Put a frame at word i of mem. */
static void frame(uintptr_t *mem, int i, uintptr_t fp, uintptr_t ret) {
  mem[i] = fp;
  mem[i + 1] = ret;
}
static uintptr_t at(uintptr_t *mem, int i) { return (uintptr_t) &mem[i]; }

/* SP at word 8 of the newest segment; the top return address is user code. */
static bool are_user(uintptr_t fp) {
  if (!newer[8]) newer[8] = user;
  struct mpgi_frame f = {
      .pc = (uintptr_t) a_user_function, .sp = at(newer, 8), .fp = fp};
  return mpgi_frames_are_user(&g, f);
}

/* ---- one segment ---- */

static void a_chain_of_user_frames_is_fine(void **state) {
  (void) state;
  assert_true(are_user(0)); /* the goroutine's first function */
  frame(newer, 20, at(newer, 30), user);
  frame(newer, 30, at(newer, 40), user);
  frame(newer, 40, 0, user);
  assert_true(are_user(at(newer, 20)));
}

static void a_foreign_return_address_anywhere_forbids(void **state) {
  (void) state;
  for (int bad = 0; bad < 3; bad++) {
    fresh(NULL);
    frame(newer, 20, at(newer, 30), bad == 0 ? foreign : user);
    frame(newer, 30, at(newer, 40), bad == 1 ? foreign : user);
    frame(newer, 40, 0, bad == 2 ? foreign : user);
    assert_false(are_user(at(newer, 20)));
  }
}

static void the_word_at_sp_counts_in_a_prologue(void **state) {
  (void) state;
  frame(newer, 20, 0, user);
  newer[8] = foreign;
  assert_false(are_user(at(newer, 20)));
  newer[8] = user;
  assert_true(are_user(at(newer, 20)));
}

/* No return address: a word that is no code. */
static void a_return_address_into_nowhere_forbids(void **state) {
  (void) state;
  frame(newer, 20, 0, (uintptr_t) newer);
  assert_false(are_user(at(newer, 20)));
  frame(newer, 20, 0, 0);
  assert_false(are_user(at(newer, 20)));
}

static void without_tables_two_words_count(void **state) {
  (void) state;
  /* an address that no table covers: the last byte of the program's text */
  struct mpgi_range r[8];
  int n = mpgi_os_text_of((const void *) user, r, 8);
  assert_true(n >= 1);
  uintptr_t pc = 0;
  for (int i = 0; i < n; i++)
    if (user >= r[i].lo && user < r[i].hi) pc = r[i].hi - 1;
  struct mpgi_frame f = {.pc = pc, .sp = at(newer, 8)}, probe = f;
  assert_int_equal(mpgi_cfi_step(&probe, g.ctx.seg->lo, g.ctx.seg->hi),
                   MPGI_STEP_UNKNOWN);
  assert_true(mpgi_frames_are_user(&g, f));
  newer[9] = foreign;
  assert_false(mpgi_frames_are_user(&g, f));
  newer[9] = 0;
  newer[10] = foreign; /* deeper ones may be left over */
  assert_true(mpgi_frames_are_user(&g, f));
}

/* ---- chains that are none ---- */

static void frame_pointers_must_be_aligned_and_rise(void **state) {
  (void) state;
  frame(newer, 20, at(newer, 30) + 4, user);
  assert_false(are_user(at(newer, 20)));
  frame(newer, 20, at(newer, 10), user); /* downwards */
  frame(newer, 10, 0, user);
  assert_false(are_user(at(newer, 20)));
  frame(newer, 20, at(newer, 20), user); /* to itself */
  assert_false(are_user(at(newer, 20)));
}

static void frames_must_lie_above_sp_and_in_the_stack(void **state) {
  (void) state;
  frame(newer, 2, 0, user);
  assert_false(are_user(at(newer, 2)));
  frame(newer, WORDS - 2, 0, user);
  assert_true(are_user(at(newer, WORDS - 2)));
  assert_false(are_user(at(newer, WORDS - 1))); /* sticks out */
  assert_false(are_user(at(newer, WORDS)));
  assert_false(are_user((uintptr_t) &g));
  assert_false(are_user(8));
  assert_false(are_user(UINTPTR_MAX - 7));
}

static void sp_must_lie_in_the_stack(void **state) {
  (void) state;
  struct mpgi_frame f = {.pc = (uintptr_t) a_user_function};
  for (int i = 0; i < 2; i++) {
    f.sp = i ? (uintptr_t) older : g.ctx.seg->hi;
    assert_false(mpgi_frames_are_user(&g, f));
  }
}

static void endless_chains_end(void **state) {
  (void) state;
  enum { FRAMES = 131136 };
  uintptr_t *deep = calloc(2 * FRAMES + 16, sizeof *deep);
  assert_non_null(deep);
  segment[0].lo = (uintptr_t) deep;
  segment[0].hi = (uintptr_t) (deep + 2 * FRAMES + 16);
  struct mpgi_frame f = {.pc = (uintptr_t) a_user_function,
                         .sp = (uintptr_t) (deep + 8),
                         .fp = (uintptr_t) (deep + 12)};
  deep[8] = user;
  for (int i = 0; i < FRAMES; i++)
    frame(deep, 12 + 2 * i, (uintptr_t) (deep + 14 + 2 * i), user);
  assert_false(mpgi_frames_are_user(&g, f)); /* too deep to be sure */
  frame(deep, 12 + 2 * (FRAMES - 2), 0, user);
  assert_true(mpgi_frames_are_user(&g, f));
  free(deep);
}

/* ---- two segments ---- */

/* The newer one was entered by __morestack with rbp = word 50 of the older. */
static void two_segments(void) {
  segment_set(&segment[0], older, NULL, 0);
  segment_set(&segment[1], newer, &segment[0], at(older, 50));
  g.ctx.seg = &segment[1];
  /* the grown function's frame; __morestack's; its caller's */
  frame(newer, 100, at(older, 50), grown);
  frame(older, 50, at(older, 60), user); /* return into the prologue */
  older[52] = user;                      /* and into the caller */
  frame(older, 60, 0, user);
}

static void the_chain_crosses_segments(void **state) {
  (void) state;
  two_segments();
  assert_true(are_user(at(newer, 100)));
  two_segments();
  older[61] = foreign;
  assert_false(are_user(at(newer, 100)));
}

static void older_segments_are_walked_once(void **state) {
  (void) state;
  two_segments();
  assert_true(are_user(at(newer, 100)));
  older[61] = foreign; /* not looked at again */
  assert_true(are_user(at(newer, 100)));
  newer[101] = foreign;
  assert_false(are_user(at(newer, 100)));
  newer[101] = grown;
  segment[1].prev_sp = at(older, 50); /* entered anew */
  assert_false(are_user(at(newer, 100)));
  older[61] = user;
  assert_true(are_user(at(newer, 100)));
}

/* Refused for the depth, at first: each attempt gets on by a segment. */
static void a_deep_stack_is_walked_in_attempts(void **state) {
  (void) state;
  enum { SEGMENTS = 4, FRAMES = 65000, STACK_WORDS = 2 * FRAMES + 64 };
  static struct mpgi_segment deep[SEGMENTS];
  uintptr_t *mem[SEGMENTS];
  uintptr_t fp = 0; /* the oldest frame's; segment by segment from there */
  for (int s = 0; s < SEGMENTS; s++) {
    mem[s] = calloc(STACK_WORDS, sizeof *mem[s]);
    assert_non_null(mem[s]);
    deep[s] = (struct mpgi_segment){.lo = (uintptr_t) mem[s],
                                    .hi = (uintptr_t) (mem[s] + STACK_WORDS),
                                    .prev = s ? &deep[s - 1] : NULL,
                                    .prev_sp = fp};
    for (int i = 0; i < FRAMES; i++) {
      bool last = i == FRAMES - 1; /* __morestack's: one word more */
      int w = STACK_WORDS - 4 - 2 * i - 2 * last;
      if (last) mem[s][w + 2] = user;
      frame(mem[s], w, fp, s && i == 0 ? grown : user);
      fp = at(mem[s], w);
    }
  }
  g.ctx.seg = &deep[SEGMENTS - 1];
  struct mpgi_frame f = {
      .pc = (uintptr_t) a_user_function, .sp = fp - 16, .fp = fp};
  *(uintptr_t *) (fp - 16) = user;
  assert_false(mpgi_frames_are_user(&g, f));
  assert_false(mpgi_frames_are_user(&g, f));
  assert_true(mpgi_frames_are_user(&g, f));
  for (int s = 0; s < SEGMENTS; s++) free(mem[s]);
}

static void the_caller_of_a_grown_function_counts(void **state) {
  (void) state;
  two_segments();
  older[52] = foreign; /* as when qsort calls a comparator */
  assert_false(are_user(at(newer, 100)));
  newer[101] = user; /* not __morestack's frame: then it is only data */
  assert_true(are_user(at(newer, 100)));
}

static void older_frames_lie_above_the_crossing(void **state) {
  (void) state;
  two_segments();
  frame(newer, 100, at(older, 40), grown); /* below prev_sp: dead */
  frame(older, 40, 0, user);
  older[42] = user;
  assert_false(are_user(at(newer, 100)));
}

static void the_chain_never_returns_to_a_newer_segment(void **state) {
  (void) state;
  two_segments();
  frame(older, 60, at(newer, 200), user);
  frame(newer, 200, 0, user);
  assert_false(are_user(at(newer, 100)));
}

/* SP is still (or again) on the older segment while the newer is current. */
static void an_entry_may_be_on_the_older_segment(void **state) {
  (void) state;
  two_segments();
  older[20] = user;
  struct mpgi_frame f = {.pc = (uintptr_t) a_user_function,
                         .sp = at(older, 20),
                         .fp = at(older, 60)};
  assert_true(mpgi_frames_are_user(&g, f));
  older[61] = foreign;
  assert_false(mpgi_frames_are_user(&g, f));
}

/* ---- the tables, on a real stack ---- */

struct seen {
  struct mpgi_frame here, up;
  enum mpgi_step step;
  uintptr_t ret, caller_fp;
};

/* The running function's frame, right here. */
#define HERE(f)                                  \
  __asm__ volatile(                              \
      "lea 0(%%rip), %0\n\tmov %%rsp, %1\n\t"    \
      "mov %%rbp, %2"                            \
      : "=r"((f).pc), "=r"((f).sp), "=r"((f).fp) \
      :                                          \
      : "memory")

static uintptr_t stack_end(uintptr_t sp) {
  uintptr_t lo, hi;
  assert_int_equal(mpgi_os_stack_bounds(&lo, &hi), 0);
  assert_true(sp >= lo && sp < hi);
  return hi;
}

static __attribute__((noinline)) void look(struct seen *s) {
  volatile char room[256];
  room[0] = 1;
  s->here = (struct mpgi_frame){0};
  HERE(s->here);
  s->up = s->here;
  s->step = mpgi_cfi_step(&s->up, s->here.sp, stack_end(s->here.sp));
  s->ret = (uintptr_t) __builtin_return_address(0);
  s->caller_fp = *(uintptr_t *) __builtin_frame_address(0);
  room[1] = room[0];
}

static void tables_find_the_caller(void **state) {
  (void) state;
  struct seen s;
  look(&s);
  assert_int_equal(s.step, MPGI_STEP_UP);
  assert_true(s.up.pc == s.ret && s.up.fp == s.caller_fp && s.up.is_return);
  assert_true(s.up.sp > s.here.sp);
  /* and its caller, from a return address */
  uintptr_t sp = s.up.sp;
  assert_int_equal(mpgi_cfi_step(&s.up, sp, stack_end(sp)), MPGI_STEP_UP);
  assert_true(s.up.pc == (uintptr_t) __builtin_return_address(0));
}

/* GCC realigns its frame, and the tables have expressions. */
static __attribute__((noinline)) void look_aligned(struct seen *s) {
  _Alignas(64) volatile char room[256];
  room[0] = (char) ((uintptr_t) room & 63);
  s->here = (struct mpgi_frame){0};
  HERE(s->here);
  s->up = s->here;
  s->step = mpgi_cfi_step(&s->up, s->here.sp, stack_end(s->here.sp));
  s->ret = (uintptr_t) __builtin_return_address(0);
  s->caller_fp = *(uintptr_t *) __builtin_frame_address(0);
  assert_int_equal(room[0], 0);
}

static void tables_find_the_caller_of_a_realigned_frame(void **state) {
  (void) state;
  struct seen s;
  look_aligned(&s);
  assert_int_equal(s.step, MPGI_STEP_UP);
  assert_true(s.up.pc == s.ret && s.up.fp == s.caller_fp && s.up.is_return);
  uintptr_t sp = s.up.sp;
  assert_int_equal(mpgi_cfi_step(&s.up, sp, stack_end(sp)), MPGI_STEP_UP);
  assert_true(s.up.pc == (uintptr_t) __builtin_return_address(0));
}

static void tables_read_only_the_given_stack(void **state) {
  (void) state;
  struct seen s;
  look(&s);
  struct mpgi_frame f = s.here;
  assert_int_equal(mpgi_cfi_step(&f, f.sp, f.sp + 16), MPGI_STEP_UNKNOWN);
  assert_true(f.pc == s.here.pc && f.sp == s.here.sp); /* untouched */
  f.fp = 64;                                           /* nonsense */
  assert_int_equal(mpgi_cfi_step(&f, f.sp, stack_end(f.sp)), MPGI_STEP_UNKNOWN);
}

static void tables_end_at_the_first_function(void **state) {
  (void) state;
  extern const char mpg_goroutine_start[];
  struct mpgi_frame f = {.pc = (uintptr_t) mpg_goroutine_start + 8,
                         .sp = at(newer, 8),
                         .is_return = true};
  assert_int_equal(mpgi_cfi_step(&f, g.ctx.seg->lo, g.ctx.seg->hi),
                   MPGI_STEP_END);
}

static void no_tables_is_unknown(void **state) {
  (void) state;
  struct mpgi_frame f = {.pc = (uintptr_t) newer, .sp = at(newer, 8)};
  assert_int_equal(mpgi_cfi_step(&f, g.ctx.seg->lo, g.ctx.seg->hi),
                   MPGI_STEP_UNKNOWN);
  f.pc = 0;
  assert_int_equal(mpgi_cfi_step(&f, g.ctx.seg->lo, g.ctx.seg->hi),
                   MPGI_STEP_UNKNOWN);
}

/* On a fixed stack the tables alone decide: under qsort it is "no". */
static bool under_qsort;
static int compare(const void *a, const void *b) {
  struct mpgi_frame f = {0};
  HERE(f);
  segment[0].lo = f.sp;
  segment[0].hi = stack_end(f.sp);
  g.fixed = 1;
  under_qsort |= mpgi_frames_are_user(&g, f);
  return *(const int *) a - *(const int *) b;
}

static void a_comparator_under_qsort_is_no_place(void **state) {
  (void) state;
  int v[4] = {3, 1, 2, 0};
  under_qsort = false;
  qsort(v, 4, sizeof v[0], compare);
  assert_false(under_qsort);
  assert_int_equal(v[0], 0);
}

#define CASE(f) cmocka_unit_test_setup(f, fresh)
int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(a_chain_of_user_frames_is_fine),
      CASE(a_foreign_return_address_anywhere_forbids),
      CASE(the_word_at_sp_counts_in_a_prologue),
      CASE(a_return_address_into_nowhere_forbids),
      CASE(without_tables_two_words_count),
      CASE(frame_pointers_must_be_aligned_and_rise),
      CASE(frames_must_lie_above_sp_and_in_the_stack),
      CASE(sp_must_lie_in_the_stack),
      CASE(endless_chains_end),
      CASE(the_chain_crosses_segments),
      CASE(older_segments_are_walked_once),
      CASE(a_deep_stack_is_walked_in_attempts),
      CASE(the_caller_of_a_grown_function_counts),
      CASE(older_frames_lie_above_the_crossing),
      CASE(the_chain_never_returns_to_a_newer_segment),
      CASE(an_entry_may_be_on_the_older_segment),
      CASE(tables_find_the_caller),
      CASE(tables_find_the_caller_of_a_realigned_frame),
      CASE(tables_read_only_the_given_stack),
      CASE(tables_end_at_the_first_function),
      CASE(no_tables_is_unknown),
      CASE(a_comparator_under_qsort_is_no_place),
  };
  return cmocka_run_group_tests(tests, init, NULL);
}

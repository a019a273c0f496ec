/* jump_outside.c - a program that stubs_test.sh builds in many ways: errors
 * jump back over stack segments, by _longjmp or (THROWLIB) by the jumps of a
 * library between whose functions the program's are; afterwards the goroutine
 * is as before.
 */
#include <mpg.h>

#include <stdio.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

/* More than what a function that calls a library is given. */
enum { MANY = 20, ROUNDS = 20, DEPTH = 120, FRAME = 4000 };

#ifdef THROWLIB
int throwlib_try(void (*fn)(void *env, int depth), int depth);
_Noreturn void throwlib_throw(void *env, int error);
#else
#define THROWLIB_JUMP _longjmp
#include "../support/throwlib.c"
#endif

static mpg_waitgroup done;
static _Atomic int wrong;

static NOINLINE void fail_at_depth(void *env, int depth) {
  volatile char frame[FRAME];
  frame[0] = 1;
  if (depth == 0) throwlib_throw(env, 7);
  fail_at_depth(env, depth - 1);
  frame[1] = frame[0];
}

/* Frames keep what is written to them: nobody else has this stack. */
static NOINLINE void descend(int depth) {
  volatile char frame[FRAME];
  char mark = (char) (mpg_goid() + (uint64_t) depth);
  memset((char *) frame, mark, sizeof(frame));
  if (depth == 0)
    mpg_yield();
  else
    descend(depth - 1);
  for (int i = 0; i < FRAME; i++) wrong |= frame[i] != mark;
}

static void worker(void *arg) {
  (void) arg;
  for (int i = 0; i < ROUNDS; i++) {
    wrong |= throwlib_try(fail_at_depth, DEPTH - i % 3) != 7;
    descend(DEPTH);
  }
  mpg_waitgroup_done(&done);
}

static void start(void *arg) {
  (void) arg;
  mpg_waitgroup_add(&done, MANY);
  for (int i = 0; i < MANY; i++) mpg_go(worker, NULL);
  mpg_waitgroup_wait(&done);
}

int main(void) {
  if (mpg_run(start, NULL) != 0) return 3;
  printf("%s\n", wrong ? "wrong" : "ok");
  return wrong;
}

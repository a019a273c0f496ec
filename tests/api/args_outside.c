/* args_outside.c - a program outside the tree (install_test.sh) that passes
 * more arguments on the stack than there is room below a guard word.
 *
 * Compilers that push them one by one don't count them in the frame, which is
 * what a prologue asks for; mpg's flags are against that.  So at every depth,
 * that is, with every remainder of a segment.  Says ok.
 */
#include <mpg.h>
#include <stdio.h>

enum { GOROUTINES = 100, DEPTHS = 60 };

static mpg_waitgroup done;
static _Atomic int wrong;

#define EIGHT(x) x(0), x(1), x(2), x(3), x(4), x(5), x(6), x(7)
#define ARGS                                                                \
  EIGHT(A), EIGHT(B), EIGHT(C), EIGHT(D), EIGHT(E), EIGHT(F), EIGHT(G),     \
      EIGHT(H), EIGHT(I), EIGHT(J), EIGHT(K), EIGHT(L), EIGHT(M), EIGHT(N), \
      EIGHT(O), EIGHT(P)
#define A(_) long a##_
#define B(_) long b##_
#define C(_) long c##_
#define D(_) long d##_
#define E(_) long e##_
#define F(_) long f##_
#define G(_) long g##_
#define H(_) long h##_
#define I(_) long i##_
#define J(_) long j##_
#define K(_) long k##_
#define L(_) long l##_
#define M(_) long m##_
#define N(_) long n##_
#define O(_) long o##_
#define P(_) long p##_

static long take(ARGS) { return a0 + b7 * 3 + p7; }
static long (*volatile taker)(ARGS) = take;

#define X(n) x + n
__attribute__((noinline)) static long give(long x) {
  return taker(EIGHT(X), EIGHT(X), EIGHT(X), EIGHT(X), EIGHT(X), EIGHT(X),
               EIGHT(X), EIGHT(X), EIGHT(X), EIGHT(X), EIGHT(X), EIGHT(X),
               EIGHT(X), EIGHT(X), EIGHT(X), EIGHT(X));
}

__attribute__((noinline)) static long descend(long x, int depth) {
  volatile char frame[16];
  frame[0] = 1;
  return depth > 0 ? descend(x, depth - 1) + frame[0] : give(x);
}

static void worker(void *arg) {
  long x = (long) arg;
  for (int depth = 0; depth < DEPTHS; depth++)
    if (descend(x, depth) != 5 * x + 28 + depth) wrong++;
  mpg_waitgroup_done(&done);
}

static void main_goroutine(void *arg) {
  (void) arg;
  mpg_waitgroup_add(&done, GOROUTINES);
  for (long i = 0; i < GOROUTINES; i++)
    if (mpg_go(worker, (void *) i) != 0) return;
  mpg_waitgroup_wait(&done);
  if (wrong == 0) puts("ok");
}

int main(void) { return mpg_run(main_goroutine, NULL); }

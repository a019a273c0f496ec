/* tight_loop.c - the smallest program that would hang without preemption.
 *
 * One P, and a goroutine that takes it and never calls anything.  Main gets
 * the P back only because the runtime interrupts the loop with a signal, and
 * the collection finishes only because the loop can be stopped where it is.
 * Set MPG_DEBUG=asyncpreemptoff=1 to see it hang.
 */
#include <mpg.h>
#include <stdio.h>

static void spin(void *arg) {
  (void) arg;
  for (;;) __asm__ volatile("");
}

static void start(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  if (mpg_go(spin, NULL) != 0) return;
  mpg_yield(); /* the loop runs now */
  mpg_gc();
  puts("still here");
}

int main(void) { return mpg_run(start, NULL) == 0 ? 0 : 1; }

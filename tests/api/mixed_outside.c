/* mixed_outside.c - one program of two objects: with mpg's flags, and, with
 * PLAIN defined, without.  Says "ok".
 *
 * The latter's functions use more stack than the first segment of a goroutine
 * has, and are called through pointers, which no linker sees: by mpg.
 */
#include <mpg.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

extern void plain(void *sum);

#ifdef PLAIN
enum { BYTES = 12000 };

void plain(void *sum) {
  volatile unsigned char large[BYTES];
  for (int i = 0; i < BYTES; i++) large[i] = (unsigned char) i;
  for (int i = 0; i < BYTES; i++) *(unsigned *) sum += large[i];
}

#else
static unsigned expected(void) {
  unsigned sum = 0;
  for (int i = 0; i < 12000; i++) sum += (unsigned char) i;
  return sum;
}

enum { MANY = 100 };
static unsigned sums[MANY + 5];

static void start(void *arg) {
  (void) arg;
  static mpg_once once;
  struct mpg_go_options opt = {.size = sizeof opt, .name = "plain"};
  for (int i = 0; i < MANY; i++) mpg_go(plain, &sums[i]);
  mpg_go_with(&opt, plain, &sums[MANY]);
  mpg_timer_start(0, 0, plain, &sums[MANY + 1]);
  mpg_blocking(plain, &sums[MANY + 2]);
  mpg_once_do(&once, plain, &sums[MANY + 3]);
  mpg_foreign_call(plain, &sums[MANY + 4]);
  for (int i = 0; i < MANY + 5; i++)
    while (*(volatile unsigned *) &sums[i] != expected()) mpg_yield();
}

int main(void) {
  unsigned sum = 0;
  if (mpg_run(plain, &sum) != 0 || sum != expected()) return 1;
  if (mpg_run(NULL, NULL) != -EINVAL) return 1;
  if (mpg_run(start, NULL) != 0) return 1;
  puts("ok");
  return 0;
}
#endif

/* stubs_outside.c - a program, C and C++, that stubs_test.sh builds in every
 * way: it calls the C library from a goroutine, and says whether that cost the
 * goroutine a large segment.
 *
 * usage: stubs_outside [small|large]
 */
#include <mpg.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PLAIN __attribute__((noinline))
#ifdef __cplusplus
#define EXTERN_C extern "C"
#else
#define EXTERN_C
#endif

enum { MANY = 200 };

static mpg_chan *gate, *here;
static int wrong;
static FILE *null;

EXTERN_C PLAIN void use_libc(const char *text);
EXTERN_C PLAIN void use_libc(const char *text) {
  char buf[40], copy[24];
  struct timespec t;
  size_t n = strlen(text);
  char *p = (char *) malloc(n + 1);
  memcpy(p, text, n + 1);
  strcpy(copy, p);
  snprintf(buf, sizeof(buf), "%s %.2f %d", copy, 2.5, 7);
  fprintf(null, "%s %g\n", buf, 0.25);
  printf("%s", "");
  wrong |= clock_gettime(CLOCK_MONOTONIC, &t);
  wrong |= strtod(buf + n, NULL) != 2.5;
  errno = 0;
  wrong |= strtol("99999999999999999999", NULL, 10) == 0 || errno != ERANGE;
  wrong |= sqrt(strtod("6.25", NULL)) != 2.5;
  mpg_chan_send(here, NULL);
  mpg_chan_recv(gate, NULL);
  wrong |= strcmp(buf, "text 2.50 7") != 0;
  free(p);
  mpg_chan_send(here, NULL);
}

static void worker(void *arg) { use_libc((const char *) arg); }

static uint64_t stack_bytes(void) {
  struct mpg_gc_stats s;
  memset(&s, 0, sizeof(s));
  s.size = sizeof(s);
  mpg_gc_stats_read(&s);
  return s.stack_bytes;
}

static const char *said;

static void start(void *arg) {
  char text[] = "text";
  (void) arg;
  gate = mpg_chan_new(1, 0);
  here = mpg_chan_new(0, 0);
  null = fopen("/dev/null", "w");
  if (!null) wrong = 1;
  uint64_t before = stack_bytes();
  for (int i = 0; i < MANY; i++) mpg_go(worker, text);
  for (int i = 0; i < MANY; i++) mpg_chan_recv(here, NULL);
  said = (stack_bytes() - before) / MANY < 4000 ? "small" : "large";
  mpg_chan_close(gate);
  for (int i = 0; i < MANY; i++) mpg_chan_recv(here, NULL);
  fclose(null);
}

int main(int argc, char **argv) {
  if (mpg_run(start, NULL) != 0) return 3;
  if (argc > 1 && strcmp(said, argv[1]) != 0) {
    fprintf(stderr, "%s, not %s\n", said, argv[1]);
    return 4;
  }
  printf("%s\n", wrong ? "wrong" : "ok");
  return wrong;
}

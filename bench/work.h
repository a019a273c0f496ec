/* work.h - what benches and their C peers share: arguments, samples, output.
 *
 *   program WORK [key=value ...]
 *
 * runs one piece of work and prints name=value lines.  "check" is a figure
 * of the result, the same in every contender; the others are measurements.
 * A curve is a complementary cumulative distribution, "value:share" pairs:
 * the share of samples that are larger.
 *
 * Nothing here needs mpg: peers without it include this file, too.
 */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORK_UNUSED __attribute__((unused))
#define WORK_NOINLINE __attribute__((noinline))

struct work {
  const char *name;
  void (*run)(void);
};

static int work_argc;
static char **work_argv;

/* The value of key, or what to take when it isn't given. */
WORK_UNUSED static long work_arg(const char *key, long otherwise) {
  size_t n = strlen(key);
  for (int i = 2; i < work_argc; i++)
    if (strncmp(work_argv[i], key, n) == 0 && work_argv[i][n] == '=')
      return atol(work_argv[i] + n + 1);
  return otherwise;
}

WORK_UNUSED static const char *work_word(const char *key,
                                         const char *otherwise) {
  size_t n = strlen(key);
  for (int i = 2; i < work_argc; i++)
    if (strncmp(work_argv[i], key, n) == 0 && work_argv[i][n] == '=')
      return work_argv[i] + n + 1;
  return otherwise;
}

static const struct work *work_find(const struct work *works, int n, int argc,
                                    char **argv) {
  work_argc = argc;
  work_argv = argv;
  for (int i = 0; i < n && argc > 1; i++)
    if (strcmp(works[i].name, argv[1]) == 0) return &works[i];
  fprintf(stderr, "usage: %s WORK [key=value ...]; WORK is one of", argv[0]);
  for (int i = 0; i < n; i++) fprintf(stderr, " %s", works[i].name);
  fputc('\n', stderr);
  return NULL;
}

/* A peer's main that has nothing else to do. */
#define WORK_MAIN(works)                                                       \
  int main(int argc, char **argv) {                                            \
    const struct work *work =                                                  \
        work_find(works, (int) (sizeof(works) / sizeof *(works)), argc, argv); \
    if (!work) return 2;                                                       \
    work->run();                                                               \
    return 0;                                                                  \
  }

_Noreturn WORK_UNUSED static void work_fail(const char *what) {
  fprintf(stderr, "%s: %s\n", work_argv[1], what);
  exit(1);
}

/* This machine can't do it, and that is no failure. */
#define WORK_SKIPPED 77
_Noreturn WORK_UNUSED static void work_skip(const char *why) {
  fprintf(stderr, "%s\n", why);
  exit(WORK_SKIPPED);
}

/* ---- output ---- */

WORK_UNUSED static void work_print(const char *name, double value) {
  printf("%s=%.6g\n", name, value);
}

WORK_UNUSED static void work_check(uint64_t sum) {
  printf("check=%llu\n", (unsigned long long) sum);
}

/* ---- time, memory, random numbers ---- */

WORK_UNUSED static int64_t work_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Resident bytes of this process. */
WORK_UNUSED static double work_rss(void) {
  char text[128] = "";
  int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) work_fail("no statm");
  close(fd);
  char *resident = strchr(text, ' ');
  return resident ? (double) atol(resident) * (double) sysconf(_SC_PAGESIZE)
                  : 0;
}

/* Bytes, from a line of a file of /proc; negative: there is none. */
WORK_UNUSED static double work_proc(const char *file, const char *format) {
  char line[128];
  long kib = -1;
  FILE *f = fopen(file, "re");
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, format, &kib) == 1) break;
  if (f) fclose(f);
  return (double) kib * 1024;
}

/* Of page tables, which are not resident memory. */
WORK_UNUSED static double work_page_tables(void) {
  return work_proc("/proc/self/status", "VmPTE: %ld kB");
}

/* Ends the program as "can't" when that much memory isn't free. */
WORK_UNUSED static void work_need_bytes(double bytes) {
  double available = work_proc("/proc/meminfo", "MemAvailable: %ld kB");
  if (available >= 0 && available < bytes) work_skip("not enough memory");
}

/* Mappings of this process; the system allows vm.max_map_count. */
WORK_UNUSED static double work_mappings(void) {
  double n = 0;
  FILE *f = fopen("/proc/self/maps", "re");
  for (int c; f && (c = getc(f)) != EOF;) n += c == '\n';
  if (f) fclose(f);
  return n;
}

/* Peers draw the same numbers: xorshift64*, upper half. */
WORK_UNUSED static inline uint32_t work_random(uint64_t *state) {
  uint64_t x = *state;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  *state = x;
  return (uint32_t) ((x * 2685821657736338717u) >> 32);
}

/* ---- samples ---- */

struct work_samples {
  double *v;
  size_t n, max;
};

WORK_UNUSED static void work_add(struct work_samples *s, double value) {
  if (s->n == s->max) {
    s->max = s->max ? 2 * s->max : 1024;
    s->v = realloc(s->v, s->max * sizeof *s->v);
    if (!s->v) work_fail("out of memory");
  }
  s->v[s->n++] = value;
}

static int work_compare(const void *a, const void *b) {
  double x = *(const double *) a, y = *(const double *) b;
  return (x > y) - (x < y);
}

/* Of sorted samples. */
static double work_quantile(const struct work_samples *s, double q) {
  size_t i = (size_t) (q * (double) s->n);
  return s->v[i < s->n ? i : s->n - 1];
}

WORK_UNUSED static double work_median(struct work_samples *s) {
  if (s->n == 0) return 0;
  qsort(s->v, s->n, sizeof *s->v, work_compare);
  return work_quantile(s, 0.5);
}

/* <prefix>_p50, _p99, _max and _curve, when there are samples; unit is what
 * they are divided by. */
WORK_UNUSED static void work_print_samples(const char *prefix,
                                           struct work_samples *s,
                                           double unit) {
  if (s->n == 0) return;
  qsort(s->v, s->n, sizeof *s->v, work_compare);
  printf("%s_p50=%.6g\n", prefix, work_quantile(s, 0.50) / unit);
  printf("%s_p99=%.6g\n", prefix, work_quantile(s, 0.99) / unit);
  printf("%s_max=%.6g\n", prefix, work_quantile(s, 1.0) / unit);
  printf("%s_curve=", prefix);
  for (double share = 1; share * (double) s->n >= 0.5; share *= 0.7)
    printf("%.6g:%.4g,", work_quantile(s, 1 - share) / unit, share);
  putchar('\n');
}

#endif /* BENCH_WORK_H */

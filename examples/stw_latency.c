/* stw_latency.c - how long stopping the world takes beside every sort of loop.
 *
 * --loops goroutines run the loop --kind while main collects again and again
 * over a live heap of --live-mib, for --seconds.  Reported are the two
 * durations that the library measures for every stop: time to stop (request
 * until the last thread has stopped) and pause (request until the world runs
 * again; it contains the mark phase, so it grows with --live-mib).
 */
#include "cli.h"
#include "loops.h"
#include "pauses.h"

#define MIB ((size_t) 1 << 20)
#define NODE_BYTES 64

static struct {
  long procs, loops, live_mib, seconds, interval_us;
  const char *kind;
  bool json;
} opt = {
    .procs = 2, .loops = 2, .seconds = 3, .interval_us = 1000, .kind = "empty"};

static const struct cli_option options[] = {
    {"procs", CLI_NUMBER, &opt.procs, 1, 1024, "number of Ps (2)"},
    {"loops", CLI_NUMBER, &opt.loops, 0, 1024, "loops beside main (2)"},
    {"live-mib", CLI_NUMBER, &opt.live_mib, 0, 65536, "live heap, MiB (0)"},
    {"seconds", CLI_NUMBER, &opt.seconds, 1, 3600, "duration (3)"},
    {"interval-us", CLI_NUMBER, &opt.interval_us, 0, 10000000,
     "sleep between collections (1000)"},
    {"kind", CLI_WORD, &opt.kind, 0, 0,
     "empty leaf calls avx512 memset qsort read syscall"},
    {"json", CLI_FLAG, &opt.json, 0, 0, "print JSON"},
};

static struct pauses to_stop, world_pause;
static struct mpg_gc_stats stats = {.size = sizeof(stats)};
static int failed; /* negative errno */

struct node {
  struct node *left, *right;
  char payload[NODE_BYTES - 2 * sizeof(struct node *)];
};

/* A balanced tree of n nodes; NULL when memory is exhausted. */
static struct node *tree_new(size_t n) {
  if (n == 0) return NULL;
  struct node *t = mpg_alloc(sizeof(*t));
  if (!t) return NULL;
  t->left = tree_new((n - 1) / 2);
  t->right = tree_new(n - 1 - (n - 1) / 2);
  return t;
}

static size_t tree_count(const struct node *t) {
  return t ? 1 + tree_count(t->left) + tree_count(t->right) : 0;
}

static void measure(void) {
  int64_t end = mpg_now() + opt.seconds * 1000000000;
  mpg_metric_reset(MPG_METRIC_TIME_TO_STOP);
  mpg_metric_reset(MPG_METRIC_PAUSE);
  do {
    mpg_gc();
    mpg_sleep(opt.interval_us * 1000);
  } while (mpg_now() < end);
  failed = pauses_read(MPG_METRIC_TIME_TO_STOP, &to_stop);
  if (failed == 0) failed = pauses_read(MPG_METRIC_PAUSE, &world_pause);
  if (failed == 0) failed = mpg_gc_stats_read(&stats);
}

static void start(void *arg) {
  const struct loop_kind *kind = arg;
  size_t nodes = (size_t) opt.live_mib * MIB / NODE_BYTES;
  struct node *live = tree_new(nodes);
  for (int i = 0; i < opt.loops && failed == 0; i++)
    failed = mpg_go(kind->fn, NULL);
  while (failed == 0 && atomic_load(&loops_started) < opt.loops)
    mpg_sleep(100000);
  if (failed == 0) measure();
  loops_close((int) opt.loops);
  if (failed == 0 && tree_count(live) != nodes) failed = -ENOMEM;
}

static void report_text(void) {
  printf("kind %s, %ld loops, %ld Ps, %ld MiB live, %llu collections\n",
         opt.kind, opt.loops, opt.procs, opt.live_mib,
         (unsigned long long) stats.cycles);
  pauses_line(stdout, "time to stop", &to_stop);
  pauses_histogram(stdout, &to_stop);
  pauses_line(stdout, "pause", &world_pause);
  pauses_histogram(stdout, &world_pause);
}

static void report_json(void) {
  printf("{\"kind\":\"%s\",\"loops\":%ld,\"procs\":%ld,\"live_mib\":%ld,",
         opt.kind, opt.loops, opt.procs, opt.live_mib);
  printf("\"collections\":%llu,", (unsigned long long) stats.cycles);
  pauses_json(stdout, "time_to_stop", &to_stop);
  putchar(',');
  pauses_json(stdout, "pause", &world_pause);
  puts("}");
}

static void set_procs_and_start(void *kind) {
  mpg_gomaxprocs((int) opt.procs);
  start(kind);
}

int main(int argc, char **argv) {
  const struct cli cli = {"stw_latency", "", options,
                          sizeof(options) / sizeof(options[0]), NULL};
  int go = cli_parse(&cli, argc, argv);
  if (go <= 0) return go == 0 ? 0 : 2;
  const struct loop_kind *kind = loops_find(opt.kind);
  if (!kind) return cli_wrong(&cli, "no such kind", opt.kind), 2;
  if (!loops_usable(kind))
    return cli_wrong(&cli, "this CPU can't run", opt.kind), 2;
  int e = loops_open();
  if (e == 0) e = mpg_run(set_procs_and_start, (void *) kind);
  if (e == 0) e = failed;
  if (e != 0) return fprintf(stderr, "stw_latency: %s\n", strerror(-e)), 1;
  if (to_stop.count == 0 || world_pause.count == 0)
    return fprintf(stderr, "stw_latency: no pause was measured\n"), 1;
  if (opt.json)
    report_json();
  else
    report_text();
  pauses_free(&to_stop);
  pauses_free(&world_pause);
  return 0;
}

/* build.c - build the table with goroutines, while others hold every P.
 *
 * A run: start one tight loop for each P, find the files, let the workers
 * fill the table, compare; then, for some rounds, drop every second part
 * (the only reference to it: the collector reclaims all of it), rebuild it,
 * and compare again.  A progress line is written several times a second by a
 * goroutine of its own: that it appears at all shows that sleeping goroutines
 * get a P beside the loops.
 */
#include <mpg.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "../loops.h"
#include "indexer.h"

#define PROGRESS_NS 200000000

static struct part *parts[PARTS]; /* the table; a root because it is global */
static struct files files;

static struct {
  mpg_chan *jobs;        /* of uint32_t: file numbers */
  mpg_waitgroup pending; /* jobs not done yet */
  _Atomic int error;
  _Atomic uint64_t done, of; /* jobs: for the progress line */
  _Atomic uint64_t bytes, words, unreadable;
  _Atomic bool quit;
  const char *_Atomic phase;
} work;

static size_t part_of(size_t file) { return file * PARTS / files.n; }

static void work_failed(int error) {
  int none = 0;
  atomic_compare_exchange_strong(&work.error, &none, error);
}

/* ---- workers ---- */

static void index_file(uint32_t i) {
  char *text;
  size_t bytes;
  int e = file_read(files.path[i], &text, &bytes);
  if (e == -ENOMEM || e == -EMFILE || e == -ENFILE) return work_failed(e);
  if (e != 0) {
    atomic_fetch_add(&work.unreadable, 1);
    return;
  }
  int64_t n = part_add(parts[part_of(i)], i, text, bytes);
  if (n < 0) return work_failed((int) n);
  atomic_fetch_add(&work.bytes, bytes);
  atomic_fetch_add(&work.words, (uint64_t) n);
}

static void worker(void *arg) {
  (void) arg;
  for (uint32_t i; mpg_chan_recv(work.jobs, &i);) {
    index_file(i);
    atomic_fetch_add(&work.done, 1);
    mpg_waitgroup_done(&work.pending);
  }
}

/* Index files [lo, hi) into their parts, which exist. */
static void index_files(size_t lo, size_t hi) {
  mpg_waitgroup_add(&work.pending, (int) (hi - lo));
  for (size_t i = lo; i < hi; i++) {
    uint32_t job = (uint32_t) i;
    mpg_chan_send(work.jobs, &job);
  }
  mpg_waitgroup_wait(&work.pending);
}

/* ---- comparing ---- */

static bool compare_entry(void *arg, const struct entry *e) {
  (void) arg;
  uint64_t sum = 0, n = 0;
  for (const struct block *b = e->blocks; b; b = b->next) {
    n += b->used;
    for (uint32_t i = 0; i < b->used; i++)
      sum += place_sum(b->places[i].file, b->places[i].line);
  }
  if (n != e->count) {
    fprintf(stderr, "indexer: \"%s\" has %llu places in its list, not %llu\n",
            e->word, (unsigned long long) n, (unsigned long long) e->count);
    return false;
  }
  return reference_see(e->word, e->bytes, e->count, sum);
}

static bool compare_all(void) {
  atomic_store(&work.phase, "compare");
  reference_begin();
  for (int i = 0; i < PARTS; i++)
    if (!part_each(parts[i], compare_entry, NULL)) return false;
  return reference_end();
}

static bool compare_paths(void) {
  for (size_t i = 0; i < files.n; i++)
    if (!reference_same_path(i, files.path[i])) return false;
  if (files.n == reference_files()) return true;
  fprintf(stderr, "indexer: %zu files, expected %llu\n", files.n,
          (unsigned long long) reference_files());
  return false;
}

/* ---- phases ---- */

static int build_all(void) {
  atomic_store(&work.phase, "build");
  atomic_store(&work.done, 0);
  atomic_store(&work.of, files.n);
  for (int i = 0; i < PARTS; i++)
    if (!(parts[i] = part_new())) return -ENOMEM;
  index_files(0, files.n);
  mpg_gc();
  return atomic_load(&work.error);
}

static int rebuild_part(size_t k) {
  size_t lo = 0, hi;
  while (lo < files.n && part_of(lo) < k) lo++;
  for (hi = lo; hi < files.n && part_of(hi) == k;) hi++;
  atomic_store(&work.done, 0);
  atomic_store(&work.of, hi - lo);
  parts[k] = NULL; /* all of it is garbage now */
  mpg_gc();
  if (!(parts[k] = part_new())) return -ENOMEM;
  index_files(lo, hi);
  return atomic_load(&work.error);
}

/* Rebuild every second part, rounds times, while time is left. */
static int rebuild_some(struct run *run, int64_t deadline) {
  atomic_store(&work.phase, "rebuild");
  for (long round = 0; round < settings.rounds; round++)
    for (size_t k = (size_t) round % 2; k < PARTS; k += 2) {
      if (mpg_now() > deadline && run->parts_rebuilt > 0) return 0;
      int e = rebuild_part(k);
      if (e != 0) return e;
      run->parts_rebuilt++;
    }
  return 0;
}

/* ---- progress ---- */

static void progress_line(const char *end) {
  struct mpg_gc_stats s = {.size = sizeof(s)};
  mpg_gc_stats_read(&s);
  fprintf(stderr,
          "%-8s %6llu/%llu files %5llu MiB read %5llu MiB live %4llu "
          "collections%s",
          atomic_load(&work.phase), (unsigned long long) work.done,
          (unsigned long long) work.of, (unsigned long long) (work.bytes >> 20),
          (unsigned long long) (s.heap_live >> 20),
          (unsigned long long) s.cycles, end);
}

/* A terminal gets one line that changes, a file a line a second. */
static void progress(void *arg) {
  (void) arg;
  bool terminal = isatty(2);
  for (int tick = 0; !atomic_load(&work.quit); tick++) {
    if (terminal || tick % 5 == 0) progress_line(terminal ? "   \r" : "\n");
    mpg_sleep(PROGRESS_NS);
  }
}

/* ---- a run ---- */

static int start_loops(const struct run *run) {
  static const mpg_func kinds[] = {loop_empty, loop_leaf, loop_calls,
                                   loop_avx512};
  int nkinds = loops_have_avx512() ? 4 : 3, e = 0;
  for (int i = 0; i < run->loops && e == 0; i++)
    e = mpg_go(kinds[i % nkinds], NULL);
  if (e == 0 && !settings.quiet) e = mpg_go(progress, NULL);
  /* The work begins when every loop does: before, a P could be free. */
  while (e == 0 && atomic_load(&loops_started) < run->loops) mpg_yield();
  return e;
}

static void work_reset(void) {
  memset(parts, 0, sizeof(parts));
  memset(&work, 0, sizeof(work));
  atomic_store(&work.phase, "find");
}

/* Room for all jobs: who feeds the workers never waits behind the loops. */
static int start_workers(const struct run *run) {
  work.jobs = mpg_chan_new(sizeof(uint32_t), files.n);
  int e = work.jobs ? 0 : -ENOMEM;
  for (int i = 0; i < run->workers && e == 0; i++) e = mpg_go(worker, NULL);
  return e;
}

static void count_table(struct run *run, uint64_t unreadable) {
  run->files = files.n;
  run->unreadable = unreadable;
  run->words = reference_words(); /* equal: compared */
  run->distinct = reference_distinct();
}

static int build_and_rebuild(struct run *run) {
  int64_t begin = mpg_now();
  int e = build_all();
  if (e != 0) return e;
  int64_t built = mpg_now();
  run->bytes = atomic_load(&work.bytes);
  uint64_t unreadable = atomic_load(&work.unreadable);
  run->build_seconds = (double) (built - begin) / 1e9;
  if (!compare_all()) return -EBADMSG;
  int64_t compared = mpg_now();
  e = rebuild_some(run, compared + settings.seconds * 1000000000);
  if (e != 0) return e;
  run->seconds = (double) (mpg_now() - compared + built - begin) / 1e9;
  run->bytes_read = atomic_load(&work.bytes);
  if (!compare_all()) return -EBADMSG;
  count_table(run, unreadable);
  return 0;
}

static void stats_subtract(struct mpg_gc_stats *s,
                           const struct mpg_gc_stats *before) {
  s->cycles -= before->cycles;
  s->total_alloc_bytes -= before->total_alloc_bytes;
  s->total_alloc_objects -= before->total_alloc_objects;
  s->freed_objects -= before->freed_objects;
  s->pause_total_ns -= before->pause_total_ns;
  s->mark_cpu_ns -= before->mark_cpu_ns;
}

static int measure(struct run *run, const struct mpg_gc_stats *before) {
  int e = mpg_gc_stats_read(&run->stats);
  if (e == 0) e = pauses_read(MPG_METRIC_TIME_TO_STOP, &run->to_stop);
  if (e == 0) e = pauses_read(MPG_METRIC_PAUSE, &run->stopped);
  if (e != 0) return e;
  stats_subtract(&run->stats, before);
  if (run->to_stop.count == 0 || run->stopped.max == 0) {
    fprintf(stderr, "indexer: no pause was measured\n");
    return -ENODATA;
  }
  return 0;
}

int build_run(int procs, struct run *run) {
  struct mpg_gc_stats before = {.size = sizeof(before)};
  mpg_gomaxprocs(procs);
  run->procs = procs;
  run->loops = settings.loops < 0 ? procs : (int) settings.loops;
  run->workers = settings.workers ? (int) settings.workers : 8 * procs;
  run->stats.size = sizeof(run->stats);
  work_reset();
  int e = loops_open();
  if (e == 0) e = mpg_gc_stats_read(&before);
  mpg_metric_reset(MPG_METRIC_TIME_TO_STOP);
  mpg_metric_reset(MPG_METRIC_PAUSE);
  if (e == 0) e = start_loops(run);
  if (e == 0) e = files_find(settings.folder, &files);
  if (e == 0 && files.n == 0) e = -ENOENT;
  if (e == 0 && !compare_paths()) e = -EBADMSG;
  if (e == 0) e = start_workers(run);
  if (e == 0) e = build_and_rebuild(run);
  if (e == 0) e = measure(run, &before);
  if (work.jobs) mpg_chan_close(work.jobs);
  loops_close(0);
  atomic_store(&work.quit, true);
  if (!settings.quiet && isatty(2)) fputc('\n', stderr);
  return e;
}

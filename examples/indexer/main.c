/* main.c - the indexer: options, one run for each number of Ps, exit status.
 *
 * The first run takes all files.  Where it shows that the others would exceed
 * the limit (a slow or a busy machine), they take fewer, evenly spread, and
 * the report says how many.
 *
 * Exit status: 0 counts are right and pauses were measured; 1 not so, or the
 * files can't be read; 2 a mistake in the options.
 */
#include <mpg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "indexer.h"

struct settings settings = {.procs = {3, {2, 1, 8}},
                            .loops = -1,
                            .rounds = 1,
                            .seconds = 4,
                            .limit = 36};

static const struct cli_option options[] = {
    {"procs", CLI_LIST, &settings.procs, 1, 256, "Ps of each run (2,1,8)"},
    {"loops", CLI_NUMBER, &settings.loops, 0, 1024,
     "tight loops (one for each P)"},
    {"workers", CLI_NUMBER, &settings.workers, 1, 65536,
     "indexing goroutines (eight for each P)"},
    {"rounds", CLI_NUMBER, &settings.rounds, 0, 1000,
     "times half of the table is dropped and rebuilt (1)"},
    {"seconds", CLI_NUMBER, &settings.seconds, 0, 3600,
     "no new part is rebuilt this long after the first (4)"},
    {"files", CLI_NUMBER, &settings.files, 0, 1000000000,
     "use only so many files, evenly spread (0: all)"},
    {"limit", CLI_NUMBER, &settings.limit, 0, 86400,
     "seconds for everything: later runs take fewer files (36; 0: none)"},
    {"json", CLI_FLAG, &settings.json, 0, 0, "report as JSON"},
    {"quiet", CLI_FLAG, &settings.quiet, 0, 0, "no progress on stderr"},
};

#define FILES_MIN 100

struct job {
  int procs, error;
  struct run run;
};

static void run_one(void *arg) {
  struct job *job = arg;
  job->error = build_run(job->procs, &job->run);
}

/* Returns: whether the run was right. */
static bool run_and_report(int procs, bool first) {
  static struct job job;
  memset(&job, 0, sizeof(job));
  job.procs = procs;
  if (!settings.quiet) fprintf(stderr, "---- %d Ps\n", procs);
  int e = mpg_run(run_one, &job);
  if (e == 0) e = job.error;
  if (e != 0) {
    fprintf(stderr, "indexer: run with %d Ps: %s\n", procs, strerror(-e));
    return false;
  }
  if (settings.json)
    report_json_run(&job.run, first);
  else
    report_run(&job.run);
  fflush(stdout);
  pauses_free(&job.run.to_stop);
  pauses_free(&job.run.stopped);
  return true;
}

/* The folder's real path, so that both counts see the same names.  NULL: it
 * isn't one. */
static const char *folder_path(const char *path) {
  struct stat st;
  if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return NULL;
  return realpath(path, NULL);
}

static void count_reference(void) {
  if (!settings.quiet) fprintf(stderr, "---- reference count, no mpg\n");
  reference_forget();
  int e = reference_count(settings.folder, settings.files);
  if (e == 0 && reference_files() > 0) return;
  fprintf(stderr, "indexer: %s: %s\n", settings.folder,
          e ? strerror(-e) : "no files");
  exit(1);
}

static double cpus_used(long procs) {
  long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  return (double) (procs < cpus ? procs : cpus);
}

/* How long the runs left take for all files, in first runs. */
static double rest_in_firsts(void) {
  double sum = 0, first = cpus_used(settings.procs.v[0]);
  for (int i = 1; i < settings.procs.n; i++)
    sum += first / cpus_used(settings.procs.v[i]);
  return sum;
}

/* The number of files for each of the runs left, all of which are to end at
 * deadline, when the first run took first_ns for all. */
static long files_for_rest(int64_t deadline, int64_t first_ns) {
  int64_t all = (int64_t) reference_files(), each = deadline - mpg_now();
  each = each > 0 ? (int64_t) ((double) each / rest_in_firsts()) : 0;
  if (settings.limit == 0 || first_ns <= each) return (long) all;
  int64_t n = (int64_t) ((double) all * (double) each / (double) first_ns);
  return n > FILES_MIN ? n : all < FILES_MIN ? all : FILES_MIN;
}

static bool run_all(void) {
  int64_t begin = mpg_now(), deadline = begin + settings.limit * 1000000000;
  count_reference();
  bool ok = run_and_report((int) settings.procs.v[0], true);
  long all = (long) reference_files();
  if (settings.procs.n > 1) {
    settings.files = files_for_rest(deadline, mpg_now() - begin);
    if (settings.files < all) count_reference();
  }
  for (int i = 1; i < settings.procs.n; i++)
    ok = run_and_report((int) settings.procs.v[i], false) && ok;
  return ok;
}

int main(int argc, char **argv) {
  const struct cli cli = {"indexer", " [folder]", options,
                          sizeof(options) / sizeof(options[0]),
                          &settings.folder};
  int go = cli_parse(&cli, argc, argv);
  if (go <= 0) return go == 0 ? 0 : 2;
  const char *given = settings.folder ? settings.folder : "/usr/include";
  settings.folder = folder_path(given);
  if (!settings.folder) return cli_wrong(&cli, "not a folder", given), 2;
  if (settings.json) report_json_begin();
  bool ok = run_all();
  if (settings.json) report_json_end(ok);
  return ok ? 0 : 1;
}

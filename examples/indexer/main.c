/* main.c - the indexer: options, one run for each number of Ps, exit status.
 *
 * Exit status: 0 counts are right and pauses were measured; 1 not so, or the
 * files can't be read; 2 a mistake in the options.
 */
#include <mpg.h>
#include <string.h>
#include <sys/stat.h>

#include "indexer.h"

struct settings settings = {
    .procs = {3, {1, 2, 8}}, .loops = -1, .rounds = 1, .seconds = 4};

static const struct cli_option options[] = {
    {"procs", CLI_LIST, &settings.procs, 1, 256, "Ps of each run (1,2,8)"},
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
    {"json", CLI_FLAG, &settings.json, 0, 0, "report as JSON"},
    {"quiet", CLI_FLAG, &settings.quiet, 0, 0, "no progress on stderr"},
};

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
  int e = reference_count(settings.folder, settings.files);
  if (e == 0 && reference_files() > 0) return;
  fprintf(stderr, "indexer: %s: %s\n", settings.folder,
          e ? strerror(-e) : "no files");
  exit(1);
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
  count_reference();
  if (settings.json) report_json_begin();
  bool ok = true;
  for (int i = 0; i < settings.procs.n; i++)
    ok = run_and_report((int) settings.procs.v[i], i == 0) && ok;
  if (settings.json) report_json_end(ok);
  return ok ? 0 : 1;
}

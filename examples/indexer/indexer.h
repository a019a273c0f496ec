/* indexer.h - a concurrent word indexer whose memory is garbage collected.
 *
 *   main.c       options; one run for each number of Ps; exit status
 *   files.c      find and read files with goroutines
 *   table.c      word -> places, all of it in mpg_alloc memory
 *   build.c      workers, tight loops, progress; drop and rebuild parts
 *   reference.c  the same count without mpg, for comparison
 *   report.c     text and JSON
 *
 * A word is a maximal run of letters, digits and underscores; a place is the
 * number of a file and of a line in it.  Files are numbered in the order of
 * their paths.
 */
#ifndef INDEXER_H
#define INDEXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../cli.h"
#include "../pauses.h"

#define PARTS 8   /* of the table, each a range of files */
#define SHARDS 64 /* of a part, each with its own lock */

struct settings {
  const char *folder;
  struct cli_list procs;
  long loops;   /* tight loops; -1: as many as Ps */
  long workers; /* 0: eight for each P */
  long rounds, files, seconds, limit;
  bool json, quiet;
};
extern struct settings settings;

/* What one run measured. */
struct run {
  int procs, loops, workers;
  uint64_t files, unreadable, bytes, words, distinct; /* of the whole table */
  uint64_t parts_rebuilt, bytes_read;
  double build_seconds, seconds; /* first build; all, without comparing */
  struct mpg_gc_stats stats;     /* differences over the run */
  struct pauses to_stop, stopped;
};

/* ---- files.c ---- */
struct files {
  char **path; /* sorted; path[i] is file i */
  size_t n;
};
/* Every regular file below folder, at most settings.files of them.  Returns:
 * 0 or a negative errno. */
int files_find(const char *folder, struct files *out);
/* The whole file in mpg_alloc_noscan memory.  Returns: 0 or a negative
 * errno. */
int file_read(const char *path, char **text, size_t *bytes);

/* ---- table.c ---- */
struct place {
  uint32_t file, line;
};
struct block { /* places of a word, the newest block first */
  struct block *next;
  struct place *places;
  uint32_t used, cap;
};
struct entry {
  struct entry *next; /* of the same slot */
  char *word;
  uint32_t bytes, hash;
  uint64_t count; /* places in all blocks */
  struct block *blocks;
};
struct part;
struct part *part_new(void); /* NULL: out of memory */
/* Add a file's words.  Goroutines may do so at the same time.  Returns: the
 * number of places added, or -ENOMEM. */
int64_t part_add(struct part *p, uint32_t file, const char *text, size_t bytes);
/* Visit every entry; stops when visit returns false. */
bool part_each(const struct part *p,
               bool (*visit)(void *arg, const struct entry *e), void *arg);

/* ---- build.c ---- */
/* Index on the calling goroutine's runtime with procs Ps and compare with
 * the reference.  Returns: 0 or a negative errno, reported on stderr. */
int build_run(int procs, struct run *run);

/* ---- reference.c: no mpg in there ---- */
int reference_count(const char *folder, long max_files);
void reference_forget(void);
uint64_t reference_found(void); /* files there are; counted are: */
uint64_t reference_files(void), reference_words(void);
uint64_t reference_distinct(void);
/* Compare the table with the reference: begin, each word of each part, end.
 * Returns: false after reporting the first difference on stderr. */
void reference_begin(void);
bool reference_see(const char *word, size_t bytes, uint64_t count,
                   uint64_t places_sum);
bool reference_end(void);
bool reference_same_path(size_t i, const char *path);
/* What both sides add up over the places of a word: catches places that were
 * lost, doubled or overwritten. */
static inline uint64_t place_sum(uint32_t file, uint32_t line) {
  uint64_t x = ((uint64_t) file << 32 | line) + 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  return x ^ (x >> 31);
}

/* ---- report.c ---- */
void report_run(const struct run *run);
void report_json_begin(void);
void report_json_run(const struct run *run, bool first);
void report_json_end(bool ok);

#endif /* INDEXER_H */

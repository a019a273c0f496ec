/* report.c - what a run measured, for people and as JSON. */
#include "indexer.h"

#define MIB (1024.0 * 1024.0)
typedef unsigned long long ull;

void report_run(const struct run *r) {
  const struct mpg_gc_stats *s = &r->stats;
  printf("\n%d Ps, %d tight loops, %d workers: counts are right\n", r->procs,
         r->loops, r->workers);
  printf(
      "  files        %llu of %llu (%llu unreadable), %.1f MiB; words %llu, "
      "distinct %llu\n",
      (ull) r->files, (ull) reference_found(), (ull) r->unreadable,
      (double) r->bytes / MIB, (ull) r->words, (ull) r->distinct);
  printf(
      "  time         build %.2f s, with %llu parts rebuilt %.2f s: "
      "%.1f MiB/s\n",
      r->build_seconds, (ull) r->parts_rebuilt, r->seconds,
      (double) r->bytes_read / MIB / r->seconds);
  printf("  allocated    %.1f MiB in %llu objects: %.1f MiB/s\n",
         (double) s->total_alloc_bytes / MIB, (ull) s->total_alloc_objects,
         (double) s->total_alloc_bytes / MIB / r->seconds);
  printf("  collections  %llu, freed %llu objects, live %.1f MiB\n",
         (ull) s->cycles, (ull) s->freed_objects, (double) s->heap_live / MIB);
  pauses_line(stdout, "  time to stop", &r->to_stop);
  pauses_line(stdout, "  pause", &r->stopped);
  pauses_histogram(stdout, &r->stopped);
}

void report_json_begin(void) {
  printf("{\"folder\":\"");
  for (const char *c = settings.folder; *c; c++)
    if ((unsigned char) *c < ' ')
      printf("\\u%04x", (unsigned) *c);
    else
      printf(*c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
  printf("\",\"runs\":[");
}

void report_json_run(const struct run *r, bool first) {
  const struct mpg_gc_stats *s = &r->stats;
  printf("%s\n{\"procs\":%d,\"loops\":%d,\"workers\":%d,", first ? "" : ",",
         r->procs, r->loops, r->workers);
  printf(
      "\"found\":%llu,\"files\":%llu,\"unreadable\":%llu,\"bytes\":%llu,"
      "\"words\":%llu,"
      "\"distinct\":%llu,",
      (ull) reference_found(), (ull) r->files, (ull) r->unreadable,
      (ull) r->bytes, (ull) r->words, (ull) r->distinct);
  printf(
      "\"build_seconds\":%.3f,\"seconds\":%.3f,\"parts_rebuilt\":%llu,"
      "\"bytes_read\":%llu,",
      r->build_seconds, r->seconds, (ull) r->parts_rebuilt,
      (ull) r->bytes_read);
  printf(
      "\"alloc_bytes\":%llu,\"alloc_objects\":%llu,"
      "\"alloc_bytes_per_second\":%.0f,",
      (ull) s->total_alloc_bytes, (ull) s->total_alloc_objects,
      (double) s->total_alloc_bytes / r->seconds);
  printf(
      "\"collections\":%llu,\"freed_objects\":%llu,\"heap_live\":%llu,"
      "\"pause_total_ns\":%llu,\"mark_cpu_ns\":%llu,",
      (ull) s->cycles, (ull) s->freed_objects, (ull) s->heap_live,
      (ull) s->pause_total_ns, (ull) s->mark_cpu_ns);
  pauses_json(stdout, "time_to_stop", &r->to_stop);
  putchar(',');
  pauses_json(stdout, "pause", &r->stopped);
  putchar('}');
}

void report_json_end(bool ok) {
  printf("\n],\"ok\":%s}\n", ok ? "true" : "false");
}

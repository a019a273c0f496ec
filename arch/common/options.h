/* options.h - MPG_DEBUG and the other environment variables.
 *
 * One table, options.def, defines every switch; docs/environment.md is made
 * from it.  Read once by mpgi_options_init, at the first mpg_run; a bad value
 * is reported on stderr and the default is used.
 */
#ifndef MPGI_OPTIONS_H
#define MPGI_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include <arch/arch.h>

#define MPGI_PROCS_MAX 1024 /* mpg_gomaxprocs has no more either */

struct mpgi_options {
#define MPGI_OPTION(name, dflt, lo, hi, doc) int64_t name;
#define MPGI_OPTION_NAME(name, doc) int64_t name; /* mpgi_options_hash */
#include <arch/common/options.def>
#undef MPGI_OPTION
#undef MPGI_OPTION_NAME
  int64_t procs;     /* MPG_PROCS; 0 = number of CPUs */
  int64_t gcpercent; /* MPG_GC; -1 = off; default 100 */
  int64_t memlimit;  /* MPG_MEMLIMIT; INT64_MAX = none */
  int64_t traceback; /* MPG_TRACEBACK: enum mpgi_traceback of sched/dump.h */
};
/* Written by mpgi_options_init only; constant afterwards. */
MPGI_HIDDEN extern struct mpgi_options mpgi_opt;
MPGI_HIDDEN void mpgi_options_init(void); /* idempotent, thread-safe */
/* Set every default; read the environment over it (fd: complaints; returns
 * their number).  The steps of mpgi_options_init, for tests. */
MPGI_HIDDEN void mpgi_options_default(struct mpgi_options *opt);
MPGI_HIDDEN int mpgi_options_read(struct mpgi_options *opt, int fd);
/* Parse a comma list into opt; unknown names and bad values are printed to
 * fd; returns their number. */
MPGI_HIDDEN int mpgi_options_parse(struct mpgi_options *opt, const char *list,
                                   int fd);
/* What stands for the name in [text, text + bytes), continued from hash (0: its
 * beginning); not 0. */
MPGI_HIDDEN int64_t mpgi_options_hash(int64_t hash, const char *text,
                                      size_t bytes);

#endif /* MPGI_OPTIONS_H */

/* cli.h - command-line options of the example programs.
 *
 * Options are a table: "--name value" or "--name=value" for numbers, number
 * lists and words, "--name" for flags.  Everything is checked before the
 * runtime starts; a mistake prints one line that says what is wrong.
 */
#ifndef EXAMPLES_CLI_H
#define EXAMPLES_CLI_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum cli_kind { CLI_NUMBER, CLI_LIST, CLI_WORD, CLI_FLAG };

#define CLI_LIST_MAX 16
struct cli_list {
  int n;
  long v[CLI_LIST_MAX];
};

struct cli_option {
  const char *name;
  enum cli_kind kind;
  void *out;   /* long *, struct cli_list *, const char **, bool * */
  long lo, hi; /* allowed range of numbers */
  const char *help;
};

struct cli {
  const char *program, *usage; /* usage: what follows the options */
  const struct cli_option *options;
  int n;
  const char **positional; /* at most one argument; NULL: none allowed */
};

static inline void cli_help(const struct cli *cli) {
  printf("usage: %s [options]%s\n", cli->program, cli->usage);
  for (int i = 0; i < cli->n; i++)
    printf("  --%-12s %s\n", cli->options[i].name, cli->options[i].help);
}

static inline int cli_wrong(const struct cli *cli, const char *what,
                            const char *which) {
  fprintf(stderr, "%s: %s: %s (try --help)\n", cli->program, what, which);
  return -1;
}

/* One number in [lo, hi] that ends at a character of ends. */
static inline bool cli_number(const char **text, const char *ends, long lo,
                              long hi, long *out) {
  char *end;
  errno = 0;
  long v = strtol(*text, &end, 10);
  if (end == *text || errno == ERANGE || v < lo || v > hi) return false;
  if (*end != '\0' && !strchr(ends, *end)) return false;
  *out = v;
  *text = end;
  return true;
}

static inline bool cli_list_parse(const struct cli_option *o,
                                  const char *text) {
  struct cli_list *list = o->out;
  for (list->n = 0; list->n < CLI_LIST_MAX;) {
    if (!cli_number(&text, ",", o->lo, o->hi, &list->v[list->n])) return false;
    list->n++;
    if (*text++ == '\0') return true;
  }
  return false;
}

static inline bool cli_value(const struct cli *cli, const struct cli_option *o,
                             const char *text) {
  bool ok = true;
  if (o->kind == CLI_NUMBER)
    ok = cli_number(&text, "", o->lo, o->hi, o->out);
  else if (o->kind == CLI_LIST)
    ok = cli_list_parse(o, text);
  else
    *(const char **) o->out = text;
  if (!ok)
    fprintf(stderr, "%s: --%s wants a number in [%ld, %ld], not \"%s\"\n",
            cli->program, o->name, o->lo, o->hi, text);
  return ok;
}

static inline const struct cli_option *cli_find(const struct cli *cli,
                                                const char *arg) {
  size_t n = strcspn(arg, "=");
  for (int i = 0; i < cli->n; i++)
    if (strlen(cli->options[i].name) == n &&
        memcmp(cli->options[i].name, arg, n) == 0)
      return &cli->options[i];
  return NULL;
}

/* Parse argv into the table's outputs.  Returns: 1 go on; 0 help was shown;
 * -1 a mistake was reported. */
static inline int cli_parse(const struct cli *cli, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *arg = argv[i];
    if (strcmp(arg, "--help") == 0) return cli_help(cli), 0;
    if (strncmp(arg, "--", 2) != 0) {
      if (!cli->positional || *cli->positional)
        return cli_wrong(cli, "unexpected argument", arg);
      *cli->positional = arg;
      continue;
    }
    const struct cli_option *o = cli_find(cli, arg + 2);
    if (!o) return cli_wrong(cli, "unknown option", arg);
    const char *value = strchr(arg, '=');
    if (o->kind == CLI_FLAG) {
      if (value) return cli_wrong(cli, "takes no value", arg);
      *(bool *) o->out = true;
      continue;
    }
    if (value)
      value++;
    else if (++i < argc)
      value = argv[i];
    else
      return cli_wrong(cli, "value missing", arg);
    if (!cli_value(cli, o, value)) return -1;
  }
  return 1;
}

#endif /* EXAMPLES_CLI_H */

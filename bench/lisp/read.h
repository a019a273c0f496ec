/* read.h - text to values: lists, symbols, numbers, quotes, comments. */
#ifndef BENCH_LISP_READ_H
#define BENCH_LISP_READ_H

#include <ctype.h>

#include "value.h"

static void read_skip(const char **at) {
  for (;;) {
    while (isspace((unsigned char) **at)) ++*at;
    if (**at != ';') return;
    while (**at && **at != '\n') ++*at;
  }
}

static value read_value(struct lisp *l, const char **at);

/* After the opening parenthesis. */
static value read_list(struct lisp *l, const char **at) {
  read_skip(at);
  if (**at == '\0') work_fail("a list doesn't end");
  if (**at == ')') {
    ++*at;
    return NULL;
  }
  value first = read_value(l, at);
  return cons(first, read_list(l, at));
}

static value read_atom(struct lisp *l, const char **at) {
  const char *start = *at;
  char *end;
  size_t n = strcspn(start, " \t\n();'");
  *at += n;
  long number_read = strtol(start, &end, 10);
  if (end == start + n) return number(number_read);
  return &symbol(l, start, n)->head;
}

static value read_value(struct lisp *l, const char **at) {
  read_skip(at);
  if (**at == '\0' || **at == ')') work_fail("no value");
  if (**at == '(') {
    ++*at;
    return read_list(l, at);
  }
  if (**at == '\'') {
    ++*at;
    value quoted = read_value(l, at);
    return cons(&symbol_of(l, "quote")->head, cons(quoted, NULL));
  }
  return read_atom(l, at);
}

#endif /* BENCH_LISP_READ_H */

/* value.h - values of the Lisp, all from the collected heap.
 *
 * A value is a number of 62 bits with the lowest bit set, NULL (the empty
 * list), or a pointer to a record that begins with its kind.
 *
 * The includer has defined HEAP_NEW and HEAP_NEW_LEAF (gc_work.h).
 */
#ifndef BENCH_LISP_VALUE_H
#define BENCH_LISP_VALUE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "../work.h"

enum lisp_kind {
  LISP_PAIR,
  LISP_SYMBOL,
  LISP_CLOSURE,
  LISP_PRIMITIVE,
  LISP_CHAN
};

struct lisp;
typedef struct lisp_object *value;
typedef value (*lisp_function)(struct lisp *l, int n, const value *args);

struct lisp_object {
  enum lisp_kind kind;
};

struct lisp_pair {
  struct lisp_object head;
  value car, cdr;
};

struct lisp_symbol {
  struct lisp_object head;
  bool bound;
  value global; /* when bound */
  struct lisp_symbol *next;
  size_t n;
  char name[];
};

/* Variables of a call or let, as many as its code says. */
struct lisp_frame {
  struct lisp_frame *up;
  value slot[];
};

struct lisp_closure {
  struct lisp_object head;
  const struct lisp_node *lambda; /* code.h */
  struct lisp_frame *frame;
};

struct lisp_primitive {
  struct lisp_object head;
  int n; /* arguments; < 0: any number */
  lisp_function fn;
};

struct lisp_channel {
  struct lisp_object head;
  void *chan; /* task_chan of the includer */
};

/* An interpreter: its symbols. */
struct lisp {
  struct lisp_symbol *symbols;
  value t;
};

static void *lisp_alloc(size_t bytes) {
  void *p = HEAP_NEW(bytes);
  if (!p) work_fail("out of memory");
  return p;
}

static bool is_number(value v) { return (uintptr_t) v & 1; }
static int64_t to_number(value v) { return (intptr_t) v >> 1; }
static value number(int64_t n) { return (value) (uintptr_t) (n * 2 + 1); }

static bool is_kind(value v, enum lisp_kind kind) {
  return v && !is_number(v) && v->kind == kind;
}

static struct lisp_pair *to_pair(value v) {
  if (!is_kind(v, LISP_PAIR)) work_fail("not a pair");
  return (struct lisp_pair *) v;
}
static value car(value v) { return to_pair(v)->car; }
static value cdr(value v) { return to_pair(v)->cdr; }

static value cons(value first, value rest) {
  struct lisp_pair *p = lisp_alloc(sizeof *p);
  *p = (struct lisp_pair){{LISP_PAIR}, first, rest};
  return &p->head;
}

/* The symbol of that name, made when it is new. */
static struct lisp_symbol *symbol(struct lisp *l, const char *name, size_t n) {
  struct lisp_symbol *s = l->symbols;
  while (s && !(s->n == n && memcmp(s->name, name, n) == 0)) s = s->next;
  if (s) return s;
  s = lisp_alloc(sizeof *s + n + 1);
  s->head.kind = LISP_SYMBOL;
  s->next = l->symbols;
  s->n = n;
  memcpy(s->name, name, n);
  l->symbols = s;
  return s;
}

static struct lisp_symbol *symbol_of(struct lisp *l, const char *name) {
  return symbol(l, name, strlen(name));
}

static void bind_global(struct lisp_symbol *s, value v) {
  s->bound = true;
  s->global = v;
}

#endif /* BENCH_LISP_VALUE_H */

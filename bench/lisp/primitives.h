/* primitives.h - functions of the Lisp written in C; (spawn thunk), (chan),
 * (send chan value) and (recv chan) are tasks and channels of the includer:
 *
 *   task_start(fn, arg)    run fn(arg) in a task of its own
 *   task_chan_new()        an unbuffered channel of values
 *   task_chan_send(c, v), task_chan_recv(c)
 */
#ifndef BENCH_LISP_PRIMITIVES_H
#define BENCH_LISP_PRIMITIVES_H

#include "eval.h"

#define PRIMITIVE(name) static value name(struct lisp *l, int n, const value *a)

static int64_t number_of(value v) {
  if (!is_number(v)) work_fail("not a number");
  return to_number(v);
}

static value truth(struct lisp *l, bool is) { return is ? l->t : NULL; }

PRIMITIVE(do_add) {
  int64_t sum = 0;
  (void) l;
  for (int i = 0; i < n; i++) sum += number_of(a[i]);
  return number(sum);
}
PRIMITIVE(do_subtract) {
  (void) l;
  if (n == 1) return number(-number_of(a[0]));
  return number(number_of(a[0]) - number_of(a[1]));
}
PRIMITIVE(do_multiply) {
  int64_t product = 1;
  (void) l;
  for (int i = 0; i < n; i++) product *= number_of(a[i]);
  return number(product);
}
PRIMITIVE(do_quotient) {
  (void) l, (void) n;
  if (number_of(a[1]) == 0) work_fail("division by zero");
  return number(number_of(a[0]) / to_number(a[1]));
}
PRIMITIVE(do_remainder) {
  (void) l, (void) n;
  if (number_of(a[1]) == 0) work_fail("division by zero");
  return number(number_of(a[0]) % to_number(a[1]));
}
PRIMITIVE(do_less) {
  (void) n;
  return truth(l, number_of(a[0]) < number_of(a[1]));
}
PRIMITIVE(do_equal) {
  (void) n;
  return truth(l, number_of(a[0]) == number_of(a[1]));
}
PRIMITIVE(do_eq) {
  (void) n;
  return truth(l, a[0] == a[1]);
}
PRIMITIVE(do_not) {
  (void) n;
  return truth(l, !a[0]);
}
PRIMITIVE(do_is_pair) {
  (void) n;
  return truth(l, is_kind(a[0], LISP_PAIR));
}
PRIMITIVE(do_cons) {
  (void) l, (void) n;
  return cons(a[0], a[1]);
}
PRIMITIVE(do_car) {
  (void) l, (void) n;
  return car(a[0]);
}
PRIMITIVE(do_cdr) {
  (void) l, (void) n;
  return cdr(a[0]);
}
PRIMITIVE(do_set_cdr) {
  (void) l, (void) n;
  return to_pair(a[0])->cdr = a[1];
}
PRIMITIVE(do_list) {
  value list = NULL;
  (void) l;
  while (n > 0) list = cons(a[--n], list);
  return list;
}

/* ---- tasks ---- */

struct spawned {
  struct lisp *l;
  value thunk;
};

static void run_spawned(void *arg) {
  const struct spawned *s = arg;
  call_thunk(s->l, s->thunk);
}

PRIMITIVE(do_spawn) {
  struct spawned *s = lisp_alloc(sizeof *s);
  (void) n;
  *s = (struct spawned){l, a[0]};
  task_start(run_spawned, s);
  return NULL;
}

PRIMITIVE(do_chan) {
  struct lisp_channel *c = lisp_alloc(sizeof *c);
  (void) l, (void) n, (void) a;
  *c = (struct lisp_channel){{LISP_CHAN}, task_chan_new()};
  return &c->head;
}

static void *chan_of(value v) {
  if (!is_kind(v, LISP_CHAN)) work_fail("not a channel");
  return ((struct lisp_channel *) v)->chan;
}

PRIMITIVE(do_send) {
  (void) l, (void) n;
  task_chan_send(chan_of(a[0]), a[1]);
  return a[1];
}
PRIMITIVE(do_recv) {
  (void) l, (void) n;
  return task_chan_recv(chan_of(a[0]));
}

static const struct {
  const char *name;
  int n;
  lisp_function fn;
} primitives[] = {
    {"+", -1, do_add},           {"-", -1, do_subtract},
    {"*", -1, do_multiply},      {"quotient", 2, do_quotient},
    {"<", 2, do_less},           {"remainder", 2, do_remainder},
    {"=", 2, do_equal},          {"eq?", 2, do_eq},
    {"not", 1, do_not},          {"null?", 1, do_not},
    {"pair?", 1, do_is_pair},    {"cons", 2, do_cons},
    {"car", 1, do_car},          {"cdr", 1, do_cdr},
    {"set-cdr!", 2, do_set_cdr}, {"list", -1, do_list},
    {"spawn", 1, do_spawn},      {"chan", 0, do_chan},
    {"send", 2, do_send},        {"recv", 1, do_recv},
};

static struct lisp *lisp_new(void) {
  struct lisp *l = lisp_alloc(sizeof *l);
  struct lisp_symbol *t = symbol_of(l, "#t");
  l->t = &t->head;
  bind_global(t, l->t);
  for (size_t i = 0; i < sizeof primitives / sizeof *primitives; i++) {
    struct lisp_primitive *p = lisp_alloc(sizeof *p);
    *p = (struct lisp_primitive){
        {LISP_PRIMITIVE}, primitives[i].n, primitives[i].fn};
    bind_global(symbol_of(l, primitives[i].name), &p->head);
  }
  return l;
}

/* Runs every expression of text.  Returns: the value of the last. */
static value lisp_run(struct lisp *l, const char *text) {
  value v = NULL;
  for (read_skip(&text); *text; read_skip(&text))
    v = eval(l, analyse(l, read_value(l, &text), NULL), NULL);
  return v;
}

#endif /* BENCH_LISP_PRIMITIVES_H */

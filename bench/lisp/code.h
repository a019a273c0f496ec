/* code.h - expressions are analysed once, into nodes: a variable becomes its
 * place (frames up, slot), a special form a node of its own.
 *
 * Special forms: quote if define set! lambda let begin cond and or.
 */
#ifndef BENCH_LISP_CODE_H
#define BENCH_LISP_CODE_H

#include "value.h"

enum node_op {
  NODE_CONSTANT, /* constant */
  NODE_LOCAL,    /* up, slot */
  NODE_GLOBAL,   /* constant: the symbol */
  NODE_SET,      /* up, slot; kid 0 */
  NODE_DEFINE,   /* constant: the symbol; kid 0 */
  NODE_IF,       /* kids 0, 1, 2 */
  NODE_OR,       /* kids */
  NODE_SEQUENCE, /* kids */
  NODE_LAMBDA,   /* kid 0: body; slot: parameters */
  NODE_LET,      /* kid 0: body; others: values */
  NODE_CALL,     /* kid 0: function; others: arguments */
};

struct lisp_node {
  enum node_op op;
  int up, slot, n; /* n: kids */
  value constant;
  struct lisp_node *kid[];
};

/* The variables in sight while code is analysed: lists of symbols. */
struct scope {
  const struct scope *up;
  value names;
};

static struct lisp_node *node_new(enum node_op op, int kids) {
  struct lisp_node *node =
      lisp_alloc(sizeof *node + (size_t) kids * sizeof *node->kid);
  node->op = op;
  node->n = kids;
  return node;
}

static struct lisp_node *analyse(struct lisp *l, value x,
                                 const struct scope *scope);

static int list_length(value list) {
  int n = 0;
  for (; list; list = cdr(list)) n++;
  return n;
}

static struct lisp_node *constant_node(value v) {
  struct lisp_node *node = node_new(NODE_CONSTANT, 0);
  node->constant = v;
  return node;
}

/* Kids from i on are the analysed expressions of the list. */
static void analyse_into(struct lisp *l, struct lisp_node *node, int i,
                         value list, const struct scope *scope) {
  for (; list; list = cdr(list)) node->kid[i++] = analyse(l, car(list), scope);
}

static struct lisp_node *analyse_all(struct lisp *l, enum node_op op,
                                     value list, const struct scope *scope) {
  struct lisp_node *node = node_new(op, list_length(list));
  analyse_into(l, node, 0, list, scope);
  return node;
}

static struct lisp_node *analyse_body(struct lisp *l, value body,
                                      const struct scope *scope) {
  if (body && !cdr(body)) return analyse(l, car(body), scope);
  return analyse_all(l, NODE_SEQUENCE, body, scope);
}

static struct lisp_node *analyse_name(value name, const struct scope *scope) {
  struct lisp_node *node = node_new(NODE_GLOBAL, 1);
  node->constant = name;
  for (; scope; scope = scope->up, node->up++) {
    node->slot = 0;
    for (value n = scope->names; n; n = cdr(n), node->slot++) {
      if (car(n) != name) continue;
      node->op = NODE_LOCAL;
      return node;
    }
  }
  return node;
}

static struct lisp_node *analyse_lambda(struct lisp *l, value names, value body,
                                        const struct scope *scope) {
  struct scope inner = {scope, names};
  struct lisp_node *node = node_new(NODE_LAMBDA, 1);
  node->slot = list_length(names);
  node->kid[0] = analyse_body(l, body, &inner);
  return node;
}

/* (let ((name value) ...) body ...) */
static struct lisp_node *analyse_let(struct lisp *l, value x,
                                     const struct scope *scope) {
  int i = 1;
  struct lisp_node *node = node_new(NODE_LET, 1 + list_length(car(x)));
  value names = NULL, *end = &names;
  for (value b = car(x); b; b = cdr(b)) {
    node->kid[i++] = analyse(l, car(cdr(car(b))), scope);
    *end = cons(car(car(b)), NULL);
    end = &((struct lisp_pair *) *end)->cdr;
  }
  struct scope inner = {scope, names};
  node->kid[0] = analyse_body(l, cdr(x), &inner);
  return node;
}

/* (define name value) or (define (name parameters ...) body ...) */
static struct lisp_node *analyse_define(struct lisp *l, value x,
                                        const struct scope *scope) {
  struct lisp_node *node = node_new(NODE_DEFINE, 1);
  bool function = is_kind(car(x), LISP_PAIR);
  if (scope) work_fail("define isn't at the top");
  node->constant = function ? car(car(x)) : car(x);
  node->kid[0] = function ? analyse_lambda(l, cdr(car(x)), cdr(x), scope)
                          : analyse(l, car(cdr(x)), scope);
  return node;
}

static struct lisp_node *analyse_set(struct lisp *l, value x,
                                     const struct scope *scope) {
  struct lisp_node *node = analyse_name(car(x), scope);
  node->op = node->op == NODE_LOCAL ? NODE_SET : NODE_DEFINE;
  node->kid[0] = analyse(l, car(cdr(x)), scope);
  return node;
}

static struct lisp_node *if_node(struct lisp_node *test, struct lisp_node *yes,
                                 struct lisp_node *no) {
  struct lisp_node *node = node_new(NODE_IF, 3);
  node->kid[0] = test;
  node->kid[1] = yes;
  node->kid[2] = no;
  return node;
}

static struct lisp_node *analyse_if(struct lisp *l, value x,
                                    const struct scope *scope) {
  value no = cdr(cdr(x));
  return if_node(analyse(l, car(x), scope), analyse(l, car(cdr(x)), scope),
                 no ? analyse(l, car(no), scope) : constant_node(NULL));
}

static struct lisp_node *analyse_cond(struct lisp *l, value clauses,
                                      const struct scope *scope) {
  if (!clauses) return constant_node(NULL);
  value clause = car(clauses);
  struct lisp_node *body = analyse_body(l, cdr(clause), scope);
  if (car(clause) == &symbol_of(l, "else")->head) return body;
  return if_node(analyse(l, car(clause), scope), body,
                 analyse_cond(l, cdr(clauses), scope));
}

static struct lisp_node *analyse_and(struct lisp *l, value x,
                                     const struct scope *scope) {
  if (!x) return constant_node(l->t);
  struct lisp_node *first = analyse(l, car(x), scope);
  if (!cdr(x)) return first;
  return if_node(first, analyse_and(l, cdr(x), scope), constant_node(NULL));
}

static struct lisp_node *analyse_or(struct lisp *l, value x,
                                    const struct scope *scope) {
  return analyse_all(l, NODE_OR, x, scope);
}
static struct lisp_node *analyse_begin(struct lisp *l, value x,
                                       const struct scope *scope) {
  return analyse_body(l, x, scope);
}
static struct lisp_node *analyse_quote(struct lisp *l, value x,
                                       const struct scope *scope) {
  (void) l, (void) scope;
  return constant_node(car(x));
}
static struct lisp_node *analyse_function(struct lisp *l, value x,
                                          const struct scope *scope) {
  return analyse_lambda(l, car(x), cdr(x), scope);
}

static const struct {
  const char *name;
  struct lisp_node *(*analyse)(struct lisp *l, value x,
                               const struct scope *scope);
} forms[] = {
    {"quote", analyse_quote},     {"if", analyse_if},
    {"define", analyse_define},   {"set!", analyse_set},
    {"lambda", analyse_function}, {"let", analyse_let},
    {"begin", analyse_begin},     {"cond", analyse_cond},
    {"and", analyse_and},         {"or", analyse_or},
};

static struct lisp_node *analyse(struct lisp *l, value x,
                                 const struct scope *scope) {
  if (is_kind(x, LISP_SYMBOL)) return analyse_name(x, scope);
  if (!is_kind(x, LISP_PAIR)) return constant_node(x);
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
    if (car(x) == &symbol_of(l, forms[i].name)->head)
      return forms[i].analyse(l, cdr(x), scope);
  return analyse_all(l, NODE_CALL, x, scope);
}

#endif /* BENCH_LISP_CODE_H */

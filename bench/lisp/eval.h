/* eval.h - runs analysed code.  Calls in tail position don't deepen the
 * stack, others do: the depth of a Lisp program is that of the C stack.
 */
#ifndef BENCH_LISP_EVAL_H
#define BENCH_LISP_EVAL_H

#include "code.h"

#define ARGUMENTS_MAX 8 /* of a primitive */

static value eval(struct lisp *l, const struct lisp_node *node,
                  struct lisp_frame *frame);

static value *place_of(const struct lisp_node *node, struct lisp_frame *frame) {
  for (int up = node->up; up > 0; up--) frame = frame->up;
  return &frame->slot[node->slot];
}

static value global_of(const struct lisp_node *node) {
  const struct lisp_symbol *s = (const struct lisp_symbol *) node->constant;
  if (!s->bound) {
    fprintf(stderr, "%s: ", s->name);
    work_fail("a name without value");
  }
  return s->global;
}

/* The values of node's kids from 1 on in a new frame. */
static struct lisp_frame *frame_new(struct lisp *l,
                                    const struct lisp_node *node,
                                    struct lisp_frame *up,
                                    struct lisp_frame *here) {
  size_t n = (size_t) node->n - 1;
  struct lisp_frame *f = lisp_alloc(sizeof *f + n * sizeof *f->slot);
  f->up = up;
  for (size_t i = 0; i < n; i++) f->slot[i] = eval(l, node->kid[i + 1], here);
  return f;
}

static value make_closure(const struct lisp_node *lambda,
                          struct lisp_frame *frame) {
  struct lisp_closure *c = lisp_alloc(sizeof *c);
  *c = (struct lisp_closure){{LISP_CLOSURE}, lambda, frame};
  return &c->head;
}

static value call_primitive(struct lisp *l, value f,
                            const struct lisp_node *node,
                            struct lisp_frame *frame) {
  const struct lisp_primitive *p = (const struct lisp_primitive *) f;
  value args[ARGUMENTS_MAX];
  int n = node->n - 1;
  if (!is_kind(f, LISP_PRIMITIVE)) work_fail("not a function");
  if (n > ARGUMENTS_MAX || (p->n >= 0 && p->n != n))
    work_fail("wrong number of arguments");
  for (int i = 0; i < n; i++) args[i] = eval(l, node->kid[i + 1], frame);
  return p->fn(l, n, args);
}

/* All kids but the last, which is returned. */
static const struct lisp_node *eval_first_ones(struct lisp *l,
                                               const struct lisp_node *node,
                                               struct lisp_frame *frame) {
  for (int i = 0; i < node->n - 1; i++) eval(l, node->kid[i], frame);
  return node->kid[node->n - 1];
}

static value eval_or(struct lisp *l, const struct lisp_node *node,
                     struct lisp_frame *frame) {
  value v = NULL;
  for (int i = 0; i < node->n && !v; i++) v = eval(l, node->kid[i], frame);
  return v;
}

static value eval_call(struct lisp *l, const struct lisp_node **node,
                       struct lisp_frame **frame, bool *tail) {
  value f = eval(l, (*node)->kid[0], *frame);
  if (!is_kind(f, LISP_CLOSURE)) return call_primitive(l, f, *node, *frame);
  const struct lisp_closure *c = (const struct lisp_closure *) f;
  if (c->lambda->slot != (*node)->n - 1) work_fail("wrong number of arguments");
  *frame = frame_new(l, *node, c->frame, *frame);
  *node = c->lambda->kid[0];
  *tail = true;
  return NULL;
}

static value eval(struct lisp *l, const struct lisp_node *node,
                  struct lisp_frame *frame) {
  for (;;) {
    bool tail = false;
    value v;
    switch (node->op) {
    case NODE_CONSTANT: return node->constant;
    case NODE_LOCAL: return *place_of(node, frame);
    case NODE_GLOBAL: return global_of(node);
    case NODE_SET: return *place_of(node, frame) = eval(l, node->kid[0], frame);
    case NODE_DEFINE:
      v = eval(l, node->kid[0], frame);
      bind_global((struct lisp_symbol *) node->constant, v);
      return v;
    case NODE_IF:
      node = eval(l, node->kid[0], frame) ? node->kid[1] : node->kid[2];
      break;
    case NODE_OR: return eval_or(l, node, frame);
    case NODE_SEQUENCE: node = eval_first_ones(l, node, frame); break;
    case NODE_LAMBDA: return make_closure(node, frame);
    case NODE_LET:
      frame = frame_new(l, node, frame, frame);
      node = node->kid[0];
      break;
    case NODE_CALL:
      v = eval_call(l, &node, &frame, &tail);
      if (!tail) return v;
      break;
    }
  }
}

/* A closure without parameters. */
static value call_thunk(struct lisp *l, value f) {
  const struct lisp_closure *c = (const struct lisp_closure *) f;
  if (!is_kind(f, LISP_CLOSURE) || c->lambda->slot != 0)
    work_fail("not a function without parameters");
  struct lisp_frame *frame = lisp_alloc(sizeof *frame);
  frame->up = c->frame;
  return eval(l, c->lambda->kid[0], frame);
}

#endif /* BENCH_LISP_EVAL_H */

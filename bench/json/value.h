/* value.h - JSON values, every node, array and text from the collected heap
 * (or from malloc: then json_drop frees them).
 *
 * The words of a heap (HEAP_NEW, HEAP_NEW_LEAF, HEAP_DROP) come from the
 * includer, as for gc_work.h.
 */
#ifndef BENCH_JSON_VALUE_H
#define BENCH_JSON_VALUE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "../work.h"

enum json_kind {
  JSON_NULL,
  JSON_FALSE,
  JSON_TRUE,
  JSON_NUMBER,
  JSON_TEXT,
  JSON_ARRAY,
  JSON_OBJECT,
};

struct json_text {
  size_t n;
  char bytes[];
};

struct json_member {
  struct json_text *key;
  struct json *value;
};

struct json {
  enum json_kind kind;
  uint32_t n, max; /* items of an array or object: used, allocated */
  union {
    double number;
    struct json_text *text;
    struct json **items;
    struct json_member *members;
  };
};

static void *json_alloc(size_t bytes) {
  void *p = HEAP_NEW(bytes);
  if (!p) work_fail("out of memory");
  return p;
}

static struct json *json_new(enum json_kind kind) {
  struct json *j = json_alloc(sizeof *j);
  j->kind = kind;
  return j;
}

static struct json_text *json_text_new(const char *bytes, size_t n) {
  struct json_text *t = HEAP_NEW_LEAF(sizeof *t + n);
  if (!t) work_fail("out of memory");
  t->n = n;
  memcpy(t->bytes, bytes, n);
  return t;
}

/* Room for one item more, of item_bytes. */
static void json_grow(struct json *j, size_t item_bytes) {
  if (j->n < j->max) return;
  uint32_t max = j->max ? 2 * j->max : 4;
  void *more = json_alloc(max * item_bytes);
  if (j->n) memcpy(more, j->items, j->n * item_bytes);
  if (j->items) HEAP_DROP(j->items);
  j->items = more;
  j->max = max;
}

static void json_add(struct json *array, struct json *item) {
  json_grow(array, sizeof *array->items);
  array->items[array->n++] = item;
}

static void json_set(struct json *object, struct json_text *key,
                     struct json *value) {
  json_grow(object, sizeof *object->members);
  object->members[object->n++] = (struct json_member){key, value};
}

/* NULL: no such member. */
static struct json *json_get(const struct json *object, const char *key,
                             size_t n) {
  if (object->kind != JSON_OBJECT) return NULL;
  for (uint32_t i = 0; i < object->n; i++) {
    const struct json_text *k = object->members[i].key;
    if (k->n == n && memcmp(k->bytes, key, n) == 0)
      return object->members[i].value;
  }
  return NULL;
}

static void json_drop(struct json *j) {
  if (HEAP_COLLECTED) return;
  for (uint32_t i = 0; i < j->n && j->kind == JSON_ARRAY; i++)
    json_drop(j->items[i]);
  for (uint32_t i = 0; i < j->n && j->kind == JSON_OBJECT; i++) {
    HEAP_DROP(j->members[i].key);
    json_drop(j->members[i].value);
  }
  if (j->kind >= JSON_TEXT && j->text) HEAP_DROP(j->text); /* or the items */
  HEAP_DROP(j);
}

#endif /* BENCH_JSON_VALUE_H */

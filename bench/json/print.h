/* print.h - values to JSON text, in a growing buffer; and documents to start
 * with.
 */
#ifndef BENCH_JSON_PRINT_H
#define BENCH_JSON_PRINT_H

#include <inttypes.h>
#include <math.h>

#include "value.h"

struct json_out {
  char *text;
  size_t n, max;
};

/* Room for more bytes. */
static char *out_room(struct json_out *o, size_t more) {
  if (o->n + more > o->max) {
    o->max = o->max * 2 + more;
    o->text = realloc(o->text, o->max);
    if (!o->text) work_fail("out of memory");
  }
  return o->text + o->n;
}

static void out_char(struct json_out *o, char c) {
  *out_room(o, 1) = c;
  o->n++;
}

/* Clang has no segmented stacks for functions with variable arguments, so it
 * is no function.  At most FORMAT_BYTES. */
#define FORMAT_BYTES 512
#define OUT_FORMAT(o, ...) \
  ((o)->n +=               \
   (size_t) snprintf(out_room(o, FORMAT_BYTES), FORMAT_BYTES, __VA_ARGS__))

/* ---- values ---- */

static void out_text(struct json_out *o, const struct json_text *t) {
  out_char(o, '"');
  for (size_t i = 0; i < t->n; i++) {
    unsigned char c = (unsigned char) t->bytes[i];
    if (c < 0x20)
      OUT_FORMAT(o, "\\u%04x", c);
    else if (c == '"' || c == '\\')
      out_char(o, '\\'), out_char(o, (char) c);
    else
      out_char(o, (char) c);
  }
  out_char(o, '"');
}

static void out_number(struct json_out *o, double x) {
  if (x == floor(x) && fabs(x) < 1e15)
    OUT_FORMAT(o, "%" PRId64, (int64_t) x);
  else
    OUT_FORMAT(o, "%.17g", x);
}

static void out_value(struct json_out *o, const struct json *j) {
  static const char *const words[] = {"null", "false", "true"};
  switch (j->kind) {
  case JSON_NUMBER: out_number(o, j->number); break;
  case JSON_TEXT: out_text(o, j->text); break;
  case JSON_ARRAY:
    out_char(o, '[');
    for (uint32_t i = 0; i < j->n; i++) {
      if (i) out_char(o, ',');
      out_value(o, j->items[i]);
    }
    out_char(o, ']');
    break;
  case JSON_OBJECT:
    out_char(o, '{');
    for (uint32_t i = 0; i < j->n; i++) {
      if (i) out_char(o, ',');
      out_text(o, j->members[i].key);
      out_char(o, ':');
      out_value(o, j->members[i].value);
    }
    out_char(o, '}');
    break;
  default: OUT_FORMAT(o, "%s", words[j->kind]);
  }
}

/* ---- a document ---- */

static void out_word(struct json_out *o, uint64_t *seed) {
  static const char *const parts[] = {"ka",      "lo",   "mi", "ru", "te",
                                      "\\u00e9", "\\\"", "sh", "a ", "\\n"};
  out_char(o, '"');
  for (uint32_t i = 0, n = 2 + work_random(seed) % 4; i < n; i++)
    OUT_FORMAT(o, "%s", parts[work_random(seed) % 10]);
  out_char(o, '"');
}

static void out_order(struct json_out *o, uint64_t *seed) {
  uint32_t item = work_random(seed) % 1000, count = 1 + work_random(seed) % 9;
  uint32_t price = work_random(seed) % 10000;
  OUT_FORMAT(o, "{ \"item\": %u, \"count\": %u, \"price\": %u.%02u }", item,
             count, price / 100, price % 100);
}

static void out_orders(struct json_out *o, uint64_t *seed) {
  out_char(o, '[');
  for (uint32_t i = 0, n = work_random(seed) % 5; i < n; i++) {
    if (i) OUT_FORMAT(o, ", ");
    out_order(o, seed);
  }
  out_char(o, ']');
}

static void out_tags(struct json_out *o, uint64_t *seed) {
  out_char(o, '[');
  for (uint32_t i = 0, n = work_random(seed) % 4; i < n; i++) {
    if (i) out_char(o, ',');
    out_word(o, seed);
  }
  out_char(o, ']');
}

static void out_customer(struct json_out *o, uint64_t *seed, long id) {
  uint32_t city = work_random(seed) % 50, limit = work_random(seed) % 100;
  int digits = (int) (work_random(seed) % 5) - 2;
  bool active = work_random(seed) % 3 != 0;
  OUT_FORMAT(o, "  { \"id\": %ld, \"name\": ", id);
  out_word(o, seed);
  OUT_FORMAT(o, ", \"city\": \"city %u\", \"active\": %s, \"tags\": ", city,
             active ? "true" : "false");
  out_tags(o, seed);
  OUT_FORMAT(o, ", \"limit\": %ue%d, \"orders\": ", limit, digits);
  out_orders(o, seed);
  OUT_FORMAT(o, ", \"note\": null }");
}

/* So many customers with their orders. */
static void out_document(struct json_out *o, long customers, uint64_t seed) {
  OUT_FORMAT(o, "{ \"customers\": [\n");
  for (long i = 0; i < customers; i++) {
    if (i) OUT_FORMAT(o, ",\n");
    out_customer(o, &seed, i);
  }
  OUT_FORMAT(o, "\n] }\n");
  out_char(o, '\0');
  o->n--;
}

#endif /* BENCH_JSON_PRINT_H */

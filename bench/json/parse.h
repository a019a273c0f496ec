/* parse.h - JSON text to values (RFC 8259), by recursive descent.
 *
 * Texts are gathered in a buffer of the parser and copied to the heap when
 * they are complete; numbers without fraction are read here, others by strtod.
 */
#ifndef BENCH_JSON_PARSE_H
#define BENCH_JSON_PARSE_H

#include "value.h"

#define JSON_DEPTH 512

struct json_parser {
  const char *at, *end;
  int depth;
  const char *wrong; /* the first mistake, or NULL */
  char *text;        /* of the string being read */
  size_t n, max;
};

static struct json *json_wrong(struct json_parser *p, const char *what) {
  if (!p->wrong) p->wrong = what;
  return NULL;
}

static void json_skip(struct json_parser *p) {
  while (p->at < p->end &&
         (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r'))
    p->at++;
}

/* The next character is c: take it. */
static bool json_take(struct json_parser *p, char c) {
  json_skip(p);
  if (p->at == p->end || *p->at != c) return false;
  p->at++;
  return true;
}

/* ---- texts ---- */

static void json_put(struct json_parser *p, char c) {
  if (p->n == p->max) {
    p->max = p->max ? 2 * p->max : 256;
    p->text = realloc(p->text, p->max);
    if (!p->text) work_fail("out of memory");
  }
  p->text[p->n++] = c;
}

static void json_put_utf8(struct json_parser *p, unsigned c) {
  if (c < 0x80) {
    json_put(p, (char) c);
  } else if (c < 0x800) {
    json_put(p, (char) (0xc0 | c >> 6));
    json_put(p, (char) (0x80 | (c & 0x3f)));
  } else {
    json_put(p, (char) (0xe0 | c >> 12));
    json_put(p, (char) (0x80 | (c >> 6 & 0x3f)));
    json_put(p, (char) (0x80 | (c & 0x3f)));
  }
}

static int json_hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* After "\u"; surrogates stay apart. */
static bool json_escape_hex(struct json_parser *p) {
  unsigned c = 0;
  if (p->end - p->at < 4) return false;
  for (int i = 0; i < 4; i++) {
    int digit = json_hex(*p->at++);
    if (digit < 0) return false;
    c = c << 4 | (unsigned) digit;
  }
  json_put_utf8(p, c);
  return true;
}

static bool json_escape(struct json_parser *p) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (p->at == p->end) return false;
  char c = *p->at++;
  if (c == 'u') return json_escape_hex(p);
  const char *found = c ? strchr(from, c) : NULL;
  if (found) json_put(p, to[found - from]);
  return found != NULL;
}

/* After the opening quote.  NULL: it is wrong. */
static struct json_text *json_read_text(struct json_parser *p) {
  p->n = 0;
  while (p->at < p->end) {
    char c = *p->at++;
    if (c == '"') return json_text_new(p->text ? p->text : "", p->n);
    if ((unsigned char) c < 0x20) break;
    if (c != '\\')
      json_put(p, c);
    else if (!json_escape(p))
      break;
  }
  json_wrong(p, "bad string");
  return NULL;
}

/* ---- numbers and words ---- */

static struct json *json_read_number(struct json_parser *p) {
  const char *start = p->at;
  int64_t whole = 0;
  if (*p->at == '-') p->at++;
  const char *digits = p->at;
  while (p->at < p->end && *p->at >= '0' && *p->at <= '9')
    whole = whole * 10 + (*p->at++ - '0');
  if (p->at == digits) return json_wrong(p, "bad number");
  struct json *j = json_new(JSON_NUMBER);
  bool simple = p->at == p->end || !strchr(".eE", *p->at);
  if (simple && p->at - digits <= 15) {
    j->number = (double) (*start == '-' ? -whole : whole);
  } else {
    char *end;
    j->number = strtod(start, &end); /* the text ends in a 0 */
    p->at = end;
  }
  return j;
}

static struct json *json_read_word(struct json_parser *p) {
  static const char *const words[] = {"null", "false", "true"};
  for (int i = 0; i < 3; i++) {
    size_t n = strlen(words[i]);
    if ((size_t) (p->end - p->at) < n || memcmp(p->at, words[i], n) != 0)
      continue;
    p->at += n;
    return json_new((enum json_kind) i);
  }
  return json_wrong(p, "unknown word");
}

/* ---- what contains others ---- */

static struct json *json_read(struct json_parser *p);

static struct json *json_read_array(struct json_parser *p) {
  struct json *array = json_new(JSON_ARRAY);
  if (json_take(p, ']')) return array;
  do {
    struct json *item = json_read(p);
    if (!item) return NULL;
    json_add(array, item);
  } while (json_take(p, ','));
  return json_take(p, ']') ? array : json_wrong(p, "unfinished array");
}

static struct json *json_read_object(struct json_parser *p) {
  struct json *object = json_new(JSON_OBJECT);
  if (json_take(p, '}')) return object;
  do {
    if (!json_take(p, '"')) return json_wrong(p, "no key");
    struct json_text *key = json_read_text(p);
    if (!key || !json_take(p, ':')) return json_wrong(p, "no value");
    struct json *value = json_read(p);
    if (!value) return NULL;
    json_set(object, key, value);
  } while (json_take(p, ','));
  return json_take(p, '}') ? object : json_wrong(p, "unfinished object");
}

static struct json *json_read_value(struct json_parser *p) {
  char c = *p->at;
  if (c == '-' || (c >= '0' && c <= '9')) return json_read_number(p);
  if (c >= 'a' && c <= 'z') return json_read_word(p);
  p->at++;
  if (c == '{') return json_read_object(p);
  if (c == '[') return json_read_array(p);
  if (c != '"') return json_wrong(p, "no value");
  struct json *j = json_new(JSON_TEXT);
  j->text = json_read_text(p);
  return j->text ? j : NULL;
}

/* NULL: p->wrong says why. */
static struct json *json_read(struct json_parser *p) {
  json_skip(p);
  if (p->at == p->end) return json_wrong(p, "it ends too early");
  if (p->depth == JSON_DEPTH) return json_wrong(p, "too deep");
  p->depth++;
  struct json *j = json_read_value(p);
  p->depth--;
  return j;
}

/* text has n bytes and a 0 behind them. */
static struct json *json_parse(const char *text, size_t n) {
  struct json_parser p = {.at = text, .end = text + n};
  struct json *j = json_read(&p);
  json_skip(&p);
  if (j && p.at != p.end) json_wrong(&p, "something follows");
  free(p.text);
  if (p.wrong) work_fail(p.wrong);
  return j;
}

#endif /* BENCH_JSON_PARSE_H */

/* work.h - the JSON application: parse a document, ask it, print it again.
 *
 *   json  a document of n customers for each of threads threads, rounds times,
 *         the last one alive while the next is read: ms altogether, MiB of
 *         text read a second.  The check is of the text that was printed.
 */
#ifndef BENCH_JSON_WORK_H
#define BENCH_JSON_WORK_H

#include "parse.h"
#include "print.h"
#include "query.h"

static uint64_t json_sum[64];
static struct json_out json_in[64]; /* the documents */

static uint64_t json_hash(const char *text, size_t n) {
  uint64_t h = 14695981039346656037u;
  for (size_t i = 0; i < n; i++)
    h = (h ^ (unsigned char) text[i]) * 1099511628211u;
  return h;
}

static uint64_t json_hash_of(const struct json *j, struct json_out *o) {
  o->n = 0;
  out_value(o, j);
  return json_hash(o->text, o->n);
}

static uint64_t json_ask(struct json *doc, struct json_out *o) {
  struct json *large = json_new(JSON_ARRAY), *cities = json_new(JSON_OBJECT);
  double sum = 0;
  json_query(doc, "customers[].orders[].price", query_add, &sum);
  json_query(doc, "customers[].limit", query_add, &sum);
  json_query(doc, "customers[]", query_large, large);
  json_query(doc, "customers[].city", query_count, cities);
  uint64_t h =
      (uint64_t) (sum * 100) ^ json_hash_of(large, o) ^ json_hash_of(cities, o);
  json_drop(large);
  json_drop(cities);
  return h;
}

static void json_part(int part) {
  const struct json_out *in = &json_in[part];
  struct json_out out = {0};
  struct json *before = NULL;
  json_sum[part] = 0;
  for (long i = work_arg("rounds", 4); i > 0; i--) {
    struct json *doc = json_parse(in->text, in->n);
    json_sum[part] += json_ask(doc, &out);
    json_sum[part] ^= json_hash_of(doc, &out);
    if (before) json_drop(before);
    before = doc;
  }
  json_drop(before);
  free(out.text);
}

static void json_work(void) {
  int threads = (int) work_arg("threads", 1);
  for (int i = 0; i < threads; i++)
    out_document(&json_in[i], work_arg("n", 20000), (uint64_t) i + 1);
  int64_t start = work_now();
  heap_together(json_part, threads);
  double ms = (double) (work_now() - start) / 1e6, bytes = 0;
  uint64_t sum = 0;
  for (int i = 0; i < threads; i++) {
    sum += json_sum[i];
    bytes += (double) json_in[i].n * (double) work_arg("rounds", 4);
  }
  work_print("ms", ms);
  work_print("mib_s", bytes / 1048576 / (ms / 1e3));
  work_print("resident_mib", work_rss() / 1048576);
  work_check(sum);
}

#endif /* BENCH_JSON_WORK_H */

/* query.h - paths through a document: "customers[].orders[].price" is every
 * such value, in order.
 */
#ifndef BENCH_JSON_QUERY_H
#define BENCH_JSON_QUERY_H

#include "value.h"

typedef void (*json_found)(struct json *value, void *arg);

/* path: "" is the value itself; "key..." a member; "[]..." all items. */
static void json_query(struct json *j, const char *path, json_found fn,
                       void *arg) {
  if (*path == '\0') {
    fn(j, arg);
    return;
  }
  if (strncmp(path, "[]", 2) == 0) {
    for (uint32_t i = 0; i < j->n && j->kind == JSON_ARRAY; i++)
      json_query(j->items[i], path + 2, fn, arg);
    return;
  }
  if (*path == '.') path++;
  size_t n = strcspn(path, ".[");
  struct json *member = json_get(j, path, n);
  if (member) json_query(member, path + n, fn, arg);
}

/* ---- what is asked here ---- */

static void query_add(struct json *j, void *sum) {
  if (j->kind == JSON_NUMBER) *(double *) sum += j->number;
}

/* Orders of an active customer above a price go into a new array. */
static void query_large(struct json *customer, void *array) {
  struct json *active = json_get(customer, "active", 6);
  struct json *orders = json_get(customer, "orders", 6);
  if (!active || active->kind != JSON_TRUE || !orders) return;
  for (uint32_t i = 0; i < orders->n; i++) {
    struct json *price = json_get(orders->items[i], "price", 5);
    if (price && price->number > 50) {
      struct json *found = json_new(JSON_OBJECT);
      struct json *number = json_new(JSON_NUMBER);
      number->number = price->number;
      json_set(found, json_text_new("price", 5), number);
      json_add(array, found);
    }
  }
}

/* Customers a city: an object that grows as cities are met. */
static void query_count(struct json *city, void *object) {
  struct json *count = json_get(object, city->text->bytes, city->text->n);
  if (!count) {
    count = json_new(JSON_NUMBER);
    json_set(object, json_text_new(city->text->bytes, city->text->n), count);
  }
  count->number++;
}

#endif /* BENCH_JSON_QUERY_H */

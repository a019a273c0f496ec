/* gc_alloc_test.c - mpg_alloc and its relatives: sizes, contents, errors. */
#include "../support/check.h"

static const size_t absurd[] = {
    SIZE_MAX,         SIZE_MAX - 1,           SIZE_MAX - 15,
    SIZE_MAX - 4095,  SIZE_MAX / 2 + 1,       SIZE_MAX / 2,
    PTRDIFF_MAX,      (size_t) 1 << 62,       (size_t) 1 << 56,
    (size_t) 1 << 48, ((size_t) 1 << 47) + 1,
};
#define ABSURD (sizeof(absurd) / sizeof(*absurd))

static bool all_zero(const void *p, size_t n) {
  const unsigned char *c = p;
  for (size_t i = 0; i < n; i++)
    if (c[i] != 0) return false;
  return true;
}

static size_t opaque(size_t n) {
  CHECK_OPAQUE(n);
  return n;
}

static void every_size_is_zeroed_and_aligned(void *arg) {
  (void) arg;
  for (int round = 0; round < 2; round++)
    for (size_t n = 1; n <= 70000; n += n < 600 ? 1 : n / 9) {
      char *p = mpg_alloc(n);
      CHECK(p != NULL);
      if (n >= 16) CHECK_EQ((uintptr_t) p % 16, 0);
      if (n >= 8) CHECK_EQ((uintptr_t) p % 8, 0);
      CHECK(all_zero(p, n));
      CHECK_GE(mpg_alloc_size(p), n);
      CHECK(all_zero(p, mpg_alloc_size(p)));
      memset(p, 0xee, mpg_alloc_size(p)); /* every byte may be written */
    }
}

static void reused_memory_is_zeroed(void *arg) {
  (void) arg;
  for (int i = 0; i < 300000; i++) {
    size_t n = 16 + (size_t) (i * 7 % 480);
    char *p = mpg_alloc(n);
    CHECK(all_zero(p, n));
    memset(p, 0x77, n);
    if (i % 5 == 0) mpg_free(p);
  }
}

static void zero_bytes_give_a_unique_object(void *arg) {
  (void) arg;
  void *p[100];
  for (int i = 0; i < 100; i++) {
    p[i] = mpg_alloc(0);
    CHECK(p[i] != NULL);
    CHECK(mpg_base(p[i]) == p[i]);
    for (int j = 0; j < i; j++) CHECK(p[i] != p[j]);
  }
  CHECK(mpg_alloc_noscan(0) != NULL);
}

static void absurd_sizes_give_null(void *arg) {
  (void) arg;
  for (size_t i = 0; i < ABSURD; i++) {
    size_t n = opaque(absurd[i]);
    CHECK(mpg_alloc(n) == NULL);
    CHECK(mpg_alloc_noscan(n) == NULL);
    CHECK(mpg_realloc(NULL, n) == NULL);
  }
  CHECK(mpg_alloc(64) != NULL);
}

static void large_objects(void *arg) {
  (void) arg;
  for (size_t n = (size_t) 32 << 10; n <= (size_t) 64 << 20; n *= 2)
    for (int d = -1; d <= 1; d++) {
      size_t bytes = n + (size_t) d;
      char *p = mpg_alloc(bytes);
      CHECK(p != NULL);
      CHECK_EQ((uintptr_t) p % 16, 0);
      CHECK_GE(mpg_alloc_size(p), bytes);
      CHECK_EQ(p[0] | p[bytes / 2] | p[bytes - 1], 0);
      p[0] = p[bytes - 1] = 1;
      CHECK(mpg_base(p + bytes / 2) == p);
      CHECK(mpg_base(p + bytes - 1) == p);
      mpg_free(p);
    }
}

static void objects_do_not_overlap(void *arg) {
  (void) arg;
  enum { N = 4000 };
  unsigned char **v = mpg_alloc(N * sizeof(*v));
  for (int i = 0; i < N; i++) {
    size_t n = 1 + (size_t) (i * 37 % 900);
    v[i] = i % 2 ? mpg_alloc(n) : mpg_alloc_noscan(n);
    memset(v[i], i & 0xff, n);
  }
  for (int i = 0; i < N; i++)
    for (size_t j = 0; j < 1 + (size_t) (i * 37 % 900); j++)
      CHECK_EQ(v[i][j], i & 0xff);
}

/* ---- realloc ---- */

static void realloc_null_is_alloc(void *arg) {
  (void) arg;
  char *p = mpg_realloc(NULL, 100);
  CHECK(p != NULL);
  CHECK(all_zero(p, 100));
}

static void realloc_keeps_contents_and_zeroes_the_tail(void *arg) {
  (void) arg;
  size_t n = 1;
  char *p = mpg_alloc(n);
  p[0] = 1;
  while (n < ((size_t) 4 << 20)) {
    size_t more = n * 3 / 2 + 1;
    p = mpg_realloc(p, more);
    CHECK(p != NULL);
    for (size_t i = 0; i < n; i += 1 + n / 999) CHECK_EQ(p[i], 1);
    CHECK_EQ(p[n - 1], 1);
    CHECK(all_zero(p + n, more - n));
    memset(p, 1, more);
    n = more;
  }
  while (n > 1) {
    n = n * 2 / 3;
    p = mpg_realloc(p, n);
    CHECK(p != NULL);
    for (size_t i = 0; i < n; i += 1 + n / 999) CHECK_EQ(p[i], 1);
    CHECK_EQ(p[n - 1], 1);
  }
}

/* Shrunk and grown again, the tail is zero, not what once was there. */
static void realloc_zeroes_what_was_cut_off(void *arg) {
  (void) arg;
  for (size_t n = 64; n <= ((size_t) 256 << 10); n *= 4) {
    char *p = mpg_alloc(n);
    memset(p, 1, n);
    p = mpg_realloc(p, n / 2 + 3);
    CHECK(p != NULL);
    p = mpg_realloc(p, n);
    CHECK(p != NULL);
    CHECK_EQ(p[n / 2 + 2], 1);
    CHECK(all_zero(p + n / 2 + 3, n - n / 2 - 3));
  }
}

static void failed_realloc_leaves_the_block(void *arg) {
  (void) arg;
  for (size_t i = 0; i < ABSURD; i++) {
    char *p = mpg_alloc(1000), *before = p;
    memset(p, 5, 1000);
    CHECK(mpg_realloc(p, opaque(absurd[i])) == NULL);
    CHECK(mpg_base(before) == before);
    for (int j = 0; j < 1000; j++) CHECK_EQ(before[j], 5);
  }
}

static void realloc_of_noscan(void *arg) {
  (void) arg;
  char *p = mpg_alloc_noscan(10);
  memset(p, 3, 10);
  for (size_t n = 20; n < 100000; n *= 2) {
    p = mpg_realloc(p, n);
    CHECK(p != NULL);
    for (int i = 0; i < 10; i++) CHECK_EQ(p[i], 3);
    memset(p, 3, n);
  }
}

/* ---- free, strdup ---- */

static void free_makes_room(void *arg) {
  (void) arg;
  mpg_free(NULL);
  mpg_gc_percent(-1);
  struct mpg_gc_stats s = {.size = sizeof(s)};
  for (int i = 0; i < 2000; i++) {
    char *p = mpg_alloc_noscan((size_t) 1 << 20);
    CHECK(p != NULL);
    p[0] = p[(1 << 20) - 1] = 1;
    mpg_free(p);
  }
  CHECK_EQ(mpg_gc_stats_read(&s), 0);
  CHECK_LE(s.heap_mapped, (uint64_t) 1 << 30); /* of 2 GB allocated */
  mpg_gc_percent(100);
}

static void strdup_copies(void *arg) {
  (void) arg;
  char text[] = "some words", *p = mpg_strdup(text);
  CHECK(p != NULL && p != text);
  memset(text, 'x', sizeof(text) - 1);
  CHECK(strcmp(p, "some words") == 0);
  CHECK(mpg_base(p) == p);
  p = mpg_strdup("");
  CHECK(p != NULL);
  CHECK_EQ(p[0], 0);
}

/* ---- base and size ---- */

static int global[16];

static void base_names_the_object(void *arg) {
  (void) arg;
  for (size_t n = 1; n <= ((size_t) 1 << 20); n = n * 5 / 3 + 1) {
    char *p = mpg_alloc(n);
    CHECK(mpg_base(p) == p);
    CHECK(mpg_base(p + n / 2) == p);
    CHECK(mpg_base(p + n - 1) == p);
  }
}

static void base_of_other_memory_is_null(void *arg) {
  (void) arg;
  int local = 0;
  void *m = malloc(100);
  CHECK(mpg_base(NULL) == NULL);
  CHECK(mpg_base(&local) == NULL);
  CHECK(mpg_base(global) == NULL);
  CHECK(mpg_base(m) == NULL);
  CHECK(mpg_base((void *) (uintptr_t) check_failed) == NULL);
  CHECK(mpg_base((void *) UINTPTR_MAX) == NULL);
  CHECK(mpg_base((void *) 1) == NULL);
  free(m);
}

/* One past the end belongs to the object, unless another one starts there. */
static void one_past_the_end(void *arg) {
  (void) arg;
  enum { N = 200 };
  char **p = mpg_alloc(N * sizeof(*p));
  for (int i = 0; i < N; i++) p[i] = mpg_alloc(64);
  for (int i = 0; i < N; i++) {
    size_t n = mpg_alloc_size(p[i]);
    char *next = NULL;
    for (int j = 0; j < N; j++)
      if (p[j] == p[i] + n) next = p[j];
    void *base = mpg_base(p[i] + n);
    if (next)
      CHECK(base == next);
    else
      CHECK(base == p[i] || base == p[i] + n);
  }
}

static void alloc_size_wants_the_start(void *arg) {
  (void) arg;
  int local = 0;
  char *p = mpg_alloc(100);
  CHECK_GE(mpg_alloc_size(p), 100);
  CHECK_EQ(mpg_alloc_size(p + 8), 0);
  CHECK_EQ(mpg_alloc_size(NULL), 0);
  CHECK_EQ(mpg_alloc_size(&local), 0);
  CHECK_EQ(mpg_alloc_size(global), 0);
}

static void powers_of_two_are_not_padded(void *arg) {
  (void) arg;
  for (size_t n = 16; n <= 1024; n *= 2)
    CHECK_EQ(mpg_alloc_size(mpg_alloc(n)), n);
}

/* ---- types ---- */

struct typed {
  struct typed *next;
  uint64_t number;
  struct typed *other;
};

static void wrong_types_give_null(void *arg) {
  (void) arg;
  size_t o;
  o = 4;
  CHECK(mpg_type_new(32, &o, 1) == NULL);
  o = 1;
  CHECK(mpg_type_new(32, &o, 1) == NULL);
  o = 32;
  CHECK(mpg_type_new(32, &o, 1) == NULL);
  o = 24;
  CHECK(mpg_type_new(28, &o, 1) == NULL);
  o = SIZE_MAX - 7;
  CHECK(mpg_type_new(32, &o, 1) == NULL);
  o = 0;
  CHECK(mpg_type_new(4, &o, 1) == NULL);
}

static void offsets_may_be_named_twice(void *arg) {
  (void) arg;
  size_t o[] = {8, 0, 8};
  mpg_type *t = mpg_type_new(16, o, 3);
  CHECK(t != NULL);
  CHECK(mpg_alloc_typed(t, 3) != NULL);
  mpg_gc();
}

static void typed_arrays_are_zeroed(void *arg) {
  (void) arg;
  size_t o[] = {offsetof(struct typed, next), offsetof(struct typed, other)};
  mpg_type *t = mpg_type_new(sizeof(struct typed), o, 2);
  CHECK(t != NULL);
  for (size_t n = 1; n < 100000; n = n * 3 + 1) {
    struct typed *p = mpg_alloc_typed(t, n);
    CHECK(p != NULL);
    CHECK_EQ((uintptr_t) p % 8, 0);
    CHECK(all_zero(p, n * sizeof(*p)));
    CHECK_GE(mpg_alloc_size(p), n * sizeof(*p));
    CHECK(mpg_base(&p[n - 1]) == p);
    memset(p, 0, mpg_alloc_size(p));
  }
  CHECK(mpg_alloc_typed(t, SIZE_MAX) == NULL);
  CHECK(mpg_alloc_typed(t, SIZE_MAX / sizeof(struct typed) + 2) == NULL);
  CHECK(mpg_alloc_typed(t, (size_t) 1 << 60) == NULL);
}

static struct typed *chain; /* global: a root */

static void named_words_of_typed_objects_are_followed(void *arg) {
  (void) arg;
  enum { N = 5000 };
  size_t o[] = {offsetof(struct typed, next), offsetof(struct typed, other)};
  mpg_type *t = mpg_type_new(sizeof(struct typed), o, 2);
  for (uint64_t i = 0; i < N; i++) {
    struct typed *p = mpg_alloc_typed(t, 1 + i % 3);
    struct typed *last = &p[i % 3];
    last->number = i;
    last->next = chain;
    last->other = mpg_alloc_typed(t, 1);
    last->other->number = ~i;
    chain = last; /* interior: keeps the whole array */
    if (i % 1000 == 0) mpg_gc();
  }
  mpg_gc();
  for (int i = 0; i < 20000; i++) CHECK(mpg_alloc(sizeof(struct typed)));
  uint64_t n = N;
  for (struct typed *p = chain; p; p = p->next) {
    n--;
    CHECK_EQ(p->number, n);
    CHECK_EQ(p->other->number, ~n);
  }
  CHECK_EQ(n, 0);
  chain = NULL;
}

static const struct check_case cases[] = {
    INSIDE(every_size_is_zeroed_and_aligned),
    INSIDE(reused_memory_is_zeroed),
    INSIDE(zero_bytes_give_a_unique_object),
    INSIDE(absurd_sizes_give_null),
    INSIDE(large_objects),
    INSIDE(objects_do_not_overlap),
    INSIDE(realloc_null_is_alloc),
    INSIDE(realloc_keeps_contents_and_zeroes_the_tail),
    INSIDE(realloc_zeroes_what_was_cut_off),
    INSIDE(failed_realloc_leaves_the_block),
    INSIDE(realloc_of_noscan),
    INSIDE(free_makes_room),
    INSIDE(strdup_copies),
    INSIDE(base_names_the_object),
    INSIDE(base_of_other_memory_is_null),
    INSIDE(one_past_the_end),
    INSIDE(alloc_size_wants_the_start),
    INSIDE(powers_of_two_are_not_padded),
    INSIDE(wrong_types_give_null),
    INSIDE(offsets_may_be_named_twice),
    INSIDE(typed_arrays_are_zeroed),
    INSIDE(named_words_of_typed_objects_are_followed),
};
CHECK_MAIN(cases, 30)

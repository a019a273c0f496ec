/* table.c - word -> places, in garbage-collected memory only.
 *
 * A file is first counted on its own: its words go into a small hash table
 * whose entries point into the text (interior pointers keep the text alive),
 * and its places into one array, chained by word.  Then each word is moved to
 * the shard of the part that its hash selects, under the shard's lock.  All
 * of the first step's memory is garbage afterwards.
 *
 * Numbers that look like pointers would keep garbage alive, so places and
 * strings live in memory that the collector doesn't scan.
 */
#include <mpg.h>
#include <string.h>

#include "indexer.h"

#define SLOTS_MIN 64
#define BLOCK_MIN 2
#define BLOCK_MAX 512

struct shard {
  mpg_mutex lock; /* of everything below, entries included */
  struct entry **slots;
  uint32_t nslots, nentries; /* nslots: a power of two */
};

struct part {
  struct shard shard[SHARDS];
};

/* ---- the words of one file ---- */

struct local_word {
  const char *text; /* into the file's */
  uint32_t bytes, hash;
  uint32_t count, last; /* index + 1 of the newest place, 0: none */
};

struct local_place {
  uint32_t line, before; /* index + 1 of the same word's one before */
};

struct local {
  struct local_word *words;
  struct local_place *places;
  uint32_t *slots; /* index + 1 of a word; open addressing */
  uint32_t nwords, words_cap, nplaces, places_cap, nslots;
};

static bool slots_grow(struct local *l) {
  uint32_t n = l->nslots ? 2 * l->nslots : 256;
  uint32_t *slots = mpg_alloc_noscan(n * sizeof(*slots));
  if (!slots) return false;
  memset(slots, 0, n * sizeof(*slots));
  for (uint32_t i = 0; i < l->nwords; i++) {
    uint32_t at = l->words[i].hash & (n - 1);
    while (slots[at]) at = (at + 1) & (n - 1);
    slots[at] = i + 1;
  }
  l->slots = slots;
  l->nslots = n;
  return true;
}

static bool words_grow(struct local *l) {
  uint32_t cap = l->words_cap ? 2 * l->words_cap : 128;
  struct local_word *w = mpg_realloc(l->words, cap * sizeof(*w));
  if (!w) return false;
  l->words = w;
  l->words_cap = cap;
  return true;
}

/* By hand: mpg_realloc(NULL) would give scanned memory. */
static bool places_grow(struct local *l) {
  uint32_t cap = l->places_cap ? 2 * l->places_cap : 256;
  struct local_place *p = mpg_alloc_noscan(cap * sizeof(*p));
  if (!p) return false;
  if (l->nplaces > 0) memcpy(p, l->places, l->nplaces * sizeof(*p));
  l->places = p;
  l->places_cap = cap;
  return true;
}

/* The word, added when it is new.  NULL: out of memory. */
static struct local_word *local_find(struct local *l, const char *text,
                                     uint32_t bytes, uint32_t hash) {
  if (2 * l->nwords >= l->nslots && !slots_grow(l)) return NULL;
  uint32_t at = hash & (l->nslots - 1);
  for (; l->slots[at]; at = (at + 1) & (l->nslots - 1)) {
    struct local_word *w = &l->words[l->slots[at] - 1];
    if (w->hash == hash && w->bytes == bytes &&
        memcmp(w->text, text, bytes) == 0)
      return w;
  }
  if (l->nwords == l->words_cap && !words_grow(l)) return NULL;
  struct local_word *w = &l->words[l->nwords];
  *w = (struct local_word){.text = text, .bytes = bytes, .hash = hash};
  l->slots[at] = ++l->nwords;
  return w;
}

static bool local_add(struct local *l, const char *text, uint32_t bytes,
                      uint32_t hash, uint32_t line) {
  struct local_word *w = local_find(l, text, bytes, hash);
  if (!w || (l->nplaces == l->places_cap && !places_grow(l))) return false;
  l->places[l->nplaces] = (struct local_place){line, w->last};
  w->last = ++l->nplaces;
  w->count++;
  return true;
}

/* 1: part of a word. */
static const uint8_t in_word[256] = {
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['_'] = 1};

static bool local_count(struct local *l, const char *text, size_t bytes) {
  uint32_t line = 1;
  for (size_t i = 0; i < bytes;) {
    if (!in_word[(uint8_t) text[i]]) {
      line += text[i++] == '\n';
      continue;
    }
    size_t start = i;
    uint32_t hash = 2166136261u;
    for (; i < bytes && in_word[(uint8_t) text[i]]; i++)
      hash = (hash ^ (uint8_t) text[i]) * 16777619u;
    hash ^= hash >> 15;
    if (!local_add(l, text + start, (uint32_t) (i - start), hash, line))
      return false;
  }
  return true;
}

/* ---- the table ---- */

struct part *part_new(void) {
  return mpg_alloc(sizeof(struct part));
}

static bool shard_grow(struct shard *s) {
  uint32_t n = s->nslots ? 2 * s->nslots : SLOTS_MIN;
  struct entry **slots = mpg_alloc(n * sizeof(struct entry *));
  if (!slots) return false;
  for (uint32_t i = 0; i < s->nslots; i++)
    for (struct entry *e = s->slots[i], *next; e; e = next) {
      next = e->next;
      struct entry **slot = &slots[e->hash / SHARDS & (n - 1)];
      e->next = *slot;
      *slot = e;
    }
  s->slots = slots;
  s->nslots = n;
  return true;
}

static struct entry *entry_new(const struct local_word *w) {
  struct entry *e = mpg_alloc(sizeof(*e));
  if (!e) return NULL;
  e->word = mpg_alloc_noscan(w->bytes + 1);
  if (!e->word) return NULL;
  memcpy(e->word, w->text, w->bytes);
  e->word[w->bytes] = '\0';
  e->bytes = w->bytes;
  e->hash = w->hash;
  return e;
}

static struct entry *shard_find(struct shard *s, const struct local_word *w) {
  if (s->nentries >= s->nslots && !shard_grow(s)) return NULL;
  struct entry **slot = &s->slots[w->hash / SHARDS & (s->nslots - 1)];
  for (struct entry *e = *slot; e; e = e->next)
    if (e->hash == w->hash && e->bytes == w->bytes &&
        memcmp(e->word, w->text, w->bytes) == 0)
      return e;
  struct entry *e = entry_new(w);
  if (!e) return NULL;
  e->next = *slot;
  *slot = e;
  s->nentries++;
  return e;
}

static bool entry_grow(struct entry *e) {
  uint32_t cap = e->blocks ? 2 * e->blocks->cap : BLOCK_MIN;
  if (cap > BLOCK_MAX) cap = BLOCK_MAX;
  struct block *b = mpg_alloc(sizeof(*b));
  if (!b) return false;
  b->places = mpg_alloc_noscan(cap * sizeof(*b->places));
  if (!b->places) return false;
  b->cap = cap;
  b->next = e->blocks;
  e->blocks = b;
  return true;
}

/* Move the places of w from l to e. */
static bool entry_add(struct entry *e, const struct local *l,
                      const struct local_word *w, uint32_t file) {
  for (uint32_t at = w->last; at; at = l->places[at - 1].before) {
    if (!e->blocks || e->blocks->used == e->blocks->cap)
      if (!entry_grow(e)) return false;
    struct block *b = e->blocks;
    b->places[b->used++] = (struct place){file, l->places[at - 1].line};
    e->count++;
  }
  return true;
}

int64_t part_add(struct part *p, uint32_t file, const char *text,
                 size_t bytes) {
  struct local l = {0};
  if (!local_count(&l, text, bytes)) return -ENOMEM;
  bool ok = true;
  for (uint32_t i = 0; i < l.nwords && ok; i++) {
    const struct local_word *w = &l.words[i];
    struct shard *s = &p->shard[w->hash % SHARDS];
    mpg_mutex_lock(&s->lock);
    struct entry *e = shard_find(s, w);
    ok = e && entry_add(e, &l, w, file);
    mpg_mutex_unlock(&s->lock);
  }
  return ok ? (int64_t) l.nplaces : -ENOMEM;
}

bool part_each(const struct part *p,
               bool (*visit)(void *arg, const struct entry *e), void *arg) {
  for (int i = 0; i < SHARDS; i++)
    for (uint32_t j = 0; j < p->shard[i].nslots; j++)
      for (const struct entry *e = p->shard[i].slots[j]; e; e = e->next)
        if (!visit(arg, e)) return false;
  return true;
}

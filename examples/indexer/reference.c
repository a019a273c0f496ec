/* reference.c - count words without mpg, to compare with.
 *
 * One thread, malloc, nftw, stdio, and a tokenizer of its own: nothing is
 * shared with the indexer but the definition of a word and place_sum().
 */
#include <ftw.h>
#include <string.h>

#include "indexer.h"

struct word {
  struct word *next;
  uint64_t count, sum; /* places, place_sum over them */
  uint64_t seen_count, seen_sum;
  size_t bytes;
  char text[];
};

#define SLOTS ((size_t) 1 << 20)
static struct word **slots;
static char **paths;
static size_t npaths, paths_cap, nfound;
static uint64_t nwords, ndistinct;

static void *must(void *p) {
  if (p) return p;
  fprintf(stderr, "indexer: no memory for the reference count\n");
  exit(1);
}

static struct word **find(const char *text, size_t bytes) {
  uint64_t h = 5381;
  for (size_t i = 0; i < bytes; i++) h = h * 33 + (unsigned char) text[i];
  h ^= h >> 29;
  struct word **w = &slots[h & (SLOTS - 1)];
  while (*w && ((*w)->bytes != bytes || memcmp((*w)->text, text, bytes) != 0))
    w = &(*w)->next;
  return w;
}

static void count_word(const char *text, size_t bytes, uint32_t file,
                       uint32_t line) {
  struct word **at = find(text, bytes);
  if (!*at) {
    *at = must(calloc(1, sizeof(**at) + bytes + 1));
    memcpy((*at)->text, text, bytes);
    (*at)->bytes = bytes;
    ndistinct++;
  }
  (*at)->count++;
  (*at)->sum += place_sum(file, line);
  nwords++;
}

static bool is_word(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '_';
}

/* Character by character: a word grows in a buffer until it ends. */
static void count_file(const char *path, uint32_t file) {
  static char *word;
  static size_t cap;
  FILE *f = fopen(path, "r");
  if (!f) return;
  uint32_t line = 1;
  size_t n = 0;
  int c;
  do {
    c = getc_unlocked(f);
    if (is_word(c)) {
      if (n == cap) word = must(realloc(word, cap = cap ? 2 * cap : 256));
      word[n++] = (char) c;
      continue;
    }
    if (n > 0) count_word(word, n, file, line);
    n = 0;
    if (c == '\n') line++;
  } while (c != EOF);
  fclose(f);
}

static int add_path(const char *path, const struct stat *st, int type,
                    struct FTW *ftw) {
  (void) st, (void) ftw;
  if (type != FTW_F || !S_ISREG(st->st_mode)) return 0;
  if (npaths == paths_cap) {
    paths_cap = paths_cap ? 2 * paths_cap : 1024;
    paths = must(realloc(paths, paths_cap * sizeof(*paths)));
  }
  paths[npaths++] = must(strdup(path));
  return 0;
}

static int by_path(const void *a, const void *b) {
  return strcmp(*(char **) a, *(char **) b);
}

int reference_count(const char *folder, long max_files) {
  slots = must(calloc(SLOTS, sizeof(struct word *)));
  if (nftw(folder, add_path, 32, FTW_PHYS) != 0) return -errno;
  if (npaths > 0) qsort(paths, npaths, sizeof(*paths), by_path);
  size_t all = nfound = npaths, max = (size_t) max_files;
  if (max > 0 && all > max) npaths = max;
  for (size_t i = 0; i < npaths; i++) paths[i] = paths[i * all / npaths];
  for (size_t i = 0; i < npaths; i++) count_file(paths[i], (uint32_t) i);
  return 0;
}

void reference_forget(void) {
  for (size_t i = 0; slots && i < SLOTS; i++)
    for (struct word *w = slots[i], *next; w; w = next) {
      next = w->next;
      free(w);
    }
  free(slots);
  slots = NULL; /* paths are not freed: there are few, and some are shared */
  npaths = nwords = ndistinct = 0;
}

uint64_t reference_found(void) { return nfound; }
uint64_t reference_files(void) { return npaths; }
uint64_t reference_words(void) { return nwords; }
uint64_t reference_distinct(void) { return ndistinct; }

bool reference_same_path(size_t i, const char *path) {
  if (i < npaths && strcmp(paths[i], path) == 0) return true;
  fprintf(stderr, "indexer: file %zu is %s, expected %s\n", i, path,
          i < npaths ? paths[i] : "none");
  return false;
}

void reference_begin(void) {
  for (size_t i = 0; i < SLOTS; i++)
    for (struct word *w = slots[i]; w; w = w->next)
      w->seen_count = w->seen_sum = 0;
}

bool reference_see(const char *text, size_t bytes, uint64_t count,
                   uint64_t places_sum) {
  struct word *w = *find(text, bytes);
  if (!w) {
    fprintf(stderr, "indexer: \"%.*s\" is in no file\n", (int) bytes, text);
    return false;
  }
  w->seen_count += count;
  w->seen_sum += places_sum;
  return true;
}

bool reference_end(void) {
  for (size_t i = 0; i < SLOTS; i++)
    for (const struct word *w = slots[i]; w; w = w->next) {
      if (w->seen_count == w->count && w->seen_sum == w->sum) continue;
      fprintf(stderr, "indexer: \"%s\": %llu places, expected %llu%s\n",
              w->text, (unsigned long long) w->seen_count,
              (unsigned long long) w->count,
              w->seen_count == w->count ? ", other ones" : "");
      return false;
    }
  return true;
}

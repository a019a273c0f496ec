/* words.c - every word that the process can write, whoever mapped its page.
 *
 * For somebody who looks for an address and must miss none: malloc's memory,
 * mappings of the program's own, globals, stacks of threads.  What mappings
 * there are is in /proc/self/maps, which of their pages have contents in
 * pagemap; they are read through /proc/self/mem, because threads that run on
 * may unmap them meanwhile: a read fails then, a load would be a fault.
 *
 * Pages of a shared mapping that this process hasn't touched are left out.
 * Context: g0, also with the world stopped; three descriptors for the while.
 */
#include <arch/common/check.h>
#include <arch/linux/sys.h>
#include <arch/os.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define TEXT_BYTES 4096
#define STEP_PAGES 512
#define PIECE_BYTES 16384
#define HAS_CONTENTS ((uint64_t) 3 << 62) /* present, or swapped out */

/* What is being done for one caller, on its stack. */
struct walk {
  int maps, pagemap, mem;
  bool (*wanted)(uintptr_t lo, uintptr_t hi);
  void (*visit)(uintptr_t at, const uintptr_t *word, size_t n);
  uint64_t page[STEP_PAGES];
  uintptr_t piece[PIECE_BYTES / sizeof(uintptr_t)];
};

static int open_own(const char *path) {
  return mpgi_os_fd_move_up(
      (int) mpgi_sys3(SYS_open, (long) path, O_RDONLY | O_CLOEXEC, 0));
}

static long read_at(int fd, void *to, size_t bytes, uintptr_t at) {
  return mpgi_sys6(SYS_pread64, fd, (long) to, (long) bytes, (long) at, 0, 0);
}

/* Pages with contents.  A page that can't be read is a guard, or a device, or
 * there no more. */
static void visit_pages(struct walk *w, uintptr_t lo, uintptr_t hi) {
  while (lo < hi) {
    size_t bytes = hi - lo < PIECE_BYTES ? hi - lo : PIECE_BYTES;
    long n = read_at(w->mem, w->piece, bytes, lo);
    if (n > 0) w->visit(lo, w->piece, (size_t) n / sizeof(uintptr_t));
    lo += n > 0 ? (uintptr_t) n : mpgi_os_page_bytes;
  }
}

/* STEP_PAGES at most. */
static int visit_step(struct walk *w, uintptr_t lo, uintptr_t hi) {
  uintptr_t page = mpgi_os_page_bytes;
  size_t n = (hi - lo) / page, bytes = n * sizeof *w->page, i = 0;
  uintptr_t offset = lo / page * sizeof *w->page;
  if (read_at(w->pagemap, w->page, bytes, offset) != (long) bytes) return -EIO;
  while (i < n) {
    size_t from = i;
    while (i < n && w->page[i] & HAS_CONTENTS) i++;
    visit_pages(w, lo + from * page, lo + i * page);
    while (i < n && !(w->page[i] & HAS_CONTENTS)) i++;
  }
  return 0;
}

static int visit_mapping(struct walk *w, uintptr_t lo, uintptr_t hi) {
  uintptr_t step = STEP_PAGES * mpgi_os_page_bytes;
  int err = 0;
  while (lo < hi && err == 0) {
    uintptr_t to = (lo / step + 1) * step;
    if (to > hi) to = hi;
    if (w->wanted(lo, to)) err = visit_step(w, lo, to);
    lo = to;
  }
  return err;
}

static const char *hex(const char *s, uintptr_t *out) {
  *out = 0;
  for (;; s++) {
    int digit = *s >= '0' && *s <= '9'   ? *s - '0'
                : *s >= 'a' && *s <= 'f' ? *s - 'a' + 10
                                         : -1;
    if (digit < 0) return s;
    *out = *out << 4 | (uintptr_t) digit;
  }
}

/* "7f0000000000-7f0000001000 rw-p ..." */
static int visit_line(struct walk *w, const char *line) {
  uintptr_t lo, hi;
  line = hex(line, &lo);
  if (*line != '-') return -EIO;
  line = hex(line + 1, &hi);
  if (line[0] != ' ') return -EIO;
  return line[1] == 'r' && line[2] == 'w' ? visit_mapping(w, lo, hi) : 0;
}

/* A line may come in two reads. */
static int visit_lines(struct walk *w) {
  char text[TEXT_BYTES], *end;
  size_t have = 0;
  int err = 0;
  long n;
  while ((n = mpgi_sys3(SYS_read, w->maps, (long) (text + have),
                        (long) (sizeof text - have))) > 0) {
    char *line = text;
    have += (size_t) n;
    for (; (end = memchr(line, '\n', have)); line = end + 1) {
      if ((err = visit_line(w, line))) return err;
      have -= (size_t) (end + 1 - line);
    }
    if (have == sizeof text) return -EIO;
    memmove(text, line, have);
  }
  return (int) n;
}

int mpgi_os_words(bool (*wanted)(uintptr_t lo, uintptr_t hi),
                  void (*visit)(uintptr_t at, const uintptr_t *word,
                                size_t n)) {
  struct walk w = {.wanted = wanted, .visit = visit};
  w.maps = open_own("/proc/self/maps");
  w.pagemap = open_own("/proc/self/pagemap");
  w.mem = open_own("/proc/self/mem");
  int err = w.maps < 0 || w.pagemap < 0 || w.mem < 0 ? -EIO : visit_lines(&w);
  if (w.maps >= 0) mpgi_os_close(w.maps);
  if (w.pagemap >= 0) mpgi_os_close(w.pagemap);
  if (w.mem >= 0) mpgi_os_close(w.mem);
  return err;
}

/* traceback.h - the traceback of all goroutines, as text. */
#ifndef TESTS_SUPPORT_TRACEBACK_H
#define TESTS_SUPPORT_TRACEBACK_H

#include "check.h"

/* A file without a name. */
static inline int traceback_file(void) {
  char path[] = "/tmp/mpg_traceback.XXXXXX";
  int fd = mkstemp(path);
  CHECK_GE(fd, 0);
  CHECK_EQ(unlink(path), 0);
  return fd;
}

/* A frame of its own: some look for it.  Closes the file; the caller frees the
 * text. */
static __attribute__((noinline, unused)) char *traceback_by(int fd) {
  mpg_traceback_all(fd);
  off_t n = lseek(fd, 0, SEEK_END);
  CHECK_GT(n, 0);
  char *text = malloc((size_t) n + 1);
  CHECK_EQ(pread(fd, text, (size_t) n, 0), n);
  text[n] = '\0';
  close(fd);
  return text;
}

static inline char *traceback(void) { return traceback_by(traceback_file()); }

static inline int count(const char *text, const char *what) {
  int n = 0;
  for (; (text = strstr(text, what)) != NULL; text += strlen(what)) n++;
  return n;
}

/* Who has said that it is about to park may not have yet: when `what` is in it
 * n times.  The caller frees it. */
static __attribute__((unused)) char *traceback_when(int n, const char *what) {
  for (;;) {
    char *text = traceback();
    if (count(text, what) >= n) return text;
    free(text);
    mpg_sleep(50 * 1000);
  }
}

#endif /* TESTS_SUPPORT_TRACEBACK_H */

/* traceback.h - the traceback of all goroutines, as text. */
#ifndef TESTS_SUPPORT_TRACEBACK_H
#define TESTS_SUPPORT_TRACEBACK_H

#include "check.h"

/* The caller frees it.  A frame of its own: some look for it. */
static __attribute__((noinline, unused)) char *traceback(void) {
  char path[] = "/tmp/mpg_traceback.XXXXXX";
  int fd = mkstemp(path);
  CHECK_GE(fd, 0);
  CHECK_EQ(unlink(path), 0);
  mpg_traceback_all(fd);
  off_t n = lseek(fd, 0, SEEK_END);
  CHECK_GT(n, 0);
  char *text = malloc((size_t) n + 1);
  CHECK_EQ(pread(fd, text, (size_t) n, 0), n);
  text[n] = '\0';
  close(fd);
  return text;
}

#endif /* TESTS_SUPPORT_TRACEBACK_H */

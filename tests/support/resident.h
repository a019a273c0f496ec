/* resident.h - the memory of this process that is resident, in bytes. */
#ifndef TESTS_SUPPORT_RESIDENT_H
#define TESTS_SUPPORT_RESIDENT_H

#include <stdio.h>
#include <unistd.h>

#include "check.h"

static inline long resident_bytes(void) {
  long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  CHECK(f && fscanf(f, "%*d %ld", &pages) == 1);
  fclose(f);
  return pages * sysconf(_SC_PAGESIZE);
}

#endif /* TESTS_SUPPORT_RESIDENT_H */

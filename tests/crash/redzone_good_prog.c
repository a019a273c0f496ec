// EXPECT-EXIT: 0
// REJECT-STDERR: .
// ENV: MPG_DEBUG=redzone=1,gcverify=1,gcstress=200
#include <mpg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Everything that may be done, to the last byte. */
static void use(void *p, size_t n) {
  if (!p || mpg_alloc_size(p) < n) abort();
  memset(p, 0x5a, mpg_alloc_size(p));
}

static void *kept[64];

static void start(void *arg) {
  (void) arg;
  size_t offset = 0;
  mpg_type *type = mpg_type_new(24, &offset, 1);
  for (size_t i = 0; i < 4000; i++) {
    size_t n = i * i % 70000;
    use(kept[i % 64] = mpg_alloc(n), n);
    use(kept[i % 63] = mpg_alloc_noscan(n), n);
    use(kept[i % 62] = mpg_alloc_typed(type, n / 24), n / 24 * 24);
    use(kept[i % 61] = mpg_alloc_aligned(n, (size_t) 16 << i % 9), n);
    char *s = mpg_strdup("seven bytes");
    use(s = mpg_realloc(s, n), n);
    use(s = mpg_realloc(s, n / 2), n / 2);
    use(s = mpg_realloc(s, n + 7), n + 7);
    mpg_free(s);
    if (i % 50 == 0) mpg_free(mpg_alloc_root(n));
  }
  for (size_t less = 0; less < 64; less++) /* too much, zone or not */
    for (size_t align = 1; align <= 4096; align *= 4) {
      void *p = mpg_alloc_aligned(SIZE_MAX - less, align);
      __asm__ volatile("" : "+r"(p));
      if (p) abort();
    }
}

int main(void) { return mpg_run(start, NULL); }

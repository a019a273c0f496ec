/* arch_sigctx_test.c - what is read from a signal frame's extended state. */
#include <tests/support/unit.h>

#include <arch/arch.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

/* The kernel's struct _fpx_sw_bytes, 464 bytes into the FXSAVE area. */
struct sw {
  uint32_t magic1, extended_bytes;
  uint64_t xfeatures;
  uint32_t xstate_bytes;
};
#define MAGIC1 0x46505853u
#define X87_SSE 3u
#define TILE_DATA ((uint64_t) 1 << 18)

/* A frame whose extended state is `bytes` long and ends where memory does. */
static char *state_at_the_end(ucontext_t *uc, uint32_t bytes, uint64_t has) {
  char *page =
      mmap(NULL, 2 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(page, MAP_FAILED);
  assert_int_equal(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0);
  char *fp = page + 4096 - bytes;
  struct sw sw = {MAGIC1, bytes, has, bytes};
  memcpy(fp + 464, &sw, sizeof sw);
  memset(uc, 0, sizeof *uc);
  uc->uc_mcontext.fpregs = (void *) fp;
  return page;
}

static size_t words;

static void count(void *arg, const void *lo, const void *hi) {
  (void) arg;
  for (const volatile uintptr_t *at = lo; at < (const uintptr_t *) hi; at++) {
    (void) *at;
    words++;
  }
}

/* A kernel without XSAVE writes 512 bytes, with the magic and without a
 * header behind them. */
static void a_frame_without_xsave_has_no_header(void **state) {
  (void) state;
  ucontext_t uc;
  struct mpgi_sigregs r;
  char *page = state_at_the_end(&uc, 512, X87_SSE);
  mpgi_arch_sigregs(&uc, &r);
  assert_false(r.unsaveable);
  words = 0;
  mpgi_arch_sigregs_words(&uc, count, NULL);
  assert_int_equal(words, NGREG + 512 / 8);
  munmap(page, 2 * 4096);
}

static void tile_data_cannot_be_saved(void **state) {
  (void) state;
  ucontext_t uc;
  struct mpgi_sigregs r;
  char *page = state_at_the_end(&uc, 1024, X87_SSE | TILE_DATA);
  mpgi_arch_sigregs(&uc, &r);
  assert_false(r.unsaveable); /* not in use */
  uint64_t in_use = TILE_DATA;
  memcpy((char *) uc.uc_mcontext.fpregs + 512, &in_use, sizeof in_use);
  mpgi_arch_sigregs(&uc, &r);
  assert_true(r.unsaveable);
  munmap(page, 2 * 4096);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_frame_without_xsave_has_no_header),
      cmocka_unit_test(tile_data_cannot_be_saved),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

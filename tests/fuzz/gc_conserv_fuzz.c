/* gc_conserv_fuzz.c - libFuzzer target for the conservative lookup.
 *
 * The input's bytes are the choices of tests/support/gc_conserv_ops.h; the
 * same program with random choices is tests/unit/gc_conserv_test.c.  Built by
 * Clang where its fuzzer runtime is installed:
 *
 *   cmake --preset clang-dev && cmake --build build/clang-dev \
 *     --target fuzz_gc_conserv_fuzz
 *   build/clang-dev/tests/fuzz/fuzz_gc_conserv_fuzz -max_total_time=60
 */
#include <tests/unit/gc_world_fake.h>

static const uint8_t *input;
static size_t left;

/* Two bytes a choice, more for a wide one; 0 once the input is used up. */
static uint32_t draw(uint32_t below) {
  uint32_t v = 0;
  for (int n = below > 65536 ? 4 : 2; n > 0 && left > 0; n--, left--)
    v = v << 8 | *input++;
  return v % below;
}

#include <tests/support/gc_conserv_ops.h>

static void step(void) {
  switch (draw(16)) {
  case 0: collect(draw(2)); break;
  case 1: mpgi_heap_release((uint64_t) draw(1u << 20) << 12); break;
  case 2:
  case 3: check_words(8); break;
  case 4:
  case 5:
  case 6:
  case 7: drop(); break;
  default: add(); break;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (objects == NULL) oracle_begin();
  input = data;
  left = size;
  while (left > 0) step();
  check_words(8);
  while (n_objects > 0) drop();
  mpgi_gc_g0();
  assert_true(mpgi_central_is_valid());
  return 0;
}

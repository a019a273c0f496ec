/* image.c - memory for the swapped-out stacks of parked goroutines.
 *
 * Images of one size, a multiple of 64 bytes up to 1 KiB, share slabs of 32
 * KiB.  A slab begins with its record; free images are linked through their
 * first words; slabs that have some are listed by size.  An empty slab goes
 * back to the arena at once: who is woken gives its image back, and waking a
 * million goroutines should not leave their images behind.
 *
 * [stack.image.used] used + length of the free list == what fits; checked at
 * level 3.
 *
 * Context: takes mpgi_stack_lock; also with the world stopped, when nobody
 * holds it.
 */
#include <arch/common/check.h>
#include <arch/common/sanitize.h>
#include <stack/stack.h>

#include <stack/arena.h>

#define SIZES (MPGI_STACK_IMAGE_MAX_BYTES / MPGI_STACK_IMAGE_STEP_BYTES)

struct slab {
  struct slab *next, *prev; /* of its size, with free images */
  void *free;
  uint32_t used;
  uint32_t size; /* index: (size + 1) * STEP bytes each */
  uint64_t pad[4];
};
_Static_assert(sizeof(struct slab) == 64, "images are 64-byte aligned");

/* mpgi_stack_lock */
static struct slab *partial[SIZES];

static size_t image_bytes(size_t live) {
  size_t step = MPGI_STACK_IMAGE_STEP_BYTES;
  return live == 0 ? step : (live + step - 1) & ~(step - 1);
}

static unsigned size_of(size_t bytes) {
  return (unsigned) (bytes / MPGI_STACK_IMAGE_STEP_BYTES) - 1;
}

static struct slab *slab_of(uintptr_t image) {
  return (struct slab *) (image & ~(uintptr_t) (MPGI_STACK_SLAB_BYTES - 1));
}

static unsigned capacity(unsigned size) {
  return (unsigned) ((MPGI_STACK_SLAB_BYTES - sizeof(struct slab)) /
                     ((size + 1) * MPGI_STACK_IMAGE_STEP_BYTES));
}

static bool slab_is_valid(const struct slab *s) {
  unsigned n = s->used;
  for (void *const *p = s->free; p; p = *p) n++;
  return n == capacity(s->size);
}

static void slab_list(struct slab *s) {
  s->prev = NULL;
  s->next = partial[s->size];
  if (s->next) s->next->prev = s;
  partial[s->size] = s;
}

static void slab_unlist(struct slab *s) {
  if (s->next) s->next->prev = s->prev;
  if (s->prev)
    s->prev->next = s->next;
  else
    partial[s->size] = s->next;
}

static void *slab_take_locked(void) {
  void *piece;
  if (mpgi_stack_arena_take(MPGI_STACK_SLAB_ORDER, &piece, 1) == 0) return NULL;
  mpgi_valgrind_no_stack(piece, MPGI_STACK_SLAB_BYTES);
  return piece;
}

static struct slab *slab_new(unsigned size) {
  struct slab *s = slab_take_locked();
  if (!s) return NULL;
  *s = (struct slab){.size = size};
  size_t bytes = (size + 1) * MPGI_STACK_IMAGE_STEP_BYTES;
  for (unsigned i = capacity(size); i-- > 0;) {
    void **image = (void **) ((uintptr_t) (s + 1) + i * bytes);
    *image = s->free;
    s->free = image;
  }
  slab_list(s);
  return s;
}

void *mpgi_stack_image_alloc(size_t live) {
  if (live > MPGI_STACK_IMAGE_MAX_BYTES) return NULL;
  unsigned size = size_of(image_bytes(live));
  void **image = NULL;
  mpgi_mutex_lock(&mpgi_stack_lock);
  struct slab *s = partial[size] ? partial[size] : slab_new(size);
  if (s) {
    image = s->free;
    s->free = *image;
    s->used++;
    if (!s->free) slab_unlist(s);
    MPG_ASSERT_EXPENSIVE(slab_is_valid(s));
  }
  mpgi_mutex_unlock(&mpgi_stack_lock);
  return image;
}

void mpgi_stack_image_free(uintptr_t image, size_t live) {
  struct slab *s = slab_of(image);
  mpgi_mutex_lock(&mpgi_stack_lock);
  MPG_VERIFY(s->size == size_of(image_bytes(live)) && s->used > 0);
  if (!s->free) slab_list(s);
  *(void **) image = s->free;
  s->free = (void *) image;
  s->used--;
  MPG_ASSERT_EXPENSIVE(slab_is_valid(s));
  if (s->used == 0) {
    slab_unlist(s);
    mpgi_stack_arena_give(MPGI_STACK_SLAB_ORDER, s);
  }
  mpgi_mutex_unlock(&mpgi_stack_lock);
}

/* ---- slabs for others ---- */

void *mpgi_stack_slab_alloc(void) {
  mpgi_mutex_lock(&mpgi_stack_lock);
  void *slab = slab_take_locked();
  mpgi_mutex_unlock(&mpgi_stack_lock);
  return slab;
}

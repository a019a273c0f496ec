/* frames.h - steps from frame to frame, and whose code an address is.  Private
 * to sched/.
 */
#ifndef MPGI_FRAMES_H
#define MPGI_FRAMES_H

#ifndef MPGI_GMP_H
#error "include sched/gmp.h first; frames.h is private to sched/"
#endif

/* cfi.c: signal-safe */
struct mpgi_frame {
  uintptr_t pc, sp, fp;
  bool is_return;  /* pc is a return address, not an interrupted PC */
  uintptr_t shift; /* from an address of the stack to where its words are: 0
                      but for swapped-out ones */
};
enum mpgi_step { MPGI_STEP_UP, MPGI_STEP_END, MPGI_STEP_UNKNOWN };
/* Replace f by its caller's frame, reading only stack words in [lo, hi). */
MPGI_HIDDEN enum mpgi_step mpgi_cfi_step(struct mpgi_frame *f, uintptr_t lo,
                                         uintptr_t hi);

/* sigpreempt.c */
/* Is every frame from f (at an interrupted PC or a return address in user
 * code) down to the first user code? */
MPGI_HIDDEN bool mpgi_frames_are_user(const struct mpg_g *gp,
                                      struct mpgi_frame f);

/* text.c */
MPGI_HIDDEN void mpgi_text_init(void);
MPGI_HIDDEN void mpgi_text_refresh(void);      /* may wait for long */
MPGI_HIDDEN void mpgi_text_refresh_soon(void); /* sysmon */
MPGI_HIDDEN void mpgi_text_forked(void);
MPGI_HIDDEN bool mpgi_text_is_user(uintptr_t pc); /* signal-safe */
/* The same for many addresses of one range: *known, at first {0}. */
MPGI_HIDDEN bool mpgi_text_is_user_again(struct mpgi_range *known,
                                         uintptr_t pc);
MPGI_HIDDEN bool mpgi_text_is_foreign(uintptr_t pc); /* signal-safe */
/* The file of the object that contains pc, and what is added to its addresses;
 * false: no object.  signal-safe */
MPGI_HIDDEN bool mpgi_text_object(uintptr_t pc, const char **path,
                                  uintptr_t *bias);
MPGI_HIDDEN bool mpgi_text_same_object(uintptr_t a, uintptr_t b);
/* The ranges of now, numbered from 1; constant.  0: pc is in none. */
struct mpgi_text_table;
struct mpgi_text_map {
  uintptr_t lo, hi;
  uint64_t offset; /* of lo in the file */
  const char *path;
};
MPGI_HIDDEN const struct mpgi_text_table *mpgi_text_table(void);
MPGI_HIDDEN size_t mpgi_text_number(const struct mpgi_text_table *t,
                                    uintptr_t pc);
MPGI_HIDDEN bool mpgi_text_get(const struct mpgi_text_table *t, size_t number,
                               struct mpgi_text_map *out);
/* .eh_frame_hdr of the object that contains pc; signal-safe. */
MPGI_HIDDEN const unsigned char *mpgi_text_eh_hdr(uintptr_t pc);

/* leaf.c */
MPGI_HIDDEN void mpgi_leaf_init(void);
MPGI_HIDDEN bool mpgi_text_is_leaf(uintptr_t pc); /* signal-safe */

#endif /* MPGI_FRAMES_H */
